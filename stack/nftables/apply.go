package nftables

import (
	"slices"
	"time"

	"github.com/podwire/podwire/internal/typo"
	"github.com/podwire/podwire/stack/netfilter"
)

// Apply carries out a script at a time, all of it or nothing, as nft -f does. The error is an [*Error].
func (r *Ruleset) Apply(s *Script, now time.Duration) error {
	t, err := r.stage(s, now)
	if err == nil {
		r.states = t.states
		r.index()
	}
	return err
}

// Check is Apply without effect, nft -c.
func (r *Ruleset) Check(s *Script, now time.Duration) error {
	_, err := r.stage(s, now)
	return err
}

// stage carries out a script on the side.
func (r *Ruleset) stage(s *Script, now time.Duration) (*stage, error) {
	t := &stage{now: now, states: slices.Clone(r.states), fresh: make(map[string]*state)}
	for _, c := range s.commands {
		if err := t.run(c); err != nil {
			return nil, err
		}
	}
	return t, t.check(s)
}

// Tables are tables made by a script from nothing, for [Ruleset.Replace].
type Tables struct{ list []*table }

// Tables carries the script out on an empty ruleset. The result may be shared by any number of rulesets.
func (s *Script) Tables() (*Tables, error) {
	r := New()
	if err := r.Apply(s, 0); err != nil {
		return nil, err
	}
	t := &Tables{}
	for _, st := range r.states {
		made := st.table
		if len(st.changed) > 0 {
			made = made.clone()
			for name, e := range st.changed {
				changed := *made.sets[name]
				changed.elements = e
				made.sets[name] = &changed
			}
		}
		t.list = append(t.list, made)
	}
	return t, nil
}

// Replace puts tables in place of those of the same names, as the sum of a proxy's transactions does: what rules have
// added to dynamic sets stays there if the sets are still declared alike.
func (r *Ruleset) Replace(t *Tables) {
	for _, made := range t.list {
		next := newState(made)
		old := r.find(made.name)
		if old == nil {
			r.states = append(r.states, next)
			continue
		}
		for name, e := range old.changed {
			if now := made.sets[name]; now != nil && now.dynamic() && now.same(old.table.sets[name]) {
				next.changed[name] = e
			}
		}
		r.states[slices.Index(r.states, old)] = next
	}
	r.index()
}

// Afresh returns the script that first deletes a table, "ip kube-proxy", if it is there.
func (s *Script) Afresh(table string) *Script {
	first := &command{verb: "destroy", object: "table", table: table}
	return &Script{commands: append([]*command{first}, s.commands...)}
}

// Adds reports whether the script makes or fills a table, "ip kube-proxy".
func (s *Script) Adds(table string) bool {
	return slices.ContainsFunc(s.commands, func(c *command) bool { return c.table == table && c.object == "table" && c.verb == "add" })
}

// stage is a ruleset being changed.
type stage struct {
	now    time.Duration
	states []*state
	fresh  map[string]*state // those that are this stage's own
}

func (t *stage) find(name string) int {
	return slices.IndexFunc(t.states, func(s *state) bool { return s.table.name == name })
}

// edit returns a table's state, to be changed.
func (t *stage) edit(c *command) (*state, error) {
	i := t.find(c.table)
	if i < 0 {
		var known []string
		for _, s := range t.states {
			known = append(known, s.table.name)
		}
		e := c.at.errorf("there is no table %s", c.table)
		e.Near = typo.Nearest(c.table, known)
		return nil, e
	}
	if t.fresh[c.table] == nil {
		old := t.states[i]
		s := &state{table: old.table.clone(), changed: make(map[string]*elements), counters: old.counters, counts: old.counts}
		for name, e := range old.changed {
			s.changed[name] = e.clone()
		}
		t.states[i], t.fresh[c.table] = s, s
	}
	return t.fresh[c.table], nil
}

func (t *stage) run(c *command) error {
	switch {
	case c.object == "ruleset":
		t.states, t.fresh = nil, make(map[string]*state)
		return nil
	case c.object == "table":
		return t.tableCommand(c)
	}
	s, err := t.edit(c)
	if err != nil {
		return err
	}
	switch c.object {
	case "chain":
		return s.chainCommand(c)
	case "rule":
		return s.ruleCommand(c)
	case "element":
		return s.elementCommand(c, t.now)
	}
	return s.setCommand(c, t.now)
}

func (t *stage) tableCommand(c *command) error {
	i := t.find(c.table)
	switch c.verb {
	case "delete", "destroy":
		if i < 0 && c.verb == "delete" {
			return c.at.errorf("there is no table %s", c.table)
		}
		if i >= 0 {
			t.states = slices.Delete(t.states, i, i+1)
			delete(t.fresh, c.table)
		}
		return nil
	case "insert":
		return c.at.errorf("a table cannot be inserted, want add")
	}
	if i < 0 {
		if c.verb == "flush" {
			return c.at.errorf("there is no table %s", c.table)
		}
		s := newState(newTable(c.table))
		s.table.comment = c.text
		t.states, t.fresh[c.table] = append(t.states, s), s
		return nil
	}
	if c.verb == "create" {
		return c.at.errorf("there is a table %s already", c.table)
	}
	s, err := t.edit(c)
	if err == nil && c.verb == "flush" { // the rules go, chains and sets stay
		for name := range s.table.chains {
			s.changeChain(name, func(ch *chain) { ch.rules = nil })
		}
	}
	return err
}

