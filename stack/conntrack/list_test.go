package conntrack

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestEntriesAreSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	tb := newTable(Config{})
	for range 300 {
		src := netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(20))})
		wantPass(t, tb, 0, udp(src, uint16(rng.IntN(99)), backend, uint16(rng.IntN(99)), ""), rules{})
		wantPass(t, tb, 0, ping(src, backend, uint16(rng.IntN(99))), rules{})
	}
	all := tb.Entries(0)
	if len(all) != tb.Len() {
		t.Errorf("got %d entries, want %d", len(all), tb.Len())
	}
	if !slices.IsSortedFunc(all, func(a, b *Entry) int { return a.Tuple(Original).Compare(b.Tuple(Original)) }) {
		t.Error("entries are not in the order of their original tuples")
	}
	if tb.Entries(30*sec) == nil || len(tb.Entries(30*sec)) != 0 {
		t.Error("expired entries are listed")
	}
}

func TestLineLooksLikeProc(t *testing.T) {
	for _, tt := range []struct {
		pkt  []byte
		want string
	}{
		{
			udp(client, 4000, backend, 53, "q"),
			"ipv4     2 udp      17 29 src=10.244.1.3 dst=10.244.2.2 sport=4000 dport=53 packets=1 bytes=29 [UNREPLIED] " +
				"src=10.244.2.2 dst=10.244.1.3 sport=53 dport=4000 packets=0 bytes=0 mark=5 zone=0 use=2",
		},
		{
			ping(client, backend, 7),
			"ipv4     2 icmp     1 29 src=10.244.1.3 dst=10.244.2.2 type=8 code=0 id=7 packets=1 bytes=36 [UNREPLIED] " +
				"src=10.244.2.2 dst=10.244.1.3 type=0 code=0 id=7 packets=0 bytes=0 mark=5 zone=0 use=2",
		},
		{
			tcp(client, 4000, backend, 80, "S", 1, 0, ""),
			"ipv4     2 tcp      6 119 SYN_SENT src=10.244.1.3 dst=10.244.2.2 sport=4000 dport=80 packets=1 bytes=40 [UNREPLIED] " +
				"src=10.244.2.2 dst=10.244.1.3 sport=80 dport=4000 packets=0 bytes=0 mark=5 zone=0 use=2",
		},
		{
			raw(client, backend, 89, "hello"),
			"ipv4     2 unknown  89 599 src=10.244.1.3 dst=10.244.2.2 packets=1 bytes=25 [UNREPLIED] " +
				"src=10.244.2.2 dst=10.244.1.3 packets=0 bytes=0 mark=5 zone=0 use=2",
		},
		{
			raw(client, backend, 47, "\x00\x00\x08\x00"),
			"ipv4     2 gre      47 29 src=10.244.1.3 dst=10.244.2.2 srckey=0x0 dstkey=0x0 packets=1 bytes=24 [UNREPLIED] " +
				"src=10.244.2.2 dst=10.244.1.3 srckey=0x0 dstkey=0x0 packets=0 bytes=0 mark=5 zone=0 use=2",
		},
	} {
		tb := newTable(Config{Acct: true})
		c := wantPass(t, tb, 0, tt.pkt, rules{})
		c.Entry.Mark = 5
		if got := c.Entry.Line(sec / 2); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
		tb.Configure(Config{}) // what is there keeps its counters
		if got := c.Entry.Line(sec / 2); got != tt.want {
			t.Errorf("with nf_conntrack_acct=0 afterwards: got  %s\nwant %s", got, tt.want)
		}
		other := wantPass(t, tb, 0, ping(client2, backend, 1), rules{}).Entry
		tb.Configure(Config{Acct: true}) // and what is not there does not get any
		wantPass(t, tb, 0, ping(client2, backend, 1), rules{})
		if s := other.String(); strings.Contains(s, "packets=") || other.Counter(Original).Packets != 2 {
			t.Errorf("an entry made with nf_conntrack_acct=0 lists counters: %s", s)
		}
	}
}

func TestKubeProxyDeletesStaleUDP(t *testing.T) {
	tb := newTable(Config{})
	for port := range uint16(10) {
		b := backend
		if port%2 == 1 {
			b = backend2
		}
		wantPass(t, tb, 0, udp(client, port, service, 53, ""), rules{dst: to(b, 5353)})
		wantPass(t, tb, 0, tcp(client, port, service, 53, "S", 1, 0, ""), rules{dst: to(b, 5353)})
	}
	n := tb.Delete(0, func(e *Entry) bool {
		return e.Tuple(Original).Proto == protoUDP && e.Tuple(Original).Dst == service && e.Tuple(Reply).Src == backend
	})
	if n != 5 || tb.Len() != 15 {
		t.Errorf("deleted %d, %d left, want 5 and 15", n, tb.Len())
	}
	// The next datagram from the same port is a new flow and goes where the nat table now says.
	c := wantPass(t, tb, 0, udp(client, 0, service, 53, ""), rules{dst: to(backend2, 5353)})
	if c.State != StateNew || c.Entry.Tuple(Reply).Src != backend2 {
		t.Errorf("got %v to %v, want NEW to %v", c.State, c.Entry.Tuple(Reply).Src, backend2)
	}
}

