package stack

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func TestUnansweredARPFailsAfterThreeSeconds(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		lo := n.record(a.Device("lo"))
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		r, err := c.Ping(addr("10.0.0.9"), 1, time.Minute)
		n.try(err)
		equal(t, "type of the error", r.Type, icmpUnreachable)
		equal(t, "code of the error", r.Code, codeHost)
		equal(t, "time of the error", r.RTT, 3*time.Second)
		equal(t, "sender of the error", r.From, addr("10.0.0.1"))
		var got []string
		for _, f := range s.take() {
			equal(t, "length of a request", len(f.b), 42)
			got = append(got, f.String())
		}
		n.want("three requests, a second apart", got,
			"0s who-has 10.0.0.9 tell 10.0.0.1 broadcast",
			"1s who-has 10.0.0.9 tell 10.0.0.1 broadcast",
			"2s who-has 10.0.0.9 tell 10.0.0.1 broadcast")
		n.want("the error comes over lo", lo.lines()[:1], "3s in 10.0.0.1 > 10.0.0.1 icmp 3/1")
		equal(t, "state afterwards", neighState(a, "10.0.0.9"), NeighFailed)
		equal(t, "drops", d.Point().Drops(DropNeighFailed)+a.lo.Point().Drops(DropNeighFailed), 1)
	})
}

func TestARPRequestBytes(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.244.1.9/24")
		n.do(d.Announce)
		want := append(append(unhex(t, "ffffffffffff"), d.MAC[:]...), unhex(t, "0806 0001 0800 0604 0001")...)
		want = append(append(want, d.MAC[:]...), unhex(t, "0af40109 000000000000 0af40109")...)
		got := s.take()
		if len(got) != 1 || !bytes.Equal(got[0].b, want) {
			t.Errorf("gratuitous ARP: got %x, want %x", got, want)
		}
	})
}

func TestFirstPingNeedsOneARPExchange(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		rec := n.record(b.Device("eth0"))
		ping(n, a, "10.0.0.2", 4*time.Millisecond)
		mac := b.Device("eth0").MAC.String()
		n.want("b learns a from its request", rec.lines(),
			"1ms in who-has 10.0.0.2 tell 10.0.0.1 broadcast",
			"1ms out 10.0.0.2 is-at "+mac+" to "+a.Device("eth0").MAC.String(),
			"3ms in 10.0.0.1 > 10.0.0.2 echo request",
			"3ms out 10.0.0.2 > 10.0.0.1 echo reply")
		equal(t, "b has heard a", neighState(b, "10.0.0.1"), NeighDelay)
		equal(t, "a was answered", neighState(a, "10.0.0.2"), NeighReachable)
	})
}

// ping sends one echo request and wants the answer after rtt.
func ping(n *network, from *Host, to string, rtt time.Duration) {
	n.Helper()
	c, err := from.OpenPing(PingConfig{})
	n.try(err)
	defer c.Close()
	r, err := c.Ping(addr(to), 1, 10*time.Second)
	if err != nil || r.Err() != nil {
		n.Fatalf("ping %s: got %+v, %v, want a reply", to, r, err)
	}
	equal(n, "round trip to "+to, r.RTT, rtt)
}

// neighState returns the state of an entry, "" if there is none.
func neighState(h *Host, a string) (s NeighState) {
	h.Driver().Do(func() {
		for _, x := range h.Neighbours() {
			if x.Addr == addr(a) {
				s = x.State
			}
		}
	})
	return s
}

