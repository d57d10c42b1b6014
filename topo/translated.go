package topo

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

// NAT is a translation that a step expects: the kind, and both ends of the arrow. A
// port that is not written may be any.
type NAT struct {
	Pos      Pos
	Text     string // as written
	Machine  string // who translates; "" for anybody
	Kind     string // DNAT or SNAT
	From, To Ref
}

const wantNAT = `a translation such as "DNAT web:80 -> web-0:8080", "node1: SNAT client -> node1", or none`

// decodeTranslated reads the list of translations, or the word none.
func (l *load) decodeTranslated(m mapping) (list []NAT, none bool) {
	n := m.get("translated")
	switch {
	case n == nil:
		return nil, false
	case n.Kind == yaml.ScalarNode && n.Value == "none":
		return nil, true
	case n.Kind == yaml.ScalarNode:
		f := decode(m, "translated", wantNAT, parseNAT)
		f.Value.setPos(f.Pos)
		return []NAT{f.Value}, false
	}
	m.list("translated", "a list of translations", func(path string, n *yaml.Node) {
		if text, ok := l.scalar(m.d, n, path, wantNAT); ok {
			f := decodeText(l, m.d, n, path, text, wantNAT, parseNAT)
			f.Value.setPos(f.Pos)
			list = append(list, f.Value)
		}
	})
	return list, len(n.Content) == 0
}

// setPos gives all parts of a translation one place.
func (n *NAT) setPos(pos Pos) {
	n.Pos = pos
	if pos.IsValid() {
		n.From.Pos, n.To.Pos = pos, pos
	}
}

// parseNAT reads "[MACHINE: ]KIND FROM[:PORT] -> TO[:PORT]".
func parseNAT(s string) (n NAT, err error) {
	n.Text = s
	rest := s
	if machine, after, ok := strings.Cut(s, ": "); ok {
		n.Machine, rest = strings.TrimSpace(machine), after
	}
	words := strings.Fields(rest)
	if len(words) != 4 || words[2] != "->" || words[0] != "DNAT" && words[0] != "SNAT" {
		return NAT{}, strconv.ErrSyntax
	}
	n.Kind = words[0]
	for word, ref := range map[string]*Ref{words[1]: &n.From, words[3]: &n.To} {
		ref.Text = word
		if i := strings.LastIndexByte(word, ':'); i > 0 {
			port, err := strconv.ParseUint(word[i+1:], 10, 16)
			if err != nil || port == 0 {
				return NAT{}, hint("a port is a number from 1 to 65535")
			}
			ref.Text, ref.Port = word[:i], int(port)
		}
	}
	if words[1] == words[3] {
		return NAT{}, hint("both ends are the same")
	}
	return n, nil
}

// resolveTranslated settles the names in a step's translations.
func (l *load) resolveTranslated(e *Expect, at string) {
	for i := range e.Translated {
		n := &e.Translated[i]
		for _, r := range []*Ref{&n.From, &n.To} {
			l.resolve(r, fmt.Sprintf("%s.expect.translated[%d]", at, i), RefService, RefPod, RefNode, RefHost, RefIP)
		}
	}
}

// flow notes the two ends of the flow that a step makes.
func (p *player) flow(network string, c net.Conn) {
	from, err1 := netip.ParseAddrPort(c.LocalAddr().String())
	to, err2 := netip.ParseAddrPort(c.RemoteAddr().String())
	if err1 == nil && err2 == nil {
		p.result.Translated = p.lab.Translations(network, from, to)
	}
}

// checkTranslated compares the translations of a step with those that it expects:
// these and no others, in this order.
func (p *player) checkTranslated() {
	e, got := p.step.Expect, p.result.Translated
	if !e.NoNAT && len(e.Translated) == 0 {
		return
	}
	want := []string{"none"}
	if len(e.Translated) > 0 {
		want = nil
	}
	ok := len(got) == len(e.Translated)
	for i, n := range e.Translated {
		want = append(want, n.Text)
		ok = ok && n.is(p, got[min(i, len(got)-1)])
	}
	var found []string
	for _, t := range got {
		found = append(found, t.String())
	}
	if len(found) == 0 {
		found = []string{"none"}
	}
	p.result.check("translated", strings.Join(found, "; "), strings.Join(want, "; "), ok)
}

// is reports whether a translation is the expected one.
func (n *NAT) is(p *player, t emu.Translation) bool {
	return n.Kind == t.Kind && (n.Machine == "" || n.Machine == t.Machine) && p.isEnd(n.From, t.From) && p.isEnd(n.To, t.To)
}

func (p *player) isEnd(r Ref, a netip.AddrPort) bool {
	addr, err := p.lab.Resolve(p.address(r))
	if err != nil || r.Port != 0 && r.Port != int(a.Port()) {
		return false
	}
	if addr == a.Addr() {
		return true
	}
	if r.Kind != RefNode { // a node has several addresses, one for each device
		return false
	}
	owner := p.lab.Owner(a.Addr())
	return owner != nil && owner.Name() == r.Name
}

// translations are lines for people, one for each machine that translates.
func translations(list []emu.Translation) []string {
	var lines []string
	for i, t := range list {
		text := fmt.Sprintf("%s %v -> %v", t.Kind, t.From, t.To)
		if i > 0 && list[i-1].Machine == t.Machine {
			lines[len(lines)-1] += ", " + text
			continue
		}
		lines = append(lines, t.Machine+": "+text)
	}
	return slices.Clip(lines)
}
