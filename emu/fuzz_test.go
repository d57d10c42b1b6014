package emu_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

// FuzzVXLAN: datagrams to a node's VXLAN port, in the name of another node or of
// a stranger, with whatever inside. The node has kube-proxy's rules, br_netfilter
// and pods. A frame of the plot is a control byte, a length and so many bytes:
//
//	bit 0    the bytes are an inner frame: put a right VXLAN header in front
//	bit 1    from a stranger, not from node2
//	bit 2    leave the inner frame's destination MAC, lengths and sums as they are
//	bit 3    the outer UDP length is two too short
//	bits 4-5 the outer ECN field
//	bits 6-7 wait afterwards: not, 1 s, 31 s, 10 min
func FuzzVXLAN(f *testing.F) {
	const stranger, asIs, short, marked = 2, 4, 8, 0x30
	query := innerUDP("10.244.2.9:1", "10.244.1.2:53", 8)
	entry := func(control byte, b []byte) []byte { return append([]byte{control, byte(len(b))}, b...) }
	join := func(list ...[]byte) (all []byte) {
		for _, b := range list {
			all = append(all, b...)
		}
		return all
	}
	f.Add(join(
		entry(1, query),
		entry(1|stranger, query),
		entry(1|marked, query), // congestion on a packet that cannot carry a mark
		entry(1|short, query),
		entry(1, innerUDP("10.244.2.9:1", "10.96.0.10:80", 8)),      // a Service, from the tunnel
		entry(1, innerUDP("10.244.1.2:53", "10.244.1.2:53", 8)),     // land
		entry(1, innerUDP("10.244.2.9:1", "10.244.1.77:9", 8)),      // a pod that does not exist
		entry(1, innerUDP("10.244.2.9:1", "192.168.56.11:8472", 8)), // a tunnel in the tunnel
		entry(1, innerUDP("10.244.2.9:1", "10.244.3.1:9", 8)),       // no route but the default one
	))
	f.Add(join(
		entry(4, nil),
		entry(0, []byte{8, 0, 0, 0, 0, 0, 1}),                      // a byte of the header is missing
		entry(0, []byte{8, 0, 0, 0, 0, 0, 1, 0}),                   // nothing inside
		entry(0, append([]byte{0, 0, 0, 0, 0, 0, 1, 0}, query...)), // no I flag
		entry(0, append([]byte{8, 0, 0, 0, 0, 0, 2, 0}, query...)), // another VNI
		entry(0, append([]byte{8, 0, 0, 0, 0, 0, 1, 9}, query...)), // reserved bits
		entry(1, query[:13]),
		entry(1|asIs, query[:33]), // an IP header cut short
		entry(1|asIs, query),      // to a MAC of nobody
	))
	arp := append(append(make([]byte, 12), 8, 6), 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 244, 2, 0, 0, 0, 0, 0, 0, 0, 10, 244, 1, 0)
	f.Add(join(entry(1, arp), entry(0xc1, query), entry(1, query))) // ARP in the name of node2's VTEP
	f.Fuzz(func(t *testing.T, script []byte) {
		stuck := time.AfterFunc(time.Minute, func() { panic("the node is in a loop: the run has not ended after a minute") })
		defer stuck.Stop()
		emutest.Run(t, emu.Config{Nodes: 2, Seed: 1}, func(t *testing.T, lab *emutest.Lab) {
			client, web := lab.Pod("client", "node1"), lab.Pod("web", "node2", 80)
			lab.Pod("near", "node1", 80)
			lab.Service("web", 80, 80, 0)
			client.Ping(web.Addr().String())
			playTunnel(lab, script)
			lab.Sleep(2 * time.Minute)
			mustBeBounded(t, lab)
			client.Ping(web.Addr().String())
			client.Get("http://web/hostname")
			lab.Sleep(2 * time.Minute)
			lab.Driver().Do(func() {
				if n := lab.Driver().LiveFrames(); n != 0 {
					t.Errorf("%d frames were never released", n)
				}
			})
		})
	})
}

