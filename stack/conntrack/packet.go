package conntrack

import "encoding/binary"

// packet is a parsed view of one datagram; it borrows the bytes.
type packet struct {
	l4    []byte // the transport header and what follows, cut at the total length of the IP header
	total int    // IP total length, what the byte counters count
	key   key
}

// parseResult says what parse found.
type parseResult uint8

const (
	parseOK   parseResult = iota
	parseSkip             // not for conntrack: another family, or a non-first fragment
	parseBad              // truncated or forged
)

func (p *packet) proto() uint8 { return p.key.proto }

// splitIPv4 returns the length of the header of pkt and its total length, both checked against the bytes there are; quote
// allows a datagram to be cut short, as ICMP errors quote it, and total is then what is left.
func splitIPv4(pkt []byte, quote bool) (hlen, total int, ok bool) {
	if len(pkt) < 20 || pkt[0]>>4 != 4 {
		return 0, 0, false
	}
	hlen = int(pkt[0]&15) * 4
	total = int(binary.BigEndian.Uint16(pkt[2:]))
	if quote {
		total = min(total, len(pkt))
	}
	return hlen, total, hlen >= 20 && hlen <= total && total <= len(pkt)
}

// parse fills p from pkt and assigns every field.
func (p *packet) parse(pkt []byte) parseResult {
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		return parseSkip
	}
	hlen, total, ok := splitIPv4(pkt, false)
	if !ok {
		return parseBad
	}
	if binary.BigEndian.Uint16(pkt[6:])&0x1fff != 0 {
		return parseSkip
	}
	p.total = total
	return p.fill(pkt[:total], hlen)
}

// parseQuote fills p from a datagram quoted in an ICMP error, which may be cut anywhere.
func (p *packet) parseQuote(pkt []byte) parseResult {
	hlen, total, ok := splitIPv4(pkt, true)
	if !ok || binary.BigEndian.Uint16(pkt[6:])&0x1fff != 0 {
		return parseBad
	}
	p.total = total
	return p.fill(pkt[:total], hlen)
}

// fill reads addresses and the ports or their like.
func (p *packet) fill(pkt []byte, hlen int) parseResult {
	p.l4 = pkt[hlen:]
	p.key = key{src: addr4(pkt[12:]), dst: addr4(pkt[16:]), proto: pkt[9], family: 4}
	switch pkt[9] {
	case protoTCP, protoUDP, protoSCTP:
		if len(p.l4) < 4 {
			return parseBad
		}
		p.key.sport = binary.BigEndian.Uint16(p.l4)
		p.key.dport = binary.BigEndian.Uint16(p.l4[2:])
	case protoICMP:
		if len(p.l4) < 8 {
			return parseBad
		}
		p.key.sport = binary.BigEndian.Uint16(p.l4[4:])
		p.key.dport = binary.BigEndian.Uint16(p.l4)
	}
	return parseOK
}
