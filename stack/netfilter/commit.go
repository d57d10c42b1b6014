package netfilter

import (
	"fmt"

	"github.com/podwire/podwire/internal/typo"
)

// check makes sure that the staged tables are sound: every jump has a chain, chains do not nest too deep or jump in
// circles, and no rule can be reached from a hook where it has no place. The script is searched for the line to blame.
func (s *stage) check(script *Script) error {
	for t := range numTables {
		if !s.touched[t] {
			continue
		}
		s.build(t)
		if err := s.checkJumps(t, script); err != nil {
			return err
		}
		if err := s.checkHooks(t, script); err != nil {
			return err
		}
	}
	return s.checkSets(script)
}

// build makes chains of the edits.
func (s *stage) build(t Table) {
	for name, e := range s.edits[t] {
		s.tables[t].own[name] = newChain(t, name, e.rules)
	}
}

// checkJumps finds jumps to chains that do not exist. Built-in chains cannot be jumped to.
func (s *stage) checkJumps(t Table, script *Script) error {
	c, bad := &s.tables[t], make(map[string]string)
	look := func(ch *chain) {
		for _, to := range ch.jumps {
			if _, isBuiltin := builtinHook(t, to); isBuiltin || c.find(to) == nil {
				if bad[to] == "" || ch.name < bad[to] {
					bad[to] = ch.name
				}
			}
		}
	}
	if l := c.trusted(); l != nil {
		for _, ch := range l.open {
			look(ch)
		}
		for _, ch := range c.own { // none is nil: nothing of the layer has been taken away
			look(ch)
		}
	} else {
		c.all(look)
	}
	if len(bad) == 0 {
		return nil
	}
	to := sortedKeys(bad)[0]
	e := &Error{Word: to, Err: ErrNoChain, Msg: "no such chain or target"}
	if _, isBuiltin := builtinHook(t, to); isBuiltin {
		e.Msg = "a built-in chain cannot be jumped to"
	} else if script.deletes(t, to) {
		e.Msg, e.Err = fmt.Sprintf("the chain cannot be deleted, chain %s jumps to it", bad[to]), ErrChainInUse
	} else {
		e.Near = typo.Nearest(to, append(append(sortedKeys(targetKinds), standardTargets...), c.names()...))
	}
	script.blame(e, func(cmd *command) bool { return cmd.table == t && cmd.jump.text == to })
	return e
}

// deletes reports whether the script has an -X for the chain.
func (s *Script) deletes(t Table, name string) bool {
	for _, b := range s.blocks {
		for _, cmd := range b.cmds {
			if cmd.table == t && cmd.op == opDeleteChain && cmd.chain.text == name {
				return true
			}
		}
	}
	return false
}

// blame puts the place of the first command that fits on an error.
func (s *Script) blame(e *Error, fits func(*command) bool) {
	for _, b := range s.blocks {
		for _, list := range [][]*command{b.cmds, b.fill} {
			for _, cmd := range list {
				if fits(cmd) && (e.Line == 0 && e.Column == 0 || cmd.line < e.Line) {
					e.Line, e.Column = cmd.line, max(cmd.jump.col, cmd.chain.col)
				}
			}
		}
	}
}

// visit is how a chain was reached so far.
type visit struct {
	hooks hookSet
	depth [numHooks]int8
}

