package stack

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// shape describes the pieces that left: size, DF, MF, offset; ids must be alike.
func shape(t *testing.T, list []ipv4) string {
	t.Helper()
	var out []string
	for _, ip := range list {
		if ip.proto() != protoUDP {
			continue
		}
		if ip.id() == 0 || ip.id() != list[0].id() {
			t.Errorf("identification %d, want one for all that is not 0", ip.id())
		}
		s := fmt.Sprint(len(ip))
		if ip.dontFragment() {
			s += " DF"
		}
		if ip.flags()&flagMF != 0 {
			s += " MF"
		}
		out = append(out, fmt.Sprintf("%s @%d", s, ip.flags()&fragOffset*8))
	}
	return strings.Join(out, ", ")
}

// The first datagram is too big for the router, the next call of a connected
// socket has EMSGSIZE and sends nothing, and then datagrams are cut at the path
// MTU. The sizes and errors are those that Linux 6.18 gave in the same network.
func TestConnectedSocketLearnsPathMTU(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{}, link.WireConfig{})
		n.do(func() { n.try(r.Device("eth1").SetMTU(1000)) })
		c, err := a.Dial("udp", "10.0.2.2:9")
		n.try(err)
		rec := n.record(a.Device("eth0"))
		write := func(size int, want string) {
			t.Helper()
			_, err := c.Write(make([]byte, size))
			n.try(err)
			n.wait(time.Second)
			equal(t, "packets", shape(t, rec.sent()), want)
		}
		write(1472, "1500 DF @0")
		_, err = c.Write(make([]byte, 1472))
		isAll(t, "second write", err, syscall.EMSGSIZE)
		equal(t, "packets of the second write", len(rec.sent()), 0)
		write(1472, "996 MF @0, 524 @976")
		_, err = c.Read(make([]byte, 1))
		isAll(t, "the port is closed", err, syscall.ECONNREFUSED)

		u, err := a.ListenPacket("udp", ":0")
		n.try(err)
		_, err = u.WriteTo(make([]byte, 3000), c.RemoteAddr())
		n.try(err)
		n.wait(time.Second)
		equal(t, "packets", shape(t, rec.sent()), "996 MF @0, 996 MF @976, 996 MF @1952, 100 @2928")
		_, err = u.WriteTo(make([]byte, 900), c.RemoteAddr())
		n.try(err)
		equal(t, "packets", shape(t, rec.sent()), "928 DF @0")
		u.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
		_, _, err = u.ReadFrom(make([]byte, 1))
		isAll(t, "a socket without a peer hears of nothing", err, os.ErrDeadlineExceeded)
	})
}

// A router that names less than min_pmtu, or nothing, locks the path at it: DF is
// clear whatever the size, and nothing else is believed until it expires.
func TestLockedPathMTU(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		n.do(func() { n.try(a.SetNeighbour(d, addr("10.0.0.2"), s.mac)) })
		u, err := a.ListenPacket("udp", "10.0.0.1:53")
		n.try(err)
		send := func(size int) string {
			u.WriteTo(make([]byte, size), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 53})
			var list []ipv4
			for _, f := range s.take() {
				list = append(list, f.ip())
			}
			return shape(t, list)
		}
		learn := func(mtu, want int, lock bool, left time.Duration) {
			t.Helper()
			n.do(func() {
				q := quotedPacket("10.0.0.1", "10.0.0.2", protoUDP)
				a.learnPathMTU(q, mtu)
				x, _ := a.PathException(addr("10.0.0.2"))
				equal(t, "exception", x, PathException{MTU: want, Lock: lock, Expires: left})
			})
		}
		equal(t, "before", send(1472), "1500 DF @0")
		learn(1300, 1300, false, 10*time.Minute)
		learn(0, 552, true, 10*time.Minute)
		n.wait(time.Second)
		learn(68, 552, true, 599*time.Second)
		equal(t, "large", send(1472), "548 MF @0, 548 MF @528, 444 @1056")
		equal(t, "small", send(400), "428 @0")
		n.wait(599 * time.Second)
		equal(t, "when it has expired", send(1472), "1500 DF @0")
		n.sysctl(a, "net.ipv4.route.mtu_expires", "20")
		n.sysctl(a, "net.ipv4.route.min_pmtu", "600")
		learn(599, 600, true, 20*time.Second)
	})
}

