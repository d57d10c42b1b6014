package topo

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/podwire/podwire/emu"
)

// Lateness is how late the machine was while the steps were played in real time:
// how much longer than asked for a goroutine of the lab slept. What the lab does
// is late by as much.
type Lateness struct {
	Median time.Duration `json:"median"`
	Max    time.Duration `json:"max"`
}

// latenessEvery is how long it sleeps.
const latenessEvery = 5 * time.Millisecond

// measureLateness begins to look. In virtual time there is nothing to see, and the
// result is nil.
func measureLateness(lab *emu.Lab) (stop func() *Lateness) {
	if lab.Driver().Virtual() {
		return func() *Lateness { return nil }
	}
	var stopped atomic.Bool
	var late []time.Duration
	done := make(chan struct{})
	lab.Go(func() {
		defer close(done)
		for !stopped.Load() {
			start := lab.Now()
			lab.Sleep(latenessEvery)
			late = append(late, max(0, lab.Now()-start-latenessEvery))
		}
	})
	return func() *Lateness {
		stopped.Store(true)
		<-done
		if len(late) == 0 {
			return nil
		}
		slices.Sort(late)
		return &Lateness{Median: late[len(late)/2], Max: late[len(late)-1]}
	}
}

// String is the lateness in words.
func (l *Lateness) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("this machine was up to %v late, and by the median %v", round(l.Max), round(l.Median))
}

// exactly checks a time that is known to the nanosecond. In real time nothing
// happens too early, and how late it is depends on the machine: then this is all
// that is checked.
func (p *player) exactly(what string, got, want time.Duration, text string) {
	if p.lab.Driver().Virtual() {
		p.result.check(what, got.String(), text, got == want)
		return
	}
	p.result.check(what, got.String(), text+" or, in real time, later", got >= want)
}
