package stack

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// What one connection has learned about the way, the next one knows: its SYN
// announces less, and no segment is too large. UDP and ping share it.
func TestPathMTUIsShared(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, b := n.routed(link.WireConfig{Latency: time.Millisecond}, link.WireConfig{Latency: time.Millisecond})
		n.do(func() { n.try(r.Device("eth1").SetMTU(1400)) })
		l, err := b.Listen("tcp", ":80")
		n.try(err)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go io.Copy(io.Discard, c)
			}
		}()
		rec := n.record(a.Device("eth0"))
		largest := func() (mss uint16, size int) {
			for _, ip := range rec.sent() {
				if ip.proto() == protoTCP && ip.payload()[13] == tcpSYN {
					mss = binary.BigEndian.Uint16(ip.payload()[mssAt(ip.payload())+2:])
				}
				size = max(size, len(ip))
			}
			return mss, size
		}
		upload := func() {
			c, err := a.Dial("tcp", "10.0.2.2:80")
			n.try(err)
			c.Write(make([]byte, 20000))
			n.wait(time.Second)
			c.Close()
			n.wait(time.Second)
		}
		upload()
		mss, size := largest()
		equal(t, "MSS of the first SYN", mss, 1460)
		equal(t, "largest segment of the first connection", size, 1500)
		n.do(func() { equal(t, "path MTU", a.PathMTU(addr("10.0.2.2")), 1400) })
		upload()
		mss, size = largest()
		equal(t, "MSS of the next SYN", mss, 1360)
		equal(t, "largest segment of the next connection", size, 1400)

		u, err := a.Dial("udp", "10.0.2.2:9")
		n.try(err)
		u.Write(make([]byte, 1472))
		n.wait(0)
		sent := rec.sent()
		equal(t, "pieces of a datagram", len(sent), 2)
		for _, ip := range sent {
			equal(t, "DF of a piece", ip.dontFragment(), false)
		}
		equal(t, "size of the first", len(sent[0]), 1396)
		n.wait(pathMTUExpires)
		n.do(func() { equal(t, "path MTU ten minutes later", a.PathMTU(addr("10.0.2.2")), 1500) })
		l.Close()
	})
}

// A forged error about a packet that nobody has sent changes nothing; one that
// names a tiny MTU is not believed below 552.
func TestPathMTUIsBelievedWithinBounds(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		c, err := a.Dial("udp", "10.0.0.2:53")
		n.try(err)
		n.do(func() { n.try(a.SetNeighbour(d, addr("10.0.0.2"), s.mac)) })
		c.Write([]byte("x"))
		sent := s.take()[0].ip()
		tell := func(about []byte, mtu uint32, want int) {
			t.Helper()
			b := make([]byte, icmpHeader+28)
			putICMP(b, icmpUnreachable, codeFragNeeded, mtu, about[:28])
			s.sendIP(d, ipPacket(ipHeader{src: addr("10.0.0.9"), dst: addr("10.0.0.1"), proto: protoICMP}, b))
			n.do(func() { equal(t, "path MTU", a.PathMTU(addr("10.0.0.2")), want) })
		}
		tell(udpPacket("10.0.0.1:999", "10.0.0.2:53", nil), 1000, 1500)
		tell(tcpPacket("10.0.0.1:999", "10.0.0.2:53", tcpACK, 1, 1, nil), 1000, 1500)
		tell(sent, 1400, 1400)
		tell(sent, 1450, 1400) // never up
		n.wait(pathMTUExpires - time.Second)
		tell(sent, 1400, 1400) // the same again, late: ten minutes more
		n.wait(2 * time.Second)
		n.do(func() { equal(t, "path MTU", a.PathMTU(addr("10.0.0.2")), 1400) })
		tell(sent, 100, 552)
		tell(sent, 0, 552) // nothing new
	})
}
