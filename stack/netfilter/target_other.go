package netfilter

import (
	"strconv"
	"strings"
)

// rejectAnswers are the answers of REJECT with the code of their ICMP destination unreachable message, and the short
// names that iptables also reads.
var rejectAnswers = []struct {
	name  RejectWith
	short string
	code  uint8
}{
	{RejectNet, "net-unreach", 0}, {RejectHost, "host-unreach", 1}, {RejectProto, "proto-unreach", 2},
	{RejectPort, "port-unreach", 3}, {RejectNetProhib, "net-prohib", 9}, {RejectHostProhib, "host-prohib", 10},
	{RejectAdmin, "admin-prohib", 13}, {RejectTCPReset, "tcp-rst", 0},
}

type rejectTarget struct{ with RejectWith }

func (t *rejectTarget) decide() Verdict { return Verdict{Kind: Reject, Reject: t.with} }

func (t *rejectTarget) place() (tableSet, hookSet) {
	return 1 << Filter, hooks(Input, Forward, Output)
}

func (t *rejectTarget) appendTo(b []byte) []byte {
	return append(append(b, " --reject-with "...), t.with...)
}

func (t *rejectTarget) explain() string { return " with " + string(t.with) }

func (t *rejectTarget) finish(r *Rule, name word) error {
	if t.with == RejectTCPReset && (r.proto != protoTCP || r.negProto) {
		return name.errorf("tcp-reset needs -p tcp")
	}
	return nil
}

var rejectKind = &kind{"REJECT", []option{
	opt("--reject-with", 1, false, func(t *rejectTarget, a arg) error {
		var known []string
		for _, x := range rejectAnswers {
			if strings.EqualFold(a.w[0].text, string(x.name)) || strings.EqualFold(a.w[0].text, x.short) {
				t.with = x.name
				return nil
			}
			known = append(known, string(x.name))
		}
		return a.w[0].unknown("answer", known)
	}),
}, of(rejectTarget{RejectPort})}

// notrackTarget is NOTRACK, and CT with or without --notrack.
type notrackTarget struct{ notrack, ct bool }

func (t *notrackTarget) act(e *eval) {
	if t.notrack {
		e.p.State, e.p.Status, e.p.ConnMark = StateUntracked, 0, nil
	}
}

func (t *notrackTarget) place() (tableSet, hookSet) { return 1 << Raw, hooks(Prerouting, Output) }

func (t *notrackTarget) appendTo(b []byte) []byte {
	if t.ct && t.notrack {
		b = append(b, " --notrack"...)
	}
	return b
}

var (
	notrackKind = &kind{"NOTRACK", nil, of(notrackTarget{notrack: true})}
	ctKind      = &kind{"CT", append([]option{
		flag("--notrack", func(t *notrackTarget) { t.notrack = true }),
	}, unsupported("--helper", "--timeout", "--ctevents", "--expevents", "--zone", "--zone-orig", "--zone-reply")...),
		of(notrackTarget{ct: true})}
)

// logTarget is LOG and NFLOG. What is logged goes to Ruleset.Log.
type logTarget struct {
	prefix string
	level  uint8
	flags  [5]bool // in the order of logFlags
	nf     bool
	group  uint16
	thresh uint16
	size   uint32
	ranged uint32
}

func (t *logTarget) explain() string {
	if t.prefix == "" {
		return ""
	}
	return " " + t.prefix
}

func (t *logTarget) place() (tableSet, hookSet) { return allTables, allHooks }

var (
	logFlags  = []string{"--log-tcp-sequence", "--log-tcp-options", "--log-ip-options", "--log-uid", "--log-macdecode"}
	logLevels = []string{"emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"}
)

// defaultLevel is warning, which iptables does not print.
const defaultLevel = 4

func (t *logTarget) appendTo(b []byte) []byte {
	if t.nf {
		return t.appendNFLOG(b)
	}
	if t.prefix != "" {
		b = appendQuoted(append(b, " --log-prefix "...), t.prefix)
	}
	if t.level != defaultLevel {
		b = strconv.AppendUint(append(b, " --log-level "...), uint64(t.level), 10)
	}
	for i, f := range logFlags {
		if t.flags[i] {
			b = append(append(b, ' '), f...)
		}
	}
	return b
}

func (t *logTarget) appendNFLOG(b []byte) []byte {
	if t.prefix != "" {
		b = appendQuoted(append(b, " --nflog-prefix "...), t.prefix)
	}
	if t.group != 0 {
		b = strconv.AppendUint(append(b, " --nflog-group "...), uint64(t.group), 10)
	}
	if t.size != 0 {
		b = strconv.AppendUint(append(b, " --nflog-size "...), uint64(t.size), 10)
	} else if t.ranged != 0 {
		b = strconv.AppendUint(append(b, " --nflog-range "...), uint64(t.ranged), 10)
	}
	if t.thresh != 0 {
		b = strconv.AppendUint(append(b, " --nflog-threshold "...), uint64(t.thresh), 10)
	}
	return b
}

