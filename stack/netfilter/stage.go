package netfilter

import (
	"slices"

	"github.com/podwire/podwire/internal/typo"
)

// stage is a change to a Ruleset that has not happened yet. Commands work on copies; commit puts them in place.
type stage struct {
	r       *Ruleset
	touched [numTables]bool
	tables  [numTables]contents
	edits   [numTables]map[string]*edit
	fresh   [numTables]bool                  // the table was flushed: nothing old counts
	whole   [numTables][]*layer              // shared chains put in place, which start without state
	counts  [numTables]map[string][]*command // counters for those
}

// edit is a chain being changed, with what the ruleset remembers of its rules.
type edit struct {
	rules          []*Rule
	states         []ruleState
	packets, bytes uint64
}

func newStage(r *Ruleset) *stage { return &stage{r: r} }

// open makes the copy of a table that the stage works on.
func (s *stage) open(t Table, flush bool) *contents {
	c := &s.tables[t]
	if !s.touched[t] {
		s.touched[t] = true
		*c = s.r.tables[t]
		c.own = make(map[string]*chain, len(s.r.tables[t].own))
		for name, ch := range s.r.tables[t].own {
			c.own[name] = ch
		}
		c.loaded = true
		s.edits[t] = make(map[string]*edit)
		s.counts[t] = make(map[string][]*command)
	}
	if flush {
		*c = contents{table: t, loaded: true, own: make(map[string]*chain)}
		s.fresh[t] = true
		clear(s.edits[t])
		s.whole[t] = nil
		clear(s.counts[t])
	}
	return c
}

// has reports whether the chain exists as things stand.
func (s *stage) has(t Table, name string) bool {
	return s.edits[t][name] != nil || s.tables[t].find(name) != nil
}

// edit begins to change a chain.
func (s *stage) edit(t Table, name string) *edit {
	if e := s.edits[t][name]; e != nil {
		return e
	}
	c := s.tables[t].find(name)
	e := &edit{rules: slices.Clone(c.rules), states: make([]ruleState, len(c.rules))}
	if old := s.r.states[c]; old != nil && !s.fresh[t] && !s.isWhole(c) {
		e.packets, e.bytes = old.packets, old.bytes
		for i := range e.states {
			e.states[i] = old.peek(i)
			e.states[i].jump = nil
		}
	}
	for i, cmd := range s.counts[t][name] {
		e.states[i].packets, e.states[i].bytes = cmd.packets, cmd.bytes
	}
	delete(s.counts[t], name)
	s.edits[t][name] = e
	return e
}

// rules are those of a chain as things stand.
func (s *stage) rules(t Table, name string) []*Rule {
	if e := s.edits[t][name]; e != nil {
		return e.rules
	}
	return s.tables[t].find(name).rules
}

// isWhole reports whether the stage has put the chain in place as it is.
func (s *stage) isWhole(c *chain) bool {
	return slices.ContainsFunc(s.whole[c.table], func(l *layer) bool { return l.chains[c.name] == c })
}

// block carries out one table's part of a script.
func (s *stage) block(b *block, opts RestoreOptions) error {
	c := s.open(b.table, !opts.NoFlush)
	if b.whole.size() > 0 {
		for name := range s.edits[b.table] {
			if b.whole.find(name) != nil {
				delete(s.edits[b.table], name)
			}
		}
		s.whole[b.table] = append(s.whole[b.table], b.whole)
		c.put(b.whole)
	}
	if opts.Counters {
		for _, cmd := range b.fill {
			for range cmd.rules {
				s.counts[b.table][cmd.chain.text] = append(s.counts[b.table][cmd.chain.text], cmd)
			}
		}
	}
	for _, cmd := range b.cmds {
		if err := s.command(cmd, opts.Counters); err != nil {
			return atLine(err, cmd.line)
		}
	}
	return nil
}

// command carries out one command. Counters are taken over if counters is set.
func (s *stage) command(cmd *command, counters bool) error {
	t, name := cmd.table, cmd.chain.text
	s.open(t, false)
	switch cmd.op {
	case opDeclare:
		return s.declare(cmd, counters)
	case opNewChain:
		if s.has(t, name) {
			return s.sentinel(cmd, ErrChainExists)
		}
		s.edits[t][name] = &edit{}
		return nil
	}
	if name != "" && !s.has(t, name) {
		return s.noChain(cmd)
	}
	switch cmd.op {
	case opPolicy:
		return s.policy(cmd)
	case opDeleteChain, opFlush, opZero:
		return s.chains(cmd)
	case opCheck:
		_, err := s.position(cmd, cmd.rules[0])
		return err
	case opDelete:
		return s.delete(cmd)
	}
	return s.put(cmd, counters)
}

