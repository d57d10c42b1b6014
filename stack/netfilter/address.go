package netfilter

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// u128 is an address as two words; IPv4 takes its v4-mapped form, so that one comparison serves both families.
type u128 struct{ hi, lo uint64 }

func toU128(a netip.Addr) u128 {
	if a.Is4() {
		b := a.As4()
		return u128{0, 0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return u128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (u u128) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], u.hi)
	binary.BigEndian.PutUint64(b[8:], u.lo)
	return netip.AddrFrom16(b).Unmap()
}

func (u u128) and(m u128) u128 { return u128{u.hi & m.hi, u.lo & m.lo} }

func (u u128) less(v u128) bool { return u.hi < v.hi || u.hi == v.hi && u.lo < v.lo }

// onesV4 is the mask of a single IPv4 address.
var onesV4 = u128{^uint64(0), ^uint64(0)}

// maskV4 spreads a 32-bit mask over the v4-mapped form.
func maskV4(m uint32) u128 { return u128{^uint64(0), 0xffffffff<<32 | uint64(m)} }

// addrTest is -s or -d. A mask need not be contiguous, as in iptables.
type addrTest struct {
	val, mask u128
	neg       bool
}

func (t *addrTest) match(a u128) bool {
	return (a.hi&t.mask.hi == t.val.hi && a.lo&t.mask.lo == t.val.lo) != t.neg
}

// exact reports whether the test is for one address alone.
func (t *addrTest) exact() bool { return !t.neg && t.mask == onesV4 }

func (t *addrTest) appendTo(b []byte, flag string) []byte {
	if t.neg {
		b = append(b, " !"...)
	}
	b = t.val.addr().AppendTo(append(append(append(b, ' '), flag...), ' '))
	m := uint32(t.mask.lo)
	if n := bits.LeadingZeros32(^m); m<<n == 0 {
		return strconv.AppendInt(append(b, '/'), int64(n), 10)
	}
	return appendV4(append(b, '/'), m)
}

func appendV4(b []byte, v uint32) []byte {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], v)
	return netip.AddrFrom4(a).AppendTo(b)
}

// addrs reads the comma-separated list of -s and -d into list. Tests that match every address come back as nil, as
// iptables does not print them.
func (p *parser) addrs(list *[]*addrTest, a arg) error {
	w := a.w[0]
	if a.neg && strings.Contains(w.text, ",") {
		return w.errorf("! is not allowed with several addresses")
	}
	for part := range strings.SplitSeq(w.text, ",") {
		t, err := parseAddr(word{part, w.col}, a.neg)
		switch {
		case err != nil:
			return err
		case t.mask == maskV4(0):
			*list = append(*list, nil)
		default:
			*list = append(*list, p.mem.addrs.put(t))
		}
	}
	return nil
}

// parseAddr reads an address with or without a mask.
func parseAddr(w word, neg bool) (t addrTest, err error) {
	host, mask, hasMask := strings.Cut(w.text, "/")
	a, err := parseHost(word{host, w.col}, hasMask)
	if err != nil {
		return t, err
	}
	m := ^uint32(0)
	if hasMask {
		if m, err = parseMask(word{mask, w.col + len(host) + 1}); err != nil {
			return t, err
		}
	}
	if m == 0 && neg {
		return t, w.errorf("the rule would never match: it excludes every address")
	}
	mask128 := maskV4(m)
	return addrTest{toU128(a).and(mask128), mask128, neg}, nil
}

// parseHost reads an IPv4 address. Before a mask it may be cut short as in 10.244/16, the missing bytes being zero.
func parseHost(w word, short bool) (netip.Addr, error) {
	text := w.text
	if short && len(text) < 16 {
		for n := strings.Count(text, "."); n < 3; n++ {
			text += ".0"
		}
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return a, w.errorf("not an IPv4 address (names are not resolved)")
	case !a.Is4():
		return a, w.errorf("an IPv6 address in IPv4 rules")
	}
	return a, nil
}

func parseMask(w word) (uint32, error) {
	if n, err := strconv.ParseUint(w.text, 10, 8); err == nil && n <= 32 && !strings.HasPrefix(w.text, "+") {
		return ^uint32(0) << (32 - n), nil
	}
	a, err := netip.ParseAddr(w.text)
	if err != nil || !a.Is4() {
		return 0, w.errorf("not a mask, wanted 0 to 32 or four bytes")
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:]), nil
}

// ifaceTest is a test of an interface name; a trailing + stands for any rest.
type ifaceTest struct {
	name   string // without the +
	prefix bool
	neg    bool
}

func (t *ifaceTest) match(name string) bool {
	if t.prefix {
		return strings.HasPrefix(name, t.name) != t.neg
	}
	return (name == t.name) != t.neg
}

func (t *ifaceTest) exact() bool { return !t.prefix && !t.neg }

func (t *ifaceTest) appendTo(b []byte, flag string) []byte {
	if t.neg {
		b = append(b, " !"...)
	}
	b = append(append(append(append(b, ' '), flag...), ' '), t.name...)
	if t.prefix {
		b = append(b, '+')
	}
	return b
}

// parseIface reads an interface name; one that matches all, a + alone, comes back as nil.
func parseIface(w word, neg bool) (*ifaceTest, error) {
	const ifNameMax = 15 // IFNAMSIZ less the terminating zero
	switch {
	case w.text == "":
		return nil, w.errorf("an empty interface name")
	case len(w.text) > ifNameMax:
		return nil, w.errorf("interface name of %d bytes, at most %d fit", len(w.text), ifNameMax)
	case strings.ContainsAny(w.text, "/ \t\"'\\!"):
		return nil, w.errorf("not an interface name")
	case w.text == "+" && !neg:
		return nil, nil
	}
	name, prefix := strings.CutSuffix(w.text, "+")
	return &ifaceTest{name, prefix, neg}, nil
}
