package netfilter

import (
	"strconv"
	"strings"
	"time"
)

// hashlimitMatch is -m hashlimit: a token bucket per address, port or both. Buckets are per ruleset and name, as the
// kernel's tables are.
type hashlimitMatch struct {
	name    string
	avg     uint32 // in units of 100 us per packet
	above   bool
	burst   uint32
	mode    uint16 // one bit per hashModes
	srcMask int
	dstMask int
	sizes   [4]uint32 // of hashSizes
	set     bool
}

// hashModes are in the order in which iptables prints them; hashSizes are sizes and times of the kernel's table in
// its own order.
var (
	hashModes = []string{"srcip", "srcport", "dstip", "dstport"}
	hashSizes = [4]string{"--hashlimit-htable-size", "--hashlimit-htable-max", "--hashlimit-htable-gcinterval", "--hashlimit-htable-expire"}
)

const (
	hashSrcIP = 1 << iota
	hashSrcPort
	hashDstIP
	hashDstPort
)

// Defaults of the kernel that iptables does not print.
const (
	hashBurst  = 5
	hashGC     = 1000
	hashExpire = 10000
	hashMost   = 65536 // buckets of one table
)

// hashKey is what a bucket is for.
type hashKey struct {
	src, dst         u128
	srcPort, dstPort uint16 // of any protocol, as in the kernel
}

type hashBucket struct{ credit, at time.Duration }

func (m *hashlimitMatch) cost() time.Duration { return time.Duration(m.avg) * 100 * time.Microsecond }

func (m *hashlimitMatch) test(e *eval, _ []uint64) bool {
	if e.p.Fragment && m.mode&(hashSrcPort|hashDstPort) != 0 {
		return false
	}
	var k hashKey
	if m.mode&hashSrcIP != 0 {
		k.src = e.src.and(maskV4(^uint32(0) << (32 - m.srcMask)))
	}
	if m.mode&hashDstIP != 0 {
		k.dst = e.dst.and(maskV4(^uint32(0) << (32 - m.dstMask)))
	}
	if m.mode&hashSrcPort != 0 {
		k.srcPort = e.p.SrcPort
	}
	if m.mode&hashDstPort != 0 {
		k.dstPort = e.p.DstPort
	}
	return e.r.bucket(m, k, e.env.Now()).take(m, e.env.Now()) != m.above
}

// take refills the bucket and takes the price of a packet, if there.
func (b *hashBucket) take(m *hashlimitMatch, now time.Duration) bool {
	b.credit = min(b.credit+now-b.at, m.cost()*time.Duration(m.burst))
	b.at = now
	if b.credit < m.cost() {
		return false
	}
	b.credit -= m.cost()
	return true
}

// bucket finds or makes a bucket. Those that have not been used for the table's expiry time start anew; a table that is
// full forgets them.
func (r *Ruleset) bucket(m *hashlimitMatch, k hashKey, now time.Duration) *hashBucket {
	if r.limits == nil {
		r.limits = make(map[string]map[hashKey]*hashBucket)
	}
	t := r.limits[m.name]
	if t == nil {
		t = make(map[hashKey]*hashBucket)
		r.limits[m.name] = t
	}
	expire := time.Duration(m.expire()) * time.Millisecond
	b := t[k]
	if b != nil && now-b.at < expire {
		return b
	}
	if len(t) >= hashMost {
		for key, old := range t {
			if now-old.at >= expire {
				delete(t, key)
			}
		}
		if len(t) >= hashMost {
			clear(t)
		}
	}
	b = &hashBucket{credit: m.cost() * time.Duration(m.burst), at: now}
	t[k] = b
	return b
}

func (m *hashlimitMatch) expire() uint32 {
	if m.sizes[3] != 0 {
		return m.sizes[3]
	}
	return hashExpire
}

func (m *hashlimitMatch) impure() {}

func (m *hashlimitMatch) appendTo(b []byte) []byte {
	flag := " --hashlimit-upto "
	if m.above {
		flag = " --hashlimit-above "
	}
	b = appendRate(append(b, flag...), m.avg)
	b = strconv.AppendUint(append(b, " --hashlimit-burst "...), uint64(m.burst), 10)
	if m.mode != 0 {
		b = appendBits(append(b, " --hashlimit-mode "...), m.mode, hashModes)
	}
	b = append(append(b, " --hashlimit-name "...), m.name...)
	for i, def := range [4]uint32{0, 0, hashGC, hashExpire} {
		if v := m.sizes[i]; v != 0 && v != def {
			b = strconv.AppendUint(append(append(append(b, ' '), hashSizes[i]...), ' '), uint64(v), 10)
		}
	}
	if m.srcMask != 32 {
		b = strconv.AppendInt(append(b, " --hashlimit-srcmask "...), int64(m.srcMask), 10)
	}
	if m.dstMask != 32 {
		b = strconv.AppendInt(append(b, " --hashlimit-dstmask "...), int64(m.dstMask), 10)
	}
	return b
}

func (m *hashlimitMatch) finish(_ *Rule, name word) error {
	switch {
	case m.name == "":
		return name.errorf("hashlimit needs --hashlimit-name")
	case !m.set:
		return name.errorf("hashlimit needs --hashlimit-upto or --hashlimit-above")
	}
	return nil
}

