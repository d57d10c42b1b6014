package text

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// names of offsets and values in comparisons.
var filterNames = map[string]uint32{
	"tcpflags": 13, "icmptype": 0, "icmpcode": 1,
	"tcp-fin": tcpFIN, "tcp-syn": tcpSYN, "tcp-rst": tcpRST, "tcp-push": tcpPSH, "tcp-ack": tcpACK, "tcp-urg": tcpURG, "tcp-ece": 64, "tcp-cwr": 128,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8, "icmp-timxceed": 11, "icmp-paramprob": 12,
}

// comparison reads PROTO[OFFSET:SIZE] [& MASK] OP VALUE.
func (p *filterParser) comparison() (test, error) {
	load, err := p.accessor()
	if err != nil {
		return nil, err
	}
	mask := uint32(0xffffffff)
	if p.take("&") != "" {
		if mask, err = p.value(0); err != nil {
			return nil, err
		}
	}
	op := p.take("=", "==", "!=", "<", ">", "<=", ">=")
	if op == "" {
		return nil, p.errorf("found %q, want =, !=, <, >, <= or >=", p.peek())
	}
	want, err := p.value(0)
	if err != nil {
		return nil, err
	}
	return func(v *view) bool {
		n, ok := load(v)
		if n &= mask; !ok {
			return false
		}
		switch op {
		case "!=":
			return n != want
		case "<":
			return n < want
		case ">":
			return n > want
		case "<=":
			return n <= want
		case ">=":
			return n >= want
		}
		return n == want
	}, nil
}

// accessor reads PROTO[OFFSET:SIZE].
func (p *filterParser) accessor() (func(*view) (uint32, bool), error) {
	proto, rest, _ := strings.Cut(p.peek(), "[")
	inside, end, closed := strings.Cut(rest, "]")
	offset, size, sized := strings.Cut(inside, ":")
	n := 1
	if sized {
		n, _ = strconv.Atoi(size)
	}
	at, ok := number(strings.TrimSpace(offset))
	base := bases[proto]
	switch {
	case !closed || end != "":
		return nil, p.errorf("%q, want PROTO[OFFSET] or PROTO[OFFSET:SIZE]", p.peek())
	case base == nil:
		return nil, p.errorf("%q, want ether, ip, arp, tcp, udp or icmp before the bracket", proto)
	case !ok || at > 1<<16:
		return nil, p.errorf("offset %q, want a number", offset)
	case n != 1 && n != 2 && n != 4:
		return nil, p.errorf("size %q, want 1, 2 or 4", size)
	}
	p.at++
	return func(v *view) (uint32, bool) {
		b := base(v)
		if uint64(len(b)) < uint64(at)+uint64(n) {
			return 0, false
		}
		switch b = b[at:]; n {
		case 1:
			return uint32(b[0]), true
		case 2:
			return uint32(binary.BigEndian.Uint16(b)), true
		}
		return binary.BigEndian.Uint32(b), true
	}, nil
}

// bases are where the offsets of an accessor count from; nil is not there.
var bases = map[string]func(*view) []byte{
	"ether": func(v *view) []byte { return v.ether },
	"ip":    func(v *view) []byte { return v.only(etherIPv4) },
	"arp":   func(v *view) []byte { return v.only(etherARP) },
	"tcp":   func(v *view) []byte { return v.l4(protoTCP) },
	"udp":   func(v *view) []byte { return v.l4(protoUDP) },
	"icmp":  func(v *view) []byte { return v.l4(protoICMP) },
}

func (v *view) only(typ uint16) []byte {
	if v.etherType != typ {
		return nil
	}
	return v.net
}

// l4 is the transport header of IPv4; as in pcap-filter(7) there is none in later
// fragments.
func (v *view) l4(proto byte) []byte {
	if !v.isIP() || v.proto != proto || v.fragment || len(v.net) < v.ihl {
		return nil
	}
	return v.net[v.ihl:]
}

// value reads a number, a name, or several joined by | in parentheses.
func (p *filterParser) value(depth int) (uint32, error) {
	if depth > maxNesting {
		return 0, p.errorf("more than %d levels of nesting", maxNesting)
	}
	if p.take("(") != "" {
		n, err := p.value(depth + 1)
		for err == nil && p.take("|") != "" {
			var more uint32
			more, err = p.value(depth + 1)
			n |= more
		}
		if err == nil && p.take(")") == "" {
			err = p.errorf("found %q, want a closing parenthesis", p.peek())
		}
		return n, err
	}
	n, ok := number(p.peek())
	if !ok {
		return 0, p.errorf("found %q, want a number or a name such as tcp-syn", p.peek())
	}
	p.at++
	return n, nil
}

func number(s string) (uint32, bool) {
	if n, ok := filterNames[s]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 0, 32)
	return uint32(n), err == nil
}
