package text

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// ParseFilter reads an expression in the language of pcap-filter(7), that part of
// it which is in use:
//
//	[src|dst|src or dst|src and dst] host A, net N, port P, portrange P-Q
//	ip, arp, ip6, icmp, tcp, udp, sctp, vlan, and [ip|arp] host, [tcp|udp] port
//	ip proto N, ether proto N, ether host MAC, ether broadcast|multicast
//	less N, greater N
//	ip[6:2] & 0x1fff != 0, tcp[tcpflags] & tcp-syn != 0, icmp[icmptype] == icmp-echo
//	and, or, not, &&, ||, !, parentheses
//
// Resolve finds the address of a name; nil means that there are no names. The
// empty expression chooses everything.
func ParseFilter(expr string, resolve func(name string) (netip.Addr, bool)) (*Filter, error) {
	p := &filterParser{words: lex(expr), resolve: resolve}
	if len(p.words) == 0 {
		return &Filter{}, nil
	}
	t, err := p.or(0)
	if err == nil && p.at < len(p.words) {
		err = p.errorf("found %q, want and, or or the end", p.peek())
	}
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", expr, err)
	}
	return &Filter{t}, nil
}

// maxNesting bounds how deep parentheses and negations go.
const maxNesting = 100

// filterParser reads words from left to right.
type filterParser struct {
	words   []string
	at      int
	resolve func(string) (netip.Addr, bool)
	last    qualifiers // of the primitive before, for "port 80 or 8080"
	tried   bool
}

// qualifiers stand in front of an id.
type qualifiers struct {
	proto string // "", ip, arp, tcp, udp, ether ...
	dir   direction
	typ   string // host, net, port, portrange
}

// lex splits an expression into words.
func lex(s string) []string {
	var words []string
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case strings.HasPrefix(s[i:], "&&"), strings.HasPrefix(s[i:], "||"), strings.HasPrefix(s[i:], "!="), strings.HasPrefix(s[i:], "=="),
			strings.HasPrefix(s[i:], "<="), strings.HasPrefix(s[i:], ">="):
			words = append(words, s[i:i+2])
			i += 2
			continue
		case strings.IndexByte("()!&|<>=+*", c) >= 0:
			words = append(words, s[i:i+1])
			i++
			continue
		}
		end := i
		for depth := 0; end < len(s) && (depth > 0 || strings.IndexByte(" \t\n\r()!&|<>=", s[end]) < 0); end++ {
			switch s[end] { // tcp[tcpflags] is one word
			case '[':
				depth++
			case ']':
				depth--
			}
		}
		words = append(words, s[i:end])
		i = end
	}
	return words
}

func (p *filterParser) peek() string {
	if p.at < len(p.words) {
		return p.words[p.at]
	}
	return ""
}

// take takes the next word if it is one of these.
func (p *filterParser) take(words ...string) string {
	for _, w := range words {
		if w == p.peek() && w != "" {
			p.at++
			return w
		}
	}
	return ""
}

