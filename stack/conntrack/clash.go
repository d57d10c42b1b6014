package conntrack

import "time"

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
		if t.find(reply, t.hash.hash(reply)) == nil {
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
