package stack

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/podwire/podwire/link"
)

// Up reports whether the device is up.
func (d *Device) Up() bool { return d.up }

// Loopback reports whether the device is lo.
func (d *Device) Loopback() bool { return d.loopback }

// NoARP reports whether the device's neighbours are all set by hand.
func (d *Device) NoARP() bool { return d.noARP }

// Kind returns what `ip -d link` calls a virtual device, "" for others.
func (d *Device) Kind() string { return d.kind }

// Local returns the address of a tunnel's own end; the zero value means any, or
// that the device is no tunnel.
func (d *Device) Local() netip.Addr { return d.local }

// Master returns the bridge device that the device is a port of, or nil.
func (d *Device) Master() *Device {
	if d.member == nil {
		return nil
	}
	for _, o := range d.host.devices {
		if o.bridge == d.member.Bridge() {
			return o
		}
	}
	return nil
}

// BridgePort returns the device as a port of its master, or nil.
func (d *Device) BridgePort() *link.BridgePort { return d.member }

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
