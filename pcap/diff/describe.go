package diff

import (
	"fmt"
	"net/netip"
)

// describe says in a few words what a packet is. The client's port is left
// out where it is a matter of chance.
func (p *packet) describe() string {
	l := p.inner()
	s := p.describeInner(l)
	if l.ip != nil && l.ip.offset > 0 {
		s = fmt.Sprintf("fragment at %d %v -> %v", l.ip.offset, l.ip.src, l.ip.dst)
	}
	for i := len(p.levels) - 2; i >= 0; i-- {
		o, in := p.levels[i], "IP"
		if o.vxlan != nil {
			in = "VXLAN"
		}
		s += fmt.Sprintf(" in %s %v -> %v", in, o.ip.src, o.ip.dst)
	}
	return s
}

func (p *packet) describeInner(l *level) string {
	switch {
	case l.arp != nil && l.arp.op == 1:
		return fmt.Sprintf("ARP who has %v, says %v", l.arp.target, l.arp.sender)
	case l.arp != nil && l.arp.op == 2:
		return fmt.Sprintf("ARP reply, %v to %v", l.arp.sender, l.arp.target)
	case l.arp != nil:
		return fmt.Sprintf("ARP operation %d, %v to %v", l.arp.op, l.arp.sender, l.arp.target)
	case l.ip == nil:
		return fmt.Sprintf("%d bytes of ethertype 0x%04x", p.wire, l.typ)
	}
	src, dst := l.ip.src.String(), l.ip.dst.String()
	if sp, dp, ok := ports(l); ok {
		src, dst = p.end(l.ip.src, sp, 0), p.end(l.ip.dst, dp, 1)
	}
	return fmt.Sprintf("%s %s -> %s", l.kind(), src, dst)
}

// end is one end of a packet with its port, if the port means something. side
// is 0 for the sender.
func (p *packet) end(a netip.Addr, port uint16, side int) string {
	if p.flow != nil && p.dir == side && anyPort(p.flow.client.Port()) {
		return a.String()
	}
	return netip.AddrPortFrom(a, port).String()
}

// kind is what sort of packet it is.
func (l *level) kind() string {
	switch {
	case l.tcp != nil:
		return flagText(l.tcp.flags)
	case l.udp != nil:
		return "UDP"
	case l.icmp != nil && l.icmp.v6:
		return pick(l.icmp.typ, "ICMPv6", map[byte]string{1: "unreachable", 2: "packet too big", 3: "time exceeded", 128: "echo request", 129: "echo reply",
			133: "router solicitation", 134: "router advertisement", 135: "neighbour solicitation", 136: "neighbour advertisement", 143: "MLD report"})
	case l.icmp != nil && l.icmp.typ == 3:
		return pick(l.icmp.code, "unreachable, code", map[byte]string{0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable",
			3: "port unreachable", 4: "fragmentation needed", 13: "prohibited"})
	case l.icmp != nil:
		return pick(l.icmp.typ, "ICMP", map[byte]string{0: "echo reply", 5: "redirect", 8: "echo request", 11: "time exceeded"})
	}
	return fmt.Sprintf("IP protocol %d", l.ip.proto)
}

// pick is the name of a number, or the number.
func pick(n byte, of string, names map[byte]string) string {
	if s := names[n]; s != "" {
		return s
	}
	return fmt.Sprintf("%s %d", of, n)
}