// declare is a :CHAIN line: a policy for a built-in chain, an empty user chain.
func (s *stage) declare(cmd *command, counters bool) error {
	t, name := cmd.table, cmd.chain.text
	h, ok := builtinHook(t, name)
	if !ok {
		if _, reserved := hookByName(name); reserved {
			return cmd.chain.errorf("table %s has no such built-in chain", t)
		}
		s.edits[t][name] = &edit{}
		return nil
	}
	if cmd.index != 0 {
		s.tables[t].policy[h] = cmd.policy
	}
	if cmd.counted && counters {
		e := s.edit(t, name)
		e.packets, e.bytes = cmd.packets, cmd.bytes
	}
	return nil
}

func hookByName(name string) (Hook, bool) {
	i := slices.Index(hookNames[:], name)
	return Hook(max(i, 0)), i >= 0
}

func (s *stage) policy(cmd *command) error {
	h, ok := builtinHook(cmd.table, cmd.chain.text)
	if !ok {
		return cmd.chain.errorf("only built-in chains have a policy")
	}
	s.tables[cmd.table].policy[h] = cmd.policy
	return policyPlace(cmd.chain, cmd)
}

// chains carries out -X, -F and -Z, on one chain or on all.
func (s *stage) chains(cmd *command) error {
	t, names := cmd.table, []string{cmd.chain.text}
	if cmd.chain.text == "" {
		names = s.names(t)
	}
	for _, name := range names {
		_, isBuiltin := builtinHook(t, name)
		switch {
		case cmd.op == opFlush:
			e := s.edit(t, name)
			e.rules, e.states = nil, nil
		case cmd.op == opZero:
			e := s.edit(t, name)
			e.packets, e.bytes = 0, 0
			for i := range e.states {
				e.states[i].packets, e.states[i].bytes = 0, 0
			}
		case isBuiltin && cmd.chain.text == "":
		case isBuiltin:
			return cmd.chain.errorf("a built-in chain cannot be deleted")
		case len(s.rules(t, name)) > 0:
			e := cmd.chain.errorf("chain %s still has rules, flush it first", name)
			e.Err = ErrChainInUse
			return e
		default:
			delete(s.edits[t], name)
			delete(s.counts[t], name)
			s.tables[t].remove(name)
		}
	}
	return nil
}

// names are the chains of a table as things stand.
func (s *stage) names(t Table) []string {
	names := s.tables[t].names()
	for _, name := range sortedKeys(s.edits[t]) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// put is -A, -I and -R. Several rules from one -I end up in reverse, since each goes to the same place, as with the
// real tool.
func (s *stage) put(cmd *command, counters bool) error {
	e := s.edit(cmd.table, cmd.chain.text)
	at := len(e.rules)
	switch cmd.op {
	case opInsert:
		if at = max(cmd.index, 1) - 1; at > len(e.rules) {
			return cmd.chain.errorf("rule %d cannot be inserted, the chain has %d", cmd.index, len(e.rules))
		}
	case opReplace:
		if at = cmd.index - 1; at >= len(e.rules) {
			return s.noRule(cmd, len(e.rules))
		}
		e.rules = slices.Delete(e.rules, at, at+1)
		e.states = slices.Delete(e.states, at, at+1)
	}
	for _, rule := range cmd.rules {
		var st ruleState
		if cmd.counted && counters {
			st.packets, st.bytes = cmd.packets, cmd.bytes
		}
		if cmd.op == opAppend {
			at = len(e.rules)
		}
		e.rules = slices.Insert(e.rules, at, rule)
		e.states = slices.Insert(e.states, at, st)
	}
	return nil
}

func (s *stage) delete(cmd *command) error {
	e := s.edit(cmd.table, cmd.chain.text)
	if cmd.index > 0 {
		if cmd.index > len(e.rules) {
			return s.noRule(cmd, len(e.rules))
		}
		e.remove(cmd.index - 1)
		return nil
	}
	for _, rule := range cmd.rules {
		at, err := s.position(cmd, rule)
		if err != nil {
			return err
		}
		e.remove(at)
	}
	return nil
}

func (e *edit) remove(i int) {
	e.rules = slices.Delete(e.rules, i, i+1)
	e.states = slices.Delete(e.states, i, i+1)
}

// position finds a rule by what it says.
func (s *stage) position(cmd *command, rule *Rule) (int, error) {
	want := string(rule.appendSpec(nil))
	var buf []byte
	for i, r := range s.rules(cmd.table, cmd.chain.text) {
		if r.jump != rule.jump || len(r.matches) != len(rule.matches) {
			continue
		}
		if buf = r.appendSpec(buf[:0]); string(buf) == want {
			return i, nil
		}
	}
	return 0, s.sentinel(cmd, ErrNoRule)
}

func (s *stage) sentinel(cmd *command, err error) *Error {
	e := cmd.chain.errorf("%v", err)
	e.Err = err
	return e
}

func (s *stage) noRule(cmd *command, have int) *Error {
	e := cmd.chain.errorf("no rule %d, the chain has %d", cmd.index, have)
	e.Err = ErrNoRule
	return e
}

func (s *stage) noChain(cmd *command) *Error {
	e := cmd.chain.errorf("no such chain in table %s", cmd.table)
	e.Near, e.Err = typo.Nearest(cmd.chain.text, s.names(cmd.table)), ErrNoChain
	return e
}
