package netfilter

import (
	"slices"
	"strconv"
	"strings"
)

// coreKind are the options of iptables itself; the extension they set is the parser. The first options belong to
// rules, the others to commands.
var coreKind = &kind{name: "iptables", opts: append(ruleOptions, commandOptions...)}

// ruleBits are the bits of the options that only a command with a rule takes.
var ruleBits = uint64(1)<<len(ruleOptions) - 1

var ruleOptions = []option{
	opt("-s|--source|--src", 1, true, func(p *parser, a arg) error { return p.addrs(&p.srcs, a) }),
	opt("-d|--destination|--dst", 1, true, func(p *parser, a arg) error { return p.addrs(&p.dsts, a) }),
	opt("-i|--in-interface", 1, true, func(p *parser, a arg) (err error) {
		p.rule.in, err = parseIface(a.w[0], a.neg)
		return err
	}),
	opt("-o|--out-interface", 1, true, func(p *parser, a arg) (err error) {
		p.rule.out, err = parseIface(a.w[0], a.neg)
		return err
	}),
	opt("-p|--protocol|--proto", 1, true, func(p *parser, a arg) (err error) {
		p.rule.proto, err = parseProto(a.w[0])
		p.rule.negProto = a.neg
		if err == nil && a.neg && p.rule.proto == 0 {
			err = a.w[0].errorf("the rule would never match: it excludes every protocol")
		}
		return err
	}),
	opt("-f|--fragment", 0, true, func(p *parser, a arg) error {
		p.rule.frag = fragOnly
		if a.neg {
			p.rule.frag = fragNone
		}
		return nil
	}),
	opt("-m|--match", 1, false, (*parser).match),
	opt("-j|--jump", 1, false, func(p *parser, a arg) error { return p.jump(a, opJump) }),
	opt("-g|--goto", 1, false, func(p *parser, a arg) error { return p.jump(a, opGoto) }),
	opt("-c|--set-counters", 2, false, func(p *parser, a arg) error {
		packets, err := parseNumber(a.w[0], 1<<64-1)
		if err != nil {
			return err
		}
		bytes, err := parseNumber(a.w[1], 1<<64-1)
		p.cmd.packets, p.cmd.bytes, p.cmd.counted = packets, bytes, true
		return err
	}),
}

// match loads a match extension.
func (p *parser) match(a arg) error {
	k := matchKinds[a.w[0].text]
	switch {
	case k != nil:
		p.load(k, a.w[0])
		return nil
	case slices.Contains(otherMatches, a.w[0].text):
		return a.w[0].errorf("iptables has this match, this emulation has not")
	}
	return a.w[0].unknown("match", sortedKeys(matchKinds))
}

// jump notes the target, and loads it if it is an extension.
func (p *parser) jump(a arg, op opcode) error {
	if p.rule.jump != "" {
		return a.name.errorf("the rule has a target already")
	}
	name := a.w[0].text
	p.rule.op, p.rule.jump, p.cmd.jump = op, name, a.w[0]
	if k := targetKinds[name]; k != nil && op == opJump {
		p.load(k, a.w[0])
		return nil
	}
	if slices.Contains(otherTargets, name) {
		return a.w[0].errorf("iptables has this target, this emulation has not")
	}
	if op == opGoto && isTarget(name) {
		return a.w[0].errorf("-g goes to chains only, targets need -j")
	}
	if err := chainName(a.w[0]); err != nil && !isTarget(name) {
		return err
	}
	return nil
}

func isTarget(name string) bool {
	return slices.Contains(standardTargets, name) || targetKinds[name] != nil || slices.Contains(otherTargets, name)
}

var standardTargets = []string{"ACCEPT", "DROP", "RETURN"}

// chainName checks a name. iptables takes up to 28 bytes.
func chainName(w word) error {
	const most = 28
	switch {
	case w.text == "":
		return w.errorf("an empty chain name")
	case len(w.text) > most:
		return w.errorf("chain name of %d bytes, at most %d fit", len(w.text), most)
	case w.text[0] == '-' || w.text[0] == '!' || w.text[0] == ':':
		return w.errorf("a chain name cannot begin with %c", w.text[0])
	case strings.ContainsFunc(w.text, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '"' }):
		return w.errorf("not a chain name")
	}
	return nil
}

