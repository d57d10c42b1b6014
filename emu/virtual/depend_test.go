package virtual

import (
	"os/exec"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What virtual time takes for granted of testing/synctest and package testing. Most
// of it is documented, and the rest has no promise at all. If a release of Go does
// otherwise, it is found here, with what rests on it.

// TestRunOutsideOfTests: an empty testing.T is good enough where no test runs and
// testing's flags do not exist.
func TestRunOutsideOfTests(t *testing.T) {
	out, err := exec.Command("go", "run", "./testdata/program").CombinedOutput()
	want := "slept 1000h0m0s\nan error\nslept 1000h0m0s\nan error\nvirtual: panic: a panic\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, output\n%s\nwant\n%s\nsynctest.Test wants more of its testing.T than RunOr gives it: look at testingSynctestTest and tRunner in Go's testing/testing.go, and what they read of T. If nothing can be done, commands have to run as test binaries (go test -c)", err, out, want)
	}
}

// TestBubbleBegins: link's driver by hand has its calendar from here, and sequence
// numbers and time stamps depend on it.
func TestBubbleBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got, want := time.Now(), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC); !got.Equal(want) {
			t.Errorf("a bubble's time begins at %v, want %v: change byHandEpoch in link/byhand.go, and expect other captures", got, want)
		}
	})
}

// TestWaitWaitsForAll: Wait comes back when all that others set off has ended or is
// blocked, and not before; time stands still until then. The driver's loop takes it
// for the end of what its last event set off.
func TestWaitWaitsForAll(t *testing.T) {
	const look = "link.Driver.loop goes on to the next event when settle returns: look at what synctest documents as durably blocking"
	for name, set := range map[string]func(note func(string)) (free func()){
		"goroutines that start others": func(note func(string)) func() {
			var start func(n int)
			start = func(n int) {
				if n == 0 {
					note("done")
					return
				}
				go start(n - 1)
			}
			go start(100)
			return nil
		},
		"a chain of channels": func(note func(string)) func() {
			first := make(chan int)
			last := first
			for range 100 {
				in, out := last, make(chan int)
				last = out
				go func() { out <- <-in + 1 }()
			}
			go func() {
				if <-last == 100 {
					note("done")
				}
			}()
			first <- 0
			return nil
		},
		"mutexes, which do not count as blocked": func(note func(string)) func() {
			var mu sync.Mutex
			left := 10
			for range 10 {
				go func() {
					mu.Lock()
					defer mu.Unlock()
					if left--; left == 0 {
						note("done")
					}
				}()
			}
			return nil
		},
		"a goroutine that then blocks": func(note func(string)) func() {
			var wg sync.WaitGroup
			cond := sync.NewCond(new(sync.Mutex))
			free := make(chan struct{})
			wg.Add(1)
			go func() { wg.Wait() }()
			go func() {
				cond.L.Lock()
				defer cond.L.Unlock()
				cond.Wait()
			}()
			go func() {
				select {
				case <-free:
				case <-make(chan struct{}):
				}
			}()
			go func() {
				note("done")
				<-free
			}()
			return func() {
				close(free)
				wg.Done()
				cond.Broadcast()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var did []string
				start := time.Now()
				free := set(func(what string) { did = append(did, what) })
				synctest.Wait()
				if !slices.Equal(did, []string{"done"}) || time.Since(start) != 0 {
					t.Errorf("when Wait returned, after %v, they had done %q, want all and at once; %s", time.Since(start), did, look)
				}
				if free != nil {
					free()
				}
			})
		})
	}
}

// TestTimeJumpsToTheNextTimer: the driver waits for a timer of its own, which another
// goroutine may move to now (Driver.rouse).
func TestTimeJumpsToTheNextTimer(t *testing.T) {
	const look = "link.Driver.loop and rouse wait with a timer of the bubble and set it again: look at how timers of a bubble fire"
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		timer := time.NewTimer(time.Hour)
		defer timer.Stop()
		for range 3 {
			timer.Reset(7 * time.Nanosecond)
			if at := <-timer.C; at.Sub(start)%7 != 0 || time.Since(start) != at.Sub(start) {
				t.Errorf("a timer of 7 ns fired %v after the start and said %v; %s", time.Since(start), at.Sub(start), look)
			}
		}
		timer.Reset(time.Hour)
		go func() {
			time.Sleep(time.Second)
			timer.Reset(0)
		}()
		<-timer.C
		if got := time.Since(start); got != time.Second+21 {
			t.Errorf("a timer that was moved to now fired at %v, want 1.000000021s; %s", got, look)
		}
		timer.Reset(0) // fires, and is not received
		synctest.Wait()
		timer.Reset(time.Minute)
		<-timer.C
		if got := time.Since(start); got != time.Minute+time.Second+21 {
			t.Errorf("a timer that had fired and was set again fired at %v, want 1m1.000000021s; %s", got, look)
		}
	})
}

// TestSettleIsShared: only one goroutine of a bubble may be in synctest.Wait, and
// several labs of one have a driver each.
func TestSettleIsShared(t *testing.T) {
	err := Run(func(settle func()) error {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				for range 20 {
					settle()
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		return nil
	})
	if err != nil {
		t.Errorf("%v: NewSettle lets one at a time into synctest.Wait; look at what else that wants", err)
	}
}
