package netfilter

import "strings"

// finish checks the rule as a whole and makes one rule per pair of addresses.
func (p *parser) finish() error {
	r := &p.rule
	r.table, r.chain = p.cmd.table, p.cmd.chain.text
	for i := range p.exts {
		l := &p.exts[i]
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
	if r.target == nil && r.op == opJump {
		p.standard()
	}
	if len(p.srcs) == 0 {
		p.srcs = append(p.srcs, nil)
	}
	if len(p.dsts) == 0 {
		p.dsts = append(p.dsts, nil)
	}
	if len(p.srcs)*len(p.dsts) > 1 && (p.cmd.op == opReplace || p.cmd.op == opCheck) {
		return p.cmd.chain.errorf("several addresses make several rules, which only -A, -I and -D can handle")
	}
	matches := p.mem.matches.take(len(r.matches))
	copy(matches, r.matches)
	p.cmd.rules = p.mem.lists.take(len(p.srcs) * len(p.dsts))
	for i := range p.cmd.rules {
		rule := p.mem.rules.put(*r)
		rule.src, rule.dst, rule.matches = p.srcs[i/len(p.dsts)], p.dsts[i%len(p.dsts)], matches
		if r.op == opVerdict { // it points back at its rule
			rule.verdict = p.mem.verdicts.put(p.verdict)
			rule.verdict.Rule = rule
		}
		p.cmd.rules[i] = rule
	}
	return nil
}

func (p *parser) attach(l *loaded) {
	r := &p.rule
	switch x := l.ext.(type) {
	case matcher:
		x = l.from.keep(x).(matcher)
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
			p.decide(d.decide())
		}
	}
}

// standard turns a jump to ACCEPT, DROP or RETURN into what it is; other names are chains.
func (p *parser) standard() {
	switch p.rule.jump {
	case "ACCEPT":
		p.decide(Verdict{Kind: Accept})
	case "DROP":
		p.decide(Verdict{Kind: Drop})
	case "RETURN":
		p.rule.op = opReturn
	}
}

// decide makes the rule one that ends the run.
func (p *parser) decide(v Verdict) {
	v.Table, v.Chain = p.rule.table, p.rule.chain
	p.rule.op, p.verdict = opVerdict, v
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
