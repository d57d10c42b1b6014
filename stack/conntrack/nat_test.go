package conntrack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// masquerade sends the first packet of src:port -> dst and returns the port it leaves with.
func masquerade(t *testing.T, tb *Table, src netip.Addr, port uint16, dst netip.Addr, r Range) uint16 {
	t.Helper()
	return wantPass(t, tb, 0, udp(src, port, dst, 53, ""), rules{src: r}).Entry.Tuple(Reply).DstPort
}

func TestSourcePortIsKeptWhenFree(t *testing.T) {
	tb := newTable(Config{})
	for _, port := range []uint16{1, 600, 1024, 40000, 65535} {
		if got := masquerade(t, tb, client, port, router, to(gateway, 0)); got != port {
			t.Errorf("first client with port %d: leaves with %d, want the same", port, got)
		}
		low, size := portClass(protoUDP, port)
		if got := masquerade(t, tb, client2, port, router, to(gateway, 0)); got == port || uint32(got)-low >= size {
			t.Errorf("second client with port %d: leaves with %d, want another from %d on, %d in all", port, got, low, size)
		}
	}
}

func TestSourceKeepsItsPortForOtherDestinations(t *testing.T) {
	tb := newTable(Config{})
	masquerade(t, tb, client, 5000, router, to(gateway, 0))
	moved := masquerade(t, tb, client2, 5000, router, to(gateway, 0))
	if got := masquerade(t, tb, client2, 5000, backend, to(gateway, 0)); got != moved {
		t.Errorf("to another destination: leaves with %d, want %d as to the first", got, moved)
	}
	tb.Flush()
	if got := masquerade(t, tb, client2, 5000, backend, to(gateway, 0)); got != 5000 {
		t.Errorf("after Flush: leaves with %d, want 5000", got)
	}
}

func TestRandomFullyIsUniformInItsClass(t *testing.T) {
	for _, tt := range []struct{ port, low, high uint16 }{
		{1, 1, 511}, {511, 1, 511}, {512, 600, 1023}, {1023, 600, 1023}, {1024, 1024, 65535}, {65535, 1024, 65535},
	} {
		for _, r := range []Range{{MinAddr: gateway, RandomFully: true}, {MinAddr: gateway, Random: true}} {
			tb := newTable(Config{})
			const draws, bins = 4000, 8
			var count [bins]int
			for i := range draws {
				// Every flow has a destination of its own, so no port is ever taken.
				dst := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
				got := masquerade(t, tb, client, tt.port, dst, r)
				if got < tt.low || got > tt.high {
					t.Fatalf("from port %d: got %d, want %d..%d", tt.port, got, tt.low, tt.high)
				}
				count[int(got-tt.low)*bins/(int(tt.high-tt.low)+1)]++
			}
			for bin, n := range count {
				if n < draws/bins*8/10 || n > draws/bins*12/10 {
					t.Errorf("from port %d: %d of %d in bin %d of %d, want about %d", tt.port, n, draws, bin, bins, draws/bins)
				}
			}
		}
	}
}

func TestExplicitPortRange(t *testing.T) {
	tb := newTable(Config{})
	r := Range{MinAddr: gateway, MinPort: 3000, MaxPort: 3009}
	if got := masquerade(t, tb, client, 3005, router, r); got != 3005 {
		t.Errorf("port inside the range: leaves with %d, want 3005", got)
	}
	seen := map[uint16]bool{3005: true}
	for i := range uint16(9) {
		got := masquerade(t, tb, client, 100+i, router, r)
		if got < 3000 || got > 3009 || seen[got] {
			t.Errorf("flow %d: leaves with %d, want a free one in 3000..3009", i, got)
		}
		seen[got] = true
	}
	// Ten ports, ten flows: the eleventh has no place.
	if _, ok := pass(t, tb, 0, udp(client, 200, router, 53, ""), rules{src: r}); ok || tb.Stats().NATExhausted != 1 {
		t.Errorf("eleventh flow: passed is %v with %d counted, want dropped and counted", ok, tb.Stats().NATExhausted)
	}
	// To another destination every port is free again.
	masquerade(t, tb, client, 200, backend, r)
	// When a flow ends its port is free again.
	if n := tb.Delete(0, func(e *Entry) bool { return e.Tuple(Reply).DstPort == 3007 && e.Tuple(Original).Dst == router }); n != 1 {
		t.Fatalf("deleted %d, want 1", n)
	}
	if got := masquerade(t, tb, client, 300, router, r); got != 3007 {
		t.Errorf("after a flow ended: leaves with %d, want 3007", got)
	}
}

