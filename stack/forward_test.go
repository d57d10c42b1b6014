package stack

import (
	"bytes"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// router is a forwarding host between two stations, which it knows.
func router(n *network, mtu int) (r *Host, left, right *station) {
	n.Helper()
	r = n.host(Config{Name: "r", Forward: true})
	left, d0 := n.station(r, "eth0", "10.0.1.1/24")
	right, d1 := n.station(r, "eth1", "10.0.2.1/24")
	n.do(func() {
		d1.MTU = mtu
		n.try(r.SetNeighbour(d0, addr("10.0.1.2"), left.mac))
		n.try(r.SetNeighbour(d1, addr("10.0.2.2"), right.mac))
	})
	return r, left, right
}

func TestForward(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, right := router(n, 1500)
		pkt := udpPacket("10.0.1.2:1000", "10.0.2.2:2000", []byte("hello"))
		left.sendIP(r.Device("eth0"), pkt)
		got := right.take()
		want := bytes.Clone(pkt)
		want[8]--
		ipv4(want).fixChecksum()
		if len(got) != 1 || !bytes.Equal(got[0].b, frame(right.mac, r.Device("eth1").MAC, etherIPv4, want)) {
			t.Errorf("got %x, want the packet with TTL 63 and new MACs", got)
		}
	})
}

func TestForwardKeepsTheDatagramsID(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, b := n.routed(link.WireConfig{}, link.WireConfig{})
		ids := make(map[uint64][]string)
		n.do(func() {
			for _, d := range []*Device{a.Device("eth0"), r.Device("eth0"), r.Device("eth1"), b.Device("eth0")} {
				d.Point().Watch(observe(func(o *link.Observation) {
					if link.EtherType(o.Bytes) == etherIPv4 && o.Bytes[34] == icmpEcho {
						ids[o.ID] = append(ids[o.ID], o.Point.Name+" "+o.Direction.String())
					}
				}))
			}
		})
		ping(n, a, "10.0.2.2", 0)
		equal(t, "datagrams", len(ids), 1)
		for _, path := range ids {
			n.want("the request's path", path, "a/eth0 out", "r/eth0 in", "r/eth1 out", "b/eth0 in")
		}
	})
}

type observe func(*link.Observation)

func (f observe) Observe(o *link.Observation) { f(o) }

// TestForwardRefusals is what a router does not forward, and what it answers.
func TestForwardRefusals(t *testing.T) {
	udp := func(dst string, edit func(b ipv4)) []byte {
		b := udpPacket("10.0.1.2:1000", dst+":2000", make([]byte, 1200))
		if edit != nil {
			edit(b)
			ipv4(b).fixChecksum()
		}
		return b
	}
	df := func(b ipv4) { b[6] |= 0x40 }
	ttl1 := func(b ipv4) { b[8] = 1 }
	tests := []struct {
		name   string
		pkt    []byte
		answer string // ICMP type/code
		info   uint32
		drop   link.Reason
	}{
		{"TTL 1", udp("10.0.2.2", ttl1), "11/0", 0, DropTTL},
		{"TTL 0", udp("10.0.2.2", func(b ipv4) { b[8] = 0 }), "11/0", 0, DropTTL},
		{"no route", udp("10.77.0.1", nil), "3/0", 0, DropNoRoute},
		{"no route before TTL", udp("10.77.0.1", ttl1), "3/0", 0, DropNoRoute},
		{"unreachable route", udp("10.78.0.1", nil), "3/1", 0, DropNoRoute},
		{"prohibit route", udp("10.79.0.1", nil), "3/13", 0, DropNoRoute},
		{"blackhole route", udp("10.80.0.1", nil), "", 0, DropBlackhole},
		{"larger than the MTU with DF", udp("10.0.2.2", df), "3/4", 1000, DropTooBig},
		{"source is the router", ipPacket(between("10.0.1.1", "10.0.2.2", 99), nil), "", 0, DropMartianSrc},
		{"source is a group", ipPacket(between("224.0.0.5", "10.0.2.2", 99), nil), "", 0, DropMartianSrc},
		{"source is broadcast", ipPacket(between("255.255.255.255", "10.0.2.2", 99), nil), "", 0, DropMartianSrc},
		{"source is loopback", ipPacket(between("127.0.0.1", "10.0.2.2", 99), nil), "", 0, DropMartianSrc},
		{"source is in 0/8", ipPacket(between("0.0.0.0", "10.0.2.2", 99), nil), "", 0, DropMartianSrc},
		{"destination is loopback", ipPacket(between("10.0.1.2", "127.0.0.1", 99), nil), "", 0, DropMartianDst},
		{"destination is in 0/8", ipPacket(between("10.0.1.2", "0.1.2.3", 99), nil), "", 0, DropMartianDst},
		{"directed broadcast", udp("10.0.2.255", nil), "", 0, DropNoSocket},
		{"unknown protocol for us", ipPacket(between("10.0.1.2", "10.0.1.1", 99), nil), "3/2", 0, DropNoSocket},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				r, left, right := router(n, 1000)
				n.route(r, "10.80.0.0/16", "10.0.2.2", "eth1")
				n.do(func() {
					r.RemoveRoutes(prefix("10.80.0.0/16"), nil)
					n.try(r.AddRoute(Route{Dst: prefix("10.78.0.0/16"), Type: Unreachable}))
					n.try(r.AddRoute(Route{Dst: prefix("10.79.0.0/16"), Type: Prohibit}))
					n.try(r.AddRoute(Route{Dst: prefix("10.80.0.0/16"), Type: Blackhole}))
				})
				left.sendIP(r.Device("eth0"), tt.pkt)
				equal(t, "forwarded", len(right.take()), 0)
				equal(t, "drops for that reason", r.Device("eth0").Point().Drops(tt.drop), 1)
				got := left.take()
				if tt.answer == "" {
					equal(t, "answers", len(got), 0)
					return
				}
				if len(got) != 1 {
					n.Fatalf("answers: got %v, want one", got)
				}
				equal(t, "answer", describeIP(got[0].ip()), "10.0.1.1 > 10.0.1.2 icmp "+tt.answer)
				_, _, info, _ := quoteOf(t, got[0].ip())
				equal(t, "second word", info, tt.info)
			})
		})
	}
}

