package overlay

import (
	"net/netip"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// ipipNode is node1 with an IPIP device in place of flannel's VXLAN.
func ipipNode(t testing.TB, drv *link.Driver) (*node1, *IPIP) {
	n := newNode1(t, drv, "node1")
	var tun *IPIP
	drv.Do(func() {
		var err error
		tun, err = NewIPIP(n.host, IPIPConfig{Name: "flannel.ipip", MTU: 1480, Local: netip.MustParseAddr("192.168.56.11")})
		must(t, err)
	})
	return n, tun
}

// The outer header has the inner TTL and DF, and the inner ECN bits with a
// congestion mark made ECT(0).
func TestIPIPOuterHeader(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n, tun := ipipNode(t, drv)
		for _, df := range []byte{0, 0x40} {
			pkt := inner("10.244.1.2:1", "10.244.2.2:2", 0xbb, 10)[link.EthernetHeader:]
			pkt[6] = df
			drv.Do(func() { tun.transmit(n.frame(pkt), netip.MustParseAddr("192.168.56.12")) })
			drv.Sleep(0)
			out := n.sent[0][link.EthernetHeader:]
			n.sent = nil
			equal(t, "length", len(out), len(pkt)+IPIPOverhead)
			equal(t, "protocol", out[9], 4)
			equal(t, "TTL", out[8], 63)
			equal(t, "DF", out[6], df)
			equal(t, "TOS", out[1], 2)
			equal(t, "payload", string(out[20:]), string(pkt))
		}
		// A next hop behind the tunnel itself, and one that is this host.
		drv.Do(func() {
			must(t, n.host.AddRoute(stack.Route{Dst: netip.MustParsePrefix("10.9.0.0/16"), Dev: tun.Device}))
			for _, next := range []string{"10.9.0.1", "192.168.56.11"} {
				tun.transmit(n.frame(inner("10.244.1.2:1", "10.244.2.2:2", 0, 0)[link.EthernetHeader:]), netip.MustParseAddr(next))
			}
			equal(t, "loops", tun.Device.Point().Drops(DropIPIPLoop), 2)
		})
	})
}

// What is inside is checked, a congestion mark needs a packet that can carry it,
// and packets to another address of the host are not the device's.
func TestIPIPReceive(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n, tun := ipipNode(t, drv)
		local := stack.Outer{Src: netip.MustParseAddr("192.168.56.12"), Dst: netip.MustParseAddr("192.168.56.11")}
		marked, other := local, local
		marked.TOS, other.Dst = 3, netip.MustParseAddr("10.244.1.0")
		drv.Do(func() {
			p := tun.Device.Point()
			good := inner("10.244.2.2:1", "10.244.1.2:2", 0, 0)[link.EthernetHeader:]
			f := n.frame(good)
			equal(t, "another address", tun.receive(other, f), false)
			f.Release()
			equal(t, "no packet", tun.receive(local, n.frame([]byte{0x45})), true)
			equal(t, "IPv6", tun.receive(local, n.frame(append([]byte{0x60}, good[1:]...))), true)
			equal(t, "bad inner packets", p.Drops(DropBadInner), 2)
			tun.receive(marked, n.frame(good))
			equal(t, "marks on a packet that is not ECN-capable", p.Drops(DropIPIPECN), 1)
			if _, err := NewIPIP(n.host, IPIPConfig{Name: "tunl1", MTU: 1480}); err == nil || n.host.Device("tunl1") != nil {
				t.Errorf("a second IPIP device: %v, device left %v", err, n.host.Device("tunl1"))
			}
		})
	})
}

// FuzzInner: whatever a tunnel without link layer brings, it takes it and nothing
// panics.
func FuzzInner(f *testing.F) {
	f.Add(inner("10.244.2.2:1", "10.244.1.2:2", 3, 8)[link.EthernetHeader:], byte(3))
	f.Add([]byte{0x45}, byte(0))
	f.Add(make([]byte, 20), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, tos byte) {
		if len(b) > 1<<15 {
			return
		}
		drv := link.NewDriver(link.DriverConfig{})
		defer drv.Close()
		n, tun := ipipNode(t, drv)
		drv.Do(func() {
			back, err := startUDP(&Node{Name: "node1", Host: n.host, Uplink: n.host.Device("eth0"), PodCIDR: netip.MustParsePrefix("10.244.1.0/24")},
				Network{PodCIDR: netip.MustParsePrefix("10.244.0.0/16")})
			must(t, err)
			o := stack.Outer{Src: netip.MustParseAddr("192.168.56.12"), Dst: netip.MustParseAddr("192.168.56.11"), TOS: tos}
			if !tun.receive(o, n.frame(b)) {
				t.Error("not taken")
			}
			back.(*flannelUDP).fromSocket(o, n.frame(b))
		})
	})
}
