package topo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
)

// RunConfig says how to play a scenario. The zero value plays it in real time
// with the scenario's own seed.
type RunConfig struct {
	Seed   *uint64 // if not nil, instead of the scenario's
	Design string  // if not empty, instead of the scenario's
	MTU    int     // if not 0, of the whole underlay, instead of the scenario's
	Settle func()  // makes time virtual; see emu.Config

	// OnBuild is called once machines and cables stand, before the first pod
	// starts: the moment to begin a capture.
	OnBuild func(*emu.Lab) error

	// OnWarning is called before the first step with each thing that will not
	// work on this network; see emu.Lab.Warnings.
	OnWarning func(string)

	// OnStep is called before each step: its number from 1, their count, name.
	OnStep func(n, of int, name string)

	// NoTAPs leaves hosts that are real away. Time may be virtual then; what is
	// played must not name one.
	NoTAPs bool
}

// readyTimeout is how long the first step waits for the daemons of the design to
// have told each other of all nodes and pods.
const readyTimeout = 10 * time.Second

// stepTimeout bounds one exchange, on the lab's clock.
const stepTimeout = 30 * time.Second

// allSteps stands for the number of steps, which of a survey is not known before.
const allSteps = -1

// Run builds the lab, plays the steps one after another, and checks what they
// expect. The error says that the lab could not be built; a step that fails is
// part of the verdict. The scenario must have loaded without errors.
func (sc *Scenario) Run(cfg RunConfig) (v *Verdict, err error) {
	return v, sc.With(cfg, allSteps, func(_ *emu.Lab, played *Verdict) error {
		v = played
		return nil
	})
}

// With builds the lab, waits until its daemons have told each other of all nodes
// and pods (with BGP; see emu.Lab.AwaitReady), plays the first steps, as many as the number says, and
// hands the lab to f. It is closed when f returns.
func (sc *Scenario) With(cfg RunConfig, steps int, f func(*emu.Lab, *Verdict) error) (err error) {
	faults, drawn, err := sc.Schedule(sc.seed(cfg))
	if err != nil {
		return err
	}
	if cfg.NoTAPs {
		if err := sc.needTAP(steps, faults); err != nil {
			return err
		}
	}
	lab, err := sc.build(cfg)
	if err != nil {
		return err
	}
	if err := lab.AwaitReady(readyTimeout); err != nil {
		lab.Warn(err)
	}
	if sc.survey {
		sc.Steps = sc.surveySteps(lab)
	}
	if steps == allSteps {
		steps = len(sc.Steps)
	}
	events := sc.startTimeline(lab, faults)
	defer func() {
		events.stop()
		if cerr := lab.Close(); err == nil {
			err = cerr
		}
		events.running.Wait()
	}()
	v := &Verdict{
		Scenario: sc.name(), File: sc.File, Design: lab.Config().Design, Nodes: len(lab.Nodes()), Pods: len(lab.Pods()),
		Seed: sc.seed(cfg), Virtual: cfg.Settle != nil, TCP: emu.TCPSettings(cfg.Settle != nil), CPU: lab.CPUModel(), Passed: true, Steps: []StepResult{},
		Drawn: drawn,
	}
	v.Warnings = lab.Warnings()
	if sc.unasked > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("%d requests are made, %d more are not", maxSurvey, sc.unasked))
	}
	if cfg.OnWarning != nil {
		for _, w := range v.Warnings {
			cfg.OnWarning(w)
		}
	}
	lateness := measureLateness(lab)
	for i := range sc.Steps[:min(steps, len(sc.Steps))] {
		s := &sc.Steps[i]
		if cfg.OnStep != nil {
			cfg.OnStep(i+1, len(sc.Steps), s.title())
		}
		r := play(lab, s, events)
		r.Number = i + 1
		v.Passed = v.Passed && r.Passed
		v.Steps = append(v.Steps, r)
	}
	v.Late = lateness()
	if steps >= len(sc.Steps) {
		events.stop()
		v.Faults = events.results()
		for _, f := range v.Faults {
			v.Passed = v.Passed && f.Error == ""
		}
	}
	lab.Sleep(0) // rules that are due, even if there was no step
	v.Duration = events.now()
	return f(lab, v)
}

// Lab builds the lab and hands it to f: no step is played, no fault happens. It
// is closed when f returns.
func (sc *Scenario) Lab(cfg RunConfig, f func(*emu.Lab) error) (err error) {
	lab, err := sc.build(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := lab.Close(); err == nil {
			err = cerr
		}
	}()
	return f(lab)
}

// Check builds the lab and closes it again without playing a step. It finds
// what only shows when everything is put together: addresses that run out,
// ports that clash, an MTU too small for the design, nodes that the design
// cannot join on this network.
func (sc *Scenario) Check(settle func()) Diagnostics {
	lab, err := sc.build(RunConfig{Settle: settle, NoTAPs: true})
	if err != nil {
		return Diagnostics{sc.cannotBuild(err)}
	}
	var diags Diagnostics
	for _, w := range lab.Warnings() {
		d := Diagnostic{Severity: Warning, Pos: sc.Cluster.Design.Pos, Rule: "cannot-work", Message: w}
		if !d.Pos.IsValid() {
			d.Pos.File = sc.File
		}
		diags = append(diags, d)
	}
	if err := lab.Close(); err != nil {
		diags = append(diags, sc.cannotBuild(err))
	}
	return diags
}

// cannotBuild says where in the files the error of a lab comes from.
func (sc *Scenario) cannotBuild(err error) Diagnostic {
	d := Diagnostic{Pos: Pos{File: sc.File}, Rule: "cannot-build", Message: err.Error()}
	var at *PlaceError
	if errors.As(err, &at) {
		d.Pos, d.Message = at.Pos, at.Err.Error()
	}
	return d
}

