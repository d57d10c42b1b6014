package netfilter

import "strings"

// finish checks the rule as a whole and makes one rule per pair of addresses.
func (p *parser) finish() error {
	r := &p.rule
	r.table, r.chain = p.cmd.table, p.cmd.chain.text
	for _, l := range p.exts {
		if f, ok := l.ext.(finisher); ok {
			if err := f.finish(r, l.name); err != nil {
				return err
			}
		}
		p.attach(l)
	}
	if err := p.place(); err != nil {
		return err
	}
	if r.target == nil && r.op == opJump || r.op == opGoto {
		r.standard()
	}
	if p.srcs == nil {
		p.srcs = []*addrTest{nil}
	}
	if p.dsts == nil {
		p.dsts = []*addrTest{nil}
	}
	if len(p.srcs)*len(p.dsts) > 1 && (p.cmd.op == opReplace || p.cmd.op == opCheck) {
		return p.cmd.chain.errorf("several addresses make several rules, which only -A, -I and -D can handle")
	}
	for _, src := range p.srcs {
		for _, dst := range p.dsts {
			c := *r
			c.src, c.dst = src, dst
			if c.verdict != nil { // it points back at its rule
				v := *c.verdict
				c.verdict = &v
			}
			rule := &c
			if rule.verdict != nil {
				rule.verdict.Rule = rule
			}
			p.cmd.rules = append(p.cmd.rules, rule)
		}
	}
	return nil
}

func (p *parser) attach(l *loaded) {
	r := &p.rule
	switch x := l.ext.(type) {
	case matcher:
		r.matches = append(r.matches, ruleMatch{l.kind.name, x, r.memory})
		if m, ok := x.(rememberer); ok {
			r.memory += m.words()
		}
		if _, ok := x.(impure); ok {
			r.impure = true
		}
	case target:
		r.target, r.op = x, opContinue
		if _, ok := x.(actor); ok {
			r.op = opAct
		}
		if _, ok := x.(*logTarget); ok {
			r.op = opLog
		}
		if d, ok := x.(decider); ok {
			v := d.decide()
			v.Table, v.Chain = r.table, r.chain
			r.op, r.verdict = opVerdict, &v
		}
	}
}

// standard turns a jump to ACCEPT, DROP or RETURN into what it is; other names are chains.
func (r *Rule) standard() {
	switch {
	case r.op == opGoto:
	case r.jump == "ACCEPT":
		r.op, r.verdict = opVerdict, &Verdict{Kind: Accept, Table: r.table, Chain: r.chain}
	case r.jump == "DROP":
		r.op, r.verdict = opVerdict, &Verdict{Kind: Drop, Table: r.table, Chain: r.chain}
	case r.jump == "RETURN":
		r.op = opReturn
	}
}

// place checks what does not depend on the hooks that reach the chain.
func (p *parser) place() error {
	r, table := &p.rule, p.cmd.table
	if r.jump == "DROP" && r.op == opJump && table == NAT {
		return p.cmd.jump.errorf("the nat table sees only the first packet of a connection and must not drop")
	}
	if r.target != nil {
		if tables, _ := r.target.place(); tables>>table&1 == 0 {
			return p.cmd.jump.errorf("this target has no place in table %s, wanted %s", table, tableList(tables))
		}
	}
	for _, m := range r.matches {
		if t, ok := m.matcher.(tabled); ok && t.tables()>>table&1 == 0 {
			return p.cmd.chain.errorf("%s has no place in table %s, wanted %s", m.name, table, tableList(t.tables()))
		}
	}
	if t, ok := r.target.(*tcpmssTarget); ok && !t.synOnly(r) {
		return p.cmd.jump.errorf("TCPMSS needs a match on SYN, such as --tcp-flags SYN,RST SYN")
	}
	h, ok := builtinHook(table, r.chain)
	switch {
	case ok && r.in != nil && (h == Output || h == Postrouting):
		return p.cmd.chain.errorf("-i has no meaning here, the packet has no input interface")
	case ok && r.out != nil && (h == Input || h == Prerouting):
		return p.cmd.chain.errorf("-o has no meaning here, the packet has no output interface")
	}
	return nil
}

func tableList(s tableSet) string {
	var names []string
	for t := range numTables {
		if s>>t&1 != 0 {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, " or ")
}

// hookMask is the set of hooks from which the rule may be reached.
func (r *Rule) hookMask() hookSet {
	mask := allHooks
	if r.target != nil {
		_, mask = r.target.place()
	}
	for _, m := range r.matches {
		if pl, ok := m.matcher.(placed); ok {
			mask &= pl.hooks()
		}
	}
	return mask
}
