package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// within runs f in a bubble of its own with the bubble's clock.
func within(t *testing.T, f func(t *testing.T, c *Clock)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := Own()
		if c == nil {
			t.Fatalf("the clock of a bubble is not known to %s: time in virtual labs passes more slowly. Compare the types in runtime_go126.go with synctestBubble, timers and timer of the new runtime, and add a file for its version", runtime.Version())
		}
		defer c.Release()
		synctest.Wait()
		f(t, c)
	})
}

func TestLeapMovesTheClock(t *testing.T) {
	within(t, func(t *testing.T, c *Clock) {
		start := time.Now()
		for i := range 1000 {
			if !c.Leap(time.Duration(i)) {
				t.Fatal("no leap, though nothing else runs")
			}
		}
		if got := time.Since(start); got != 499500 {
			t.Errorf("%d ns have passed, want 499500", got)
		}
		time.Sleep(time.Millisecond)
		if got := time.Since(start); got != 499500+time.Millisecond {
			t.Errorf("after a sleep, %v have passed, want 1.4995ms", got)
		}
		if c.Leap(-1) || c.Leap(1<<63-1) {
			t.Error("a leap into the past, or beyond the end of time")
		}
	})
}

// What another goroutine waits for is not leapt over, and it wakes on time.
func TestTimersAreNotLeaptOver(t *testing.T) {
	for name, wait := range map[string]func(time.Duration){
		"sleep":   time.Sleep,
		"channel": func(d time.Duration) { <-time.After(d) },
		"select": func(d time.Duration) {
			select {
			case <-time.After(d):
			case <-time.After(time.Hour):
			}
		},
		"function": func(d time.Duration) {
			done := make(chan struct{})
			time.AfterFunc(d, func() { close(done) })
			<-done
		},
		"reset": func(d time.Duration) {
			timer := time.NewTimer(time.Hour)
			go func() { timer.Reset(d) }()
			<-timer.C
		},
		"ticker": func(d time.Duration) {
			ticker := time.NewTicker(d)
			defer ticker.Stop()
			<-ticker.C
		},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(t *testing.T, c *Clock) {
				start := time.Now()
				var woke time.Duration
				go func() {
					wait(10)
					woke = time.Since(start)
				}()
				synctest.Wait()
				switch {
				case !c.Leap(9):
					t.Error("no leap to before the timer's end")
				case c.Leap(1), c.Leap(2), c.Leap(time.Minute):
					t.Error("leapt to or over the end of a timer")
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if woke != 10 {
					t.Errorf("it woke after %d ns, want 10", woke)
				}
				time.Sleep(10 * time.Nanosecond) // the runtime forgets a stopped ticker when it would have ticked
				synctest.Wait()
				if !c.Leap(time.Minute) {
					t.Error("no leap when the timer is done")
				}
			})
		})
	}
}

// A goroutine that can run, or that waits for something outside of the bubble, is
// waited for.
func TestGoroutinesAreNotLeftBehind(t *testing.T) {
	var outside sync.Mutex
	outside.Lock()
	within(t, func(t *testing.T, c *Clock) {
		ch := make(chan struct{})
		go func() { <-ch }()
		synctest.Wait()
		if !c.Leap(1) {
			t.Error("no leap, though the goroutine is blocked")
		}
		close(ch)
		if c.Leap(1) {
			t.Error("a leap, though the goroutine can run")
		}
		synctest.Wait()
		if !c.Leap(1) {
			t.Error("no leap, though the goroutine has ended")
		}
		go func() { outside.Lock() }()
		for range 100 {
			runtime.Gosched()
			if c.Leap(1) {
				t.Fatal("a leap, though a goroutine waits for a mutex")
			}
		}
		outside.Unlock()
	})
}

// Who is in synctest.Wait gets the instant that it waited for.
func TestWaitIsNotLeftBehind(t *testing.T) {
	within(t, func(t *testing.T, c *Clock) {
		start := time.Now()
		var settled time.Duration = -1
		ch := make(chan struct{})
		go func() {
			synctest.Wait()
			settled = time.Since(start)
			close(ch)
		}()
		for !c.waiting {
			runtime.Gosched()
		}
		if c.Leap(5) {
			t.Error("a leap, though another goroutine waits for all to settle")
		}
		<-ch
		if settled != 0 {
			t.Errorf("it came back after %v, want at once", settled)
		}
	})
}

// Two that may move one clock do not know of each other's plans.
func TestTwoDoNotLeap(t *testing.T) {
	within(t, func(t *testing.T, c *Clock) {
		other := Own()
		if c.Leap(1) || other.Leap(1) {
			t.Error("a leap, though two have the clock")
		}
		other.Release()
		if !c.Leap(1) {
			t.Error("no leap, though the other has given its clock back")
		}
	})
	if n := len(clocks.of); n != 0 {
		t.Errorf("%d clocks on record, want none", n)
	}
}

func TestNoBubble(t *testing.T) {
	c := Own()
	if c != nil {
		t.Error("a clock outside of any bubble")
	}
	if c.Leap(1) {
		t.Error("a leap without a clock")
	}
	c.Release()
}
