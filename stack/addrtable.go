package stack

import (
	"encoding/binary"
	"net/netip"
)

// addrTable maps addresses to V. IPv4 addresses are looked up for every packet
// several times, so they have a map of their own whose keys hash in no time, and
// most are not in it: a filter with a bit for each slot of a hash says so first.
// The zero value is empty and ready.
type addrTable[V any] struct {
	v4    map[uint32]V
	maybe [4]uint64 // v4 has keys of these slots
	other map[netip.Addr]V
}

// slot returns where key is in the filter.
func slot(key uint32) (word int, bit uint64) {
	h := key * 0x9E3779B1 >> 24 // Knuth's multiplier: neighbouring addresses get different slots
	return int(h >> 6), 1 << (h & 63)
}

func key4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// get returns the value of a, or the zero value.
func (t *addrTable[V]) get(a netip.Addr) V {
	if a.Is4() {
		key := key4(a)
		if word, bit := slot(key); t.maybe[word]&bit == 0 {
			var none V
			return none
		}
		return t.v4[key]
	}
	return t.other[a]
}

func (t *addrTable[V]) set(a netip.Addr, v V) {
	if t.v4 == nil {
		t.v4, t.other = make(map[uint32]V), make(map[netip.Addr]V)
	}
	if a.Is4() {
		key := key4(a)
		t.v4[key] = v
		word, bit := slot(key)
		t.maybe[word] |= bit
		return
	}
	t.other[a] = v
}

func (t *addrTable[V]) remove(a netip.Addr) {
	if a.Is4() {
		delete(t.v4, key4(a)) // its slot stays marked: others may be in it
		return
	}
	delete(t.other, a)
}
