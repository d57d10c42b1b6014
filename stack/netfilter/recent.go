package netfilter

import (
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// recentList is one list of xt_recent: addresses in the order of their last use, oldest first.
type recentList struct {
	entries map[u128]*recentEntry
	oldest  *recentEntry
	newest  *recentEntry
	stamps  int // time stamps kept per address, a power of two
}

type recentEntry struct {
	addr       u128
	ttl        uint8
	stamps     []time.Duration // a ring of list.stamps once full
	next       int             // where the next stamp goes
	prev, succ *recentEntry
}

func newRecentList(hits uint32) *recentList {
	n := 32
	if hits > 0 {
		n = 1 << bits.Len32(hits-1)
	}
	return &recentList{entries: make(map[u128]*recentEntry), stamps: n}
}

func (l *recentList) find(addr u128, ttl uint8) *recentEntry {
	e := l.entries[addr]
	if e != nil && ttl != 0 && e.ttl != 0 && e.ttl != ttl {
		return nil
	}
	return e
}

// add makes an entry, at the price of the least recently used one when the list is full. An entry of the same address
// with another TTL is replaced.
func (l *recentList) add(addr u128, ttl uint8, now time.Duration) {
	if e := l.entries[addr]; e != nil {
		l.remove(e)
	}
	if len(l.entries) >= recentListSize {
		l.remove(l.oldest)
	}
	e := &recentEntry{addr: addr, ttl: ttl, stamps: append(make([]time.Duration, 0, 4), now), next: 1}
	l.entries[addr] = e
	l.push(e)
}

func (l *recentList) push(e *recentEntry) {
	e.prev, e.succ = l.newest, nil
	if l.newest != nil {
		l.newest.succ = e
	} else {
		l.oldest = e
	}
	l.newest = e
}

func (l *recentList) unlink(e *recentEntry) {
	if e.prev != nil {
		e.prev.succ = e.succ
	} else {
		l.oldest = e.succ
	}
	if e.succ != nil {
		e.succ.prev = e.prev
	} else {
		l.newest = e.prev
	}
}

func (l *recentList) remove(e *recentEntry) {
	l.unlink(e)
	delete(l.entries, e.addr)
}

// touch stamps an entry and makes it the most recently used.
func (l *recentList) touch(e *recentEntry, now time.Duration) {
	if e.next &= l.stamps - 1; e.next < len(e.stamps) {
		e.stamps[e.next] = now
	} else {
		e.stamps = append(e.stamps, now)
	}
	e.next++
	l.unlink(e)
	l.push(e)
}

// reap drops the least recently used entry if it has not been seen since, one at a time as the kernel does; working
// is spared when it is about to be updated.
func (l *recentList) reap(since time.Duration, working *recentEntry, update bool) {
	e := l.oldest
	if e == nil || e == working && update {
		return
	}
	if e.last() < since {
		l.remove(e)
	}
}

func (e *recentEntry) last() time.Duration { return e.stamps[e.next-1] }

// seen reports whether there are enough stamps within the time asked for; 0 asks for nothing.
func (e *recentEntry) seen(now time.Duration, seconds, hits uint32) bool {
	var n uint32
	for _, s := range e.stamps {
		if seconds != 0 && s < now-time.Duration(seconds)*time.Second {
			continue
		}
		if n++; hits == 0 || n >= hits {
			return true
		}
	}
	return false
}

// RecentEntry is one address of a list of -m recent.
type RecentEntry struct {
	Addr netip.Addr
	TTL  uint8
	Last time.Duration // when it was last stamped
	Hits int           // how many stamps are kept
}

// Recent lists the addresses in a list of -m recent, least recently used first, as /proc/net/xt_recent does.
func (r *Ruleset) Recent(name string) []RecentEntry {
	l := r.recents[name]
	if l == nil {
		return nil
	}
	var list []RecentEntry
	for e := l.oldest; e != nil; e = e.succ {
		list = append(list, RecentEntry{e.addr.addr(), e.ttl, e.last(), len(e.stamps)})
	}
	return list
}

// RecentLists names the lists of -m recent that exist, sorted.
func (r *Ruleset) RecentLists() []string { return slices.Clip(sortedKeys(r.recents)) }

// recentList finds or makes the list of a rule. A list made for fewer stamps than a rule wants to count grows.
func (r *Ruleset) recentList(m *recentMatch) *recentList {
	l := r.recents[m.name]
	if l == nil {
		l = newRecentList(m.hits)
		r.recents[m.name] = l
	}
	for l.stamps < int(m.hits) {
		l.stamps *= 2
	}
	return l
}
