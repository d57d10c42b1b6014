package link

import "time"

// event is something that happens at a time: a frame arrives or a timer ends.
type event struct {
	at     time.Duration
	source uint32
	seq    uint64 // orders the events of one source
	to     receiver
	frame  *Frame
	timer  *Timer
}

// receiver is what a frame in flight arrives at.
type receiver interface {
	arrive(*Frame)
}

func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	if e.source != o.source {
		return e.source < o.source
	}
	return e.seq < o.seq
}

func (e event) fire(d *Driver) {
	if e.timer != nil {
		e.timer.f()
		return
	}
	e.to.arrive(e.frame)
}

// eventHeap is a four-way heap: flatter than a binary one, and the children of
// a node share cache lines.
type eventHeap struct {
	list []event
	seq  uint64
}

// next returns the time of the first event, or forever.
func (h *eventHeap) next() time.Duration {
	if len(h.list) == 0 {
		return forever
	}
	return h.list[0].at
}

// due reports whether the first event is due at now.
func (h *eventHeap) due(now time.Duration) bool {
	return len(h.list) > 0 && h.list[0].at <= now
}

func (h *eventHeap) push(e event) {
	h.seq++
	e.seq = h.seq
	h.list = append(h.list, e)
	h.up(len(h.list) - 1)
}

func (h *eventHeap) pop() event {
	e := h.list[0]
	h.remove(0)
	return e
}

// remove takes out the event at index i.
func (h *eventHeap) remove(i int) {
	if t := h.list[i].timer; t != nil {
		t.index = -1
	}
	last := len(h.list) - 1
	if i != last {
		h.list[i] = h.list[last]
		h.note(i)
	}
	h.list[last] = event{}
	h.list = h.list[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// note tells the timer at index i where it is.
func (h *eventHeap) note(i int) {
	if t := h.list[i].timer; t != nil {
		t.index = i
	}
}

func (h *eventHeap) up(i int) {
	e := h.list[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h.list[parent]) {
			break
		}
		h.list[i] = h.list[parent]
		h.note(i)
		i = parent
	}
	h.list[i] = e
	h.note(i)
}

func (h *eventHeap) down(i int) {
	e := h.list[i]
	for {
		first := 4*i + 1
		if first >= len(h.list) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h.list)); c++ {
			if h.list[c].before(&h.list[least]) {
				least = c
			}
		}
		if !h.list[least].before(&e) {
			break
		}
		h.list[i] = h.list[least]
		h.note(i)
		i = least
	}
	h.list[i] = e
	h.note(i)
}

// fifo is a queue in a ring that grows.
type fifo[T any] struct {
	ring  []T // length is a power of two
	first int
	n     int
}

func (q *fifo[T]) len() int { return q.n }

func (q *fifo[T]) push(v T) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.first+q.n)&(len(q.ring)-1)] = v
	q.n++
}

// unpop puts v in front of all others.
func (q *fifo[T]) unpop(v T) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.first = (q.first - 1) & (len(q.ring) - 1)
	q.ring[q.first] = v
	q.n++
}

func (q *fifo[T]) grow() {
	ring := make([]T, max(16, 2*len(q.ring)))
	for i := range q.n {
		ring[i] = q.ring[(q.first+i)&(len(q.ring)-1)]
	}
	q.ring, q.first = ring, 0
}

func (q *fifo[T]) pop() T {
	var zero T
	v := q.ring[q.first]
	q.ring[q.first] = zero
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.n--
	return v
}

// peek returns the first element; the queue is not empty.
func (q *fifo[T]) peek() T { return q.ring[q.first] }