// setPrefix keeps what fits, as iptables does.
func (t *logTarget) setPrefix(w word, most int) error {
	if w.text == "" || strings.ContainsAny(w.text, "\x00\r\n") {
		return w.errorf("not a prefix for a log line")
	}
	t.prefix = w.text[:min(len(w.text), most)]
	return nil
}

func logOptions() []option {
	list := []option{
		opt("--log-prefix", 1, false, func(t *logTarget, a arg) error { return t.setPrefix(a.w[0], 29) }),
		opt("--log-level", 1, false, func(t *logTarget, a arg) error {
			names := append([]string{"panic", "err", "warn"}, logLevels...)
			if n, err := strconv.ParseUint(a.w[0].text, 10, 8); err == nil && n < 8 {
				t.level = uint8(n)
				return nil
			}
			i, ok := indexFold(names, a.w[0].text)
			if !ok {
				return a.w[0].unknown("log level", names)
			}
			t.level = [...]uint8{0, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7}[i]
			return nil
		}),
	}
	for i, f := range logFlags {
		list = append(list, flag(f, func(t *logTarget) { t.flags[i] = true }))
	}
	return list
}

func logNumber(name string, most uint64, set func(*logTarget, uint64)) option {
	return opt(name, 1, false, func(t *logTarget, a arg) error {
		n, err := parseNumber(a.w[0], most)
		set(t, n)
		return err
	})
}

var (
	logKind   = &kind{"LOG", logOptions(), of(logTarget{level: defaultLevel})}
	nflogKind = &kind{"NFLOG", []option{
		opt("--nflog-prefix", 1, false, func(t *logTarget, a arg) error { return t.setPrefix(a.w[0], 63) }),
		logNumber("--nflog-group", 65535, func(t *logTarget, n uint64) { t.group = uint16(n) }),
		logNumber("--nflog-threshold", 65535, func(t *logTarget, n uint64) { t.thresh = uint16(n) }),
		logNumber("--nflog-size", 1<<32-1, func(t *logTarget, n uint64) { t.size = uint32(n) }),
		logNumber("--nflog-range", 1<<32-1, func(t *logTarget, n uint64) { t.ranged = uint32(n) }),
	}, of(logTarget{nf: true})}
)

// tcpmssTarget is TCPMSS. What it asks for is left in the packet for the caller to do.
type tcpmssTarget struct {
	mss   uint16
	clamp bool
}

// act takes into account that a bare SYN without the option grows by it.
func (t *tcpmssTarget) act(e *eval) {
	e.p.MSS = MSSAction{Set: t.mss, Clamp: t.clamp}
	seg := e.p.transport()
	if _, ok := e.p.mss(); ok || e.p.Fragment || len(seg) < 20 {
		return
	}
	if header := int(seg[12]>>4) * 4; header == len(seg) && header <= 15*4-4 {
		e.p.Length += 4
	}
}

func (t *tcpmssTarget) place() (tableSet, hookSet) {
	if t.clamp {
		return allTables, hooks(Forward, Output, Postrouting) // the path MTU is known after routing only
	}
	return allTables, allHooks
}

func (t *tcpmssTarget) appendTo(b []byte) []byte {
	if t.clamp {
		return append(b, " --clamp-mss-to-pmtu"...)
	}
	return strconv.AppendUint(append(b, " --set-mss "...), uint64(t.mss), 10)
}

func (t *tcpmssTarget) explain() string { return string(t.appendTo(nil)) }

func (t *tcpmssTarget) finish(r *Rule, name word) error {
	switch {
	case (t.mss != 0) == t.clamp:
		return name.errorf("TCPMSS needs one of --set-mss and --clamp-mss-to-pmtu")
	case r.proto != protoTCP || r.negProto:
		return name.errorf("TCPMSS needs -p tcp")
	}
	return nil
}

// synOnly reports whether a match of the rule asks for SYN, which the kernel insists on.
func (t *tcpmssTarget) synOnly(r *Rule) bool {
	for _, m := range r.matches {
		if x, ok := m.matcher.(*portMatch); ok && x.flagTest && !x.flagNeg && x.flagWant&flagSYN != 0 {
			return true
		}
	}
	return false
}

var tcpmssKind = &kind{"TCPMSS", []option{
	opt("--set-mss", 1, false, func(t *tcpmssTarget, a arg) error {
		n, err := parseNumber(a.w[0], 65535-40)
		if err == nil && n == 0 {
			err = a.w[0].errorf("an MSS of 0")
		}
		t.mss = uint16(n)
		return err
	}),
	flag("--clamp-mss-to-pmtu", func(t *tcpmssTarget) { t.clamp = true }),
}, of(tcpmssTarget{})}