func TestPortSearchIsBounded(t *testing.T) {
	tb := newTable(Config{Max: 70000})
	for port := 1024; port < 65536; port++ {
		masquerade(t, tb, client, uint16(port), router, to(gateway, 0))
	}
	found := tb.Stats().Found
	if _, ok := pass(t, tb, 0, udp(client2, 5000, router, 53, ""), rules{src: to(gateway, 0)}); ok {
		t.Error("a flow got through although every port is taken")
	}
	if s := tb.Stats(); s.NATExhausted != 1 || s.Found != found {
		t.Errorf("counters: got %+v, want one flow without a port", s)
	}
	// A low port of another class is free.
	masquerade(t, tb, client2, 700, router, to(gateway, 0))
}

func TestNullBindingKeepsFlowsApart(t *testing.T) {
	// A client talks from one port to two services that end at the same backend: the reply tuples would be one.
	for name, mk := range map[string]func(dst netip.Addr) []byte{
		"tcp": func(dst netip.Addr) []byte { return tcp(client, 4000, dst, 80, "S", 1, 0, "") },
		"udp": func(dst netip.Addr) []byte { return udp(client, 4000, dst, 80, "") },
	} {
		tb := newTable(Config{})
		first := wantPass(t, tb, 0, mk(service), rules{dst: to(backend, 8080)})
		second := wantPass(t, tb, 0, mk(service2), rules{dst: to(backend, 8080)})
		a, b := first.Entry.Tuple(Reply), second.Entry.Tuple(Reply)
		if a.DstPort != 4000 || b.DstPort == 4000 || b.DstPort < 1024 || b.Dst != client {
			t.Errorf("%s: backend sees ports %d and %d of %v, want 4000 and another of the client", name, a.DstPort, b.DstPort, b.Dst)
		}
		if first.Entry.Status()&SrcNAT != 0 || second.Entry.Status()&SrcNAT == 0 {
			t.Errorf("%s: status %b and %b, want SRC_NAT for the second only", name, first.Entry.Status(), second.Entry.Status())
		}
	}
}

