package netfilter

import (
	"slices"
	"strings"
)

// command is one parsed line: an operation on a table.
type command struct {
	op      opKind
	table   Table
	policy  Kind
	counted bool
	line    int
	index   int // 1-based, for operations on a rule by number; 0 is none
	chain   word
	jump    word // the word after -j or -g, for errors
	rules   []*Rule
	packets uint64 // counters from [p:b] or -c, if counted
	bytes   uint64
}

// opKind is what a command does.
type opKind uint8

const (
	opNone opKind = iota
	opAppend
	opInsert
	opDelete
	opReplace
	opCheck
	opNewChain
	opDeleteChain
	opFlush
	opZero
	opPolicy
	opDeclare // a :CHAIN line
)

// parser reads command lines, one after the other.
type parser struct {
	mem     memory
	all     []word // of the line; scratch
	words   []word
	pos     int
	cmd     *command
	rule    Rule
	verdict Verdict // of the rule, if it decides
	srcs    []*addrTest
	dsts    []*addrTest
	exts    []loaded
	core    loaded
	line    bool // the line stands in a file, where -t and -w have no place
}

// parse reads a line such as "-A INPUT -p tcp --dport 80 -j ACCEPT". cmd carries the table, which -t may change.
func (p *parser) parse(words []word, cmd *command, inFile bool) error {
	p.words, p.pos, p.cmd, p.line = words, 0, cmd, inFile
	p.rule = Rule{matches: p.rule.matches[:0]}
	p.srcs, p.dsts, p.exts = p.srcs[:0], p.dsts[:0], p.exts[:0]
	p.core = loaded{kind: coreKind, ext: p}
	if err := p.options(); err != nil {
		return err
	}
	if cmd.op == opNone {
		return &Error{Msg: "no command, wanted one of -A -I -D -R -C -N -X -F -Z -P"}
	}
	switch cmd.op {
	case opAppend, opInsert, opReplace, opCheck:
		return p.finish()
	case opDelete:
		if cmd.index == 0 {
			return p.finish()
		}
	}
	if p.core.seen&ruleBits != 0 {
		return cmd.chain.errorf("this command takes no rule")
	}
	return nil
}

// options reads all words. Extensions loaded last are asked first.
func (p *parser) options() error {
	neg := word{}
	for p.pos < len(p.words) {
		w := p.words[p.pos]
		p.pos++
		if w.text == "!" {
			if neg.text != "" {
				return w.errorf("two in a row")
			}
			neg = w
			continue
		}
		if len(w.text) < 2 || w.text[0] != '-' {
			return p.stray(w)
		}
		if err := p.option(w, neg); err != nil {
			return err
		}
		neg = word{}
	}
	if neg.text != "" {
		return neg.errorf("nothing follows")
	}
	return nil
}

func (p *parser) stray(w word) error {
	switch {
	case strings.HasPrefix(w.text, "#"):
		return w.errorf("a comment needs a line of its own")
	case w.text == "iptables" && p.pos == 1:
		return w.errorf("leave the program's name out")
	}
	return w.errorf("bad argument, options begin with -")
}

// option carries out one option and takes the words it needs.
func (p *parser) option(w, neg word) error {
	name, rest := splitOption(w)
	l, i, err := p.find(name)
	if err != nil {
		return err
	}
	o := l.opts[i]
	a := arg{p: p, name: w, neg: neg.text != ""}
	if a.neg && !o.invert {
		return neg.errorf("%s cannot be inverted", o.names[0])
	}
	if rest.col != 0 {
		if o.args == 0 {
			return w.errorf("this option takes no value")
		}
		a.w = append(a.w, rest)
	}
	if left := o.args - len(a.w); left > 0 {
		if p.pos+left > len(p.words) {
			p.pos = len(p.words)
			return w.errorf("a value is missing")
		}
		values := p.words[p.pos : p.pos+left : p.pos+left]
		if p.pos += left; len(a.w) == 0 {
			a.w = values // as nearly always: no copy
		} else {
			a.w = append(a.w, values...)
		}
	}
	if l.seen>>i&1 != 0 && !(l == &p.core && o.names[0] == "-m") {
		return w.errorf("this option was given already")
	}
	l.seen |= 1 << i
	return o.set(l.ext, a)
}

