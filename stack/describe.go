package stack

import (
	"fmt"
	"strings"
)

// Describe returns a line about the device for people: what `ip addr` says in
// short.
func (d *Device) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s, mtu %d", d.Name, d.host.name, d.MTU)
	if !d.MAC.IsZero() {
		fmt.Fprintf(&b, ", %v", d.MAC)
	}
	for _, p := range d.addrs {
		fmt.Fprintf(&b, ", %v", p)
	}
	return b.String()
}
