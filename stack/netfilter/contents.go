package netfilter

import (
	"slices"
	"sync"
)

// layer is a set of chains that rulesets share because they were given the same script. It is immutable.
type layer struct {
	chains map[string]*chain

	once   sync.Once
	closed map[*chain]closure // chains from which every jump ends inside the layer
	open   []*chain           // the others
}

// closure is what must hold for a closed chain and all that it leads to, so that a table built on the layer need not
// look at them again.
type closure struct {
	height int8    // how deep the chains below it nest
	need   hookSet // hooks from which all the rules may be reached
}

// size is the number of chains; a nil layer has none.
func (l *layer) size() int {
	if l == nil {
		return 0
	}
	return len(l.chains)
}

func (l *layer) find(name string) *chain {
	if l == nil {
		return nil
	}
	return l.chains[name]
}

// closures computes closed and open, once for all rulesets.
func (l *layer) closures() {
	l.once.Do(func() {
		l.closed = make(map[*chain]closure, len(l.chains))
		done := make(map[*chain]bool, len(l.chains)) // also while a chain is being looked at, which ends circles
		for _, name := range sortedKeys(l.chains) {
			l.close(l.chains[name], done)
		}
		for _, name := range sortedKeys(l.chains) {
			if _, ok := l.closed[l.chains[name]]; !ok {
				l.open = append(l.open, l.chains[name])
			}
		}
	})
}

// close finds out whether a chain is closed. One that nests too deep counts as open, and is then looked at in full.
func (l *layer) close(ch *chain, done map[*chain]bool) (closure, bool) {
	if done[ch] {
		c, ok := l.closed[ch]
		return c, ok
	}
	done[ch] = true
	c := closure{need: ch.need}
	for _, to := range ch.jumps {
		next := l.chains[to]
		if next == nil {
			return c, false
		}
		below, ok := l.close(next, done)
		if !ok || below.height >= maxDepth {
			return c, false
		}
		c.height, c.need = max(c.height, below.height+1), c.need&below.need
	}
	l.closed[ch] = c
	return c, true
}

// contents are the chains of one table. The bigger part may be shared with other rulesets that were given the same
// text; own holds what differs, nil for a chain of base that is gone.
type contents struct {
	table  Table
	loaded bool // someone has touched the table; iptables-save prints it
	base   *layer
	own    map[string]*chain
	policy [numHooks]Kind
}

// find is the chain of that name, or nil.
func (c *contents) find(name string) *chain {
	if ch, ok := c.own[name]; ok {
		return ch
	}
	if ch := c.base.find(name); ch != nil {
		return ch
	}
	if h, ok := builtinHook(c.table, name); ok {
		return emptyChains[c.table][h]
	}
	return nil
}

// all calls f for each chain that is not an empty built-in one, in no particular order.
func (c *contents) all(f func(*chain)) {
	for _, ch := range c.own {
		if ch != nil {
			f(ch)
		}
	}
	if c.base == nil {
		return
	}
	for name, ch := range c.base.chains {
		if _, ok := c.own[name]; !ok {
			f(ch)
		}
	}
}

// names lists the chains as iptables-save does: built-in ones in the order of their hooks, then the others sorted.
func (c *contents) names() []string {
	var names, users []string
	for h := range numHooks {
		if builtin[c.table].has(h) {
			names = append(names, hookNames[h])
		}
	}
	c.all(func(ch *chain) {
		if _, ok := builtinHook(c.table, ch.name); !ok {
			users = append(users, ch.name)
		}
	})
	slices.Sort(users)
	return append(names, users...)
}

// put lays a set of chains on top. The bigger of the two sets stays shared.
func (c *contents) put(l *layer) {
	if l.size() < c.base.size() {
		for name, ch := range l.chains {
			c.own[name] = ch
		}
		return
	}
	if c.base != nil {
		for name, ch := range c.base.chains {
			if _, ok := c.own[name]; !ok && l.chains[name] == nil {
				c.own[name] = ch
			}
		}
	}
	for name, ch := range c.own {
		if ch == nil || l.chains[name] != nil { // a chain missing from the old base needs no mark now
			delete(c.own, name)
		}
	}
	c.base = l
}

// remove makes a chain disappear.
func (c *contents) remove(name string) {
	delete(c.own, name)
	if c.base.find(name) != nil {
		c.own[name] = nil
	}
}

// trusted is the shared layer if none of its chains has been replaced, so that what is known of it holds; else nil.
func (c *contents) trusted() *layer {
	for name := range c.own {
		if c.base.find(name) != nil {
			return nil
		}
	}
	if c.base != nil {
		c.base.closures()
	}
	return c.base
}
