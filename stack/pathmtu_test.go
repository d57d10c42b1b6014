package stack

import (
	"net/netip"
	"testing"

	"github.com/podwire/podwire/link"
)

// quotedPacket is the start of a packet that an ICMP error is about.
func quotedPacket(src, dst string, proto byte) ipv4 {
	b := make([]byte, 28)
	ipHeader{proto: proto, ttl: 64, src: netip.MustParseAddr(src), dst: netip.MustParseAddr(dst)}.put(b, 1500)
	return b
}

// A path MTU is believed about packets of the host itself, lower than what is
// known, not below 552, and for ten minutes.
func TestPathMTU(t *testing.T) {
	inBubble(t, func(n *network) {
		h := n.host(Config{Name: "h"})
		n.nic(h, "eth0", "10.0.0.1/8", 1500, n.drv.NewPort("h/eth0", func(f *link.Frame) { f.Release() }))
		to := netip.MustParseAddr("10.0.0.9")
		learn := func(q ipv4, mtu, want int) {
			t.Helper()
			n.do(func() {
				h.learnPathMTU(q, mtu)
				equal(t, "path MTU", h.PathMTU(to), want)
			})
		}
		learn(quotedPacket("10.0.0.7", "10.0.0.9", protoUDP), 1300, 1500) // not this host's
		learn(quotedPacket("10.0.0.1", "10.0.0.9", protoUDP), 9000, 1500)
		learn(quotedPacket("10.0.0.1", "10.0.0.9", protoUDP), 1300, 1300)
		learn(quotedPacket("10.0.0.1", "10.0.0.9", protoIPIP), 1400, 1300)
		learn(quotedPacket("10.0.0.1", "10.0.0.9", protoIPIP), 68, minPathMTU)
		n.wait(pathMTUExpires)
		n.do(func() {
			equal(t, "after it has expired", h.PathMTU(to), 1500)
			equal(t, "without a route", h.PathMTU(netip.MustParseAddr("192.0.2.1")), 0)
			for i := range 2 * maxPathMTUs {
				h.learnPathMTU(quotedPacket("10.0.0.1", netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String(), protoUDP), 1000)
			}
			if len(h.pathMTUs) > maxPathMTUs {
				t.Errorf("%d path MTUs, want at most %d", len(h.pathMTUs), maxPathMTUs)
			}
			h.learnPathMTU(quotedPacket("10.0.0.1", "10.0.0.9", protoUDP), 1300)
			equal(t, "before a flush", h.PathMTU(to), 1300)
			h.FlushPathMTUs()
			equal(t, "after a flush", h.PathMTU(to), 1500)
		})
	})
}

// A protocol has one tunnel, and the host's own have none. What the tunnel does
// not want is answered with port unreachable, what nobody has bound with protocol
// unreachable.
func TestBindProtocol(t *testing.T) {
	inBubble(t, func(n *network) {
		var sent [][]byte
		h := n.host(Config{Name: "h"})
		eth0 := n.nic(h, "eth0", "10.0.0.1/24", 1500, n.drv.NewPort("h/eth0", func(f *link.Frame) {
			sent = append(sent, append([]byte(nil), f.Bytes()[link.EthernetHeader:]...))
			f.Release()
		}))
		arrive := func(proto byte) {
			f := h.newFrame(28)
			copy(f.Bytes(), quotedPacket("10.0.0.9", "10.0.0.1", proto))
			ipHeader{proto: proto, ttl: 64, src: netip.MustParseAddr("10.0.0.9"), dst: netip.MustParseAddr("10.0.0.1")}.put(f.Bytes(), 28)
			eth0.arrive(f)
		}
		n.do(func() {
			n.try(h.SetNeighbour(eth0, netip.MustParseAddr("10.0.0.9"), link.MAC{2, 0, 0, 0, 9, 9}))
			wants := false
			var got Outer
			n.try(h.BindProtocol(ProtoIPIP, func(o Outer, f *link.Frame) bool {
				equal(t, "payload", f.Len(), 8)
				if got = o; wants {
					f.Release()
				}
				return wants
			}))
			for _, proto := range []byte{ProtoIPIP, protoICMP, protoTCP, protoUDP} {
				if h.BindProtocol(proto, nil) == nil {
					t.Errorf("protocol %d was bound", proto)
				}
			}
			arrive(ProtoIPIP)
			arrive(47)
			wants = true
			arrive(ProtoIPIP)
			equal(t, "outer source", got.Src.String(), "10.0.0.9")
		})
		n.wait(0)
		if len(sent) != 2 || sent[0][20] != icmpUnreachable || sent[0][21] != codePort || sent[1][21] != codeProtocol {
			t.Errorf("sent % x, want port unreachable and protocol unreachable", sent)
		}
	})
}

// arrive lets a packet arrive at a device.
func (d *Device) arrive(f *link.Frame) {
	link.PutEthernet(f.Push(link.EthernetHeader), d.MAC, link.MAC{2, 0, 0, 0, 9, 9}, etherIPv4)
	d.Receive(f)
}
