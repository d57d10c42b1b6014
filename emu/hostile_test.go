package emu_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
)

// besieged is a lab of three nodes with a client and a server, and calls f. Then
// the client must still be served, and no frame be kept.
func besieged(t *testing.T, f func(t *testing.T, lab *emutest.Lab)) {
	t.Helper()
	emutest.Run(t, emu.Config{Nodes: 3, Seed: 1}, func(t *testing.T, lab *emutest.Lab) {
		client, web := lab.Pod("client", "node1"), lab.Pod("web", "node2", 80)
		lab.Service("web", 80, 80, 0)
		client.Ping(web.Addr().String())
		f(t, lab)
		client.Ping(web.Addr().String())
		client.Get("http://web/hostname")
		lab.Sleep(2 * time.Minute)
		lab.Driver().Do(func() {
			if n := lab.Driver().LiveFrames(); n != 0 {
				t.Errorf("%d frames were never released", n)
			}
		})
	})
}

// tunnelled is what a stranger sends to node1's tunnel: a VXLAN header and a
// datagram for a pod.
func tunnelled(lab *emutest.Lab, header []byte, to netip.Addr, port uint16) []byte {
	inner := innerUDP("10.244.9.9:9", netip.AddrPortFrom(to, port).String(), 8)
	mendInner(inner, lab.Node("node1").Stack().Device("flannel.1").MAC)
	return append(header, inner...)
}

// TestVXLANFromAStranger: a tunnel without learning takes packets from whoever
// sends them, as Linux does: VXLAN knows no sender but the outer address, which
// nobody checks. Only what is malformed or of another network is dropped.
func TestVXLANFromAStranger(t *testing.T) {
	good, stranger := []byte{8, 0, 0, 0, 0, 0, 1, 0}, netip.MustParseAddrPort("192.168.56.66:4000")
	for _, tt := range []struct {
		name   string
		header []byte
		cut    int // bytes at the end that are missing
		drop   link.Reason
	}{
		{"right in every byte", good, 0, ""},
		{"another VNI", []byte{8, 0, 0, 0, 0, 0, 2, 0}, 0, overlay.DropVNI},
		{"no I flag", []byte{0, 0, 0, 0, 0, 0, 1, 0}, 0, overlay.DropBadVXLAN},
		{"cut in the VXLAN header", good, 50 + 1, overlay.DropBadVXLAN},
		{"cut in the inner Ethernet header", good, 36 + 1, link.DropRunt},
		{"cut in the inner IP header", good, 16 + 1, stack.DropBadHeader},
		{"cut in the inner payload", good, 1, stack.DropBadHeader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			besieged(t, func(t *testing.T, lab *emutest.Lab) {
				client, node1 := lab.Lab.Pod("client"), lab.Node("node1")
				pc, err := client.ListenPacket("udp", ":7")
				if err != nil {
					t.Fatal(err)
				}
				defer pc.Close()
				payload := tunnelled(lab, append([]byte(nil), tt.header...), client.Addr(), 7)
				inject(lab, node1, ipUDP(stranger, netip.AddrPortFrom(node1.Addr(), 8472), payload[:len(payload)-tt.cut]))
				pc.SetReadDeadline(lab.Deadline(time.Second))
				n, _, err := pc.ReadFrom(make([]byte, 100))
				if arrived := err == nil && n == 8; arrived != (tt.drop == "") {
					t.Errorf("%d bytes, %v, want it to arrive: %v", n, err, tt.drop == "")
				}
				lab.Driver().Do(func() {
					if d := node1.Stack().Device("flannel.1").Point().Drops(tt.drop); tt.drop != "" && d != 1 {
						t.Errorf("%d drops because of %q, want 1", d, tt.drop)
					}
				})
			})
		})
	}
}

// TestRoutingLoopBetweenNodes: two nodes that each think the other has a range
// send a packet to and fro until its TTL is spent; the pod is told. (If one of
// them is the pod's own node, the packet ends sooner: it comes back from where it
// was masqueraded, in that node's own name, and is martian.)
func TestRoutingLoopBetweenNodes(t *testing.T) {
	besieged(t, func(t *testing.T, lab *emutest.Lab) {
		lost := netip.MustParsePrefix("10.99.0.0/16")
		for _, way := range [][2]string{{"node1", "node2"}, {"node2", "node3"}, {"node3", "node2"}} {
			from, to := lab.Node(way[0]), lab.Node(way[1])
			lab.Driver().Do(func() {
				h := from.Stack()
				if err := h.AddRoute(stack.Route{Dst: lost, Via: to.Addr(), Dev: h.Device("eth0")}); err != nil {
					t.Fatal(err)
				}
			})
		}
		crossed := make(map[byte]int) // packets on the cables, by TTL
		for _, name := range []string{"node1", "node2", "node3"} {
			p := lab.Node(name).Stack().Device("eth0").Point()
			lab.Driver().Do(func() { p.Watch(ttlCounter{lost, crossed}) })
		}
		r, err := lab.Lab.Pod("client").Ping("10.99.1.1", time.Minute)
		if err != nil || r.Err() == nil || r.Type != 11 {
			t.Errorf("got %+v, %v, want time exceeded", r, err)
		}
		if len(crossed) != 63 {
			t.Errorf("the packet crossed with %d different TTLs, want 63", len(crossed))
		}
	})
}

// ttlCounter counts the packets into a range that leave by a device.
type ttlCounter struct {
	dst  netip.Prefix
	ttls map[byte]int
}

// Observe implements link.Observer.
func (c ttlCounter) Observe(o *link.Observation) {
	if b := o.Bytes; o.Direction == link.Out && len(b) >= 34 && c.dst.Contains(netip.AddrFrom4([4]byte(b[30:34]))) {
		c.ttls[b[22]]++
	}
}

// TestFullConntrackOfANode: a node whose table is full of connections that go on
// refuses new ones, and serves those that it knows.
func TestFullConntrackOfANode(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2, Seed: 1, Sysctls: map[string]string{"net.netfilter.nf_conntrack_max": "64"}}, func(t *testing.T, lab *emutest.Lab) {
		client, web := lab.Pod("client", "node1"), lab.Pod("web", "node2", 80)
		lab.Service("web", 80, 80, 0)
		var open []net.Conn
		failed := 0
		for range 80 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			c, err := client.DialContext(ctx, "tcp", "web:80")
			cancel()
			if err != nil {
				failed++
				continue
			}
			open = append(open, c)
		}
		if failed == 0 || len(open) < 16 {
			t.Errorf("%d connections are open and %d failed, want some that fail and many that do not", len(open), failed)
		}
		for _, c := range open {
			c.Close()
		}
		lab.Sleep(5 * time.Minute) // TIME_WAIT ends
		client.Ping(web.Addr().String())
		client.Get("http://web/hostname")
	})
}
