package nftables

import (
	"slices"

	"github.com/podwire/podwire/internal/typo"
	"github.com/podwire/podwire/stack/netfilter"
)

// check makes sure that the tables are sound: names lead somewhere, types agree, chains do not jump in circles or too
// deep, and NAT stands where it can be done.
func (t *stage) check(script *Script) error {
	for _, c := range script.commands {
		s := t.fresh[c.table]
		if s == nil {
			continue
		}
		if err := s.checkNames(c); err != nil {
			return err
		}
	}
	for _, s := range t.states {
		if t.fresh[s.table.name] != s {
			continue
		}
		if err := s.checkGone(); err != nil {
			return err
		}
		for _, name := range s.table.order {
			c := s.table.chains[name]
			if c.typ == "" {
				continue
			}
			w := walker{state: s, base: c, seen: make(map[*chain]int), depth: make(map[*chain]int)}
			if err := w.walk(c, 0); err != nil {
				return err
			}
		}
		s.table.tracks = s.asksForConnections()
	}
	return nil
}

// checkNames looks at the names that a command uses.
func (s *state) checkNames(c *command) error {
	for _, j := range c.jumps {
		if s.table.chains[j.text] == nil {
			e := j.errorf("there is no such chain in table %s", s.table.name)
			e.Near = typo.Nearest(j.text, s.table.order)
			return e
		}
	}
	for _, ref := range append(slices.Clone(c.refs), c.updates...) {
		in := s.table.sets[ref.name]
		switch {
		case in == nil:
			return s.noSet(ref.at, ref.name)
		case !slices.EqualFunc(in.types, ref.types, sameType):
			return ref.at.errorf("the set is of type %s, want %s", typeNames(in.types), typeNames(ref.types))
		case !slices.Equal(in.data, ref.data) && !(ref.data == nil && in.data != nil):
			return ref.at.errorf("want a verdict map here")
		case ref.data == nil && in.data != nil:
			return ref.at.errorf("this is a map, want a set")
		}
	}
	for _, ref := range c.updates {
		if in := s.table.sets[ref.name]; !in.dynamic() && !in.has("timeout") {
			return ref.at.errorf("rules can add to sets with the flag dynamic only")
		}
	}
	return nil
}

// sameType lets numbers without a name of their own pass for one another.
func sameType(a, b *datatype) bool { return a == b }

// checkGone finds rules and elements that name what a command has deleted.
func (s *state) checkGone() error {
	for _, c := range s.table.chains {
		for _, r := range c.rules {
			for _, st := range r.statements {
				if name := setOf(st); name != "" && s.table.sets[name] == nil {
					return r.at.errorf("chain %s uses set %s, which is not there", c.name, name)
				}
			}
		}
	}
	for name, in := range s.table.sets {
		if in.data == nil || in.data[0] != typeVerdict {
			continue
		}
		for _, x := range s.elements(name).sorted(len(in.types)) {
			if to := x.verdict.chain; to != "" && s.table.chains[to] == nil {
				return &Error{Word: to, Msg: "map " + name + " leads to this chain, which is not there", Near: typo.Nearest(to, s.table.order)}
			}
		}
	}
	return nil
}

// setOf is the named set that a statement uses.
func setOf(st statement) string {
	switch st := st.(type) {
	case *match:
		return st.set
	case *vmap:
		return st.set
	case *update:
		return st.set
	}
	return ""
}

// walker follows jumps from a chain at a hook.
type walker struct {
	state *state
	base  *chain
	seen  map[*chain]int // 1: on the way, 2: done
	depth map[*chain]int // the deepest at which it was done
}

func (w *walker) walk(c *chain, depth int) error {
	if w.seen[c] == 2 && depth <= w.depth[c] {
		return nil
	}
	w.seen[c] = 1
	for _, r := range c.rules {
		if err := w.rule(c, r, depth); err != nil {
			return err
		}
	}
	w.seen[c], w.depth[c] = 2, depth
	return nil
}

func (w *walker) rule(c *chain, r *Rule, depth int) error {
	for _, st := range r.statements {
		switch st := st.(type) {
		case *nat:
			if at := natHooks[st.verdict.Kind]; w.base.typ != "nat" || !slices.Contains(at, w.base.hook) {
				return r.at.errorf("%s can not be done in chain %s, which %s of type %s reaches", st.words, c.name, w.base.name, w.base.typ)
			}
		case *verdict:
			if st.end.Kind == netfilter.Reject && (w.base.hook == netfilter.Postrouting || w.base.typ == "nat") {
				return r.at.errorf("reject can not be done in chain %s, which %s reaches", c.name, w.base.name)
			}
			if err := w.jump(r.at, st, depth); err != nil {
				return err
			}
		case *vmap:
			in := (*elements)(nil)
			if st.in != nil {
				in = st.in.elements
			} else {
				in = w.state.elements(st.set)
			}
			for _, x := range in.exact {
				if err := w.jump(r.at, x.verdict, depth); err != nil {
					return err
				}
			}
			for _, x := range in.ranges {
				if err := w.jump(r.at, x.verdict, depth); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (w *walker) jump(at token, v *verdict, depth int) error {
	if v.chain == "" {
		return nil
	}
	to := w.state.table.chains[v.chain]
	if to == nil {
		return at.errorf("there is no chain %s in table %s", v.chain, w.state.table.name)
	}
	if w.seen[to] == 1 {
		return at.errorf("chain %s leads back to itself", v.chain)
	}
	if v.code == jump {
		depth++
	}
	if depth >= maxJumps {
		return at.errorf("chains call each other %d deep, want less than %d", depth, maxJumps)
	}
	return w.walk(to, depth)
}

// asksForConnections reports whether a rule has to do with connections. A chain of type nat without NAT has not.
func (s *state) asksForConnections() bool {
	for _, c := range s.table.chains {
		for _, r := range c.rules {
			for _, st := range r.statements {
				var left concat
				switch st := st.(type) {
				case *nat:
					return true
				case *setMark:
					if left = (concat{st.to}); st.ct {
						return true
					}
				case *match:
					left = st.left
				case *vmap:
					left = st.left
				}
				if slices.ContainsFunc(left, usesConnection) {
					return true
				}
			}
		}
	}
	return false
}

func usesConnection(e expr) bool {
	switch e := e.(type) {
	case *bitwise:
		return usesConnection(e.left)
	case *field:
		return e.words[:2] == "ct"
	}
	return false
}
