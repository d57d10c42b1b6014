package nftables

import (
	"slices"
	"strconv"

	"github.com/podwire/podwire/stack/netfilter"
)

// Script is parsed text. It does not change.
type Script struct {
	commands []*command
}

// command is one change.
type command struct {
	verb   string // add, insert, create, delete, flush
	object string // ruleset, table, chain, rule, set, map, element
	at     token  // the name, for errors
	table  string // family and name
	name   string // of a chain or set
	text   string // comment of a table

	chain    *chain
	set      *set
	rules    []*Rule
	elements func(*set) (*elements, error) // once the set is known

	jumps         []token
	refs, updates []setRef
}

// setRef is where a rule names a set, and what it has to be like.
type setRef struct {
	at          token
	name        string
	types, data []*datatype
}

// Parse reads what nft -f reads: tables in braces, commands, or both.
func Parse(text string) (*Script, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{cursor: cursor{tokens: tokens}, script: &Script{}}
	for p.blank(); p.peek().kind != tokEnd; p.blank() {
		if err := p.command(); err != nil {
			return nil, err
		}
	}
	return p.script, nil
}

type parser struct {
	cursor
	script        *Script
	table         string
	jumps         []token
	refs, updates []setRef
}

var (
	families = []string{"ip", "inet", "ip6", "arp", "bridge", "netdev"}
	commands = []string{"add", "create", "insert", "delete", "destroy", "flush", "table"}
	objects  = []string{"table", "chain", "rule", "set", "map", "element", "ruleset"}
)

// family takes a family if one stands there, and reports whether it is of IPv4.
func (p *parser) family() (name string, v4 bool) {
	if name = "ip"; slices.Contains(families, p.peek().text) {
		name = p.next().text
	}
	return name, name == "ip" || name == "inet"
}

func (p *parser) command() error {
	t := p.next()
	switch t.text {
	case "table":
		return p.block()
	case "add", "create", "insert", "delete", "destroy", "flush":
		if err := p.change(t); err != nil {
			return err
		}
		return p.end()
	}
	return t.unknown("command", commands)
}

// change reads a command that begins with a verb.
func (p *parser) change(verb token) error {
	t := p.next()
	if !slices.Contains(objects, t.text) {
		return t.unknown("object", objects)
	}
	c := &command{verb: verb.text, object: t.text, at: t}
	if t.text == "ruleset" {
		if verb.text != "flush" {
			return verb.errorf("a ruleset can be flushed only")
		}
		p.script.commands = append(p.script.commands, c)
		return nil
	}
	family, v4 := p.family()
	name, err := p.word("the name of a table")
	if err != nil {
		return err
	}
	if !v4 {
		for p.peek().kind != tokNewline && p.peek().kind != tokEnd {
			p.next()
		}
		return nil
	}
	c.table, p.table = family+" "+name.text, family+" "+name.text
	if t.text != "table" {
		if c.at, err = p.word("the name of a " + t.text); err != nil {
			return err
		}
		if c.name = c.at.text; t.text == "rule" {
			return p.addRule(c)
		}
	}
	if adds := verb.text == "add" || verb.text == "create"; adds || t.text == "element" {
		if err := p.body(c); err != nil {
			return err
		}
	}
	p.script.commands = append(p.script.commands, c)
	return nil
}

// addRule reads the rule of add rule and insert rule.
func (p *parser) addRule(c *command) error {
	if c.verb != "add" && c.verb != "insert" {
		return c.at.errorf("rules can be added and inserted, and chains flushed")
	}
	r, err := p.parseRule()
	if err != nil {
		return err
	}
	c.rules = []*Rule{r}
	p.keep(c)
	return nil
}

// keep appends a command with what its rules refer to.
func (p *parser) keep(c *command) {
	c.jumps, c.refs, c.updates = p.jumps, p.refs, p.updates
	p.jumps, p.refs, p.updates = nil, nil, nil
	p.script.commands = append(p.script.commands, c)
}

