package stack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/header/parse"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// inject hands a packet to a socket and reports whether there is one. If so it
// owns p.
func (n *netstack) inject(p *packet, src, dst uint16) bool {
	if n.s == nil {
		return false
	}
	return n.injectAt(p, n.nics[n.nicFor(p)], src, dst)
}

// nicFor returns the device whose NIC should see p: the one that an answer
// leaves by, because gVisor routes what it sends on a new connection out of the
// NIC that the first packet came in by. Later segments belong to a connection
// that has its route.
func (n *netstack) nicFor(p *packet) int {
	ip := p.ip()
	if ip.proto() == protoTCP && ip.payload()[13]&(tcpSYN|tcpACK) == tcpACK {
		return p.in.Index
	}
	if _, dev, ok := n.host.Source(ip.src()); ok {
		return dev.Index
	}
	return n.host.lo.Index
}

func (n *netstack) injectAt(p *packet, c *nic, src, dst uint16) bool {
	ip := p.ip()
	id := stack.TransportEndpointID{
		LocalPort: dst, LocalAddress: tcpip.AddrFrom4([4]byte(ip[16:20])),
		RemotePort: src, RemoteAddress: tcpip.AddrFrom4([4]byte(ip[12:16])),
	}
	proto := tcpip.TransportProtocolNumber(ip.proto())
	ep := n.s.FindTransportEndpoint(header.IPv4ProtocolNumber, proto, id, tcpip.NICID(c.dev.Index))
	if ep == nil {
		return false
	}
	if proto == tcp.ProtocolNumber {
		n.heard(ep, ip)
		n.queueTCP(c, ep, id, ip)
		n.touched()
	} else {
		c.deliver(ip)
	}
	p.frame.Release()
	return true
}

// heard takes note of what a segment for a socket says about the segments that
// will answer it.
func (n *netstack) heard(ep stack.TransportEndpoint, ip ipv4) {
	switch seg := ip.payload(); {
	case seg[13]&(tcpSYN|tcpRST) == 0:
		n.heardSegment(ep, ip)
	case seg[13]&(tcpSYN|tcpACK) == tcpSYN|tcpACK && tcpOption(seg, 3, 1) == nil:
		if f := n.answered(ip); f != nil {
			f.window.noScale()
		}
	}
}

// queueTCP hands a segment to gVisor's TCP without going through its IP layer:
// everything that the IP layer would do, the host has done.
func (n *netstack) queueTCP(c *nic, ep stack.TransportEndpoint, id stack.TransportEndpointID, ip ipv4) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(ip)})
	defer pkt.DecRef()
	pkt.NetworkProtocolNumber, pkt.TransportProtocolNumber = header.IPv4ProtocolNumber, tcp.ProtocolNumber
	pkt.NICID, pkt.RXChecksumValidated = tcpip.NICID(c.dev.Index), true
	if _, ok := pkt.NetworkHeader().Consume(ip.headerLen()); !ok || !parse.TCP(pkt) {
		return // receiveTCP has checked the lengths
	}
	n.tcp.QueuePacket(ep, id, pkt)
}

// tcpQueue is what gVisor's TCP offers to the layer below it, and to who wants
// its processors to wait. Only TCP has any: its own Pause is that of the stack.
type tcpQueue interface {
	Pause()
	Resume()
	QueuePacket(stack.TransportEndpoint, stack.TransportEndpointID, *stack.PacketBuffer)
}

// endpoint returns the socket that sends the packets of a key, or nil. Nic is that
// of a device that it may be bound to.
func (n *netstack) endpoint(k flowKey, nic int) stack.TransportEndpoint {
	return n.s.FindTransportEndpoint(header.IPv4ProtocolNumber, tcpip.TransportProtocolNumber(k.proto), stack.TransportEndpointID{
		LocalAddress: tcpip.AddrFrom4(k.src), LocalPort: k.sport,
		RemoteAddress: tcpip.AddrFrom4(k.dst), RemotePort: k.dport,
	}, tcpip.NICID(nic))
}

// sent reports whether there is a socket that may have sent a packet.
func (n *netstack) sent(quoted ipv4) bool {
	if _, _, ok := quoted.ports(); n.s == nil || !ok {
		return false
	}
	dev := n.host.lo
	if _, d, ok := n.host.Source(quoted.dst()); ok {
		dev = d
	}
	return n.endpoint(keyOf(quoted), dev.Index) != nil
}

// injectError hands an ICMP error to the socket that it is about. It owns p.
func (n *netstack) injectError(p *packet) {
	quoted := ipv4Quoted(p.ip())
	d := n.host.local.get(quoted.src())
	if d == nil && quoted.src().IsLoopback() {
		d = n.host.lo
	}
	if n.s == nil || d == nil {
		n.host.drop(p, DropNoSocket)
		return
	}
	n.nics[d.Index].deliver(p.ip())
	if quoted.proto() == protoTCP {
		n.refilled(quoted)
	}
	p.frame.Release()
	n.touched()
}

// refilled tells the endpoint that sent a packet of its path MTU.
func (n *netstack) refilled(quoted ipv4) {
	_, _, ok := quoted.ports()
	_, dev, found := n.host.Source(quoted.dst())
	if !ok || !found {
		return
	}
	if ep, _ := n.endpoint(keyOf(quoted), dev.Index).(tcpip.Endpoint); ep != nil {
		refill(ep, n.host.pathMTU(quoted.dst(), dev.MTU))
	}
}

// ipv4Quoted returns the packet that an ICMP error is about.
func ipv4Quoted(ip ipv4) ipv4 { return ipv4(ip.payload()[icmpHeader:]) }