var commandOptions = []option{
	ruleCommand("-A|--append", opAppend), ruleCommand("-I|--insert", opInsert), ruleCommand("-D|--delete", opDelete),
	ruleCommand("-R|--replace", opReplace), ruleCommand("-C|--check", opCheck),
	opt("-N|--new-chain|--new", 1, false, func(p *parser, a arg) error {
		if isTarget(a.w[0].text) {
			return a.w[0].errorf("a chain cannot have the name of a target")
		}
		return p.command(a, opNewChain)
	}),
	chainCommand("-X|--delete-chain", opDeleteChain), chainCommand("-F|--flush", opFlush),
	chainCommand("-Z|--zero", opZero),
	opt("-P|--policy", 2, false, func(p *parser, a arg) (err error) {
		if p.cmd.policy, err = parsePolicy(a.w[1]); err != nil {
			return err
		}
		return p.command(a, opPolicy)
	}),
	opt("-t|--table", 1, false, func(p *parser, a arg) error {
		if p.line {
			return a.name.errorf("the table is chosen by a *table line here")
		}
		t, err := parseTable(a.w[0])
		p.cmd.table = t
		return err
	}),
	opt("-w|--wait", 0, false, func(p *parser, a arg) error { return p.wait(a) }),
	opt("-W|--wait-interval", 1, false, func(p *parser, a arg) error { return p.wait(a) }),
	opt("-4|--ipv4", 0, false, func(*parser, arg) error { return nil }),
	opt("-6|--ipv6", 0, false, func(_ *parser, a arg) error { return a.name.errorf("these are IPv4 rules") }),
	opt("-E|--rename-chain", 2, false, func(_ *parser, a arg) error {
		return a.name.errorf("iptables can rename chains, this emulation cannot")
	}),
}

// wait skips the lock options, which scripts pass to the real tool.
func (p *parser) wait(a arg) error {
	if p.line {
		return a.name.errorf("this option has no place in a file")
	}
	if a.w == nil && p.pos < len(p.words) {
		if _, err := strconv.ParseUint(p.words[p.pos].text, 10, 32); err == nil {
			p.pos++
		}
	}
	return nil
}

func (p *parser) command(a arg, op opKind) error {
	if p.cmd.op != opNone {
		return a.name.errorf("a second command in one line")
	}
	p.cmd.op = op
	if len(a.w) == 0 {
		return nil
	}
	p.cmd.chain = a.w[0]
	return chainName(a.w[0])
}

// ruleCommand is a command whose chain may be followed by a rule number.
func ruleCommand(names string, op opKind) option {
	return opt(names, 1, false, func(p *parser, a arg) error {
		if err := p.command(a, op); err != nil || op == opAppend || op == opCheck {
			return err
		}
		w, ok := p.peek()
		if !ok {
			if op == opReplace {
				return a.name.errorf("-R needs the number of a rule")
			}
			return nil
		}
		p.pos++
		n, err := parseNumber(w, 1<<31-1)
		if err == nil && n == 0 {
			err = w.errorf("rules are counted from 1")
		}
		p.cmd.index = int(n)
		return err
	})
}

// chainCommand is a command on one chain, or on all when none is named.
func chainCommand(names string, op opKind) option {
	return opt(names, 0, false, func(p *parser, a arg) error {
		if w, ok := p.peek(); ok {
			p.pos++
			a.w = append(a.w, w)
		}
		return p.command(a, op)
	})
}

// peek is the next word if it is not an option.
func (p *parser) peek() (word, bool) {
	if p.pos == len(p.words) || p.words[p.pos].text == "!" || strings.HasPrefix(p.words[p.pos].text, "-") {
		return word{}, false
	}
	return p.words[p.pos], true
}

func parsePolicy(w word) (Kind, error) {
	switch w.text {
	case "ACCEPT":
		return Accept, nil
	case "DROP":
		return Drop, nil
	}
	return 0, w.errorf("not a policy, wanted ACCEPT or DROP")
}

func parseTable(w word) (Table, error) {
	t, ok := tableByName(w.text)
	if !ok {
		return 0, w.unknown("table", tableNames[:])
	}
	return t, nil
}
