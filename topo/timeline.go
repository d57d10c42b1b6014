package topo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// TimedFault is something that happens to the lab while the steps run.
type TimedFault struct {
	Pos  Pos
	path string // in the file, for messages
	node *yaml.Node
	real Ref // a host that is real, if it names one

	// When it happens first: at a time of the lab's clock, or some time after a
	// step has ended or begun. One of the three is set; of random faults perhaps
	// none, then their window begins with the lab.
	At    Field[time.Duration]
	After Field[StepTime]
	With  Field[StepTime]

	Every Field[time.Duration] // again and again; 0 is once
	Until Field[time.Duration] // no more after this time; not set: while steps run
	For   Field[time.Duration] // undone after this long; not set: it lasts
	Do    Disruption           // nil of random faults

	Random *RandomFaults // instead: faults that are drawn when the scenario is played
}

// Text returns the element of faults as it was written, in one line.
func (f *TimedFault) Text() string { return flowText(oneLine(f.node)) }

// StepTime is some time after a step has ended, or begun.
type StepTime struct {
	Step  string // its name
	Delay time.Duration
}

// A Disruption is an Action that can happen beside the steps, and be undone.
type Disruption interface {
	Action

	// disrupt does it, and returns how to undo it, or nil if it cannot be.
	disrupt(lab *emu.Lab) (undo func() error, err error)
}

// decodeFault reads one element of faults.
func (l *load) decodeFault(d *document, path string, n *yaml.Node) {
	m, ok := l.mapping(d, n, path, slices.Concat([]string{"at", "after", "with", "every", "until", "for"}, faultVerbs, []string{"random"})...)
	if !ok {
		return
	}
	f := TimedFault{
		Pos: d.pos(n), path: path, node: n, At: m.duration("at"), After: m.stepTime("after"), With: m.stepTime("with"),
		Every: m.duration("every"), Until: m.duration("until"), For: m.duration("for"),
	}
	if m.get("random") != nil {
		l.decodeRandom(m, &f)
		l.sc.Faults = append(l.sc.Faults, f)
		return
	}
	var s Step
	for _, v := range verbs {
		if !slices.Contains(faultVerbs, v.word) || mapValue(n, v.word) == nil {
			continue
		}
		if s.Action != nil {
			l.reportAt(d, keyNode(n, v.word), Diagnostic{Rule: "two-verbs", Message: fmt.Sprintf("%s has two verbs, %s and %s, want one", path, s.Verb(), v.word)})
			continue
		}
		v.decode(l, m, &s)
	}
	if s.Exec != nil {
		s.Action = &execFault{s.Exec}
	}
	f.Do, _ = s.Action.(Disruption)
	l.checkFault(m, &f)
	if f.Do != nil {
		l.sc.Faults = append(l.sc.Faults, f)
	}
}

// checkFault finds what is missing or contradicts itself.
func (l *load) checkFault(m mapping, f *TimedFault) {
	report := func(message string) {
		l.reportAt(m.d, m.node, Diagnostic{Rule: "missing-value", Message: m.what + ": " + message})
	}
	starts := 0
	for _, key := range []string{"at", "after", "with"} {
		if m.get(key) != nil {
			starts++
		}
	}
	switch {
	case f.Do == nil && starts > 0:
		report("no verb, want one of " + strings.Join(faultVerbs, ", "))
	case starts != 1:
		report("want one of at, after and with")
	case f.For.IsSet() && f.Do != nil && !undone(f.Do):
		report(f.Do.Verb() + " is not undone, want no for")
	case f.Until.IsSet() && !f.Every.IsSet():
		report("until without every")
	case f.Every.IsSet() && f.Every.Value == 0:
		report("every 0s never ends, want a longer time")
	case f.For.IsSet() && f.Every.IsSet() && f.For.Value >= f.Every.Value:
		report(fmt.Sprintf("happens again every %v, before it is undone after %v", f.Every.Value, f.For.Value))
	}
}

// undone reports whether a disruption can be.
func undone(d Disruption) bool { return d.Verb() != "restart" && d.Verb() != "exec" }

// stepTime decodes "NAME" or "NAME + 2s".
func (m mapping) stepTime(key string) Field[StepTime] {
	return decode(m, key, `a step's name, or "NAME + 2s"`, func(s string) (t StepTime, err error) {
		name, delay, plus := cutLast(s, "+")
		if t.Step = strings.TrimSpace(name); t.Step == "" {
			return t, errors.New("no name")
		}
		if plus {
			t.Delay, err = ParseDuration(strings.TrimSpace(delay))
		}
		return t, err
	})
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// resolveFaults settles every name in the faults.
func (l *load) resolveFaults() {
	var steps []string
	for _, s := range l.sc.Steps {
		if s.Name.IsSet() {
			steps = append(steps, s.Name.Value)
		}
	}
	count := func(name string) (n int) {
		for _, s := range steps {
			if s == name {
				n++
			}
		}
		return n
	}
	for i := range l.sc.Faults {
		f := &l.sc.Faults[i]
		l.real = Ref{}
		switch {
		case f.Do != nil:
			f.Do.resolve(l, f.path+"."+f.Do.Verb())
		case f.Random != nil:
			f.Random.resolve(l)
		}
		f.real = l.real
		for _, t := range []Field[StepTime]{f.After, f.With} {
			if t.IsSet() && count(t.Value.Step) != 1 {
				l.addAt(t.Pos, Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("%d steps have the name %s, want one", count(t.Value.Step), quoted(t.Value.Step)),
					Hint: didYouMean(t.Value.Step, "names of steps", steps)})
			}
		}
	}
}