func (m *hashlimitMatch) setRate(a arg, above bool) (err error) {
	if m.set {
		return a.name.errorf("only one rate can be given")
	}
	if number, _, _ := strings.Cut(a.w[0].text, "/"); strings.HasSuffix(strings.ToLower(number), "b") {
		return a.w[0].errorf("iptables limits bytes too, this emulation only packets")
	}
	m.avg, err = parseRate(a.w[0])
	m.above, m.set = above != a.neg, true
	return err
}

func hashlimitOptions() []option {
	number := func(name string, lo, hi uint64, set func(*hashlimitMatch, uint64)) option {
		return opt(name, 1, false, func(m *hashlimitMatch, a arg) error {
			n, err := parseNumber(a.w[0], hi)
			if err == nil && n < lo {
				err = a.w[0].errorf("number below %d", lo)
			}
			set(m, n)
			return err
		})
	}
	list := []option{
		opt("--hashlimit-upto|--hashlimit", 1, true, func(m *hashlimitMatch, a arg) error { return m.setRate(a, false) }),
		opt("--hashlimit-above", 1, true, func(m *hashlimitMatch, a arg) error { return m.setRate(a, true) }),
		number("--hashlimit-burst", 1, 10000, func(m *hashlimitMatch, n uint64) { m.burst = uint32(n) }),
		number("--hashlimit-srcmask", 0, 32, func(m *hashlimitMatch, n uint64) { m.srcMask = int(n) }),
		number("--hashlimit-dstmask", 0, 32, func(m *hashlimitMatch, n uint64) { m.dstMask = int(n) }),
		opt("--hashlimit-mode", 1, false, func(m *hashlimitMatch, a arg) (err error) {
			m.mode, err = parseBits(a.w[0], "mode", hashModes)
			return err
		}),
		opt("--hashlimit-name", 1, false, func(m *hashlimitMatch, a arg) error {
			if m.name = a.w[0].text; !plainName(m.name) || len(m.name) > 254 {
				return a.w[0].errorf("not a name for a table")
			}
			return nil
		}),
	}
	for i, name := range hashSizes {
		list = append(list, number(name, 1, 1<<32-1, func(m *hashlimitMatch, n uint64) { m.sizes[i] = uint32(n) }))
	}
	return append(list, unsupported("--hashlimit-rate-match", "--hashlimit-rate-interval")...)
}

var hashlimitKind = &kind{"hashlimit", hashlimitOptions(), of(hashlimitMatch{burst: hashBurst, srcMask: 32, dstMask: 32})}

// connlimitMatch is -m connlimit: how many connections an address has. Each rule counts those that have come to it.
type connlimitMatch struct {
	limit uint32
	upto  bool
	dest  bool
	mask  uint32
	set   bool
}

func (m *connlimitMatch) test(e *eval, _ []uint64) bool {
	if e.p.Conn == nil {
		return false
	}
	a := e.src
	if m.dest {
		a = e.dst
	}
	n := e.r.connections(m, a.and(maskV4(m.mask)), e.p.Conn.Handle(), e.env)
	return (n > m.limit) != m.upto
}

// connections counts the living connections of an address, the given one included.
func (r *Ruleset) connections(m *connlimitMatch, a u128, conn any, env Env) uint32 {
	if r.conns == nil {
		r.conns = make(map[*connlimitMatch]map[u128][]any)
	}
	t := r.conns[m]
	if t == nil {
		t = make(map[u128][]any)
		r.conns[m] = t
	}
	known, kept := false, t[a][:0]
	for _, c := range t[a] {
		switch {
		case c == conn:
			known, kept = true, append(kept, c)
		case env.Alive(c):
			kept = append(kept, c)
		}
	}
	if !known {
		kept = append(kept, conn)
	}
	t[a] = kept
	return uint32(len(kept))
}

func (m *connlimitMatch) impure() {}

func (m *connlimitMatch) appendTo(b []byte) []byte {
	flag := " --connlimit-above "
	if m.upto {
		flag = " --connlimit-upto "
	}
	b = strconv.AppendUint(append(b, flag...), uint64(m.limit), 10)
	bits := 0
	for m.mask<<bits != 0 {
		bits++
	}
	b = strconv.AppendInt(append(b, " --connlimit-mask "...), int64(bits), 10)
	if m.dest {
		return append(b, " --connlimit-daddr"...)
	}
	return append(b, " --connlimit-saddr"...)
}

func (m *connlimitMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("connlimit needs --connlimit-above or --connlimit-upto")
	}
	return nil
}

func connlimitOption(name string, upto bool) option {
	return opt(name, 1, true, func(m *connlimitMatch, a arg) error {
		if m.set {
			return a.name.errorf("only one limit can be given")
		}
		n, err := parseNumber(a.w[0], 1<<32-1)
		m.limit, m.upto, m.set = uint32(n), upto != a.neg, true
		return err
	})
}

var connlimitKind = &kind{"connlimit", []option{
	connlimitOption("--connlimit-upto", true), connlimitOption("--connlimit-above", false),
	opt("--connlimit-mask", 1, false, func(m *connlimitMatch, a arg) error {
		n, err := parseNumber(a.w[0], 32)
		m.mask = ^uint32(0) << (32 - n)
		return err
	}),
	flag("--connlimit-saddr", func(m *connlimitMatch) { m.dest = false }),
	flag("--connlimit-daddr", func(m *connlimitMatch) { m.dest = true }),
}, of(connlimitMatch{mask: ^uint32(0)})}
