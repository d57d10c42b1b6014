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
//
// # What is exact
//
// Frames, timers of TCP and of daemons, Lab.Sleep and deadlines happen at their
// nanosecond, however slow or busy the machine is. Computing takes no time, unless
// the lab has a CPU model. The events of one instant have an order of their own:
// first what takes no time (a veth pair, a bridge, a host that answers), as it was
// set off; then gVisor's share of it; then the goroutines that were woken by it,
// one by one, each after the one before waits again; then the next timer or frame
// of that instant, by the number of the device or host that it belongs to, and by
// age. A Lab.Sleep that is over comes last of all.
//
// Where only the lab itself has something to do next, and no goroutine and no timer of
// package time, its driver moves the bubble's clock without the runtime (see package
// internal/bubble). Nothing can tell the difference but a stopwatch.
//
// With the same seed and the same calls, a lab gives the same packets with the
// same times, in a capture the same bytes. It does not matter how many CPUs there
// are. The tests of package emu hold this against a second engine, which does
// without testing/synctest: link.DriverConfig.ByHand, under which goroutines take
// turns, and need not be observed to be idle. They do so for flows of all kinds,
// faults while those run, Services in all modes of kube-proxy, docker-proxy, DNS,
// BGP and the CPU model. What they cannot hold against it is what net/http's
// servers do, the one of a pod's port and that of health checks: these start
// goroutines of their own, and the second engine runs only those that the lab has
// started. Its clock is a number, so that leaps are held against it too. In what both
// engines have in common, the order within an instant and how the work of gVisor's
// processors is waited for or done in their place, neither is a judge of the other;
// tests of package stack are.
//
// # What is not
//
// These are outside of that order; the packets stay right, and their times exact,
// but another run may have others:
//
//   - Goroutines of one's own that act in the same instant: started with the go
//     statement, or woken by a channel, a mutex or a sync.WaitGroup. Start them with
//     Lab.Go and let them wait for the lab: for sockets and Lab.Sleep, and for each
//     other with a link.Group.
//   - Timers of package time, and with them contexts with a timeout: they fire at
//     the right time, but beside the lab's events of that instant instead of among
//     them. Use Lab.Sleep, Lab.Deadline and Lab.WithTimeout.
//   - Whatever differs by itself: the order of a map, math/rand without a seed,
//     crypto/rand and with it TLS.
//
// Goroutines may wait for the lab, for time, and for channels, sync.WaitGroup and
// sync.Cond that were made inside Run. While one waits for something else (a
// mutex, a file, a process, the machine's network, a channel made outside) time
// stands still; if that lasts, a report names it. Time spent on it does not
// exist for the lab.
//
// # Real time
//
// A lab without Settle runs on the machine's clock. Its wires, hosts and designs
// are the same, and so is what each does with a packet. But an event is as late as
// the scheduler of the machine makes it, computing takes the time that it takes,
// goroutines and gVisor run beside the driver in any order, and so two runs
// differ. The losses of a wire are drawn in the order of its frames: they hit the
// same ones only as long as the traffic is the same. Real time is there to join
// the kernel of the machine, and programs that are no part of the lab.
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
