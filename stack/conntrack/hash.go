package conntrack

import "math/bits"

// node is one direction of an entry in the hash table: every entry is found by either tuple.
type node struct {
	key   key
	next  *node // in the same bucket
	entry *Entry
	dir   Dir
}

// hashTable is a chained hash table of nodes. A Go map would do for lookups; chains of our own let the table be searched
// around a bucket (early drop), keep the nodes inside the entries, and give the same layout for the same seed.
type hashTable struct {
	buckets    []*node // a power of two of them, up to maxBuckets
	maxBuckets int     // nf_conntrack_buckets
	entries    int     // two nodes each
	seed       uint64
}

const minBuckets = 16

// RoundBuckets returns the size of the hash table for whoever asks for n buckets: Config.Buckets says how.
func RoundBuckets(n int) int {
	const page = 4096 / 8 // pointers
	return max(page, 1<<bits.Len(uint(min(n, 1<<30)-1)))
}

// limit changes the number of buckets the table may have.
func (h *hashTable) limit(maxBuckets int) {
	if h.maxBuckets = maxBuckets; len(h.buckets) > maxBuckets {
		h.resize(maxBuckets)
	}
}

func (h *hashTable) init(maxBuckets int, seed uint64) {
	h.maxBuckets = maxBuckets
	h.buckets = make([]*node, minBuckets)
	h.seed = seed
}

// mix folds the 128-bit product of a and b, which spreads every input bit over the result.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// hash returns the hash of k, keyed with the seed.
func (h *hashTable) hash(k *key) uint64 {
	// Odd constants from the fractional digits of pi, only there so that no factor is zero.
	const c1, c2, c3 = 0x243f6a8885a308d3, 0x13198a2e03707345, 0xa4093822299f31d1
	ports := uint64(k.sport)<<48 | uint64(k.dport)<<32 | uint64(k.proto)<<8 | uint64(k.family)
	x := mix(k.src.lo^h.seed, k.dst.lo^c1)
	x = mix(x^ports, h.seed^c2)
	if k.src.hi|k.dst.hi != 0 {
		x ^= mix(k.src.hi^c3, k.dst.hi^h.seed)
	}
	return mix(x, c3)
}

func (h *hashTable) bucket(hash uint64) uint64 { return hash & uint64(len(h.buckets)-1) }

// linked reports whether the table finds e by its tuple of direction d.
func (e *Entry) linked(d Dir) bool { return d == Reply || e.status&NATClash == 0 }

// link adds both nodes of e at the head of their chains.
func (h *hashTable) link(e *Entry) {
	if h.entries >= len(h.buckets)/2 && len(h.buckets) < h.maxBuckets {
		h.resize(2 * len(h.buckets))
	}
	for d := range e.node {
		if e.linked(Dir(d)) {
			h.push(&e.node[d])
		}
	}
	h.entries++
}

func (h *hashTable) push(n *node) {
	b := h.bucket(h.hash(&n.key))
	n.next, h.buckets[b] = h.buckets[b], n
}

// unlink takes both nodes of e out. Memory follows: a table that has become nearly empty is made small again.
func (h *hashTable) unlink(e *Entry) {
	for d := range e.node {
		if !e.linked(Dir(d)) {
			continue
		}
		n := &e.node[d]
		at := &h.buckets[h.bucket(h.hash(&n.key))]
		for *at != n {
			at = &(*at).next
		}
		*at, n.next = n.next, nil
	}
	h.entries--
	if len(h.buckets) > minBuckets && h.entries < len(h.buckets)/16 {
		h.resize(len(h.buckets) / 4)
	}
}

// resize moves every node to a table of size buckets, in an order that depends on nothing but the order they are in.
func (h *hashTable) resize(size int) {
	old := h.buckets
	h.buckets = make([]*node, max(size, minBuckets))
	for _, n := range old {
		for n != nil {
			next := n.next
			h.push(n)
			n = next
		}
	}
}

// find returns the node with the given key, whose hash is hash. An entry that has expired is removed when it is met.
func (t *Table) find(k *key, hash uint64) *node {
	for n := t.hash.buckets[t.hash.bucket(hash)]; n != nil; n = n.next {
		if n.key == *k {
			if n.entry.deadline <= t.now {
				t.stats.Expired++
				t.remove(n.entry)
				return nil // keys are unique
			}
			return n
		}
	}
	return nil
}

// evictionRange is how many buckets early drop looks at (NF_CT_EVICTION_RANGE).
const evictionRange = 8

// earlyDrop makes room in a full table for a flow whose original tuple has the given hash: it looks at the buckets from
// there on and, in the first that has any, removes all entries that are not Assured. The buckets are those of a table of
// the kernel, which has all of its nf_conntrack_buckets from the start; ours grows, and its buckets hold several of them.
func (t *Table) earlyDrop(hash uint64) bool {
	for i := range uint64(evictionRange) {
		if n := t.evictBucket((hash + i) & uint64(t.hash.maxBuckets-1)); n > 0 {
			return true
		}
	}
	return false
}

func (t *Table) evictBucket(bucket uint64) (evicted int) {
	size := len(t.hash.buckets)
	var next *node
	for n := t.hash.buckets[t.hash.bucket(bucket)]; n != nil; n = next {
		e := n.entry
		if next = n.next; t.hash.hash(&n.key)&uint64(t.hash.maxBuckets-1) != bucket {
			continue
		}
		expired := e.deadline <= t.now
		if !expired && e.status&Assured != 0 {
			continue
		}
		if next != nil && next.entry == e {
			next = next.next // both directions in one chain
		}
		t.remove(e)
		evicted++
		if expired {
			t.stats.Expired++
		} else {
			t.stats.EarlyDrop++
		}
		if len(t.hash.buckets) != size {
			break // the table shrank under us; one victim is enough
		}
	}
	return evicted
}
