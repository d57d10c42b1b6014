package diff

import (
	"fmt"
	"net/netip"
	"time"
)

// note is what a field means among the other packets of its capture: that is
// what two captures have in common.
type note struct {
	id         series // IP identification
	outerPort  series // of a tunnel: source port
	seq, ack   string // relative, or how it is known
	sack       string
	tsval, ecr string
	srcPort    string // "client's" or the number
	dstPort    string
}

// series says how a number follows the one before.
type series struct {
	step   string
	clock  bool    // more than before by no more than a count per millisecond
	before *packet // that had the one before; nil for the first
}

// seen is the last number of a series and who had it.
type seen struct {
	n uint16
	p *packet
}

// history is what was seen so far in a capture.
type history struct {
	lastID   map[string]seen // by who sends what to whom
	lastPort map[string]seen
	tsval    map[tsKey]bool
	lastTS   map[tsOwner]uint32
}

type tsOwner struct {
	f   *flow
	dir int
}

type tsKey struct {
	owner tsOwner
	val   uint32
}

func newHistory() *history {
	return &history{
		lastID: map[string]seen{}, lastPort: map[string]seen{},
		tsval: map[tsKey]bool{}, lastTS: map[tsOwner]uint32{},
	}
}

// Words for steps from one packet to the next.
const (
	isZero  = "0"
	isFirst = "not 0"
	isSame  = "the same as before"
	isNext  = "one more than before"
	isOther = "another than before"
)

// annotate writes the notes of a packet that has just been put into its flow.
func (h *history) annotate(c *capture, f *flow, p *packet) {
	in := p.inner()
	dir := fmt.Sprintf("%p %d", f, p.dir)
	for i, l := range p.levels {
		if l.ip == nil {
			continue
		}
		who := dir
		if l != in { // a tunnel's end counts for all that it carries
			who = fmt.Sprint(i, l.ip.src, l.ip.dst, l.ip.proto)
		}
		l.note.id = step(h.lastID, who, p, l.ip.id)
		l.note.id.clock = l.note.id.clock && l.tcp == nil // a connection has a counter of its own
		if l.ip.version == 4 && l.ip.id != 0 {
			c.ids[uint32(l.ip.proto)<<16|uint32(l.ip.id)] = true
		}
		if l.vxlan != nil {
			l.note.outerPort = step(h.lastPort, fmt.Sprint(i, dir), p, l.udp.src)
		}
	}
	if src, dst, ok := ports(in); ok {
		in.note.srcPort, in.note.dstPort = f.portNames(p.dir, src, dst)
	}
	if in.tcp != nil {
		h.annotateTCP(f, p.dir, in)
	}
	if in.icmp != nil && in.icmp.quoted != nil {
		c.annotateQuoted(in.icmp.quoted)
	}
}

// step says how a number follows the last one of the same sender.
func step(last map[string]seen, who string, p *packet, n uint16) series {
	if n == 0 {
		return series{step: isZero}
	}
	before := last[who]
	last[who] = seen{n, p}
	s := series{step: isOther, before: before.p}
	if before.p != nil {
		ticks := p.at.Sub(before.p.at) / time.Millisecond
		ahead := time.Duration(n - before.n)
		s.clock = ahead > 0 && ahead <= ticks+1
	}
	switch {
	case before.p == nil:
		s.step = isFirst
	case n == before.n:
		s.step = isSame
	case n == before.n+1 || before.n == 0xffff && n == 1:
		s.step = isNext
	}
	return s
}

func ports(l *level) (src, dst uint16, ok bool) {
	switch {
	case l.tcp != nil:
		return l.tcp.src, l.tcp.dst, true
	case l.udp != nil:
		return l.udp.src, l.udp.dst, true
	}
	return 0, 0, false
}

const clientPort = "the client's"

// portNames names the ports of a packet: the client's is the flow's.
func (f *flow) portNames(dir int, src, dst uint16) (string, string) {
	s, d := fmt.Sprint(src), fmt.Sprint(dst)
	switch {
	case !anyPort(f.client.Port()):
	case dir == 0:
		s = clientPort
	default:
		d = clientPort
	}
	return s, d
}

