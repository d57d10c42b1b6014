package conntrack

import (
	"slices"
	"time"
)

// Stats are the counters of /proc/net/stat/nf_conntrack and a few that explain them.
type Stats struct {
	Found         uint64 // packets that belonged to a known flow
	New           uint64 // packets that began a flow
	Invalid       uint64 // packets found Invalid, ICMP errors excepted
	ICMPError     uint64 // ICMP errors that belong to no flow
	Insert        uint64 // entries put in the table
	InsertFailed  uint64 // entries refused by Confirm because a tuple was taken
	ClashResolved uint64 // packets that Confirm let go although one was
	Drop          uint64 // packets to be dropped: table full, or insert failed
	EarlyDrop     uint64 // entries evicted to make room
	Expired       uint64 // entries that timed out
	NATExhausted  uint64 // flows for which Setup found no free port
}

// Stats returns the counters.
func (t *Table) Stats() Stats { return t.stats }

// Len returns the number of entries in the table, counting expired ones that nobody has come across yet.
func (t *Table) Len() int { return t.hash.entries }

// Max returns the number of entries the table may hold.
func (t *Table) Max() int { return t.cfg.Max }

// insert puts e in the table.
func (t *Table) insert(e *Entry) {
	e.status |= Confirmed
	e.deadline = t.now + e.timeout
	t.hash.link(e)
	if t.cfg.Race != NoRace {
		t.young = append(t.young, e)
	}
	t.expiry.push(e)
	t.linkSource(e)
	t.stats.Insert++
}

// remove takes e out of the table, if it is there, and marks it Dying.
func (t *Table) remove(e *Entry) {
	if e.status&(Confirmed|Dying) == Confirmed {
		t.hash.unlink(e)
		t.expiry.remove(e)
		t.unlinkSource(e)
	}
	e.status |= Dying
}

// Remove takes an entry out of the table, as conntrack -D does.
func (t *Table) Remove(e *Entry) { t.remove(e) }

// Lookup returns the entry that a packet with the given tuple belongs to and the direction it goes, without refreshing it;
// nil if there is none.
func (t *Table) Lookup(now time.Duration, tuple Tuple) (*Entry, Dir) {
	t.advance(now)
	if !tuple.Src.IsValid() || !tuple.Dst.IsValid() {
		return nil, Original
	}
	k := key{
		src: addrOf(tuple.Src), dst: addrOf(tuple.Dst), sport: tuple.SrcPort, dport: tuple.DstPort,
		proto: tuple.Proto, family: 6,
	}
	if tuple.Src.Is4() {
		k.family = 4
	}
	if n := t.find(&k, t.hash.hash(&k)); n != nil {
		return n.entry, n.dir
	}
	return nil, Original
}

// Entries returns the live entries, ordered by original tuple. Those that only replies find are not among them, as in
// the kernel. A nil table, of a host that tracks nothing, has none.
func (t *Table) Entries(now time.Duration) []*Entry {
	if t == nil {
		return nil
	}
	t.Sweep(now)
	all := make([]*Entry, 0, len(t.expiry))
	for _, item := range t.expiry {
		if item.e.status&NATClash == 0 {
			all = append(all, item.e)
		}
	}
	slices.SortFunc(all, func(a, b *Entry) int { return a.Tuple(Original).Compare(b.Tuple(Original)) })
	return all
}

// Delete removes the entries for which match returns true and returns how many it removed, as "conntrack -D" does: a
// kube-proxy deletes the UDP flows of an endpoint that went away so. match sees the entries in the order of Entries and
// must not change the table.
func (t *Table) Delete(now time.Duration, match func(*Entry) bool) int {
	removed := 0
	for _, e := range t.Entries(now) {
		if match(e) {
			t.remove(e)
			removed++
		}
	}
	return removed
}

// Flush empties the table. Counters stay.
func (t *Table) Flush() {
	for len(t.expiry) > 0 {
		t.remove(t.expiry[len(t.expiry)-1].e)
	}
}
