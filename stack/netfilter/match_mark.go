package netfilter

import (
	"strconv"
	"strings"
)

// parseMark reads VALUE or VALUE/MASK.
func parseMark(w word) (value, mask uint32, err error) {
	first, second, hasMask := strings.Cut(w.text, "/")
	v, err := parseNumber(word{first, w.col}, 1<<32-1)
	if err != nil || !hasMask {
		return uint32(v), ^uint32(0), err
	}
	m, err := parseNumber(word{second, w.col + len(first) + 1}, 1<<32-1)
	return uint32(v), uint32(m), err
}

func appendHex(b []byte, v uint32) []byte {
	return strconv.AppendUint(append(b, "0x"...), uint64(v), 16)
}

// markMatch is -m mark, and -m connmark when conn is set.
type markMatch struct {
	value, mask uint32
	neg, conn   bool
	set         bool
}

func (m *markMatch) test(e *eval, _ []uint64) bool {
	mark := e.p.Mark
	if m.conn {
		if e.p.ConnMark == nil {
			return false
		}
		mark = *e.p.ConnMark
	}
	return (mark&m.mask == m.value) != m.neg
}

func (m *markMatch) appendTo(b []byte) []byte {
	b = appendHex(append(appendNot(b, m.neg), " --mark "...), m.value)
	if m.mask != ^uint32(0) {
		b = appendHex(append(b, '/'), m.mask)
	}
	return b
}

func (m *markMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("this match needs --mark")
	}
	return nil
}

var markOptions = []option{
	opt("--mark", 1, true, func(m *markMatch, a arg) (err error) {
		m.value, m.mask, err = parseMark(a.w[0])
		m.neg, m.set = a.neg, true
		return err
	}),
}

var (
	markKind     = &kind{"mark", markOptions, func() any { return &markMatch{} }}
	connmarkKind = &kind{"connmark", markOptions, func() any { return &markMatch{conn: true} }}
)

// stateMatch is -m conntrack --ctstate and -m state --state.
type stateMatch struct {
	flag string
	bits uint16 // bit per CTState, then SNAT and DNAT
	neg  bool
}

// stateNames are the states in the order in which iptables prints them, and stateBits the bit each stands for.
var (
	stateNames = []string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"}
	stateOrder = [...]uint16{StateInvalid: 0, StateNew: 1, StateEstablished: 3, StateRelated: 2, StateUntracked: 4}
)

const (
	stateSNAT = 1 << 5
	stateDNAT = 1 << 6
)

func (m *stateMatch) test(e *eval, _ []uint64) bool {
	var bits uint16
	if int(e.p.State) < len(stateOrder) {
		bits = 1 << stateOrder[e.p.State]
	}
	if e.p.Status&StatusSNAT != 0 {
		bits |= stateSNAT
	}
	if e.p.Status&StatusDNAT != 0 {
		bits |= stateDNAT
	}
	return (bits&m.bits != 0) != m.neg
}

func (m *stateMatch) appendTo(b []byte) []byte {
	b = append(append(append(appendNot(b, m.neg), ' '), m.flag...), ' ')
	return appendBits(b, m.bits, stateNames)
}

func (m *stateMatch) finish(_ *Rule, name word) error {
	if m.bits == 0 {
		return name.errorf("this match needs %s", m.flag)
	}
	return nil
}

func (m *stateMatch) set(a arg, names []string) (err error) {
	m.neg = a.neg
	m.bits, err = parseBits(a.w[0], "state", names)
	return err
}

// parseBits reads a comma-separated list of names into one bit each.
func parseBits(w word, what string, names []string) (bits uint16, err error) {
	col := w.col
	for _, part := range strings.Split(w.text, ",") {
		i, ok := indexFold(names, part)
		if !ok {
			return 0, word{part, col}.unknown(what, names)
		}
		bits |= 1 << i
		col += len(part) + 1
	}
	return bits, nil
}

var conntrackKind = &kind{"conntrack", append([]option{
	opt("--ctstate", 1, true, func(m *stateMatch, a arg) error { return m.set(a, stateNames) }),
}, unsupported("--ctproto", "--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst", "--ctorigsrcport",
	"--ctorigdstport", "--ctreplsrcport", "--ctrepldstport", "--ctstatus", "--ctexpire", "--ctdir")...),
	func() any { return &stateMatch{flag: "--ctstate"} }}

var stateKind = &kind{"state", []option{
	opt("--state", 1, true, func(m *stateMatch, a arg) error { return m.set(a, stateNames[:5]) }),
}, func() any { return &stateMatch{flag: "--state"} }}

// unsupported are options that iptables has and this package has not.
func unsupported(names ...string) []option {
	var list []option
	for _, name := range names {
		list = append(list, opt(name, 1, true, func(_ any, a arg) error {
			return a.name.errorf("iptables has this option, this emulation has not")
		}))
	}
	return list
}
