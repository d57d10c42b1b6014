package netfilter

import (
	"strconv"
	"strings"
)

// Script is parsed iptables-restore text. It is immutable: it can be applied to many rulesets, also concurrently, and
// those share the memory of the chains that it defines completely.
type Script struct {
	blocks []block
}

// block is one table's part of a script, from its *table line to COMMIT.
type block struct {
	table Table
	word  word
	line  int
	cmds  []*command // in order, less those that are in whole
	whole *layer     // user chains that the block declares and fills by appending alone; nil for none
	fill  []*command // the commands that make up whole, for counters and errors
	sets  []*command // those of all with rules that name a set
}

// Parse reads iptables-restore text: *table, :CHAIN POLICY [packets:bytes], commands as iptables takes them, each
// perhaps after [packets:bytes], COMMIT, empty lines and # comments. The error is an [*Error] with line and column.
//
// It is stricter than the real tool in a few places, all of them mistakes: quotes must be closed, names are not
// resolved, and rules that can never match because a range runs backwards are refused.
func Parse(text string) (*Script, error) {
	s := &Script{}
	var open *block
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if err := s.line(line, n, &open); err != nil {
			return nil, atLine(err, n)
		}
	}
	if open != nil {
		w := open.word
		e := w.errorf("the table is never committed, wanted COMMIT before the text ends")
		return nil, atLine(e, open.line)
	}
	return s, nil
}

func (s *Script) line(line string, n int, open **block) error {
	text := strings.TrimLeft(line, " \t")
	w := word{strings.TrimRight(text, " \t"), len(line) - len(text) + 1}
	switch {
	case w.text == "" || w.text[0] == '#':
		return nil
	case w.text[0] == '*':
		if *open != nil {
			return w.errorf("table %s is still open, wanted COMMIT", (*open).table)
		}
		t, err := parseTable(word{w.text[1:], w.col + 1})
		*open = &block{table: t, word: w, line: n}
		return err
	case *open == nil:
		return w.errorf("outside any table, wanted a *table line")
	case w.text == "COMMIT":
		(*open).split()
		s.blocks = append(s.blocks, **open)
		*open = nil
		return nil
	}
	cmd := &command{table: (*open).table, line: n}
	(*open).cmds = append((*open).cmds, cmd)
	if w.text[0] == ':' {
		return parseDeclare(line, cmd)
	}
	return parseRuleLine(line, cmd)
}

// parseDeclare reads :CHAIN POLICY [packets:bytes].
func parseDeclare(line string, cmd *command) error {
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	cmd.op = opDeclare
	cmd.chain = word{words[0].text[1:], words[0].col + 1}
	if err := chainName(cmd.chain); err != nil {
		return err
	}
	if len(words) < 2 || len(words) > 3 {
		return words[0].errorf("%d words, wanted :CHAIN POLICY [packets:bytes]", len(words))
	}
	if len(words) == 3 {
		if err := parseCounters(words[2], cmd); err != nil {
			return err
		}
	}
	if _, ok := builtinHook(cmd.table, cmd.chain.text); !ok {
		if isTarget(cmd.chain.text) {
			return cmd.chain.errorf("a chain cannot have the name of a target")
		}
		if words[1].text != "-" {
			return words[1].errorf("only built-in chains have a policy, wanted -")
		}
		return nil
	}
	if words[1].text != "-" {
		cmd.policy, err = parsePolicy(words[1])
		if err == nil {
			err = policyPlace(words[1], cmd)
		}
		cmd.index = 1 // a policy was given
	}
	return err
}

func policyPlace(w word, cmd *command) error {
	if cmd.table == NAT && cmd.policy == Drop {
		return w.errorf("the nat table sees only the first packet of a connection and must not drop")
	}
	return nil
}

// parseCounters reads [packets:bytes].
func parseCounters(w word, cmd *command) error {
	inner, ok := strings.CutPrefix(w.text, "[")
	inner, ok2 := strings.CutSuffix(inner, "]")
	packets, bytes, ok3 := strings.Cut(inner, ":")
	if ok && ok2 && ok3 {
		p, err1 := strconv.ParseUint(packets, 10, 64)
		b, err2 := strconv.ParseUint(bytes, 10, 64)
		if err1 == nil && err2 == nil {
			cmd.packets, cmd.bytes, cmd.counted = p, b, true
			return nil
		}
	}
	return w.errorf("not counters, wanted [packets:bytes]")
}

