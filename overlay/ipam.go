package overlay

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/stack"
)

// hostLocal is the host-local IPAM plugin: addresses of one node's range in
// turn, from the one after the last that was given, so that an address that
// was freed comes back late.
type hostLocal struct {
	subnet  netip.Prefix
	gateway netip.Addr // never given
	last    netip.Addr
	used    map[netip.Addr]bool
}

// newHostLocal gives out subnet without its first, second and last address:
// network, gateway and broadcast.
func newHostLocal(subnet netip.Prefix) *hostLocal {
	gw := subnet.Masked().Addr().Next()
	return &hostLocal{subnet: subnet, gateway: gw, last: gw, used: make(map[netip.Addr]bool)}
}

// next returns an address that is free.
func (p *hostLocal) next() (netip.Addr, error) {
	a := p.last
	for {
		a = a.Next()
		if !p.subnet.Contains(a) || !p.subnet.Contains(a.Next()) { // past the end, or the broadcast address
			a = p.gateway
		}
		if a != p.gateway && !p.used[a] {
			p.last, p.used[a] = a, true
			return a, nil
		}
		if a == p.last {
			return netip.Addr{}, fmt.Errorf("overlay: host-local: no IP addresses available in range set: %v", p.subnet)
		}
	}
}

// take gives out an address that was asked for: the plugin's "ips".
func (p *hostLocal) take(a netip.Addr) error {
	switch {
	case !p.subnet.Contains(a) || a == p.subnet.Masked().Addr() || a == stack.LastAddr(p.subnet):
		return fmt.Errorf("overlay: host-local: requested IP address %v is not in range set: %v", a, p.subnet)
	case a == p.gateway:
		return fmt.Errorf("overlay: host-local: requested IP address %v is the gateway's", a)
	case p.used[a]:
		return fmt.Errorf("overlay: host-local: requested IP address %v is not available", a)
	}
	p.used[a] = true
	return nil
}

func (p *hostLocal) free(a netip.Addr) { delete(p.used, a) }
