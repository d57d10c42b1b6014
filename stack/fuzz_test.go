package stack

import (
	"encoding/binary"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
)

// everythingHost adds to a loose host what a frame may meet: a second device,
// a bridge with two ports, a tunnel, rules of every kind and open sockets.
func everythingHost(t testing.TB) (h *Host, in []*Device) {
	h, eth0 := looseHost(t)
	drv := h.Driver()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	in = []*Device{eth0}
	drv.Do(func() {
		eth1, err := h.AddEthernet("eth1", link.LocalMAC(2), 600, drv.NewPort("eth1", (*link.Frame).Release))
		must(err)
		must(eth1.AddAddr(prefix("10.0.1.1/24")))
		must(h.SetNeighbour(eth1, addr("10.0.1.2"), link.LocalMAC(9)))
		must(h.AddRoute(Route{Dst: prefix("0.0.0.0/0"), Via: addr("10.0.1.2"), Dev: eth1}))
		must(h.BindTunnel(8472, func(_ Outer, f *link.Frame) { eth1.Receive(f) }))
		br, err := h.AddBridge("cni0", link.LocalMAC(3), 1450)
		must(err)
		must(br.AddAddr(prefix("10.0.2.1/24")))
		for i, name := range []string{"veth0", "veth1"} {
			port := drv.NewPort(name, (*link.Frame).Release)
			d, p, err := h.AddBridgePort(br, name, link.LocalMAC(uint64(10+i)), 1450, port)
			must(err)
			p.Hairpin = true
			in = append(in, d)
		}
		in = append(in, eth1)
		must(h.Netfilter().Restore(fuzzRules, netfilter.RestoreOptions{}))
		h.RulesChanged()
	})
	ln, err := h.Listen("tcp", ":80")
	must(err)
	pc, err := h.ListenPacket("udp", ":53")
	must(err)
	t.Cleanup(func() { ln.Close(); pc.Close() })
	return h, in
}

const fuzzRules = `*raw
-A PREROUTING -p udp --dport 4 -j NOTRACK
COMMIT
*nat
-A PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.2.2:8080
-A PREROUTING -d 10.96.0.10/32 -p udp -j DNAT --to-destination 10.0.0.2:53
-A PREROUTING -p tcp --dport 81 -j REDIRECT --to-ports 80
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
*filter
-A INPUT -p tcp --dport 82 -j REJECT --reject-with tcp-reset
-A FORWARD -p tcp --dport 83 -j REJECT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`

// FuzzReceive: no frame, whatever its bytes, makes a host panic or keep it.
// The first byte chooses the device, and whether the frame's MAC and checksums
// are put right, so that it gets past the first door.
func FuzzReceive(f *testing.F) {
	mac := link.LocalMAC(9)
	for device := range byte(4) {
		for _, pkt := range [][]byte{
			udpPacket("10.0.0.2:1", "10.0.0.1:53", []byte("query")),
			udpPacket("10.0.0.2:1", "10.96.0.10:53", []byte("query")),
			udpPacket("10.0.2.2:1", "10.0.2.1:8472", frame(link.LocalMAC(2), mac, etherIPv4, udpPacket("10.9.0.2:1", "10.0.0.1:53", nil))),
			tcpPacket("10.0.2.2:1", "10.96.0.10:80", tcpSYN, 1, 0, nil),
			tcpPacket("10.0.0.2:1", "10.0.0.1:80", tcpSYN, 1, 0, nil),
			tcpPacket("10.0.0.2:1", "10.0.0.1:82", tcpACK, 1, 1, []byte("x")),
			echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 56),
			pieces(echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 100), 84)[1],
			errorAbout(udpPacket("10.0.0.1:53", "10.0.0.2:1", nil)),
		} {
			f.Add(append([]byte{device | 4}, frame(link.LocalMAC(1), mac, etherIPv4, pkt)...))
		}
		f.Add(append([]byte{device}, frame(link.Broadcast, mac, etherARP, arpPacket(arpRequest, mac, "10.0.0.2", link.MAC{}, "10.0.0.1"))...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, in := everythingHost(t)
		for len(data) > 0 {
			// Frames of a script are cut at 200 bytes: several can meet.
			n := min(len(data), 201)
			d, b := in[data[0]&3], data[1:n:n]
			if data[0]&4 != 0 {
				repair(d, b)
			}
			data = data[n:]
			if d.port != nil && h.Device("cni0") != nil && d.Name[0] == 'v' {
				h.drv.Do(func() {
					fr := h.drv.NewFrame(len(b))
					copy(fr.Bytes(), b)
					d.port.Deliver(fr)
				})
				continue
			}
			receive(h, d, b)
		}
		settle(t, h)
	})
}

// repair gives b the device's MAC, and if it is an IP packet right lengths and
// checksums.
func repair(d *Device, b []byte) {
	if len(b) < link.EthernetHeader {
		return
	}
	if b[0]&1 == 0 && d.Name[0] != 'v' {
		copy(b, d.MAC[:])
	}
	ip := ipv4(b[link.EthernetHeader:])
	if len(ip) < ipv4MinHeader {
		return
	}
	ip[0] = 0x40 | max(5, min(ip[0]&15, byte(len(ip)/4)))
	if total := ip.totalLen(); total > len(ip) || total < ip.headerLen() {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	}
	ip.fixChecksum()
	if l4 := ip[:ip.totalLen()].payload(); ip.proto() == protoICMP && len(l4) >= icmpHeader {
		putICMP(l4, l4[0], l4[1], binary.BigEndian.Uint32(l4[4:]), l4[icmpHeader:])
	}
}

// errorAbout is a port unreachable error about pkt.
func errorAbout(pkt ipv4) []byte {
	b := make([]byte, icmpHeader+len(pkt))
	putICMP(b, icmpUnreachable, codePort, 0, pkt)
	return ipPacket(ipHeader{src: pkt.dst(), dst: pkt.src(), proto: protoICMP}, b)
}

func FuzzARP(f *testing.F) {
	mac := link.LocalMAC(9)
	f.Add(arpPacket(arpRequest, mac, "10.0.0.2", link.MAC{}, "10.0.0.1"), true)
	f.Add(arpPacket(arpReply, mac, "10.0.0.2", link.LocalMAC(1), "10.0.0.1"), false)
	f.Add(arpPacket(arpRequest, mac, "0.0.0.0", link.MAC{}, "10.0.0.1"), true) // duplicate detection
	f.Add(arpPacket(arpRequest, mac, "10.0.0.1", link.MAC{}, "10.0.0.1"), true)
	f.Add(append(arpPacket(arpRequest, mac, "10.0.0.2", link.MAC{}, "10.0.0.1"), make([]byte, 18)...), true) // padded
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 1}, true)
	f.Fuzz(func(t *testing.T, pkt []byte, broadcast bool) {
		h, d := looseHost(t)
		to := d.MAC
		if broadcast {
			to = link.Broadcast
		}
		receive(h, d, frame(to, mac, etherARP, pkt))
		h.drv.Do(func() {
			for _, n := range h.Neighbours() {
				if n.MAC.IsMulticast() || n.Addr.IsMulticast() {
					t.Errorf("learned %v at %v", n.Addr, n.MAC)
				}
			}
		})
		settle(t, h)
	})
}
