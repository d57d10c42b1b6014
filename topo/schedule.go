package topo

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// Schedule returns the faults that happen in a run of a seed: those that the
// scenario lists, and in the places of random ones those that are drawn. The
// text is what was drawn, an element of faults a line.
func (sc *Scenario) Schedule(seed uint64) (faults []TimedFault, text []string, err error) {
	for i := range sc.Faults {
		f := &sc.Faults[i]
		if f.Random == nil {
			faults = append(faults, *f)
			continue
		}
		nodes := f.Random.draw(seed, f)
		list, err := f.Random.drawn(nodes)
		if err != nil {
			return nil, nil, err
		}
		faults = append(faults, list...)
		for _, n := range nodes {
			text = append(text, flowText(n))
		}
	}
	return faults, text, nil
}

// Elements returns what stands under faults, an element a line, with random ones
// drawn from a seed: also those that have one of their own.
func (sc *Scenario) Elements(seed uint64) (elements []string) {
	for i := range sc.Faults {
		f := &sc.Faults[i]
		if f.Random == nil {
			elements = append(elements, f.Text())
			continue
		}
		r := *f.Random
		r.Seed = Field[uint64]{}
		for _, n := range r.draw(seed, f) {
			elements = append(elements, flowText(n))
		}
	}
	return elements
}

// otherFaults decodes the faults that the Loader was told to take.
func (l *load) otherFaults(d *document, at *yaml.Node) {
	for i, text := range l.Faults {
		list, err := parseYAML(text)
		if err != nil || list == nil || list.Kind != yaml.SequenceNode || len(list.Content) != 1 {
			l.reportAt(d, at, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("faults[%d]: found %s, want an element of a list", i, quoted(text))})
			continue
		}
		locate(list, at)
		l.decodeFault(d, fmt.Sprintf("faults[%d]", i), list.Content[0])
	}
}

// flowText is an element of a list in one line.
func flowText(n *yaml.Node) string { return "- " + strings.TrimSpace(render(n)) }

// possible are the kinds that may be drawn.
func (r *RandomFaults) possible(t *randomTargets) (list []randomKind) {
	for _, k := range randomKinds {
		chosen := len(r.Kinds) == 0 || slices.ContainsFunc(r.Kinds, func(f Field[string]) bool { return f.Value == k.word })
		if chosen && len(k.targets(t)) > 0 {
			list = append(list, k)
		}
	}
	return list
}

// held is what a fault holds, and how long.
type held struct {
	what       string
	start, end time.Duration
}

// draw draws the schedule.
func (r *RandomFaults) draw(seed uint64, f *TimedFault) []*yaml.Node {
	if r.Seed.IsSet() {
		seed = r.Seed.Value
	}
	h := fnv.New64a()
	fmt.Fprint(h, "random faults ", r.path)
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	t := r.targets(r.load)
	kinds := r.possible(t)
	var busy []held
	type drawn struct {
		at   time.Duration
		node *yaml.Node
	}
	var list []drawn
	for _, at := range r.times(rng) {
		// What overlaps with one that would undo it is drawn again, at another
		// time if it is only their count that is given.
		for range 100 {
			if r.Count.IsSet() {
				at = r.time(rng)
			}
			node, h := r.one(rng, t, kinds, f, at)
			if !slices.ContainsFunc(busy, h.overlaps) {
				busy, list = append(busy, h), append(list, drawn{at, node})
				break
			}
		}
	}
	slices.SortStableFunc(list, func(a, b drawn) int { return int(a.at - b.at) })
	nodes := make([]*yaml.Node, len(list))
	for i := range list {
		nodes[i] = list[i].node
	}
	return nodes
}

func (h held) overlaps(o held) bool { return h.what == o.what && h.start <= o.end && o.start <= h.end }

// times are when faults begin, as far as that is settled.
func (r *RandomFaults) times(rng *rand.Rand) []time.Duration {
	if r.Count.IsSet() {
		return make([]time.Duration, r.Count.Value)
	}
	var list []time.Duration
	for at := time.Duration(0); ; {
		at += max(1, time.Duration(rng.ExpFloat64()*float64(r.Every.Value)))
		if at > r.Window.Value || len(list) >= 10_000 {
			return list
		}
		list = append(list, roundTo(at, grain(r.Window.Value)))
	}
}

func (r *RandomFaults) time(rng *rand.Rand) time.Duration {
	g := grain(r.Window.Value)
	return time.Duration(rng.Int64N(int64(r.Window.Value/g)+1)) * g
}

// grain is the unit in which times of a range are drawn: a thousandth or less of
// it, and a round number.
func grain(d time.Duration) time.Duration {
	g := time.Duration(1)
	for g < time.Millisecond && g*10_000 <= d {
		g *= 10
	}
	return g
}

func roundTo(d, unit time.Duration) time.Duration { return d / unit * unit }

// one draws a fault that begins at a time within the window.
func (r *RandomFaults) one(rng *rand.Rand, t *randomTargets, kinds []randomKind, f *TimedFault, at time.Duration) (*yaml.Node, held) {
	kind := pick(rng, kinds)
	target := pick(rng, kind.targets(t))
	verb, value := kind.draw(rng, t, target)
	span := r.For.Value
	g := grain(span.Max)
	lasts := max(span.Min, roundTo(span.Min+time.Duration(rng.Int64N(int64(span.Max-span.Min)+1)), g))
	var n *yaml.Node
	switch {
	case f.After.IsSet():
		n = flowMap("after", scalarNode(f.After.Value.plus(at)))
	case f.With.IsSet():
		n = flowMap("with", scalarNode(f.With.Value.plus(at)))
	default:
		n = flowMap("at", scalarNode((f.At.Value + at).String()))
	}
	n.Content = append(n.Content, scalarNode(verb), value)
	if !kind.once {
		n.Content = append(n.Content, scalarNode("for"), scalarNode(lasts.String()))
	}
	what := kind.hold + " " + target
	switch _, pod := t.home[target]; {
	case pod:
		what = "pod " + target // it may be gone when its link is to come up again
	case kind.hold == "conflict":
		what = "conflict" // each has to do with two
	}
	return n, held{what: what, start: at, end: at + lasts}
}

// plus is a time some time after t, as scenarios write it.
func (t StepTime) plus(d time.Duration) string { return fmt.Sprintf("%s + %v", t.Step, t.Delay+d) }