// checkHooks walks the jumps from every built-in chain.
func (s *stage) checkHooks(t Table, script *Script) error {
	c, seen := &s.tables[t], make(map[*chain]*visit)
	known := c.trusted()
	var walk func(ch *chain, h Hook, depth int8) *Error
	walk = func(ch *chain, h Hook, depth int8) *Error {
		if known != nil {
			if x, ok := known.closed[ch]; ok && x.need.has(h) && depth+x.height <= maxDepth {
				return nil
			}
		}
		v := seen[ch]
		if v == nil {
			v = &visit{}
			seen[ch] = v
		}
		if v.hooks.has(h) && depth <= v.depth[h] {
			return nil
		}
		v.hooks, v.depth[h] = v.hooks|1<<h, depth
		if !ch.need.has(h) {
			return misplaced(ch, h, script)
		}
		if len(ch.jumps) > 0 && depth == maxDepth {
			e := &Error{Word: ch.name, Err: ErrLoop, Msg: fmt.Sprintf("chains jump in a circle or nest more than %d deep", maxDepth)}
			script.blame(e, func(cmd *command) bool { return cmd.table == t && cmd.chain.text == ch.name && cmd.jump.text != "" })
			return e
		}
		for _, to := range ch.jumps {
			if err := walk(c.find(to), h, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	for h := range numHooks {
		if !builtin[t].has(h) {
			continue
		}
		if err := walk(c.find(hookNames[h]), h, 0); err != nil {
			return err
		}
	}
	return nil
}

// misplaced is the error for a chain with a rule that hook h does not allow.
func misplaced(ch *chain, h Hook, script *Script) *Error {
	for _, r := range ch.rules {
		if r.hookMask().has(h) {
			continue
		}
		e := &Error{Word: r.jump, Msg: fmt.Sprintf("this rule has no place at %s, and chain %s is reached from there", h, ch.name)}
		if ch.name == h.String() {
			e.Msg = fmt.Sprintf("this rule has no place at %s", h)
		}
		script.blame(e, func(cmd *command) bool {
			return cmd.table == ch.table && cmd.chain.text == ch.name && len(cmd.rules) > 0 && !cmd.rules[0].hookMask().has(h)
		})
		if e.Line == 0 && e.Column == 0 { // the rule was there before: blame the new jump that reaches it
			script.blame(e, func(cmd *command) bool { return cmd.table == ch.table && cmd.jump.text != "" })
		}
		return e
	}
	return &Error{Word: ch.name, Msg: "a rule of this chain has no place at " + h.String()}
}

// checkSets finds matches on sets that do not exist.
func (s *stage) checkSets(script *Script) error {
	for _, b := range script.blocks {
		for _, cmd := range b.sets {
			if err := s.r.missingSet(cmd); err != nil {
				return atLine(err, cmd.line)
			}
		}
	}
	return nil
}

// commit puts the staged tables in place. What the ruleset remembers stays with chains that are still the same and
// with rules that were carried over by an edit.
func (s *stage) commit() {
	r := s.r
	for t := range numTables {
		if !s.touched[t] {
			continue
		}
		r.tables[t] = s.tables[t]
		c := &r.tables[t]
		for ch, st := range r.states {
			switch {
			case ch.table != t:
			case s.fresh[t] || c.find(ch.name) != ch || s.isWhole(ch):
				delete(r.states, ch)
			default:
				st.forget()
			}
		}
		for name, e := range s.edits[t] {
			s.carry(c.find(name), e)
		}
		s.carryCounts(t)
		for h := range numHooks {
			if builtin[t].has(h) {
				r.entry[t][h] = r.state(c.find(hookNames[h]))
			}
		}
	}
	r.dropRecents()
}

// carry gives a chain that was edited the state that belongs to its rules.
func (s *stage) carry(ch *chain, e *edit) {
	used := e.packets != 0
	for i := range e.states {
		used = used || e.states[i].packets != 0 || e.states[i].mem != nil
	}
	if !used {
		return
	}
	st := s.r.state(ch)
	st.packets, st.bytes = e.packets, e.bytes
	for i := range e.states {
		if e.states[i].packets != 0 || e.states[i].mem != nil {
			*st.rule(i) = e.states[i]
		}
	}
}

// carryCounts takes counters from the text for chains that are shared.
func (s *stage) carryCounts(t Table) {
	for name, cmds := range s.counts[t] {
		ch := s.r.tables[t].find(name)
		for i, cmd := range cmds {
			if cmd.packets != 0 || cmd.bytes != 0 {
				st := s.r.state(ch).rule(i)
				st.packets, st.bytes = cmd.packets, cmd.bytes
			}
		}
	}
}

// dropRecents forgets the lists of -m recent that no rule names any more, as the kernel does.
func (r *Ruleset) dropRecents() {
	if len(r.recents) == 0 {
		return
	}
	named := make(map[string]bool)
	for t := range numTables {
		r.tables[t].all(func(ch *chain) {
			for _, name := range ch.lists {
				named[name] = true
			}
		})
	}
	for name := range r.recents {
		if !named[name] {
			delete(r.recents, name)
		}
	}
}
