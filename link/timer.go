package link

import (
	"sync/atomic"
	"time"
)

// A Timer calls a function at a time of the driver's clock, with the driver's
// lock held. Its methods want the lock too. Create it with [Driver.AfterFunc].
type Timer struct {
	drv    *Driver
	source uint32
	index  int // in the heap, -1 when not waiting
	f      func()
}

// AfterFunc calls f once, after delay; with no or a negative delay, at this
// instant but after what is running now. Source orders it among simultaneous
// events, see [Driver.NewSource].
func (d *Driver) AfterFunc(source uint32, delay time.Duration, f func()) *Timer {
	t := &Timer{drv: d, source: source, index: -1, f: f}
	t.Reset(delay)
	return t
}

// Stop prevents the call. It reports whether the timer was still waiting.
func (t *Timer) Stop() bool {
	if t.index < 0 {
		return false
	}
	t.drv.heap.remove(t.index)
	return true
}

// Reset makes the timer wait for delay from now, whether it was waiting or not.
func (t *Timer) Reset(delay time.Duration) {
	t.Stop()
	at := t.drv.now + max(0, delay)
	if at < t.drv.now {
		at = forever - 1 // a delay beyond the clock's range
	}
	t.drv.heap.push(event{at: at, source: t.source, timer: t})
}

// At returns when the timer calls its function, on the driver's clock; the time
// at hand if it is not waiting.
func (t *Timer) At() time.Duration {
	if t.index < 0 {
		return t.drv.now
	}
	return t.drv.heap.list[t.index].at
}

// A Waiter is where one goroutine waits for the network: the bridge between
// the driver's events and blocking calls. The zero value is not usable; see
// [Driver.NewWaiter].
type Waiter struct {
	drv    *Driver
	ch     chan struct{}
	handle func() // instead of a goroutine, see NewHandler
	queued bool
	within atomic.Bool // a goroutine is in Wait
	hand   string      // of a driver by hand: the goroutine that waits
	urgent bool        // likewise: to be let go before anything else
}

// NewWaiter returns a waiter. It must be made inside the bubble, if there is one.
func (d *Driver) NewWaiter() *Waiter {
	w := &Waiter{drv: d, ch: make(chan struct{}, 1)}
	return w
}

// NewHandler returns a waiter that calls f where another would let a goroutine
// go: in its turn, after the events of the instant, and with the driver's lock
// held. It does what a goroutine would that calls f and waits again, without the
// cost of one. Nobody calls its Wait. F must not block, and may be called when
// nothing has changed.
func (d *Driver) NewHandler(f func()) *Waiter { return &Waiter{drv: d, handle: f} }

// Wake lets the goroutine in Wait go, or the next one that comes. Goroutines
// are let go one by one, each after the one before it has blocked again, so
// that they act in a repeatable order. The caller holds the driver's lock; in
// real time, where there is no such order, it need not.
func (w *Waiter) Wake() {
	if w.drv.settle == nil {
		w.signal()
		return
	}
	if w.queued {
		return
	}
	if w.drv.closed.Load() {
		if w.handle == nil {
			w.release()
		}
		return
	}
	w.queued = true
	w.drv.wakes.push(w)
}

// WakeNow lets the goroutine go at once. It is for what one goroutine of the
// application tells another (a deadline that has passed, a socket closed under
// a reader): if the network went on in between or not would depend on whether
// the other one had already begun to wait.
func (w *Waiter) WakeNow() {
	if w.handle != nil {
		w.Wake()
		return
	}
	if w.drv.byHand && !w.drv.closed.Load() {
		w.queued, w.urgent = true, true
		w.drv.wakes.unpop(w) // it goes on as soon as the caller waits
		return
	}
	w.signal()
}

func (w *Waiter) release() {
	w.queued, w.urgent = false, false
	if w.hand != "" {
		w.drv.hand, w.hand = w.hand, ""
	}
	w.signal()
}

func (w *Waiter) signal() {
	if w.handle != nil {
		w.drv.Post(w.handle)
		return
	}
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// Wait blocks until Wake has been called since the last Wait returned, or the
// driver is closed. The caller does not hold the lock.
func (w *Waiter) Wait() {
	if w.drv.byHand {
		w.drv.runUntil(w)
		return
	}
	w.within.Store(true)
	select {
	case <-w.ch:
	case <-w.drv.done:
	}
	w.within.Store(false)
}

// wakeNext lets the next goroutine go and reports that, or calls a handler. Where no
// goroutine waits, as for room in a socket that has never been full, there is nobody
// to settle for.
func (d *Driver) wakeNext() (goroutine bool) {
	w := d.wakes.pop()
	if w.handle == nil {
		goroutine = d.byHand || w.within.Load()
		w.release()
		return goroutine
	}
	w.queued = false
	w.handle()
	return false
}

// releaseWaiters lets everybody go when the driver ends.
func (d *Driver) releaseWaiters() {
	for d.wakes.len() > 0 {
		if w := d.wakes.pop(); w.handle == nil {
			w.release()
		}
	}
}

// sleepers is the source of the events that end a Sleep: the last of all.
const sleepers = 1<<32 - 1

// sleeper is what a goroutine in Sleep waits with. They are used again.
type sleeper struct {
	wait  *Waiter
	timer *Timer
}

// Sleep blocks the calling goroutine for a time of the driver's clock. Unlike
// time.Sleep it takes its place among simultaneous events by the rule of the
// driver, not by chance: after everything that the network does at that
// instant, so that Sleep(0) waits for it. It returns early if the driver is
// closed.
func (d *Driver) Sleep(delay time.Duration) {
	d.lock("Sleep")
	d.readClock()
	var s *sleeper
	if n := len(d.awake); n > 0 {
		s, d.awake = d.awake[n-1], d.awake[:n-1]
		s.timer.Reset(delay)
	} else {
		s = &sleeper{wait: d.NewWaiter()}
		s.timer = d.AfterFunc(sleepers, delay, s.wait.Wake)
	}
	d.unlockAndKick()
	s.wait.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed.Load() { // else its timer may still wait
		d.awake = append(d.awake, s)
	}
}

// Every calls f at times of the driver's clock, as a goroutine would that sleeps
// from one to the next, with the driver's lock held: first after delay, then
// after what f returns, until that is negative.
func (d *Driver) Every(delay time.Duration, f func() (next time.Duration)) {
	var t *Timer
	w := d.NewHandler(func() {
		if next := f(); next >= 0 {
			t.Reset(next)
		}
	})
	t = d.AfterFunc(sleepers, delay, w.Wake)
}

// Go starts f in a goroutine of its own, as an event: after what is running
// now, and alone until it blocks.
func (d *Driver) Go(f func()) { d.Do(func() { d.Start(f) }) }

// Start is [Driver.Go] for a caller that holds the lock.
func (d *Driver) Start(f func()) {
	w := d.NewWaiter()
	if d.byHand {
		d.begin(w, f)
	} else {
		go func() {
			w.Wait()
			f()
		}()
	}
	w.Wake()
}
