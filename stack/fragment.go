package stack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
)

// fragment sends p in pieces that fit mtu (RFC 791 §3.2). Pieces keep the
// identification; a piece of a piece keeps its place.
func (h *Host) fragment(p *packet, mtu int) {
	ip := p.ip()
	if ip.dontFragment() && !p.cut {
		if p.in != nil {
			h.sendError(p, icmpUnreachable, codeFragNeeded, uint32(mtu))
		}
		h.drop(p, DropTooBig)
		return
	}
	h.cut(p, mtu, h.neighOutput)
	p.frame.Release()
}

// cut makes pieces of p that fit mtu and hands each to emit, which owns its
// frame. p keeps its own.
func (h *Host) cut(p *packet, mtu int, emit func(*packet)) {
	ip := p.ip()
	ihl := ip.headerLen()
	step := (mtu - ihl) &^ 7
	body := ip.payload()
	base := int(ip.flags() & fragOffset)
	for at := 0; at < len(body); at += step {
		n := min(step, len(body)-at)
		q := *p
		q.frame = h.drv.NewFrame(ihl + n)
		q.frame.Inherit(p.frame)
		b := q.ip()
		copy(b, ip[:ihl])
		copy(b[ihl:], body[at:at+n])
		binary.BigEndian.PutUint16(b[2:], uint16(ihl+n))
		flags := uint16(base+at/8) | ip.flags()&flagMF
		if at+n < len(body) {
			flags |= flagMF
		}
		binary.BigEndian.PutUint16(b[6:], flags)
		b.fixChecksum()
		emit(&q)
	}
}

// Limits of reassembly: ipfrag_time and a bound on memory per host in the
// spirit of ipfrag_high_thresh.
const (
	fragTimeout  = 30 * time.Second
	maxFragBytes = 4 << 20
	fragCost     = 512 // what a datagram in pieces costs beside its payload
)

// fragKey names a datagram in pieces (RFC 791 §3.2).
type fragKey struct {
	src, dst netip.Addr
	id       uint16
	proto    byte
	dev      *Device
}

// fragQueue is one datagram in pieces.
type fragQueue struct {
	key    fragKey
	data   []byte // payload so far
	have   []byte // a bit per 8 bytes
	got    int    // bytes received
	cost   int    // of the bound on memory
	total  int    // length of the payload, -1 until the last piece has come
	first  []byte // header of the first piece
	lead   int    // length of its payload
	packet packet // the first piece that came, without its frame
	id     uint64
	broken bool // a piece was not intact
	timer  *link.Timer
}

// reassembler collects pieces. The zero value is ready.
type reassembler struct {
	queues map[fragKey]*fragQueue
	bytes  int
}

// defragment adds the fragment p to its datagram. It returns true when p has
// become the whole datagram; otherwise p is consumed. Overlapping pieces spoil
// the whole datagram, as in Linux since 2018 (RFC 5722 §4 in spirit).
func (h *Host) defragment(p *packet) bool {
	ip := p.ip()
	off, body := int(ip.flags()&fragOffset)*8, ip.payload()
	more := ip.flags()&flagMF != 0
	if len(body) == 0 || more && len(body)%8 != 0 || off+len(body)+ip.headerLen() > 65535 {
		h.drop(p, DropFragment)
		return false
	}
	q := h.fragQueue(p)
	if q == nil || q.has(off, body) { // a duplicate changes nothing
		h.drop(p, DropFragment)
		return false
	}
	if !q.add(off, body, more) {
		h.forget(q)
		h.drop(p, DropFragment)
		return false
	}
	h.charge(q, fragCost+len(q.data))
	q.broken = q.broken || !p.frame.Intact
	if off == 0 {
		q.first, q.lead = append([]byte(nil), ip[:ip.headerLen()]...), len(body)
		q.id = p.frame.ID
	}
	if q.total < 0 || q.got < q.total {
		p.frame.Release()
		return false
	}
	h.forget(q)
	if len(q.first)+q.total > 65535 { // the first piece has more options than the last
		h.drop(p, DropFragment)
		return false
	}
	whole := h.joined(q)
	whole.Inherit(p.frame)
	whole.ID, whole.Intact = q.id, !q.broken
	copyEthernet(whole, p.frame)
	p.frame.Release()
	p.frame, p.pieces = whole, true
	return true
}

