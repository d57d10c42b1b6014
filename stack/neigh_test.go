package stack

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func TestPermanentNeighbour(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		n.do(func() { n.try(a.SetNeighbour(d, addr("10.0.0.2"), s.mac)) })
		other := link.MAC{2, 9, 9, 9, 9, 9}
		s.send(frame(d.MAC, other, etherARP, arpPacket(arpReply, other, "10.0.0.2", d.MAC, "10.0.0.1")))
		n.wait(time.Hour)
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		c.Ping(addr("10.0.0.2"), 1, time.Minute)
		got := s.take()
		if len(got) != 1 || link.DstMAC(got[0].b) != s.mac {
			t.Errorf("got %v, want one echo request to %v and no ARP", got, s.mac)
		}
		equal(t, "state", neighState(a, "10.0.0.2"), NeighPermanent)
		n.do(func() {
			equal(t, "removed", a.RemoveNeighbour(d, addr("10.0.0.2")), true)
			equal(t, "removed again", a.RemoveNeighbour(d, addr("10.0.0.2")), false)
		})
	})
}

// TestPermanentNeighboursHaveNoLimit: gc_thresh3 does not count them, so that
// a cluster may have more nodes than a host may have neighbours.
func TestPermanentNeighboursHaveNoLimit(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/16")
		n.do(func() {
			for i := range 5000 {
				n.try(a.SetNeighbour(d, netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(1 + i%250)}), s.mac))
			}
			if a.neigh.get(d, addr("10.0.200.1")) == nil {
				t.Error("no room for a neighbour of the link beside 5000 permanent ones")
			}
		})
	})
}

func TestNeighbourQueueDropsTheOldest(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		c, err := a.ListenPacket("udp", "10.0.0.1:0")
		n.try(err)
		to := netAddr("udp", netip.MustParseAddrPort("10.0.0.2:9"))
		for i := range 101 + 5 {
			_, err := c.WriteTo(fmt.Append(nil, i), to)
			n.try(err)
		}
		s.take()
		s.send(frame(d.MAC, s.mac, etherARP, arpPacket(arpReply, s.mac, "10.0.0.2", d.MAC, "10.0.0.1")))
		got := s.take()
		equal(t, "packets that waited", len(got), 101)
		equal(t, "the first of them", string(got[0].ip().payload()[udpHeader:]), "5")
		equal(t, "dropped", d.Point().Drops(DropNeighQueue), 5)
	})
}

func TestAnswerReleasesWhatWaited(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		c, err := a.ListenPacket("udp", ":0")
		n.try(err)
		to := netAddr("udp", netip.MustParseAddrPort("10.0.0.2:9"))
		c.WriteTo([]byte("1"), to)
		n.wait(1500 * time.Millisecond)
		c.WriteTo([]byte("2"), to)
		s.take()
		s.send(frame(d.MAC, s.mac, etherARP, arpPacket(arpReply, s.mac, "10.0.0.2", d.MAC, "10.0.0.1")))
		got := s.take()
		equal(t, "packets", len(got), 2)
		n.wait(5 * time.Second)
		equal(t, "requests after the answer", len(s.take()), 0)
	})
}

func TestRemovedNeighbourLosesItsQueue(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		c, err := a.ListenPacket("udp", ":0")
		n.try(err)
		c.WriteTo([]byte("1"), netAddr("udp", netip.MustParseAddrPort("10.0.0.2:9")))
		n.do(func() { a.RemoveNeighbour(d, addr("10.0.0.2")) })
		n.wait(10 * time.Second)
		equal(t, "requests", len(s.take()), 1)
		equal(t, "dropped", d.Point().Drops(DropNeighFailed), 1)
	})
}

// TestRemovingANeighbourInDoubt: the device counts such entries.
func TestRemovingANeighbourInDoubt(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		n.do(func() {
			a.neigh.learn(d, addr("10.0.0.2"), s.mac, heard{request: true})
			a.neigh.touch(a.neigh.get(d, addr("10.0.0.2")))
			equal(t, "in doubt", d.unsure, 1)
			a.RemoveNeighbour(d, addr("10.0.0.2"))
			equal(t, "in doubt after it was removed", d.unsure, 0)
		})
	})
}

func TestDeviceWithoutARP(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		var sent int
		var d *Device
		n.do(func() {
			var err error
			d, err = a.AddDevice(DeviceConfig{Name: "tun0", MTU: 1400, NoARP: true, MAC: n.mac(), Transmit: func(f *link.Frame) { sent++; f.Release() }})
			n.try(err)
			n.try(d.AddAddr(netip.MustParsePrefix("10.9.0.1/24")))
			n.try(a.SetNeighbour(d, addr("10.9.0.2"), n.mac()))
		})
		c, err := a.ListenPacket("udp", ":0")
		n.try(err)
		c.WriteTo([]byte("x"), netAddr("udp", netip.MustParseAddrPort("10.9.0.2:9")))
		c.WriteTo([]byte("x"), netAddr("udp", netip.MustParseAddrPort("10.9.0.3:9")))
		n.wait(5 * time.Second)
		equal(t, "frames to the known neighbour, none to ask for the other", sent, 1)
		equal(t, "dropped", a.lo.Point().Drops(DropNeighFailed), 1)
	})
}