// annotateTCP writes sequence numbers relative to the first of their
// direction, as tshark does, and judges timestamps.
func (h *history) annotateTCP(f *flow, dir int, l *level) {
	t := l.tcp
	f.learn(dir, t)
	n := &l.note
	n.seq = fmt.Sprint(t.seq - f.base[dir])
	n.ack = "none"
	if t.flags&flagACK != 0 {
		n.ack = fmt.Sprint(t.ack - f.base[1-dir])
	} else if t.ack != 0 {
		n.ack = "not 0, without the flag"
	}
	for i := 0; i+1 < len(t.sack); i += 2 {
		n.sack += fmt.Sprintf("%d-%d ", t.sack[i]-f.base[1-dir], t.sack[i+1]-f.base[1-dir])
	}
	if !t.hasTS {
		return
	}
	me, peer := tsOwner{f, dir}, tsOwner{f, 1 - dir}
	last, seen := h.lastTS[me]
	switch {
	case seen && int32(t.tsval-last) < 0:
		n.tsval = "less than before"
	default:
		n.tsval = "not less than before"
		h.lastTS[me] = t.tsval
	}
	h.tsval[tsKey{me, t.tsval}] = true
	switch {
	case t.tsecr == 0:
		n.ecr = isZero
	case h.tsval[tsKey{peer, t.tsecr}]:
		n.ecr = "what the peer sent"
	default:
		if _, heard := h.lastTS[peer]; heard {
			n.ecr = "what the peer has not sent"
		} else {
			n.ecr = "what the peer sent" // before the capture
		}
	}
}

// learn finds where the sequence numbers begin, and the MSS.
func (f *flow) learn(dir int, t *tcp) {
	switch {
	case t.flags&flagSYN != 0:
		f.base[dir], f.hasBase[dir] = t.seq, true
		if t.mss > 0 && (f.mss == 0 || t.mss < f.mss) {
			f.mss = t.mss
		}
	case !f.hasBase[dir]:
		f.base[dir], f.hasBase[dir] = t.seq-1, true // as if a SYN came before
	}
	if !f.hasBase[1-dir] && t.flags&flagACK != 0 {
		f.base[1-dir], f.hasBase[1-dir] = t.ack-1, true
		if t.flags&(flagRST|flagSYN) == flagRST {
			f.hasBase[1-dir] = t.ack != 0
		}
	}
}

// annotateQuoted says what is known of a packet that an ICMP error quotes:
// whether it was captured, and what its flow says about it.
func (c *capture) annotateQuoted(q *level) {
	switch {
	case q.ip.id == 0:
		q.note.id.step = isZero
	case c.ids[uint32(q.ip.proto)<<16|uint32(q.ip.id)]:
		q.note.id.step = "that of a packet seen before"
	default:
		q.note.id.step = "that of no packet seen before"
	}
	sp, dp, ok := ports(q)
	if !ok {
		return
	}
	src, dst := netip.AddrPortFrom(q.ip.src, sp), netip.AddrPortFrom(q.ip.dst, dp)
	f := c.find(int(q.ip.proto), src, dst)
	known := f != nil
	if !known {
		f = &flow{}
		f.client, f.server = ends(q, src, dst)
	}
	dir := 0
	if src != f.client {
		dir = 1
	}
	q.note.srcPort, q.note.dstPort = f.portNames(dir, sp, dp)
	if q.tcp != nil {
		q.note.seq, q.note.ack = "of a flow not captured", "of a flow not captured"
		q.note.tsval, q.note.ecr = "quoted", "quoted"
		if known {
			q.note.seq = fmt.Sprint(q.tcp.seq - f.base[dir])
			q.note.ack = "none"
			if q.tcp.flags&flagACK != 0 {
				q.note.ack = fmt.Sprint(q.tcp.ack - f.base[1-dir])
			}
		}
	}
}

// find returns the flow between two ends, in no tunnel or any.
func (c *capture) find(proto int, a, b netip.AddrPort) *flow {
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	for _, tunnel := range [2]string{"", "vxlan "} {
		if f := c.byKey[flowKey{tunnel: tunnel, proto: proto, lo: a, hi: b}]; f != nil {
			return f
		}
	}
	return nil
}
