package stack

import (
	"encoding/binary"
	"testing"

	"github.com/podwire/podwire/link"
)

// Each target below is one way in which hostile bytes come to a host. What must
// hold whatever they are is in besiege: no panic, no loop, nothing unbounded, no
// frame kept, and the honest are served.

// FuzzEthernet: frames as they are.
func FuzzEthernet(f *testing.F) {
	node, ours := link.LocalMAC(1), attackerMAC
	query := udpPacket("10.0.0.2:1", "10.0.0.1:53", []byte("query"))
	f.Add([]byte(plot{}.
		frame(0, frame(node, ours, etherIPv4, query)).
		frame(0, frame(link.MAC{2, 2}, ours, etherIPv4, query)). // for another host
		frame(0, frame(node, ours, 0x86dd, query)).              // IPv6, which nobody speaks
		frame(0, frame(node, node, etherIPv4, query)).           // from the node itself
		frame(0, frame(node, ours, etherIPv4, nil))))            // nothing in it
	f.Add([]byte(plot{}.
		frame(0, []byte{}).                                           // no bytes
		frame(0, node[:]).                                            // half a header
		frame(0, frame(link.Broadcast, ours, etherIPv4, query)).      // unicast IP in a broadcast
		frame(0, frame(link.MAC{1, 0, 0x5e}, ours, 0x88cc, query)).   // LLDP
		frame(0x60, frame(node, ours, etherIPv4, query)).             // padded to 1,300 bytes, and a second later
		frame(0, frame(node, link.Broadcast, etherIPv4, query[:19])). // from a group, cut short
		frame(0, frame(node, ours, 0x8100, append([]byte{0, 5, 8, 0}, query...)))))
	f.Fuzz(func(t *testing.T, data []byte) {
		besiege(t, func(s *siege) {
			plot(data).each(s, func(_ *door, _ byte, b []byte) []byte { return b })
		})
	})
}

// FuzzBridge: frames into a port of a bridge with br_netfilter, IP in them put
// right or not.
func FuzzBridge(f *testing.F) {
	cni0, pod := link.LocalMAC(3), link.MAC{2, 0, 0, 0, 0, 4}
	for _, pkt := range [][]byte{
		udpPacket("10.0.2.9:1", "10.0.2.2:53", []byte("query")),               // port to port
		tcpPacket("10.0.2.9:1", "10.96.0.10:80", tcpSYN, 1, 0, nil),           // DNAT: the bridge redirects
		tcpPacket("10.0.2.2:1", "10.96.0.10:80", tcpSYN, 1, 0, nil),           // the same in the pod's name
		udpPacket("10.0.2.9:1", "10.96.0.10:53", []byte("query")),             // DNAT to another link
		pieces(echoPacket(between("10.0.2.9", "10.0.2.2", 0), 1, 100), 84)[0], // a first piece
		errorAbout(udpPacket("10.0.2.2:53", "10.0.2.9:1", nil)),
	} {
		for _, to := range []link.MAC{cni0, pod, link.Broadcast} {
			f.Add([]byte(plot{}.frame(1, frame(to, attackerMAC, etherIPv4, pkt)).frame(9, frame(to, pod, etherIPv4, pkt))))
		}
	}
	f.Add([]byte(plot{}.
		frame(9, frame(link.MAC{1, 0x80, 0xc2}, attackerMAC, 0x0027, nil)). // a BPDU
		frame(9, frame(cni0, link.MAC{}, etherIPv4, nil)).                  // from nobody
		frame(9, frame(cni0, link.Broadcast, etherIPv4, nil)).              // from a group
		frame(9, frame(pod, cni0, etherIPv4, nil)).                         // in the bridge's name
		frame(9, cni0[:5])))
	f.Fuzz(func(t *testing.T, data []byte) {
		besiege(t, func(s *siege) {
			plot(data).each(s, func(d *door, control byte, b []byte) []byte {
				if control&8 == 0 && len(b) > link.EthernetHeader {
					repair(b[link.EthernetHeader:])
				}
				return b
			})
		})
	})
}

