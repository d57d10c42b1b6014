package stack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
)

// sendLocal sends a packet made by this host (ip_local_out): OUTPUT, then out
// by the route to wherever OUTPUT has left it. It owns the packet.
func (h *Host) sendLocal(p *packet) {
	if h.cfg.CPU != nil {
		h.sends(p)
	}
	dst := p.ip().dst()
	if !h.routeLocal(p, dst) {
		return
	}
	if !h.hook(netfilter.Output, p) {
		return
	}
	if now := p.ip().dst(); now != dst && !h.routeLocal(p, now) {
		return
	}
	h.output(p)
}

// routeLocal is routeOutput for packets of this host, for which local and
// broadcast destinations have a device too.
func (h *Host) routeLocal(p *packet, dst netip.Addr) bool {
	switch {
	case h.isLocal(dst):
		p.out, p.via = h.lo, dst
		return true
	case h.broadcast.get(dst) != nil:
		p.out, p.via = h.broadcast.get(dst), dst
		return true
	}
	return h.routeOutput(p, dst)
}

// sendBy is sendLocal for a socket that is bound to a device; nil is any. A
// destination to which the device has no route is taken to be on its link, as
// ip_route_output_key has it.
func (h *Host) sendBy(d *Device, p *packet) {
	if d == nil {
		h.sendLocal(p)
		return
	}
	dst := p.ip().dst()
	p.out, p.via = d, dst
	if r := h.routes.lookup(dst); r != nil && r.Dev == d && r.Via.IsValid() {
		p.via = r.Via
	}
	if !h.hook(netfilter.Output, p) {
		return
	}
	if now := p.ip().dst(); now != dst && !h.routeLocal(p, now) {
		return
	}
	h.output(p)
}

// output is ip_output: POSTROUTING, fragmentation, neighbour.
func (h *Host) output(p *packet) {
	if p.in == nil && !p.out.loopback && h.isBroadcast(p.ip().dst()) && p.ip().proto() != protoUDP {
		h.echoBroadcast(*p)
	}
	if !h.hook(netfilter.Postrouting, p) {
		return
	}
	if mtu := h.outputMTU(p); p.frame.Len() > mtu {
		h.fragment(p, mtu)
		return
	}
	h.neighOutput(p)
}

// isBroadcast reports whether a is the limited broadcast or that of a subnet.
func (h *Host) isBroadcast(a netip.Addr) bool {
	return isLimitedBroadcast(a) || h.broadcast.get(a) != nil && h.local.get(a) == nil
}

// echoBroadcast hands a copy of a broadcast to the host itself, whole and as if
// it had come in by the device that it leaves by (ip_mc_output,
// dev_loopback_xmit). Captures do not show the copy: it was not on the link. Of a
// datagram gVisor makes the copy, which PREROUTING and INPUT do not see.
func (h *Host) echoBroadcast(p packet) {
	f := h.drv.NewFrame(p.frame.Len())
	f.Inherit(p.frame)
	copy(f.Bytes(), p.frame.Bytes())
	p.frame = f
	if !h.hook(netfilter.Postrouting, &p) {
		return
	}
	p.in, p.out, p.group = p.out, nil, true
	h.drv.Soon(func() {
		if h.hook(netfilter.Prerouting, &p) {
			h.deliver(&p)
		}
	})
}

// neighOutput finds the link-layer destination and transmits.
func (h *Host) neighOutput(p *packet) {
	d := p.out
	switch {
	case d.loopback:
		if d.up {
			h.loQueue = append(h.loQueue, *p)
		}
		d.sendIP(p.frame, link.MAC{})
		return
	case d.raw != nil:
		d.sendRaw(p.frame, p.via)
		return
	case isLimitedBroadcast(p.via), h.broadcast.get(p.via) == d:
		d.sendIP(p.frame, link.Broadcast)
		return
	case p.via.IsMulticast():
		d.sendIP(p.frame, multicastMAC(p.via))
		return
	}
	n := h.neigh.get(d, p.via)
	if n == nil {
		h.drop(p, DropNeighTable)
		return
	}
	if d.noARP && !n.known() {
		h.drop(p, DropNeighFailed)
		return
	}
	h.neigh.send(n, *p)
}

