package netfilter

import (
	"net/netip"
	"strconv"
	"strings"
)

// commentMatch is -m comment: it always matches.
type commentMatch struct {
	text string
	set  bool
}

func (m *commentMatch) test(*eval, []uint64) bool { return true }

func (m *commentMatch) appendTo(b []byte) []byte {
	return appendQuoted(append(b, " --comment "...), m.text)
}

func (m *commentMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("comment needs --comment")
	}
	return nil
}

var commentKind = &kind{"comment", []option{
	opt("--comment", 1, false, func(m *commentMatch, a arg) error {
		const most = 255 // XT_MAX_COMMENT_LEN less the terminating zero
		if n := len(a.w[0].text); n > most {
			return a.name.errorf("comment of %d bytes, at most %d fit", n, most)
		}
		if strings.ContainsAny(a.w[0].text, "\x00\r\n") {
			return a.name.errorf("comment of more than one line")
		}
		m.text, m.set = a.w[0].text, true
		return nil
	}),
}, alike(commentMatch{})}

// addrtypeMatch is -m addrtype.
type addrtypeMatch struct {
	src, dst       uint16 // one bit per AddrType; 0 is no test
	negSrc, negDst bool
	limIn, limOut  bool
}

func (m *addrtypeMatch) test(e *eval, _ []uint64) bool {
	dev := ""
	if m.limIn {
		dev = e.p.In
	} else if m.limOut {
		dev = e.p.Out
	}
	if m.src != 0 && (m.src>>e.env.AddrType(e.p.Src, dev)&1 != 0) == m.negSrc {
		return false
	}
	return m.dst == 0 || (m.dst>>e.env.AddrType(e.p.Dst, dev)&1 != 0) != m.negDst
}

func (m *addrtypeMatch) appendTo(b []byte) []byte {
	if m.src != 0 {
		b = appendBits(append(appendNot(b, m.negSrc), " --src-type "...), m.src, addrTypeNames[:])
	}
	if m.dst != 0 {
		b = appendBits(append(appendNot(b, m.negDst), " --dst-type "...), m.dst, addrTypeNames[:])
	}
	if m.limIn {
		b = append(b, " --limit-iface-in"...)
	}
	if m.limOut {
		b = append(b, " --limit-iface-out"...)
	}
	return b
}

func (m *addrtypeMatch) finish(_ *Rule, name word) error {
	switch {
	case m.src == 0 && m.dst == 0:
		return name.errorf("addrtype needs --src-type or --dst-type")
	case m.limIn && m.limOut:
		return name.errorf("only one of --limit-iface-in and --limit-iface-out can be given")
	}
	return nil
}

// hooks: a device that the hook does not know cannot limit.
func (m *addrtypeMatch) hooks() hookSet {
	switch {
	case m.limIn:
		return hooks(Prerouting, Input, Forward)
	case m.limOut:
		return hooks(Forward, Output, Postrouting)
	}
	return allHooks
}

var addrtypeKind = &kind{"addrtype", []option{
	opt("--src-type", 1, true, func(m *addrtypeMatch, a arg) (err error) {
		m.negSrc = a.neg
		m.src, err = parseBits(a.w[0], "address type", addrTypeNames[:])
		return err
	}),
	opt("--dst-type", 1, true, func(m *addrtypeMatch, a arg) (err error) {
		m.negDst = a.neg
		m.dst, err = parseBits(a.w[0], "address type", addrTypeNames[:])
		return err
	}),
	flag("--limit-iface-in", func(m *addrtypeMatch) { m.limIn = true }),
	flag("--limit-iface-out", func(m *addrtypeMatch) { m.limOut = true }),
}, of(addrtypeMatch{})}

// addrRange is one half of -m iprange.
type addrRange struct {
	lo, hi   u128
	set, neg bool
}

func (t *addrRange) match(a u128) bool {
	return !t.set || (!a.less(t.lo) && !t.hi.less(a)) != t.neg
}

func (t *addrRange) appendTo(b []byte, flag string) []byte {
	if !t.set {
		return b
	}
	b = t.lo.addr().AppendTo(append(appendNot(b, t.neg), flag...))
	return t.hi.addr().AppendTo(append(b, '-'))
}

func (t *addrRange) parse(a arg) error {
	lo, hi, err := parseAddrRange(a.w[0])
	*t = addrRange{toU128(lo), toU128(hi), true, a.neg}
	return err
}

// parseAddrRange reads A or A-B.
func parseAddrRange(w word) (lo, hi netip.Addr, err error) {
	first, second, isRange := strings.Cut(w.text, "-")
	if lo, err = parseHost(word{first, w.col}, false); err != nil || !isRange {
		return lo, lo, err
	}
	if hi, err = parseHost(word{second, w.col + len(first) + 1}, false); err == nil && hi.Less(lo) {
		err = w.errorf("range runs from %v down to %v", lo, hi)
	}
	return lo, hi, err
}

type iprangeMatch struct{ src, dst addrRange }