func TestFlushAndLookup(t *testing.T) {
	tb := newTable(Config{})
	c := wantPass(t, tb, 0, udp(client, 4000, service, 53, ""), rules{dst: to(backend, 5353)})
	for _, d := range []Dir{Original, Reply} {
		if e, got := tb.Lookup(0, c.Entry.Tuple(d)); e != c.Entry || got != d {
			t.Errorf("Lookup(%v): got %v %v, want the entry, %v", c.Entry.Tuple(d), e, got, d)
		}
	}
	if e, _ := tb.Lookup(0, Tuple{}); e != nil {
		t.Errorf("Lookup of the zero tuple: got %v, want nil", e)
	}
	tb.Flush()
	if e, _ := tb.Lookup(0, c.Entry.Tuple(Original)); e != nil || tb.Len() != 0 || c.Entry.Status()&Dying == 0 {
		t.Errorf("after Flush: got %v, want nothing", e)
	}
	if !tb.Confirm(0, c) {
		t.Error("a packet under way when its entry was deleted must go on")
	}
}

func TestFullTable(t *testing.T) {
	const limit = 512
	tb := newTable(Config{Max: limit, Buckets: limit})
	assured := func(port uint16) {
		wantPass(t, tb, 0, tcp(client, port, backend, 80, "S", 1, 0, ""), rules{})
		wantPass(t, tb, 0, tcp(backend, 80, client, port, "SA", 1, 2, ""), rules{})
		wantPass(t, tb, 0, tcp(client, port, backend, 80, "A", 2, 2, ""), rules{})
	}
	for port := range uint16(limit) {
		assured(port)
	}
	// All entries are Assured: nothing can be evicted, new flows are refused, known flows go on.
	pkt := udp(client2, 1, backend, 53, "")
	c := tb.Track(0, pkt)
	if c.State != StateRefused || c.Entry != nil || tb.Confirm(0, c) {
		t.Errorf("new flow in a full table: got %v, want REFUSED and not confirmed", c.State)
	}
	if s := tb.Stats(); s.Drop != 1 || s.EarlyDrop != 0 {
		t.Errorf("counters: got %+v, want one drop", s)
	}
	wantPass(t, tb, 0, tcp(client, 0, backend, 80, "A", 2, 2, ""), rules{})

	// With entries that are not Assured, some new flows find one to evict nearby, and no Assured entry goes.
	tb = newTable(Config{Max: limit, Buckets: limit})
	for port := range uint16(limit / 2) {
		assured(port)
	}
	for port := range uint16(limit / 2) {
		wantPass(t, tb, 0, udp(client2, port, backend, 53, ""), rules{})
	}
	passed := 0
	for port := range uint16(50) {
		if _, ok := pass(t, tb, 0, udp(client2, 1000+port, backend, 53, ""), rules{}); ok {
			passed++
		}
		if tb.Len() > limit {
			t.Fatalf("got %d entries, want %d at most", tb.Len(), limit)
		}
	}
	s := tb.Stats()
	if passed < 40 || uint64(50-passed) != s.Drop || s.EarlyDrop == 0 {
		t.Errorf("%d of 50 new flows passed, %+v, want most to find room and the rest counted", passed, s)
	}
	kept := 0
	for _, e := range tb.Entries(0) {
		if e.Status()&Assured != 0 {
			kept++
		}
	}
	if kept != limit/2 {
		t.Errorf("assured entries: got %d, want all %d", kept, limit/2)
	}
	// In a hash table that is far too large for the limit, the eight buckets are empty: nothing gives way.
	tb = newTable(Config{Max: limit})
	for port := range uint16(limit + 50) {
		pass(t, tb, 0, udp(client2, port, backend, 53, ""), rules{})
	}
	if s := tb.Stats(); s.Drop < 48 || s.Drop+s.EarlyDrop != 50 {
		t.Errorf("with %d buckets for %d flows: %+v, want 50 drops or nearly so", DefaultBuckets, limit, s)
	}
	// Two flows in flight when there is room for one.
	tb = newTable(Config{Max: 1})
	a, b := tb.Track(0, udp(client, 1, backend, 1, "")), tb.Track(0, udp(client, 2, backend, 1, ""))
	if !tb.Confirm(0, a) || tb.Confirm(0, b) || tb.Len() != 1 {
		t.Errorf("two in flight, room for one: want the second refused, got %d entries", tb.Len())
	}
}

func TestStateNames(t *testing.T) {
	want := "UNTRACKED INVALID NEW ESTABLISHED RELATED REFUSED"
	var got []string
	for s := StateUntracked; s <= StateRefused; s++ {
		got = append(got, s.String())
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if Original.String()+Reply.String()+Dst.String()+Src.String() != "originalreplydstsrc" {
		t.Errorf("got %v %v %v %v", Original, Reply, Dst, Src)
	}
}

// Cost per packet does not grow with the table: chains stay short at every size.
func TestChainsStayShort(t *testing.T) {
	tb := newTable(Config{})
	for i := range 100000 {
		src := netip.AddrFrom4([4]byte{10, 1, byte(i >> 16), byte(i >> 8)})
		c := tb.Track(0, udp(src, uint16(i&0xff), backend, 53, ""))
		if !tb.Confirm(0, c) {
			t.Fatal("dropped")
		}
		if i&(i-1) != 0 { // look at powers of two
			continue
		}
		longest := 0
		for _, n := range tb.hash.buckets {
			length := 0
			for ; n != nil; n = n.next {
				length++
			}
			longest = max(longest, length)
		}
		if longest > 10 {
			t.Errorf("%d entries: longest chain is %d, want 10 at most", i+1, longest)
		}
	}
}