func parseRuleLine(line string, cmd *command) error {
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	if strings.HasPrefix(words[0].text, "[") {
		if err := parseCounters(words[0], cmd); err != nil {
			return err
		}
		words = words[1:]
	}
	return parseCommand(words, cmd, true)
}

// split finds the user chains that the block fills completely and compiles them, so that every ruleset to which the
// script is applied can use the same ones.
func (b *block) split() {
	b.findSets()
	declared := make(map[string]int) // -1: something else than appending happens to the chain
	rules := make(map[string][]*Rule)
	for _, cmd := range b.cmds {
		name := cmd.chain.text
		_, isBuiltin := builtinHook(b.table, name)
		count, ok := declared[name]
		switch {
		case isBuiltin || name == "":
		case cmd.op == opDeclare && !ok:
			declared[name] = 1
		case cmd.op == opAppend && ok && count > 0:
			rules[name] = append(rules[name], cmd.rules...)
		default:
			declared[name] = -1
		}
		if name == "" { // -F, -X or -Z of all chains
			return
		}
	}
	whole := make(map[string]*chain)
	var rest []*command
	for _, cmd := range b.cmds {
		name := cmd.chain.text
		if declared[name] <= 0 {
			rest = append(rest, cmd)
			continue
		}
		if whole[name] == nil {
			whole[name] = newChain(b.table, name, rules[name])
		}
		b.fill = append(b.fill, cmd)
	}
	b.cmds, b.whole = rest, &layer{chains: whole}
}

// findSets notes which commands need a set.
func (b *block) findSets() {
	for _, cmd := range b.cmds {
		if cmd.usesSets() {
			b.sets = append(b.sets, cmd)
		}
	}
}

// RestoreOptions are the options of iptables-restore. The zero value is its default.
type RestoreOptions struct {
	NoFlush  bool // keep the chains and rules that the text does not mention (-n)
	Counters bool // take counters over from the text (-c)
}

// Restore parses text and applies it; see [Parse] and [Ruleset.Apply].
func (r *Ruleset) Restore(text string, opts RestoreOptions) error {
	s, err := Parse(text)
	if err != nil {
		return err
	}
	return r.Apply(s, opts)
}

// Apply carries out a script, all of it or, when it returns an error, nothing. (The real tool commits table by
// table.) A table that the script names is emptied first and its policies are set to ACCEPT, unless NoFlush is set;
// then a user chain that the script declares is emptied, and everything else stays. Tables that it does not name are
// left alone.
//
// The checks of the whole, such as chains that are jumped to but do not exist, come at the end, so a script may
// mention a chain before it declares it.
func (r *Ruleset) Apply(s *Script, opts RestoreOptions) error {
	st := newStage(r)
	for i := range s.blocks {
		if err := st.block(&s.blocks[i], opts); err != nil {
			return err
		}
	}
	if err := st.check(s); err != nil {
		return err
	}
	st.commit()
	return nil
}

// Exec carries out one command as the iptables program does, for example
//
//	r.Exec("-t nat -A POSTROUTING -s 10.244.0.0/16 -j MASQUERADE")
//
// The commands are -A -I -D -R -C -N -X -F -Z -P; the table is filter unless -t names another. -C returns an error
// that wraps [ErrNoRule] when the rule is not there.
func (r *Ruleset) Exec(args string) error {
	words, err := splitWords(strings.TrimRight(args, "\r\n"))
	if err != nil {
		return err
	}
	if i := strings.IndexAny(args, "\r\n"); i >= 0 && strings.TrimSpace(args[i:]) != "" {
		return &Error{Column: i + 1, Msg: "more than one line, wanted one command (Restore takes many)"}
	}
	cmd := &command{table: Filter}
	if err := parseCommand(words, cmd, false); err != nil {
		return err
	}
	st := newStage(r)
	if err := st.command(cmd, true); err != nil || cmd.op == opCheck {
		return err
	}
	b := block{table: cmd.table, cmds: []*command{cmd}}
	b.findSets()
	if err := st.check(&Script{blocks: []block{b}}); err != nil {
		return err
	}
	st.commit()
	return nil
}
