package stack

import (
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/netfilter"
)

// packet is an IP packet inside a host, with what the host knows about it: the
// kernel's sk_buff. The frame begins with the IP header.
type packet struct {
	frame   *link.Frame
	in      *Device // nil for a packet made here
	out     *Device
	via     netip.Addr // next hop
	conn    conntrack.Conn
	mark    uint32
	tracked bool             // conn is valid, do not track again
	ipvs    bool             // IPVS has had it
	pieces  bool             // it came in fragments and was put together
	group   bool             // the frame was a broadcast or multicast
	cut     bool             // may be fragmented even with DF: made by a socket (the kernel's ignore_df)
	socket  bool             // made by a socket of this host
	probe   bool             // what routers said of the path does not count (IP_PMTUDISC_PROBE)
	served  bool             // the CPU is done with it
	bridged *link.BridgePort // the port it came in by, while a bridge forwards it
	physOut *link.BridgePort
}

func (p *packet) ip() ipv4 { return p.frame.Bytes() }

// drop ends the packet at the device where it came in, or at lo.
func (h *Host) drop(p *packet, why link.Reason) {
	d := p.in
	if d == nil {
		d = h.lo
	}
	d.point.Drop(p.frame, why)
}

// receiveIP is ip_rcv: validate, then PREROUTING, unless a bridge has already
// run it, then route.
func (h *Host) receiveIP(d *Device, f *link.Frame, group bool) {
	if h.bridging.frame == f && d.bridge != nil {
		p := h.bridging
		h.bridging = packet{}
		p.in, p.group, p.bridged = d, group, nil
		h.routeInput(&p)
		return
	}
	p := packet{frame: f, in: d, group: group}
	total, ok := p.ip().valid()
	if !ok {
		h.drop(&p, DropBadHeader)
		return
	}
	f.Truncate(total)
	if h.hook(netfilter.Prerouting, &p) {
		h.routeInput(&p)
	}
}

// routeInput decides between local delivery and forwarding (ip_route_input).
func (h *Host) routeInput(p *packet) {
	h.Work(p.frame, WorkRoute)
	ip := p.ip()
	src, dst := ip.src(), ip.dst()
	if why := h.martian(p.in, src, dst); why != "" {
		h.drop(p, why)
		return
	}
	if h.spoofed(p.in, src) {
		h.drop(p, DropReversePath)
		return
	}
	switch {
	case h.isLocal(dst):
		h.deliver(p)
	case dst.IsMulticast() && dst != allHosts:
		h.drop(p, DropNoGroup)
	case isLimitedBroadcast(dst), dst == allHosts, h.broadcast.get(dst) != nil: // bc_forwarding=0
		h.deliver(p)
	case p.group:
		h.drop(p, DropBroadcast)
	case !p.in.conf.on(confForwarding):
		h.drop(p, DropNotForwarder)
	default:
		h.forward(p)
	}
}

// allHosts is the group that every host is in (RFC 1112 §4). There is no way to
// join others.
var allHosts = netip.AddrFrom4([4]byte{224, 0, 0, 1})

// martian returns why addresses are not acceptable on a device, or "": mirrors
// ip_route_input_slow with accept_local=0.
func (h *Host) martian(in *Device, src, dst netip.Addr) link.Reason {
	switch {
	case in.loopback:
		return ""
	case src.IsMulticast(), isLimitedBroadcast(src):
		return DropMartianSrc
	case h.local.get(src) != nil && !in.conf.on(confAcceptLocal):
		return DropMartianSrc
	case isZeroNet(src) && !isLimitedBroadcast(dst) && !dst.IsMulticast(): // "this host", as a DHCP client has it
		return DropMartianSrc
	case src.IsLoopback() && !in.conf.on(confRouteLocalnet):
		return DropMartianSrc
	case dst.IsLoopback() && !in.conf.on(confRouteLocalnet), isZeroNet(dst):
		return DropMartianDst
	}
	return ""
}

// spoofed is rp_filter: with 1 a source must be routed out of the device it
// came in by, with 2 it must be routed at all (RFC 3704 §2.2, §2.4). A device
// without addresses cannot be told from others and fails both unless the route
// leads out of it (__fib_validate_source).
func (h *Host) spoofed(in *Device, src netip.Addr) bool {
	mode := in.conf[confRPFilter]
	if mode == 0 || in.loopback || src.IsUnspecified() {
		return false
	}
	switch {
	case h.isLocal(src):
		return !in.conf.on(confAcceptLocal)
	case h.broadcast.get(src) != nil:
		return true
	}
	r := h.routes.lookup(src)
	switch {
	case r == nil:
		return true
	case r.Type != Unicast:
		return true
	case r.Dev == in:
		return false
	}
	return mode == 1 || len(in.addrs) == 0
}

// forward is ip_forward: the TTL is spent before the FORWARD chain sees the
// packet, so an error made there quotes the lower value.
func (h *Host) forward(p *packet) {
	ip := p.ip()
	if !h.routeOutput(p, ip.dst()) {
		return
	}
	if ip.ttl() <= 1 {
		h.sendError(p, icmpTimeExceeded, 0, 0)
		h.drop(p, DropTTL)
		return
	}
	if mtu := h.forwardMTU(ip.dst(), p.out); len(ip) > mtu && ip.dontFragment() {
		h.sendError(p, icmpUnreachable, codeFragNeeded, uint32(mtu))
		h.drop(p, DropTooBig)
		return
	}
	ip.decrementTTL()
	if p.out == p.in && h.wantsRedirect(p) {
		h.sendRedirect(p)
	}
	if !h.hook(netfilter.Forward, p) {
		return
	}
	h.output(p)
}

// routeOutput looks up dst and sets the packet's device and next hop. If there
// is none it answers as the route says and ends the packet.
func (h *Host) routeOutput(p *packet, dst netip.Addr) bool {
	r := h.routes.lookup(dst)
	if r == nil {
		h.sendError(p, icmpUnreachable, codeNet, 0)
		h.drop(p, DropNoRoute)
		return false
	}
	switch r.Type {
	case Blackhole:
		h.drop(p, DropBlackhole)
		return false
	case Unreachable:
		h.sendError(p, icmpUnreachable, codeHost, 0)
		h.drop(p, DropNoRoute)
		return false
	case Prohibit:
		h.sendError(p, icmpUnreachable, codeProhibited, 0)
		h.drop(p, DropNoRoute)
		return false
	}
	p.out, p.via = r.Dev, h.nextHop(r, dst)
	if !p.via.IsValid() || dst.IsMulticast() || isLimitedBroadcast(dst) {
		p.via = dst // a group is on the link, whatever the route's next hop
	}
	return true
}

// deliver is ip_local_deliver: reassemble, INPUT, then the protocol.
func (h *Host) deliver(p *packet) {
	if p.ip().fragment() && !h.defragment(p) {
		return
	}
	if !h.hook(netfilter.Input, p) || h.cfg.CPU != nil && h.waits(p) {
		return
	}
	h.handOver(p)
}

// handOver hands a packet to whom it is for. It owns p.
func (h *Host) handOver(p *packet) {
	switch p.ip().proto() {
	case protoICMP:
		h.receiveICMP(p)
	case protoUDP:
		h.receiveUDP(p)
	case protoTCP:
		h.receiveTCP(p)
	default:
		h.receiveProtocol(p)
	}
}
