package stack

import (
	"net"
	"testing"
	"time"
)

// The parameters of ICMP errors have effect at once.
func TestICMPLimitParameters(t *testing.T) {
	inBubble(t, func(n *network) {
		a, d, s := host1(n, Config{Name: "a"})
		closed := func(count int) int { // datagrams to a closed port
			for range count {
				s.sendIP(d, udpPacket("10.0.0.2:1", "10.0.0.1:2000", nil))
			}
			return len(s.take())
		}
		ping := func(count int) int {
			for i := range count {
				s.sendIP(d, echoPacket(between("10.0.0.2", "10.0.0.1", 0), uint16(i), 8))
			}
			return len(s.take())
		}
		closed(0)
		equal(t, "errors", closed(20), 6)
		n.sysctl(a, "net.ipv4.icmp_ratelimit", "0")
		equal(t, "errors without a limit per peer, of a burst of 50", closed(60), 44-14)
		n.wait(time.Minute)
		n.sysctl(a, "net.ipv4.icmp_msgs_burst", "10")
		equal(t, "errors in a burst of 10", closed(60), 10)
		n.sysctl(a, "net.ipv4.icmp_msgs_per_sec", "0")
		n.wait(time.Minute)
		equal(t, "errors with none per second", closed(60), 0)
		equal(t, "echo replies", ping(60), 60)
		n.sysctl(a, "net.ipv4.icmp_ratemask", "1")
		equal(t, "errors that are not in the mask", closed(60), 60)
		equal(t, "echo replies that are", ping(60), 0)
	})
}

// ip_default_ttl is that of sockets, errors, replies and pings, and
// ip_local_port_range that of sockets, also of those that are there already.
func TestTTLAndPortParameters(t *testing.T) {
	inBubble(t, func(n *network) {
		a, d, s := host1(n, Config{Name: "a"})
		first, err := a.ListenPacket("udp", ":0")
		n.try(err)
		n.sysctl(a, "net.ipv4.ip_default_ttl", "99")
		n.sysctl(a, "net.ipv4.ip_local_port_range", "2000 2001")
		ports := map[int]bool{}
		for range 2 {
			c, err := a.ListenPacket("udp", ":0")
			n.try(err)
			ports[c.LocalAddr().(*net.UDPAddr).Port] = true
		}
		if !ports[2000] || !ports[2001] {
			t.Errorf("ports %v, want 2000 and 2001", ports)
		}
		if _, err := a.ListenPacket("udp", ":0"); err == nil {
			t.Error("a third port of two was given")
		}
		first.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 9})
		s.sendIP(d, echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 8))
		s.sendIP(d, udpPacket("10.0.0.2:1", "10.0.0.1:3000", nil))
		got := s.take()
		equal(t, "packets", len(got), 3)
		for _, f := range got {
			equal(t, "TTL", f.ip().ttl(), 99)
		}
	})
}

// A router asks for the path MTU if ip_forward_use_pmtu says so.
func TestForwardUsesPathMTU(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, right := router(n, 1500)
		pkt := udpPacket("10.0.1.2:1", "10.0.2.2:2", make([]byte, 1200))
		pkt[6] |= 0x40
		ipv4(pkt).fixChecksum()
		n.do(func() { r.learnPathMTU(quotedPacket("10.0.2.1", "10.0.2.2", protoUDP), 1000) })
		left.sendIP(r.Device("eth0"), pkt)
		equal(t, "forwarded", len(right.take()), 1)
		n.sysctl(r, "net.ipv4.ip_forward_use_pmtu", "1")
		left.sendIP(r.Device("eth0"), pkt)
		equal(t, "forwarded with ip_forward_use_pmtu", len(right.take()), 0)
		got := left.take()
		equal(t, "errors", len(got), 1)
		typ, code, info, _ := quoteOf(t, got[0].ip())
		equal(t, "error", [3]uint32{uint32(typ), uint32(code), info}, [3]uint32{3, 4, 1000})
	})
}

// lo is said to have an MTU of 65536, and no packet is that large.
func TestLoopbackMTU(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		n.do(func() {
			equal(t, "MTU", a.Device("lo").MTU, 65536)
			equal(t, "path MTU", a.PathMTU(addr("127.0.0.1")), 65535)
			n.try(a.Device("lo").SetMTU(1500))
			n.try(a.Device("lo").SetMTU(65536))
		})
		s, err := a.ListenPacket("udp", "127.0.0.1:53")
		n.try(err)
		lo := n.record(a.Device("lo"))
		m, err := s.WriteTo(make([]byte, 65507), s.LocalAddr())
		n.try(err)
		equal(t, "written", m, 65507)
		n.wait(0)
		sent := lo.sent()
		equal(t, "packets", len(sent), 1)
		equal(t, "size", len(sent[0]), 65535)
	})
}
