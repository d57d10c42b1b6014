package netfilter

// split finds the user chains that the block fills completely and compiles them, so that every ruleset to which the
// script is applied can use the same ones.
func (b *block) split() {
	b.findSets()
	parts, of := b.parts()
	if parts == nil {
		return
	}
	whole := make(map[string]*chain, len(parts))
	var chains slab[chain]
	var lists slab[*Rule]
	for i := range parts {
		if p := &parts[i]; p.whole {
			p.chain, p.list = &chains.take(1)[0], lists.take(p.rules)[:0]
			whole[p.name] = p.chain
		}
	}
	var rest []*command
	b.fill = make([]*command, 0, len(b.cmds))
	for i, cmd := range b.cmds {
		p := &parts[of[i]]
		if !p.whole {
			rest = append(rest, cmd)
			continue
		}
		p.list = append(p.list, cmd.rules...)
		b.fill = append(b.fill, cmd)
	}
	for i := range parts {
		if p := &parts[i]; p.whole {
			p.chain.fill(b.table, p.name, p.list)
		}
	}
	b.cmds, b.whole = rest, &layer{chains: whole}
}

// part is what a block does to one chain.
type part struct {
	name  string
	whole bool // declares it, once, and then only appends
	rules int  // how many
	list  []*Rule
	chain *chain
}

// parts lists the chains that a block names, and for each command which of them is its own. A block with a command
// on all chains, which are -F, -X and -Z, has none.
func (b *block) parts() (parts []part, of []int32) {
	var declared int
	for _, cmd := range b.cmds {
		if cmd.op == opDeclare {
			declared++
		}
	}
	parts, of = make([]part, 0, declared+1), make([]int32, len(b.cmds))
	known := make(map[string]int32, declared+1)
	for i, cmd := range b.cmds {
		name := cmd.chain.text
		if name == "" {
			return nil, nil
		}
		var at int32
		if i > 0 && name == b.cmds[i-1].chain.text {
			at = of[i-1]
		} else if k, ok := known[name]; ok {
			at = k
		} else {
			_, isBuiltin := builtinHook(b.table, name)
			at = int32(len(parts))
			known[name] = at
			parts = append(parts, part{name: name, whole: cmd.op == opDeclare && !isBuiltin})
			of[i] = at
			continue
		}
		of[i] = at
		p := &parts[at]
		p.whole = p.whole && cmd.op == opAppend
		p.rules += len(cmd.rules)
	}
	return parts, of
}

// findSets notes which commands need a set.
func (b *block) findSets() {
	for _, cmd := range b.cmds {
		if cmd.usesSets() {
			b.sets = append(b.sets, cmd)
		}
	}
}
