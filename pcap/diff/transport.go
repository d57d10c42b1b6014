package diff

import (
	"net/netip"
)

// States of a checksum.
const (
	sumRight   = "right"
	sumWrong   = "wrong"
	sumPartial = "partial (left to the network card)"
	sumAbsent  = "absent"
	sumUnknown = "unknown (not all bytes are there)"
)

// sum adds 16-bit words (RFC 1071 §1).
func sum(b []byte, s uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		if s += uint32(be.Uint16(b)); s >= 1<<31 {
			s = s&0xffff + s>>16
		}
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// sumState judges the checksum at b[at:] of a message whose IP header is h.
// Linux writes the sum of the pseudo-header alone where the network card is to
// finish it (CHECKSUM_PARTIAL).
func sumState(h *ip, b []byte, at int, pseudo bool) string {
	if h.fragment() || len(b) < h.payload {
		return sumUnknown
	}
	var start uint32
	if pseudo {
		start = pseudoSum(h, len(b))
	}
	switch {
	case fold(sum(b, start)) == 0xffff:
		return sumRight
	case pseudo && be.Uint16(b[at:]) == fold(start):
		return sumPartial
	}
	return sumWrong
}

// finishedLater reports whether the checksum of a tunnel's outer packet will be
// right once the network card has finished the inner one, which is partial: Linux
// computes it for what will be on the wire (local checksum offload).
func finishedLater(outer, inner *level) bool {
	var partial uint16
	switch {
	case inner.tcp != nil && inner.tcp.sum == sumPartial:
		partial = inner.tcp.rawSum
	case inner.udp != nil && inner.udp.sum == sumPartial:
		partial = inner.udp.rawSum
	default:
		return false
	}
	finished := ^fold(sum(inner.upper, 0)) // partial is the sum of the pseudo-header
	s := sum(outer.upper, pseudoSum(outer.ip, len(outer.upper)))
	return fold(s+uint32(^partial)+uint32(finished)) == 0xffff
}

// pseudoSum adds up the pseudo-header (RFC 793 §3.1, RFC 8200 §8.1).
func pseudoSum(h *ip, n int) uint32 {
	s := uint32(h.proto) + uint32(n>>16) + uint32(n&0xffff)
	for _, a := range [2]netip.Addr{h.src, h.dst} {
		s = sum(a.AsSlice(), s)
	}
	return s
}

// readUpper reads the transport header of l; false if there is none that is
// known. Of a fragment only the first part has one.
func (l *level) readUpper(b []byte) bool {
	if l.ip.offset > 0 {
		l.rest = b
		return true
	}
	switch {
	case l.ip.proto == protoTCP && len(b) >= 20:
		l.upper = b
		l.readTCP(b)
	case l.ip.proto == protoUDP && len(b) >= 8:
		l.upper = b
		l.readUDP(b)
	case l.ip.proto == protoICMP && l.ip.version == 4 && len(b) >= 8:
		l.readICMP(b, false)
	case l.ip.proto == protoICMPv6 && l.ip.version == 6 && len(b) >= 8:
		l.readICMP(b, true)
	default:
		return false
	}
	return true
}

func (l *level) readUDP(b []byte) {
	l.udp = &udp{src: be.Uint16(b), dst: be.Uint16(b[2:]), length: int(be.Uint16(b[4:])), rawSum: be.Uint16(b[6:])}
	l.rest = b[8:]
	if l.udp.rawSum == 0 {
		l.udp.sum = sumAbsent
	} else {
		l.udp.sum = sumState(l.ip, b, 6, true)
	}
}

func (l *level) readICMP(b []byte, v6 bool) {
	m := &icmp{typ: b[0], code: b[1], rawSum: be.Uint16(b[2:]), rest: be.Uint32(b[4:]), v6: v6}
	l.icmp, l.rest = m, b[8:]
	m.sum = sumState(l.ip, b, 2, v6)
	if m.isError() {
		if q, ok := readQuoted(l.rest, ipType(l.rest)); ok {
			m.quoted, l.rest = q, nil
		}
	}
}

// readQuoted reads the beginning of a packet inside an ICMP error. What the
// quoted packet would quote itself is left as bytes.
func readQuoted(b []byte, typ uint16) (*level, bool) {
	q := &level{typ: typ}
	var body []byte
	var ok bool
	switch typ {
	case typeIPv4:
		body, ok = q.readIPv4(b)
	case typeIPv6:
		body, ok = q.readIPv6(b)
	}
	if !ok {
		return nil, false
	}
	q.pad = 0 // extensions (RFC 4884) would be compared as payload
	switch {
	case q.ip.proto == protoICMP || q.ip.proto == protoICMPv6 || !q.readUpper(body):
		q.rest = body
		if len(body) >= 8 && q.ip.offset == 0 && (q.ip.proto == protoICMP || q.ip.proto == protoICMPv6) {
			v6 := q.ip.version == 6
			q.icmp = &icmp{typ: body[0], code: body[1], rawSum: be.Uint16(body[2:]), rest: be.Uint32(body[4:]), v6: v6}
			q.icmp.sum, q.rest = sumState(q.ip, body, 2, v6), body[8:]
		}
		if q.icmp == nil && len(body) >= 8 && q.ip.proto == protoTCP && q.ip.offset == 0 { // RFC 792 quotes 8 bytes
			q.tcp, q.rest = &tcp{src: be.Uint16(body), dst: be.Uint16(body[2:]), seq: be.Uint32(body[4:]), short: true}, body[8:]
		}
	}
	return q, true
}
