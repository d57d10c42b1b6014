package nftables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/podwire/podwire/stack/netfilter"
)

// manyServices is a table with that many services behind one map, as kube-proxy has it.
func manyServices(n int) string {
	var elements []string
	var chains strings.Builder
	for i := range n {
		elements = append(elements, fmt.Sprintf("10.96.%d.%d . tcp . 80 : goto service-%d", i>>8, i&255, i))
		fmt.Fprintf(&chains, "chain service-%d {\nmeta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.1 . 8080, 1 : 10.244.0.2 . 8080 }\n}\n", i)
	}
	return "table ip t {\nmap service-ips {\ntype ipv4_addr . inet_proto . inet_service : verdict\nelements = { " + strings.Join(elements, ", ") +
		" }\n}\nchain nat {\ntype nat hook prerouting priority -100\nip daddr . meta l4proto . th dport vmap @service-ips\n}\n" + chains.String() + "}\n"
}

// TestServicesCostNothing: to find one of many services takes as many rules as to find one of few, and no memory.
func TestServicesCostNothing(t *testing.T) {
	for _, n := range []int{10, 10000} {
		s, err := Parse(manyServices(n))
		if err != nil {
			t.Fatal(err)
		}
		r := New()
		if err := r.Apply(s, 0); err != nil {
			t.Fatal(err)
		}
		pkt := make([]byte, 40)
		pkt[0], pkt[23] = 0x45, 80
		p := netfilter.Packet{Src: netip.MustParseAddr("10.244.0.9"), Dst: netip.AddrFrom4([4]byte{10, 96, byte((n - 1) >> 8), byte((n - 1) & 255)}), Proto: 6, DstPort: 80, Bytes: pkt}
		chain := r.Chains(netfilter.Prerouting)[0]
		before := r.looked
		v := r.Run(chain, &p, nobody{})
		if got := r.looked - before; got != 2 || v.Kind != netfilter.DNAT || v.Range.MinPort != 8080 {
			t.Errorf("of %d services: %d rules, %v to %v, want 2 and a DNAT to port 8080", n, got, v.Kind, v.Range)
		}
		if allocs := testing.AllocsPerRun(100, func() { r.Run(chain, &p, nobody{}) }); allocs != 0 {
			t.Errorf("of %d services: %v allocations, want none", n, allocs)
		}
	}
}
