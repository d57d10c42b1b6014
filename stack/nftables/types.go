package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is a value or a concatenation of values, big endian, each padded with zeros at its end to a multiple of four
// bytes, as the kernel's registers hold it.
type key [24]byte

// datatype is the type of a value.
type datatype struct {
	name  string
	width int      // in bytes
	names []symbol // of values
	bits  bool     // a value is one or more of the names
	hex   bool     // numbers are printed so
	addr  bool     // an IPv4 address
	text  bool     // the name of a device
}

type symbol struct {
	name  string
	value uint32
}

func (d *datatype) padded() int { return (d.width + 3) &^ 3 }

var (
	typeAddr    = &datatype{name: "ipv4_addr", width: 4, addr: true}
	typeProto   = &datatype{name: "inet_proto", width: 1, names: []symbol{{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"sctp", 132}, {"udplite", 136}, {"dccp", 33}, {"esp", 50}, {"ah", 51}, {"comp", 108}, {"ipv6-icmp", 58}, {"icmpv6", 58}}}
	typeService = &datatype{name: "inet_service", width: 2}
	typeMark    = &datatype{name: "mark", width: 4, hex: true}
	typeDevice  = &datatype{name: "ifname", width: 16, text: true}
	typeInteger = &datatype{name: "integer", width: 4}
	typeByte    = &datatype{name: "integer", width: 1}
	typeLength  = &datatype{name: "integer", width: 2}
	typeState   = &datatype{name: "ct_state", width: 4, bits: true, names: []symbol{{"invalid", 1}, {"established", 2}, {"related", 4}, {"new", 8}, {"untracked", 64}}}
	typeStatus  = &datatype{name: "ct_status", width: 4, bits: true, names: []symbol{{"expected", 1}, {"seen-reply", 2}, {"assured", 4}, {"confirmed", 8}, {"snat", 16}, {"dnat", 32}, {"dying", 512}}}
	typeDir     = &datatype{name: "ct_dir", width: 1, names: []symbol{{"original", 0}, {"reply", 1}}}
	typeFib     = &datatype{name: "fib_addrtype", width: 4, names: []symbol{{"unspec", 0}, {"unicast", 1}, {"local", 2}, {"broadcast", 3}, {"anycast", 4}, {"multicast", 5}, {"blackhole", 6}, {"unreachable", 7}, {"prohibit", 8}}}
	typeICMP    = &datatype{name: "icmp_type", width: 1, names: []symbol{{"echo-reply", 0}, {"destination-unreachable", 3}, {"source-quench", 4}, {"redirect", 5}, {"echo-request", 8}, {"router-advertisement", 9}, {"router-solicitation", 10}, {"time-exceeded", 11}, {"parameter-problem", 12}, {"timestamp-request", 13}, {"timestamp-reply", 14}}}
	typeVerdict = &datatype{name: "verdict"}
)

// setTypes are the types that sets and maps are declared with.
var setTypes = []*datatype{typeAddr, typeProto, typeService, typeMark, typeDevice, typeState, typeICMP, typeVerdict}

// put writes a number in the type's width.
func (d *datatype) put(b []byte, n uint32) {
	switch d.width {
	case 1:
		b[0] = byte(n)
	case 2:
		binary.BigEndian.PutUint16(b, uint16(n))
	default:
		binary.BigEndian.PutUint32(b, n)
	}
}

func (d *datatype) get(b []byte) uint32 {
	switch d.width {
	case 1:
		return uint32(b[0])
	case 2:
		return uint32(binary.BigEndian.Uint16(b))
	}
	return binary.BigEndian.Uint32(b)
}

// parse reads a constant, a range lo-hi, or a prefix.
func (d *datatype) parse(t token) (lo, hi key, err error) {
	if d.text {
		if len(t.text) >= d.width {
			return lo, hi, t.errorf("the name of a device has at most 15 characters")
		}
		copy(lo[:], t.text)
		return lo, lo, nil
	}
	if t.kind != tokWord {
		return lo, hi, t.errorf("want a value of type %s", d.name)
	}
	if d.addr {
		return d.parseAddr(t)
	}
	if n, ok := d.number(t.text); ok {
		d.put(lo[:], n)
		return lo, lo, nil
	}
	if a, b, ok := strings.Cut(t.text, "-"); ok {
		x, okX := d.number(a)
		y, okY := d.number(b)
		if okX && okY && x < y {
			d.put(lo[:], x)
			d.put(hi[:], y)
			return lo, hi, nil
		}
	}
	var known []string
	for _, s := range d.names {
		known = append(known, s.name)
	}
	if len(known) > 0 {
		return lo, hi, t.unknown("value of type "+d.name, known)
	}
	return lo, hi, t.errorf("not a value of type %s, want a number of up to %d", d.name, uint64(1)<<(8*d.width)-1)
}

