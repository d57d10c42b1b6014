package nftables

import (
	"maps"
	"slices"
	"time"

	"github.com/podwire/podwire/stack/netfilter"
)

// chain is a list of rules. It does not change once it is in a table.
type chain struct {
	name     string
	comment  string
	rules    []*Rule
	typ      string // filter or nat for a chain at a hook, else empty
	hook     netfilter.Hook
	priority int
	drop     bool // policy
}

// table does not change once it is in a ruleset, so that rulesets may share it.
type table struct {
	name    string // with its family: "ip kube-proxy"
	comment string
	chains  map[string]*chain
	sets    map[string]*set
	order   []string // of the chains
	setsIn  []string // order of the sets
	tracks  bool     // a rule asks for connections
}

func newTable(name string) *table {
	return &table{name: name, chains: make(map[string]*chain), sets: make(map[string]*set)}
}

func (t *table) clone() *table {
	c := *t
	c.chains, c.sets = maps.Clone(t.chains), maps.Clone(t.sets)
	c.order, c.setsIn = slices.Clone(t.order), slices.Clone(t.setsIn)
	return &c
}

// state is what a ruleset knows of a table beyond its text.
type state struct {
	table    *table
	changed  map[string]*elements // of sets that are not as the table has them
	counters map[*counter]count
	counts   map[*numgen]uint32
}

func newState(t *table) *state {
	s := &state{table: t, changed: make(map[string]*elements), counters: make(map[*counter]count), counts: make(map[*numgen]uint32)}
	for _, c := range t.chains {
		s.start(c.rules)
	}
	return s
}

// start takes over the counters that a text had.
func (s *state) start(rules []*Rule) {
	for _, r := range rules {
		for _, st := range r.statements {
			if c, ok := st.(*counter); ok && c.start != (count{}) {
				s.counters[c] = c.start
			}
		}
	}
}

// elements are those of a set as they stand.
func (s *state) elements(name string) *elements {
	if e := s.changed[name]; e != nil {
		return e
	}
	return s.table.sets[name].elements
}

// own are the elements of a set, to be changed.
func (s *state) own(name string) *elements {
	e := s.changed[name]
	if e == nil {
		e = s.table.sets[name].elements.clone()
		s.changed[name] = e
	}
	return e
}

// remember is what update and add do. False means that the set is full.
func (s *state) remember(u *update, k key, now time.Duration) bool {
	in, e := s.table.sets[u.set], s.own(u.set)
	if old := e.find(k, now); old != nil && u.verb == "add" {
		return true
	}
	if len(e.exact) >= e.sweep && e.exact[k] == nil {
		e.expire(now)
		if in.size > 0 && len(e.exact) >= in.size {
			return false
		}
		e.sweep = 2*len(e.exact) + 64
		if in.size > 0 {
			e.sweep = min(e.sweep, in.size)
		}
	}
	e.exact[k] = in.timed(&element{lo: k, hi: k, timeout: u.timeout}, now)
	return true
}

// Ruleset is the tables of a network namespace. Use New.
type Ruleset struct {
	states []*state // in the order in which the tables were made
	chains [5][]*Chain
	ctx    context // scratch
	looked uint64  // rules looked at so far
}

// New returns a ruleset without tables.
func New() *Ruleset { return &Ruleset{} }

// A Chain is a chain at a hook.
type Chain struct {
	Table    string // with its family: "ip kube-proxy"
	Name     string
	NAT      bool // asked about the first packet of a connection only
	Priority int
	state    *state
	chain    *chain
}

// Chains returns the chains at a hook in the order of their priorities, those of equal priority in the order in which
// the kernel has them: the latest first. The caller must not change the slice.
func (r *Ruleset) Chains(h netfilter.Hook) []*Chain { return r.chains[h] }

// Empty reports whether there are no tables.
func (r *Ruleset) Empty() bool { return len(r.states) == 0 }

// Tracks reports whether a rule or a chain wants connections to be tracked.
func (r *Ruleset) Tracks() bool {
	return slices.ContainsFunc(r.states, func(s *state) bool { return s.table.tracks })
}

// find returns the state of a table, or nil.
func (r *Ruleset) find(name string) *state {
	i := slices.IndexFunc(r.states, func(s *state) bool { return s.table.name == name })
	if i < 0 {
		return nil
	}
	return r.states[i]
}

// index finds the chains at hooks anew.
func (r *Ruleset) index() {
	r.chains = [5][]*Chain{}
	for _, s := range r.states {
		for _, name := range s.table.order {
			c := s.table.chains[name]
			if c.typ == "" {
				continue
			}
			at := &Chain{Table: s.table.name, Name: name, NAT: c.typ == "nat", Priority: c.priority, state: s, chain: c}
			list := &r.chains[c.hook]
			i := slices.IndexFunc(*list, func(o *Chain) bool { return o.Priority >= c.priority })
			if i < 0 {
				i = len(*list)
			}
			*list = slices.Insert(*list, i, at)
		}
	}
}

// Verdict is the outcome of a chain.
type Verdict struct {
	netfilter.Verdict
	Chain string // the chain that decided
	Rule  *Rule  // nil for the policy
	at    *Chain
}

// String explains the verdict in one line, for captures:
//
//	ip kube-proxy service-…: meta l4proto tcp dnat ip to numgen random mod 2 map { … }
//	ip filter input: policy drop
func (v Verdict) String() string {
	if v.Rule != nil {
		return v.at.Table + " " + v.Chain + ": " + v.Rule.String()
	}
	policy := "accept"
	if v.Kind == netfilter.Drop {
		policy = "drop"
	}
	return v.at.Table + " " + v.at.Name + ": policy " + policy
}

// maxJumps is how deep chains may call each other (NFT_JUMP_STACK_SIZE).
const maxJumps = 16

// frame is where to go on after a chain that was jumped to.
type frame struct {
	chain *chain
	next  int
}

// Run shows a packet to a chain. Rules may change its marks, and whether it is tracked.
func (r *Ruleset) Run(at *Chain, p *netfilter.Packet, env netfilter.Env) Verdict {
	c := &r.ctx
	*c = context{r: r, state: at.state, p: p, env: env}
	var stack [maxJumps]frame
	depth, here, i := 0, at.chain, 0
	for {
		if i >= len(here.rules) {
			if depth == 0 {
				break
			}
			depth--
			here, i = stack[depth].chain, stack[depth].next
			continue
		}
		rule := here.rules[i]
		i++
		r.looked++
		o := rule.run(c)
		switch o.code {
		case done:
			v := Verdict{Verdict: o.end, Chain: here.name, Rule: rule, at: at}
			v.Verdict.Chain = here.name
			return v
		case jump:
			stack[depth] = frame{here, i}
			depth++
			here, i = at.state.table.chains[o.chain], 0
		case goTo:
			here, i = at.state.table.chains[o.chain], 0
		case back:
			i = len(here.rules)
		}
	}
	v := Verdict{at: at}
	if at.chain.drop {
		v.Kind = netfilter.Drop
	}
	return v
}

// run is a rule up to the statement that leads elsewhere.
func (r *Rule) run(c *context) outcome {
	for _, s := range r.statements {
		if o := s.run(c); o.code != goOn {
			return o
		}
	}
	return outcome{}
}
