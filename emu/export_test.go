package emu

// ByHand returns the configuration of a lab in virtual time without a bubble; see
// link.DriverConfig.
func (c Config) ByHand() Config {
	c.byHand = true
	return c
}
