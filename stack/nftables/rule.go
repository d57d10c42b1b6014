package nftables

import (
	"fmt"
	"strings"
	"time"

	"github.com/podwire/podwire/stack/netfilter"
)

// A Rule is a line of a chain. It does not change.
type Rule struct {
	statements []statement
	comment    string
	at         token // where it was read
}

// String is the rule as nft prints it.
func (r *Rule) String() string { return r.text(nil) }

// text is String with counters as they stand.
func (r *Rule) text(s *state) string {
	words := make([]string, 0, len(r.statements)+1)
	for _, st := range r.statements {
		if c, ok := st.(*counter); ok && s != nil {
			n := s.counters[c]
			words = append(words, fmt.Sprintf("counter packets %d bytes %d", n.packets, n.bytes))
			continue
		}
		words = append(words, st.String())
	}
	if r.comment != "" {
		words = append(words, `comment "`+r.comment+`"`)
	}
	return strings.Join(words, " ")
}

// statement is one step of a rule: a test or an action.
type statement interface {
	// run returns what comes next.
	run(c *context) outcome
	String() string
}

// outcome is what a statement leads to. The zero value is the next statement.
type outcome struct {
	code  code
	chain string            // for jump and goto
	end   netfilter.Verdict // for done
}

type code uint8

const (
	goOn     code = iota // the next statement
	mismatch             // the next rule
	jump                 // into a chain and back
	goTo                 // into a chain
	back                 // to where the chain was jumped to
	done                 // with a verdict
)

// match tests an expression.
type match struct {
	left   concat
	op     string // "" for a single value or bits, else != < > <= >=
	lo, hi key    // of one value or interval
	bits   bool   // any of the bits of lo
	in     *set   // without a name
	set    string // with a name
}

func (m *match) run(c *context) outcome {
	k := c.scratch()
	if !m.left.load(c, k) {
		return outcome{code: mismatch}
	}
	var ok bool
	switch {
	case m.set != "":
		ok = c.state.elements(m.set).find(*k, c.env.Now()) != nil
	case m.in != nil:
		ok = m.in.elements.find(*k, 0) != nil
	case m.bits:
		d := m.left[0].datatype()
		ok = d.get(k[:])&d.get(m.lo[:]) != 0
	default:
		ok = m.compare(k)
	}
	if m.op == "!=" {
		ok = !ok
	}
	if !ok {
		return outcome{code: mismatch}
	}
	return outcome{}
}

func (m *match) compare(k *key) bool {
	n := m.left[0].datatype().padded()
	x := string(k[:n])
	lo, hi := string(m.lo[:n]), string(m.hi[:n])
	switch m.op {
	case "<":
		return x < lo
	case "<=":
		return x <= lo
	case ">":
		return x > lo
	case ">=":
		return x >= lo
	}
	return x >= lo && x <= hi
}

func (m *match) String() string {
	s := m.left.String() + " "
	if m.op != "" {
		s += m.op + " "
	} else if _, ok := m.left[0].(*bitwise); ok {
		s += "== "
	}
	switch {
	case m.set != "":
		return s + "@" + m.set
	case m.in != nil:
		return s + m.in.list()
	}
	return s + formatKey(m.left.types(), m.lo, m.hi)
}

// verdict ends a rule.
type verdict struct {
	words string
	outcome
}

func (v *verdict) run(*context) outcome { return v.outcome }
func (v *verdict) String() string       { return v.words }

// vmap looks the verdict up.
type vmap struct {
	left concat
	in   *set
	set  string
}

func (m *vmap) run(c *context) outcome {
	k := c.scratch()
	if !m.left.load(c, k) {
		return outcome{code: mismatch}
	}
	in := (*elements)(nil)
	if m.in != nil {
		in = m.in.elements
	} else {
		in = c.state.elements(m.set)
	}
	x := in.find(*k, c.env.Now())
	if x == nil {
		return outcome{code: mismatch}
	}
	return x.verdict.outcome
}

func (m *vmap) String() string {
	if m.in != nil {
		return m.left.String() + " vmap " + m.in.list()
	}
	return m.left.String() + " vmap @" + m.set
}

// counter counts what comes to it; the numbers are the ruleset's.
type counter struct{ start count }

type count struct{ packets, bytes uint64 }

func (t *counter) run(c *context) outcome {
	n := c.state.counters[t]
	c.state.counters[t] = count{n.packets + 1, n.bytes + uint64(c.p.Length)}
	return outcome{}
}

func (t *counter) String() string {
	return fmt.Sprintf("counter packets %d bytes %d", t.start.packets, t.start.bytes)
}

// setMark writes the mark of the packet or of its connection.
type setMark struct {
	ct bool
	to expr
}

func (s *setMark) run(c *context) outcome {
	k := c.scratch()
	if !s.to.load(c, k[:]) || s.ct && c.p.ConnMark == nil {
		return outcome{code: mismatch}
	}
	n := s.to.datatype().get(k[:])
	if s.ct {
		*c.p.ConnMark = n
	} else {
		c.p.Mark = n
	}
	return outcome{}
}

func (s *setMark) String() string {
	if s.ct {
		return "ct mark set " + s.to.String()
	}
	return "meta mark set " + s.to.String()
}

// update adds the packet's key to a set, or begins its time anew.
type update struct {
	verb    string // add or update
	set     string
	left    concat
	timeout time.Duration // 0 for the set's own
}

func (u *update) run(c *context) outcome {
	k := c.scratch()
	if !u.left.load(c, k) || !c.state.remember(u, *k, c.env.Now()) {
		return outcome{code: mismatch}
	}
	return outcome{}
}

func (u *update) String() string {
	s := u.verb + " @" + u.set + " { " + u.left.String()
	if u.timeout != 0 {
		s += " timeout " + formatDuration(u.timeout)
	}
	return s + " }"
}

// untrack is notrack.
type untrack struct{}

func (untrack) String() string { return "notrack" }

func (untrack) run(c *context) outcome {
	c.p.State = netfilter.StateUntracked
	return outcome{}
}

// nat decides where a connection goes.
type nat struct {
	verdict netfilter.Verdict
	words   string // dnat, snat, masquerade, redirect
	to      *natMap
	inet    bool // in a table of both families, where nft says which
	flags   []string
}

// natMap looks the address and the port up: "numgen random mod 2 map { 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }".
type natMap struct {
	left concat
	in   *set
}

func (n *nat) run(c *context) outcome {
	v := n.verdict
	if n.to != nil {
		k := c.scratch()
		if !n.to.left.load(c, k) {
			return outcome{code: mismatch}
		}
		x := n.to.in.elements.find(*k, 0)
		if x == nil {
			return outcome{code: mismatch}
		}
		v.Range.MinAddr = addrOf(x.data[:])
		v.Range.MaxAddr = v.Range.MinAddr
		if len(n.to.in.data) == 2 {
			v.Range.MinPort = uint16(typeService.get(x.data[4:]))
			v.Range.MaxPort, v.Range.Ports = v.Range.MinPort, true
		}
	}
	return outcome{code: done, end: v}
}

func (n *nat) String() string {
	s := n.words
	switch r := n.verdict.Range; {
	case n.to != nil:
		s += " ip to " + n.to.left.String() + " map " + n.to.in.list()
	case r.MinAddr.IsValid() && n.inet:
		s += " ip to " + r.String()
	case r.MinAddr.IsValid() || r.Ports:
		s += " to " + r.String()
	}
	if len(n.flags) > 0 {
		s += " " + strings.Join(n.flags, ",")
	}
	return s
}
