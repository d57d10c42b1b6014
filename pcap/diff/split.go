package diff

// minSegment is the smallest segment that Linux sends (net.ipv4.tcp_min_snd_mss):
// no capture can ask for more parts.
const minSegment = 48

// split makes of a TCP segment that is larger than the connection allows the
// segments that a network card makes of it: TCP segmentation offload. mss is
// the smaller one that the two sides announced, 0 if that was not seen. A
// segment that is small enough is returned alone.
func split(p *packet, mss int) []*packet {
	l := p.inner()
	if l.tcp == nil || l.ip.fragment() || p.cut {
		return []*packet{p}
	}
	size := mss - (l.tcp.head - 20)
	if mss == 0 { // no SYN in the capture: Ethernet's usual MTU
		size = 1500 - (l.ip.length - l.ip.payload) - l.tcp.head
	}
	size = max(size, minSegment)
	if len(l.rest) <= size {
		return []*packet{p}
	}
	var parts []*packet
	for from := 0; from < len(l.rest); from += size {
		parts = append(parts, p.cutPart(len(parts)+1, from, min(from+size, len(l.rest))))
	}
	return parts
}

// cutPart is one segment of p, with the bytes from from to to.
func (p *packet) cutPart(n, from, to int) *packet {
	q := *p
	q.part, q.levels = n, append([]*level(nil), p.levels...)
	less := len(p.inner().rest) - (to - from) // bytes that this part does not have
	q.wire -= less
	for i, old := range p.levels {
		l := *old
		if l.ip != nil {
			h := *l.ip
			h.length, h.payload = max(h.length-less, 0), max(h.payload-less, 0)
			h.id += uint16(n - 1)
			l.ip = &h
		}
		if l.udp != nil {
			u := *l.udp
			u.length = max(u.length-less, 0)
			l.udp = &u
		}
		q.levels[i] = &l
	}
	l := q.inner()
	t := *l.tcp
	t.seq += uint32(from)
	if to < len(p.inner().rest) {
		t.flags &^= flagPSH | flagFIN // they belong to the last byte
	}
	if from > 0 {
		t.flags &^= flagCWR
	}
	l.tcp, l.rest = &t, p.inner().rest[from:to]
	return &q
}
