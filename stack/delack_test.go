package stack

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"github.com/podwire/podwire/link"
)

// TestFINIsAcknowledgedLate: the acknowledgement of a FIN goes with the next
// segment, or alone after 40 ms; after 4 ms if no data has come in before, and at
// once if our own FIN is out.
func TestFINIsAcknowledgedLate(t *testing.T) {
	tests := []struct {
		name string
		do   func(n *network, c, s *Conn)
		want []string // from the server, after c has closed
	}{
		{"closed soon", func(n *network, c, s *Conn) { c.Close(); n.wait(3 * time.Millisecond); s.Close() },
			[]string{"3ms FA"}},
		{"closed later", func(n *network, c, s *Conn) { c.Close(); n.wait(60 * time.Millisecond); s.Close() },
			[]string{"4ms A", "60ms FA"}},
		{"closed later, after data", func(n *network, c, s *Conn) {
			c.Write([]byte("x"))
			n.wait(time.Millisecond)
			c.Close()
			n.wait(60 * time.Millisecond)
			s.Close() // with data that was not read
		}, []string{"0s A", "41ms A", "61ms RA"}},
		{"answered", func(n *network, c, s *Conn) { c.CloseWrite(); n.wait(2 * time.Millisecond); s.Write([]byte("x")) },
			[]string{"2ms PA"}},
		{"own FIN was first", func(n *network, c, s *Conn) { s.CloseWrite(); n.wait(0); c.Close() },
			[]string{"0s FA", "0s A"}},
		{"data waits for it too", func(n *network, c, s *Conn) { c.Write(make([]byte, 100)); c.Close(); n.wait(time.Second) },
			[]string{"0s A"}},
		{"reset", func(n *network, c, s *Conn) {
			c.Write([]byte("x"))
			n.wait(0)
			c.Close()
			n.wait(5 * time.Millisecond)
			s.Close() // with data that was not read
		}, []string{"0s A", "5ms RA"}},
		{"host closed", func(n *network, c, s *Conn) { c.Close(); n.wait(3 * time.Millisecond); s.host.Close() },
			[]string{"3ms RA"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				c, s, _ := tcpPair(n, link.WireConfig{})
				n.wait(time.Second)
				rec, start := n.record(s.host.Device("eth0")), n.now()
				tt.do(n, c, s)
				n.wait(time.Second)
				var got []string
				for _, x := range rec.seen {
					if x.dir == link.Out && link.EtherType(x.b) == etherIPv4 {
						got = append(got, fmt.Sprint(x.at-start, " ", tcpFlags(x.ip().payload()[13])))
					}
				}
				n.want("from the server", got, tt.want...)
				c.Close()
				s.Close()
			})
		})
	}
}

// TestTimeWaitAnswersWithoutNumber: the acknowledgement of a FIN has no
// identification if the application had closed and the peer had acknowledged
// that; a connection that was only half closed, or closed just now, numbers it.
func TestTimeWaitAnswersWithoutNumber(t *testing.T) {
	for _, tt := range []struct {
		name  string
		close func(n *network, c, s *Conn)
		zero  bool
	}{
		{"closed long before", func(n *network, c, s *Conn) { c.Close(); n.wait(time.Second); s.Close() }, true},
		{"closed just before", func(n *network, c, s *Conn) { c.Close(); n.wait(time.Millisecond); s.Close() }, false},
		{"half closed", func(n *network, c, s *Conn) { c.CloseWrite(); n.wait(time.Second); s.Close() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				c, s, _ := tcpPair(n, link.WireConfig{})
				rec := n.record(c.host.Device("eth0"))
				tt.close(n, c, s)
				n.wait(time.Second)
				sent := rec.sent()
				last := sent[len(sent)-1]
				equal(t, "last segment", tcpFlags(last.payload()[13]), "A")
				equal(t, "its identification is 0", last.id() == 0, tt.zero)
				equal(t, "its DF", last.dontFragment(), true)
				c.Close()
			})
		})
	}
}

// TestPortUsedAgain: what is known of a connection's end does not outlive it.
func TestPortUsedAgain(t *testing.T) {
	inBubble(t, func(n *network) {
		_, d, st := host1(n, Config{Name: "a"})
		h := n.hosts[0]
		ln, err := h.Listen("tcp", ":80")
		n.try(err)
		defer ln.Close()
		for round := range 2 {
			isn := uint32(1000 + round*1000000)
			seq := st.connect(d, isn)
			c, err := ln.Accept()
			n.try(err)
			st.take()
			st.sendIP(d, tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tcpACK|tcpFIN, isn+1, seq, nil))
			equal(t, fmt.Sprint("answers to the FIN at once, round ", round+1), len(st.take()), 0)
			n.wait(50 * time.Millisecond)
			equal(t, fmt.Sprint("answers to the FIN later, round ", round+1), len(st.take()), 1)
			c.Close()
			st.take()
			st.sendIP(d, tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tcpACK, isn+2, seq+1, nil))
			n.wait(time.Second)
		}
	})
}

