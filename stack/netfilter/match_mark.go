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
	markKind     = &kind{"mark", markOptions, alike(markMatch{})}
	connmarkKind = &kind{"connmark", markOptions, alike(markMatch{conn: true})}
)

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
