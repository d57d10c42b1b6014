package conntrack

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestFirstPacketIsNewAndAnswerIsEstablished(t *testing.T) {
	for _, tt := range []struct {
		name            string
		request, answer []byte
	}{
		{"udp", udp(client, 4000, backend, 53, "q"), udp(backend, 53, client, 4000, "a")},
		{"tcp", tcp(client, 4000, backend, 80, "S", 1, 0, ""), tcp(backend, 80, client, 4000, "SA", 9, 2, "")},
		{"ping", ping(client, backend, 7), icmp(backend, client, 0, 0, 7, 1, []byte("abcdefgh"))},
		{"timestamp", icmp(client, backend, 13, 0, 7, 1, nil), icmp(backend, client, 14, 0, 7, 1, nil)},
		{"sctp", sctp(client, 4000, backend, 80, "\x01\x00\x00\x00\x00\x07init"), sctp(backend, 80, client, 4000, "\x02\x00\x00\x00\x00\x07ack")},
		{"ospf", raw(client, backend, 89, "hello"), raw(backend, client, 89, "hello")},
		{"gre", raw(client, backend, 47, "\x00\x00\x08\x00"), raw(backend, client, 47, "\x00\x00\x08\x00")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(Config{})
			c := wantPass(t, tb, 0, tt.request, rules{})
			if c.State != StateNew || c.Dir != Original {
				t.Errorf("request: got %v %v, want NEW original", c.State, c.Dir)
			}
			again := wantPass(t, tb, 1, tt.request, rules{})
			if again.State != StateNew || again.Entry != c.Entry {
				t.Errorf("request again: got %v, want NEW of the same entry", again.State)
			}
			reply := wantPass(t, tb, 2, tt.answer, rules{})
			if reply.State != StateEstablished || reply.Dir != Reply || reply.Entry != c.Entry {
				t.Errorf("answer: got %v %v, want ESTABLISHED reply of the same entry", reply.State, reply.Dir)
			}
			if tt.name == "tcp" || tt.name == "sctp" {
				return // a second SYN or INIT after the answer is another matter
			}
			third := wantPass(t, tb, 3, tt.request, rules{})
			if third.State != StateEstablished || third.Dir != Original {
				t.Errorf("request after the answer: got %v %v, want ESTABLISHED original", third.State, third.Dir)
			}
			if got, want := c.Entry.Counter(Original).Packets, uint64(3); got != want {
				t.Errorf("packets of the request direction: got %d, want %d", got, want)
			}
			if got, want := c.Entry.Counter(Reply).Bytes, uint64(len(tt.answer)); got != want {
				t.Errorf("bytes of the reply direction: got %d, want %d", got, want)
			}
		})
	}
}

func TestDroppedFirstPacketLeavesNoEntry(t *testing.T) {
	tb := newTable(Config{})
	pkt := udp(client, 4000, backend, 53, "q")
	first := tb.Track(0, pkt)
	if tb.Len() != 0 {
		t.Errorf("before Confirm: got %d entries, want 0", tb.Len())
	}
	if second := tb.Track(1, pkt); second.State != StateNew || second.Entry == first.Entry {
		t.Errorf("after an unconfirmed packet: got %v, want NEW with an entry of its own", second.State)
	}
}

