package netfilter

import (
	"fmt"
	"strconv"
	"strings"
)

// ttlTarget is TTL. What it sets is left in the packet for the caller to write.
type ttlTarget struct {
	op string // --ttl-set, --ttl-dec or --ttl-inc
	n  uint8
}

// act keeps within 0 to 255, as the kernel does.
func (t *ttlTarget) act(e *eval) {
	v := int(t.n)
	switch t.op {
	case "--ttl-dec":
		v = max(0, int(e.p.TTL)-v)
	case "--ttl-inc":
		v = min(255, int(e.p.TTL)+v)
	}
	e.p.TTL = uint8(v)
}

func (t *ttlTarget) place() (tableSet, hookSet) { return 1 << Mangle, allHooks }

func (t *ttlTarget) appendTo(b []byte) []byte {
	return strconv.AppendUint(append(append(append(b, ' '), t.op...), ' '), uint64(t.n), 10)
}

func (t *ttlTarget) explain() string { return string(t.appendTo(nil)) }

func (t *ttlTarget) finish(_ *Rule, name word) error {
	if t.op == "" {
		return name.errorf("TTL needs --ttl-set, --ttl-dec or --ttl-inc")
	}
	return nil
}

func ttlOption(name string, least uint64) option {
	return opt(name, 1, false, func(t *ttlTarget, a arg) error {
		if t.op != "" {
			return a.name.errorf("%s is given already", t.op)
		}
		n, err := parseNumber(a.w[0], 255)
		if err == nil && n < least {
			err = a.w[0].errorf("this changes nothing")
		}
		*t = ttlTarget{name, uint8(n)}
		return err
	})
}

var ttlTargetKind = &kind{"TTL", []option{ttlOption("--ttl-set", 0), ttlOption("--ttl-dec", 1), ttlOption("--ttl-inc", 1)},
	of(ttlTarget{})}

// tosTarget is TOS, and DSCP with its bits alone. What it sets is left in the packet for the caller to write.
type tosTarget struct {
	value, mask uint8
	dscp, set   bool
}

func (t *tosTarget) act(e *eval) { e.p.TOS = e.p.TOS&^t.mask ^ t.value }

func (t *tosTarget) place() (tableSet, hookSet) { return 1 << Mangle, allHooks }

func (t *tosTarget) appendTo(b []byte) []byte {
	if t.dscp {
		return appendHexByte(append(b, " --set-dscp "...), t.value>>2)
	}
	b = append(appendHexByte(append(b, " --set-tos "...), t.value), '/')
	return appendHexByte(b, t.mask)
}

func (t *tosTarget) explain() string { return string(t.appendTo(nil)) }

func (t *tosTarget) finish(_ *Rule, name word) error {
	switch {
	case !t.set && t.dscp:
		return name.errorf("DSCP needs --set-dscp or --set-dscp-class")
	case !t.set:
		return name.errorf("TOS needs --set-tos, --and-tos, --or-tos or --xor-tos")
	}
	return nil
}

func (t *tosTarget) put(a arg, value, mask uint8, err error) error {
	if t.set && err == nil {
		return a.name.errorf("only one operation can be given")
	}
	t.value, t.mask, t.set = value, mask, true
	return err
}

func tosOp(name string, f func(v uint8) (value, mask uint8)) option {
	return opt(name, 1, false, func(t *tosTarget, a arg) error {
		n, err := parseNumber(a.w[0], 255)
		v, m := f(uint8(n))
		return t.put(a, v, m, err)
	})
}

func dscpOption(name string, parse func(word) (uint8, error)) option {
	return opt(name, 1, false, func(t *tosTarget, a arg) error {
		v, err := parse(a.w[0])
		return t.put(a, v<<2, 0xfc, err)
	})
}

var (
	tosTargetKind = &kind{"TOS", []option{
		opt("--set-tos", 1, false, func(t *tosTarget, a arg) error {
			v, m, err := parseTOS(a.w[0])
			return t.put(a, v, m, err)
		}),
		tosOp("--and-tos", func(v uint8) (uint8, uint8) { return 0, ^v }),
		tosOp("--or-tos", func(v uint8) (uint8, uint8) { return v, v }),
		tosOp("--xor-tos", func(v uint8) (uint8, uint8) { return v, 0 }),
	}, of(tosTarget{})}
	dscpTargetKind = &kind{"DSCP", []option{
		dscpOption("--set-dscp", parseDSCP), dscpOption("--set-dscp-class", parseDSCPClass),
	}, of(tosTarget{dscp: true})}
)

// silentTarget is a target whose effect cannot be seen in packets here: CHECKSUM, because checksums are always
// computed; CLASSIFY, because there is no queueing discipline; TRACE, because Ruleset.Trace shows every rule.
type silentTarget struct {
	name         string
	major, minor uint16
	set          bool
}

func (t *silentTarget) act(*eval) {}

func (t *silentTarget) place() (tableSet, hookSet) {
	switch t.name {
	case "CLASSIFY":
		return allTables, hooks(Forward, Output, Postrouting)
	case "TRACE":
		return 1 << Raw, hooks(Prerouting, Output)
	}
	return 1 << Mangle, allHooks
}

func (t *silentTarget) appendTo(b []byte) []byte {
	switch t.name {
	case "CLASSIFY":
		return fmt.Appendf(b, " --set-class %04x:%04x", t.major, t.minor)
	case "CHECKSUM":
		return append(b, " --checksum-fill"...)
	}
	return b
}

func (t *silentTarget) finish(_ *Rule, name word) error {
	switch {
	case t.set || t.name == "TRACE":
		return nil
	case t.name == "CHECKSUM":
		return name.errorf("CHECKSUM needs --checksum-fill")
	}
	return name.errorf("CLASSIFY needs --set-class")
}

var (
	checksumKind = &kind{"CHECKSUM", []option{flag("--checksum-fill", func(t *silentTarget) { t.set = true })},
		of(silentTarget{name: "CHECKSUM"})}
	classifyKind = &kind{"CLASSIFY", []option{opt("--set-class", 1, false, (*silentTarget).class)},
		of(silentTarget{name: "CLASSIFY"})}
	traceKind = &kind{"TRACE", nil, of(silentTarget{name: "TRACE"})}
)

// class reads MAJOR:MINOR, in hexadecimal without 0x.
func (t *silentTarget) class(a arg) error {
	major, minor, ok := strings.Cut(a.w[0].text, ":")
	x, err := strconv.ParseUint(major, 16, 16)
	y, err2 := strconv.ParseUint(minor, 16, 16)
	if !ok || err != nil || err2 != nil {
		return a.w[0].errorf("not a class, wanted MAJOR:MINOR in hexadecimal")
	}
	t.major, t.minor, t.set = uint16(x), uint16(y), true
	return nil
}
