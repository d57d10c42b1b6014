package stack

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
)

// IP protocols of tunnels.
const (
	ProtoIPIP = protoIPIP // IPv4 in IPv4 (RFC 2003)
)

// BindProtocol takes the packets of an IP protocol that arrive for this host,
// as a kernel tunnel such as IPIP does. The receiver is given the frame from the
// payload on. It owns the frame if it returns true; false says that no tunnel
// wants the packet, which is then answered with port unreachable, as the
// kernel's tunnel4_rcv does.
func (h *Host) BindProtocol(proto byte, recv func(Outer, *link.Frame) bool) error {
	switch {
	case proto == protoICMP || proto == protoTCP || proto == protoUDP:
		return fmt.Errorf("stack: %s: IP protocol %d is the host's own", h.name, proto)
	case h.protocols[proto] != nil:
		return fmt.Errorf("stack: %s: IP protocol %d already belongs to a tunnel", h.name, proto)
	}
	h.protocols[proto] = recv
	return nil
}

// receiveProtocol hands a packet that is neither ICMP, UDP nor TCP to a tunnel.
// It owns p.
func (h *Host) receiveProtocol(p *packet) {
	ip := p.ip()
	recv, n := h.protocols[ip.proto()], ip.headerLen()
	if recv == nil {
		h.sendError(p, icmpUnreachable, codeProtocol, 0)
		h.drop(p, DropNoSocket)
		return
	}
	o := Outer{Src: ip.src(), Dst: ip.dst(), TOS: ip.tos(), TTL: ip.ttl(), DF: ip.dontFragment()}
	p.frame.Pull(n)
	if p.group || !recv(o, p.frame) {
		p.frame.Push(n)
		h.sendError(p, icmpUnreachable, codePort, 0)
		h.drop(p, DropNoSocket)
	}
}

// SendError answers the IP packet in f with an ICMP error, as a tunnel device
// does that cannot send it (the kernel's icmp_ndo_send). Info is the second word
// of the message: the MTU of "fragmentation needed". The frame stays the
// caller's.
func (h *Host) SendError(f *link.Frame, typ, code byte, info uint32) {
	if _, ok := ipv4(f.Bytes()).valid(); ok {
		h.sendError(&packet{frame: f}, typ, code, info)
	}
}

// sendRaw transmits a packet by a device without link layer.
func (d *Device) sendRaw(f *link.Frame, next netip.Addr) {
	if !d.up {
		d.point.Drop(f, DropDeviceDown)
		return
	}
	d.point.Pass(f, link.Out)
	d.raw(f, next)
}
