package faceoff

import (
	"fmt"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/explain"
)

// A bout is one design with one seed: it makes the experiments one after another
// and keeps what they find.
type bout struct {
	scene  *Scene
	cfg    *Config
	design string
	seed   *uint64
	fit    *fit

	values map[string]float64 // by the measure's ID
	notes  map[string]string  // why there is no value

	packet      *Packet
	path        []explain.Hop
	series      []Series
	calibration []Calibration
	warnings    []string
}

// experiments are all of them, in order, and which groups each is needed for.
var experiments = []struct {
	name   string
	groups []string
	run    func(*bout) error
}{
	{"first contact", []string{GroupHeaders, GroupGoodput, GroupMixed, GroupLatency, GroupPackets, GroupTables, GroupWires}, (*bout).session},
	{"a stream", []string{GroupGoodput}, (*bout).oneWay},
	{"streams both ways", []string{GroupMixed}, (*bout).bothWays},
	{"UDP", []string{GroupMixed}, (*bout).halfRate},
	{"a cable that loses", []string{GroupLoss}, (*bout).loss},
	{"link loss", []string{GroupRecovery}, (*bout).linkLoss},
	{"node loss", []string{GroupRecovery}, (*bout).nodeLoss},
	{"growth", []string{GroupGrowth}, (*bout).growth},
	{"other cables", []string{GroupWires}, (*bout).wires},
}

func (b *bout) set(id string, v float64) { b.values[id] = v }
func (b *bout) skip(reason string, ids ...string) { // why there is no value
	for _, id := range ids {
		b.notes[id] = reason
	}
}

// run makes the experiments that are wanted. One that fails leaves a note with
// its measures.
func (b *bout) run(progress func(what string)) {
	for _, e := range experiments {
		wanted := false
		for _, g := range e.groups {
			wanted = wanted || b.cfg.has(g)
		}
		if !wanted {
			continue
		}
		progress(e.name)
		if err := e.run(b); err != nil {
			b.warnings = append(b.warnings, fmt.Sprintf("%s: %s: %v", b.design, e.name, err))
			for _, m := range catalogue {
				_, has := b.values[m.ID]
				if _, noted := b.notes[m.ID]; m.Group == e.groups[0] && !has && !noted {
					b.notes[m.ID] = err.Error()
				}
			}
		}
	}
}

// enter builds a lab for an experiment and waits until the pods reach each other.
func (b *bout) enter(mtu int, f func(*field) error) error {
	return enter(b.scene, b.cfg, Variant{Design: b.design, Seed: b.seed, MTU: mtu}, func(l *field) error {
		if b.fit.ready > 0 {
			l.Sleep(b.fit.ready)
		}
		return f(l)
	})
}

// enterKnown is enter, with neighbours and tunnels known on the way.
func (b *bout) enterKnown(mtu int, f func(*field) error) error {
	return b.enter(mtu, func(l *field) error {
		if _, err := l.ping(); err != nil {
			return err
		}
		return f(l)
	})
}

// check holds a figure against theory.
func (b *bout) check(id, title string, unit Unit, measured, theory, bound float64, formula string, args ...any) {
	c := Calibration{ID: id, Title: title, Design: b.design, Unit: unit, Measured: measured, Theory: theory, Bound: bound, Formula: fmt.Sprintf(formula, args...)}
	switch {
	case theory != 0:
		c.Error = measured/theory - 1
	case measured != 0:
		c.Error = 1
	}
	c.Agrees = c.Error <= bound && c.Error >= -bound
	b.calibration = append(b.calibration, c)
}

// machines returns the nodes of the pods.
func (f *field) nodes() (from, to *emu.Node) { return f.from.Node(), f.to.Node() }