// errorf says what is wrong at the word that is next.
func (p *filterParser) errorf(format string, args ...any) error {
	return fmt.Errorf("word %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

// or reads a or b and c. As pcap-filter(7) has it, and and or have the same
// precedence and associate to the left.
func (p *filterParser) or(depth int) (test, error) {
	left, err := p.not(depth)
	for err == nil {
		op := p.take("and", "&&", "or", "||")
		if op == "" {
			return left, nil
		}
		var right test
		if right, err = p.not(depth); err != nil {
			break
		}
		a := left
		if op == "and" || op == "&&" {
			left = func(v *view) bool { return a(v) && right(v) }
		} else {
			left = func(v *view) bool { return a(v) || right(v) }
		}
	}
	return nil, err
}

func (p *filterParser) not(depth int) (test, error) {
	if depth > maxNesting {
		return nil, p.errorf("more than %d levels of nesting", maxNesting)
	}
	if p.take("not", "!") != "" {
		t, err := p.not(depth + 1)
		if err != nil {
			return nil, err
		}
		return func(v *view) bool { return !t(v) }, nil
	}
	if p.take("(") != "" {
		t, err := p.or(depth + 1)
		if err == nil && p.take(")") == "" {
			err = p.errorf("found %q, want a closing parenthesis", p.peek())
		}
		return t, err
	}
	return p.primitive()
}

// protocols are the words that name one, with what each means alone.
var protocols = map[string]test{
	"ip":   func(v *view) bool { return v.etherType == etherIPv4 },
	"ip6":  func(v *view) bool { return v.etherType == etherIPv6 },
	"arp":  func(v *view) bool { return v.etherType == etherARP },
	"vlan": func(v *view) bool { return v.etherType == etherVLAN },
	"icmp": func(v *view) bool { return v.etherType == etherIPv4 && v.proto == protoICMP },
	"tcp":  func(v *view) bool { return v.proto == protoTCP },
	"udp":  func(v *view) bool { return v.proto == protoUDP },
	"sctp": func(v *view) bool { return v.proto == 132 },
}

// filterWords are all that an expression may begin with, for suggestions.
var filterWords = []string{"host", "net", "port", "portrange", "src", "dst", "ip", "ip6", "arp", "icmp", "tcp", "udp", "sctp", "vlan", "ether", "less", "greater", "not", "broadcast", "multicast"}

// primitive reads one test.
func (p *filterParser) primitive() (test, error) {
	w := p.peek()
	switch {
	case w == "":
		return nil, p.errorf("the expression ends, want host, port, tcp ...")
	case strings.Contains(w, "["):
		return p.comparison()
	case p.take("less", "greater") != "":
		n, err := strconv.Atoi(p.peek())
		if err != nil || n < 0 {
			return nil, p.errorf("found %q, want a number of bytes", p.peek())
		}
		p.at++
		if w == "less" {
			return func(v *view) bool { return len(v.frame) <= n }, nil
		}
		return func(v *view) bool { return len(v.frame) >= n }, nil
	case p.take("ether") != "":
		return p.etherPrimitive()
	}
	q := qualifiers{}
	if protocols[w] != nil {
		p.at++
		q.proto = w
		if w == "ip" && p.take("proto") != "" {
			return p.ipProto()
		}
	}
	var err error
	if q.dir, err = p.direction(); err != nil {
		return nil, err
	}
	q.typ = p.take("host", "net", "port", "portrange")
	if q.proto != "" && q.typ == "" && q.dir == either {
		p.tried = false
		return protocols[q.proto], nil
	}
	if q.proto == "" && q.typ == "" && q.dir == either {
		if !p.tried || p.take() != "" {
			return nil, p.unknown(w)
		}
		q = p.last // "port 80 or 8080"
	}
	if q.typ == "" {
		q.typ = "host"
	}
	p.last, p.tried = q, true
	return p.id(q)
}

// unknown says what might have been meant by a word that no primitive begins with.
func (p *filterParser) unknown(w string) error {
	if a, err := netip.ParseAddr(w); err == nil {
		return p.errorf("found %v, want host %v or net", a, a)
	}
	if near := typo.Nearest(w, filterWords); near != "" {
		return p.errorf("%q is not known, did you mean %s?", w, near)
	}
	return p.errorf("%q is not known, want one of %s", w, strings.Join(filterWords, ", "))
}

// direction reads src, dst, src or dst, src and dst.
func (p *filterParser) direction() (direction, error) {
	first := p.take("src", "dst")
	if first == "" {
		return either, nil
	}
	other := map[string]string{"src": "dst", "dst": "src"}[first]
	if p.at+1 < len(p.words) && p.words[p.at+1] == other {
		switch p.peek() {
		case "or":
			p.at += 2
			return either, nil
		case "and":
			p.at += 2
			return both, nil
		}
	}
	if first == "src" {
		return source, nil
	}
	return destination, nil
}

// id reads what comes after the qualifiers.
func (p *filterParser) id(q qualifiers) (test, error) {
	w := p.peek()
	if w == "" {
		return nil, p.errorf("the expression ends, want what %s is", q.typ)
	}
	switch q.typ {
	case "port", "portrange":
		lo, hi, ok := portRange(w, q.typ == "portrange")
		switch {
		case !ok && q.typ == "port":
			return nil, p.errorf("port %q, want a number up to 65535", w)
		case !ok:
			return nil, p.errorf("portrange %q, want two ports such as 80-90", w)
		case q.proto != "" && q.proto != "tcp" && q.proto != "udp" && q.proto != "sctp":
			return nil, p.errorf("%s has no ports, want tcp, udp or sctp", q.proto)
		}
		p.at++
		of := protocols[q.proto]
		in := func(n uint16) bool { return lo <= n && n <= hi }
		return func(v *view) bool { return v.ports && (of == nil || of(v)) && q.dir.on(in(v.sport), in(v.dport)) }, nil
	}
	prefix, err := p.prefix(w, q.typ == "net")
	if err != nil {
		return nil, err
	}
	p.at++
	ip, arp := q.proto == "" || q.proto == "ip", q.proto == "" || q.proto == "arp"
	if l4 := q.proto != "" && !ip && !arp; l4 {
		of := protocols[q.proto]
		return func(v *view) bool {
			src, dst, ok := v.addrs(true, false)
			return ok && of(v) && q.dir.on(prefix.has(src), prefix.has(dst))
		}, nil
	}
	return func(v *view) bool {
		src, dst, ok := v.addrs(ip, arp)
		return ok && q.dir.on(prefix.has(src), prefix.has(dst))
	}, nil
}

func portRange(w string, isRange bool) (lo, hi uint16, ok bool) {
	first, last, cut := strings.Cut(w, "-")
	if cut != isRange {
		return 0, 0, false
	}
	if !cut {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	return uint16(a), uint16(b), err1 == nil && err2 == nil && a <= b
}

// ipRange is an IPv4 prefix.
type ipRange struct{ addr, mask uint32 }

func (r ipRange) has(a uint32) bool { return a&r.mask == r.addr }

// prefix reads an address, a prefix, an abbreviated net, or a name.
func (p *filterParser) prefix(w string, net bool) (ipRange, error) {
	if net && !strings.Contains(w, "/") { // net 10.244 is 10.244.0.0/16
		if n := strings.Count(w, "."); n < 3 && strings.Trim(w, "0123456789.") == "" {
			w = w + strings.Repeat(".0", 3-n) + "/" + strconv.Itoa(8*(n+1))
		}
	}
	bits := 32
	if net {
		if pre, err := netip.ParsePrefix(w); err == nil && pre.Addr().Is4() {
			if pre != pre.Masked() {
				return ipRange{}, p.errorf("net %s has bits behind the prefix, want %v", w, pre.Masked())
			}
			w, bits = pre.Addr().String(), pre.Bits()
		}
	}
	a, err := netip.ParseAddr(w)
	if err != nil && p.resolve != nil {
		if found, ok := p.resolve(w); ok {
			a, err = found, nil
		}
	}
	switch {
	case err != nil && net:
		return ipRange{}, p.errorf("net %q, want one such as 10.244.0.0/16", w)
	case err != nil:
		return ipRange{}, p.errorf("host %q is neither an address nor a known name", w)
	case !a.Is4():
		return ipRange{}, p.errorf("%q, want IPv4", w)
	}
	b := a.As4()
	mask := uint32(uint64(0xffffffff) << (32 - bits))
	return ipRange{binary.BigEndian.Uint32(b[:]) & mask, mask}, nil
}

// ipProto reads the number or name behind ip proto.
func (p *filterParser) ipProto() (test, error) {
	w := strings.TrimPrefix(p.peek(), `\`)
	n, err := strconv.ParseUint(w, 0, 8)
	for num, name := range protoNames {
		if strings.EqualFold(name, w) {
			n, err = uint64(num), nil
		}
	}
	if err != nil {
		return nil, p.errorf("ip proto %q, want a number up to 255 or a name", p.peek())
	}
	p.at++
	return func(v *view) bool { return v.isIP() && v.proto == byte(n) }, nil
}

// etherPrimitive reads what comes behind ether.
func (p *filterParser) etherPrimitive() (test, error) {
	dir, err := p.direction()
	if err != nil {
		return nil, err
	}
	switch {
	case p.take("broadcast") != "":
		return func(v *view) bool {
			return v.ether != nil && [6]byte(v.ether) == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		}, nil
	case p.take("multicast") != "":
		return func(v *view) bool { return v.ether != nil && v.ether[0]&1 != 0 }, nil
	case p.take("proto") != "":
		n, err := strconv.ParseUint(p.peek(), 0, 16)
		for typ, name := range etherNames {
			if strings.EqualFold(name, strings.TrimPrefix(p.peek(), `\`)) || name == "IPv4" && strings.TrimPrefix(p.peek(), `\`) == "ip" {
				n, err = uint64(typ), nil
			}
		}
		if err != nil {
			return nil, p.errorf("ether proto %q, want a number such as 0x806", p.peek())
		}
		p.at++
		return func(v *view) bool { return v.etherType == uint16(n) }, nil
	}
	p.take("host")
	mac, ok := parseMAC(p.peek())
	if !ok {
		return nil, p.errorf("found %q, want a MAC address, broadcast, multicast or proto behind ether", p.peek())
	}
	p.at++
	return func(v *view) bool {
		return v.ether != nil && dir.on([6]byte(v.ether[6:]) == mac, [6]byte(v.ether) == mac)
	}, nil
}

func parseMAC(s string) (mac [6]byte, ok bool) {
	words := strings.Split(s, ":")
	if len(words) != 6 {
		return mac, false
	}
	for i, w := range words {
		n, err := strconv.ParseUint(w, 16, 8)
		if err != nil || len(w) > 2 {
			return mac, false
		}
		mac[i] = byte(n)
	}
	return mac, true
}
