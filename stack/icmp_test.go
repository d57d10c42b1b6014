package stack

import (
	"bytes"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// host1 is a host with one device, plugged into a station that it knows.
func host1(n *network, cfg Config) (*Host, *Device, *station) {
	n.Helper()
	h := n.host(cfg)
	s, d := n.station(h, "eth0", "10.0.0.1/24")
	n.do(func() { n.try(h.SetNeighbour(d, addr("10.0.0.2"), s.mac)) })
	return h, d, s
}

func TestPortUnreachable(t *testing.T) {
	inBubble(t, func(n *network) {
		_, d, s := host1(n, Config{Name: "a"})
		pkt := udpPacket("10.0.0.2:1000", "10.0.0.1:2000", bytes.Repeat([]byte("x"), 800))
		pkt[1] = 0xb9 // DSCP 46, ECT(1)
		ipv4(pkt).fixChecksum()
		s.sendIP(d, pkt)
		got := s.take()
		if len(got) != 1 {
			n.Fatalf("answers: got %v, want one", got)
		}
		ip := got[0].ip()
		typ, code, info, quoted := quoteOf(t, ip)
		equal(t, "type", typ, icmpUnreachable)
		equal(t, "code", code, codePort)
		equal(t, "unused word", info, 0)
		equal(t, "TOS: its bits of RFC 1349 and internetwork control", ip.tos(), 0xd8)
		equal(t, "DF", ip.dontFragment(), false)
		equal(t, "TTL", ip.ttl(), 64)
		equal(t, "total length", ip.totalLen(), 576)
		if !bytes.Equal(quoted, pkt[:548]) {
			t.Errorf("quote of %d bytes differs from the packet", len(quoted))
		}
	})
}

func TestErrorTOS(t *testing.T) {
	inBubble(t, func(n *network) {
		_, d, s := host1(n, Config{Name: "a"})
		s.sendIP(d, udpPacket("10.0.0.2:1000", "10.0.0.1:2000", nil))
		equal(t, "TOS", s.take()[0].ip().tos(), 0xc0)
	})
}

// TestNoErrorAbout is RFC 1122 §3.2.2.
func TestNoErrorAbout(t *testing.T) {
	icmp := func(typ byte) []byte {
		b := make([]byte, icmpHeader+28)
		putICMP(b, typ, 0, 0, b[icmpHeader:])
		h := between("10.0.0.2", "10.9.9.9", protoICMP) // for which there is no route
		return ipPacket(h, b)
	}
	later := ipPacket(ipHeader{src: addr("10.0.0.2"), dst: addr("10.9.9.9"), proto: protoUDP, flags: 100}, make([]byte, 16))
	first := ipPacket(ipHeader{src: addr("10.0.0.2"), dst: addr("10.9.9.9"), proto: protoUDP, flags: flagMF}, make([]byte, 16))
	unroutable := udpPacket("10.0.0.2:1", "10.9.9.9:2", nil)
	tests := []struct {
		name  string
		pkt   []byte
		group bool
		want  int
	}{
		{"datagram", unroutable, false, 1},
		{"first fragment", first, false, 1},
		{"later fragment", later, false, 0},
		{"echo request", icmp(icmpEcho), false, 1},
		{"echo reply", icmp(icmpEchoReply), false, 1},
		{"destination unreachable", icmp(icmpUnreachable), false, 0},
		{"source quench", icmp(icmpSourceQuench), false, 0},
		{"redirect", icmp(icmpRedirect), false, 0},
		{"time exceeded", icmp(icmpTimeExceeded), false, 0},
		{"parameter problem", icmp(icmpParameter), false, 0},
		{"ICMP without a header", ipPacket(between("10.0.0.2", "10.9.9.9", protoICMP), nil), false, 0},
		{"to the broadcast address", udpPacket("10.0.0.2:1", "10.0.0.255:2", nil), true, 0},
		{"to all", udpPacket("10.0.0.2:1", "255.255.255.255:2", nil), true, 0},
		{"to a group", udpPacket("10.0.0.2:1", "224.0.0.251:2", nil), true, 0},
		{"to us in a broadcast frame", udpPacket("10.0.0.2:1", "10.0.0.1:2", nil), true, 0},
		{"from nobody", udpPacket("0.0.0.0:68", "255.255.255.255:67", nil), true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				_, d, s := host1(n, Config{Name: "a", Forward: true})
				to := d.MAC
				if tt.group {
					to = link.Broadcast
				}
				s.send(frame(to, s.mac, etherIPv4, tt.pkt))
				equal(t, "errors sent", len(s.take()), tt.want)
			})
		})
	}
}

// TestErrorSource: errors about packets for the host come from the address
// that they were for, others from the address that the route back prefers.
func TestErrorSource(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, _ := router(n, 1500)
		d := r.Device("eth0")
		left.sendIP(d, udpPacket("10.0.1.2:1", "10.0.2.1:9", nil)) // the router's other address
		left.sendIP(d, udpPacket("10.0.1.2:1", "10.77.0.1:9", nil))
		n.route(r, "10.5.0.0/16", "10.0.1.2", "eth0")
		left.sendIP(d, udpPacket("10.5.0.1:1", "10.77.0.1:9", nil))
		n.do(func() {
			r.RemoveRoutes(prefix("10.5.0.0/16"), nil)
			n.try(r.AddRoute(Route{Dst: prefix("10.5.0.0/16"), Via: addr("10.0.1.2"), Dev: d, Src: addr("10.0.2.1")}))
		})
		left.sendIP(d, udpPacket("10.5.0.1:1", "10.77.0.1:9", nil))
		var got []string
		for _, s := range left.take() {
			got = append(got, describeIP(s.ip()))
		}
		n.want("errors", got,
			"10.0.2.1 > 10.0.1.2 icmp 3/3",
			"10.0.1.1 > 10.0.1.2 icmp 3/0",
			"10.0.1.1 > 10.5.0.1 icmp 3/0",
			"10.0.2.1 > 10.5.0.1 icmp 3/0")
	})
}