func TestHostThatDoesNotForward(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		s.sendIP(d, udpPacket("10.0.0.2:1", "10.0.9.9:2", nil))
		s.send(frame(link.MAC{2, 7, 7, 7, 7, 7}, s.mac, etherIPv4, udpPacket("10.0.0.2:1", "10.0.0.1:2", nil)))
		s.send(frame(d.MAC, s.mac, 0x86dd, make([]byte, 40)))
		s.send(make([]byte, 13))
		s.sendIP(d, make([]byte, 20))
		equal(t, "answers", len(s.take()), 0)
		for _, why := range []link.Reason{DropNotForwarder, DropOtherHost, DropEtherType, link.DropRunt, DropBadHeader} {
			equal(t, string(why), d.Point().Drops(why), 1)
		}
		n.do(func() { d.SetUp(false) })
		s.sendIP(d, udpPacket("10.0.0.2:1", "10.0.0.1:2", nil))
		equal(t, "answers of a device that is down", len(s.take()), 0)
	})
}

// TestUnicastInBroadcastFrame: what came as a group is not forwarded, but
// received if it is ours.
func TestUnicastInBroadcastFrame(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, right := router(n, 1500)
		left.send(frame(link.Broadcast, left.mac, etherIPv4, udpPacket("10.0.1.2:1", "10.0.2.2:2", nil)))
		equal(t, "forwarded", len(right.take()), 0)
		equal(t, "dropped", r.Device("eth0").Point().Drops(DropBroadcast), 1)
		left.send(frame(link.Broadcast, left.mac, etherIPv4, tcpPacket("10.0.1.2:1", "10.0.1.1:2", tcpSYN, 1, 0, nil)))
		equal(t, "resets in answer to a broadcast", len(left.take()), 0)
		left.send(frame(link.Broadcast, left.mac, etherIPv4, echoPacket(between("10.0.1.2", "10.0.1.1", 0), 1, 8)))
		equal(t, "echo replies", len(left.take()), 1)
	})
}

func TestNeighbourBehindRouterDoesNotAnswer(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _, _ := n.routed(link.WireConfig{Latency: time.Millisecond}, link.WireConfig{Latency: time.Millisecond})
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		r, err := c.Ping(addr("10.0.2.99"), 1, time.Minute)
		n.try(err)
		equal(t, "error", r.Err().Error(), "destination host unreachable, from 10.0.1.1")
		// 2 ms ARP between a and r, 1 ms there, 3 s of asking, 1 ms back.
		equal(t, "after", r.RTT, 3*time.Second+4*time.Millisecond)
	})
}
