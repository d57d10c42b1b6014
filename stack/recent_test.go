package stack

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// What a table remembers of look-ups never outlives a change of it.
func TestLookupsAreForgotten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	devices := []*Device{{Name: "eth0", up: true}, {Name: "eth1", up: true}}
	var table fib
	routes := map[netip.Prefix]Route{}
	some := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(8))}) }
	hits := 0
	for range 20000 {
		switch p := netip.PrefixFrom(some(), []int{0, 8, 24, 30, 32}[rng.IntN(5)]).Masked(); rng.IntN(20) {
		case 0:
			r := Route{Dst: p, Dev: devices[rng.IntN(2)]}
			if table.add(r) == nil {
				routes[p] = r
			}
		case 1:
			table.remove(p, func(*Route) bool { return true })
			delete(routes, p)
		case 2:
			devices[rng.IntN(2)].up = rng.IntN(3) > 0
		}
		dst := some()
		want := netip.Prefix{}
		for p, r := range routes {
			if p.Contains(dst) && r.Dev.up && p.Bits() > want.Bits() {
				want = p
			}
		}
		got := netip.Prefix{}
		if r := table.lookup(dst); r != nil {
			got = r.Dst
			hits++
		}
		if got != want {
			t.Fatalf("the route to %v is %v, want %v", dst, got, want)
		}
	}
	if hits < 5000 {
		t.Errorf("%d look-ups found something: this test looks at nothing", hits)
	}
}

// A table of addresses is a map, whatever shares the slots of its filter.
func TestAddrTableIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var table addrTable[int]
	same := map[netip.Addr]int{}
	for i := range 50000 {
		a := netip.AddrFrom4([4]byte{10, byte(rng.IntN(2)), byte(rng.IntN(8)), byte(rng.IntN(64))})
		if rng.IntN(16) == 0 {
			a = netip.MustParseAddr("fd00::1")
		}
		switch rng.IntN(64) {
		case 0:
			table.set(a, i+1)
			same[a] = i + 1
		case 1, 2:
			table.remove(a)
			delete(same, a)
		}
		if got := table.get(a); got != same[a] {
			t.Fatalf("%v is %d, want %d", a, got, same[a])
		}
	}
}
