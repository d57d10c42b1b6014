package conntrack

import (
	"encoding/binary"
	"time"
)

// verdict is what a protocol tracker makes of a packet.
type verdict uint8

const (
	verdictOK      verdict = iota
	verdictInvalid         // the packet is Invalid; a new entry is forgotten
	verdictRepeat          // the entry is dead and the packet starts another
)

// streamAge is how old a UDP flow must be, besides answered, to be a stream.
const streamAge = 2 * time.Second

// packet runs the tracker of the entry's protocol over p: it checks the header, moves the state, refreshes and counts.
func (t *Table) packet(e *Entry, d Dir, p *packet) verdict {
	switch e.protocol() {
	case protoTCP:
		return t.tcpPacket(e, d, p)
	case protoUDP:
		return t.udpPacket(e, d, p)
	case protoICMP:
		return t.icmpPacket(e, d, p)
	case protoSCTP:
		return t.sctpPacket(e, d, p)
	case protoGRE:
		return t.grePacket(e, d, p)
	}
	t.refresh(e, d, p, t.cfg.Timeouts.Generic)
	return verdictOK
}

// refresh gives e another timeout to live and counts p.
func (t *Table) refresh(e *Entry, d Dir, p *packet, timeout time.Duration) {
	switch {
	case e.status&NATClash != 0: // its time is fixed
	case e.status&(Confirmed|Dying) == Confirmed:
		t.setDeadline(e, t.now+timeout)
	default:
		e.timeout = timeout
	}
	e.counters[d].Packets++
	e.counters[d].Bytes += uint64(p.total)
}

// udpPacket tracks UDP (RFC 768). A flow that has been answered becomes a stream, which is Assured and lives longer, with
// the first packet when it is more than two seconds old: shorter exchanges, such as a DNS query, leave the table early.
func (t *Table) udpPacket(e *Entry, d Dir, p *packet) verdict {
	if len(p.l4) < 8 {
		return verdictInvalid
	}
	if n := int(binary.BigEndian.Uint16(p.l4[4:])); n < 8 || n > len(p.l4) {
		return verdictInvalid
	}
	if e.status&Confirmed == 0 {
		e.proto.streamAt = t.now + streamAge
	}
	if e.status&(SeenReply|NATClash) == SeenReply && t.now > e.proto.streamAt {
		e.status |= Assured
		t.refresh(e, d, p, t.cfg.Timeouts.UDPStream)
		return verdictOK
	}
	t.refresh(e, d, p, t.cfg.Timeouts.UDP)
	return verdictOK
}

// icmpPacket tracks ICMP queries (RFC 792, RFC 950). An answer cannot begin a flow.
func (t *Table) icmpPacket(e *Entry, d Dir, p *packet) verdict {
	if e.status&Confirmed == 0 {
		switch p.l4[0] {
		case 8, 13, 15, 17:
		default:
			return verdictInvalid
		}
	}
	t.refresh(e, d, p, t.cfg.Timeouts.ICMP)
	return verdictOK
}

// grePacket tracks GRE without call ids, one flow per pair of addresses.
func (t *Table) grePacket(e *Entry, d Dir, p *packet) verdict {
	if e.status&SeenReply != 0 {
		e.status |= Assured
		t.refresh(e, d, p, t.cfg.Timeouts.GREStream)
		return verdictOK
	}
	t.refresh(e, d, p, t.cfg.Timeouts.GRE)
	return verdictOK
}
