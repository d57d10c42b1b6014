package stack

import (
	"fmt"
	"net/netip"
	"slices"
)

// AddAddr adds an address with its prefix length, and the route to the link
// that Linux adds with it.
func (d *Device) AddAddr(p netip.Prefix) error {
	h := d.host
	if !p.IsValid() || !p.Addr().Is4() {
		return fmt.Errorf("stack: %s/%s: address %v, want an IPv4 address with its prefix length", h.name, d.Name, p)
	}
	if o := h.local.get(p.Addr()); o != nil {
		return fmt.Errorf("stack: %s/%s: address %v is already on %s", h.name, d.Name, p.Addr(), o.Name)
	}
	secondary := slices.ContainsFunc(d.addrs, func(o netip.Prefix) bool { return o.Masked() == p.Masked() })
	d.addrs = append(d.addrs, p)
	h.local.set(p.Addr(), d)
	h.sockets.addAddress(d, p)
	if p.IsSingleIP() || d.loopback || secondary {
		return nil
	}
	if p.Bits() < 31 { // a /31 has no broadcast address (RFC 3021 §2.1)
		h.broadcast.set(LastAddr(p), d)
	}
	return h.routes.add(Route{Dst: p, Dev: d, Src: p.Addr(), Proto: "kernel"})
}

// RemoveAddr is `ip addr del`: it takes an address away, with the route to its
// link and the routes that prefer it as their source. It reports whether the
// device had it.
func (d *Device) RemoveAddr(p netip.Prefix) bool {
	h := d.host
	at := slices.Index(d.addrs, p)
	if at < 0 {
		return false
	}
	d.addrs = slices.Delete(d.addrs, at, at+1)
	h.local.remove(p.Addr())
	same := slices.IndexFunc(d.addrs, func(o netip.Prefix) bool { return o.Masked() == p.Masked() })
	if p.Bits() < 31 && same < 0 {
		h.broadcast.remove(LastAddr(p))
	}
	for _, r := range h.routes.all() {
		if r.Src == p.Addr() {
			h.routes.remove(r.Dst, func(o *Route) bool { return o.Src == p.Addr() })
		}
	}
	if same >= 0 && !d.loopback { // the next one of the subnet becomes the primary address (promote_secondaries=1)
		h.routes.add(Route{Dst: p, Dev: d, Src: d.addrs[same].Addr(), Proto: "kernel"})
	}
	h.sockets.removeAddress(d, p)
	return true
}

// HasAddr reports whether a is an address of one of the host's devices, lo
// excepted.
func (h *Host) HasAddr(a netip.Addr) bool {
	d := h.local.get(a)
	return d != nil && !d.loopback
}
