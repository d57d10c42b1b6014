package link

// Kinds of secrets, in the numbering of pcapng's decryption secrets blocks.
const SecretWireGuard uint32 = 0x57474b4c // "WGKL": lines of KEY_NAME = base64

// A Secret is key material with which a reader of a capture can decrypt what
// comes after it.
type Secret struct {
	Kind uint32
	Text string
}

// A SecretObserver is told of secrets before the first frame that they are for.
// It is called with the driver's lock held.
type SecretObserver interface {
	ObserveSecret(Secret)
}

// WatchSecrets adds an observer of secrets.
func (d *Driver) WatchSecrets(o SecretObserver) { d.secrets = append(d.secrets, o) }

// UnwatchSecrets removes an observer; one that is not watching is ignored.
func (d *Driver) UnwatchSecrets(o SecretObserver) {
	for i, x := range d.secrets {
		if x == o {
			d.secrets = append(d.secrets[:i:i], d.secrets[i+1:]...)
			return
		}
	}
}

// TellSecret passes a secret to those who watch now. It is not kept: without the
// start of a session that a capture has missed, its keys decrypt nothing.
func (d *Driver) TellSecret(s Secret) {
	for _, o := range d.secrets {
		o.ObserveSecret(s)
	}
}