// playTunnel sends what a script says to node1's tunnel.
func playTunnel(lab *emutest.Lab, script []byte) {
	node1, node2 := lab.Node("node1"), lab.Node("node2")
	for n := 0; len(script) >= 2 && n < 40; n++ {
		control, size := script[0], min(int(script[1]), len(script)-2)
		b := append([]byte(nil), script[2:2+size]...)
		script = script[2+size:]
		if control&1 != 0 {
			if control&4 == 0 {
				mendInner(b, node1.Stack().Device("flannel.1").MAC)
			}
			b = append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, b...)
		}
		from := node2.Addr()
		if control&2 != 0 {
			from = netip.MustParseAddr("192.168.56.66")
		}
		pkt := ipUDP(netip.AddrPortFrom(from, 4000), netip.AddrPortFrom(node1.Addr(), 8472), b)
		pkt[1] = control >> 4 & 3
		if control&8 != 0 {
			binary.BigEndian.PutUint16(pkt[24:], uint16(max(8, len(pkt)-22)))
		}
		mendIP(pkt)
		inject(lab, node1, pkt)
		lab.Sleep([4]time.Duration{0, time.Second, 31 * time.Second, 10 * time.Minute}[control>>6])
	}
}

// mustBeBounded compares what a stranger can make a node remember with its
// bound.
func mustBeBounded(t *testing.T, lab *emutest.Lab) {
	t.Helper()
	nodes := lab.Nodes()
	lab.Driver().Do(func() {
		for _, n := range nodes {
			h := n.Stack()
			if got, most := h.Conntrack().Len(), h.Conntrack().Max(); got > most {
				t.Errorf("%s: %d connections, want at most %d", n.Name(), got, most)
			}
			if got := len(h.Neighbours()); got > 1024+len(nodes) {
				t.Errorf("%s: %d neighbours", n.Name(), got)
			}
		}
	})
}

// inject hands a node an IP packet as if it had come by its cable.
func inject(lab *emutest.Lab, n *emu.Node, pkt []byte) {
	lab.Driver().Do(func() {
		eth0 := n.Stack().Device("eth0")
		f := lab.Driver().NewFrame(link.EthernetHeader + len(pkt))
		link.PutEthernet(f.Bytes(), eth0.MAC, link.LocalMAC(66), 0x0800)
		copy(f.Bytes()[link.EthernetHeader:], pkt)
		eth0.Receive(f)
	})
	lab.Sleep(0)
}

// ipUDP is a UDP datagram without a checksum in an IP packet.
func ipUDP(src, dst netip.AddrPort, payload []byte) []byte {
	p := append(make([]byte, 28), payload...)
	p[0], p[8], p[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	s, d := src.Addr().As4(), dst.Addr().As4()
	copy(p[12:], s[:])
	copy(p[16:], d[:])
	binary.BigEndian.PutUint16(p[20:], src.Port())
	binary.BigEndian.PutUint16(p[22:], dst.Port())
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
	mendIP(p)
	return p
}

// innerUDP is a datagram in the frame that a tunnel carries.
func innerUDP(src, dst string, size int) []byte {
	b := make([]byte, link.EthernetHeader)
	b[6], b[11], b[12] = 2, 9, 8
	return append(b, ipUDP(netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst), make([]byte, size))...)
}

// mendInner makes an inner frame one for the device with the given MAC, and an
// IP packet in it one that is looked at.
func mendInner(b []byte, mac link.MAC) {
	if len(b) < link.EthernetHeader {
		return
	}
	copy(b, mac[:])
	ip := b[link.EthernetHeader:]
	if link.EtherType(b) != 0x0800 || len(ip) < 20 {
		return
	}
	ip[0] = 0x40 | max(5, min(ip[0]&15, byte(len(ip)/4)))
	if total := int(binary.BigEndian.Uint16(ip[2:])); total > len(ip) || total < int(ip[0]&15)*4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	}
	mendIP(ip)
}

// mendIP computes the header checksum of an IP packet.
func mendIP(ip []byte) {
	ip[10], ip[11] = 0, 0
	var sum uint32
	for i := 0; i < int(ip[0]&15)*4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
}
