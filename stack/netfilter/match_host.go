package netfilter

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// rpfilterMatch is -m rpfilter: would the host send to the packet's source by the device that it came in by?
type rpfilterMatch struct {
	loose, validMark, acceptLocal, invert bool
}

func (m *rpfilterMatch) test(e *eval, _ []uint64) bool {
	return e.env.ReversePath(e.p, m.loose, m.acceptLocal) != m.invert
}

func (m *rpfilterMatch) appendTo(b []byte) []byte {
	for _, f := range []struct {
		on   bool
		flag string
	}{{m.loose, " --loose"}, {m.validMark, " --validmark"}, {m.acceptLocal, " --accept-local"}, {m.invert, " --invert"}} {
		if f.on {
			b = append(b, f.flag...)
		}
	}
	return b
}

func (m *rpfilterMatch) hooks() hookSet { return hooks(Prerouting) }

func (m *rpfilterMatch) tables() tableSet { return 1<<Raw | 1<<Mangle }

var rpfilterKind = &kind{"rpfilter", []option{
	flag("--loose", func(m *rpfilterMatch) { m.loose = true }),
	flag("--validmark", func(m *rpfilterMatch) { m.validMark = true }),
	flag("--accept-local", func(m *rpfilterMatch) { m.acceptLocal = true }),
	flag("--invert", func(m *rpfilterMatch) { m.invert = true }),
}, of(rpfilterMatch{})}

// macMatch is -m mac, on the source of the Ethernet header.
type macMatch struct {
	mac      [6]byte
	set, neg bool
}

func (m *macMatch) test(e *eval, _ []uint64) bool {
	mac, ok := e.env.SourceMAC(e.p)
	return ok && (mac == m.mac) != m.neg
}

func (m *macMatch) appendTo(b []byte) []byte {
	b = append(appendNot(b, m.neg), " --mac-source"...)
	for i, x := range m.mac {
		b = append(b, ": "[min(1, max(0, 1-i))])
		b = hex.AppendEncode(b, []byte{x})
	}
	return b
}

func (m *macMatch) hooks() hookSet { return hooks(Prerouting, Input, Forward) }

func (m *macMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("mac needs --mac-source")
	}
	return nil
}

var macKind = &kind{"mac", []option{
	opt("--mac-source", 1, true, func(m *macMatch, a arg) error {
		b, err := hex.DecodeString(strings.ReplaceAll(a.w[0].text, ":", ""))
		if err != nil || len(b) != 6 || strings.Count(a.w[0].text, ":") != 5 {
			return a.w[0].errorf("not a MAC address, wanted for example 02:42:ac:11:00:02")
		}
		*m = macMatch{[6]byte(b), true, a.neg}
		return nil
	}),
}, of(macMatch{})}

// ownerMatch is -m owner. The sockets of a host have no users: all of them are root's, user and group 0. Packets that
// the kernel makes itself have no socket.
type ownerMatch struct {
	uid, gid  ctNumber
	exists    bool
	negExists bool
}

func (m *ownerMatch) test(e *eval, _ []uint64) bool {
	if m.exists && e.p.Socket == m.negExists {
		return false
	}
	if !e.p.Socket {
		// without a socket a rule matches if it excludes owners only (xt_owner)
		return (!m.uid.set || m.uid.neg) && (!m.gid.set || m.gid.neg)
	}
	return m.uid.match(0) && m.gid.match(0)
}

func (m *ownerMatch) hooks() hookSet { return hooks(Output, Postrouting) }

func (m *ownerMatch) appendTo(b []byte) []byte {
	if m.exists {
		b = append(appendNot(b, m.negExists), " --socket-exists"...)
	}
	b = m.uid.appendOwner(b, " --uid-owner ")
	return m.gid.appendOwner(b, " --gid-owner ")
}

