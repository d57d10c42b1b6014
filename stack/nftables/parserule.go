package nftables

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/podwire/podwire/stack/netfilter"
)

// parseRule reads statements up to the end of the line.
func (p *parser) parseRule() (*Rule, error) {
	r := &Rule{at: p.peek()}
	for {
		t := p.peek()
		if t.kind == tokNewline || t.kind == tokEnd || p.is("}") {
			break
		}
		if p.take("comment") {
			c := p.next()
			if c.kind != tokString && c.kind != tokWord {
				return nil, c.errorf("want a comment here")
			}
			r.comment = c.text
			continue
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		r.statements = append(r.statements, s)
	}
	if len(r.statements) == 0 {
		return nil, r.at.errorf("want a rule here")
	}
	return r, nil
}

// verbs are the statements that are no match, by their first word. Set by init, since statements hold verdict maps.
var verbs map[string]func(p *parser, t token) (statement, error)

func init() {
	verbs = map[string]func(p *parser, t token) (statement, error){
		"accept": verdictVerb, "drop": verdictVerb, "return": verdictVerb, "continue": verdictVerb, "jump": verdictVerb, "goto": verdictVerb,
		"counter": counterVerb, "reject": rejectVerb, "notrack": func(*parser, token) (statement, error) { return untrack{}, nil },
		"dnat": natVerb, "snat": natVerb, "masquerade": natVerb, "redirect": natVerb,
		"add": updateVerb, "update": updateVerb,
	}
}

func (p *parser) statement() (statement, error) {
	if verb := verbs[p.peek().text]; verb != nil && p.peek().kind == tokWord {
		return verb(p, p.next())
	}
	left, err := p.concat()
	if err != nil {
		return nil, err
	}
	switch {
	case p.is("set") && len(left) == 1:
		return p.setMark(left[0])
	case p.take("vmap"):
		in, name, err := p.lookup(left.types(), []*datatype{typeVerdict})
		return &vmap{left: left, in: in, set: name}, err
	}
	return p.match(left)
}

func (p *parser) setMark(left expr) (statement, error) {
	t := p.next()
	to, ok := left.(*field)
	if !ok || to.typ != typeMark {
		return nil, t.errorf("only meta mark and ct mark can be set")
	}
	v, err := p.value(typeMark)
	return &setMark{ct: to.words == "ct mark", to: v}, err
}

// value reads a constant or an expression of a type.
func (p *parser) value(d *datatype) (expr, error) {
	if fields[p.peek().text] == nil && p.peek().text != "mark" {
		lo, hi, err := d.parse(p.peek())
		if err == nil && lo != hi {
			err = p.peek().errorf("want a single value here")
		}
		p.next()
		return &constant{d, lo}, err
	}
	at := p.peek()
	e, err := p.expr()
	if err == nil && e.datatype() != d {
		err = at.errorf("%v is of type %s, want %s", e, e.datatype().name, d.name)
	}
	return e, err
}

// concat reads expressions that are joined by dots.
func (p *parser) concat() (concat, error) {
	var list concat
	size, at := 0, p.peek()
	for {
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		list = append(list, e)
		if size += e.datatype().padded(); size > len(key{}) {
			return nil, at.errorf("a key of %d bytes, want %d at most", size, len(key{}))
		}
		if !p.take(".") {
			return list, nil
		}
	}
}

// bitwords are the operators by both of their names.
var bitwords = map[string]byte{"and": '&', "or": '|', "xor": '^', "&": '&', "|": '|', "^": '^'}

// expr reads a field with the constants that it is combined with.
func (p *parser) expr() (expr, error) {
	e, err := p.primary()
	for err == nil {
		op, ok := bitwords[p.peek().text]
		if !ok || p.peek().kind == tokString {
			break
		}
		at := p.next()
		if d := e.datatype(); d.text || d.width > 4 {
			return nil, at.errorf("%v has no bits", e)
		}
		lo, hi, perr := e.datatype().parse(p.next())
		if perr == nil && lo != hi {
			perr = at.errorf("want a single value behind it")
		}
		e, err = &bitwise{e, op, e.datatype().get(lo[:])}, perr
	}
	return e, err
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch t.text {
	case "mark":
		return fields["meta"]["mark"], nil
	case "iifname", "oifname":
		return fields["meta"][t.text], nil
	case "l4proto":
		return fields["meta"]["l4proto"], nil
	case "numgen":
		return p.numgen()
	case "fib":
		return p.fib()
	}
	group := fields[t.text]
	if group == nil || t.kind != tokWord {
		known := append(slices.Sorted(maps.Keys(verbs)), slices.Sorted(maps.Keys(fields))...)
		return nil, t.unknown("statement", append(known, "mark", "iifname", "oifname", "fib", "numgen", "comment"))
	}
	f := p.next()
	e := group[f.text]
	if e == nil {
		return nil, f.unknown("field of "+t.text, slices.Sorted(maps.Keys(group)))
	}
	return e, nil
}

func (p *parser) fib() (expr, error) {
	t := p.next()
	if t.text != "saddr" && t.text != "daddr" {
		return nil, t.errorf("want saddr or daddr here: fib looks up addresses alone")
	}
	return &fib{t.text == "saddr"}, p.want("type")
}

func (p *parser) numgen() (expr, error) {
	n := &numgen{}
	switch t := p.next(); t.text {
	case "random":
		n.random = true
	case "inc":
	default:
		return nil, t.errorf("want random or inc here")
	}
	if err := p.want("mod"); err != nil {
		return nil, err
	}
	var err error
	if n.mod, err = p.uint32(); err != nil {
		return nil, err
	}
	if n.mod == 0 {
		return nil, p.tokens[p.pos-1].errorf("want 1 or more")
	}
	if p.take("offset") {
		n.offset, err = p.uint32()
	}
	return n, err
}

func (p *parser) uint32() (uint32, error) {
	t := p.next()
	n, err := strconv.ParseUint(t.text, 0, 32)
	if err != nil {
		return 0, t.errorf("want a number here")
	}
	return uint32(n), nil
}

// match reads what an expression is compared with.
func (p *parser) match(left concat) (statement, error) {
	m := &match{left: left}
	if t := p.peek(); t.kind == tokSign && slices.Contains([]string{"!=", "==", "<", ">", "<=", ">="}, t.text) {
		if m.op = p.next().text; m.op == "==" {
			m.op = ""
		}
	}
	at := p.peek()
	if at.text == "{" || strings.HasPrefix(at.text, "@") {
		if m.op != "" && m.op != "!=" {
			return nil, at.errorf("a set can be compared by == and != only")
		}
		var err error
		m.in, m.set, err = p.lookup(left.types(), nil)
		if err == nil && m.in != nil && m.in.elements.len() == 1 { // nft makes a value of it
			for _, x := range m.in.elements.sorted(1) {
				m.lo, m.hi, m.in = x.lo, x.hi, nil
			}
		}
		return m, err
	}
	var err error
	if m.lo, m.hi, err = p.key(left.types()); err != nil {
		return nil, err
	}
	if d := left[0].datatype(); d.bits && len(left) == 1 && m.op != "<" && m.op != ">" {
		return m, p.flags(m, d)
	}
	if m.lo != m.hi && m.op != "" && m.op != "!=" {
		return nil, at.errorf("an interval can be compared by == and != only")
	}
	return m, nil
}

// flags reads further names of bits: "ct state established,related".
func (p *parser) flags(m *match, d *datatype) error {
	m.bits = true
	n := d.get(m.lo[:])
	for p.take(",") {
		lo, _, err := d.parse(p.next())
		if err != nil {
			return err
		}
		n |= d.get(lo[:])
	}
	d.put(m.lo[:], n)
	m.hi = m.lo
	return nil
}

// lookup reads @name, or a set in braces.
func (p *parser) lookup(types, data []*datatype) (*set, string, error) {
	if t := p.peek(); strings.HasPrefix(t.text, "@") && t.kind == tokWord {
		p.next()
		name := t.text[1:]
		if name == "" { // "@ name"
			w, err := p.word("the name of a set")
			if err != nil {
				return nil, "", err
			}
			t, name = w, w.text
		}
		p.refs = append(p.refs, setRef{t, name, types, data})
		return nil, name, nil
	}
	s := &set{types: types, data: data, elements: newElements(false)}
	err := p.elements(s, true)
	return s, "", err
}

func verdictVerb(p *parser, t token) (statement, error) { return p.verdict(t) }

// verdict reads the rest of a verdict.
func (p *parser) verdict(t token) (*verdict, error) {
	v := &verdict{words: t.text}
	switch t.text {
	case "accept":
		v.code = done
	case "drop":
		v.code, v.end.Kind = done, netfilter.Drop
	case "return":
		v.code = back
	case "continue":
		v.code = mismatch
	case "jump", "goto":
		v.code = jump
		if t.text == "goto" {
			v.code = goTo
		}
		w, err := p.word("the name of a chain")
		if err != nil {
			return nil, err
		}
		v.chain = w.text
		v.words += " " + w.text
		p.jumps = append(p.jumps, w)
	default:
		return nil, t.unknown("verdict", []string{"accept", "drop", "return", "continue", "jump", "goto"})
	}
	return v, nil
}

func counterVerb(p *parser, _ token) (statement, error) {
	c := &counter{}
	for _, part := range []struct {
		word string
		n    *uint64
	}{{"packets", &c.start.packets}, {"bytes", &c.start.bytes}} {
		if !p.take(part.word) {
			continue
		}
		t := p.next()
		n, err := strconv.ParseUint(t.text, 10, 64)
		if err != nil {
			return nil, t.errorf("want a number here")
		}
		*part.n = n
	}
	return c, nil
}

// rejections are the answers of reject by nft's names, which are iptables' without icmp-.
var rejections = map[string]netfilter.RejectWith{
	"net-unreachable": netfilter.RejectNet, "host-unreachable": netfilter.RejectHost, "port-unreachable": netfilter.RejectPort,
	"prot-unreachable": netfilter.RejectProto, "net-prohibited": netfilter.RejectNetProhib, "host-prohibited": netfilter.RejectHostProhib,
	"admin-prohibited": netfilter.RejectAdmin,
}

func rejectVerb(p *parser, _ token) (statement, error) {
	v := &verdict{words: "reject", outcome: outcome{code: done, end: netfilter.Verdict{Kind: netfilter.Reject, Reject: netfilter.RejectPort}}}
	if !p.take("with") {
		return v, nil
	}
	switch t := p.next(); t.text {
	case "tcp":
		v.end.Reject = netfilter.RejectTCPReset
		v.words = "reject with tcp reset"
		return v, p.want("reset")
	case "icmp", "icmpx":
		p.take("type")
		w := p.next()
		with, ok := rejections[w.text]
		if !ok {
			return nil, w.unknown("answer of reject", slices.Sorted(maps.Keys(rejections)))
		}
		if v.end.Reject = with; with != netfilter.RejectPort || t.text == "icmpx" {
			v.words = "reject with " + t.text + " " + w.text
		}
		return v, nil
	default:
		return nil, t.errorf("want tcp reset or icmp and a type here")
	}
}

func updateVerb(p *parser, t token) (statement, error) {
	u := &update{verb: t.text}
	at := p.peek()
	if !strings.HasPrefix(at.text, "@") {
		return nil, at.errorf("want @ and the name of a set here")
	}
	p.next()
	if u.set = at.text[1:]; u.set == "" {
		at = p.next()
		u.set = at.text
	}
	if err := p.want("{"); err != nil {
		return nil, err
	}
	var err error
	if u.left, err = p.concat(); err != nil {
		return nil, err
	}
	if p.take("timeout") {
		if u.timeout, err = parseDuration(p.next()); err != nil {
			return nil, err
		}
	}
	p.updates = append(p.updates, setRef{at, u.set, u.left.types(), nil})
	return u, p.want("}")
}

var natKinds = map[string]netfilter.Kind{
	"dnat": netfilter.DNAT, "snat": netfilter.SNAT, "masquerade": netfilter.Masquerade, "redirect": netfilter.Redirect,
}

func natVerb(p *parser, t token) (statement, error) {
	n := &nat{words: t.text, inet: strings.HasPrefix(p.table, "inet "), verdict: netfilter.Verdict{Kind: natKinds[t.text]}}
	withAddr := t.text == "dnat" || t.text == "snat"
	if withAddr {
		p.take("ip")
		if p.take("addr") && (p.want(".") != nil || p.want("port") != nil) { // the older spelling of a map's target
			return nil, p.peek().errorf("want addr . port here")
		}
	}
	if p.take("to") || withAddr {
		if err := p.natTarget(n, withAddr); err != nil {
			return nil, err
		}
	}
	r := &n.verdict.Range
	for {
		switch {
		case p.take("random"):
			r.Random, n.flags = true, append(n.flags, "random")
		case p.take("fully-random"):
			r.RandomFully, n.flags = true, append(n.flags, "fully-random")
		case p.take("persistent"):
			r.Persistent, n.flags = true, append(n.flags, "persistent")
		default:
			return n, nil
		}
		p.take(",")
	}
}

// natTarget reads ADDR[-ADDR][:PORT[-PORT]], :PORT, or an expression with a map.
func (p *parser) natTarget(n *nat, withAddr bool) error {
	r := &n.verdict.Range
	if at := p.peek(); withAddr && (at.text == "numgen" || fields[at.text] != nil) {
		left, err := p.concat()
		if err != nil {
			return err
		}
		if err := p.want("map"); err != nil {
			return err
		}
		n.to = &natMap{left: left}
		n.to.in, err = p.natElements(left.types())
		return err
	}
	if withAddr {
		t := p.next()
		lo, hi, err := typeAddr.parse(t)
		if err != nil {
			return err
		}
		r.MinAddr, r.MaxAddr = addrOf(lo[:]), addrOf(hi[:])
	}
	if p.take(":") {
		t := p.next()
		lo, hi, err := typeService.parse(t)
		if err != nil {
			return err
		}
		r.MinPort, r.MaxPort, r.Ports = uint16(typeService.get(lo[:])), uint16(typeService.get(hi[:])), true
	} else if !withAddr {
		return p.peek().errorf("want a colon and ports here")
	}
	return nil
}

// natElements reads the map of a NAT target, whose values are addresses or addresses with ports.
func (p *parser) natElements(types []*datatype) (*set, error) {
	at := p.peek()
	if at.text != "{" {
		return nil, at.errorf("want a map in braces here")
	}
	probe := *p
	s := &set{types: types, data: []*datatype{typeAddr, typeService}, elements: newElements(false)}
	first := p.elements(s, true)
	if first == nil {
		return s, nil
	}
	*p = probe
	s = &set{types: types, data: []*datatype{typeAddr}, elements: newElements(false)}
	if p.elements(s, true) != nil {
		return nil, first
	}
	return s, nil
}

func addrOf(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }
