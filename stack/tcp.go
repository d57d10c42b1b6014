package stack

import (
	"fmt"
	"slices"
	"strings"
)

// CongestionControls are the congestion controls that a host has, the default
// first: cubic (RFC 9438) and reno (RFC 5681).
var CongestionControls = []string{"cubic", "reno"}

func getCongestion(c *Config) string {
	if c.CongestionControl == "" {
		return CongestionControls[0]
	}
	return c.CongestionControl
}

func setCongestion(c *Config, value string) error {
	if !slices.Contains(CongestionControls, value) {
		return fmt.Errorf("%q, want one of %s", value, strings.Join(CongestionControls, ", "))
	}
	c.CongestionControl = value
	return nil
}

// TCPInfo returns the state of a TCP connection, as TCP_INFO of tcp(7). It is
// the zero value for UDP and for a connection that was not made.
func (c *Conn) TCPInfo() (info TCPInfo) {
	if c.net != "tcp" || c.ep == nil {
		return info
	}
	c.serialized(func() {
		if t := tcpInfo(c.ep); t != nil {
			info = *t
		}
	})
	return info
}
