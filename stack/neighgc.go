package stack

import "time"

// NeighbourLimits bound the ARP table, as net.ipv4.neigh.default.gc_* do. Zero
// fields have Linux' defaults. Entries set by hand do not count and are never
// collected. On Linux one table serves all namespaces of a machine; here every
// host has its own.
type NeighbourLimits struct {
	Thresh1 int // up to so many, idle entries stay: 128
	Thresh2 int // above, entries that have not changed for 5 s may go: 512
	Thresh3 int // no more than these: 1024
}

func (l NeighbourLimits) withDefaults() NeighbourLimits {
	if l.Thresh1 == 0 {
		l.Thresh1 = 128
	}
	if l.Thresh2 == 0 {
		l.Thresh2 = 512
	}
	if l.Thresh3 == 0 {
		l.Thresh3 = 1024
	}
	return l
}

// Times of the collection (net/core/neighbour.c).
const (
	neighPeriod    = 15 * time.Second // base_reachable_time/2
	neighStaleTime = 60 * time.Second // gc_stale_time
	neighYoung     = 5 * time.Second  // an entry is spared for so long after a change
	neighRetry     = 10 * time.Millisecond
)

// neighList holds the entries that may be collected, oldest first.
type neighList struct {
	first, last *neighbour
	n           int
}

func (l *neighList) push(n *neighbour) {
	n.older, n.newer = l.last, nil
	if l.last != nil {
		l.last.newer = n
	} else {
		l.first = n
	}
	l.last = n
	l.n++
}

func (l *neighList) remove(n *neighbour) {
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		l.first = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		l.last = n.older
	}
	n.older, n.newer = nil, nil
	l.n--
}

// room makes room for one more entry and reports whether there is (neigh_alloc).
// A flood of new neighbours pushes out what has not changed for five seconds,
// oldest first; if all are younger, the new one has no place.
func (t *neighTable) room() bool {
	now, limits := t.host.drv.Now(), t.host.cfg.Neighbours.withDefaults()
	if len(t.entries) >= limits.Thresh1 && now-t.swept >= neighPeriod {
		t.sweep(now)
	}
	switch {
	case t.listed.n < limits.Thresh2, t.listed.n < limits.Thresh3 && now-t.forced < neighYoung:
		return true
	case t.listed.n >= limits.Thresh3 && now < t.barren:
		return false
	}
	t.force(now, t.listed.n-limits.Thresh2)
	return t.listed.n < limits.Thresh3
}

// force removes up to most entries that failed or have not changed lately
// (neigh_forced_gc).
func (t *neighTable) force(now time.Duration, most int) {
	t.forced = now
	for n := t.listed.first; n != nil && most > 0; {
		next := n.newer
		if t.idle(n, now) && (n.state == NeighFailed || now-n.changed(now) > neighYoung) {
			t.remove(n)
			most--
		}
		n = next
	}
	if most > 0 {
		t.barren = now + neighRetry // spare the next newcomers a walk in vain; the kernel's are bounded by time
	}
}

// sweep removes what failed and what nobody has used for a minute
// (neigh_periodic_work).
func (t *neighTable) sweep(now time.Duration) {
	t.swept = now
	for n := t.listed.first; n != nil; {
		next := n.newer
		if t.idle(n, now) && (n.state == NeighFailed || now-max(n.touched, n.confirmed) >= neighStaleTime) {
			t.remove(n)
		}
		n = next
	}
}

// changed is when the entry's address or state last changed.
func (n *neighbour) changed(now time.Duration) time.Duration {
	if n.state == NeighReachable && now >= n.expires() {
		return n.expires() // nobody has noticed yet
	}
	return n.updated
}

// idle reports whether nothing is under way for the entry. In the kernel such
// an entry has no timer and nobody holds it.
func (t *neighTable) idle(n *neighbour, now time.Duration) bool {
	s := n.stateAt(now)
	return s == NeighStale || s == NeighFailed
}
