package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// What follows is what a node does when it is attacked. Each test runs in a
// siege, which also checks that the honest are served afterwards and that
// nothing is kept. Floods of ARP and of neighbours are in neighgc_test.go, of
// fragments in fragment_test.go, loops and storms of bridges in package link.

// attackIP sends a packet in by eth0.
func (s *siege) attackIP(pkt []byte) { s.attack(s.doors[0], s.doors[0].wrap(0, etherIPv4, pkt)) }

// spy collects the packets that the node sends the attacker.
func (s *siege) spy() *[]ipv4 {
	got := new([]ipv4)
	s.doors[0].sent = func(ip ipv4) { *got = append(*got, append(ipv4(nil), ip...)) }
	return got
}

// forged is a packet with one byte changed, and the IP checksum put right unless
// the change is in it.
func forged(pkt []byte, at int, v byte) []byte {
	b := append(ipv4(nil), pkt...)
	b[at] = v
	if ihl := b.headerLen(); ihl >= ipv4MinHeader && ihl <= len(b) {
		b.fixChecksum()
	}
	return b
}

// TestForgedLengths: a length that does not fit what it is about ends the
// packet, counted, and nothing is answered.
func TestForgedLengths(t *testing.T) {
	dgram := udpPacket("10.0.0.2:1", "10.0.0.1:53", []byte("query"))
	segment := tcpPacket("10.0.0.2:1", "10.0.0.1:80", tcpSYN, 1, 0, nil)
	ask := arpPacket(arpRequest, attackerMAC, attacker, link.MAC{}, "10.0.0.1")
	tests := []struct {
		name string
		typ  uint16
		pkt  []byte
		why  link.Reason
	}{
		{"version 6 in an IPv4 frame", etherIPv4, forged(dgram, 0, 0x65), DropBadHeader},
		{"header of 16 bytes", etherIPv4, forged(dgram, 0, 0x44), DropBadHeader},
		{"header longer than the packet", etherIPv4, forged(dgram, 0, 0x4f), DropBadHeader},
		{"total length below the header's", etherIPv4, forged(dgram, 3, 19), DropBadHeader},
		{"total length beyond the frame", etherIPv4, forged(dgram, 2, 5), DropBadHeader},
		{"packet cut in the header", etherIPv4, dgram[:19], DropBadHeader},
		{"no packet", etherIPv4, nil, DropBadHeader},
		{"UDP length 7", etherIPv4, forged(dgram, 25, 7), DropBadHeader},
		{"UDP length beyond the packet", etherIPv4, forged(dgram, 24, 1), DropBadHeader},
		{"UDP header cut", etherIPv4, ipPacket(between(attacker, "10.0.0.1", protoUDP), dgram[20:27]), DropBadHeader},
		{"TCP data offset of 16 bytes", etherIPv4, forged(segment, 32, 0x40), DropBadHeader},
		{"TCP data offset beyond the segment", etherIPv4, forged(segment, 32, 0xf0), DropBadHeader},
		{"TCP header cut", etherIPv4, ipPacket(between(attacker, "10.0.0.1", protoTCP), segment[20:39]), DropBadHeader},
		{"ICMP header cut", etherIPv4, ipPacket(between(attacker, "10.0.0.1", protoICMP), []byte{8, 0, 0xf7, 0xff}), DropBadHeader},
		{"ARP for other address lengths", etherARP, append([]byte{0, 1, 8, 0, 8, 16}, ask[6:]...), DropBadARP},
		{"ARP cut", etherARP, ask[:27], DropBadARP},
		{"no ARP", etherARP, nil, DropBadARP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			besiege(t, func(s *siege) {
				got, point := s.spy(), s.node.Device("eth0").Point()
				s.attack(s.doors[0], s.doors[0].wrap(0, tt.typ, tt.pkt))
				s.wait(time.Second)
				equal(t, "answers", len(*got), 0)
				equal(t, "dropped", point.Drops(tt.why), 1)
			})
		})
	}
}

// TestLand: a packet from the host to itself that comes from outside is martian.
func TestLand(t *testing.T) {
	besiege(t, func(s *siege) {
		got := s.spy()
		for _, a := range []string{"10.0.0.1", "10.0.1.1", "127.0.0.1"} {
			s.attackIP(tcpPacket(a+":80", "10.0.0.1:80", tcpSYN, 1, 0, nil))
			s.attackIP(udpPacket(a+":53", "10.0.0.1:53", nil))
		}
		s.wait(time.Second)
		equal(t, "answers", len(*got), 0)
		equal(t, "martians", s.node.Device("eth0").Point().Drops(DropMartianSrc), 6)
	})
}

// TestSmurf: pings of the broadcast address in the victim's name are answered by
// nobody, and a router does not pass them on.
func TestSmurf(t *testing.T) {
	besiege(t, func(s *siege) {
		got, link1 := s.spy(), s.record(s.node.Device("eth1"))
		for _, to := range []string{"10.0.0.255", "255.255.255.255", "10.0.1.255", "224.0.0.1"} {
			pkt := echoPacket(between("10.0.1.2", to, 0), 1, 56) // in the friend's name
			s.attack(s.doors[0], s.doors[0].wrap(0x10, etherIPv4, pkt))
			s.attackIP(pkt)
		}
		s.wait(time.Second)
		equal(t, "answers", len(*got), 0)
		equal(t, "packets on the friend's link", len(link1.sent()), 0)
	})
}