func (n *ctNumber) appendOwner(b []byte, flag string) []byte {
	if !n.set {
		return b
	}
	b = strconv.AppendUint(append(appendNot(b, n.neg), flag...), uint64(n.lo), 10)
	if n.hi != n.lo {
		b = strconv.AppendUint(append(b, '-'), uint64(n.hi), 10)
	}
	return b
}

func (m *ownerMatch) finish(_ *Rule, name word) error {
	if !m.exists && !m.uid.set && !m.gid.set {
		return name.errorf("owner needs --uid-owner, --gid-owner or --socket-exists")
	}
	return nil
}

func parseOwner(n *ctNumber, a arg) error {
	w := a.w[0]
	if w.text == "root" {
		w.text = "0"
	}
	w.text = strings.Replace(w.text, "-", ":", 1)
	if err := n.parse(arg{w: []word{w}, neg: a.neg}, 1<<32-2); err != nil {
		return a.w[0].errorf("not a number or range of numbers: users have no names here, except root")
	}
	return nil
}

var ownerKind = &kind{"owner", append([]option{
	opt("--uid-owner", 1, true, func(m *ownerMatch, a arg) error { return parseOwner(&m.uid, a) }),
	opt("--gid-owner", 1, true, func(m *ownerMatch, a arg) error { return parseOwner(&m.gid, a) }),
	opt("--socket-exists", 0, true, func(m *ownerMatch, a arg) error {
		m.exists, m.negExists = true, a.neg
		return nil
	}),
}, unsupported("--pid-owner", "--sid-owner", "--cmd-owner")...), of(ownerMatch{})}

// policyMatch is -m policy. Nothing is encrypted by IPsec here, so no packet has a policy.
type policyMatch struct {
	dir string // in or out
	pol string // none or ipsec
}

func (m *policyMatch) test(*eval, []uint64) bool { return m.pol == "none" }

func (m *policyMatch) appendTo(b []byte) []byte {
	b = append(append(b, " --dir "...), m.dir...)
	return append(append(b, " --pol "...), m.pol...)
}

func (m *policyMatch) hooks() hookSet {
	if m.dir == "in" {
		return hooks(Prerouting, Input, Forward)
	}
	return hooks(Postrouting, Output, Forward)
}

func (m *policyMatch) finish(_ *Rule, name word) error {
	if m.dir == "" || m.pol == "" {
		return name.errorf("policy needs --dir and --pol")
	}
	return nil
}

func oneOf[T any](name, what string, field func(T) *string, words ...string) option {
	return opt(name, 1, false, func(m T, a arg) error {
		i, ok := indexFold(words, a.w[0].text)
		if !ok {
			return a.w[0].unknown(what, words)
		}
		*field(m) = words[i]
		return nil
	})
}

var policyKind = &kind{"policy", append([]option{
	oneOf("--dir", "direction", func(m *policyMatch) *string { return &m.dir }, "in", "out"),
	oneOf("--pol", "policy", func(m *policyMatch) *string { return &m.pol }, "none", "ipsec"),
}, unsupported("--strict", "--reqid", "--spi", "--proto", "--mode", "--tunnel-src", "--tunnel-dst", "--next")...),
	of(policyMatch{})}

// ipvsMatch is -m ipvs --ipvs: the packet belongs to a connection of the IPVS load balancer.
type ipvsMatch struct{ set, neg bool }

func (m *ipvsMatch) test(e *eval, _ []uint64) bool { return e.p.IPVS != m.neg }

func (m *ipvsMatch) appendTo(b []byte) []byte { return append(appendNot(b, m.neg), " --ipvs"...) }

func (m *ipvsMatch) finish(_ *Rule, name word) error {
	if !m.set {
		return name.errorf("ipvs needs --ipvs")
	}
	return nil
}

var ipvsKind = &kind{"ipvs", append([]option{
	opt("--ipvs", 0, true, func(m *ipvsMatch, a arg) error {
		*m = ipvsMatch{true, a.neg}
		return nil
	}),
}, unsupported("--vproto", "--vaddr", "--vport", "--vdir", "--vmethod", "--vportctl")...), of(ipvsMatch{})}
