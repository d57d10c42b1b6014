package conntrack

import (
	"slices"
	"time"
)

// Race says what becomes of two packets of one UDP flow that come in one instant. On a machine with several CPUs each may
// look the flow up before the other has put it in the table: both begin it, the nat table decides twice, and the one that
// comes second to Confirm has lost. A resolver that sends its questions for A and AAAA from one socket makes such pairs;
// the answer to the question that is lost is waited for in vain, five seconds with glibc.
//
// Which of the two is first is the order in which they came. A table without a race is one of a single CPU.
type Race uint8

// The zero Race is NoRace.
const (
	NoRace      Race = iota // each packet is dealt with before the next
	RaceDrop                // Linux 5.0 to 5.6: if both were translated alike both go on, else the second is dropped (insert_failed)
	RaceResolve             // Linux since then: the second goes on too, see resolveClash
)

// unseen reports whether an entry is too young to be found by other packets in its direction: it was put in the table at
// this very instant, by another CPU.
func (t *Table) unseen(n *node) bool {
	return len(t.young) > 0 && n.dir == Original && n.entry.protocol() == protoUDP && n.entry.status&SeenReply == 0 && slices.Contains(t.young, n.entry)
}

// clashTimeout is how long an entry lives that is found by its replies only.
const clashTimeout = time.Second

// resolveClash decides about a flow that lost a race: while it was on its way through the hooks, another was confirmed that
// has one of its tuples. It happens when a socket sends two datagrams at once, as a resolver asking for A and AAAA does,
// and the first has to wait for a neighbour. Only UDP bears it (nf_ct_resolve_clash, Linux 5.8):
//
//   - if both were translated alike, the first entry serves both;
//   - if the second was sent to another endpoint, its packet goes there all the same, and an entry that only its replies
//     find, and for a second, brings the answer back.
func (t *Table) resolveClash(e, rival *Entry) bool {
	if e.protocol() == protoUDP {
		if rival.node[Original].key == e.node[Original].key && rival.node[Reply].key == e.node[Reply].key {
			t.stats.ClashResolved++
			return true
		}
		reply := &e.node[Reply].key
		if t.cfg.Race != RaceDrop && t.find(reply, t.hash.hash(reply)) == nil {
			t.stats.ClashResolved++
			e.status |= NATClash
			e.timeout = clashTimeout
			t.insert(e)
			return true
		}
	}
	t.stats.InsertFailed++
	t.stats.Drop++
	return false
}