// number reads a name or a number.
func (d *datatype) number(s string) (uint32, bool) {
	for _, n := range d.names {
		if n.name == s {
			return n.value, true
		}
	}
	n, err := strconv.ParseUint(s, 0, 8*d.width)
	if d == typeService && err != nil {
		i := slices.IndexFunc(services, func(x symbol) bool { return x.name == s })
		if i >= 0 {
			return services[i].value, true
		}
	}
	return uint32(n), err == nil
}

// services are names of ports that nft reads; it prints numbers.
var services = []symbol{{"ssh", 22}, {"domain", 53}, {"http", 80}, {"https", 443}}

func (d *datatype) parseAddr(t token) (lo, hi key, err error) {
	put := func(k *key, a netip.Addr) bool {
		if !a.Is4() {
			return false
		}
		b := a.As4()
		copy(k[:], b[:])
		return true
	}
	if p, err := netip.ParsePrefix(t.text); err == nil && p.Addr().Is4() {
		put(&lo, p.Masked().Addr())
		n := binary.BigEndian.Uint32(lo[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
		binary.BigEndian.PutUint32(hi[:], n)
		return lo, hi, nil
	}
	from, to, isRange := strings.Cut(t.text, "-")
	a, errA := netip.ParseAddr(from)
	b := a
	if isRange {
		b, _ = netip.ParseAddr(to)
	}
	if errA != nil || !put(&lo, a) || !put(&hi, b) || b.Less(a) {
		return lo, hi, t.errorf("not an IPv4 address, prefix or range")
	}
	return lo, hi, nil
}

// format prints a constant or a range.
func (d *datatype) format(lo, hi []byte) string {
	switch {
	case d.text:
		return `"` + string(lo[:strings.IndexByte(string(lo)+"\x00", 0)]) + `"`
	case d.addr:
		return formatAddr(lo, hi)
	case string(lo[:d.width]) != string(hi[:d.width]):
		return d.format(lo, lo) + "-" + d.format(hi, hi)
	}
	n := d.get(lo)
	if d.bits {
		var list []string
		for _, s := range d.names {
			if n&s.value != 0 {
				list = append(list, s.name)
			}
		}
		return strings.Join(list, ",")
	}
	for _, s := range d.names {
		if s.value == n {
			return s.name
		}
	}
	if d.hex {
		return fmt.Sprintf("0x%08x", n)
	}
	return strconv.FormatUint(uint64(n), 10)
}

func formatAddr(lo, hi []byte) string {
	a, b := binary.BigEndian.Uint32(lo), binary.BigEndian.Uint32(hi)
	first := netip.AddrFrom4([4]byte(lo[:4]))
	for bits := 1; bits < 32; bits++ {
		if mask := uint32(uint64(1)<<(32-bits) - 1); a&mask == 0 && b == a|mask {
			return netip.PrefixFrom(first, bits).String()
		}
	}
	if a == b {
		return first.String()
	}
	return first.String() + "-" + netip.AddrFrom4([4]byte(hi[:4])).String()
}

// units are those of durations, the longest first.
var units = []struct {
	name string
	d    time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// parseDuration reads 1d2h3m4s5ms, or seconds.
func parseDuration(t token) (time.Duration, error) {
	s, sum := t.text, time.Duration(0)
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	for s != "" {
		end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		stop := end
		for stop >= 0 && stop < len(s) && (s[stop] < '0' || s[stop] > '9') {
			stop++
		}
		n, err := strconv.ParseUint(s[:max(end, 0)], 10, 32)
		i := -1
		if err == nil {
			i = slices.IndexFunc(units, func(u struct {
				name string
				d    time.Duration
			}) bool {
				return u.name == s[end:stop]
			})
		}
		if i < 0 {
			return 0, t.errorf("not a duration, want one such as 3h or 1d2h3m4s")
		}
		sum, s = sum+time.Duration(n)*units[i].d, s[stop:]
	}
	return sum, nil
}

func formatDuration(d time.Duration) string {
	var b strings.Builder
	for _, u := range units {
		if n := d / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d %= u.d
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}
