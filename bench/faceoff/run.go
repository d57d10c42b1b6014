package faceoff

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
)

// fit is what a look at a design has found before it is measured.
type fit struct {
	design   overlay.Design
	reason   string // why it does not fit; empty if it does
	warnings []string
	ready    time.Duration // until the pods reached each other, if not at once
	rtt      time.Duration // when everything is known
	rate     int64         // of the slowest cable between the pods; 0: none has one
	mtu      int           // of the underlay at the sender's node
	reserved int           // of it, by the design
	sameNode bool
	seed     uint64
	from, to string
	topology Topology
	wire     string
	cpu      string // the CPU model; empty: there is none
}

// sceneError is an error that no design can help.
type sceneError struct{ error }

// Run measures a scene under each of the designs. The error says that nothing
// could be measured; a design that does not fit is part of the result.
func Run(s *Scene, cfg Config) (*Result, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &progress{report: cfg.OnProgress, of: len(cfg.Designs)}
	fits := make([]*fit, len(cfg.Designs))
	var look errgroup.Group
	look.SetLimit(cfg.Parallel)
	for i, name := range cfg.Designs {
		look.Go(func() (err error) {
			p.say(name + ": does it fit?")
			fits[i], err = lookAt(s, &cfg, name)
			p.step(1)
			return err
		})
	}
	if err := look.Wait(); err != nil {
		return nil, err
	}
	var fitting []*fit
	r := &Result{Schema: SchemaID, Designs: []Design{}, Unfit: []Unfit{}, Measures: []Measure{}, Warnings: []string{}, Series: []Series{}, Calibration: []Calibration{}, Verdict: []string{}}
	for _, f := range fits {
		if f.reason != "" {
			r.Unfit = append(r.Unfit, Unfit{f.design.Name, f.reason})
			continue
		}
		fitting = append(fitting, f)
	}
	if len(fitting) == 0 {
		return nil, fmt.Errorf("faceoff: no design fits: %s: %s", r.Unfit[0].Design, r.Unfit[0].Reason)
	}
	r.describe(s, &cfg, fitting[0])
	bouts := fight(s, &cfg, fitting, p)
	for i, f := range fitting {
		d := Design{Name: f.design.Name, Summary: f.design.Summary, Warnings: f.warnings, Packet: bouts[i][0].packet, Path: bouts[i][0].path}
		if d.Path == nil {
			d.Path = []explain.Hop{}
		}
		r.Designs = append(r.Designs, d)
	}
	if err := play(s, &cfg, r, fitting, p); err != nil {
		return nil, err
	}
	if cfg.has(GroupHost) {
		hostCost(&cfg, fitting, bouts, p)
	}
	r.collect(bouts)
	r.Verdict = append(r.Verdict, verdict(r)...)
	return r, nil
}

// progress counts what has been done.
type progress struct {
	mu     sync.Mutex // guards the rest
	report func(done, of int, what string)
	done   int
	of     int
}

func (p *progress) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil {
		p.report(p.done, p.of, what)
	}
}

func (p *progress) step(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
}

// lookAt finds out whether a design fits.
func lookAt(s *Scene, cfg *Config, name string) (*fit, error) {
	d, _ := overlay.Find(name)
	f := &fit{design: d, reserved: d.Overhead}
	var seed *uint64
	if len(cfg.Seeds) > 0 {
		seed = &cfg.Seeds[0]
	}
	chosen := false
	err := inTime(cfg.RealTime, func(settle func()) error {
		return s.Lab(Variant{Design: name, Seed: seed, Settle: settle}, func(lab *emu.Lab) error {
			field := &field{Lab: lab, design: name}
			if err := field.choose(cfg.From, cfg.To); err != nil {
				return sceneError{err}
			}
			chosen = true
			f.describe(field)
			if d.Standalone && field.across() {
				f.reason = fmt.Sprintf("its nodes know nothing of each other, and %s and %s are on %s and %s", f.from, f.to, field.from.Node().Name(), field.to.Node().Name())
				return nil
			}
			return f.reach(field, cfg)
		})
	})
	var scene sceneError
	switch {
	case errors.As(err, &scene):
		return nil, scene.error
	case err != nil && chosen:
		return nil, fmt.Errorf("faceoff: %s: %w", name, err)
	case err != nil:
		f.reason = err.Error()
	}
	return f, nil
}

// describe notes what holds for the whole lab.
func (f *fit) describe(l *field) {
	from, to := l.nodes()
	f.seed, f.warnings, f.cpu = l.Config().Seed, l.Warnings(), l.CPUModel()
	f.from, f.to, f.sameNode = short(l.from.Name()), short(l.to.Name()), !l.across()
	f.topology = topology(l.Lab)
	f.mtu = from.Uplinks()[0].Device.MTU
	if f.sameNode {
		return
	}
	var out, in link.WireConfig
	l.Driver().Do(func() {
		out, _ = from.Cable().Config()
		_, in = to.Cable().Config()
	})
	f.slowest(out.Rate)
	f.slowest(in.Rate)
	f.wire = fmt.Sprintf("out of %s %s; into %s %s", from.Name(), describeWire(out), to.Name(), describeWire(in))
	if from.Uplinks()[0].Segment == to.Uplinks()[0].Segment {
		return
	}
	for _, link := range f.topology.Links { // routers are in between
		if i := slices.IndexFunc(f.topology.Machines, func(m Machine) bool { return m.Name == link.Machine }); f.topology.Machines[i].Kind == "router" {
			f.slowest(link.Rate)
		}
	}
	f.wire += "; routers in between"
}

