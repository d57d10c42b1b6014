package stack

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/podwire/podwire/link"
)

// TestConnConformance runs the suite of golang.org/x/net on connections in
// real time. In a bubble it cannot run: it starts subtests.
func TestConnConformance(t *testing.T) {
	for _, network := range []string{"two hosts", "lo"} {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				n := newNetwork(t, link.DriverConfig{})
				a, b := n.pair(link.WireConfig{})
				if network == "lo" {
					a = b
				}
				c1, c2 = connect(n, a, b, "10.0.0.2:80")
				return c1, c2, func() { c1.Close(); c2.Close(); n.close() }, nil
			})
		})
	}
}
