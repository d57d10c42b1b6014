package stack

import (
	"encoding/binary"
	"net/netip"
)

// addrTable maps addresses to V. IPv4 addresses are looked up for every packet
// several times, so they have a map of their own whose keys hash in no time.
// The zero value is empty and ready.
type addrTable[V any] struct {
	v4    map[uint32]V
	other map[netip.Addr]V
}

func key4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// get returns the value of a, or the zero value.
func (t *addrTable[V]) get(a netip.Addr) V {
	if a.Is4() {
		return t.v4[key4(a)]
	}
	return t.other[a]
}

func (t *addrTable[V]) set(a netip.Addr, v V) {
	if t.v4 == nil {
		t.v4, t.other = make(map[uint32]V), make(map[netip.Addr]V)
	}
	if a.Is4() {
		t.v4[key4(a)] = v
		return
	}
	t.other[a] = v
}

func (t *addrTable[V]) remove(a netip.Addr) {
	if a.Is4() {
		delete(t.v4, key4(a))
		return
	}
	delete(t.other, a)
}