// slowest takes a rate into account; 0 is unlimited.
func (f *fit) slowest(rate int64) {
	if rate > 0 && (f.rate == 0 || rate < f.rate) {
		f.rate = rate
	}
}

// reach waits until the pods reach each other, and says why if they do not.
func (f *fit) reach(l *field, cfg *Config) error {
	tries := 60
	if cfg.RealTime || len(f.warnings) > 0 {
		tries = 5
	}
	for i := range tries {
		start := l.Now()
		_, err := l.ping()
		if err == nil {
			if i > 0 {
				f.ready = start
			}
			rtt, err := l.ping()
			if err == nil {
				f.rtt = rtt
				return nil
			}
		}
		if left := pingTimeout - (l.Now() - start); left > 0 {
			l.Sleep(left)
		}
	}
	if len(f.warnings) > 0 {
		f.reason = f.warnings[0]
		return nil
	}
	r, err := explain.Trace(l.Lab, explain.Probe{From: &l.from.Machine, To: l.to.Name()})
	if err != nil {
		return err
	}
	f.reason = r.Verdict
	return nil
}

// describe fills in what is the same for all designs.
func (r *Result) describe(s *Scene, cfg *Config, f *fit) {
	r.Scenario = Scenario{Name: s.Name, File: s.File, Text: s.Text, From: f.from, To: f.to}
	r.Topology = f.topology
	seeds := cfg.Seeds
	if len(seeds) == 0 {
		seeds = []uint64{f.seed}
	}
	r.Settings = Settings{
		Virtual: !cfg.RealTime, Seeds: seeds, TCP: emu.TCPSettings(!cfg.RealTime), CPU: f.cpu, Podwire: cfg.Podwire, Go: cfg.Go, GVisor: cfg.GVisor,
		Wire: f.wire, Rate: f.rate, MTU: f.mtu, WireOverhead: link.FrameOverhead, Groups: slices.Clone(cfg.Groups), HostDependent: cfg.has(GroupHost) || cfg.RealTime,
	}
	if f.rate > 0 {
		r.Settings.Window = (&bout{cfg: cfg, fit: f}).window(f.rate, f.mtu)
	}
}

// fight runs all bouts: for each design one with each seed.
func fight(s *Scene, cfg *Config, fits []*fit, p *progress) [][]*bout {
	seeds := []*uint64{nil}
	if len(cfg.Seeds) > 0 {
		seeds = nil
		for i := range cfg.Seeds {
			seeds = append(seeds, &cfg.Seeds[i])
		}
	}
	p.mu.Lock()
	p.done, p.of = 0, len(fits)*len(seeds)
	p.mu.Unlock()
	bouts := make([][]*bout, len(fits))
	var group errgroup.Group
	group.SetLimit(cfg.Parallel)
	for i, f := range fits {
		bouts[i] = make([]*bout, len(seeds))
		for j, seed := range seeds {
			b := &bout{scene: s, cfg: cfg, design: f.design.Name, seed: seed, fit: f, values: make(map[string]float64), notes: make(map[string]string)}
			bouts[i][j] = b
			group.Go(func() error {
				b.run(func(what string) { p.say(b.design + ": " + what) })
				p.step(1)
				return nil
			})
		}
	}
	group.Wait()
	return bouts
}

// play plays the scene's own steps under each design.
func play(s *Scene, cfg *Config, r *Result, fits []*fit, p *progress) error {
	if s.Play == nil {
		return nil
	}
	var seed *uint64
	if len(cfg.Seeds) > 0 {
		seed = &cfg.Seeds[0]
	}
	played := make([]*Played, len(fits))
	var group errgroup.Group
	group.SetLimit(cfg.Parallel)
	for i, f := range fits {
		group.Go(func() error {
			p.say(f.design.Name + ": the scenario's steps")
			return inTime(cfg.RealTime, func(settle func()) (err error) {
				played[i], err = s.Play(Variant{Design: f.design.Name, Seed: seed, Settle: settle})
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, done := range played {
		if done == nil {
			continue
		}
		r.Designs[i].Checks = &done.Checks
		for _, series := range done.Series {
			series.Design = fits[i].design.Name
			r.Series = append(r.Series, series)
		}
	}
	return nil
}

// collect puts what the bouts have found side by side.
func (r *Result) collect(bouts [][]*bout) {
	for _, m := range catalogue {
		m.Values = nil
		any := false
		for _, seeds := range bouts {
			v := value(m.ID, seeds)
			any = any || v.Value != nil || v.Note != ""
			m.Values = append(m.Values, v)
		}
		if any && slices.Contains(r.Settings.Groups, m.Group) {
			r.Measures = append(r.Measures, m)
		}
	}
	for _, seeds := range bouts {
		b := seeds[0]
		for _, s := range b.series {
			s.Design = b.design
			r.Series = append(r.Series, s)
		}
		r.Calibration = append(r.Calibration, b.calibration...)
		for _, b := range seeds {
			for _, w := range b.warnings {
				if !slices.Contains(r.Warnings, w) {
					r.Warnings = append(r.Warnings, w)
				}
			}
		}
	}
	slices.SortStableFunc(r.Series, func(a, b Series) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(r.Calibration, func(a, b Calibration) int { return cmp.Compare(a.ID, b.ID) })
}
