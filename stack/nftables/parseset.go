package nftables

import (
	"bytes"
	"slices"
	"strconv"
)

// setBody reads the lines of a set or map up to its brace.
func (p *parser) setBody(c *command) error {
	s := &set{name: c.name, elements: newElements(false)}
	c.set = s
	var later cursor // elements may stand before flags
	for p.blank(); !p.take("}"); p.blank() {
		t := p.next()
		var err error
		switch t.text {
		case "type":
			err = p.setType(s, c.object == "map")
		case "comment":
			s.comment = p.next().text
		case "flags":
			err = p.setFlags(s)
		case "timeout":
			s.timeout, err = parseDuration(p.next())
		case "gc-interval":
			_, err = parseDuration(p.next())
		case "size":
			n := p.next()
			if s.size, err = strconv.Atoi(n.text); err != nil || s.size < 1 {
				err = n.errorf("want a number here")
			}
		case "elements":
			if err = p.want("="); err == nil {
				later = p.cursor
				if err = p.want("{"); err == nil {
					err = p.skipBlock()
				}
			}
		case "counter", "auto-merge", "policy":
			err = t.errorf("not emulated")
		default:
			err = t.unknown("property of a "+c.object, []string{"type", "comment", "flags", "timeout", "size", "elements"})
		}
		if err == nil && p.peek().kind != tokNewline && !p.is("}") {
			err = p.peek().errorf("want the end of the line here")
		}
		if err != nil {
			return err
		}
	}
	if s.types == nil {
		return c.at.errorf("the set has no type")
	}
	if s.dynamic() && s.size == 0 {
		s.size = 65535 // what nft gives to sets that rules add to
	}
	s.elements.interval = s.has("interval")
	if later.tokens == nil {
		return nil
	}
	behind := p.cursor
	p.cursor = later
	err := p.elements(s, false)
	p.cursor = behind
	return err
}

// setType reads ipv4_addr . inet_service [: verdict].
func (p *parser) setType(s *set, isMap bool) error {
	at := p.peek()
	var err error
	if s.types, err = p.typeList(); err != nil {
		return err
	}
	if p.is(":") != isMap {
		return p.peek().errorf("a map has a colon and a type of values, a set has not")
	}
	if p.take(":") {
		if s.data, err = p.typeList(); err != nil {
			return err
		}
	}
	size := 0
	for _, d := range s.types {
		if size += d.padded(); d == typeVerdict {
			return at.errorf("a key cannot be a verdict")
		}
	}
	if size > len(key{}) {
		return at.errorf("a key of %d bytes, want %d at most", size, len(key{}))
	}
	size = 0
	for _, d := range s.data {
		size += d.padded()
	}
	if size > len(key{}) {
		return at.errorf("values of %d bytes, want %d at most", size, len(key{}))
	}
	return nil
}

func (p *parser) typeList() ([]*datatype, error) {
	var list []*datatype
	for {
		t := p.next()
		i := slices.IndexFunc(setTypes, func(d *datatype) bool { return d.name == t.text })
		if i < 0 {
			var known []string
			for _, d := range setTypes {
				known = append(known, d.name)
			}
			return nil, t.unknown("type", known)
		}
		list = append(list, setTypes[i])
		if !p.take(".") {
			return list, nil
		}
	}
}

func (p *parser) setFlags(s *set) error {
	known := []string{"dynamic", "timeout", "interval", "constant"}
	for {
		t := p.next()
		if !slices.Contains(known, t.text) {
			return t.unknown("flag", known)
		}
		s.flags = append(s.flags, t.text)
		if !p.take(",") {
			return nil
		}
	}
}

// elementCommand reads the elements of add element, which can be understood when the set is known.
func (p *parser) elementCommand(c *command) error {
	at := *p
	if err := p.want("{"); err != nil {
		return err
	}
	if err := p.skipBlock(); err != nil {
		return err
	}
	c.elements = func(s *set) (*elements, error) {
		q := &parser{cursor: at.cursor}
		to := &set{name: s.name, types: s.types, data: s.data, flags: s.flags, elements: newElements(s.has("interval"))}
		err := q.elements(to, c.verb != "add" && c.verb != "create")
		return to.elements, err
	}
	return nil
}

