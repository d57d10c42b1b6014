package netfilter

import (
	"encoding/binary"
	"strconv"
	"strings"
)

// dscpMatch is -m dscp.
type dscpMatch struct {
	want     uint8
	neg, set bool
}

func (m *dscpMatch) test(e *eval, _ []uint64) bool { return (e.p.TOS>>2 == m.want) != m.neg }

func (m *dscpMatch) appendTo(b []byte) []byte {
	return appendHexByte(append(appendNot(b, m.neg), " --dscp "...), m.want)
}

func (m *dscpMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("dscp needs --dscp or --dscp-class")
	}
	return nil
}

// appendHexByte prints 0x and two digits.
func appendHexByte(b []byte, v uint8) []byte {
	const digits = "0123456789abcdef"
	return append(b, '0', 'x', digits[v>>4], digits[v&15])
}

// dscpClasses are the names of code points (RFC 2474, RFC 2597, RFC 3246).
var dscpClasses = map[string]uint8{
	"CS0": 0, "CS1": 8, "CS2": 16, "CS3": 24, "CS4": 32, "CS5": 40, "CS6": 48, "CS7": 56, "BE": 0, "EF": 46,
	"AF11": 10, "AF12": 12, "AF13": 14, "AF21": 18, "AF22": 20, "AF23": 22, "AF31": 26, "AF32": 28, "AF33": 30,
	"AF41": 34, "AF42": 36, "AF43": 38,
}

func parseDSCP(w word) (uint8, error) {
	n, err := parseNumber(w, 63)
	return uint8(n), err
}

func parseDSCPClass(w word) (uint8, error) {
	v, ok := dscpClasses[strings.ToUpper(w.text)]
	if !ok {
		return 0, w.unknown("DSCP class", sortedKeys(dscpClasses))
	}
	return v, nil
}

var dscpKind = &kind{"dscp", []option{
	opt("--dscp", 1, true, func(m *dscpMatch, a arg) (err error) {
		m.want, err = parseDSCP(a.w[0])
		m.neg, m.set = a.neg, true
		return err
	}),
	opt("--dscp-class", 1, true, func(m *dscpMatch, a arg) (err error) {
		m.want, err = parseDSCPClass(a.w[0])
		m.neg, m.set = a.neg, true
		return err
	}),
}, of(dscpMatch{})}

// tosMatch is -m tos.
type tosMatch struct {
	value, mask uint8
	neg, set    bool
}

func (m *tosMatch) test(e *eval, _ []uint64) bool { return (e.p.TOS&m.mask == m.value) != m.neg }

func (m *tosMatch) appendTo(b []byte) []byte {
	b = append(appendHexByte(append(appendNot(b, m.neg), " --tos "...), m.value), '/')
	return appendHexByte(b, m.mask)
}

func (m *tosMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("tos needs --tos")
	}
	return nil
}

// tosNames are the services of RFC 1349; a name stands for its bits alone.
var tosNames = map[string]uint8{
	"Minimize-Delay": 0x10, "Maximize-Throughput": 0x08, "Maximize-Reliability": 0x04, "Minimize-Cost": 0x02,
	"Normal-Service": 0,
}

// tosNamed is the mask that goes with a name.
const tosNamed = 0x3f

// parseTOS reads a name, VALUE or VALUE/MASK.
func parseTOS(w word) (value, mask uint8, err error) {
	for name, v := range tosNames {
		if strings.EqualFold(name, w.text) {
			return v, tosNamed, nil
		}
	}
	first, second, hasMask := strings.Cut(w.text, "/")
	v, err := parseNumber(word{first, w.col}, 255)
	if err != nil || !hasMask {
		return uint8(v), 0xff, err
	}
	m, err := parseNumber(word{second, w.col + len(first) + 1}, 255)
	return uint8(v), uint8(m), err
}

var tosKind = &kind{"tos", []option{
	opt("--tos", 1, true, func(m *tosMatch, a arg) (err error) {
		m.value, m.mask, err = parseTOS(a.w[0])
		m.neg, m.set = a.neg, true
		return err
	}),
}, of(tosMatch{})}

// tcpmssMatch is -m tcpmss: the MSS option of a SYN.
type tcpmssMatch struct {
	lo, hi   uint16
	set, neg bool
}

// test finds no MSS in a segment without the option, which then never matches, even inverted options of it: the
// kernel takes it for one that does not have the property.
func (m *tcpmssMatch) test(e *eval, _ []uint64) bool {
	mss, ok := e.p.mss()
	if !ok {
		return m.neg
	}
	return (mss >= m.lo && mss <= m.hi) != m.neg
}

// mss reads the option from the packet's bytes (RFC 9293 §3.2).
func (p *Packet) mss() (v uint16, ok bool) {
	p.options(func(kind uint8, data []byte) bool {
		if ok = kind == 2 && len(data) == 2; ok {
			v = binary.BigEndian.Uint16(data)
		}
		return !ok
	})
	return v, ok
}

// hasOption reports whether the segment has an option of a kind.
func (p *Packet) hasOption(want uint8) (ok bool) {
	p.options(func(kind uint8, _ []byte) bool {
		ok = kind == want
		return !ok
	})
	return ok
}

// options calls f for each TCP option until it returns false or the rest makes no sense.
func (p *Packet) options(f func(kind uint8, data []byte) bool) {
	seg := p.transport()
	if p.Fragment || len(seg) < 20 {
		return
	}
	end := min(int(seg[12]>>4)*4, len(seg))
	for at := 20; at < end; {
		kind, n := seg[at], 1
		var data []byte
		if kind > 1 {
			if at+1 >= end || seg[at+1] < 2 || at+int(seg[at+1]) > end {
				return
			}
			n = int(seg[at+1])
			data = seg[at+2 : at+n]
		}
		if !f(kind, data) || kind == 0 {
			return
		}
		at += n
	}
}

