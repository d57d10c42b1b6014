package link

import (
	"math"
	"time"
)

// codel is the state of one CoDel queue, with the names of RFC 8289 §5.
type codel struct {
	dropping        bool
	count, last     uint32
	firstAboveTime  time.Duration
	dropNext        time.Duration
	target, between time.Duration
}

// Defaults of RFC 8289 §4.3 and §4.4.
const (
	codelTarget   = 5 * time.Millisecond
	codelInterval = 100 * time.Millisecond
)

func (c *codel) set(a AQM) {
	if c.target = a.Target; c.target == 0 {
		c.target = codelTarget
	}
	if c.between = a.Interval; c.between == 0 {
		c.between = codelInterval
	}
}

// A codelSource is where CoDel takes frames from, the oldest first.
type codelSource interface{ pop() (queued, bool) }

// ok takes a frame and says whether it may be dropped: the delay has been above
// target for an interval, and more than one frame waits (RFC 8289 §5.6). As in
// Linux, that is asked of the cable and not of the flow: one that is alone
// with a frame or two stands in nobody's way.
func (c *codel) ok(x *direction, q codelSource) (f *Frame, drop bool) {
	item, any := q.pop()
	if !any {
		c.firstAboveTime = 0
		return nil, false
	}
	now := x.drv.now
	switch {
	case now-item.since < c.target || x.held.bytes <= x.held.largest:
		c.firstAboveTime = 0
	case c.firstAboveTime == 0:
		c.firstAboveTime = now + c.between
	default:
		drop = now >= c.firstAboveTime
	}
	return item.frame, drop
}

// dequeue returns the next frame, or nil (RFC 8289 §5.5). A frame that is
// marked counts as dropped but goes out, as on Linux.
func (c *codel) dequeue(x *direction, q codelSource) *Frame {
	f, drop := c.ok(x, q)
	now := x.drv.now
	switch {
	case c.dropping && !drop:
		c.dropping = false
	case c.dropping:
		for c.dropping && now >= c.dropNext {
			c.count++
			if x.mark(f) {
				c.dropNext = c.law(c.dropNext)
				return f
			}
			x.point.Drop(f, DropCoDel)
			if f, drop = c.ok(x, q); drop {
				c.dropNext = c.law(c.dropNext)
			} else {
				c.dropping = false
			}
		}
	case drop:
		if !x.mark(f) {
			x.point.Drop(f, DropCoDel)
			f, _ = c.ok(x, q)
		}
		c.dropping = true
		// A queue that was dropping a moment ago goes on at the rate that held it.
		delta := c.count - c.last
		c.count = 1
		if delta > 1 && now-c.dropNext < 16*c.between {
			c.count = delta
		}
		c.dropNext = c.law(now)
		c.last = c.count
	}
	return f
}

// law is the control law: the time of the next drop (RFC 8289 §5.3).
func (c *codel) law(t time.Duration) time.Duration {
	return t + time.Duration(float64(c.between)/math.Sqrt(float64(c.count)))
}

// drain takes all frames of q.
func drain(q codelSource) (out []*Frame) {
	for item, any := q.pop(); any; item, any = q.pop() {
		out = append(out, item.frame)
	}
	return out
}

// codelQueue is one first-in first-out queue under CoDel.
type codelQueue struct {
	x     *direction
	state codel
	list  fifo[queued]
}

func newCodelQueue(x *direction) *codelQueue {
	q := &codelQueue{x: x}
	q.state.set(x.cfg.AQM)
	return q
}

func (q *codelQueue) enqueue(f *Frame) {
	if q.x.held.frames >= q.x.maxFrames || q.x.held.bytes+f.Len() > q.x.maxBytes {
		q.x.point.Drop(f, DropQueueFull)
		return
	}
	q.list.push(queued{f, q.x.drv.now})
	q.x.held.add(f)
}

func (q *codelQueue) dequeue() *Frame { return q.state.dequeue(q.x, q) }
func (q *codelQueue) drain() []*Frame { return drain(q) }

func (q *codelQueue) pop() (queued, bool) {
	if q.list.len() == 0 {
		return queued{}, false
	}
	item := q.list.pop()
	q.x.held.remove(item.frame)
	return item, true
}
