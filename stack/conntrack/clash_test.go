package conntrack

import "testing"

// Two datagrams of one socket are on their way at once, and each is sent to
// another endpoint. Both answers find back; the one that came second for a second
// only, and what follows goes where the first went.
func TestUDPClashIsResolved(t *testing.T) {
	tb := newTable(Config{})
	pkt := udp(client, 1000, service, 53, "")
	a, b := tb.Track(0, pkt), tb.Track(0, pkt)
	for c, endpoint := range map[Conn]Range{a: to(backend, 53), b: to(service2, 53)} {
		if err := tb.Setup(c.Entry, Dst, endpoint); err != nil {
			t.Fatal(err)
		}
		if err := tb.Setup(c.Entry, Src, Range{}); err != nil {
			t.Fatal(err)
		}
	}
	if !tb.Confirm(0, a) || !tb.Confirm(0, b) {
		t.Fatal("Confirm: want true for both")
	}
	if s := tb.Stats(); s.ClashResolved != 1 || s.InsertFailed != 0 || s.Drop != 0 {
		t.Errorf("counters: %+v, want one clash resolved and nothing dropped", s)
	}
	if list := tb.Entries(0); len(list) != 1 || list[0] != a.Entry {
		t.Errorf("entries: %v, want the first alone", list)
	}
	if c := tb.Track(0, pkt); c.Entry != a.Entry {
		t.Errorf("the third datagram belongs to %v, want the first flow", c.Entry)
	}
	answer := udp(service2, 53, client, 1000, "")
	if c := tb.Track(sec-1, answer); c.Entry != b.Entry || c.Dir != Reply {
		t.Errorf("the second endpoint's answer belongs to %v, want the second flow", c.Entry)
	}
	if c := tb.Track(sec, answer); c.Entry == b.Entry {
		t.Error("after a second the second flow is still there")
	}
	tb.Flush()
	if tb.Len() != 0 {
		t.Errorf("%d entries after Flush", tb.Len())
	}
}

// TCP does not bear it: the segment is dropped and will be sent again.
func TestTCPClashIsDropped(t *testing.T) {
	tb := newTable(Config{})
	pkt := tcp(client, 1000, service, 80, "S", 1, 0, "")
	a, b := tb.Track(0, pkt), tb.Track(0, pkt)
	for _, c := range []Conn{a, b} {
		if err := tb.Setup(c.Entry, Dst, to(backend, 8080)); err != nil {
			t.Fatal(err)
		}
	}
	if !tb.Confirm(0, a) || tb.Confirm(0, b) {
		t.Error("Confirm: want true for the first, false for the second")
	}
}

// race has two datagrams of one socket tracked in one instant, the first confirmed
// before the second comes, as the second CPU is not told; each is sent to an endpoint.
func race(t *testing.T, r Race, first, second Range) (tb *Table, a, b Conn, ok bool) {
	t.Helper()
	tb = newTable(Config{Race: r})
	pass := func(to Range) (Conn, bool) {
		c := tb.Track(sec, udp(client, 1000, service, 53, ""))
		if c.NeedsNAT(Dst) {
			if err := tb.Setup(c.Entry, Dst, to); err != nil {
				t.Fatal(err)
			}
			if err := tb.Setup(c.Entry, Src, Range{}); err != nil {
				t.Fatal(err)
			}
		}
		return c, tb.Confirm(sec, c)
	}
	if a, ok = pass(first); !ok {
		t.Fatal("the first datagram is dropped")
	}
	b, ok = pass(second)
	return tb, a, b, ok
}

func TestRace(t *testing.T) {
	one, other := to(backend, 53), to(service2, 53)
	for _, x := range []struct {
		race           Race
		second         Range
		same, ok       bool // the second belongs to the first's flow; it goes on
		failed, solved uint64
	}{
		{NoRace, other, true, true, 0, 0},
		{RaceDrop, one, false, true, 0, 1},
		{RaceDrop, other, false, false, 1, 0},
		{RaceResolve, one, false, true, 0, 1},
		{RaceResolve, other, false, true, 0, 1},
	} {
		tb, a, b, ok := race(t, x.race, one, x.second)
		s := tb.Stats()
		if ok != x.ok || (a.Entry == b.Entry) != x.same || s.InsertFailed != x.failed || s.ClashResolved != x.solved {
			t.Errorf("%+v: goes on %v, same flow %v, counters %+v", x, ok, a.Entry == b.Entry, s)
		}
	}
}

// The race lasts for an instant, and an answer ends it: what comes later belongs to
// the first flow.
func TestRaceIsOver(t *testing.T) {
	tb, a, _, _ := race(t, RaceDrop, to(backend, 53), to(service2, 53))
	if c := tb.Track(sec, udp(backend, 53, client, 1000, "")); c.Entry != a.Entry || c.Dir != Reply {
		t.Errorf("the answer belongs to %v, want the first flow", c.Entry)
	}
	if c := tb.Track(sec, udp(client, 1000, service, 53, "")); c.Entry != a.Entry {
		t.Error("after an answer in the same instant, a datagram begins a flow of its own")
	}
	tb, a, _, _ = race(t, RaceDrop, to(backend, 53), to(service2, 53))
	if c := tb.Track(sec+1, udp(client, 1000, service, 53, "")); c.Entry != a.Entry {
		t.Error("a nanosecond later a datagram begins a flow of its own")
	}
}

// Segments of TCP do not race: a host sends one SYN at a time.
func TestRaceIsOfUDP(t *testing.T) {
	tb := newTable(Config{Race: RaceDrop})
	pkt := tcp(client, 1000, service, 80, "S", 1, 0, "")
	a := tb.Track(0, pkt)
	if !tb.Confirm(0, a) {
		t.Fatal("dropped")
	}
	if b := tb.Track(0, pkt); b.Entry != a.Entry {
		t.Error("a SYN in the same instant begins a flow of its own")
	}
}
