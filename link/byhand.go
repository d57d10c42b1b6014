package link

import (
	"bytes"
	"fmt"
	"runtime"
	"time"
)

// A driver by hand has no goroutine, no bubble and no clock but its own: the one
// goroutine that uses the network is also what runs it, in [Waiter.Wait]. While
// that waits, events happen and time goes from each to the next; as soon as it
// need not wait any more, it goes on. So there is nothing to settle: that all is
// quiet follows from who runs, and is not observed. It shares no way to find that
// out with testing/synctest, and so can be held against it.

// byHandEpoch is where the calendar of bubbles begins too.
var byHandEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// runUntil is Wait of a driver by hand.
func (d *Driver) runUntil(w *Waiter) {
	d.lock("Wait")
	defer d.mu.Unlock()
	d.checkHand()
	for !d.closed.Load() {
		select {
		case <-w.ch:
			return
		default:
		}
		if d.run() {
			continue // a waiter was let go
		}
		next := d.heap.next()
		if next == forever {
			panic("link: driver by hand: no event is left that could end this wait")
		}
		d.now = next
	}
}

// checkHand makes sure that only one goroutine waits: another would race it.
func (d *Driver) checkHand() {
	buf := make([]byte, 64)
	id, _, _ := bytes.Cut(buf[:runtime.Stack(buf, false)], []byte(" ["))
	if d.hand == "" {
		d.hand = string(id)
	}
	if d.hand != string(id) {
		panic(fmt.Sprintf("link: driver by hand: %s waits, and it belongs to %s", id, d.hand))
	}
}
