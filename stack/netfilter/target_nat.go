package netfilter

import (
	"strings"
)

// natTarget is DNAT, SNAT, MASQUERADE, REDIRECT or NETMAP.
type natTarget struct {
	kind  Kind
	flag  string // the option that carries the range
	r     Range
	given bool
}

func (t *natTarget) decide() Verdict { return Verdict{Kind: t.kind, Range: t.r} }

// place: destinations can change only before routing, sources only after it.
func (t *natTarget) place() (tableSet, hookSet) {
	switch t.kind {
	case DNAT, Redirect:
		return 1 << NAT, hooks(Prerouting, Output)
	case SNAT:
		return 1 << NAT, hooks(Postrouting, Input)
	case Netmap:
		return 1 << NAT, hooks(Prerouting, Output, Postrouting, Input)
	}
	return 1 << NAT, hooks(Postrouting)
}

func (t *natTarget) appendTo(b []byte) []byte {
	if t.given {
		b = append(append(append(b, ' '), t.flag...), ' ')
		switch {
		case t.flag == "--to-ports":
			b = t.r.appendPorts(b)
		case t.kind == Netmap:
			b = t.appendNet(b)
		default:
			b = t.r.appendTo(b)
		}
	}
	if t.r.Random {
		b = append(b, " --random"...)
	}
	if t.r.RandomFully {
		b = append(b, " --random-fully"...)
	}
	if t.r.Persistent {
		b = append(b, " --persistent"...)
	}
	return b
}

// appendNet prints the range of NETMAP as the network that it is.
func (t *natTarget) appendNet(b []byte) []byte {
	net := addrTest{val: toU128(t.r.MinAddr), mask: maskV4(^uint32(toU128(t.r.MinAddr).lo ^ toU128(t.r.MaxAddr).lo))}
	return append(b, net.appendTo(nil, "")[len("  "):]...)
}

// setNet reads NETWORK/MASK.
func (t *natTarget) setNet(a arg) error {
	net, err := parseAddr(a.w[0], false)
	if err != nil {
		return err
	}
	last := u128{net.val.hi, net.val.lo | ^net.mask.lo&0xffffffff}
	t.r.MinAddr, t.r.MaxAddr, t.given = net.val.addr(), last.addr(), true
	return nil
}

func (t *natTarget) explain() string {
	switch {
	case !t.given:
		return ""
	case t.kind == Netmap:
		return " to " + string(t.appendNet(nil))
	case t.flag == "--to-ports":
		return " to ports " + string(t.r.appendPorts(nil))
	}
	return " to " + t.r.String()
}

func (t *natTarget) finish(r *Rule, name word) error {
	switch {
	case !t.given && t.flag != "--to-ports":
		return name.errorf("%s needs %s", name.text, t.flag)
	case t.r.Ports && (r.negProto || !hasPorts(r.proto)):
		return name.errorf("ports need -p tcp, udp, udplite, sctp or dccp")
	}
	return nil
}

// setRange reads ADDR[-ADDR][:PORT[-PORT[/BASE]]], any part of which may be missing.
func (t *natTarget) setRange(a arg) (err error) {
	addrs, ports, hasPorts := strings.Cut(a.w[0].text, ":")
	if addrs == "" && ports == "" {
		return a.w[0].errorf("neither an address nor a port")
	}
	if addrs != "" {
		t.r.MinAddr, t.r.MaxAddr, err = parseAddrRange(word{addrs, a.w[0].col})
	}
	if hasPorts && err == nil {
		err = t.setPorts(word{ports, a.w[0].col + len(addrs) + 1})
	}
	t.given = true
	return err
}

func (t *natTarget) setPorts(w word) (err error) {
	text, base, hasBase := strings.Cut(w.text, "/")
	if text == "" {
		return w.errorf("no port")
	}
	if t.r.MinPort, t.r.MaxPort, err = parsePorts(word{text, w.col}, "-"); err != nil || !hasBase {
		t.r.Ports, t.given = true, true
		return err
	}
	if t.kind != DNAT || t.r.MinPort == t.r.MaxPort {
		return w.errorf("only a DNAT port range can have a base port")
	}
	t.r.Base, err = parsePort(word{base, w.col + len(text) + 1})
	t.r.Ports, t.r.HasBase, t.given = true, true, true
	return err
}

// natKind makes the description of one NAT target; names of the flags it takes follow.
func natKind(name string, k Kind, toNames string, opts ...option) *kind {
	to, _, _ := strings.Cut(toNames, "|")
	set := (*natTarget).setRange
	switch to {
	case "--to":
		set = (*natTarget).setNet
	case "--to-ports":
		set = func(t *natTarget, a arg) error { return t.setPorts(a.w[0]) }
	}
	opts = append([]option{opt(toNames, 1, false, set)}, opts...)
	return &kind{name, opts, of(natTarget{kind: k, flag: to})}
}

var (
	optRandom      = flag("--random", func(t *natTarget) { t.r.Random = true })
	optRandomFully = flag("--random-fully", func(t *natTarget) { t.r.RandomFully = true })
	optPersistent  = flag("--persistent", func(t *natTarget) { t.r.Persistent = true })

	dnatKind       = natKind("DNAT", DNAT, "--to-destination", optRandom, optPersistent)
	snatKind       = natKind("SNAT", SNAT, "--to-source", optRandom, optRandomFully, optPersistent)
	masqueradeKind = natKind("MASQUERADE", Masquerade, "--to-ports", optRandom, optRandomFully)
	netmapKind     = natKind("NETMAP", Netmap, "--to")
	redirectKind   = natKind("REDIRECT", Redirect, "--to-ports", optRandom)
)