// Which ICMP errors a connected UDP socket hears of, as Linux 6.18 was seen to
// report them.
func TestHardErrors(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		n.do(func() { n.try(a.SetNeighbour(d, addr("10.0.0.2"), s.mac)) })
		c, err := a.Dial("udp", "10.0.0.2:53")
		n.try(err)
		for _, x := range []struct {
			typ, code byte
			want      error
		}{
			{3, 0, os.ErrDeadlineExceeded}, {3, 1, os.ErrDeadlineExceeded}, {3, 2, syscall.ENOPROTOOPT}, {3, 3, syscall.ECONNREFUSED},
			{3, 4, syscall.EMSGSIZE}, {3, 5, os.ErrDeadlineExceeded}, {3, 6, syscall.ENETUNREACH}, {3, 7, syscall.EHOSTDOWN},
			{3, 9, syscall.ENETUNREACH}, {3, 10, syscall.EHOSTUNREACH}, {3, 11, os.ErrDeadlineExceeded}, {3, 12, os.ErrDeadlineExceeded},
			{3, 13, syscall.EHOSTUNREACH}, {3, 14, syscall.EHOSTUNREACH}, {3, 15, syscall.EHOSTUNREACH}, {3, 16, os.ErrDeadlineExceeded},
			{4, 0, os.ErrDeadlineExceeded}, {11, 0, os.ErrDeadlineExceeded}, {11, 1, os.ErrDeadlineExceeded}, {12, 0, syscall.EPROTO},
		} {
			c.SetReadDeadline(time.Time{})
			_, err := c.Write([]byte("x"))
			n.try(err)
			b := make([]byte, icmpHeader+28)
			putICMP(b, x.typ, x.code, 1400, s.take()[0].ip()[:28])
			s.sendIP(d, ipPacket(ipHeader{src: addr("10.0.0.9"), dst: addr("10.0.0.1"), proto: protoICMP}, b))
			c.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
			_, err = c.Read(make([]byte, 1))
			isAll(t, fmt.Sprintf("ICMP %d/%d", x.typ, x.code), err, x.want)
		}
	})
}

// A host hears its own broadcasts, whole and once; on the link they are seen once.
func TestBroadcastIsHeardByItsSender(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		st, _ := n.station(a, "eth0", "10.0.0.1/24")
		n.route(a, "0.0.0.0/0", "10.0.0.9", "eth0")
		s, err := a.ListenPacket("udp", ":67")
		n.try(err)
		for _, x := range []struct {
			to     net.IP
			size   int
			frames int
		}{{net.IPv4(10, 0, 0, 255), 1, 1}, {net.IPv4bcast, 1, 1}, {net.IPv4(10, 0, 0, 255), 1473, 2}} {
			c, err := a.Dial("udp", net.JoinHostPort(x.to.String(), "67"))
			n.try(err)
			_, err = c.Write(make([]byte, x.size))
			n.try(err)
			equal(t, "frames on the link", len(st.take()), x.frames)
			s.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
			m, from, err := s.ReadFrom(make([]byte, 2000))
			n.try(err)
			equal(t, "heard", fmt.Sprint(m, from), fmt.Sprint(x.size, c.LocalAddr()))
			_, _, err = s.ReadFrom(make([]byte, 2000))
			isAll(t, "once", err, os.ErrDeadlineExceeded)
		}
	})
}

// So does its ping, if echoes to broadcasts are answered at all.
func TestBroadcastPingIsAnsweredByItsSender(t *testing.T) {
	for _, answers := range []bool{true, false} {
		inBubble(t, func(n *network) {
			a, _ := n.pair(link.WireConfig{Latency: time.Millisecond})
			n.sysctl(a, "net.ipv4.icmp_echo_ignore_broadcasts", not(answers))
			c, err := a.OpenPing(PingConfig{})
			n.try(err)
			r, err := c.Ping(addr("10.0.0.255"), 1, time.Second)
			if !answers {
				isAll(t, "error", err, os.ErrDeadlineExceeded)
				return
			}
			n.try(err)
			equal(t, "who answers", r.From.String(), "10.0.0.1")
			equal(t, "round trip", r.RTT, 0)
		})
	}
}
