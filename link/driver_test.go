package link

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSimultaneousEventsHaveAnOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		var got []string
		say := func(s string) func() { return func() { got = append(got, s) } }
		d.Do(func() {
			low, high := d.NewSource(), d.NewSource()
			d.AfterFunc(high, time.Second, say("high 1"))
			d.AfterFunc(low, time.Second, say("low 1"))
			d.AfterFunc(high, time.Second, say("high 2"))
			d.AfterFunc(low, time.Second, say("low 2"))
			d.AfterFunc(high, time.Second-1, say("earlier"))
			d.AfterFunc(low, 0, say("at once"))
			d.AfterFunc(low, -time.Hour, say("in the past: at once too"))
		})
		d.Sleep(time.Second)
		want(t, "by time, source, and order of the calls", got,
			"at once", "in the past: at once too", "earlier", "low 1", "low 2", "high 1", "high 2")
	})
}

// TestOneInstant: zero-delay work, then idle work, then goroutines, then the
// next event of the instant.
func TestOneInstant(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		var got []string
		say := func(s string) func() { return func() { got = append(got, s) } }
		var w *Waiter
		d.Do(func() {
			w = d.NewWaiter()
			d.AfterFunc(1, time.Second, func() {
				w.Wake()
				d.WhenIdle(func() {
					say("idle 1")()
					d.Soon(say("soon 3"))
				})
				d.Soon(func() { say("soon 1")(); d.Soon(say("soon 2")) })
				say("event 1")()
			})
			d.AfterFunc(2, time.Second, say("event 2"))
		})
		done := make(chan struct{})
		go func() {
			w.Wait()
			d.Do(say("goroutine"))
			close(done)
		}()
		<-done
		d.Sleep(0)
		want(t, "order", got, "event 1", "soon 1", "soon 2", "idle 1", "soon 3", "goroutine", "event 2")
	})
}

// TestSleepersComeLast: Sleep(0) waits for all that happens at this instant.
func TestSleepersComeLast(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		var got []string
		d.Do(func() {
			d.AfterFunc(1, 0, func() { d.AfterFunc(1<<31, 0, func() { got = append(got, "late source") }) })
		})
		d.Sleep(0)
		want(t, "before Sleep returns", got, "late source")
	})
}

// TestGoroutinesTakeTurns: those that wake at one instant run one by one, each
// until it blocks, in the order in which they went to sleep.
func TestGoroutinesTakeTurns(t *testing.T) {
	for range 5 {
		inBubble(t, func(t *testing.T, d *Driver) {
			var mu sync.Mutex
			var got []string
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Add(1)
				d.Go(func() {
					defer wg.Done()
					for round := range 3 {
						d.Sleep(time.Second)
						mu.Lock()
						got = append(got, fmt.Sprint(round, ".", i, " at ", d.now))
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			n := 0
			for round := range 3 {
				for i := range 20 {
					equal(t, "turn", got[n], fmt.Sprint(round, ".", i, " at ", time.Duration(round+1)*time.Second))
					n++
				}
			}
		})
	}
}

func TestVirtualTimeIsExact(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		start := time.Now()
		for _, delay := range []time.Duration{1, 999, 123456789, 300 * time.Hour} {
			before := d.now
			d.Sleep(delay)
			equal(t, "slept", d.now-before, delay)
			equal(t, "the bubble's clock", time.Since(start), d.now)
		}
		if !d.Virtual() {
			t.Error("the driver does not say that it is virtual")
		}
	})
}

// TestTimersProperty compares the heap with a list that is sorted at each step.
func TestTimersProperty(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	d := &Driver{}
	var timers []*Timer
	fired := -1
	for i := range 200 {
		timers = append(timers, &Timer{drv: d, source: uint32(i % 3), index: -1, f: func() { fired = i }})
	}
	at := make(map[int]event) // what should be waiting
	var seq uint64
	for step := range 100000 {
		i := rng.IntN(len(timers))
		switch rng.IntN(4) {
		case 0, 1:
			delay := time.Duration(rng.IntN(50))
			timers[i].Reset(delay)
			seq++
			at[i] = event{at: d.now + delay, source: timers[i].source, seq: seq}
		case 2:
			_, waiting := at[i]
			if got := timers[i].Stop(); got != waiting {
				t.Fatalf("step %d: Stop of timer %d: got %v, want %v", step, i, got, waiting)
			}
			delete(at, i)
		case 3:
			if len(at) == 0 {
				continue
			}
			first := firstOf(at)
			d.now = d.heap.next()
			d.heap.pop().fire(d)
			if fired != first {
				t.Fatalf("step %d: timer %d fired, want %d", step, fired, first)
			}
			delete(at, first)
		}
		if len(d.heap.list) != len(at) {
			t.Fatalf("step %d: %d timers wait, want %d", step, len(d.heap.list), len(at))
		}
		for i, tm := range timers {
			if _, waiting := at[i]; waiting != (tm.index >= 0) || waiting && d.heap.list[tm.index].timer != tm {
				t.Fatalf("step %d: timer %d has lost its place", step, i)
			}
		}
	}
}

func firstOf(at map[int]event) int {
	best := -1
	for i, e := range at {
		if o := at[best]; best < 0 || e.before(&o) {
			best = i
		}
	}
	return best
}

func TestTimerBeyondTheClock(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		d.Sleep(time.Second)
		d.Do(func() {
			tm := d.AfterFunc(0, 1<<63-1, func() { t.Error("fired") })
			if next := d.heap.next(); next < 0 || next == forever {
				t.Errorf("waits for %v", next)
			}
			tm.Stop()
		})
	})
}