// FuzzARP: ARP packets, to one or to everybody, from a cable or into the bridge.
func FuzzARP(f *testing.F) {
	ask := arpPacket(arpRequest, attackerMAC, "10.0.0.2", link.MAC{}, "10.0.0.1")
	f.Add([]byte(plot{}.
		frame(0x10, ask).
		frame(0, arpPacket(arpReply, attackerMAC, "10.0.0.9", link.LocalMAC(1), "10.0.0.1")). // nobody has asked
		frame(0x10, arpPacket(arpRequest, attackerMAC, "0.0.0.0", link.MAC{}, "10.0.0.1")).   // duplicate detection
		frame(0x10, arpPacket(arpRequest, attackerMAC, "10.0.0.1", link.MAC{}, "10.0.0.1")).  // the node's own address
		frame(0x10, append(ask, make([]byte, 18)...))))                                       // padded, as on a cable
	f.Add([]byte(plot{}.
		frame(0, ask[:27]). // a byte is missing
		frame(0, ask[:8]).
		frame(0x10, append([]byte{0, 1, 8, 0, 8, 16}, ask[6:]...)).                              // other address lengths
		frame(0x51, arpPacket(arpReply, attackerMAC, "10.0.2.2", link.LocalMAC(3), "10.0.2.1")). // in the pod's name
		frame(0x11, arpPacket(arpRequest, link.Broadcast, "10.0.2.2", link.MAC{}, "10.0.2.1")).  // at everybody's MAC
		frame(0x10, arpPacket(arpRequest, attackerMAC, "10.0.0.1", link.MAC{}, "10.0.2.1")).     // one of the node's addresses for another: was learned
		frame(0x11, arpPacket(arpRequest, attackerMAC, "224.0.0.1", link.MAC{}, "10.0.2.1")).    // a group's address
		frame(0x11, arpPacket(arpRequest, attackerMAC, "10.0.2.9", link.MAC{}, "127.0.0.1"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		besiege(t, func(s *siege) {
			plot(data).each(s, func(d *door, control byte, b []byte) []byte { return d.wrap(control, etherARP, b) })
			s.do(func() {
				for _, n := range s.node.Neighbours() {
					if n.MAC.IsMulticast() || n.Addr.IsMulticast() || s.node.isLocal(n.Addr) {
						t.Errorf("learned %v at %v", n.Addr, n.MAC)
					}
				}
			})
		})
	})
}

// FuzzIPv4: whole IP packets, of any header, any options and any protocol.
func FuzzIPv4(f *testing.F) {
	plain := udpPacket("10.0.0.2:1", "10.0.0.1:53", []byte("query"))
	through := udpPacket("10.0.0.2:1", "10.0.1.2:53", []byte("query"))
	routed := append(append([]byte{}, through[:20]...), append([]byte{
		131, 7, 4, 10, 0, 9, 9, // loose source route to 10.0.9.9 (RFC 791 §3.1)
		0, // end of options
	}, through[20:]...)...)
	routed[0] = 0x47
	f.Add([]byte(plot{}.frame(0, plain).frame(0, through).frame(0, routed)))
	f.Add([]byte(plot{}.
		frame(8, append([]byte{0x44}, plain[1:]...)). // a header of 16 bytes
		frame(8, append([]byte{0x4f}, plain[1:]...)). // a header longer than the packet
		frame(8, append([]byte{0x65}, plain[1:]...)). // version 6
		frame(8, append([]byte{0x45, 0, 0xff, 0xff}, plain[4:]...)).
		frame(8, append([]byte{0x45, 0, 0, 19}, plain[4:]...)). // total length below the header's
		frame(8, plain[:19])))
	f.Add([]byte(plot{}.
		frame(0, udpPacket("10.0.0.1:53", "10.0.0.1:53", nil)).         // land
		frame(0, udpPacket("127.0.0.1:53", "10.0.0.1:53", nil)).        // from the loopback network
		frame(0, udpPacket("255.255.255.255:53", "10.0.0.1:53", nil)).  // from everybody
		frame(0x10, udpPacket("10.0.0.2:1", "10.0.0.255:53", nil)).     // to the subnet's broadcast address
		frame(0, udpPacket("10.0.0.2:1", "224.0.0.1:53", nil)).         // to a group
		frame(0x20, udpPacket("10.0.0.2:1", "10.0.1.2:53", []byte{1})). // larger than the MTU of the way out
		frame(0, ipPacket(between(attacker, "10.0.0.1", 132), plain)).  // SCTP
		frame(0, ipPacket(between(attacker, "10.0.0.1", protoIPIP), plain))))
	f.Fuzz(func(t *testing.T, data []byte) {
		besiege(t, func(s *siege) {
			plot(data).each(s, func(d *door, control byte, b []byte) []byte {
				if control&8 == 0 {
					repair(b)
				}
				return d.wrap(control, etherIPv4, b)
			})
		})
	})
}

// FuzzICMP: ICMP messages, above all errors that quote what the attacker likes.
func FuzzICMP(f *testing.F) {
	quote := func(typ, code byte, info uint32, pkt []byte) []byte {
		b := make([]byte, icmpHeader+len(pkt))
		putICMP(b, typ, code, info, pkt)
		return b
	}
	asked := ipv4(echoPacket(between("10.0.0.1", attacker, 0), 1, 0)) // the ping that the node waits for
	query := udpPacket("10.0.0.1:53", "10.0.0.2:1", nil)
	segment := tcpPacket("10.0.0.1:80", "10.0.0.2:1000", tcpACK, 1, 1, nil)
	f.Add([]byte(plot{}.
		frame(0, echoPacket(between(attacker, "10.0.0.1", 0), 1, 8)[20:]).
		frame(2, echoPacket(between(attacker, "10.0.0.1", 0), 1, 8)[20:]). // through the node
		frame(0x32, echoPacket(between(attacker, "10.0.0.1", 0), 1, 8)[20:]).
		frame(0, quote(icmpEchoReply, 0, 0x00070001, nil)))) // nobody has asked
	f.Add([]byte(plot{}.
		frame(0, quote(icmpUnreachable, codePort, 0, query)).
		frame(0, quote(icmpUnreachable, codeFragNeeded, 68, segment)). // a tiny MTU
		frame(0, quote(icmpUnreachable, codeFragNeeded, 0, segment)).  // an MTU of 0
		frame(0, quote(icmpTimeExceeded, 0, 0, asked)).                // about the ping
		frame(0, quote(icmpRedirect, 1, 0x0a000009, query)).           // redirect to 10.0.0.9
		frame(0, quote(icmpSourceQuench, 0, 0, query)).                // deprecated (RFC 6633)
		frame(2, quote(icmpUnreachable, codeHost, 0, query)).          // through the node
		frame(4, quote(icmpUnreachable, codeHost, 0, query))))         // over the bridge
	f.Add([]byte(plot{}.
		frame(0, quote(icmpUnreachable, codePort, 0, query[:27])). // a byte of the ports is missing
		frame(0, quote(icmpUnreachable, codePort, 0, append([]byte{0x4f}, query[1:]...))).
		frame(0, quote(icmpUnreachable, codePort, 0, quote(icmpUnreachable, codePort, 0, query))). // about no IP packet
		frame(0, quote(icmpUnreachable, codePort, 0, errorAbout(query))).                          // about an error
		frame(0, []byte{3, 3, 0, 0, 0, 0, 0}).
		frame(0, quote(13, 0, 0, make([]byte, 12))))) // a timestamp request
	f.Fuzz(func(t *testing.T, data []byte) {
		besiege(t, func(s *siege) {
			plot(data).each(s, func(d *door, control byte, b []byte) []byte {
				ip := ipAround(control, protoICMP, b)
				if control&8 == 0 {
					repair(ip)
				}
				return d.wrap(control, etherIPv4, ip)
			})
		})
	})
}

// FuzzUDP: datagrams to sockets, closed ports, through NAT and into a tunnel.
func FuzzUDP(f *testing.F) {
	dgram := func(to uint16, payload []byte) []byte {
		b := append(make([]byte, udpHeader), payload...)
		putUDP(b, 1000, to)
		return b
	}
	inner := frame(link.LocalMAC(4), attackerMAC, etherIPv4, udpPacket("10.0.3.2:1", "10.0.3.1:53", nil))
	f.Add([]byte(plot{}.
		frame(0, dgram(53, []byte("query"))).
		frame(0, dgram(9, nil)).              // nobody listens
		frame(2, dgram(53, []byte("query"))). // masqueraded
		frame(6, dgram(53, []byte("query"))). // DNAT
		frame(4, dgram(4, nil)).              // not tracked
		frame(0x10, dgram(53, nil))))         // in a broadcast frame
	f.Add([]byte(plot{}.
		frame(0, dgram(8472, inner)).
		frame(0, dgram(8472, inner[:13])).
		frame(0, dgram(8472, frame(link.LocalMAC(4), attackerMAC, etherIPv4, ipAround(0, protoUDP, dgram(8472, inner)))))))
	f.Add([]byte(plot{}.
		frame(8, append([]byte{0, 1, 0, 53, 0, 7, 0, 0}, 1)). // a length below the header's
		frame(8, []byte{0, 1, 0, 53, 0xff, 0xff, 0, 0}).      // beyond the packet
		frame(8, append([]byte{0, 1, 0, 53, 0, 9, 1, 2}, 1)). // a wrong checksum
		frame(8, []byte{0, 1, 0}).
		frame(0, append([]byte{0, 0, 0, 0, 0, 8, 0, 0}, "beyond the length"...))))
	f.Fuzz(func(t *testing.T, data []byte) {
		besiege(t, func(s *siege) {
			plot(data).each(s, func(d *door, control byte, b []byte) []byte {
				ip := ipAround(control, protoUDP, b)
				if control&8 == 0 {
					if l4 := ip.payload(); len(l4) >= udpHeader && int(binary.BigEndian.Uint16(l4[4:])) > len(l4) {
						binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
					}
					repair(ip)
				}
				return d.wrap(control, etherIPv4, ip)
			})
		})
	})
}

// errorAbout is a port unreachable error about pkt.
func errorAbout(pkt ipv4) []byte {
	b := make([]byte, icmpHeader+len(pkt))
	putICMP(b, icmpUnreachable, codePort, 0, pkt)
	return ipPacket(ipHeader{src: pkt.dst(), dst: pkt.src(), proto: protoICMP}, b)
}
