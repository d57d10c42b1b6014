package netfilter

import (
	"strconv"
	"strings"
)

// portTest is a test of one port; the zero value lets all pass.
type portTest struct {
	lo, hi uint16
	set    bool
	neg    bool
}

func (t portTest) match(port uint16) bool {
	return !t.set || (port >= t.lo && port <= t.hi) != t.neg
}

func (t portTest) exact() bool { return t.set && !t.neg && t.lo == t.hi }

func (t portTest) appendTo(b []byte, flag string) []byte {
	if !t.set {
		return b
	}
	b = append(append(appendNot(b, t.neg), flag...), ' ')
	return appendPortRange(b, t.lo, t.hi)
}

func appendPortRange(b []byte, lo, hi uint16) []byte {
	b = strconv.AppendUint(b, uint64(lo), 10)
	if hi != lo {
		b = strconv.AppendUint(append(b, ':'), uint64(hi), 10)
	}
	return b
}

// parsePortTest reads --sport and --dport. It normalises as iptables with the nf_tables back end does: all ports is
// no test, and "not 0:n" is the range that remains.
func parsePortTest(a arg) (portTest, error) {
	lo, hi, err := parsePorts(a.w[0], ":")
	switch {
	case err != nil:
		return portTest{}, err
	case lo == 0 && hi == 65535 && a.neg:
		return portTest{}, a.w[0].errorf("the rule would never match: it excludes every port")
	case lo == 0 && hi == 65535:
		return portTest{}, nil
	case lo == 0 && a.neg && hi > 0:
		return portTest{lo: hi + 1, hi: 65535, set: true}, nil
	}
	return portTest{lo, hi, true, a.neg}, nil
}

// portMatch is -m tcp, -m udp or -m sctp.
type portMatch struct {
	proto        uint8
	sport, dport portTest

	flagMask, flagWant uint8 // tcp only: --tcp-flags; mask and want are 0 for no test
	flagTest, flagNeg  bool
	option             uint8 // tcp only: --tcp-option; 0 for no test
	optionNeg          bool
}

func (m *portMatch) test(e *eval, _ []uint64) bool {
	p := e.p
	if p.Fragment || !m.dport.match(p.DstPort) || !m.sport.match(p.SrcPort) {
		return false
	}
	if m.flagTest && (p.TCPFlags&m.flagMask == m.flagWant) == m.flagNeg {
		return false
	}
	return m.option == 0 || p.hasOption(m.option) != m.optionNeg
}

func (m *portMatch) appendTo(b []byte) []byte {
	b = m.sport.appendTo(b, " --sport")
	b = m.dport.appendTo(b, " --dport")
	if m.option != 0 {
		b = strconv.AppendUint(append(appendNot(b, m.optionNeg), " --tcp-option "...), uint64(m.option), 10)
	}
	if m.flagTest {
		b = append(appendNot(b, m.flagNeg), " --tcp-flags "...)
		b = appendFlags(append(appendFlags(b, m.flagMask), ' '), m.flagWant)
	}
	return b
}

func (m *portMatch) finish(r *Rule, name word) error {
	if r.proto != m.proto || r.negProto {
		return name.errorf("this match needs -p %s", appendProto(nil, m.proto))
	}
	return nil
}

func portOptions() []option {
	return []option{
		opt("--sport|--source-port", 1, true, func(m *portMatch, a arg) (err error) {
			m.sport, err = parsePortTest(a)
			return err
		}),
		opt("--dport|--destination-port", 1, true, func(m *portMatch, a arg) (err error) {
			m.dport, err = parsePortTest(a)
			return err
		}),
	}
}

var (
	tcpKind  = &kind{"tcp", append(portOptions(), flagOptions...), alike(portMatch{proto: protoTCP})}
	udpKind  = &kind{"udp", portOptions(), alike(portMatch{proto: protoUDP})}
	sctpKind = &kind{"sctp", portOptions(), alike(portMatch{proto: protoSCTP})}
)

var flagOptions = []option{
	opt("--tcp-flags", 2, true, func(m *portMatch, a arg) (err error) {
		if m.flagMask, err = parseFlags(a.w[0]); err == nil {
			m.flagWant, err = parseFlags(a.w[1])
		}
		if m.flagWant&^m.flagMask != 0 && err == nil {
			err = a.w[1].errorf("flags that the mask %s leaves out can never be set", a.w[0].text)
		}
		return m.setFlags(a, err)
	}),
	opt("--tcp-option", 1, true, func(m *portMatch, a arg) error {
		n, err := parseNumber(a.w[0], 255)
		if err == nil && n == 0 {
			err = a.w[0].errorf("no TCP option has this number")
		}
		m.option, m.optionNeg = uint8(n), a.neg
		return err
	}),
	opt("--syn", 0, true, func(m *portMatch, a arg) error {
		m.flagMask, m.flagWant = 0x17, 0x02 // SYN of FIN, SYN, RST and ACK
		return m.setFlags(a, nil)
	}),
}

