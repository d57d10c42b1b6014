// Package bubble moves the clock of a bubble of testing/synctest.
//
// In a bubble time jumps to the next timer when every goroutine is blocked. The
// runtime does that with a goroutine of its own: who waits for the timer is parked,
// that one scheduled, the timer run, the first scheduled again, and once more for
// synctest.Wait. It takes more than a microsecond, for every event of an emulated
// network. But when one goroutine alone decides what happens next, nothing comes of
// it all but a larger number in the bubble's clock. A [Clock] looks whether this is
// so, and then moves the clock on the spot.
//
// The runtime has no interface for that. This package reads the runtime's own
// structures, and so it knows only the versions of Go that its files have build tags
// for; with another it finds no clock, and time jumps as the runtime does it, to the
// same instants. What it finds is compared with what is known about the bubble
// before it is used.
package bubble

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Clock is the clock of one bubble. A nil Clock never leaps.
type Clock struct {
	*state
	users atomic.Int32
}

// clocks are those in use.
var clocks struct {
	sync.Mutex
	of map[*state]*Clock
}

// Own returns the clock of the bubble that the caller is in, or nil if it is in none
// or the runtime is not known. Who gets a clock gives it back with [Clock.Release].
func Own() *Clock {
	b := find()
	if b == nil {
		return nil
	}
	clocks.Lock()
	defer clocks.Unlock()
	c := clocks.of[b]
	if c == nil {
		if clocks.of == nil {
			clocks.of = make(map[*state]*Clock)
		}
		c = &Clock{state: b}
		clocks.of[b] = c
	}
	c.users.Add(1)
	return c
}

// Release gives the clock back.
func (c *Clock) Release() {
	if c == nil {
		return
	}
	clocks.Lock()
	defer clocks.Unlock()
	if c.users.Add(-1) == 0 {
		delete(clocks.of, c.state)
	}
}

// Leap moves the bubble's clock on by d and reports whether it did. It does so only
// if the caller, going to sleep for d and then into synctest.Wait, would come back
// from both with nothing else having run: every other goroutine of the bubble is
// durably blocked and stays so, because no timer of the bubble ends before or at that
// time. The caller has no timer in the bubble that waits, and is the only one that
// has this clock; otherwise there is no leap.
func (c *Clock) Leap(d time.Duration) bool {
	if c == nil || d < 0 || c.users.Load() != 1 || !c.alone() {
		return false
	}
	next := c.now + int64(d)
	if next < c.now { // beyond the clock's range
		return false
	}
	if w := c.timers.wakeTime(); w != 0 && w <= next {
		return false
	}
	c.now = next
	return true
}
