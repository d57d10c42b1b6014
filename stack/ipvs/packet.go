package ipvs

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Verdict is what becomes of a packet.
type Verdict uint8

// The verdicts. The zero value leaves the packet alone.
const (
	Pass    Verdict = iota // it is no service's
	Forward                // it goes to the server of the connection
	Refuse                 // nobody can take it: ICMP port unreachable, whatever the protocol
	Drop                   // silently
)

// segment is what the table reads of a packet.
type segment struct {
	proto    uint8
	src, dst netip.AddrPort
	flags    byte // of TCP
	size     int
}

// parse reads TCP and UDP. False means another protocol, or a packet that is cut short.
func (s *segment) parse(pkt []byte, flags bool) bool {
	if len(pkt) < 20 || pkt[0]>>4 != 4 {
		return false
	}
	hlen := int(pkt[0]&15) * 4
	if hlen < 20 || len(pkt) < hlen+4 || binary.BigEndian.Uint16(pkt[6:])&0x1fff != 0 {
		return false
	}
	s.proto, s.size = pkt[9], len(pkt)
	l4 := pkt[hlen:]
	if s.proto != protoTCP && s.proto != protoUDP {
		return false
	}
	if flags && s.proto == protoTCP {
		if len(l4) < 20 {
			return false
		}
		s.flags = l4[13]
	}
	s.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(pkt[12:16])), binary.BigEndian.Uint16(l4))
	s.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(pkt[16:20])), binary.BigEndian.Uint16(l4[2:]))
	return true
}

// In decides about a packet to an address of the host: ip_vs_in. It reads pkt, an IPv4 packet, and keeps nothing of it.
func (t *Table) In(now time.Duration, pkt []byte) (*Conn, Verdict) {
	var s segment
	if !s.parse(pkt, true) {
		return nil, Pass
	}
	t.advance(now)
	c := t.in[connKey{s.proto, false, s.src, s.dst}]
	if c != nil && t.reused(c, &s) {
		t.end(c)
		c = nil
	}
	if c == nil {
		var v Verdict
		if c, v = t.open(&s); c == nil {
			return nil, v
		}
	}
	if c.server.gone { // ip_vs_in: the server was taken away
		if t.cfg.ExpireNodestConn {
			t.end(c)
		}
		return nil, Drop
	}
	t.seen(c, &s, false)
	return c, Forward
}

// reused reports whether a SYN begins a new connection with the addresses of an old one.
func (t *Table) reused(c *Conn, s *segment) bool {
	if s.proto != protoTCP || s.flags&(flagSYN|flagACK|flagRST) != flagSYN {
		return false
	}
	if t.cfg.ExpireNodestConn && c.server.Weight == 0 {
		return true
	}
	return !t.cfg.NoConnReuse && (c.state == tcpTimeWait || c.state == tcpClose)
}

// open makes a connection for a packet to a service; for TCP a SYN alone may (sloppy_tcp=0).
func (t *Table) open(s *segment) (*Conn, Verdict) {
	if s.proto == protoTCP && s.flags&flagSYN == 0 {
		return nil, Pass
	}
	k := Key{s.proto, s.dst}
	svc := t.services[k]
	if svc == nil {
		return nil, Pass
	}
	var template *Conn
	var d *Server
	if svc.Persistent > 0 {
		if template = t.template(svc, k, s); template != nil {
			d = template.server
		}
	} else {
		d = svc.sched.pick(svc, s.src.Addr(), s.dst.Addr())
	}
	if d == nil {
		return nil, Refuse
	}
	c := t.connect(k, s.src, d, false)
	if template != nil {
		c.control = template
		template.controls++
		t.touch(template)
	}
	svc.Stats.Conns++
	d.Stats.Conns++
	return c, Forward
}

// template is ip_vs_sched_persist: what the client had last, or what it gets now.
func (t *Table) template(svc *Service, k Key, s *segment) *Conn {
	client := netip.AddrPortFrom(s.src.Addr(), 0)
	c := t.in[connKey{k.Proto, true, client, k.Addr}]
	if c != nil && !c.server.gone && !(t.cfg.ExpireQuiescentTemplate && c.server.Weight == 0) {
		return c
	}
	d := svc.sched.pick(svc, s.src.Addr(), s.dst.Addr())
	if d == nil {
		return nil
	}
	if c != nil { // it stays until nothing comes from it, but nobody finds it
		delete(t.in, c.inKey())
	}
	c = t.connect(k, client, d, true)
	c.timeout = svc.Persistent
	return c
}

// seen notes a packet of a connection.
func (t *Table) seen(c *Conn, s *segment, fromServer bool) {
	if c.Proto == protoTCP {
		c.advanceTCP(fromServer, s.flags)
	} else {
		c.timeout = udpTimeout
		if c.control != nil {
			c.control.assured = true
		}
	}
	t.touch(c)
	stats := []*Stats{&c.server.Stats, nil}
	if svc := t.services[Key{c.Proto, c.Service}]; svc != nil {
		stats[1] = &svc.Stats
	}
	for _, st := range stats {
		switch {
		case st == nil:
		case fromServer:
			st.OutPackets++
			st.OutBytes += uint64(s.size)
		default:
			st.InPackets++
			st.InBytes += uint64(s.size)
		}
	}
}

// Out finds the connection of a packet that a server sends to its client, nil if it is of none: ip_vs_out.
func (t *Table) Out(now time.Duration, pkt []byte) *Conn {
	var s segment
	if len(t.out) == 0 || !s.parse(pkt, true) {
		return nil
	}
	t.advance(now)
	c := t.out[connKey{s.proto, false, s.src, s.dst}]
	if c != nil {
		t.seen(c, &s, true)
	}
	return c
}

// quoted returns the datagram that an ICMP error quotes, nil if the packet is none.
func quoted(pkt []byte) []byte {
	if len(pkt) < 20 || pkt[9] != 1 {
		return nil
	}
	hlen := int(pkt[0]&15) * 4
	if len(pkt) < hlen+8 || binary.BigEndian.Uint16(pkt[6:])&0x1fff != 0 {
		return nil
	}
	switch pkt[hlen] {
	case 3, 4, 11:
		return pkt[hlen+8:]
	}
	return nil
}

// InError finds the connection that an ICMP error to a service's address is about: it quotes what the client was sent.
func (t *Table) InError(now time.Duration, pkt []byte) *Conn {
	var s segment
	if q := quoted(pkt); q == nil || len(t.in) == 0 || !s.parse(q, false) {
		return nil
	}
	t.advance(now)
	return t.in[connKey{s.proto, false, s.dst, s.src}]
}

// OutError finds the connection that an ICMP error to a client is about: it quotes what the server was sent.
func (t *Table) OutError(now time.Duration, pkt []byte) *Conn {
	var s segment
	if q := quoted(pkt); q == nil || len(t.out) == 0 || !s.parse(q, false) {
		return nil
	}
	t.advance(now)
	return t.out[connKey{s.proto, false, s.dst, s.src}]
}