// TestErrorSourceOfUnnumberedDevice: a device without an address borrows the
// first one of the host.
func TestErrorSourceOfUnnumberedDevice(t *testing.T) {
	inBubble(t, func(n *network) {
		r := n.host(Config{Name: "r", Forward: true})
		s, cali := n.station(r, "cali1", "")
		n.station(r, "eth0", "192.168.56.11/24")
		n.do(func() {
			n.try(r.AddRoute(Route{Dst: prefix("10.244.1.2/32"), Dev: cali}))
			n.try(r.SetNeighbour(cali, addr("10.244.1.2"), s.mac))
		})
		s.sendIP(cali, udpPacket("10.244.1.2:1", "10.99.0.1:9", nil))
		got := s.take()
		if len(got) != 1 {
			n.Fatalf("got %v, want one error", got)
		}
		equal(t, "error", describeIP(got[0].ip()), "192.168.56.11 > 10.244.1.2 icmp 3/0")
	})
}

func TestErrorsToOnePeerAreLimited(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := host1(n, Config{Name: "a"})
		n.do(func() { n.try(h.SetNeighbour(d, addr("10.0.0.3"), s.mac)) })
		burst := func(from string, count int) int {
			for range count {
				s.sendIP(d, udpPacket(from+":1000", "10.0.0.1:2000", nil))
			}
			return len(s.take())
		}
		equal(t, "of 16 at once", burst("10.0.0.2", 16), 6)
		equal(t, "another peer has a bucket of its own", burst("10.0.0.3", 16), 6)
		n.wait(999 * time.Millisecond)
		equal(t, "just before a second is over", burst("10.0.0.2", 3), 0)
		n.wait(time.Millisecond)
		equal(t, "after a second", burst("10.0.0.2", 3), 1)
		n.wait(2 * time.Second)
		equal(t, "after two more", burst("10.0.0.2", 3), 2)
		n.wait(time.Hour)
		equal(t, "a full bucket again", burst("10.0.0.2", 16), 6)
		for range 16 {
			s.sendIP(d, echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 8))
		}
		equal(t, "echo replies have no limit", len(s.take()), 16)
	})
}

func TestErrorsToAllPeersAreLimited(t *testing.T) {
	inBubble(t, func(n *network) {
		_, d, s := host1(n, Config{Name: "a"})
		send := func(from, to int) int {
			for i := from; i < to; i++ {
				src := addr("10.0.0.100")
				for range i {
					src = src.Next()
				}
				n.do(func() { n.try(d.Host().SetNeighbour(d, src, s.mac)) })
				s.sendIP(d, udpPacket(src.String()+":1", "10.0.0.1:2000", nil))
			}
			return len(s.take())
		}
		equal(t, "errors to 80 peers at once", send(0, 80), 50)
		n.wait(10 * time.Millisecond)
		equal(t, "10 ms later", send(80, 120), 10)
	})
}

func TestFragNeededIsNotLimited(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, _ := router(n, 1000)
		pkt := udpPacket("10.0.1.2:1", "10.0.2.2:2", make([]byte, 1200))
		pkt[6] |= 0x40
		ipv4(pkt).fixChecksum()
		for range 20 {
			left.sendIP(r.Device("eth0"), pkt)
		}
		equal(t, "errors", len(left.take()), 20)
	})
}

func TestPeersOfTheRateLimitAreBounded(t *testing.T) {
	var s icmpState
	s.init()
	a := addr("10.0.0.0")
	for i := range 3 * maxPeers {
		a = a.Next()
		s.peer(time.Duration(i)*time.Second, a, time.Second).take(time.Duration(i)*time.Second, time.Second, peerBurst)
		if len(s.peers) > maxPeers {
			t.Fatalf("%d peers are remembered, want at most %d", len(s.peers), maxPeers)
		}
	}
}

func TestEchoReply(t *testing.T) {
	inBubble(t, func(n *network) {
		_, d, s := host1(n, Config{Name: "a"})
		h := between("10.0.0.2", "10.0.0.1", 0)
		h.tos, h.flags, h.ttl = 0xbb, flagDF, 3
		var ids []uint16
		for seq := range 3 {
			req := echoPacket(h, uint16(seq), 100)
			s.sendIP(d, req)
			got := s.take()
			if len(got) != 1 {
				n.Fatalf("answers: got %v, want one", got)
			}
			ip := got[0].ip()
			equal(t, "TOS as in the request", ip.tos(), 0xbb)
			equal(t, "TTL", ip.ttl(), 64)
			equal(t, "DF", ip.dontFragment(), false)
			if !bytes.Equal(ip.payload()[4:], ipv4(req).payload()[4:]) {
				t.Errorf("reply %x does not repeat request %x", ip.payload(), req)
			}
			ids = append(ids, ip.id())
		}
		equal(t, "identification counts up", ids[2]-ids[0], 2)
		if ids[0] == 0 {
			t.Error("identification 0")
		}
		s.send(frame(link.Broadcast, s.mac, etherIPv4, echoPacket(between("10.0.0.2", "10.0.0.255", 0), 9, 8)))
		equal(t, "answers to a broadcast", len(s.take()), 0)
		bad := echoPacket(between("10.0.0.2", "10.0.0.1", 0), 9, 8)
		bad[22]++
		s.sendIP(d, bad)
		equal(t, "answers to a wrong checksum", len(s.take()), 0)
	})
}