func TestDestinationPort(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    Range
		want uint16
	}{
		{"kept", to(backend, 0), 80},
		{"set", to(backend, 8080), 8080},
		{"in the range", Range{MinAddr: backend, MinPort: 70, MaxPort: 90}, 80},
		{"first of the range", Range{MinAddr: backend, MinPort: 8000, MaxPort: 8100}, 8000},
		{"only the port, as REDIRECT sets it", Range{MinPort: 15001}, 15001},
	} {
		tb := newTable(Config{})
		c := wantPass(t, tb, 0, tcp(client, 4000, service, 80, "S", 1, 0, ""), rules{dst: tt.r})
		if got := c.Entry.Tuple(Reply).SrcPort; got != tt.want {
			t.Errorf("%s: got destination port %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestAddressRange(t *testing.T) {
	first, last := netip.MustParseAddr("10.244.2.254"), netip.MustParseAddr("10.244.3.1")
	pick := func(r Range, src, dst netip.Addr) netip.Addr {
		tb := newTable(Config{})
		return wantPass(t, tb, 0, udp(src, 1, dst, 53, ""), rules{dst: r}).Entry.Tuple(Reply).Src
	}
	spread := map[netip.Addr]int{}
	moved := 0
	for i := range 400 {
		src := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		a := pick(Range{MinAddr: first, MaxAddr: last}, src, service)
		if a.Less(first) || last.Less(a) {
			t.Fatalf("client %v: got %v, want one of %v..%v", src, a, first, last)
		}
		if b := pick(Range{MinAddr: first, MaxAddr: last}, src, service); b != a {
			t.Errorf("client %v again, in another table: got %v, want %v", src, b, a)
		}
		if pick(Range{MinAddr: first, MaxAddr: last}, src, service2) != a {
			moved++
		}
		p := Range{MinAddr: first, MaxAddr: last, Persistent: true}
		if x, y := pick(p, src, service), pick(p, src, service2); x != y {
			t.Errorf("client %v, persistent: got %v and %v for two destinations, want one address", src, x, y)
		}
		spread[a]++
	}
	for a, n := range spread {
		if n < 60 || n > 140 {
			t.Errorf("%v: got %d of 400 clients, want about 100", a, n)
		}
	}
	if len(spread) != 4 || moved < 200 {
		t.Errorf("got %d addresses in use, %d of 400 clients moved with the destination, want 4 and about 300", len(spread), moved)
	}
}

func TestSetupErrors(t *testing.T) {
	tb := newTable(Config{})
	c := tb.Track(0, udp(client, 1, service, 53, ""))
	six := netip.MustParseAddr("fd00::1")
	for _, tt := range []struct {
		name string
		e    *Entry
		r    Range
		want error
	}{
		{"no entry", nil, Range{}, ErrSetup},
		{"IPv6 address", c.Entry, to(six, 0), ErrFamily},
		{"IPv6 last address", c.Entry, Range{MinAddr: backend, MaxAddr: six}, ErrFamily},
		{"range upside down", c.Entry, Range{MinAddr: backend2, MaxAddr: backend}, ErrFamily},
		{"good", c.Entry, to(backend, 0), nil},
		{"twice", c.Entry, to(backend, 0), ErrSetup},
	} {
		if err := tb.Setup(tt.e, Dst, tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	if !tb.Confirm(0, c) {
		t.Fatal("not confirmed")
	}
	if err := tb.Setup(c.Entry, Src, Range{}); !errors.Is(err, ErrSetup) {
		t.Errorf("confirmed entry: got %v, want ErrSetup", err)
	}
}

func TestTimeWaitYieldsItsPort(t *testing.T) {
	tb := newTable(Config{})
	r := rules{src: Range{MinAddr: gateway, MinPort: 3000, MaxPort: 3001}}
	open := func(port uint16, seq uint32) (Conn, bool) {
		return pass(t, tb, 0, tcp(client, port, router, 80, "S", seq, 0, ""), r)
	}
	mapped := map[uint16]uint16{}
	for _, port := range []uint16{100, 101} {
		c, _ := open(port, 1000)
		mapped[port] = c.Entry.Tuple(Reply).DstPort
		wantPass(t, tb, 0, tcp(router, 80, gateway, mapped[port], "SA", 500, 1001, ""), rules{})
		wantPass(t, tb, 0, tcp(client, port, router, 80, "A", 1001, 501, ""), rules{})
	}
	if _, ok := open(102, 5000); ok {
		t.Error("an open connection lost its port")
	}
	for port, nat := range mapped {
		wantPass(t, tb, 0, tcp(client, port, router, 80, "FA", 1001, 501, ""), rules{})
		wantPass(t, tb, 0, tcp(router, 80, gateway, nat, "FA", 501, 1002, ""), rules{})
		wantPass(t, tb, 0, tcp(client, port, router, 80, "A", 1002, 502, ""), rules{})
	}
	if _, ok := open(103, 900); ok {
		t.Error("a connection with an older sequence number took a port in TIME_WAIT")
	}
	if _, ok := open(104, 5000); !ok {
		t.Error("a connection with a newer sequence number got no port although two are in TIME_WAIT")
	}
}

func TestSameSeedSameChoices(t *testing.T) {
	run := func(seed uint64) string {
		tb := New(Config{Max: 200}, rand.New(rand.NewPCG(seed, 0)))
		rng := rand.New(rand.NewPCG(9, 9))
		for i := range 3000 {
			pkt := udp(client, uint16(rng.IntN(400)), backend, uint16(rng.IntN(3)), "")
			pass(t, tb, time.Duration(i)*sec/100, pkt, rules{src: Range{MinAddr: gateway, RandomFully: i%2 == 0}})
		}
		out := fmt.Sprintf("%+v\n", tb.Stats())
		for _, e := range tb.Entries(30 * sec) {
			out += e.Line(30*sec) + "\n"
		}
		return out
	}
	if a, b := run(1), run(1); a != b {
		t.Errorf("two runs with one seed differ:\n%s\n%s", a, b)
	}
	if run(1) == run(2) {
		t.Error("two seeds gave the same ports")
	}
}
