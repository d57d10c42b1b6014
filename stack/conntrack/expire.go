package conntrack

import "time"

// sweepPerPacket bounds what one packet pays for the flows that ended. Two is enough for the table to drain faster than
// packets can fill it, since a packet adds one entry at most.
const sweepPerPacket = 2

// expiryQueue is a heap of confirmed entries by the time at which each must be looked at. That time is never later than the
// deadline of the entry, but it may be earlier: a packet that extends a deadline leaves the heap alone, so refreshing costs
// one store, and the entry is put back when it comes up too early. Ties go by entry number.
type expiryQueue []expiryItem

type expiryItem struct {
	at time.Duration
	e  *Entry
}

func (q expiryQueue) less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].e.id < q[j].e.id
}

func (q expiryQueue) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].e.heapIndex, q[j].e.heapIndex = i, j
}

func (q expiryQueue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 4
		if !q.less(i, parent) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q expiryQueue) down(i int) {
	for {
		least := i
		for child := 4*i + 1; child <= 4*i+4 && child < len(q); child++ {
			if q.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}

func (q *expiryQueue) push(e *Entry) {
	e.heapIndex, e.queued = len(*q), e.deadline
	*q = append(*q, expiryItem{at: e.deadline, e: e})
	q.up(e.heapIndex)
}

func (q *expiryQueue) remove(e *Entry) {
	i, last := e.heapIndex, len(*q)-1
	q.swap(i, last)
	(*q)[last] = expiryItem{}
	*q = (*q)[:last]
	if i < last {
		q.up(i)
		q.down(i)
	}
	if cap(*q) > 64 && len(*q) < cap(*q)/8 {
		*q = append(make(expiryQueue, 0, cap(*q)/4), *q...)
	}
}

// setDeadline moves the deadline of e; the heap is touched only when it gets nearer than the time e is queued for.
func (t *Table) setDeadline(e *Entry, at time.Duration) {
	e.deadline = at
	if at < e.queued {
		e.queued, t.expiry[e.heapIndex].at = at, at
		t.expiry.up(e.heapIndex)
	}
}

// sweep looks at no more than limit entries whose time has come, and returns how many it looked at.
func (t *Table) sweep(limit int) int {
	for n := range limit {
		if len(t.expiry) == 0 || t.expiry[0].at > t.now {
			return n
		}
		item := &t.expiry[0]
		if item.e.deadline <= t.now {
			t.stats.Expired++
			t.remove(item.e)
			continue
		}
		item.at = item.e.deadline
		item.e.queued = item.at
		t.expiry.down(0)
	}
	return limit
}

// Sweep removes every entry that has expired by now. Track does a little of this with each packet; a host that falls
// silent calls Sweep, at the time NextExpiry gives, to have its memory back.
func (t *Table) Sweep(now time.Duration) {
	t.advance(now)
	const chunk = 1024
	for t.sweep(chunk) == chunk {
	}
}

// NextExpiry returns a time before which no entry expires; false if the table is empty.
func (t *Table) NextExpiry() (time.Duration, bool) {
	if len(t.expiry) == 0 {
		return 0, false
	}
	return t.expiry[0].at, true
}