// acksOf returns when a host has acknowledged what, alone, while do was done.
func acksOf(n *network, s *Conn, do func()) (list []string) {
	n.wait(time.Second)
	rec, start := n.record(s.host.Device("eth0")), n.now()
	do()
	n.wait(time.Second)
	var first uint32
	for _, x := range rec.seen {
		if link.EtherType(x.b) != etherIPv4 {
			continue
		}
		seg := x.ip().payload()
		if x.dir == link.In && first == 0 {
			first = binary.BigEndian.Uint32(seg[4:])
		}
		if x.dir == link.Out && len(seg) == int(seg[12]>>4)*4 {
			list = append(list, fmt.Sprint(x.at-start, " ", binary.BigEndian.Uint32(seg[8:])-first))
		}
	}
	return list
}

// TestAcknowledgementsLikeLinux are the rules of delayed acknowledgements, one by
// one. That they are Linux' is shown by a capture of a kernel, tcp-acks in the
// tests of emu/conformance.
func TestAcknowledgementsLikeLinux(t *testing.T) {
	const ms, whole = time.Millisecond, 1448
	send := func(n *network, c *Conn, times, size int, every time.Duration) {
		for range times {
			c.Write(make([]byte, size))
			n.wait(every)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(n *network, c, s *Conn)
		want []string
	}{
		{"the first 16 at once, then after 40 ms", func(n *network, c, s *Conn) { send(n, c, 19, 10, 50*ms) }, []string{
			"0s 10", "50ms 20", "100ms 30", "150ms 40", "200ms 50", "250ms 60", "300ms 70", "350ms 80", "400ms 90", "450ms 100", "500ms 110", "550ms 120",
			"600ms 130", "650ms 140", "700ms 150", "750ms 160", "840ms 170", "890ms 180", "940ms 190",
		}},
		{"what was read needs no wait", func(n *network, c, s *Conn) {
			n.drv.Go(func() { readAll(n, s, 190) })
			send(n, c, 19, 10, 50*ms)
		}, []string{
			"0s 10", "50ms 20", "100ms 30", "150ms 40", "200ms 50", "250ms 60", "300ms 70", "350ms 80", "400ms 90", "450ms 100", "500ms 110", "550ms 120",
			"600ms 130", "650ms 140", "700ms 150", "750ms 160", "800ms 170", "850ms 180", "900ms 190",
		}},
		{"the second whole segment in a conversation", func(n *network, c, s *Conn) {
			send(n, c, 1, 10, ms)
			s.Write(make([]byte, 10)) // within 40 ms: a conversation
			n.wait(9 * ms)
			send(n, c, 5, whole, 10*ms)
		}, []string{"0s 10", "20ms 2906", "40ms 5802", "90ms 7250"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				c, s, _ := tcpPair(n, link.WireConfig{})
				n.want("acknowledged", acksOf(n, s, func() { tt.do(n, c, s) }), tt.want...)
				c.Close()
				s.Close()
			})
		})
	}
}

// In real time an application may read before the host sees gVisor's acknowledgement.
// Here it reads past the host, which then looks.
func TestReadBeforeAcknowledged(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{})
		c.Write([]byte("x"))
		n.wait(time.Millisecond)
		s.Write([]byte("y")) // a conversation: acknowledgements wait
		n.wait(time.Millisecond)
		rec := n.record(s.host.Device("eth0"))
		c.Write([]byte("x"))
		c.Write([]byte("x"))
		n.wait(time.Millisecond)
		look := func() {
			n.do(func() {
				f := s.host.sockets.flowFrom(s.ep)
				if f == nil || f.acks.frame == nil {
					t.Fatal("no acknowledgement waits")
				}
				s.host.sockets.mayBeRead(f, ipv4(f.acks.frame.Bytes()))
			})
		}
		look()
		equal(t, "segments sent before it was read", len(rec.sent()), 0)
		n.do(func() {
			if _, err := s.ep.Read(io.Discard, tcpip.ReadOptions{}); err != nil {
				t.Error(err)
			}
		})
		look()
		equal(t, "segments sent after", len(rec.sent()), 1)
		c.Close()
		s.Close()
	})
}