// elements reads { KEY [: VALUE], ... }. Of a set without a name, intervals are welcome; loose says that, or that
// values may be missing.
func (p *parser) elements(s *set, loose bool) error {
	if err := p.want("{"); err != nil {
		return err
	}
	var list []*element
	for p.blank(); !p.take("}"); p.blank() {
		at := p.peek()
		x, err := p.element(s, loose)
		if err != nil {
			return err
		}
		if x.lo != x.hi {
			if len(s.types) > 1 {
				return at.errorf("intervals in concatenations are not emulated")
			}
			if !loose && !s.has("interval") {
				return at.errorf("the set holds single values: intervals want the flag interval")
			}
			if loose {
				s.elements.interval = true
			}
		}
		list = append(list, x)
		if p.blank(); !p.is("}") {
			if err := p.want(","); err != nil {
				return err
			}
		}
	}
	if s.elements.interval && loose && s.data == nil {
		list = merged(list)
	}
	for _, x := range list {
		if !s.elements.add(x) {
			return p.tokens[p.pos-1].errorf("%s overlaps another element", formatKey(s.types, x.lo, x.hi))
		}
	}
	return nil
}

// merged joins the intervals of a set without a name that overlap or touch.
func merged(list []*element) []*element {
	slices.SortFunc(list, func(a, b *element) int { return bytes.Compare(a.lo[:], b.lo[:]) })
	out := list[:1]
	for _, x := range list[1:] {
		last := out[len(out)-1]
		after := last.hi
		for i := 3; i >= 0; i-- { // the next value; a single type of an interval has four bytes at most
			if after[i]++; after[i] != 0 {
				break
			}
		}
		if bytes.Compare(x.lo[:], after[:]) > 0 && after != (key{}) {
			out = append(out, x)
		} else if bytes.Compare(x.hi[:], last.hi[:]) > 0 {
			last.hi = x.hi
		}
	}
	return out
}

func (p *parser) element(s *set, loose bool) (*element, error) {
	x := &element{}
	var err error
	if x.lo, x.hi, err = p.key(s.types); err != nil {
		return nil, err
	}
	for !p.is(",") && !p.is("}") && !p.is(":") && p.peek().kind != tokNewline {
		switch t := p.next(); t.text {
		case "comment":
			x.comment = p.next().text
		case "timeout":
			x.timeout, err = parseDuration(p.next())
		case "expires":
			x.expires, err = parseDuration(p.next())
		default:
			err = t.errorf("want a comma, a colon or a brace here")
		}
		if err != nil {
			return nil, err
		}
	}
	if s.data == nil {
		return x, nil
	}
	if !p.take(":") {
		if loose && s.name != "" {
			return x, nil // delete element names the key alone
		}
		return nil, p.peek().errorf("want a colon and a value of type %s here", typeNames(s.data))
	}
	if s.data[0] == typeVerdict {
		x.verdict, err = p.verdict(p.next())
		return x, err
	}
	at := p.peek()
	var hi key
	if x.data, hi, err = p.key(s.data); err == nil && hi != x.data {
		err = at.errorf("want a single value here")
	}
	return x, err
}

// key reads values that are joined by dots.
func (p *parser) key(types []*datatype) (lo, hi key, err error) {
	at := 0
	for i, d := range types {
		if i > 0 {
			if err := p.want("."); err != nil {
				return lo, hi, err
			}
		}
		a, b, err := d.parse(p.next())
		if err != nil {
			return lo, hi, err
		}
		copy(lo[at:], a[:d.width])
		copy(hi[at:], b[:d.width])
		at += d.padded()
	}
	return lo, hi, nil
}
