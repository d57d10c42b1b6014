package diff

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// comparison is one call of Captures.
type comparison struct {
	o        Options
	report   *Report
	sameLink bool // headers below IP can be compared
	a, b     *capture
	names    *names
	other    map[*packet]*packet // packets of A: their counterparts
}

// run compares everything.
func (c *comparison) run() {
	var pairs []pair[packet]
	for _, f := range pairFlows(c.a.flows, c.b.flows) {
		pairs = append(pairs, c.flow(f)...)
	}
	slices.SortStableFunc(pairs, func(x, y pair[packet]) int {
		if n := cmp.Compare(x.a.index, y.a.index); n != 0 {
			return n
		}
		return cmp.Compare(x.a.part, y.a.part)
	})
	c.report.Paired = len(pairs)
	c.other = make(map[*packet]*packet, len(pairs))
	for _, p := range pairs {
		c.other[p.a] = p.b
	}
	c.names = learnNames(pairs, c.sameLink)
	for _, p := range pairs {
		c.packets(p)
	}
	c.timing(pairs)
	if c.o.Strict {
		at := make(map[*packet]int, len(c.b.packets))
		for i, q := range c.b.packets {
			at[q] = i
		}
		c.order(pairs, "capture", func(p *packet) int { return at[p] })
	}
	slices.SortStableFunc(c.report.Differences, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(position(x), position(y)), cmp.Compare(x.PacketB, y.PacketB))
	})
}

// position is where a difference is told: at its packet of A, and what A has
// not at the end.
func position(d Difference) int {
	if d.PacketA < 0 {
		return int(^uint(0) >> 1)
	}
	return d.PacketA
}

// flow reports what one flow has and its counterpart has not, and returns the
// packets that are to be compared.
func (c *comparison) flow(f pair[flow]) []pair[packet] {
	var list, both []pair[packet]
	switch {
	case f.b == nil:
		for _, p := range f.a.packets {
			list = append(list, pair[packet]{a: p})
		}
	case f.a == nil:
		for _, p := range f.b.packets {
			list = append(list, pair[packet]{b: p})
		}
	default:
		list = pairPackets(f.a, f.b)
	}
	for _, p := range list {
		switch {
		case p.b == nil:
			what := p.a.describe()
			c.add(Difference{KindMissing, p.a.index, -1, "packet", what, "", fmt.Sprintf("packet %s (%s): only here", c.a.number(p.a), what)})
		case p.a == nil:
			what := p.b.describe()
			c.add(Difference{KindExtra, -1, p.b.index, "packet", "", what, fmt.Sprintf("packet %s there (%s): only there", c.b.number(p.b), what)})
		default:
			both = append(both, p)
		}
	}
	if !c.o.Strict {
		c.order(both, "flow", func(p *packet) int { return p.place })
	}
	return both
}

// order reports pairs that come elsewhere than their neighbours.
func (c *comparison) order(pairs []pair[packet], of string, at func(*packet) int) {
	rank := make(map[*packet]int) // among those that have a counterpart
	byB := slices.Clone(pairs)
	slices.SortStableFunc(byB, func(x, y pair[packet]) int { return cmp.Compare(at(x.b), at(y.b)) })
	for i, p := range byB {
		rank[p.b] = i
	}
	for i, p := range pairs {
		rank[p.a] = i
	}
	for _, p := range moved(pairs, at) {
		if !c.o.Strict && onlyCrossed(p, pairs, rank) {
			continue
		}
		a, b := fmt.Sprint(rank[p.a]+1), fmt.Sprint(rank[p.b]+1)
		c.add(Difference{KindOrder, p.a.index, p.b.index, "order", a, b,
			fmt.Sprintf("%s: order: number %s of its %s here, %s there", c.who(p), a, of, b)})
	}
}

// packets compares two packets field by field.
func (c *comparison) packets(p pair[packet]) {
	a, b := c.values(p.a), c.values(p.b)
	if slices.EqualFunc(a, b, func(v, w value) bool { return v.field == w.field && c.equal(v, w) }) {
		return // as most packets are, and cheaper
	}
	other := make(map[string]value, len(b))
	for _, v := range b {
		other[v.field] = v
	}
	for _, v := range a {
		w, ok := other[v.field]
		delete(other, v.field)
		if !ok {
			c.field(p, v.field, v.text(), "absent")
		} else if !c.equal(v, w) {
			x, y := texts(v, w)
			c.field(p, v.field, x, y)
		}
	}
	for _, w := range b {
		if _, left := other[w.field]; left {
			c.field(p, w.field, "absent", w.text())
		}
	}
}

// equal compares two values of one field by its rule.
func (c *comparison) equal(v, w value) bool {
	switch {
	case v.rule == named && !c.o.Strict:
		return c.names.same(v.key, w.key)
	case v.rule == stepped && !c.o.Strict:
		// A step says something only if it is from the same packet on both
		// sides; of others, all that is known is whether they are 0.
		x, y := v.of.before, w.of.before
		alike := (x == nil) == (y == nil) && c.other[x] == y
		return v.key == w.key || v.key != isZero && w.key != isZero && !alike || v.of.clock && w.of.clock
	case v.rule == bytes:
		n := min(len(v.data), len(w.data)) // that the lengths differ is told elsewhere
		return string(v.data[:n]) == string(w.data[:n])
	}
	return v.key == w.key
}

// timing compares times with the tolerance that was asked for.
func (c *comparison) timing(pairs []pair[packet]) {
	if c.o.Timing == 0 || len(pairs) == 0 {
		return
	}
	a0, b0 := pairs[0].a.at, pairs[0].b.at
	for _, p := range pairs {
		x, y := p.a.at.Sub(a0), p.b.at.Sub(b0)
		if d := x - y; d > c.o.Timing || d < -c.o.Timing {
			c.field(p, "time", x.Round(time.Nanosecond).String(), y.Round(time.Nanosecond).String())
		}
	}
}

// field reports that two packets differ in a field.
func (c *comparison) field(p pair[packet], field, a, b string) {
	c.add(Difference{KindField, p.a.index, p.b.index, field, a, b, fmt.Sprintf("%s: %s: %s here, %s there", c.who(p), field, a, b)})
}

// who names a pair: the numbers and what the packet is.
func (c *comparison) who(p pair[packet]) string {
	a, b := c.a.number(p.a), c.b.number(p.b)
	if a != b {
		a += ", " + b + " there"
	}
	return fmt.Sprintf("packet %s (%s)", a, p.a.describe())
}

func (c *comparison) add(d Difference) {
	if !c.o.ignores(d.Field) {
		c.report.Differences = append(c.report.Differences, d)
	}
}
