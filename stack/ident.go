package stack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"
)

// identifiers number packets that have no socket. Counters are shared by flows
// with one hash and move on with time, as the kernel's do (ip_idents_reserve):
// nobody can tell from one flow's numbers how many packets another has.
type identifiers struct {
	counters [256]identCounter
	rng      *rand.Rand
}

type identCounter struct {
	next uint32
	used int64 // tick of the latest use
}

// identTick is the kernel's clock tick where HZ is 250, as in most
// distributions.
const identTick = 4 * time.Millisecond

// init starts the counters anywhere; the steps come from a source of their own.
func (s *identifiers) init(start, steps *rand.Rand) {
	for i := range s.counters {
		s.counters[i].next = start.Uint32()
	}
	s.rng = steps
}

// take returns the next number of the flows with a hash: one more than the last,
// and a random number less than the ticks that have passed since then.
func (s *identifiers) take(hash uint64, now time.Duration) uint16 {
	c := &s.counters[hash%uint64(len(s.counters))]
	c.next++
	if tick := int64(now / identTick); tick != c.used {
		c.next += uint32(s.rng.Int64N(tick - c.used))
		c.used = tick
	}
	if uint16(c.next) == 0 {
		c.next++ // 0 means "none" to a reader of captures; the kernel avoids it too when it can
	}
	return uint16(c.next)
}

// nextID returns the identification for a packet that has no socket
// (__ip_select_ident).
func (h *Host) nextID(src, dst netip.Addr, proto byte) uint16 {
	s, d := src.As4(), dst.As4()
	k := mix(h.hashKey ^ uint64(binary.BigEndian.Uint32(s[:]))<<32 ^ uint64(binary.BigEndian.Uint32(d[:])) ^ uint64(proto)<<20)
	return h.idents.take(k, h.now())
}
