package netfilter

import (
	"strconv"
	"time"
)

// recentMatch is -m recent. Lists are shared by all rules of a Ruleset that name them.
type recentMatch struct {
	op      string // --set, --rcheck, --update or --remove
	name    string
	seconds uint32
	hits    uint32
	reap    bool
	ttl     bool
	dest    bool
	mask    uint32
	neg     bool
}

// recentListSize is the default of the kernel module's ip_list_tot: how many addresses a list holds.
const recentListSize = 100

// recentMaxStamps bounds the time stamps the kernel keeps per address.
const recentMaxStamps = 65536

// test follows recent_mt in the kernel's xt_recent.
func (m *recentMatch) test(e *eval, _ []uint64) bool {
	l, now := e.r.recentList(m), e.env.Now()
	addr, ttl := e.src, uint8(0)
	if m.dest {
		addr = e.dst
	}
	if addr = addr.and(maskV4(m.mask)); m.ttl {
		ttl = e.p.TTL
	}
	entry := l.find(addr, ttl)
	if entry == nil {
		if m.op == "--set" {
			l.add(addr, e.p.TTL, now)
		}
		return (m.op == "--set") != m.neg
	}
	hit := m.op == "--set" || m.op == "--remove"
	if !hit {
		hit = entry.seen(now, m.seconds, m.hits)
	}
	ret := hit != m.neg
	switch {
	case m.op == "--remove":
		l.remove(entry)
	case m.reap:
		l.reap(now-time.Duration(m.seconds)*time.Second, entry, m.op == "--update" && ret)
	}
	if m.op == "--set" || m.op == "--update" && ret {
		l.touch(entry, now)
		entry.ttl = e.p.TTL
	}
	return ret
}

func (m *recentMatch) impure() {}

func (m *recentMatch) appendTo(b []byte) []byte {
	b = append(append(appendNot(b, m.neg), ' '), m.op...)
	if m.seconds != 0 {
		b = strconv.AppendUint(append(b, " --seconds "...), uint64(m.seconds), 10)
	}
	if m.reap {
		b = append(b, " --reap"...)
	}
	if m.hits != 0 {
		b = strconv.AppendUint(append(b, " --hitcount "...), uint64(m.hits), 10)
	}
	if m.ttl {
		b = append(b, " --rttl"...)
	}
	b = append(append(b, " --name "...), m.name...)
	b = appendV4(append(b, " --mask "...), m.mask)
	if m.dest {
		return append(b, " --rdest"...)
	}
	return append(b, " --rsource"...)
}

func (m *recentMatch) finish(_ *Rule, name word) error {
	check := m.op == "--rcheck" || m.op == "--update"
	switch {
	case m.op == "":
		return name.errorf("recent needs --set, --rcheck, --update or --remove")
	case !check && (m.seconds != 0 || m.hits != 0 || m.reap || m.ttl):
		return name.errorf("--seconds, --reap, --hitcount and --rttl need --rcheck or --update")
	case m.reap && m.seconds == 0:
		return name.errorf("--reap needs --seconds")
	}
	return nil
}

func recentOp(op string) option {
	return opt(op, 0, true, func(m *recentMatch, a arg) error {
		if m.op != "" {
			return a.name.errorf("%s is given already", m.op)
		}
		m.op, m.neg = op, a.neg
		return nil
	})
}

var recentKind = &kind{"recent", []option{
	recentOp("--set"), recentOp("--rcheck"), recentOp("--update"), recentOp("--remove"),
	opt("--seconds", 1, false, func(m *recentMatch, a arg) error { return positive(a.w[0], 1<<32-1, &m.seconds) }),
	opt("--hitcount", 1, false, func(m *recentMatch, a arg) error { return positive(a.w[0], recentMaxStamps-1, &m.hits) }),
	flag("--reap", func(m *recentMatch) { m.reap = true }),
	flag("--rttl", func(m *recentMatch) { m.ttl = true }),
	flag("--rsource", func(m *recentMatch) { m.dest = false }),
	flag("--rdest", func(m *recentMatch) { m.dest = true }),
	opt("--name", 1, false, func(m *recentMatch, a arg) error {
		if n := a.w[0].text; n == "" || len(n) > 199 || !plainName(n) {
			return a.w[0].errorf("not a name for a list")
		}
		m.name = a.w[0].text
		return nil
	}),
	opt("--mask", 1, false, func(m *recentMatch, a arg) (err error) {
		m.mask, err = parseMask(a.w[0])
		return err
	}),
}, of(recentMatch{name: "DEFAULT", mask: ^uint32(0)})}

func positive(w word, limit uint64, v *uint32) error {
	n, err := parseNumber(w, limit)
	if err == nil && n == 0 {
		err = w.errorf("0, wanted 1 or more")
	}
	*v = uint32(n)
	return err
}

// plainName reports whether a name needs no quotes and cannot be taken for an option.
func plainName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '/' || s[i] == '\\' || s[i] == '\'' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[0] != '!'
}
