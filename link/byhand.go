package link

import (
	"bytes"
	"fmt"
	"runtime"
	"time"
)

// A driver by hand has no goroutine, no bubble and no clock but its own: who uses
// the network is also who runs it, in [Waiter.Wait]. While a goroutine waits there,
// it makes events happen and time go from each to the next; as soon as it need not
// wait any more, it goes on. If what happens lets another goroutine go, it is that
// one's turn, and the first is out until it is let go itself. So one goroutine
// runs at a time, and there is nothing to settle: that all is quiet follows from
// whose turn it is, and is not observed. It shares no way to find that out with
// testing/synctest, and so can be held against it.
//
// Goroutines take turns that the driver has started ([Driver.Go]), and the one that
// waits first. They may wait in [Waiter.Wait] and nowhere else: one that waits for a
// channel keeps its turn, and then nothing goes on. A goroutine that was started
// with the go statement has no turn, and must leave the network alone.

// byHandEpoch is where the calendar of bubbles begins too.
var byHandEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// runUntil is Wait of a driver by hand.
func (d *Driver) runUntil(w *Waiter) {
	d.lock("Wait")
	defer d.mu.Unlock()
	me := d.checkHand()
	for !d.closed.Load() {
		select {
		case <-w.ch:
			return
		default:
		}
		w.hand = me
		d.step()
		if d.hand != me {
			d.mu.Unlock()
			w.park()
			d.mu.Lock()
			return
		}
		w.hand = ""
	}
}

// step does what is due, until a goroutine is let go, or lets time pass.
func (d *Driver) step() {
	if d.wakes.len() > 0 && d.wakes.peek().urgent {
		d.wakeNext()
		return
	}
	if d.run() || d.closed.Load() {
		return
	}
	next := d.heap.next()
	if next == forever {
		panic("link: driver by hand: no event is left that could end this wait")
	}
	d.now = next
}

// begin starts f in a goroutine whose turn comes when w is woken. The caller holds
// the lock.
func (d *Driver) begin(w *Waiter, f func()) {
	born := make(chan string)
	go func() {
		born <- goroutineID()
		w.park()
		defer d.pass()
		f()
	}()
	w.hand = <-born
}

// park waits for a turn.
func (w *Waiter) park() {
	select {
	case <-w.ch:
	case <-w.drv.done:
	}
}

// pass ends the turn of a goroutine that has ended.
func (d *Driver) pass() {
	d.lock("Go")
	defer d.mu.Unlock()
	for me := d.hand; d.hand == me && !d.closed.Load(); {
		d.step()
	}
}

// checkHand returns the calling goroutine's name, and makes sure that it is its
// turn: another would race the one whose turn it is.
func (d *Driver) checkHand() string {
	id := goroutineID()
	if d.hand == "" {
		d.hand = id
	}
	if d.hand != id && !d.closed.Load() {
		panic(fmt.Sprintf("link: driver by hand: %s waits, and it is the turn of %s; only goroutines that the driver has started may wait for the network", id, d.hand))
	}
	return id
}

// goroutineID returns the name of the calling goroutine, such as "goroutine 7".
func goroutineID() string {
	buf := make([]byte, 64)
	id, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte(" ["))
	return string(id)
}
