package stack

import (
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
