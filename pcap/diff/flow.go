package diff

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/podwire/podwire/pcap"
)

// capture is one side of a comparison.
type capture struct {
	packets []*packet
	flows   []*flow // by first packet
	byKey   map[flowKey]*flow
	numbers []int
	ids     map[uint32]bool // protocol and IP identification of the packets so far
}

// flow is a conversation: the packets of one connection in both directions,
// the echo requests of one identifier with their replies, the errors of one
// kind about one conversation.
type flow struct {
	key            flowKey
	client, server netip.AddrPort // the one that began; of ports, zero where there are none
	packets        []*packet
	base           [2]uint32 // first sequence number, by direction
	hasBase        [2]bool
	mss            int // the smaller one announced, 0: none was seen
}

// flowKey tells flows apart within one capture. It is the same for both
// directions.
type flowKey struct {
	tunnel string // what carries it
	proto  int    // IP protocol, or 1<<16 and the ethertype
	lo, hi netip.AddrPort
	id     uint16 // of an echo
	extra  string // of what has no two ends
}

// newCapture takes packets apart and puts them into flows.
func newCapture(list []pcap.Packet, link pcap.LinkType, o Options, numbers []int) *capture {
	c := &capture{byKey: map[flowKey]*flow{}, numbers: numbers, ids: map[uint32]bool{}}
	h := newHistory()
	frags := map[string]flowKey{} // what the later fragments of a datagram belong to
	for i := range list {
		p := dissect(&list[i], i, link)
		key, src, dst := keyOf(p, frags)
		f := c.byKey[key]
		if f == nil {
			f = &flow{key: key}
			f.client, f.server = ends(p.inner(), src, dst)
			c.byKey[key] = f
			c.flows = append(c.flows, f)
		}
		if src != f.client {
			p.dir = 1
		}
		p.flow = f
		parts := []*packet{p}
		if o.Offload {
			parts = split(p, f.mss)
		}
		for _, q := range parts {
			q.place = len(f.packets)
			f.packets = append(f.packets, q)
			h.annotate(c, f, q)
			c.packets = append(c.packets, q)
		}
	}
	return c
}

// number is what a text calls a packet.
func (c *capture) number(p *packet) string {
	n := p.index + 1
	if c.numbers != nil {
		n = c.numbers[p.index]
	}
	if p.part > 0 {
		return fmt.Sprintf("%d part %d", n, p.part)
	}
	return fmt.Sprint(n)
}

// keyOf finds the flow of a packet, and who sent it to whom.
func keyOf(p *packet, frags map[string]flowKey) (key flowKey, src, dst netip.AddrPort) {
	l := p.inner()
	key.tunnel = tunnelOf(p)
	if l.ip == nil {
		return linkKey(key, l)
	}
	key.proto = int(l.ip.proto)
	src, dst = netip.AddrPortFrom(l.ip.src, 0), netip.AddrPortFrom(l.ip.dst, 0)
	fragment := fmt.Sprint(key.tunnel, l.ip.src, l.ip.dst, l.ip.proto, l.ip.id)
	switch {
	case l.tcp != nil:
		src, dst = netip.AddrPortFrom(l.ip.src, l.tcp.src), netip.AddrPortFrom(l.ip.dst, l.tcp.dst)
	case l.udp != nil:
		src, dst = netip.AddrPortFrom(l.ip.src, l.udp.src), netip.AddrPortFrom(l.ip.dst, l.udp.dst)
	case l.icmp != nil && l.icmp.echo():
		key.id = uint16(l.icmp.rest >> 16)
	case l.icmp != nil && l.icmp.quoted != nil:
		qs, qd := quotedEnds(l.icmp.quoted)
		key.extra = fmt.Sprintf("error about %d %v > %v", l.icmp.quoted.ip.proto, qs, qd)
	case l.icmp != nil:
		key.extra = fmt.Sprintf("type %d", l.icmp.typ)
	case l.ip.offset > 0:
		if first, ok := frags[fragment]; ok {
			s, d := first.lo, first.hi
			if s.Addr() != l.ip.src {
				s, d = d, s
			}
			return first, s, d
		}
		key.extra = "fragments"
	}
	key.lo, key.hi = src, dst
	if dst.Compare(src) < 0 {
		key.lo, key.hi = dst, src
	}
	if l.ip.mf && l.ip.offset == 0 {
		frags[fragment] = key
	}
	return key, src, dst
}

// linkKey is the flow of what is not IP: ARP between two addresses, or all
// frames of one ethertype.
func linkKey(key flowKey, l *level) (flowKey, netip.AddrPort, netip.AddrPort) {
	key.proto = 1<<16 | int(l.typ)
	if l.arp == nil {
		return key, netip.AddrPort{}, netip.AddrPort{}
	}
	src, dst := netip.AddrPortFrom(l.arp.sender, 0), netip.AddrPortFrom(l.arp.target, 0)
	key.lo, key.hi = src, dst
	if dst.Compare(src) < 0 {
		key.lo, key.hi = dst, src
	}
	return key, src, dst
}