func TestInvalidPackets(t *testing.T) {
	u := udp(client, 4000, backend, 53, "query")
	s := tcp(client, 4000, backend, 80, "S", 1, 0, "")
	for _, tt := range []struct {
		name string
		pkt  []byte
	}{
		{"empty", nil},
		{"half an IP header", u[:10]},
		{"IP version 5", patch(u, 0, 0x55)},
		{"IP header length 4 words", patch(u, 0, 0x44)},
		{"IP header longer than the packet", patch(u, 0, 0x4f)},
		{"total length beyond the packet", patch(u, 2, 0xff, 0xff)},
		{"total length shorter than the header", patch(u, 2, 0, 19)},
		{"UDP ports cut", patch(u[:22], 2, 0, 22)},
		{"UDP header cut", patch(u[:26], 2, 0, 26)},
		{"UDP length beyond the packet", patch(u, 24, 0, 200)},
		{"UDP length shorter than its header", patch(u, 24, 0, 7)},
		{"TCP header cut", patch(s[:38], 2, 0, 38)},
		{"TCP header length 4 words", patch(s, 32, 0x40)},
		{"TCP header longer than the packet", patch(s, 32, 0xf0)},
		{"TCP without flags", tcp(client, 1, backend, 2, "", 1, 1, "")},
		{"TCP SYN FIN", tcp(client, 1, backend, 2, "SF", 1, 1, "")},
		{"TCP SYN RST", tcp(client, 1, backend, 2, "SR", 1, 1, "")},
		{"TCP FIN without ACK", tcp(client, 1, backend, 2, "F", 1, 1, "")},
		{"TCP Christmas tree", tcp(client, 1, backend, 2, "SAFRPU", 1, 1, "")},
		{"TCP SYN-ACK out of nowhere", tcp(client, 1, backend, 2, "SA", 1, 1, "")},
		{"TCP FIN out of nowhere", tcp(client, 1, backend, 2, "FA", 1, 1, "")},
		{"TCP RST out of nowhere", tcp(client, 1, backend, 2, "R", 1, 1, "")},
		{"ICMP header cut", patch(ping(client, backend, 1)[:26], 2, 0, 26)},
		{"echo reply out of nowhere", icmp(client, backend, 0, 0, 1, 1, nil)},
		{"ICMP router advertisement", icmp(client, backend, 9, 0, 1, 1, nil)},
		{"ICMP type 200", icmp(client, backend, 200, 0, 1, 1, nil)},
		{"port unreachable about nothing known", icmpError(backend, client, 3, 3, u, 0)},
		{"port unreachable without a quote", icmp(backend, client, 3, 3, 0, 0, nil)},
		{"port unreachable quoting half a header", icmpError(backend, client, 3, 3, u, 12)},
		{"port unreachable about a port unreachable", icmpError(backend, client, 3, 3, icmpError(client, backend, 3, 3, u, 0), 0)},
		{"SCTP without chunks", sctp(client, 1, backend, 2)},
		{"SCTP data out of nowhere", sctp(client, 1, backend, 2, "\x00\x03data")},
		{"SCTP INIT in company", sctp(client, 1, backend, 2, "\x01\x00\x00\x00\x00\x07init", "\x00\x03data")},
		{"SCTP abort out of nowhere", sctp(client, 1, backend, 2, "\x06\x00")},
		{"SCTP header cut", patch(sctp(client, 1, backend, 2, "\x01\x00\x00\x00\x00\x07init")[:30], 2, 0, 30)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(Config{})
			if c := tb.Track(0, tt.pkt); c.State != StateInvalid || c.Entry != nil {
				t.Errorf("Track(%x): got %v, want INVALID", tt.pkt, c.State)
			}
			s := tb.Stats()
			if s.Invalid+s.ICMPError != 1 {
				t.Errorf("counters: got %+v, want one invalid packet", s)
			}
		})
	}
}

func TestUntracked(t *testing.T) {
	tb := newTable(Config{})
	for name, pkt := range map[string][]byte{
		"second fragment": patch(udp(client, 1, backend, 2, "abcdefgh"), 6, 0x20, 0x01),
		"IPv6":            {0x60, 0, 0, 0, 0, 0, 59, 64},
	} {
		c := tb.Track(0, pkt)
		if c != (Conn{}) {
			t.Errorf("%s: got %v, want UNTRACKED", name, c.State)
		}
		if err := tb.Translate(c, Dst, pkt); err != nil || !tb.Confirm(0, c) || c.NeedsNAT(Dst) {
			t.Errorf("%s: is not let through", name)
		}
	}
}

