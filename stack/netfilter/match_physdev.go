package netfilter

// physdevMatch is -m physdev: the bridge ports of a packet that br_netfilter shows.
type physdevMatch struct {
	in, out              *ifaceTest
	isIn, isOut, bridged triState
	any                  bool
}

// triState is a yes or no question that may also not be asked.
type triState uint8

const (
	unasked triState = iota
	yes
	no
)

func (t triState) match(v bool) bool { return t == unasked || (t == yes) == v }

func (t triState) appendTo(b []byte, flag string) []byte {
	if t == unasked {
		return b
	}
	return append(append(appendNot(b, t == no), ' '), flag...)
}

func asked(neg bool) triState {
	if neg {
		return no
	}
	return yes
}

// test follows xt_physdev: a port that is not known fails --physdev-out even when inverted, unless the packet is not
// bridged at all, when every inverted test holds.
func (m *physdevMatch) test(e *eval, _ []uint64) bool {
	in, out := e.p.PhysIn, e.p.PhysOut
	if !m.bridged.match(out != "") || !m.isIn.match(in != "") || !m.isOut.match(out != "") {
		return false
	}
	if in == "" && out == "" {
		return (m.in == nil || m.in.neg) && (m.out == nil || m.out.neg)
	}
	if m.in != nil && in != "" && !m.in.match(in) {
		return false
	}
	return m.out == nil || out != "" && m.out.match(out)
}

func (m *physdevMatch) appendTo(b []byte) []byte {
	b = m.isIn.appendTo(b, "--physdev-is-in")
	if m.in != nil {
		b = m.in.appendTo(b, "--physdev-in")
	}
	b = m.isOut.appendTo(b, "--physdev-is-out")
	if m.out != nil {
		b = m.out.appendTo(b, "--physdev-out")
	}
	return m.bridged.appendTo(b, "--physdev-is-bridged")
}

func (m *physdevMatch) finish(_ *Rule, name word) error {
	if !m.any {
		return name.errorf("physdev needs an option")
	}
	return nil
}

func physPort(names string, set func(*physdevMatch, *ifaceTest)) option {
	return opt(names, 1, true, func(m *physdevMatch, a arg) error {
		t, err := parseIface(a.w[0], a.neg)
		if t == nil && err == nil {
			t = &ifaceTest{prefix: true} // a bare + does ask for a bridge port
		}
		m.any = true
		set(m, t)
		return err
	})
}

func physFlag(name string, set func(*physdevMatch, triState)) option {
	return opt(name, 0, true, func(m *physdevMatch, a arg) error {
		m.any = true
		set(m, asked(a.neg))
		return nil
	})
}

var physdevKind = &kind{"physdev", []option{
	physPort("--physdev-in", func(m *physdevMatch, t *ifaceTest) { m.in = t }),
	physPort("--physdev-out", func(m *physdevMatch, t *ifaceTest) { m.out = t }),
	physFlag("--physdev-is-in", func(m *physdevMatch, t triState) { m.isIn = t }),
	physFlag("--physdev-is-out", func(m *physdevMatch, t triState) { m.isOut = t }),
	physFlag("--physdev-is-bridged", func(m *physdevMatch, t triState) { m.bridged = t }),
}, of(physdevMatch{})}