// A FaultResult is something that happened to the lab beside the steps.
type FaultResult struct {
	Time  time.Duration `json:"time"` // since the steps began
	What  string        `json:"what"`
	Error string        `json:"error,omitempty"`
	Pos   Pos           `json:"position"`
}

// timeline lets faults happen while steps are played.
type timeline struct {
	lab     *emu.Lab
	began   time.Duration // on the lab's clock; times in the scenario and its verdict count from there
	faults  []TimedFault
	stopped atomic.Bool
	running sync.WaitGroup
	steps   map[string]*milestone // by name

	// Guarded by the driver's lock.
	happened []FaultResult
	never    map[int]bool // faults that have not happened
}

// milestone is where faults wait for a step.
type milestone struct {
	at      [2]time.Duration // when it has begun, ended
	has     [2]bool
	waiters [2][]*link.Waiter
}

// startTimeline starts all faults of a run.
func (sc *Scenario) startTimeline(lab *emu.Lab, faults []TimedFault) *timeline {
	t := &timeline{lab: lab, began: lab.Now(), faults: faults, steps: make(map[string]*milestone), never: make(map[int]bool)}
	for i := range sc.Steps {
		t.steps[sc.Steps[i].Name.Value] = &milestone{}
	}
	for i := range faults {
		t.never[i] = true
		t.running.Add(1)
		lab.Go(func() {
			defer t.running.Done()
			t.run(i, &faults[i])
		})
	}
	return t
}

// run is the life of one fault.
func (t *timeline) run(i int, f *TimedFault) {
	start := f.At.Value
	switch {
	case f.After.IsSet():
		start = t.await(f.After.Value.Step, 1) + f.After.Value.Delay
	case f.With.IsSet():
		start = t.await(f.With.Value.Step, 0) + f.With.Value.Delay
	}
	for !f.Until.IsSet() || start <= f.Until.Value {
		if !t.sleepUntil(start) {
			return
		}
		undo, err := f.Do.disrupt(t.lab)
		t.note(i, f, f.Do.title(), err)
		if err == nil && undo != nil && f.For.IsSet() {
			if !t.sleepUntil(start + f.For.Value) {
				return
			}
			t.note(i, f, "undone: "+f.Do.title(), undo())
		}
		if !f.Every.IsSet() {
			return
		}
		start += f.Every.Value
	}
}

// now is the time since the steps began.
func (t *timeline) now() time.Duration { return t.lab.Now() - t.began }

// sleepUntil waits for a time since the steps began, and reports false if they
// have ended.
func (t *timeline) sleepUntil(at time.Duration) bool {
	if left := at - t.now(); left > 0 && !t.stopped.Load() {
		t.lab.Sleep(left)
	}
	return !t.stopped.Load()
}

// await returns when a step has begun (0) or ended (1).
func (t *timeline) await(step string, which int) time.Duration {
	m := t.steps[step]
	w := t.lab.Driver().NewWaiter()
	var already bool
	t.lab.Driver().Do(func() {
		if already = m.has[which]; !already {
			m.waiters[which] = append(m.waiters[which], w)
		}
	})
	if !already {
		w.Wait()
	}
	return m.at[which]
}

// reached tells the faults that wait for it that a step has begun or ended.
func (t *timeline) reached(step string, which int) {
	m := t.steps[step]
	t.lab.Driver().Do(func() {
		m.at[which], m.has[which] = t.lab.Driver().Now()-t.began, true
		for _, w := range m.waiters[which] {
			w.Wake()
		}
	})
	if len(m.waiters[which]) > 0 {
		t.lab.Sleep(0) // what is to happen at once happens before anything else
	}
}

func (t *timeline) note(i int, f *TimedFault, what string, err error) {
	t.lab.Driver().Do(func() {
		r := FaultResult{Time: t.lab.Driver().Now() - t.began, What: what, Pos: f.Pos}
		if err != nil {
			r.Error = err.Error()
		}
		t.happened = append(t.happened, r)
		delete(t.never, i)
	})
}

// stop ends all faults: no more happen. Those that sleep end when the lab is
// closed.
func (t *timeline) stop() { t.stopped.Store(true) }

// results returns what happened, and what should have and did not.
func (t *timeline) results() []FaultResult {
	var out []FaultResult
	t.lab.Driver().Do(func() {
		out = append(out, t.happened...)
		for i := range t.faults {
			if f := &t.faults[i]; t.never[i] {
				out = append(out, FaultResult{Time: t.lab.Driver().Now() - t.began, What: f.Do.title(), Pos: f.Pos, Error: "did not happen: the steps ended before"})
			}
		}
	})
	return out
}