// copyEthernet gives a packet that takes the place of another what is in front
// of that one: a bridge still needs the Ethernet header.
func copyEthernet(to, from *link.Frame) {
	copy(to.Push(link.EthernetHeader), from.Push(link.EthernetHeader)[:link.EthernetHeader])
	to.Pull(link.EthernetHeader)
	from.Pull(link.EthernetHeader)
}

// fragQueue finds or starts the datagram that p is a piece of; nil means that
// too much is waiting already.
func (h *Host) fragQueue(p *packet) *fragQueue {
	ip := p.ip()
	key := fragKey{ip.src(), ip.dst(), ip.id(), ip.proto(), p.in}
	if q := h.frags.queues[key]; q != nil {
		return q
	}
	if h.frags.bytes >= maxFragBytes {
		return nil
	}
	if h.frags.queues == nil {
		h.frags.queues = make(map[fragKey]*fragQueue)
	}
	q := &fragQueue{key: key, total: -1, packet: *p}
	q.packet.frame = nil
	q.timer = h.drv.AfterFunc(h.source, fragTimeout, func() { h.expire(q) })
	h.frags.queues[key] = q
	h.charge(q, fragCost)
	return q
}

// charge sets what a datagram counts towards the bound on memory.
func (h *Host) charge(q *fragQueue, cost int) {
	h.frags.bytes += cost - q.cost
	q.cost = cost
}

// has reports whether all of a piece has come before.
func (q *fragQueue) has(off int, body []byte) bool {
	if off+len(body) > len(q.data) {
		return false
	}
	for unit := off / 8; unit < (off+len(body)+7)/8; unit++ {
		if unit/8 >= len(q.have) || q.have[unit/8]&(1<<(unit%8)) == 0 {
			return false
		}
	}
	return true
}

// add puts a piece in its place. It reports false if the piece contradicts
// what is there.
func (q *fragQueue) add(off int, body []byte, more bool) bool {
	end := off + len(body)
	if q.total >= 0 && end > q.total || !more && (q.total >= 0 && q.total != end || len(q.data) > end) {
		return false
	}
	for len(q.data) < end {
		q.data = append(q.data, make([]byte, end-len(q.data))...)
	}
	for unit := off / 8; unit < (end+7)/8; unit++ {
		for len(q.have) <= unit/8 {
			q.have = append(q.have, 0)
		}
		if q.have[unit/8]&(1<<(unit%8)) != 0 {
			return false
		}
		q.have[unit/8] |= 1 << (unit % 8)
	}
	copy(q.data[off:], body)
	q.got += len(body)
	if !more {
		q.total = end
	}
	return true
}

func (h *Host) forget(q *fragQueue) {
	q.timer.Stop()
	delete(h.frags.queues, q.key)
	h.charge(q, 0)
}

// joined returns the whole datagram.
func (h *Host) joined(q *fragQueue) *link.Frame {
	f := h.drv.NewFrame(len(q.first) + q.total)
	b := ipv4(f.Bytes())
	copy(b, q.first)
	copy(b[len(q.first):], q.data[:q.total])
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], 0)
	b.fixChecksum()
	return f
}

// expire gives up on a datagram. The sender is told if its first piece came
// and it was meant for this host (ICMP 11/1).
func (h *Host) expire(q *fragQueue) {
	h.forget(q)
	d := q.packet.in
	if d == nil {
		d = h.lo
	}
	d.point.Count(DropFragment)
	if q.first == nil || !h.isLocal(q.key.dst) {
		return
	}
	f := h.newFrame(len(q.first) + q.lead)
	copy(f.Bytes(), q.first)
	copy(f.Bytes()[len(q.first):], q.data)
	p := q.packet
	p.frame = f
	h.sendError(&p, icmpTimeExceeded, 1, 0)
	f.Release()
}