func (m *iprangeMatch) test(e *eval, _ []uint64) bool {
	return m.src.match(e.src) && m.dst.match(e.dst)
}

func (m *iprangeMatch) appendTo(b []byte) []byte {
	return m.dst.appendTo(m.src.appendTo(b, " --src-range "), " --dst-range ")
}

func (m *iprangeMatch) finish(_ *Rule, name word) error {
	if !m.src.set && !m.dst.set {
		return name.errorf("iprange needs --src-range or --dst-range")
	}
	return nil
}

var iprangeKind = &kind{"iprange", []option{
	opt("--src-range", 1, true, func(m *iprangeMatch, a arg) error { return m.src.parse(a) }),
	opt("--dst-range", 1, true, func(m *iprangeMatch, a arg) error { return m.dst.parse(a) }),
}, of(iprangeMatch{})}

// lengthMatch is -m length, on the total length of the IP packet.
type lengthMatch struct {
	lo, hi   uint16
	set, neg bool
}

func (m *lengthMatch) test(e *eval, _ []uint64) bool {
	return (e.p.Length >= int(m.lo) && e.p.Length <= int(m.hi)) != m.neg
}

func (m *lengthMatch) appendTo(b []byte) []byte {
	return appendPortRange(append(appendNot(b, m.neg), " --length "...), m.lo, m.hi)
}

func (m *lengthMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("length needs --length")
	}
	return nil
}

var lengthKind = &kind{"length", []option{
	opt("--length", 1, true, func(m *lengthMatch, a arg) error {
		first, second, isRange := strings.Cut(a.w[0].text, ":")
		lo, hi := uint64(0), uint64(65535)
		var err error
		if first != "" || !isRange {
			lo, err = parseNumber(word{first, a.w[0].col}, 65535)
		}
		if !isRange {
			hi = lo
		} else if second != "" && err == nil {
			hi, err = parseNumber(word{second, a.w[0].col + len(first) + 1}, 65535)
		}
		if err == nil && lo > hi {
			err = a.w[0].errorf("range runs from %d down to %d", lo, hi)
		}
		*m = lengthMatch{uint16(lo), uint16(hi), true, a.neg}
		return err
	}),
}, of(lengthMatch{})}

// pkttypeMatch is -m pkttype.
type pkttypeMatch struct {
	want     PktType
	set, neg bool
}

var pktTypeNames = []string{"unicast", "broadcast", "multicast"}

func (m *pkttypeMatch) test(e *eval, _ []uint64) bool { return (e.p.LinkType == m.want) != m.neg }

func (m *pkttypeMatch) appendTo(b []byte) []byte {
	return append(append(appendNot(b, m.neg), " --pkt-type "...), pktTypeNames[m.want]...)
}

func (m *pkttypeMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("pkttype needs --pkt-type")
	}
	return nil
}

var pkttypeKind = &kind{"pkttype", []option{
	opt("--pkt-type", 1, true, func(m *pkttypeMatch, a arg) error {
		i, ok := indexFold(pktTypeNames, a.w[0].text)
		if !ok && !strings.EqualFold(a.w[0].text, "host") {
			return a.w[0].unknown("packet type", append([]string{"host"}, pktTypeNames...))
		}
		*m = pkttypeMatch{PktType(i), true, a.neg}
		return nil
	}),
}, of(pkttypeMatch{})}

// ttlMatch is -m ttl.
type ttlMatch struct {
	flag string // --ttl-eq, --ttl-lt or --ttl-gt
	want uint8
	neg  bool
}

func (m *ttlMatch) test(e *eval, _ []uint64) bool {
	switch m.flag {
	case "--ttl-lt":
		return e.p.TTL < m.want
	case "--ttl-gt":
		return e.p.TTL > m.want
	}
	return (e.p.TTL == m.want) != m.neg
}

func (m *ttlMatch) appendTo(b []byte) []byte {
	b = append(append(append(appendNot(b, m.neg), ' '), m.flag...), ' ')
	return strconv.AppendUint(b, uint64(m.want), 10)
}

func (m *ttlMatch) set(a arg, flag string) error {
	if m.flag != "" {
		return a.name.errorf("%s is given already", m.flag)
	}
	n, err := parseNumber(a.w[0], 255)
	*m = ttlMatch{flag, uint8(n), a.neg}
	return err
}

func (m *ttlMatch) finish(_ *Rule, name word) error {
	if m.flag == "" {
		return name.errorf("ttl needs --ttl-eq, --ttl-lt or --ttl-gt")
	}
	return nil
}

var ttlKind = &kind{"ttl", []option{
	opt("--ttl-eq|--ttl", 1, true, func(m *ttlMatch, a arg) error { return m.set(a, "--ttl-eq") }),
	opt("--ttl-lt", 1, false, func(m *ttlMatch, a arg) error { return m.set(a, "--ttl-lt") }),
	opt("--ttl-gt", 1, false, func(m *ttlMatch, a arg) error { return m.set(a, "--ttl-gt") }),
}, of(ttlMatch{})}
