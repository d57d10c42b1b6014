package link

import (
	"fmt"
	"time"
)

// AQM is how the queue of a rated cable is managed (active queue management).
// The zero value drops at the tail. Fields that a kind does not name are not
// read. A cable without a rate has no queue, and so nothing to manage.
type AQM struct {
	Kind AQMKind

	// ECN marks packets that can carry a mark instead of dropping them, if the
	// driver has a [Classifier].
	ECN bool

	Target   time.Duration // CoDel, FQ-CoDel: delay that may stand; 0 means 5 ms
	Interval time.Duration // CoDel, FQ-CoDel: how long it may be exceeded; 0 means 100 ms

	Flows   int // FQ-CoDel: queues that flows are hashed to; 0 means 1024
	Quantum int // FQ-CoDel: bytes per turn; 0 means 1514

	Min, Max    int     // RED: average backlogs in bytes at which dropping begins and is certain; 0 means 30,000 and three times Min
	Probability float64 // RED: share dropped just below Max; 0 means 2 %
}

// AQMKind is a queue discipline.
type AQMKind uint8

// Queue disciplines.
const (
	DropTail AQMKind = iota // a frame that finds the queue full is dropped
	RED                     // random early detection (Floyd and Jacobson 1993), as tc-red(8)
	CoDel                   // controlled delay (RFC 8289)
	FQCoDel                 // a CoDel queue per flow, served in turn (RFC 8290)
)

var aqmKinds = [...]string{"drop-tail", "red", "codel", "fq_codel"}

// String returns the name that tc(8) uses; "drop-tail" for what tc calls fifo.
func (k AQMKind) String() string {
	if int(k) < len(aqmKinds) {
		return aqmKinds[k]
	}
	return fmt.Sprintf("queue discipline %d", uint8(k))
}

func (a AQM) validate() error {
	switch {
	case int(a.Kind) >= len(aqmKinds):
		return fmt.Errorf("link: wire: %v is not known", a.Kind)
	case a.Target < 0 || a.Interval < 0:
		return fmt.Errorf("link: wire: %v: target %v and interval %v, want 0 or more", a.Kind, a.Target, a.Interval)
	case a.Flows < 0 || a.Flows > 1<<16:
		return fmt.Errorf("link: wire: %v: %d flows, want 0 to 65536", a.Kind, a.Flows)
	case a.Quantum < 0:
		return fmt.Errorf("link: wire: %v: quantum of %d bytes, want 0 or more", a.Kind, a.Quantum)
	case a.Min < 0 || a.Max < 0 || a.Max > 0 && a.Max <= a.min():
		return fmt.Errorf("link: wire: %v: min %d and max %d bytes, want max above min", a.Kind, a.min(), a.Max)
	}
	return checkShare("AQM probability", a.Probability)
}

// A Classifier tells queues what they cannot know, because package link knows
// Ethernet alone. Both methods are given a frame's bytes; they are called with
// the driver's lock held.
type Classifier interface {
	// FlowHash returns a number that frames of one flow share.
	FlowHash(frame []byte) uint32

	// MarkCongestion marks the packet inside as having met congestion, and
	// reports false if it cannot carry a mark.
	MarkCongestion(frame []byte) bool
}

// A queue holds the frames that wait for a rated cable and chooses the next. It
// keeps count of them in the held of its direction.
type queue interface {
	// enqueue takes f. It drops, at the direction's point, what has no room.
	enqueue(f *Frame)

	// dequeue returns the frame to send next, or nil. It may drop others.
	dequeue() *Frame

	// drain empties the queue and returns what was in it.
	drain() []*Frame
}

// held is what a queue holds.
type held struct {
	frames, bytes int
	largest       int // bytes of the largest frame that was ever held
}

func (h *held) add(f *Frame) {
	h.frames++
	h.bytes += f.Len()
	h.largest = max(h.largest, f.Len())
}

func (h *held) remove(f *Frame) {
	h.frames--
	h.bytes -= f.Len()
}

// newQueue returns the queue that the settings of x ask for, or nil for one
// that needs no frames to be held: drop-tail and RED decide when a frame
// arrives, and then know when it will leave.
func (x *direction) newQueue() queue {
	if x.cfg.Rate == 0 {
		return nil
	}
	switch x.cfg.AQM.Kind {
	case CoDel:
		return newCodelQueue(x)
	case FQCoDel:
		return newFQCodel(x)
	}
	return nil
}

// queued is a frame and when it came.
type queued struct {
	frame *Frame
	since time.Duration
}

// sent is a frame's way out of a queue that does not hold it: when its last bit
// leaves, and how long it is.
type sent struct {
	at    time.Duration
	bytes int
}

// admit takes a frame for a rated cable.
func (x *direction) admit(f *Frame) {
	if x.queue != nil {
		x.queue.enqueue(f)
		x.pump()
		return
	}
	frames, bytes := x.backlog()
	// The first of the backlog is being sent: it waits for nothing.
	if frames > x.maxFrames || frames > 0 && bytes-x.leaving.peek().bytes+f.Len() > x.maxBytes {
		x.point.Drop(f, DropQueueFull)
		return
	}
	if x.early && !x.admitEarly(f, bytes) {
		return
	}
	at := x.pace.take(x.drv.now, f.Len()+FrameOverhead)
	x.leaving.push(sent{at, f.Len()})
	x.leavingBytes += f.Len()
	x.fly(f, at)
}

// admitEarly lets RED decide about f; a frame that is hit and can carry a mark
// gets one.
func (x *direction) admitEarly(f *Frame, backlog int) bool {
	idle := x.drv.now - x.pace.busyUntil()
	if !x.red.arrive(x.cfg.AQM, backlog, idle, x.cfg.Rate, x.rng) || x.mark(f) {
		return true
	}
	x.point.Drop(f, DropRED)
	return false
}

// pump sends what the queue gives, as long as the transmitter is free, and
// comes again when it will be.
func (x *direction) pump() {
	for x.held.frames > 0 {
		if free := x.pace.busyUntil(); free > x.drv.now {
			x.pumpAt(free)
			return
		}
		if f := x.queue.dequeue(); f != nil {
			x.fly(f, x.pace.take(x.drv.now, f.Len()+FrameOverhead))
		}
	}
}

func (x *direction) pumpAt(at time.Duration) {
	switch delay := at - x.drv.now; {
	case x.next == nil:
		x.next = x.drv.AfterFunc(x.source, delay, x.pump)
	case x.next.index < 0:
		x.next.Reset(delay)
	}
}

// backlog returns how many frames and bytes of a queue that does not hold them
// have not left, the one being sent among them.
func (x *direction) backlog() (frames, bytes int) {
	for x.leaving.len() > 0 && x.leaving.peek().at <= x.drv.now {
		x.leavingBytes -= x.leaving.pop().bytes
	}
	return x.leaving.len(), x.leavingBytes
}

// mark marks f if the settings and the packet allow it, and reports whether it
// did.
func (x *direction) mark(f *Frame) bool {
	if !x.cfg.AQM.ECN || x.drv.classifier == nil || !x.drv.classifier.MarkCongestion(f.Bytes()) {
		return false
	}
	x.marked++
	return true
}