func (m *portMatch) setFlags(a arg, err error) error {
	if m.flagTest && err == nil {
		return a.name.errorf("only one of --tcp-flags and --syn can be given")
	}
	m.flagTest, m.flagNeg = true, a.neg
	return err
}

// flagSYN is SYN among tcpFlagNames.
const flagSYN = 2

// tcpFlagNames are the flags of RFC 9293 §3.1 that iptables knows, bit 0 first.
var tcpFlagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}

func parseFlags(w word) (uint8, error) {
	switch strings.ToUpper(w.text) {
	case "ALL":
		return 0x3f, nil
	case "NONE":
		return 0, nil
	}
	var mask uint8
	for _, name := range strings.Split(w.text, ",") {
		bit, ok := indexFold(tcpFlagNames, name)
		if !ok {
			return 0, word{name, w.col}.unknown("TCP flag", append([]string{"ALL", "NONE"}, tcpFlagNames...))
		}
		mask |= 1 << bit
	}
	return mask, nil
}

func indexFold(list []string, s string) (int, bool) {
	for i, x := range list {
		if strings.EqualFold(x, s) {
			return i, true
		}
	}
	return 0, false
}

func appendFlags(b []byte, mask uint8) []byte {
	return appendBits(b, uint16(mask), tcpFlagNames)
}

// appendBits prints the names of the bits that are set, separated by commas, or NONE.
func appendBits(b []byte, mask uint16, names []string) []byte {
	if mask == 0 {
		return append(b, "NONE"...)
	}
	first := true
	for i, name := range names {
		if mask>>i&1 == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		b, first = append(b, name...), false
	}
	return b
}

// portRange is one element of a multiport list.
type portRange struct{ lo, hi uint16 }

// multiportMatch is -m multiport: up to 15 ports, a range counting as two.
type multiportMatch struct {
	flag string // which ports, "" when not yet set
	list []portRange
	neg  bool
}

func (m *multiportMatch) test(e *eval, _ []uint64) bool {
	if e.p.Fragment {
		return false
	}
	switch m.flag {
	case "--sports":
		return m.has(e.p.SrcPort) != m.neg
	case "--dports":
		return m.has(e.p.DstPort) != m.neg
	}
	return (m.has(e.p.SrcPort) || m.has(e.p.DstPort)) != m.neg
}

func (m *multiportMatch) has(port uint16) bool {
	for _, r := range m.list {
		if port >= r.lo && port <= r.hi {
			return true
		}
	}
	return false
}

func (m *multiportMatch) appendTo(b []byte) []byte {
	b = append(append(append(appendNot(b, m.neg), ' '), m.flag...), ' ')
	for i, r := range m.list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPortRange(b, r.lo, r.hi)
	}
	return b
}

func (m *multiportMatch) set(a arg, flag string) error {
	if m.flag != "" {
		return a.name.errorf("%s is given already", m.flag)
	}
	m.flag, m.neg = flag, a.neg
	count, col := 0, a.w[0].col
	for _, part := range strings.Split(a.w[0].text, ",") {
		lo, hi, err := parsePorts(word{part, col}, ":")
		if err != nil {
			return err
		}
		col += len(part) + 1
		m.list = append(m.list, portRange{lo, hi})
		if count++; strings.Contains(part, ":") {
			count++
		}
	}
	if count > 15 {
		return a.w[0].errorf("%d ports, at most 15 fit (a range counts as two)", count)
	}
	return nil
}

func (m *multiportMatch) finish(r *Rule, name word) error {
	switch {
	case r.negProto || !hasPorts(r.proto):
		return name.errorf("multiport needs -p tcp, udp, udplite, sctp or dccp")
	case m.flag == "":
		return name.errorf("multiport needs --sports, --dports or --ports")
	}
	return nil
}

var multiportKind = &kind{"multiport", []option{
	multiportOption("--sports|--source-ports"),
	multiportOption("--dports|--destination-ports"),
	multiportOption("--ports"),
}, of(multiportMatch{})}

func multiportOption(names string) option {
	flag, _, _ := strings.Cut(names, "|")
	return opt(names, 1, true, func(m *multiportMatch, a arg) error { return m.set(a, flag) })
}
