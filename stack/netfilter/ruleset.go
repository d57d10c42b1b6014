package netfilter

import "slices"

// Ruleset is the netfilter state of one host: the rules of its four tables and their counters, the lists of -m recent
// and the sets of -m set. Make one with [New]; it is not safe for concurrent use.
type Ruleset struct {
	// Trace, if set, is called for every rule that matches, in order, before its target acts. It must not call back
	// into the Ruleset.
	Trace func(*Rule)

	// Evaluated counts how many rules packets have been held against: what the
	// rules have cost so far. With an index over a chain that is far less than
	// the kernel's walk over all of it.
	Evaluated uint64

	// Log, if set, is called for every packet that comes to a LOG or NFLOG rule, with the same restriction.
	Log func(*Rule, *Packet)

	tables  [numTables]contents
	entry   [numTables][numHooks]*chainState // built-in chains of loaded tables
	states  map[*chain]*chainState
	recents map[string]*recentList
	sets    map[string]*set
	limits  map[string]map[hashKey]*hashBucket // of -m hashlimit, by name
	conns   map[*connlimitMatch]map[u128][]any // of -m connlimit
	eval    eval
}

// New makes a ruleset without rules, whose policies accept.
func New() *Ruleset {
	r := &Ruleset{states: make(map[*chain]*chainState), recents: make(map[string]*recentList)}
	for t := range numTables {
		r.tables[t] = contents{table: t, own: make(map[string]*chain)}
	}
	r.eval.r = r
	return r
}

// Empty reports whether running t at h can do nothing but accept: no rules and policy ACCEPT. The caller may then call
// Pass instead.
func (r *Ruleset) Empty(t Table, h Hook) bool {
	if t >= numTables || h >= numHooks || r.entry[t][h] == nil {
		return true
	}
	return r.tables[t].policy[h] == Accept && len(r.entry[t][h].rules) == 0
}

// Pass counts a packet of length bytes for the policy of an Empty chain, which accepts it.
func (r *Ruleset) Pass(t Table, h Hook, length int) {
	if c := r.entry[t][h]; c != nil {
		c.packets++
		c.bytes += uint64(length)
	}
}

// Tracks reports whether connections must be tracked: there is a nat table, or a rule that asks for connections.
// Without either the kernel has no conntrack hooks in a namespace, and does not reassemble fragments for the rules.
func (r *Ruleset) Tracks() bool {
	if r.tables[NAT].loaded {
		return true
	}
	conn := false
	for t := range numTables {
		r.tables[t].all(func(c *chain) { conn = conn || c.conn })
	}
	return conn
}

// state is what the ruleset remembers about a chain, made when first asked for.
func (r *Ruleset) state(c *chain) *chainState {
	s := r.states[c]
	if s == nil {
		s = newChainState(c)
		r.states[c] = s
	}
	return s
}

// Chain describes a chain for inspection.
type Chain struct {
	Name           string
	Builtin        bool
	Policy         Kind   // of a built-in chain: Accept or Drop
	Packets, Bytes uint64 // what the policy has handled
	Rules          int    // how many rules there are
}

// Counted is a rule with its counters.
type Counted struct {
	*Rule
	Packets, Bytes uint64
}

// Chains lists the chains of a table: the built-in ones in the order of their hooks, then the others sorted by name.
func (r *Ruleset) Chains(t Table) []Chain {
	if t >= numTables {
		return nil
	}
	var list []Chain
	for _, name := range r.tables[t].names() {
		c := r.tables[t].find(name)
		x := Chain{Name: name, Rules: len(c.rules)}
		if h, ok := builtinHook(t, name); ok {
			x.Builtin, x.Policy = true, r.tables[t].policy[h]
		}
		if s := r.states[c]; s != nil {
			x.Packets, x.Bytes = s.packets, s.bytes
		}
		list = append(list, x)
	}
	return list
}

// Rules lists the rules of a chain in order. ok is false when there is no such chain.
func (r *Ruleset) Rules(t Table, chain string) (rules []Counted, ok bool) {
	if t >= numTables {
		return nil, false
	}
	c := r.tables[t].find(chain)
	if c == nil {
		return nil, false
	}
	s := r.states[c]
	rules = slices.Grow(rules, len(c.rules))
	for i, rule := range c.rules {
		st := s.peek(i)
		rules = append(rules, Counted{rule, st.packets, st.bytes})
	}
	return rules, true
}
