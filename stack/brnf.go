package stack

import (
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
)

// bridgeFilter is br_netfilter: it shows bridged IP packets to the host's
// PREROUTING, FORWARD and POSTROUTING chains.
type bridgeFilter struct {
	dev *Device // the bridge
}

// BridgeIn implements link.BridgeFilter: PREROUTING with the bridge as the
// device, then, for a packet whose destination was translated, the rewriting
// of the destination MAC: to the new neighbour if that is on this bridge too
// (the packet stays bridged, TTL and source MAC as they were), else to the
// bridge itself, so that the host routes it (br_nf_pre_routing_finish).
func (x bridgeFilter) BridgeIn(f *link.Frame, in *link.BridgePort) *link.Frame {
	h := x.dev.host
	h.bridging = packet{}
	if link.EtherType(f.Bytes()) != etherIPv4 || !h.nf.active {
		return f
	}
	p := packet{frame: f, in: x.dev, bridged: in, group: link.DstMAC(f.Bytes()).IsMulticast()}
	f.Pull(link.EthernetHeader)
	total, ok := p.ip().valid()
	if !ok {
		h.drop(&p, DropBadHeader)
		return nil
	}
	f.Truncate(total)
	dst := p.ip().dst()
	if !h.hook(netfilter.Prerouting, &p) {
		return nil
	}
	now := p.ip().dst()
	f = p.frame // reassembly may have made a new one
	mac := x.dev.MAC
	if now != dst {
		var slow, wait bool
		if mac, slow, wait = x.redirect(&p, now); wait {
			return nil
		}
		copy(f.Push(link.EthernetHeader), mac[:])
		if slow {
			x.throughDevice(f)
		}
	} else {
		f.Push(link.EthernetHeader)
	}
	h.bridging = p
	return f
}

// throughDevice shows f on its way out of the bridge device: a packet whose new
// neighbour is known but not confirmed goes through the device's transmit
// function like one of the host's own, with the device's MAC, before it is
// forwarded as it came (br_nf_pre_routing_finish_bridge, br_nf_dev_xmit).
func (x bridgeFilter) throughDevice(f *link.Frame) {
	b := f.Bytes()
	src := link.SrcMAC(b)
	copy(b[6:], x.dev.MAC[:])
	x.dev.point.Pass(f, link.Out)
	copy(b[6:], src[:])
}

// redirect returns the MAC to which a packet with a new destination goes, and
// whether the slow way. If it is not known yet, the packet waits and comes back
// in bridgeResolved.
func (x bridgeFilter) redirect(p *packet, dst netip.Addr) (mac link.MAC, slow, wait bool) {
	h := x.dev.host
	if h.isLocal(dst) {
		return x.dev.MAC, false, false
	}
	r := h.routes.lookup(dst)
	if r == nil || r.Type != Unicast || r.Dev != x.dev {
		return x.dev.MAC, false, false
	}
	next := r.Via
	if !next.IsValid() {
		next = dst
	}
	n := h.neigh.get(x.dev, next)
	switch {
	case n == nil:
		h.drop(p, DropNeighTable)
		return link.MAC{}, false, true
	case !n.known():
		p.out, p.via = x.dev, next
		h.neigh.wait(n, *p)
		return link.MAC{}, false, true
	}
	h.neigh.touch(n)
	return n.mac, n.state != NeighReachable && n.state != NeighPermanent, false
}

// bridgeResolved continues with a packet that waited for its neighbour. Its
// Ethernet header is still in front of the IP header.
func (h *Host) bridgeResolved(p *packet, mac link.MAC) {
	copy(p.frame.Push(link.EthernetHeader), mac[:])
	bridgeFilter{p.in}.throughDevice(p.frame)
	h.bridging = *p
	p.bridged.Bridge().Decide(p.frame, p.bridged)
}

// BridgeForward implements link.BridgeFilter: FORWARD and POSTROUTING for a
// packet that goes from port to port. The bridge does not route, so the TTL is
// not touched.
func (x bridgeFilter) BridgeForward(f *link.Frame, in, out *link.BridgePort) *link.Frame {
	h := x.dev.host
	if link.EtherType(f.Bytes()) != etherIPv4 || !h.nf.active {
		return f
	}
	p := h.bridging
	p.frame, p.in, p.out, p.bridged, p.physOut = f, x.dev, x.dev, in, out
	f.Pull(link.EthernetHeader)
	p.via = p.ip().dst()
	if !h.hook(netfilter.Forward, &p) || !h.hook(netfilter.Postrouting, &p) {
		return nil
	}
	if p.pieces && p.frame.Len() > out.MTU {
		h.cut(&p, out.MTU, func(q *packet) { out.Transmit(h.reframe(q.frame, p.frame)) })
		p.frame.Release()
		return nil
	}
	p.frame.Push(link.EthernetHeader)
	return p.frame
}

// reframe puts the Ethernet header that is in front of whole in front of f.
func (h *Host) reframe(f, whole *link.Frame) *link.Frame {
	header := whole.Push(link.EthernetHeader)[:link.EthernetHeader]
	copy(f.Push(link.EthernetHeader), header)
	whole.Pull(link.EthernetHeader)
	return f
}
