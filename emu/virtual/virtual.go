// Package virtual runs labs in virtual time outside of tests.
//
//	err := virtual.Run(func(settle func()) error {
//		lab, err := emu.New(emu.Config{Nodes: 2, Settle: settle})
//		...
//	})
//
// Inside Run, time stands still while anything runs and jumps to the next event
// when nothing does. It rests on testing/synctest, which wants a *testing.T; an
// empty one does, and a test of this package guards that.
package virtual

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// StallAfter is how long a bubble may stand still, in real time, before Run
// reports it.
const StallAfter = 20 * time.Second

// Run calls f in a bubble of virtual time and returns its error. Every
// goroutine that f starts must end before Run can return. A panic in f becomes
// an error with its stack, and so does a bubble in which all goroutines wait and
// no event is left that could wake one; the error names them. If the bubble makes
// no progress for StallAfter, because a goroutine in it waits for something that
// is not part of it, a report of those goroutines goes to standard error, once.
func Run(f func(settle func()) error) error { return RunOr(StallAfter, nil, f) }

// RunOr is Run with another time for StallAfter. After the report of a bubble
// that stands still stalled is called, unless it is nil; it may end the process,
// for nothing else can end that bubble.
func RunOr(stallAfter time.Duration, stalled func(), f func(settle func()) error) (err error) {
	var beats atomic.Uint64
	stop := watch(os.Stderr, stallAfter, beats.Load, stalled)
	defer stop()
	var bubble Bubble
	defer func() {
		if p := recover(); p != nil {
			if err = bubble.Deadlock(p); err == nil {
				panic(p)
			}
		}
	}()
	synctest.Test(&testing.T{}, func(*testing.T) {
		bubble.Enter()
		start, wait := time.Now(), NewSettle()
		settle := func() {
			wait()
			beats.Store(uint64(time.Since(start)))
		}
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("virtual: panic: %v\n%s", p, debug.Stack())
			}
		}()
		err = f(settle)
		Linger()
	})
	return err
}

// Stopwatch starts a watch of real time, and returns what reads it. Both calls are
// outside of bubbles: within, time is virtual.
func Stopwatch() (read func() time.Duration) {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// NewSettle returns a function for emu.Config.Settle. It is called inside the
// bubble; all labs of the bubble share it, because only one goroutine at a time
// may be in synctest.Wait.
func NewSettle() func() {
	var callers atomic.Int32
	turn := make(chan struct{}, 1)
	return func() {
		if callers.Add(1) > 1 { // a lab alone in its bubble never waits
			<-turn
		}
		synctest.Wait()
		if callers.Add(-1) > 0 {
			turn <- struct{}{}
		}
	}
}

// Linger lets a second of virtual time pass before a bubble ends, so that
// goroutines that wait for a timer of their own can end too: net/http's server
// waits half a second after some replies. It costs no real time.
func Linger() { time.Sleep(time.Second) }

// Watch looks at a counter from outside the bubble and writes a report to w if
// it has not changed for a while of real time. The caller is outside too, and
// calls stop when the bubble is done.
func Watch(w io.Writer, after time.Duration, beats func() uint64) (stop func()) {
	return watch(w, after, beats, nil)
}

func watch(w io.Writer, after time.Duration, beats func() uint64, stalled func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		last, since := beats(), time.Now()
		tick := time.NewTicker(after / 10)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if now := beats(); now != last {
				last, since = now, time.Now()
			} else if time.Since(since) >= after {
				report(w, after)
				if stalled != nil {
					stalled()
				}
				return
			}
		}
	}()
	return func() { close(done) }
}
