package explain

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
)

// A Layer is one IPv4 header of a frame and what is around it.
type Layer struct {
	Ethernet []byte // the header, nil on a device without link layer
	IP       []byte // the packet, from its header on, at least 28 bytes
	Tunnel   string // what it carries the next layer in, "VXLAN 1 (UDP 8472)"; "" if it is no tunnel's
}

// Source returns the packet's source address.
func (l Layer) Source() netip.Addr { return netip.AddrFrom4([4]byte(l.IP[12:16])) }

// Target returns the packet's destination address.
func (l Layer) Target() netip.Addr { return netip.AddrFrom4([4]byte(l.IP[16:20])) }

// TTL returns the packet's time to live.
func (l Layer) TTL() int { return int(l.IP[8]) }

// tunnels are UDP ports that mean a tunnel, and what is inside.
var tunnels = map[uint16]struct {
	name   string
	header int           // bytes between UDP and what is inside
	typ    link.LinkType // of what is inside; 0: it is encrypted
}{
	4789:  {"VXLAN", vxlanHeader, link.LinkEthernet},
	8472:  {"VXLAN", vxlanHeader, link.LinkEthernet},
	8285:  {"flannel", 0, link.LinkRaw},
	51820: {"WireGuard", 0, 0},
}

const vxlanHeader = 8 // RFC 7348 §5

// Layers reads the IPv4 headers of a frame, outermost first, down to the packet
// that no tunnel is around. If that is encrypted, or the frame is no IPv4
// packet at some depth, the last layer is that of a tunnel or there is none.
// Headers with options end the reading: no host of a lab makes them.
func Layers(typ link.LinkType, b []byte) []Layer {
	var list []Layer
	for {
		var l Layer
		if typ == link.LinkEthernet {
			if len(b) < link.EthernetHeader || link.EtherType(b) != 0x0800 {
				return list
			}
			l.Ethernet, b = b[:link.EthernetHeader], b[link.EthernetHeader:]
		}
		if len(b) < 28 || b[0] != 0x45 {
			return list
		}
		l.IP = b
		inside, inner := []byte(nil), link.LinkType(0)
		switch b[9] {
		case protoIPIP:
			l.Tunnel, inside, inner = "IPIP", b[20:], link.LinkRaw
		case protoUDP:
			l.Tunnel, inside, inner = udpTunnel(b)
		}
		list = append(list, l)
		if inner == 0 {
			return list
		}
		b, typ = inside, inner
	}
}

// udpTunnel tells what a UDP datagram is the tunnel for.
func udpTunnel(b []byte) (name string, inside []byte, inner link.LinkType) {
	port := binary.BigEndian.Uint16(b[22:])
	t, ok := tunnels[port]
	if !ok {
		return "", nil, 0
	}
	name = fmt.Sprintf("%s (UDP %d)", t.name, port)
	if t.header == vxlanHeader && len(b) >= 36 {
		name = fmt.Sprintf("VXLAN %d (UDP %d)", binary.BigEndian.Uint32(b[32:])>>8, port)
	}
	return name, b[min(len(b), 28+t.header):], t.typ
}

// Protocol numbers.
const (
	protoICMP = 1
	protoIPIP = 4
	protoTCP  = 6
	protoUDP  = 17
)

// tuple is what makes a flow of a packet. Of an echo the identifier is the
// source port in the request and the target port in the reply.
type tuple struct {
	proto    byte
	src, dst netip.AddrPort
}

func (t tuple) reversed() tuple { return tuple{t.proto, t.dst, t.src} }

// tupleOf reads the tuple of a packet of at least 28 bytes; an ICMP error
// and a fragment but the first have none.
func tupleOf(b []byte) (t tuple, ok bool) {
	l, at := Layer{IP: b}, 4*int(b[0]&15)
	if at < 20 || len(b) < at+8 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return t, false
	}
	src, dst := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])
	switch b[9] {
	case protoICMP:
		src, dst = 0, 0
		switch ident := binary.BigEndian.Uint16(b[at+4:]); b[at] {
		case echoRequest:
			src = ident
		case echoReply:
			dst = ident
		default:
			return t, false
		}
	case protoTCP, protoUDP:
	default:
		return t, false
	}
	return tuple{b[9], netip.AddrPortFrom(l.Source(), src), netip.AddrPortFrom(l.Target(), dst)}, true
}

// quoted returns the tuple of the packet that an ICMP error is about.
func quoted(b []byte) (t tuple, ok bool) {
	if len(b) < 28+28 || b[9] != protoICMP {
		return t, false
	}
	switch b[20] {
	case icmpUnreachable, icmpTimeExceeded:
		return tupleOf(b[28:])
	}
	return t, false
}

// ICMP types (RFC 792).
const (
	echoReply        = 0
	icmpUnreachable  = 3
	echoRequest      = 8
	icmpTimeExceeded = 11
)
