package stack

import (
	"net"
	"testing"
)

// TestSocketsUseTheRoutesSource: TCP and UDP sockets send from the address
// that Source says, also when it is on another device than the packets leave by.
func TestSocketsUseTheRoutesSource(t *testing.T) {
	tests := []struct{ name, dst, want string }{
		{"the device has one address", "10.0.1.9", "10.0.1.1"},
		{"the device has none", "10.244.1.2", "10.0.1.1"},
		{"the route prefers one of another device", "10.77.0.1", "10.0.1.1"},
		{"the device has several", "10.3.3.9", "10.3.3.1"},
		{"our own", "10.3.3.1", "10.3.3.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				h := n.host(Config{Name: "h"})
				s0, eth0 := n.station(h, "eth0", "10.0.1.1/24")
				s1, eth1 := n.station(h, "eth1", "10.2.2.1/24")
				s2, cali := n.station(h, "cali1", "")
				n.do(func() {
					n.try(eth1.AddAddr(prefix("10.3.3.1/24")))
					n.try(h.AddRoute(Route{Dst: prefix("10.244.1.2/32"), Dev: cali}))
					n.try(h.AddRoute(Route{Dst: prefix("10.77.0.0/16"), Via: addr("10.2.2.9"), Dev: eth1, Src: addr("10.0.1.1")}))
					n.try(h.SetNeighbour(eth0, addr("10.0.1.9"), s0.mac))
					n.try(h.SetNeighbour(eth1, addr("10.2.2.9"), s1.mac))
					n.try(h.SetNeighbour(eth1, addr("10.3.3.9"), s1.mac))
					n.try(h.SetNeighbour(cali, addr("10.244.1.2"), s2.mac))
				})
				rec := n.record(eth0, eth1, cali, h.Device("lo"))
				p, err := h.ListenPacket("udp", ":0")
				n.try(err)
				_, err = p.WriteTo([]byte("x"), &net.UDPAddr{IP: addr(tt.dst).AsSlice(), Port: 9})
				n.try(err)
				c, err := h.Dial("udp", tt.dst+":9")
				n.try(err)
				c.Write([]byte("x"))
				n.drv.Go(func() { h.Dial("tcp", tt.dst+":9") })
				n.wait(0)
				for _, ip := range rec.sent() {
					if ip.proto() != protoICMP && ip.src() != addr(tt.want) {
						t.Errorf("%s: want source %s", describeIP(ip), tt.want)
					}
				}
			})
		})
	}
}

// TestDatagramLargerThanTheDeviceItLeavesBy: the source's device has the larger
// MTU; what a socket sends is cut all the same (ip_sk_ignore_df).
func TestDatagramLargerThanTheDeviceItLeavesBy(t *testing.T) {
	inBubble(t, func(n *network) {
		h := n.host(Config{Name: "h"})
		n.station(h, "eth0", "10.0.1.1/24")
		s, d := n.station(h, "eth1", "")
		n.do(func() {
			d.MTU = 1000
			n.try(h.AddRoute(Route{Dst: prefix("10.2.0.0/16"), Dev: d}))
			n.try(h.SetNeighbour(d, addr("10.2.0.1"), s.mac))
		})
		p, err := h.ListenPacket("udp", ":0")
		n.try(err)
		_, err = p.WriteTo(make([]byte, 1400), &net.UDPAddr{IP: net.IPv4(10, 2, 0, 1), Port: 9})
		n.try(err)
		var got []string
		for _, f := range s.take() {
			equal(t, "DF", f.ip().dontFragment(), false)
			got = append(got, describeIP(f.ip()))
		}
		n.want("pieces", got, "10.0.1.1 > 10.2.0.1 fragment 0+976", "10.0.1.1 > 10.2.0.1 fragment 976+432")
	})
}