func TestTimeouts(t *testing.T) {
	type packetAt struct {
		at  time.Duration
		pkt []byte
	}
	query, answer := udp(client, 4000, backend, 53, "q"), udp(backend, 53, client, 4000, "a")
	gre, greBack := raw(client, backend, 47, "\x00\x00\x08\x00"), raw(backend, client, 47, "\x00\x00\x08\x00")
	for _, tt := range []struct {
		name    string
		packets []packetAt
		expires time.Duration
		assured bool
	}{
		{"udp unanswered", []packetAt{{0, query}}, 30 * sec, false},
		{"udp refreshed", []packetAt{{0, query}, {20 * sec, query}}, 50 * sec, false},
		{"udp answered at once", []packetAt{{0, query}, {sec, answer}}, 31 * sec, false},
		{"udp answered late, the answer is not two-way traffic yet", []packetAt{{0, query}, {5 * sec, answer}}, 35 * sec, false},
		{"udp talk of 2 s", []packetAt{{0, query}, {1, answer}, {2 * sec, query}}, 32 * sec, false},
		{"udp stream", []packetAt{{0, query}, {1, answer}, {2*sec + 1, query}}, 122*sec + 1, true},
		{"udp stream by its replies", []packetAt{{0, query}, {1, answer}, {3 * sec, answer}}, 123 * sec, true},
		{"ping", []packetAt{{0, ping(client, backend, 1)}}, 30 * sec, false},
		{"ping answered", []packetAt{{0, ping(client, backend, 1)}, {9 * sec, icmp(backend, client, 0, 0, 1, 1, nil)}}, 39 * sec, false},
		{"gre", []packetAt{{0, gre}}, 30 * sec, false},
		{"gre stream", []packetAt{{0, gre}, {1 * sec, greBack}, {2 * sec, gre}}, 182 * sec, true},
		{"generic", []packetAt{{0, raw(client, backend, 89, "hello")}}, 600 * sec, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(Config{})
			var c Conn
			for _, p := range tt.packets {
				c = wantPass(t, tb, p.at, p.pkt, rules{})
			}
			if got := c.Entry.Deadline(); got != tt.expires {
				t.Errorf("deadline: got %v, want %v", got, tt.expires)
			}
			if got := c.Entry.Status()&Assured != 0; got != tt.assured {
				t.Errorf("assured: got %v, want %v", got, tt.assured)
			}
			first := tt.packets[0].pkt
			if c := tb.Track(tt.expires-1, udp(client, 1, client2, 1, "")); c.State != StateNew || tb.Len() != 1 {
				t.Errorf("just before the deadline: got %d entries, want 1", tb.Len())
			}
			if c := tb.Track(tt.expires, first); c.State != StateNew || c.Entry.Status()&Confirmed != 0 {
				t.Errorf("first packet again at the deadline: got %v with status %v, want a new entry", c.State, c.Entry.Status())
			}
			if tb.Len() != 0 || tb.Stats().Expired != 1 {
				t.Errorf("at the deadline: got %d entries, %d expired, want 0 and 1", tb.Len(), tb.Stats().Expired)
			}
		})
	}
}

func TestTimeoutsCanBeSet(t *testing.T) {
	tb := newTable(Config{Timeouts: Timeouts{UDP: 7 * sec, TCPEstablished: 24 * time.Hour}})
	if c := wantPass(t, tb, 0, udp(client, 1, backend, 2, ""), rules{}); c.Entry.Deadline() != 7*sec {
		t.Errorf("udp deadline: got %v, want 7s", c.Entry.Deadline())
	}
	if c := wantPass(t, tb, 0, ping(client, backend, 2), rules{}); c.Entry.Deadline() != 30*sec {
		t.Errorf("icmp deadline: got %v, want the default 30s", c.Entry.Deadline())
	}
	if c := handshake(t, tb, 0); c.Entry.Deadline() != 24*time.Hour {
		t.Errorf("tcp deadline: got %v, want 24h", c.Entry.Deadline())
	}
}

// The heap must agree with a plain list of deadlines, whatever is refreshed, shortened and deleted.
func TestExpiryAgreesWithModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	tb := newTable(Config{})
	model := map[uint16]time.Duration{} // by source port
	now := time.Duration(0)
	steps := 20000
	if raceEnabled {
		steps = 2000 // of one goroutine
	}
	for range steps {
		now += time.Duration(rng.Int64N(int64(200 * time.Millisecond)))
		for port, at := range model {
			if at <= now {
				delete(model, port)
			}
		}
		port := uint16(rng.IntN(2000))
		if rng.IntN(10) == 0 {
			tb.Delete(now, func(e *Entry) bool { return e.Tuple(Original).SrcPort == port })
			delete(model, port)
			continue
		}
		wantPass(t, tb, now, udp(client, port, backend, 53, ""), rules{})
		model[port] = now + 30*sec
		if live := len(tb.Entries(now)); live != len(model) {
			t.Fatalf("at %v: got %d live entries, want %d", now, live, len(model))
		}
		if rng.IntN(100) != 0 {
			continue
		}
		for _, e := range tb.Entries(now) {
			if want := model[e.Tuple(Original).SrcPort]; e.Deadline() != want {
				t.Fatalf("at %v: %v expires at %v, want %v", now, e, e.Deadline(), want)
			}
		}
	}
}

