package netfilter

// maxDepth is how many user chains may be nested, as in nf_tables. Restore and Exec refuse deeper ones.
const maxDepth = 15

// eval is the state of one run. It lives in the Ruleset, so that a run allocates nothing.
type eval struct {
	r        *Ruleset
	p        *Packet
	env      Env
	src, dst u128
	stack    [maxDepth]frame
}

// frame is where to go on when a user chain ends: behind the rule that jumped.
type frame struct {
	chain *chainState
	at    cursor
}

// Run takes a packet through the chain of table t at hook h and says what is to become of it. Where the table has no
// such chain, or no rules yet, the packet is accepted. Run allocates nothing, except the first time that a rule is
// matched, for its counters.
//
// It follows the kernel's ipt_do_table: the counters of a rule go up when all its matches hold; RETURN and the end of
// a user chain go on behind the jump; a chain entered by goto returns to where its caller would; RETURN and the end
// of a built-in chain leave the decision to the policy.
func (r *Ruleset) Run(t Table, h Hook, p *Packet, env Env) Verdict {
	if t >= numTables || h >= numHooks || r.entry[t][h] == nil {
		return Verdict{Table: t, Chain: h.String()}
	}
	e := &r.eval
	e.p, e.env, e.src, e.dst = p, env, toU128(p.Src), toU128(p.Dst)
	v := e.walk(r.entry[t][h], r.tables[t].policy[h])
	e.p, e.env = nil, nil
	return v
}

func (e *eval) walk(cs *chainState, policy Kind) Verdict {
	base, depth := cs, 0
	at := cs.idx.enter(e, 0, len(cs.rules))
	for {
		if int(at.rule) >= len(cs.rules) {
			if depth == 0 {
				break
			}
			depth--
			cs, at = e.stack[depth].chain, e.stack[depth].at
			at = cs.idx.after(e, at, len(cs.rules))
			continue
		}
		rule := cs.rules[at.rule]
		e.r.Evaluated++
		if !rule.header(e) || !e.matches(cs, rule, at.rule) {
			at = cs.idx.after(e, at, len(cs.rules))
			continue
		}
		st := cs.rule(int(at.rule))
		st.packets++
		st.bytes += uint64(e.p.Length)
		if e.r.Trace != nil {
			e.r.Trace(rule)
		}
		switch rule.op {
		case opVerdict:
			return *rule.verdict
		case opReturn:
			at.rule = int32(len(cs.rules))
			continue
		case opJump, opGoto:
			next := e.r.resolve(st, rule)
			if rule.op == opJump {
				e.stack[depth] = frame{cs, at}
				depth++
			}
			cs = next
			at = cs.idx.enter(e, 0, len(cs.rules))
			continue
		case opAct:
			rule.target.(actor).act(e)
		case opLog:
			if e.r.Log != nil {
				e.r.Log(rule, e.p)
			}
		}
		at = cs.idx.after(e, at, len(cs.rules))
	}
	base.packets++
	base.bytes += uint64(e.p.Length)
	return Verdict{Kind: policy, Table: base.table, Chain: base.name}
}

// matches asks the extensions, in the order in which the rule names them.
func (e *eval) matches(cs *chainState, rule *Rule, i int32) bool {
	if len(rule.matches) == 0 {
		return true
	}
	var mem []uint64
	if rule.memory > 0 {
		mem = e.memory(cs.rule(int(i)), rule)
	}
	for j := range rule.matches {
		m := &rule.matches[j]
		var own []uint64
		if mem != nil {
			own = mem[m.memory:]
		}
		if !m.test(e, own) {
			return false
		}
	}
	return true
}

// memory is what the rule's matches remember, made when first used.
func (e *eval) memory(st *ruleState, rule *Rule) []uint64 {
	if st.mem == nil {
		st.mem = make([]uint64, rule.memory)
		for _, m := range rule.matches {
			if x, ok := m.matcher.(rememberer); ok {
				x.initial(st.mem[m.memory:], e)
			}
		}
	}
	return st.mem
}

// resolve is the chain that a rule jumps to. It exists: chains with rules that point at them cannot be deleted.
func (r *Ruleset) resolve(st *ruleState, rule *Rule) *chainState {
	if st.jump == nil {
		st.jump = r.state(r.tables[rule.table].find(rule.jump))
	}
	return st.jump
}