// body reads what add says of a thing behind its name.
func (p *parser) body(c *command) error {
	switch c.object {
	case "element":
		return p.elementCommand(c)
	case "set", "map":
		if err := p.want("{"); err != nil {
			return err
		}
		return p.setBody(c)
	case "table", "chain":
		c.chain = &chain{name: c.name}
		if !p.take("{") {
			return nil
		}
		for p.blank(); !p.take("}"); p.blank() {
			if err := p.property(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// property is a line in the braces of add table or add chain.
func (p *parser) property(c *command) error {
	t := p.next()
	switch {
	case t.text == "comment":
		c.text = p.next().text
		c.chain.comment = c.text
		return nil
	case t.text == "type" && c.object == "chain":
		return p.hook(c.chain)
	case t.text == "policy" && c.object == "chain":
		return p.policy(c.chain)
	}
	return t.unknown("property of a "+c.object, []string{"comment", "type", "policy"})
}

// block reads table FAMILY NAME { ... }.
func (p *parser) block() error {
	family, v4 := p.family()
	name, err := p.word("the name of a table")
	if err != nil {
		return err
	}
	if err := p.want("{"); err != nil {
		return err
	}
	if !v4 {
		return p.skipBlock()
	}
	p.table = family + " " + name.text
	c := &command{verb: "add", object: "table", at: name, table: p.table}
	p.script.commands = append(p.script.commands, c)
	for p.blank(); !p.take("}"); p.blank() {
		t := p.next()
		switch t.text {
		case "comment":
			c.text = p.next().text
			err = p.end()
		case "set", "map":
			err = p.setBlock(t)
		case "chain":
			err = p.chainBlock()
		default:
			return t.unknown("part of a table", []string{"chain", "set", "map", "comment"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// skipBlock leaves out what stands in braces.
func (p *parser) skipBlock() error {
	for depth := 1; depth > 0; {
		switch t := p.next(); {
		case t.kind == tokEnd:
			return t.errorf("want } here")
		case t.kind == tokSign && t.text == "{":
			depth++
		case t.kind == tokSign && t.text == "}":
			depth--
		}
	}
	return nil
}

func (p *parser) setBlock(kind token) error {
	name, err := p.word("the name of a " + kind.text)
	if err != nil {
		return err
	}
	if err := p.want("{"); err != nil {
		return err
	}
	c := &command{verb: "add", object: kind.text, at: name, table: p.table, name: name.text}
	if err := p.setBody(c); err != nil {
		return err
	}
	p.keep(c)
	return nil
}

func (p *parser) chainBlock() error {
	name, err := p.word("the name of a chain")
	if err != nil {
		return err
	}
	if err := p.want("{"); err != nil {
		return err
	}
	c := &command{verb: "add", object: "chain", at: name, table: p.table, name: name.text, chain: &chain{name: name.text}}
	for p.blank(); !p.take("}"); p.blank() {
		switch t := p.peek(); {
		case t.text == "comment" || t.text == "type" || t.text == "policy":
			err = p.property(c)
		default:
			var r *Rule
			r, err = p.parseRule()
			c.rules = append(c.rules, r)
		}
		if err == nil && p.peek().kind != tokNewline {
			err = p.peek().errorf("want the end of the line here")
		}
		if err != nil {
			return err
		}
	}
	p.keep(c)
	return nil
}

// priorities are those with names, and the hooks where the names hold.
var priorities = []struct {
	name  string
	value int
	hooks []netfilter.Hook // nil: all
}{
	{"raw", -300, nil}, {"mangle", -150, nil}, {"dstnat", -100, []netfilter.Hook{netfilter.Prerouting}},
	{"filter", 0, nil}, {"security", 50, nil}, {"srcnat", 100, []netfilter.Hook{netfilter.Postrouting}},
}

var hooks = []string{"prerouting", "input", "forward", "output", "postrouting"}

// hook reads the rest of type TYPE hook HOOK priority PRIORITY.
func (p *parser) hook(c *chain) error {
	t := p.next()
	if c.typ = t.text; c.typ != "filter" && c.typ != "nat" && c.typ != "route" {
		return t.unknown("type of chain", []string{"filter", "nat"})
	}
	if c.typ == "route" {
		return t.errorf("chains of type route are not emulated, want filter or nat")
	}
	if err := p.want("hook"); err != nil {
		return err
	}
	h := p.next()
	i := slices.Index(hooks, h.text)
	if i < 0 {
		return h.unknown("hook", hooks)
	}
	c.hook = netfilter.Hook(i)
	if c.typ == "nat" && c.hook == netfilter.Forward {
		return h.errorf("a chain of type nat has no place there")
	}
	if err := p.want("priority"); err != nil {
		return err
	}
	t = p.next()
	n, err := strconv.Atoi(t.text)
	if err == nil {
		c.priority = n
		return nil
	}
	var known []string
	for _, x := range priorities {
		known = append(known, x.name)
		if x.name == t.text {
			c.priority = x.value
			return p.offset(c)
		}
	}
	return t.unknown("priority", known)
}

// offset reads the - 10 of dstnat - 10.
func (p *parser) offset(c *chain) error {
	sign := 0
	switch {
	case p.take("-"):
		sign = -1
	case p.take("+"):
		sign = 1
	default:
		return nil
	}
	n, err := p.uint32()
	c.priority += sign * int(min(n, 1<<20))
	return err
}

func (p *parser) policy(c *chain) error {
	t := p.next()
	if c.drop = t.text == "drop"; !c.drop && t.text != "accept" {
		return t.errorf("want accept or drop here")
	}
	return nil
}
