package netfilter

import (
	"slices"
	"sync"
)

// chain is a list of rules under a name. It is immutable, so that rulesets can share it: a change makes a new one.
type chain struct {
	table Table
	name  string
	rules []*Rule
	jumps []string // chains that rules name, each once
	lists []string // lists of -m recent that rules name
	need  hookSet  // hooks from which all rules may be reached
	conn  bool     // some rule asks for connections

	once sync.Once
	idx  index // made when first used
}

func newChain(t Table, name string, rules []*Rule) *chain {
	c := new(chain)
	c.fill(t, name, rules)
	return c
}

// fill makes an unused chain what newChain returns.
func (c *chain) fill(t Table, name string, rules []*Rule) {
	c.table, c.name, c.rules, c.need = t, name, rules, allHooks
	c.noteJumps()
	for _, r := range rules {
		c.need &= r.hookMask()
		for _, m := range r.matches {
			if x, ok := m.matcher.(*recentMatch); ok {
				c.lists = append(c.lists, x.name)
			}
		}
		c.conn = c.conn || r.asksForConnections()
	}
}

func (c *chain) noteJumps() {
	const few = 16 // beyond which a map finds one sooner
	n := 0
	for _, r := range c.rules {
		if r.op == opJump || r.op == opGoto {
			n++
		}
	}
	if n == 0 {
		return
	}
	c.jumps = make([]string, 0, n)
	var seen map[string]bool
	if n > few {
		seen = make(map[string]bool, n)
	}
	for _, r := range c.rules {
		if r.op != opJump && r.op != opGoto {
			continue
		}
		if seen == nil && slices.Contains(c.jumps, r.jump) || seen[r.jump] {
			continue
		}
		if seen != nil {
			seen[r.jump] = true
		}
		c.jumps = append(c.jumps, r.jump)
	}
}

// asksForConnections reports whether the rule makes the kernel track connections.
func (r *Rule) asksForConnections() bool {
	for _, m := range r.matches {
		switch x := m.matcher.(type) {
		case *ctMatch, *connlimitMatch:
			return true
		case *markMatch:
			if x.conn {
				return true
			}
		}
	}
	switch r.target.(type) {
	case *notrackTarget, *setConnmarkTarget:
		return true
	}
	return false
}

func (c *chain) index() *index {
	c.once.Do(func() { c.idx = newIndex(c.rules) })
	return &c.idx
}

// emptyChains are the built-in chains of tables that have no rules there.
var emptyChains = func() (all [numTables][numHooks]*chain) {
	for t := range numTables {
		for h := range numHooks {
			if builtin[t].has(h) {
				all[t][h] = newChain(t, hookNames[h], nil)
			}
		}
	}
	return all
}()

// pageSize is how many rules share a page of counters. Few rules of a long chain are ever matched in one host.
const pageSize = 32

// chainState is what a Ruleset remembers about a chain that packets have entered.
type chainState struct {
	*chain
	idx            *index
	packets, bytes uint64 // handled by the policy of a built-in chain
	few            []ruleState
	pages          []*[pageSize]ruleState
}

// ruleState is what a Ruleset remembers about a rule.
type ruleState struct {
	packets, bytes uint64
	jump           *chainState // cache of where the rule jumps
	mem            []uint64    // of the matches that remember something
}

func newChainState(c *chain) *chainState { return &chainState{chain: c, idx: c.index()} }

// rule is the state of rule i, made when first asked for.
func (s *chainState) rule(i int) *ruleState {
	if len(s.rules) <= pageSize {
		if s.few == nil {
			s.few = make([]ruleState, len(s.rules))
		}
		return &s.few[i]
	}
	if s.pages == nil {
		s.pages = make([]*[pageSize]ruleState, (len(s.rules)+pageSize-1)/pageSize)
	}
	page := &s.pages[i/pageSize]
	if *page == nil {
		*page = new([pageSize]ruleState)
	}
	return &(*page)[i%pageSize]
}

// peek is the state of rule i, or nothing if no packet has made one.
func (s *chainState) peek(i int) ruleState {
	switch {
	case s == nil:
	case s.few != nil:
		return s.few[i]
	case s.pages != nil && s.pages[i/pageSize] != nil:
		return s.pages[i/pageSize][i%pageSize]
	}
	return ruleState{}
}

// forget drops the caches of jump targets, because chains have changed.
func (s *chainState) forget() {
	for i := range s.few {
		s.few[i].jump = nil
	}
	for _, page := range s.pages {
		for i := range page {
			if page == nil {
				break
			}
			page[i].jump = nil
		}
	}
}
