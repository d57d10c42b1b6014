package conntrack

import (
	"encoding/binary"
	"errors"
)

// Errors of Translate; the packet is dropped.
var (
	ErrMalformed = errors.New("conntrack: translate: packet is cut short or not the one that was tracked, wanted the same")
	ErrRedirect  = errors.New("conntrack: translate: ICMP redirect about a translated flow, wanted none")
)

// Translates reports whether Translate would change a packet with Conn c at the hook of m.
func (c Conn) Translates(m Manip) bool {
	return c.Entry != nil && c.Entry.status&m.applied(c.Dir) != 0
}

// Translate rewrites the packet that Track gave c for, in place: at PREROUTING and OUTPUT with Dst, at POSTROUTING and INPUT
// with Src. It changes addresses, ports or the ICMP identifier, and updates checksums incrementally (RFC 1624), so that a
// corrupt packet stays corrupt. It is meant for every packet; where nothing is translated it does nothing.
//
// An ICMP error is rewritten outside and inside: the datagram it quotes becomes the one its receiver sent, with IP and
// transport checksums right as far as the quote reaches, and the error comes from the address that datagram was sent to,
// even if a router on the way made it. That is why traceroute to a service shows the service at every hop.
//
// On error the packet must be dropped; it may be half translated.
func (t *Table) Translate(c Conn, m Manip, pkt []byte) error {
	if !c.Translates(m) {
		return c.redirect(pkt)
	}
	hlen, total, ok := splitIPv4(pkt, false)
	if !ok {
		return ErrMalformed
	}
	pkt = pkt[:total]
	// What a packet shall look like is the inverse of what the other direction looks like.
	target, _ := c.Entry.node[c.Dir^1].key.invert()
	if c.State == StateRelated && pkt[9] == protoICMP {
		return translateError(c, m, pkt, hlen, &target)
	}
	if pkt[9] != target.proto {
		return ErrMalformed
	}
	_, err := rewrite(pkt, hlen, total, m, &target)
	return err
}

// redirect returns ErrRedirect for an ICMP redirect about a flow with NAT: following it, the two ends would meet without
// their translator.
func (c Conn) redirect(pkt []byte) error {
	if c.State != StateRelated || c.Entry.status&(SrcNAT|DstNAT) == 0 {
		return nil
	}
	hlen, total, ok := splitIPv4(pkt, false)
	if ok && pkt[9] == protoICMP && hlen < total && pkt[hlen] == 5 {
		return ErrRedirect
	}
	return nil
}

// translateError is Translate for ICMP errors. The quoted datagram went the other way: its other half is rewritten, to what
// the packets of that direction look like.
func translateError(c Conn, m Manip, pkt []byte, hlen int, target *key) error {
	msg := pkt[hlen:]
	if len(msg) < icmpHeaderLen || !isICMPError(msg[0]) {
		return ErrMalformed
	}
	if msg[0] == 5 {
		return ErrRedirect
	}
	quote := msg[icmpHeaderLen:]
	qlen, _, ok := splitIPv4(quote, true)
	if !ok || quote[9] != target.proto {
		return ErrMalformed
	}
	sent := c.Entry.node[c.Dir^1].key
	size := int(binary.BigEndian.Uint16(quote[2:])) // before it was cut
	change, err := rewrite(quote, qlen, size, m^1, &sent)
	if err != nil {
		return err
	}
	change.fixICMP(msg)
	rewriteAddr(pkt, m, target)
	return nil
}

// rewriteAddr changes the address of m to that of target and returns the change as transport checksums see it, and as sums
// over the IP header bytes see it, which includes the header checksum.
func rewriteAddr(pkt []byte, m Manip, target *key) (pseudo, bytes delta) {
	if m == Src {
		pseudo.put32(pkt[12:], target.src.v4())
	} else {
		pseudo.put32(pkt[16:], target.dst.v4())
	}
	return pseudo, pseudo + pseudo.fix(pkt[10:])
}

// rewrite makes the half m of the datagram pkt look like target. pkt may be cut short; size is its full length. The result
// is the change to a sum over its bytes.
func rewrite(pkt []byte, hlen, size int, m Manip, target *key) (delta, error) {
	l4 := pkt[hlen:]
	var need int
	switch target.proto {
	case protoTCP, protoUDP, protoSCTP, protoICMP:
		need = 8 // what a quote always has (RFC 792)
	}
	if len(l4) < need {
		return 0, ErrMalformed
	}
	pseudo, change := rewriteAddr(pkt, m, target)
	at, port := 0, target.sport
	if m == Dst {
		at, port = 2, target.dport
	}
	switch target.proto {
	case protoTCP:
		pseudo.rewritePort(l4[at:], port, &change)
		if len(l4) >= 18 { // else the checksum is not in the quote
			change += pseudo.fix(l4[16:])
		}
	case protoUDP:
		pseudo.rewritePort(l4[at:], port, &change)
		change += pseudo.fixUDP(l4[6:])
	case protoSCTP:
		change += sctpPut16(l4, at, port, size-hlen)
	case protoICMP:
		if _, query := icmpAnswer(l4[0]); query {
			var id delta
			id.put16(l4[4:], target.sport)
			change += id + id.fixICMP(l4)
		}
	}
	return change, nil
}

// rewritePort stores a port and adds the change to the pending one and to change.
func (d *delta) rewritePort(b []byte, port uint16, change *delta) {
	var c delta
	c.put16(b, port)
	*d += c
	*change += c
}