// changeChain changes a copy of a chain.
func (s *state) changeChain(name string, change func(*chain)) {
	c := *s.table.chains[name]
	c.rules = slices.Clone(c.rules)
	change(&c)
	s.table.chains[name] = &c
}

func (s *state) chainCommand(c *command) error {
	old := s.table.chains[c.name]
	switch {
	case c.verb == "insert":
		return c.at.errorf("a chain cannot be inserted, want add")
	case c.verb == "destroy" && old == nil:
		return nil
	case c.verb != "add" && c.verb != "create" && old == nil:
		e := c.at.errorf("there is no such chain in table %s", c.table)
		e.Near = typo.Nearest(c.name, s.table.order)
		return e
	case c.verb == "flush":
		s.changeChain(c.name, func(ch *chain) { ch.rules = nil })
	case c.verb == "delete" || c.verb == "destroy":
		delete(s.table.chains, c.name)
		s.table.order = slices.DeleteFunc(s.table.order, func(n string) bool { return n == c.name })
	case old != nil && c.verb == "create":
		return c.at.errorf("there is such a chain already")
	case old == nil:
		made := *c.chain
		s.table.chains[c.name] = &made
		s.table.order = append(s.table.order, c.name)
	case c.chain.typ != "" && (c.chain.typ != old.typ || c.chain.hook != old.hook || c.chain.priority != old.priority):
		return c.at.errorf("there is such a chain already, and it is of another type")
	case c.chain.typ != "":
		s.changeChain(c.name, func(ch *chain) { ch.drop = c.chain.drop })
	}
	if len(c.rules) > 0 {
		s.changeChain(c.name, func(ch *chain) { ch.rules = append(ch.rules, c.rules...) })
		s.start(c.rules)
	}
	return nil
}

func (s *state) ruleCommand(c *command) error {
	if s.table.chains[c.name] == nil {
		e := c.at.errorf("there is no such chain in table %s", c.table)
		e.Near = typo.Nearest(c.name, s.table.order)
		return e
	}
	s.changeChain(c.name, func(ch *chain) {
		if c.verb == "insert" {
			ch.rules = slices.Insert(ch.rules, 0, c.rules...)
		} else {
			ch.rules = append(ch.rules, c.rules...)
		}
	})
	s.start(c.rules)
	return nil
}

func (s *state) setCommand(c *command, now time.Duration) error {
	old := s.table.sets[c.name]
	switch {
	case c.verb == "insert":
		return c.at.errorf("a set cannot be inserted, want add")
	case c.verb == "destroy" && old == nil:
		return nil
	case c.verb != "add" && c.verb != "create" && old == nil:
		return s.noSet(c.at, c.name)
	case c.verb == "flush":
		s.changed[c.name] = newElements(old.has("interval"))
	case c.verb == "delete" || c.verb == "destroy":
		delete(s.table.sets, c.name)
		delete(s.changed, c.name)
		s.table.setsIn = slices.DeleteFunc(s.table.setsIn, func(n string) bool { return n == c.name })
	case old != nil && c.verb == "create":
		return c.at.errorf("there is such a set already")
	case old == nil:
		s.table.sets[c.name] = c.set
		s.table.setsIn = append(s.table.setsIn, c.name)
		if c.set.has("timeout") {
			s.changed[c.name] = newElements(c.set.has("interval"))
			return s.fill(c, c.set.elements, now)
		}
	case !old.same(c.set):
		return c.at.errorf("there is such a set already, and it is of another type")
	default:
		return s.fill(c, c.set.elements, now)
	}
	return nil
}

func (s *state) noSet(at token, name string) error {
	e := at.errorf("there is no such set in table %s", s.table.name)
	e.Near = typo.Nearest(name, s.table.setsIn)
	return e
}

func (s *state) elementCommand(c *command, now time.Duration) error {
	in := s.table.sets[c.name]
	if in == nil {
		return s.noSet(c.at, c.name)
	}
	e, err := c.elements(in)
	if err != nil {
		return err
	}
	switch c.verb {
	case "add", "create":
		return s.fill(c, e, now)
	case "delete", "destroy":
		own := s.own(c.name)
		for _, x := range e.sorted(len(in.types)) {
			if !own.remove(x) && c.verb == "delete" {
				return c.at.errorf("the set has no element %s", formatKey(in.types, x.lo, x.hi))
			}
		}
		return nil
	}
	return c.at.errorf("elements can be added and deleted")
}

// fill adds elements to a set.
func (s *state) fill(c *command, e *elements, now time.Duration) error {
	in, own := s.table.sets[c.name], s.own(c.name)
	for _, x := range e.sorted(len(in.types)) {
		if old := own.find(x.lo, 0); old != nil && old.verdict != nil && x.verdict != nil && old.verdict.words != x.verdict.words {
			return c.at.errorf("the map has another value for %s already", formatKey(in.types, x.lo, x.hi))
		}
		if !own.add(in.timed(x, now)) {
			return c.at.errorf("%s overlaps another element", formatKey(in.types, x.lo, x.hi))
		}
	}
	return nil
}

// natHooks says where a NAT statement may stand.
var natHooks = map[netfilter.Kind][]netfilter.Hook{
	netfilter.DNAT: {netfilter.Prerouting, netfilter.Output}, netfilter.Redirect: {netfilter.Prerouting, netfilter.Output},
	netfilter.SNAT: {netfilter.Postrouting, netfilter.Input}, netfilter.Masquerade: {netfilter.Postrouting},
}
