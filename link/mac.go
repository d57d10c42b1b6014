package link

import (
	"encoding/hex"
	"fmt"
)

// MAC is an Ethernet address. The zero value is the all-zero address, which
// ARP uses for "not known yet". MAC is comparable and usable as a map key.
type MAC [6]byte

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ParseMAC parses six hexadecimal octets separated by colons, as Linux prints
// them: "0a:58:0a:f4:01:02".
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return MAC{}, fmt.Errorf("link: MAC %q: %d characters, want 17 (aa:bb:cc:dd:ee:ff)", s, len(s))
	}
	for i := range m {
		if i > 0 && s[3*i-1] != ':' {
			return MAC{}, fmt.Errorf("link: MAC %q: %q between octets, want ':'", s, s[3*i-1])
		}
		if _, err := hex.Decode(m[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
			return MAC{}, fmt.Errorf("link: MAC %q: octet %q is not hexadecimal", s, s[3*i:3*i+2])
		}
	}
	return m, nil
}

// IsMulticast reports whether the group bit is set; broadcast is a group too.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// IsBroadcast reports whether m is ff:ff:ff:ff:ff:ff.
func (m MAC) IsBroadcast() bool { return m == Broadcast }

// IsZero reports whether m is the zero value.
func (m MAC) IsZero() bool { return m == MAC{} }

// String returns the form that ParseMAC reads.
func (m MAC) String() string {
	b, _ := m.MarshalText()
	return string(b)
}

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 17)
	for i, o := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[o>>4], digits[o&15])
	}
	return b, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(text []byte) error {
	v, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = v
	return nil
}

// key packs the address into an integer, the cheapest map key for an FDB.
func (m MAC) key() uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 |
		uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// LocalMAC makes a locally administered unicast address from 46 random bits,
// as the kernel's eth_random_addr does for veth and bridge devices.
func LocalMAC(random uint64) MAC {
	var m MAC
	for i := range m {
		m[i] = byte(random >> (8 * i))
	}
	m[0] = m[0]&^1 | 2
	return m
}
