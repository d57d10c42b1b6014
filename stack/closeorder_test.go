package stack

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// resets are the destination ports of RSTs that left a device.
func (r *recorder) resets() (ports []int) {
	for _, ip := range r.sent() {
		if seg := ip.payload(); ip.proto() == protoTCP && seg[13]&tcpRST != 0 {
			ports = append(ports, int(seg[2])<<8|int(seg[3]))
		}
	}
	return ports
}

// manyConnections opens connections from a to b, closes b's ends, and returns
// the ports of a's.
func manyConnections(n *network, a, b *Host) (ports []int) {
	ln, err := b.Listen("tcp", ":80")
	n.try(err)
	for range 12 {
		c, err := a.Dial("tcp", "10.0.0.2:80")
		n.try(err)
		ports = append(ports, c.LocalAddr().(*net.TCPAddr).Port)
		s, err := ln.Accept()
		n.try(err)
		n.try(s.Close())
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			n.Fatalf("read: %v, want EOF", err)
		}
	}
	slices.Sort(ports)
	return ports
}

// A host that ends resets what only the protocol still holds in one order, not
// in that of a map.
func TestCloseResetsInOrder(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		ports := manyConnections(n, a, b)
		r := n.record(b.Device("eth0"))
		b.Close()
		if got := r.resets(); !slices.Equal(got, ports) {
			t.Errorf("resets to ports %v, want %v", got, ports)
		}
	})
}