// TestLearningRules is arp_process: who may make an entry, who may change one.
func TestLearningRules(t *testing.T) {
	other := link.MAC{2, 9, 9, 9, 9, 9}
	tests := []struct {
		name    string
		before  bool // 10.0.0.2 is known at the station's MAC, REACHABLE
		op      uint16
		spa     string
		tpa     string
		unicast bool
		want    NeighState
		moved   bool
		answer  bool
	}{
		{"request for us makes an entry", false, arpRequest, "10.0.0.2", "10.0.0.1", false, NeighStale, true, true},
		{"request for another makes none", false, arpRequest, "10.0.0.2", "10.0.0.3", false, "", false, false},
		{"request for another moves one", true, arpRequest, "10.0.0.2", "10.0.0.3", false, NeighStale, true, false},
		{"gratuitous request makes none", false, arpRequest, "10.0.0.2", "10.0.0.2", false, "", false, false},
		{"gratuitous request moves one", true, arpRequest, "10.0.0.2", "10.0.0.2", false, NeighStale, true, false},
		{"gratuitous reply moves one", true, arpReply, "10.0.0.2", "10.0.0.2", false, NeighStale, true, false},
		{"unasked reply makes none", false, arpReply, "10.0.0.2", "10.0.0.1", true, "", false, false},
		{"reply to us confirms", true, arpReply, "10.0.0.2", "10.0.0.1", true, NeighReachable, true, false},
		{"probe for our address is answered", false, arpRequest, "0.0.0.0", "10.0.0.1", false, "", false, true},
		{"RARP is not ARP", true, 3, "10.0.0.2", "10.0.0.2", false, NeighReachable, false, false},
		{"group sender is refused", true, arpRequest, "224.0.0.1", "10.0.0.1", false, NeighReachable, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a := n.host(Config{Name: "a"})
				s, d := n.station(a, "eth0", "10.0.0.1/24")
				if tt.before {
					n.do(func() {
						a.neigh.learn(d, addr("10.0.0.2"), s.mac, heard{request: true, answer: true})
					})
					n.wait(1001 * time.Millisecond) // locktime
				}
				to := link.Broadcast
				if tt.unicast {
					to = d.MAC
				}
				s.send(frame(to, other, etherARP, arpPacket(tt.op, other, tt.spa, link.MAC{}, tt.tpa)))
				got := s.take()
				equal(t, "state", neighState(a, "10.0.0.2"), tt.want)
				if tt.want != "" {
					equal(t, "moved", a.Neighbours()[0].MAC == other, tt.moved)
				}
				equal(t, "answered", len(got) == 1, tt.answer)
				if tt.answer {
					equal(t, "answer goes to", link.DstMAC(got[0].b), other)
				}
			})
		})
	}
}

func TestStaleNeighbourIsProbedUnicast(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		n.do(func() { a.neigh.learn(d, addr("10.0.0.2"), s.mac, heard{request: true}) })
		equal(t, "heard of, not confirmed", neighState(a, "10.0.0.2"), NeighStale)
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		if _, err := c.Ping(addr("10.0.0.2"), 1, time.Second); err != os.ErrDeadlineExceeded {
			n.Fatalf("ping: got %v, want a timeout", err)
		}
		equal(t, "used while stale", neighState(a, "10.0.0.2"), NeighDelay)
		n.wait(5 * time.Second)
		equal(t, "being asked", neighState(a, "10.0.0.2"), NeighProbe)
		n.wait(5 * time.Second)
		equal(t, "after three probes", neighState(a, "10.0.0.2"), NeighFailed)
		var got []string
		for _, f := range s.take() {
			got = append(got, f.String())
		}
		n.want("delay of 5 s, then three unicast probes", got,
			"0s 10.0.0.1 > 10.0.0.2 echo request",
			"5s who-has 10.0.0.2 tell 10.0.0.1 to "+s.mac.String(),
			"6s who-has 10.0.0.2 tell 10.0.0.1 to "+s.mac.String(),
			"7s who-has 10.0.0.2 tell 10.0.0.1 to "+s.mac.String())
		equal(t, "entries in doubt", d.unsure, 0)
	})
}

func TestReachableTimeIsRandomAroundThirtySeconds(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		seen := make(map[time.Duration]bool)
		confirm := func() (left time.Duration) {
			n.do(func() {
				a.neigh.learn(d, addr("10.0.0.2"), s.mac, heard{request: true, answer: true})
				left = a.neigh.entries[neighKey{d, addr("10.0.0.2")}].expires() - n.drv.Now()
			})
			return left
		}
		for range 100 {
			left := confirm()
			if left < 15*time.Second || left >= 45*time.Second {
				t.Errorf("reachable for %v, want 15 s to 45 s", left)
			}
			seen[left] = true
			n.wait(299 * time.Second)
			equal(t, "chosen once in 300 s", confirm(), left)
			n.wait(time.Second)
		}
		if len(seen) < 90 {
			t.Errorf("%d different times of 100, want random ones", len(seen))
		}
		n.wait(45 * time.Second)
		equal(t, "afterwards", neighState(a, "10.0.0.2"), NeighStale)
	})
}

func TestTCPProgressConfirmsNeighbour(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		c, peer := connect(n, a, b, "10.0.0.2:80")
		defer c.Close()
		defer peer.Close()
		rec := n.record(a.Device("eth0"))
		for range 120 { // a minute: REACHABLE ends meanwhile
			c.Write([]byte("x"))
			peer.Read(make([]byte, 1))
			n.wait(500 * time.Millisecond)
		}
		for _, s := range rec.seen {
			if link.EtherType(s.b) == etherARP && s.dir == link.Out && s.at > time.Second {
				t.Errorf("%v: a probed although the connection made progress", s)
			}
		}
	})
}
