package stack

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestFINIsAcknowledgedLate: the acknowledgement of a FIN goes with the next
// segment, or alone after 40 ms; at once if our own FIN is out.
func TestFINIsAcknowledgedLate(t *testing.T) {
	tests := []struct {
		name string
		do   func(n *network, c, s *Conn)
		want []string // from the server, after c has closed
	}{
		{"closed soon", func(n *network, c, s *Conn) { c.Close(); n.wait(5 * time.Millisecond); s.Close() },
			[]string{"5ms FA"}},
		{"closed later", func(n *network, c, s *Conn) { c.Close(); n.wait(60 * time.Millisecond); s.Close() },
			[]string{"40ms A", "60ms FA"}},
		{"answered", func(n *network, c, s *Conn) { c.CloseWrite(); n.wait(9 * time.Millisecond); s.Write([]byte("x")) },
			[]string{"9ms PA"}},
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
		{"host closed", func(n *network, c, s *Conn) { c.Close(); n.wait(5 * time.Millisecond); s.host.Close() },
			[]string{"5ms RA"}},
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
			st.sendIP(d, tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tcpSYN, isn, 0, nil))
			got := st.take()
			seq := binary.BigEndian.Uint32(got[len(got)-1].ip().payload()[4:]) + 1
			st.sendIP(d, tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tcpACK, isn+1, seq, nil))
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
