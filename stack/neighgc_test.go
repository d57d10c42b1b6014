package stack

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// crowded is a host in a /16 with a station that can speak for everybody.
func crowded(n *network, limits NeighbourLimits) (h *Host, d *Device, s *station) {
	h = n.host(Config{Name: "h", Neighbours: limits})
	s, d = n.station(h, "eth0", "10.0.0.1/16")
	return h, d, s
}

// nth is the address of the nth neighbour in a crowd.
func nth(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(1 + i%250)}) }

// asks sends ARP requests of the neighbours from first on: the host learns them.
func (s *station) asks(d *Device, first, count int) {
	for i := first; i < first+count; i++ {
		pkt := arpPacket(arpRequest, s.mac, nth(i).String(), link.MAC{}, "10.0.0.1")
		s.n.do(func() {
			f := s.n.drv.NewFrame(link.EthernetHeader + len(pkt))
			copy(f.Bytes(), frame(link.Broadcast, s.mac, etherARP, pkt))
			s.port.Send(f)
		})
	}
	s.take()
}

// TestARPFlood: above gc_thresh3 nobody new is let in while all who are there
// are younger than five seconds; then the oldest make room, down to gc_thresh2.
func TestARPFlood(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := crowded(n, NeighbourLimits{})
		s.asks(d, 0, 1)
		n.wait(time.Second)
		s.asks(d, 1, 1033)
		equal(t, "entries", h.neigh.listed.n, 1024)
		equal(t, "overflows", d.Point().Drops(DropNeighTable), 10)
		equal(t, "the first one is still there", neighState(h, nth(0).String()), NeighStale)
		n.wait(5500 * time.Millisecond)
		s.asks(d, 2000, 1)
		equal(t, "entries after the oldest have made room", h.neigh.listed.n, 513)
		equal(t, "the first one", neighState(h, nth(0).String()), "")
		equal(t, "the oldest of those that stay", neighState(h, nth(511).String())+neighState(h, nth(512).String()), NeighStale)
		equal(t, "overflows", d.Point().Drops(DropNeighTable), 10)
	})
}

// TestARPFloodSparesTheGateway: whoever is in use stays, however many strangers
// come.
func TestARPFloodSparesTheGateway(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := crowded(n, NeighbourLimits{})
		gateway := nth(0)
		s.asks(d, 0, 1)
		n.do(func() { h.neigh.learn(d, gateway, s.mac, heard{answer: true}) })
		for round := range 6 {
			s.asks(d, 1+round*600, 600)
			n.wait(6 * time.Second)
			c, err := h.ListenPacket("udp", ":0")
			n.try(err)
			_, err = c.WriteTo([]byte("x"), netAddr("udp", netip.AddrPortFrom(gateway, 9)))
			n.try(err)
			c.Close()
			got := s.take()
			if len(got) == 0 || got[0].ip() == nil || got[0].ip().dst() != gateway {
				t.Fatalf("round %d: sent %v, want the datagram to the gateway without asking", round, got)
			}
			s.send(frame(d.MAC, s.mac, etherARP, arpPacket(arpReply, s.mac, gateway.String(), d.MAC, "10.0.0.1")))
			if h.neigh.listed.n > 1024 {
				t.Errorf("round %d: %d entries", round, h.neigh.listed.n)
			}
		}
	})
}

// TestIdleNeighboursAreForgotten: above gc_thresh1, after a minute without use.
func TestIdleNeighboursAreForgotten(t *testing.T) {
	for _, tt := range []struct{ crowd, left int }{{127, 128}, {128, 1}} {
		t.Run(fmt.Sprint(tt.crowd, " entries"), func(t *testing.T) {
			inBubble(t, func(n *network) {
				h, d, s := crowded(n, NeighbourLimits{})
				s.asks(d, 0, tt.crowd)
				n.wait(time.Minute)
				s.asks(d, 1000, 1)
				equal(t, "entries a minute later, with the new one", h.neigh.listed.n, tt.left)
			})
		})
	}
}

// TestScanOfUnusedAddresses: a router that is made to ask for addresses which
// nobody has runs out of room for three seconds, and says so; then failed
// entries make room at once.
func TestScanOfUnusedAddresses(t *testing.T) {
	inBubble(t, func(n *network) {
		r := n.host(Config{Name: "r", Forward: true, Neighbours: NeighbourLimits{Thresh1: 4, Thresh2: 8, Thresh3: 16}})
		left, d0 := n.station(r, "eth0", "10.9.0.1/24")
		right, d1 := n.station(r, "eth1", "10.0.0.1/16")
		n.do(func() { n.try(r.SetNeighbour(d0, addr("10.9.0.2"), left.mac)) })
		scan := func(from int) {
			for i := range 20 {
				left.sendIP(d0, udpPacket("10.9.0.2:1", netip.AddrPortFrom(nth(from+i), 9).String(), nil))
			}
		}
		scan(0)
		equal(t, "requests", len(right.take()), 16)
		equal(t, "overflows", d0.Point().Drops(DropNeighTable), 4)
		n.wait(3 * time.Second)
		right.take()
		scan(100)
		equal(t, "requests when the first have failed", len(right.take()), 16)
		left.take()
		n.wait(10 * time.Second)
		left.take()
		equal(t, "entries", r.neigh.listed.n, 16)
		equal(t, "drops are counted where the packets came in", d1.Point().Drops(DropNeighTable), 0)
	})
}

// TestNeighbourThresholdsAreSysctls: as on a node that is prepared for more.
func TestNeighbourThresholdsAreSysctls(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := crowded(n, NeighbourLimits{})
		n.do(func() {
			for name, value := range map[string]string{"gc_thresh1": "1024", "gc_thresh2": "2048", "gc_thresh3": "4096"} {
				n.try(h.SetSysctl("net.ipv4.neigh.default."+name, value))
			}
		})
		s.asks(d, 0, 2000)
		equal(t, "entries", h.neigh.listed.n, 2000)
	})
}