// transport is what follows the IPv4 header of the packet's bytes.
func (p *Packet) transport() []byte {
	if len(p.Bytes) < 20 {
		return nil
	}
	return p.Bytes[min(int(p.Bytes[0]&15)*4, len(p.Bytes)):]
}

func (m *tcpmssMatch) appendTo(b []byte) []byte {
	return appendPortRange(append(appendNot(b, m.neg), " --mss "...), m.lo, m.hi)
}

func (m *tcpmssMatch) finish(r *Rule, name word) error {
	switch {
	case !m.set:
		return name.errorf("tcpmss needs --mss")
	case r.proto != protoTCP || r.negProto:
		return name.errorf("this match needs -p tcp")
	}
	return nil
}

var tcpmssMatchKind = &kind{"tcpmss", []option{
	opt("--mss", 1, true, func(m *tcpmssMatch, a arg) (err error) {
		var n ctNumber
		err = n.parse(a, 65535)
		*m = tcpmssMatch{uint16(n.lo), uint16(n.hi), true, a.neg}
		return err
	}),
}, of(tcpmssMatch{})}

// u32Match is -m u32: numbers in the packet, as docker tells the VNI of an encrypted overlay.
type u32Match struct {
	text  string // as iptables-save prints it
	tests []u32Test
	neg   bool
}

// u32Test is one LOCATION=VALUES.
type u32Test struct {
	steps  []u32Step
	ranges [][2]uint32
}

// u32Step is a number, or an operator and a number: & << >> move or mask the value, @ goes on at the value as an
// offset.
type u32Step struct {
	op byte // 0, '&', '<', '>', '@'
	n  uint32
}

func (m *u32Match) test(e *eval, _ []uint64) bool {
	for i := range m.tests {
		if !m.tests[i].match(e.p.Bytes) {
			return m.neg
		}
	}
	return !m.neg
}

func (t *u32Test) match(b []byte) bool {
	at, val, ok := uint64(0), uint32(0), false
	load := func(n uint32) {
		if ok = at+uint64(n)+4 <= uint64(len(b)); ok {
			val = binary.BigEndian.Uint32(b[at+uint64(n):])
		}
	}
	for i, s := range t.steps {
		switch {
		case i == 0:
			load(s.n)
		case s.op == '&':
			val &= s.n
		case s.op == '<':
			val <<= s.n
		case s.op == '>':
			val >>= s.n
		case s.op == '@':
			at += uint64(val)
			load(s.n)
		}
		if !ok {
			return false
		}
	}
	for _, r := range t.ranges {
		if val >= r[0] && val <= r[1] {
			return true
		}
	}
	return false
}

func (m *u32Match) appendTo(b []byte) []byte {
	return append(append(append(appendNot(b, m.neg), ` --u32 "`...), m.text...), '"')
}

func (m *u32Match) finish(_ *Rule, name word) error {
	if m.text == "" {
		return name.errorf("u32 needs --u32")
	}
	return nil
}

// Limits of the kernel: tests, operations and ranges.
const u32Most = 10

func (m *u32Match) parse(w word) error {
	var out []string
	for _, part := range strings.Split(w.text, "&&") {
		t, text, err := parseU32(strings.TrimSpace(part), w)
		if err != nil {
			return err
		}
		m.tests, out = append(m.tests, t), append(out, text)
	}
	if len(m.tests) > u32Most {
		return w.errorf("%d tests, at most %d fit", len(m.tests), u32Most)
	}
	m.text = strings.Join(out, "&&")
	return nil
}

func parseU32(part string, w word) (t u32Test, text string, err error) {
	location, values, ok := strings.Cut(part, "=")
	if !ok {
		return t, "", w.errorf("%q is not LOCATION=VALUES", part)
	}
	rest, op := strings.TrimSpace(location), byte(0)
	for {
		end := strings.IndexAny(rest, "&<>@")
		digits := rest
		if end >= 0 {
			digits = rest[:end]
		}
		n, err := parseNumber(word{strings.TrimSpace(digits), w.col}, 1<<32-1)
		if err != nil {
			return t, "", err
		}
		t.steps = append(t.steps, u32Step{op, uint32(n)})
		text += u32Op(op) + "0x" + strconv.FormatUint(n, 16)
		if end < 0 {
			break
		}
		op, rest = rest[end], rest[end+1:]
		if op == '<' || op == '>' {
			if rest == "" || rest[0] != op {
				return t, "", w.errorf("%q: wanted << or >>", part)
			}
			rest = rest[1:]
		}
	}
	for i, v := range strings.Split(values, ",") {
		var n ctNumber
		if err := n.parse(arg{w: []word{{strings.TrimSpace(v), w.col}}}, 1<<32-1); err != nil {
			return t, "", err
		}
		t.ranges = append(t.ranges, [2]uint32{n.lo, n.hi})
		text += []string{",", "="}[min(1, max(0, 1-i))] + "0x" + strconv.FormatUint(uint64(n.lo), 16)
		if n.hi != n.lo {
			text += ":0x" + strconv.FormatUint(uint64(n.hi), 16)
		}
	}
	if len(t.steps) > u32Most+1 || len(t.ranges) > u32Most {
		return t, "", w.errorf("more than %d operations or ranges in one test", u32Most)
	}
	return t, text, nil
}

func u32Op(op byte) string {
	switch op {
	case 0:
		return ""
	case '<', '>':
		return string([]byte{op, op})
	}
	return string([]byte{op})
}

var u32Kind = &kind{"u32", []option{
	opt("--u32", 1, true, func(m *u32Match, a arg) error {
		m.neg = a.neg
		return m.parse(a.w[0])
	}),
}, of(u32Match{})}
