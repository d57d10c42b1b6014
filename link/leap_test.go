package link

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// settles returns how often the driver settles while an event happens each
// microsecond of 10 ms, and so the bubble's goroutines are waited for.
func settles(t *testing.T, beside func(d *Driver)) int {
	t.Helper()
	var n atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		d := NewDriver(DriverConfig{Settle: func() { n.Add(1); synctest.Wait() }})
		defer d.Close()
		events := 0
		d.Sleep(0)
		n.Store(0)
		d.Do(func() {
			d.Every(time.Microsecond, func() time.Duration {
				if events++; time.Since(d.Epoch()) != d.Now() {
					t.Fatalf("event %d at %v, and the bubble's clock is at %v", events, d.Now(), time.Since(d.Epoch()))
				}
				return time.Microsecond
			})
		})
		beside(d)
		d.Sleep(10 * time.Millisecond)
		equal(t, "events", events, 9999) // the one of the last instant has its turn after the sleeper
	})
	return int(n.Load())
}

// Time that only the driver has something to do in passes without the runtime, but
// now and then it has its turn.
func TestTimeLeaps(t *testing.T) {
	if n := settles(t, func(*Driver) {}); n < 9 || n > 30 {
		t.Errorf("10,000 events settled %d times, want about one in %d", n, mostLeaps)
	}
}

// Two drivers of one bubble do not know of each other's instants.
func TestTwoDriversDoNotLeap(t *testing.T) {
	n := settles(t, func(d *Driver) {
		other := NewDriver(DriverConfig{Settle: func() {}})
		d.Go(func() {
			d.Sleep(10 * time.Millisecond)
			other.Close()
		})
	})
	if n < 9999 {
		t.Errorf("10,000 events settled %d times, want each", n)
	}
}

// Goroutines that are not the driver's find its time where theirs is: those that a
// timer wakes, and those that an event does.
func TestNobodyIsLeaptOver(t *testing.T) {
	settles(t, func(d *Driver) {
		at := func(what string, want time.Duration) {
			t.Helper()
			if passed := time.Since(d.Epoch()); passed != want {
				t.Errorf("%s: woke at %v, want %v", what, passed, want)
			}
			d.Do(func() {
				if d.Now() != want {
					t.Errorf("%s: the driver is at %v, want %v", what, d.Now(), want)
				}
			})
		}
		d.Go(func() {
			for i := range time.Duration(90) {
				time.Sleep(100*time.Microsecond + 1)
				at("sleep", (i+1)*(100*time.Microsecond+1))
			}
		})
		ch := make(chan time.Duration)
		d.Go(func() {
			for now := range ch {
				at("channel", now)
			}
		})
		d.Do(func() {
			n := 0
			d.Every(300*time.Nanosecond, func() time.Duration {
				if n++; n == 1000 {
					close(ch)
					return -1
				}
				ch <- d.Now()
				return 300 * time.Nanosecond
			})
		})
		time.AfterFunc(5000_500*time.Nanosecond, func() { at("function", 5000_500*time.Nanosecond) })
	})
}

// Who is told something and does not wait for it is not waited for, and still hears
// of it.
func TestNobodyIsSettledFor(t *testing.T) {
	n := settles(t, func(d *Driver) {
		w := d.NewWaiter()
		d.Do(func() {
			d.Every(time.Microsecond, func() time.Duration {
				w.Wake()
				return time.Microsecond
			})
		})
		d.Go(func() {
			d.Sleep(5 * time.Millisecond)
			w.Wait()
			d.Do(func() { equal(t, "time", d.Now(), 5*time.Millisecond) })
		})
	})
	if n > 40 {
		t.Errorf("10,000 calls of Wake settled %d times, want a few", n)
	}
}
