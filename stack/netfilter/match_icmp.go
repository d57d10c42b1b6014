package netfilter

import (
	"strconv"
	"strings"
)

// icmpMatch is -m icmp. Code ranges cover all codes when only a type was given.
type icmpMatch struct {
	typ            uint8
	codeLo, codeHi uint8
	any, neg       bool
	set            bool
}

func (m *icmpMatch) test(e *eval, _ []uint64) bool {
	p := e.p
	if p.Fragment {
		return false
	}
	return (m.any || p.ICMPType == m.typ && p.ICMPCode >= m.codeLo && p.ICMPCode <= m.codeHi) != m.neg
}

func (m *icmpMatch) appendTo(b []byte) []byte {
	b = append(appendNot(b, m.neg), " --icmp-type "...)
	if m.any {
		return append(b, "any"...)
	}
	b = strconv.AppendUint(b, uint64(m.typ), 10)
	if m.codeLo == m.codeHi {
		b = strconv.AppendUint(append(b, '/'), uint64(m.codeLo), 10)
	}
	return b
}

func (m *icmpMatch) finish(r *Rule, name word) error {
	switch {
	case r.proto != protoICMP || r.negProto:
		return name.errorf("this match needs -p icmp")
	case !m.set:
		return name.errorf("icmp needs --icmp-type")
	}
	return nil
}

var icmpKind = &kind{"icmp", []option{
	opt("--icmp-type", 1, true, func(m *icmpMatch, a arg) error {
		t, err := parseICMP(a.w[0])
		*m = t
		m.neg, m.set = a.neg, true
		return err
	}),
}, of(icmpMatch{})}

// icmpNames are the names of RFC 792 types and codes that iptables knows. Code -1 is any.
var icmpNames = []struct {
	name      string
	typ, code int
}{
	{"echo-reply", 0, -1}, {"pong", 0, -1}, {"destination-unreachable", 3, -1}, {"network-unreachable", 3, 0},
	{"host-unreachable", 3, 1}, {"protocol-unreachable", 3, 2}, {"port-unreachable", 3, 3},
	{"fragmentation-needed", 3, 4}, {"source-route-failed", 3, 5}, {"network-unknown", 3, 6}, {"host-unknown", 3, 7},
	{"network-prohibited", 3, 9}, {"host-prohibited", 3, 10}, {"TOS-network-unreachable", 3, 11},
	{"TOS-host-unreachable", 3, 12}, {"communication-prohibited", 3, 13}, {"host-precedence-violation", 3, 14},
	{"precedence-cutoff", 3, 15}, {"source-quench", 4, -1}, {"redirect", 5, -1}, {"network-redirect", 5, 0},
	{"host-redirect", 5, 1}, {"TOS-network-redirect", 5, 2}, {"TOS-host-redirect", 5, 3}, {"echo-request", 8, -1},
	{"ping", 8, -1}, {"router-advertisement", 9, -1}, {"router-solicitation", 10, -1}, {"time-exceeded", 11, -1},
	{"ttl-exceeded", 11, -1}, {"ttl-zero-during-transit", 11, 0}, {"ttl-zero-during-reassembly", 11, 1},
	{"parameter-problem", 12, -1}, {"ip-header-bad", 12, 0}, {"required-option-missing", 12, 1},
	{"timestamp-request", 13, -1}, {"timestamp-reply", 14, -1}, {"address-mask-request", 17, -1},
	{"address-mask-reply", 18, -1},
}

// parseICMP reads any, a name or its unique beginning, TYPE or TYPE/CODE. Type 255 is any, as in the kernel.
func parseICMP(w word) (icmpMatch, error) {
	if w.text == "any" || w.text == "255" {
		return icmpMatch{any: true, codeHi: 255}, nil
	}
	if w.text != "" && w.text[0] >= '0' && w.text[0] <= '9' {
		return parseICMPNumber(w)
	}
	found, known := -1, make([]string, 0, len(icmpNames))
	for i, n := range icmpNames {
		known = append(known, n.name)
		if strings.EqualFold(n.name, w.text) {
			found = i
			break
		}
		if len(w.text) > 0 && len(w.text) < len(n.name) && strings.EqualFold(n.name[:len(w.text)], w.text) {
			if found >= 0 {
				return icmpMatch{}, w.errorf("ambiguous: %s or %s", icmpNames[found].name, n.name)
			}
			found = i
		}
	}
	if found < 0 {
		return icmpMatch{}, w.unknown("ICMP type", known)
	}
	n := icmpNames[found]
	return newICMP(uint8(n.typ), n.code), nil
}

func newICMP(typ uint8, code int) icmpMatch {
	if code < 0 {
		return icmpMatch{typ: typ, codeHi: 255}
	}
	return icmpMatch{typ: typ, codeLo: uint8(code), codeHi: uint8(code)}
}

func parseICMPNumber(w word) (icmpMatch, error) {
	first, second, hasCode := strings.Cut(w.text, "/")
	typ, err := parseNumber(word{first, w.col}, 255)
	if err != nil || !hasCode {
		return newICMP(uint8(typ), -1), err
	}
	code, err := parseNumber(word{second, w.col + len(first) + 1}, 255)
	return newICMP(uint8(typ), int(code)), err
}
