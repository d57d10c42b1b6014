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