func TestSilentTableGivesItsMemoryBack(t *testing.T) {
	tb := newTable(Config{})
	for port := range uint16(20000) {
		wantPass(t, tb, 0, udp(client, port, backend, 53, ""), rules{src: to(gateway, 0)})
	}
	if at, ok := tb.NextExpiry(); !ok || at != 30*sec {
		t.Errorf("NextExpiry: got %v %v, want 30s true", at, ok)
	}
	grown := len(tb.hash.buckets)
	tb.Sweep(30 * sec)
	if tb.Len() != 0 || len(tb.expiry) != 0 || len(tb.bySource) != 0 {
		t.Errorf("after Sweep: got %d entries, %d queued, %d sources, want none", tb.Len(), len(tb.expiry), len(tb.bySource))
	}
	if len(tb.hash.buckets) > grown/64 || cap(tb.expiry) > 128 {
		t.Errorf("after Sweep: %d of %d buckets and room for %d queued are kept, want few", len(tb.hash.buckets), grown, cap(tb.expiry))
	}
	if _, ok := tb.NextExpiry(); ok {
		t.Error("NextExpiry of an empty table: got true, want false")
	}
}

// Without Sweep the packets themselves clean up, a little each.
func TestPacketsSweep(t *testing.T) {
	tb := newTable(Config{})
	for port := range uint16(1000) {
		wantPass(t, tb, 0, udp(client, port, backend, 53, ""), rules{})
	}
	for port := range uint16(1000) {
		wantPass(t, tb, 31*sec, udp(client2, port, backend, 53, ""), rules{})
	}
	if got := tb.Len(); got != 1000 {
		t.Errorf("entries: got %d, want the 1000 live ones", got)
	}
}

func TestTimeDoesNotRunBackwards(t *testing.T) {
	tb := newTable(Config{})
	wantPass(t, tb, 10*sec, udp(client, 1, backend, 2, ""), rules{})
	c := wantPass(t, tb, 5*sec, udp(client, 1, backend, 2, ""), rules{})
	if got := c.Entry.Deadline(); got != 40*sec {
		t.Errorf("deadline after a packet from the past: got %v, want 40s", got)
	}
}

func TestConfirmRefusesTakenTuple(t *testing.T) {
	tb := newTable(Config{})
	// Two flows that are in flight at once and get the same reply tuple: the second loses.
	a, b := tb.Track(0, tcp(client, 1000, service, 80, "S", 1, 0, "")), tb.Track(0, tcp(client, 1000, service2, 80, "S", 1, 0, ""))
	for _, c := range []Conn{a, b} {
		if err := tb.Setup(c.Entry, Dst, to(backend, 8080)); err != nil {
			t.Fatal(err)
		}
		if err := tb.Setup(c.Entry, Src, Range{}); err != nil {
			t.Fatal(err)
		}
	}
	if !tb.Confirm(0, a) || tb.Confirm(0, b) {
		t.Error("Confirm: want true for the first, false for the second")
	}
	if s := tb.Stats(); s.InsertFailed != 1 || s.Drop != 1 || s.Insert != 1 {
		t.Errorf("counters: got %+v, want one insert, one failed and dropped", s)
	}
	// Two copies of one datagram are one flow.
	pkt := udp(client, 1, backend, 2, "")
	a, b = tb.Track(0, pkt), tb.Track(0, pkt)
	if !tb.Confirm(0, a) || !tb.Confirm(0, b) || tb.Len() != 2 {
		t.Errorf("copies of a datagram: want both confirmed and one entry more, got %d", tb.Len())
	}
}