// multicastMAC maps an IPv4 group to its Ethernet group (RFC 1112 §6.4).
func multicastMAC(a netip.Addr) link.MAC {
	b := a.As4()
	return link.MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
}

// loopback is lo's transmit function. What is known about the packet travels
// with it, as the kernel's sk_buff does.
func (h *Host) loopback(f *link.Frame) {
	h.drv.Soon(h.loDrain)
}

// drainLoopback hands the oldest packet on lo back to the host.
func (h *Host) drainLoopback() {
	p := h.loQueue[h.loFirst]
	h.loQueue[h.loFirst] = packet{}
	if h.loFirst++; h.loFirst == len(h.loQueue) {
		h.loQueue, h.loFirst = h.loQueue[:0], 0
	}
	h.lo.point.Pass(p.frame, link.In)
	p.frame.Pull(link.EthernetHeader)
	p.in, p.out = h.lo, nil
	if h.hook(netfilter.Prerouting, &p) {
		h.routeInput(&p)
	}
}

// linkFailure is ipv4_link_failure: the next hop does not answer.
func (h *Host) linkFailure(p *packet) {
	if p.bridged == nil {
		h.sendError(p, icmpUnreachable, codeHost, 0)
	}
	h.drop(p, DropNeighFailed)
}

// sourceFor returns the address that a packet to dst by device d should come
// from. A device without addresses borrows the first of another that is up.
func (h *Host) sourceFor(d *Device, dst netip.Addr) netip.Addr {
	if a := d.primaryFor(dst); a.IsValid() {
		return a
	}
	for _, o := range h.devices {
		if a := o.primary(); a.IsValid() && o.up && !o.loopback {
			return a
		}
	}
	return netip.IPv4Unspecified()
}

// Source returns the address that a socket of this host uses towards dst, and
// the device that the packets leave by. It is ip_route_output.
func (h *Host) Source(dst netip.Addr) (netip.Addr, *Device, bool) {
	switch {
	case dst.IsLoopback(): // local 127.0.0.0/8 dev lo src 127.0.0.1
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), h.lo, true
	case h.local.get(dst) != nil:
		return dst, h.lo, true
	case h.broadcast.get(dst) != nil:
		d := h.broadcast.get(dst)
		return d.primaryFor(dst), d, true
	}
	r := h.routes.lookup(dst)
	if r == nil || r.Type != Unicast {
		return netip.Addr{}, nil, false
	}
	if r.Src.IsValid() {
		return r.Src, r.Dev, true
	}
	next := r.Via
	if !next.IsValid() {
		next = dst
	}
	return h.sourceFor(r.Dev, next), r.Dev, true
}

// mix is the finaliser of SplitMix64: every input bit moves every output bit.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// FlowHash returns the flow hash of the IP packet in an Ethernet frame: the one
// its socket chose if it has come over virtual devices only, else one of the
// addresses and, for TCP and UDP, ports (skb_get_hash). Both directions of a
// flow have one hash on one host; hosts differ.
func (h *Host) FlowHash(f *link.Frame) uint32 {
	if f.Hash != 0 {
		return f.Hash
	}
	b := f.Bytes()
	if len(b) < link.EthernetHeader+ipv4MinHeader || link.EtherType(b) != etherIPv4 {
		return uint32(mix(h.hashKey)) | 1
	}
	return dissect(h.hashKey, b[link.EthernetHeader:])
}

// dissect is the keyed hash of a packet's flow.
func dissect(key uint64, ip ipv4) uint32 {
	s, d := ip.src().As4(), ip.dst().As4()
	a, b := binary.BigEndian.Uint32(s[:]), binary.BigEndian.Uint32(d[:])
	var x, y uint16
	if ip.headerLen() <= len(ip)-4 && !ip.fragment() && (ip.proto() == protoTCP || ip.proto() == protoUDP) {
		x, y, _ = ip.ports()
	}
	if a > b || a == b && x > y {
		a, b, x, y = b, a, y, x
	}
	k := mix(key ^ uint64(a)<<32 ^ uint64(b))
	return uint32(mix(k^uint64(x)<<32^uint64(y)<<16^uint64(ip.proto()))) | 1
}

// now is short for the driver's clock.
func (h *Host) now() time.Duration { return h.drv.Now() }