// splitOption takes apart --name=value and -xvalue.
func splitOption(w word) (name, value word) {
	if strings.HasPrefix(w.text, "--") {
		if n, v, ok := strings.Cut(w.text, "="); ok {
			return word{n, w.col}, word{v, w.col + len(n) + 1}
		}
		return w, word{}
	}
	if len(w.text) > 2 {
		return word{w.text[:2], w.col}, word{w.text[2:], w.col + 2}
	}
	return w, word{}
}

// find looks an option up: by its whole name, by a unique beginning as getopt_long does, and at last among the
// options of the match that -p implies.
func (p *parser) find(w word) (*loaded, int, error) {
	for i := len(p.exts) - 1; i >= 0; i-- {
		if at := p.exts[i].option(w.text); at >= 0 {
			return &p.exts[i], at, nil
		}
	}
	if at := p.core.option(w.text); at >= 0 {
		return &p.core, at, nil
	}
	var all []*loaded
	for i := len(p.exts) - 1; i >= 0; i-- {
		all = append(all, &p.exts[i])
	}
	all = append(all, &p.core)
	switch hits := beginnings(w.text, all); {
	case len(hits) == 1:
		return hits[0].l, hits[0].i, nil
	case len(hits) > 1:
		return nil, 0, w.errorf("ambiguous: %s or %s", hits[0].name(), hits[1].name())
	case p.implied():
		return p.find(w)
	}
	if owners := ownersOf(w.text); owners != "" {
		return nil, 0, w.errorf("this option belongs to %s", owners)
	}
	var known []string
	for _, l := range all {
		for _, o := range l.opts {
			known = append(known, o.names...)
		}
	}
	return nil, 0, w.unknown("option", known)
}

// hit is an option of a loaded extension.
type hit struct {
	l *loaded
	i int
}

func (h hit) name() string { return h.l.opts[h.i].names[0] }

// beginnings are the options whose name begins with text. Of two copies of an extension the one loaded last counts.
func beginnings(text string, all []*loaded) (hits []hit) {
	if len(text) < 4 {
		return nil
	}
	for _, l := range all {
		for i, o := range l.opts {
			begins := func(n string) bool { return strings.HasPrefix(n, text) }
			older := func(h hit) bool { return h.l.kind == l.kind && h.i == i }
			if slices.ContainsFunc(o.names, begins) && !slices.ContainsFunc(hits, older) {
				hits = append(hits, hit{l, i})
			}
		}
	}
	return hits
}

// implied loads the match that goes with the protocol, once. It says whether there was one.
func (p *parser) implied() bool {
	name := map[uint8]string{protoTCP: "tcp", protoUDP: "udp", protoSCTP: "sctp", protoICMP: "icmp"}[p.rule.proto]
	if name == "" || p.rule.negProto || slices.ContainsFunc(p.exts, func(l loaded) bool { return l.name.text == name }) {
		return false
	}
	p.load(matchKinds[name], word{name, p.words[p.pos-1].col})
	return true
}

func (p *parser) load(k *kind, name word) {
	from := p.mem.stock(k)
	p.exts = append(p.exts, loaded{kind: k, from: from, name: name, ext: from.take()})
}

// ownersOf says what to write before an option that is known, but not here.
func ownersOf(name string) string {
	var owners []string
	for _, prefix := range []string{"-m ", "-j "} {
		kinds := matchKinds
		if prefix == "-j " {
			kinds = targetKinds
		}
		for _, k := range sortedKeys(kinds) {
			for _, o := range kinds[k].opts {
				if slices.Contains(o.names, name) {
					owners = append(owners, prefix+k)
				}
			}
		}
	}
	return strings.Join(owners, ", ")
}
