package conntrack

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// flow is an established, translated flow and a packet of each direction.
type flow struct{ request, answer []byte }

// establish fills a table with n flows through DNAT and masquerade.
func establish(t testing.TB, tb *Table, n int, mk func(src netip.Addr, sport uint16, dst netip.Addr, dport uint16) []byte) []flow {
	// Several gateway addresses: one has too few ports for the larger tables.
	snat := Range{MinAddr: gateway, MaxAddr: netip.MustParseAddr("10.244.1.15"), RandomFully: true}
	flows := make([]flow, n)
	for i := range flows {
		src, port := netip.AddrFrom4([4]byte{10, 1, byte(i >> 16), byte(i >> 8)}), uint16(40<<8|i&0xff)
		flows[i].request = mk(src, port, service, 80)
		c := wantPass(t, tb, 0, bytes.Clone(flows[i].request), rules{dst: to(backend, 8080), src: snat})
		r := c.Entry.Tuple(Reply)
		flows[i].answer = mk(r.Src, r.SrcPort, r.Dst, r.DstPort)
	}
	return flows
}

func mkUDP(src netip.Addr, sport uint16, dst netip.Addr, dport uint16) []byte {
	return udp(src, sport, dst, dport, "some data of a usual length")
}

func mkACK(src netip.Addr, sport uint16, dst netip.Addr, dport uint16) []byte {
	return tcp(src, sport, dst, dport, "A", 1000, 1000, "")
}

// hooks does for an established flow what a forwarding host does, without test helpers in the way.
func hooks(tb *Table, now time.Duration, pkt []byte) bool {
	c := tb.Track(now, pkt)
	return tb.Translate(c, Dst, pkt) == nil && tb.Translate(c, Src, pkt) == nil && tb.Confirm(now, c)
}

func TestEstablishedFlowAllocatesNothing(t *testing.T) {
	for name, mk := range map[string]func(netip.Addr, uint16, netip.Addr, uint16) []byte{"udp": mkUDP, "tcp": mkACK} {
		tb := newTable(Config{})
		f := establish(t, tb, 10, mk)[3]
		request, answer := make([]byte, len(f.request)), make([]byte, len(f.answer))
		now := time.Duration(0)
		allocs := testing.AllocsPerRun(1000, func() {
			now += time.Millisecond
			copy(request, f.request)
			copy(answer, f.answer)
			if !hooks(tb, now, request) || !hooks(tb, now, answer) {
				t.Fatal("dropped")
			}
		})
		if allocs != 0 {
			t.Errorf("%s: got %v allocations for a packet each way, want 0", name, allocs)
		}
		if got, want := decode(answer), decode(mk(service, 80, netip.MustParseAddr("10.1.0.0"), 40<<8|3)); got != want {
			t.Errorf("%s: answer came back as %s, want %s", name, got, want)
		}
	}
}

// Tables of three sizes with traffic on up to 1,000 of their flows: the cost must be flat. The last one has traffic on all
// of 100,000 flows in turn, more than caches hold, and shows memory latency on top.
func BenchmarkEstablished(b *testing.B) {
	for _, proto := range []struct {
		name string
		mk   func(netip.Addr, uint16, netip.Addr, uint16) []byte
	}{{"udp", mkUDP}, {"tcp", mkACK}} {
		for _, n := range []struct{ entries, busy int }{{10, 10}, {1000, 1000}, {100000, 1000}, {100000, 100000}} {
			b.Run(fmt.Sprintf("%s/entries=%d/busy=%d", proto.name, n.entries, n.busy), func(b *testing.B) {
				tb := newTable(Config{})
				establish(b, tb, n.entries, proto.mk)
				template := proto.mk(client, 1, service, 80)
				buf := make([]byte, len(template))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					// Flows in a scattered order, the packet itself warm: it came from the stage before.
					copy(buf, template)
					name(buf, i*7919%n.busy*(n.entries/n.busy))
					if !hooks(tb, 0, buf) {
						b.Fatal("dropped")
					}
				}
			})
		}
	}
}

// name makes pkt a packet of flow i, leaving checksums alone.
func name(pkt []byte, i int) {
	copy(pkt[12:], []byte{10, 1, byte(i >> 16), byte(i >> 8), 10, 96, 0, 10, 40, byte(i)})
}

// One new flow: two NAT decisions, insertion, and in the long run its expiry.
func BenchmarkNewFlow(b *testing.B) {
	for _, live := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprint(live), func(b *testing.B) {
			tb := newTable(Config{})
			pkt := mkUDP(client, 1, service, 80)
			buf := make([]byte, len(pkt))
			step := 30 * time.Second / time.Duration(live)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				copy(buf, pkt)
				buf[13], buf[14], buf[15] = byte(i>>16), byte(i>>8), byte(i)
				now := time.Duration(i) * step
				c := tb.Track(now, buf)
				if c.NeedsNAT(Dst) {
					if err := tb.Setup(c.Entry, Dst, Range{MinAddr: backend, MinPort: 8080}); err != nil {
						b.Fatal(err)
					}
				}
				if c.NeedsNAT(Src) {
					if err := tb.Setup(c.Entry, Src, Range{}); err != nil {
						b.Fatal(err)
					}
				}
				if !tb.Confirm(now, c) {
					b.Fatal("dropped")
				}
			}
		})
	}
}