func (sc *Scenario) name() string {
	if sc.Name.Value != "" {
		return sc.Name.Value
	}
	return sc.File
}

// title is the step's name, or one made from what it does.
func (s *Step) title() string {
	if s.Name.Value != "" {
		return s.Name.Value
	}
	switch {
	case s.Action != nil:
		return s.Action.title()
	case s.Ping != nil:
		return fmt.Sprintf("ping %s -> %s", s.Ping.From.Text, s.Ping.To.Text)
	case s.HTTP != nil:
		return fmt.Sprintf("http %s -> %s", s.HTTP.From.Text, s.HTTP.URL.Value)
	case s.TCP != nil:
		return fmt.Sprintf("tcp %s -> %s:%d", s.TCP.From.Text, s.TCP.To.Text, s.TCP.To.Port)
	case s.UDP != nil:
		return fmt.Sprintf("udp %s -> %s:%d", s.UDP.From.Text, s.UDP.To.Text, s.UDP.To.Port)
	case s.Exec != nil:
		return s.Exec.On.Text + " " + s.Exec.Run.Value
	case s.Sleep != nil:
		return fmt.Sprintf("sleep %v", s.Sleep.Value)
	}
	return s.Verb()
}

// play waits for the step's time, does it, and checks what came of it.
func play(lab *emu.Lab, s *Step, events *timeline) StepResult {
	if s.At.IsSet() {
		if left := s.At.Value - events.now(); left > 0 {
			lab.Sleep(left)
		}
	}
	r := StepResult{Name: s.title(), Verb: s.Verb(), Pos: s.Pos, Start: events.now(), Passed: true, Checks: []Check{}}
	events.reached(s.Name.Value, 0)
	p := player{lab: lab, began: events.began, step: s, result: &r}
	switch {
	case s.Action != nil:
		s.Action.play(&p)
	case s.Ping != nil:
		p.ping(s.Ping)
	case s.HTTP != nil:
		p.http(s.HTTP)
	case s.TCP != nil:
		p.exchange("tcp", s.TCP)
	case s.UDP != nil:
		p.exchange("udp", s.UDP)
	case s.Exec != nil:
		p.exec(s.Exec)
	case s.Sleep != nil:
		lab.Sleep(s.Sleep.Value)
		r.Outcome = fmt.Sprintf("it is %v", events.now())
	}
	if !p.timed {
		r.Took = events.now() - r.Start
	}
	lab.Sleep(0) // goroutines of the step still close what they have opened
	p.finish()
	events.reached(s.Name.Value, 1)
	return r
}

// player plays one step.
type player struct {
	lab    *emu.Lab
	began  time.Duration // on the lab's clock, when the steps did
	step   *Step
	result *StepResult
	err    error
	timed  bool   // result.Took is set
	peer   string // the network of emu.Lab.LastPeer that shows who was seen
}

// machine returns the machine that a reference names.
func (p *player) machine(r Ref) *emu.Machine { return machineOf(p.lab, r) }

// address returns what the lab resolves to the thing that a reference names.
func (p *player) address(r Ref) string {
	switch r.Kind {
	case RefPod:
		return p.lab.Machine(r.Namespace + "/" + r.Name).Addr().String()
	case RefNode, RefHost:
		return p.lab.Machine(r.Name).Addr().String()
	case RefTAP:
		return p.lab.TAP(r.Name).Addr().String()
	case RefIP:
		return r.Addr.String()
	case RefService:
		return p.serviceName(r)
	}
	return r.Text
}

// serviceName is what a program would be told to ask for: with the cluster's DNS
// what the scenario says, if that is a name that DNS can know, so that the search
// list does its work; else the whole name.
func (p *player) serviceName(r Ref) string {
	if p.lab.DNS().IsValid() && !strings.Contains(r.Text, "/") {
		return r.Text
	}
	return r.Name + "." + r.Namespace + ".svc" + clusterDomain + "."
}

// finish checks what every verb can expect: the error and the time, and who
// was seen.
func (p *player) finish() {
	r, e := p.result, p.step.Expect
	if p.err != nil {
		r.Error = errorWord(p.err)
		r.Outcome = fmt.Sprintf("%s: %v", r.Error, p.err)
	}
	switch {
	case e.Error.IsSet():
		got := r.Error
		if got == "" {
			got = "no error"
		}
		r.check("error", got, e.Error.Value, r.Error == e.Error.Value)
	case p.err != nil:
		r.check("error", r.Error, "none", false)
	}
	if e.Within.IsSet() {
		r.check("within", r.Took.String(), "at most "+e.Within.Value.String(), r.Took <= e.Within.Value)
	}
	if e.Exactly.IsSet() {
		p.exactly("exactly", r.Took, e.Exactly.Value, e.Exactly.Value.String())
	}
	if e.SourceIP.IsSet() {
		p.checkSource(e.SourceIP)
	}
	p.checkTranslated()
}

// checkSource compares who was seen with who was expected.
func (p *player) checkSource(want Ref) {
	text := p.address(want)
	got := "nobody"
	if seen, ok := p.lab.LastPeer(p.peer); ok && seen.At-p.began >= p.result.Start {
		got = seen.Addr.Addr().String()
	}
	if want.Kind != RefIP {
		text = fmt.Sprintf("%s (%s)", text, want.Text)
	}
	addr, err := p.lab.Resolve(p.address(want))
	p.result.check("sourceIP", got, text, err == nil && got == addr.String())
}

// errorWord names an error in the words of [StepErrors], or "error".
func errorWord(err error) string {
	for _, w := range errorWords {
		if slices.ContainsFunc(w.is, func(f func(error) bool) bool { return f(err) }) {
			return w.word
		}
	}
	return "error"
}