// TestPoisonedARP: an answer that nobody asked for makes no entry, and one in
// another's name does not move an entry that was changed a moment ago; later it
// does, because ARP knows no proof. What was set by hand stays.
func TestPoisonedARP(t *testing.T) {
	besiege(t, func(s *siege) {
		d := s.doors[0].dev
		answer := func(a string, mac link.MAC) {
			s.attack(s.doors[0], s.doors[0].wrap(0, etherARP, arpPacket(arpReply, mac, a, d.MAC, "10.0.0.1")))
			s.wait(0)
		}
		mac := func(a string) (m link.MAC) {
			s.do(func() {
				if n := s.node.neigh.entries[neighKey{d, addr(a)}]; n != nil {
					m = n.mac
				}
			})
			return m
		}
		honest, evil := link.MAC{2, 7}, link.MAC{2, 0xee}
		answer("10.0.0.7", evil)
		equal(t, "an answer that nobody asked for", mac("10.0.0.7"), link.MAC{})
		s.attack(s.doors[0], s.doors[0].wrap(0x10, etherARP, arpPacket(arpRequest, honest, "10.0.0.7", link.MAC{}, "10.0.0.1")))
		s.wait(0)
		answer("10.0.0.7", evil)
		equal(t, "a second answer at once", mac("10.0.0.7"), honest)
		s.wait(2 * time.Second)
		answer("10.0.0.7", evil)
		equal(t, "an answer after locktime", mac("10.0.0.7"), evil)
		answer(attacker, evil)
		equal(t, "a permanent entry", mac(attacker), attackerMAC)
	})
}

// assured makes a flow of UDP through the node that has been answered often
// enough to be kept when the table is full.
func (s *siege) assured(port uint16) {
	out := netip.AddrPortFrom(addr(attacker), port).String()
	for range 3 {
		s.attackIP(udpPacket(out, "10.0.2.9:9", nil))
		s.wait(time.Second)
		s.attack(s.doors[1], s.doors[1].wrap(0, etherIPv4, udpPacket("10.0.2.9:9", out, nil)))
		s.wait(time.Second)
	}
}

// TestConntrackExhaustion: in a full table, flows that were never answered make
// room (early drop); if all were, new ones are refused, counted. Those that are
// there go on, and time makes room again.
func TestConntrackExhaustion(t *testing.T) {
	besiege(t, func(s *siege) {
		s.do(func() { s.try(s.node.SetSysctl("net.netfilter.nf_conntrack_max", "8")) })
		s.do(func() {
			s.try(s.node.SetNeighbour(s.node.Device("cni0"), addr("10.0.2.9"), attackerMAC))
			s.node.track.Flush()
		})
		flood := func(n int) {
			for i := range n {
				s.attackIP(udpPacket(fmt.Sprintf("10.0.0.2:%d", 20000+i), "10.0.2.9:9", nil))
			}
			s.wait(0)
		}
		refused := func() uint64 { return s.node.Device("eth0").Point().Drops(DropConntrack) }
		s.assured(1000)
		flood(100)
		equal(t, "flows", s.node.track.Len() <= 8, true)
		early := s.node.track.Stats().EarlyDrop
		if early == 0 {
			t.Error("no flow was dropped early")
		}
		s.wait(time.Minute) // with all but eight of 512 buckets out of sight, what was never answered would be in the way
		for port := range uint16(8) {
			s.assured(1000 + port)
		}
		equal(t, "flows that were answered", s.node.track.Len(), 8)
		before := refused()
		flood(100)
		equal(t, "new flows that were refused", refused()-before, 100)
		right := s.record(s.node.Device("cni0"))
		s.attackIP(udpPacket("10.0.0.2:1000", "10.0.2.9:9", nil))
		s.wait(0)
		equal(t, "a datagram of a flow that is there", len(right.sent()), 1)
		s.wait(5 * time.Minute)
		before = refused()
		flood(4)
		equal(t, "refused when the old ones have expired", refused()-before, 0)
		s.do(func() { s.try(s.node.SetSysctl("net.netfilter.nf_conntrack_max", "256")) })
	})
}

// TestSYNFlood: connections that are never completed do not keep others out: when
// the backlog is full the listener answers with SYN cookies, and a connection
// that proves its address is accepted.
func TestSYNFlood(t *testing.T) {
	besiege(t, func(s *siege) {
		s.do(func() { s.try(s.node.SetSysctl("net.netfilter.nf_conntrack_max", "2000")) })
		got, backlog := s.spy(), s.node.cfg.Backlog
		const over = 500
		for i := range backlog + over {
			s.attackIP(tcpPacket(fmt.Sprintf("10.9.%d.%d:1", i>>8, i&255), "10.0.0.1:80", tcpSYN, 1, 0, nil))
		}
		s.wait(0)
		equal(t, "answers to SYNs", len(*got), backlog+over)
		if n := s.node.sockets.s.Stats().TCP.ListenOverflowSynCookieSent.Value(); n < over {
			t.Errorf("%d of them are cookies, want %d at least", n, over)
		}
		s.mustEcho(s.friend, "10.0.1.1:80") // while they are all half open
		s.wait(10 * time.Minute)
	})
}