func TestWakeBeforeWait(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWaiter()
		d.Do(func() { w.Wake(); w.Wake() })
		d.Sleep(0)
		w.Wait() // was woken already
		woken := false
		d.Do(func() { d.AfterFunc(0, time.Second, func() { woken = true; w.Wake() }) })
		w.Wait()
		equal(t, "two wakes are one", woken, true)
	})
}

func TestCloseReleasesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDriver(DriverConfig{Settle: synctest.Wait})
		var wg sync.WaitGroup
		for _, f := range []func(){
			func() { d.NewWaiter().Wait() },
			func() { d.Sleep(time.Hour) },
			func() { w := d.NewWaiter(); d.Do(w.Wake); w.Wait() },
		} {
			wg.Go(f)
		}
		fired := false
		d.Do(func() { d.AfterFunc(0, time.Minute, func() { fired = true }) })
		d.Sleep(time.Second)
		d.Close()
		d.Close()
		wg.Wait()
		time.Sleep(time.Hour)
		ran := false
		d.Do(func() { ran = true; d.Soon(func() { fired = true }) })
		equal(t, "Do after Close runs", ran, true)
		equal(t, "what was to happen later", fired, false)
		d.Do(func() { equal(t, "closed", d.Closed(), true) })
		var w *Waiter
		d.Do(func() { w = d.NewWaiter(); w.Wake() })
		w.Wait()
		d.Go(func() {})
	})
}

// TestRealTime: the same loop without a bubble. Delays are lower bounds.
func TestRealTime(t *testing.T) {
	d := NewDriver(DriverConfig{})
	defer d.Close()
	var order []string
	done := make(chan struct{})
	d.Do(func() {
		start := d.Now()
		d.AfterFunc(0, 2*time.Millisecond, func() {
			if d.Now()-start < 2*time.Millisecond {
				t.Errorf("fired after %v, want 2 ms or more", d.Now()-start)
			}
			order = append(order, "later")
			close(done)
		})
		d.AfterFunc(0, time.Millisecond, func() { order = append(order, "earlier") })
		for range 3 * yieldEvery { // more than one turn of the loop
			d.Soon(func() {})
		}
	})
	<-done
	d.Do(func() { want(t, "order", order, "earlier", "later") })
	equal(t, "virtual", d.Virtual(), false)
}

func TestBeatMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		before := d.Beat()
		d.Sleep(time.Second)
		if d.Beat() == before {
			t.Error("the driver worked and its beat stood still")
		}
	})
}

func BenchmarkTimer(b *testing.B) {
	d := &Driver{}
	timers := make([]*Timer, 1000)
	for i := range timers {
		timers[i] = &Timer{drv: d, index: -1, f: func() {}}
		timers[i].Reset(time.Duration(i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		timers[i%1000].Reset(time.Duration(i*7919) % 100000)
	}
}

// A handler runs where a goroutine would be let go: in its turn, and after the
// events of the instant.
func TestHandlersTakeTheirTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		var order []string
		first := d.NewHandler(func() { order = append(order, "handler") })
		w := d.NewWaiter()
		d.Go(func() {
			w.Wait()
			d.Do(func() { order = append(order, "goroutine") })
		})
		d.Sleep(0)
		d.Do(func() {
			first.Wake()
			first.Wake() // once is enough
			w.Wake()
			d.Soon(func() { order = append(order, "event") })
		})
		d.Sleep(0)
		if want := []string{"event", "handler", "goroutine"}; !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
	})
}

// Every is a goroutine that sleeps between calls, without one.
func TestEveryKeepsExactTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		var at []time.Duration
		d.Do(func() {
			d.Every(2*time.Second, func() time.Duration {
				if at = append(at, d.Now()); len(at) == 3 {
					return -1
				}
				return time.Duration(len(at)) * time.Second
			})
		})
		d.Sleep(time.Minute)
		if want := []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("called at %v, want %v", at, want)
		}
	})
}
