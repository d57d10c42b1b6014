package netfilter

import (
	"net/netip"
	"strings"
)

// setMatch is -m set. Sets are found by name, so that rules can be shared between hosts.
type setMatch struct {
	name string
	dims []string // src or dst per dimension
	neg  bool
}

func (m *setMatch) test(e *eval, _ []uint64) bool {
	s := e.r.sets[m.name]
	if s == nil || len(m.dims) == 0 {
		return false
	}
	want := 1
	if s.port {
		want++
	}
	if s.second {
		want++
	}
	if len(m.dims) < want || e.p.Fragment && (s.port || s.bitmap) {
		return m.neg
	}
	if s.bitmap {
		return s.contains(netip.Addr{}, 0, m.portOf(e.p, 0), netip.Addr{}) != m.neg
	}
	addr, port, second := m.addrOf(e.p, 0), uint16(0), netip.Addr{}
	if s.port {
		port = m.portOf(e.p, 1)
	}
	if s.second {
		second = m.addrOf(e.p, 2)
	}
	return s.contains(addr, e.p.Proto, port, second) != m.neg
}

// addrOf is the address that a dimension names, portOf the port.
func (m *setMatch) addrOf(p *Packet, dim int) netip.Addr {
	if m.dims[dim] == "dst" {
		return p.Dst
	}
	return p.Src
}

func (m *setMatch) portOf(p *Packet, dim int) uint16 {
	if m.dims[dim] == "dst" {
		return p.DstPort
	}
	return p.SrcPort
}

func (m *setMatch) appendTo(b []byte) []byte {
	b = append(append(appendNot(b, m.neg), " --match-set "...), m.name...)
	return append(append(b, ' '), strings.Join(m.dims, ",")...)
}

func (m *setMatch) finish(_ *Rule, name word) error {
	if m.name == "" {
		return name.errorf("set needs --match-set")
	}
	return nil
}

var setKind = &kind{"set", append([]option{
	opt("--match-set", 2, true, func(m *setMatch, a arg) error {
		m.name, m.neg, m.dims = a.w[0].text, a.neg, strings.Split(a.w[1].text, ",")
		if !plainName(m.name) {
			return a.w[0].errorf("not a name for a set")
		}
		for _, d := range m.dims {
			if d != "src" && d != "dst" {
				return a.w[1].errorf("not a list of src and dst")
			}
		}
		return nil
	}),
}, unsupported("--return-nomatch", "--packets-eq", "--packets-lt", "--packets-gt", "--bytes-eq", "--bytes-lt",
	"--bytes-gt")...), of(setMatch{})}

// missingSet is the error of a command that names a set which does not exist.
func (r *Ruleset) missingSet(cmd *command) error {
	for _, rule := range cmd.rules {
		for _, m := range rule.matches {
			if x, ok := m.matcher.(*setMatch); ok && r.sets[x.name] == nil {
				return r.noSet(word{x.name, cmd.chain.col})
			}
		}
	}
	return nil
}

// usesSets reports whether a rule of the command names a set.
func (cmd *command) usesSets() bool {
	for _, rule := range cmd.rules {
		for _, m := range rule.matches {
			if _, ok := m.matcher.(*setMatch); ok {
				return true
			}
		}
	}
	return false
}

func (r *Ruleset) usesSet(name string) bool { return r.references(name) > 0 }

// references counts the rules that match a set.
func (r *Ruleset) references(name string) (n int) {
	for t := range numTables {
		r.tables[t].all(func(ch *chain) {
			for _, rule := range ch.rules {
				for _, m := range rule.matches {
					if x, ok := m.matcher.(*setMatch); ok && x.name == name {
						n++
					}
				}
			}
		})
	}
	return n
}