// TestErrorsUnderFlood: whatever comes, a host sends one peer six errors at once
// and one a second after that, and all peers together fifty at once and a
// thousand a second. Echo replies are not limited.
func TestErrorsUnderFlood(t *testing.T) {
	besiege(t, func(s *siege) {
		got := s.spy()
		for range 1000 {
			s.attackIP(udpPacket("10.0.0.2:1", "10.0.0.1:9", nil))
		}
		s.wait(0)
		equal(t, "errors to one peer at once", len(*got), 6)
		s.wait(10 * time.Second)
		*got = nil
		for i := range 1000 {
			s.attackIP(udpPacket(fmt.Sprintf("10.9.%d.%d:1", i>>8, i&255), "10.0.0.1:9", nil))
		}
		s.wait(0)
		equal(t, "errors to all peers at once", len(*got), 50)
		*got = nil
		for range 1000 {
			s.attackIP(echoPacket(between(attacker, "10.0.0.1", 0), 1, 8))
		}
		s.wait(0)
		equal(t, "echo replies", len(*got), 1000)
	})
}

// TestRoutingLoop: two routers that point at each other pass a packet to and fro
// until its TTL is spent. One error comes back.
func TestRoutingLoop(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, b := n.routed(link.WireConfig{}, link.WireConfig{})
		n.do(func() { n.try(b.SetSysctl("net.ipv4.ip_forward", "1")) })
		n.route(r, "10.9.0.0/16", "10.0.2.2", "eth1")
		n.route(b, "10.9.0.0/16", "10.0.2.1", "eth0")
		ping(n, a, "10.0.2.2", 0)
		between := n.record(r.Device("eth1"), b.Device("eth0"))
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		reply, err := c.Ping(addr("10.9.1.1"), 1, time.Minute)
		n.try(err)
		equal(t, "answer", fmt.Sprint(reply.Err()), "time to live exceeded, from 10.0.2.2")
		passes := 0
		for _, ip := range between.sent() {
			if ip.dst() == addr("10.9.1.1") {
				passes++
			}
		}
		equal(t, "times that the packet passed between them", passes, 63)
		ping(n, a, "10.0.2.2", 0)
	})
}

// TestTinyFrames: a hundred thousand frames of no use are counted and cost no
// more than that.
func TestTinyFrames(t *testing.T) {
	besiege(t, func(s *siege) {
		d := s.node.Device("eth0")
		s.do(func() {
			for i := range 100_000 {
				f := s.drv.NewFrame(i % 15)
				copy(f.Bytes(), d.MAC[:])
				d.Receive(f)
			}
			equal(t, "frames held", s.drv.LiveFrames(), 0)
		})
		equal(t, "runts", d.Point().Drops(link.DropRunt), 100_000-6_666)
	})
}

// TestForgedErrors: an error about a connection is believed only if it quotes
// numbers that are in flight; what it says about a route's MTU does not stop
// others.
func TestForgedErrors(t *testing.T) {
	besiege(t, func(s *siege) {
		c, err := s.friend.Dial("tcp", "10.0.1.1:80")
		s.try(err)
		local := mustAddrPort(c.LocalAddr().String())
		for _, code := range []byte{codeNet, codeHost, codeProtocol, codePort, codeProhibited} {
			quoted := ipv4(tcpPacket("10.0.1.1:80", local.String(), tcpACK, 1, 1, nil)) // the sequence number is a guess
			msg := make([]byte, icmpHeader+len(quoted))
			putICMP(msg, icmpUnreachable, code, 0, quoted)
			s.attackIP(ipPacket(between(attacker, "10.0.1.1", protoICMP), msg))
		}
		s.wait(time.Second)
		_, err = c.Write([]byte("still here"))
		s.try(err)
		buf := make([]byte, 10)
		c.SetReadDeadline(s.drv.Epoch().Add(s.now() + time.Minute))
		if n, err := c.Read(buf); err != nil || n != 10 {
			t.Errorf("after forged errors: %d bytes, %v, want the connection to go on", n, err)
		}
	})
}

// TestRandomBytes: nothing in a million random bytes makes a node stop.
func TestRandomBytes(t *testing.T) {
	besiege(t, func(s *siege) {
		rng := s.node.Rand("attack")
		for range 4000 {
			b := make([]byte, 14+rng.IntN(500))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			d := s.doors[rng.IntN(2)]
			copy(b, d.dev.MAC[:])
			binary.BigEndian.PutUint16(b[12:], etherIPv4)
			if rng.IntN(2) == 0 {
				repair(b[14:])
			}
			s.attack(d, b)
		}
	})
}