// tunnelOf names what a packet travels in, the same for both directions.
func tunnelOf(p *packet) string {
	var b strings.Builder
	for _, l := range p.levels[:len(p.levels)-1] {
		if l.vxlan != nil {
			b.WriteString("vxlan ")
		} else {
			fmt.Fprintf(&b, "ip-%d ", l.ip.proto)
		}
	}
	return b.String()
}

// quotedEnds are the ends of what an ICMP error quotes.
func quotedEnds(q *level) (src, dst netip.AddrPort) {
	switch {
	case q.tcp != nil:
		return netip.AddrPortFrom(q.ip.src, q.tcp.src), netip.AddrPortFrom(q.ip.dst, q.tcp.dst)
	case q.udp != nil:
		return netip.AddrPortFrom(q.ip.src, q.udp.src), netip.AddrPortFrom(q.ip.dst, q.udp.dst)
	}
	return netip.AddrPortFrom(q.ip.src, 0), netip.AddrPortFrom(q.ip.dst, 0)
}

// ephemeral is where the ports begin that Linux gives to clients
// (net.ipv4.ip_local_port_range).
const ephemeral = 32768

// ends says which end of a packet began the conversation. If it is the first
// that was captured, and no SYN, the sender did, unless the ports say that it
// answers.
func ends(l *level, src, dst netip.AddrPort) (client, server netip.AddrPort) {
	if l.tcp != nil && !l.tcp.short && l.tcp.flags&flagSYN != 0 {
		if l.tcp.flags&flagACK != 0 {
			return dst, src
		}
		return src, dst
	}
	if l.icmp != nil && (l.icmp.v6 && l.icmp.typ == 129 || !l.icmp.v6 && l.icmp.typ == 0) {
		return dst, src
	}
	if src.Port() < 1024 && dst.Port() >= 1024 || src.Port() < ephemeral && dst.Port() >= ephemeral {
		return dst, src
	}
	return src, dst
}

// anyPort tells whether a client's port is a matter of chance.
func anyPort(port uint16) bool { return port >= 1024 }

// signatures describe a flow ever more loosely: by both ends; by addresses; by
// the server's port; by the client. Flows whose first signature is equal are
// paired first.
func (f *flow) signatures() [sigLevels]string {
	client := "port"
	if p := f.client.Port(); !anyPort(p) {
		client = fmt.Sprint(p)
	}
	head := fmt.Sprintf("%s|%d|%s|", f.key.tunnel, f.key.proto, f.kind())
	from, to := addrName(f.client.Addr()), addrName(f.server.Addr())
	strict := head + fmt.Sprint(from, " ", client, " ", to, " ", f.server.Port(), " ", f.about())
	switch {
	case f.server.Port() != 0:
		return [sigLevels]string{strict, head + from + " " + to, head + fmt.Sprint(f.server.Port()), head + from}
	case f.kind() != "":
		return [sigLevels]string{strict, head + from + " " + to, head + to, head + from}
	}
	return [sigLevels]string{strict, strict, strict, strict}
}

const sigLevels = 4

// kind is what sort of ICMP a flow is, "" for others.
func (f *flow) kind() string {
	l := f.packets[0].inner()
	switch {
	case l.icmp == nil:
		return ""
	case l.icmp.echo():
		return "echo"
	case l.icmp.quoted != nil:
		return "error"
	}
	return ""
}

// about says what the errors of a flow quote, without the client's port; of
// what has no ends, what it is.
func (f *flow) about() string {
	q := f.quoted()
	if q == nil {
		return f.key.extra
	}
	src, dst := quotedEnds(q)
	from, to := ends(q, src, dst)
	arrow := ">"
	if from != src {
		arrow = "<"
	}
	return fmt.Sprintf("%d %s %s %v", q.ip.proto, portless(from), arrow, to)
}

// quoted is what the errors of this flow are about.
func (f *flow) quoted() *level {
	if l := f.packets[0].inner(); l.icmp != nil {
		return l.icmp.quoted
	}
	return nil
}

func portless(a netip.AddrPort) string {
	if anyPort(a.Port()) {
		return addrName(a.Addr())
	}
	return fmt.Sprint(addrName(a.Addr()), ":", a.Port())
}

// addrName is an address without what depends on a MAC.
func addrName(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "none"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "link-local"
	case a.Is6() && solicited.Contains(a):
		return "solicited-node"
	}
	return a.String()
}

// solicited are the multicast addresses that end as somebody's unicast address
// does (RFC 4291 §2.7.1).
var solicited = netip.MustParsePrefix("ff02::1:ff00:0/104")
