package stack

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/podwire/podwire/link"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// frame puts an Ethernet header in front of a packet.
func frame(dst, src link.MAC, typ uint16, pkt []byte) []byte {
	b := make([]byte, link.EthernetHeader+len(pkt))
	link.PutEthernet(b, dst, src, typ)
	copy(b[link.EthernetHeader:], pkt)
	return b
}

// arpPacket is an ARP packet.
func arpPacket(op uint16, sha link.MAC, spa string, tha link.MAC, tpa string) []byte {
	b := append([]byte{0, 1, 8, 0, 6, 4, byte(op >> 8), byte(op)}, sha[:]...)
	s, t := addr(spa).As4(), addr(tpa).As4()
	b = append(append(b, s[:]...), tha[:]...)
	return append(b, t[:]...)
}

// ipPacket is an IP packet; TTL 0 means 64, identification 0 means 1.
func ipPacket(h ipHeader, payload []byte) []byte {
	if h.ttl == 0 {
		h.ttl = 64
	}
	if h.id == 0 {
		h.id = 1
	}
	b := make([]byte, ipv4MinHeader+len(payload))
	copy(b[ipv4MinHeader:], payload)
	h.put(b, len(b))
	return b
}

// between is the header of a packet from src to dst.
func between(src, dst string, proto byte) ipHeader {
	return ipHeader{src: addr(src), dst: addr(dst), proto: proto}
}

// udpPacket is a UDP datagram in an IP packet. The ports are in src and dst.
func udpPacket(src, dst string, payload []byte) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := make([]byte, udpHeader+len(payload))
	copy(b[udpHeader:], payload)
	putUDP(b, s.Port(), d.Port())
	sumUDP(b, s.Addr(), d.Addr())
	return ipPacket(ipHeader{src: s.Addr(), dst: d.Addr(), proto: protoUDP}, b)
}

// tcpPacket is a TCP segment in an IP packet.
func tcpPacket(src, dst string, flags byte, seq, ack uint32, payload []byte) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := make([]byte, 20+len(payload))
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13] = 5<<4, flags
	binary.BigEndian.PutUint16(b[14:], 64240)
	copy(b[20:], payload)
	binary.BigEndian.PutUint16(b[16:], ^checksum.Checksum(b, pseudoSum(s.Addr(), d.Addr(), protoTCP, len(b))))
	return ipPacket(ipHeader{src: s.Addr(), dst: d.Addr(), proto: protoTCP}, b)
}

// echoPacket is an echo request with identifier 7 and sequence number seq.
func echoPacket(h ipHeader, seq uint16, size int) []byte {
	b := make([]byte, icmpHeader+size)
	for i := range size {
		b[icmpHeader+i] = byte(i)
	}
	putICMP(b, icmpEcho, 0, 7<<16|uint32(seq), b[icmpHeader:])
	h.proto = protoICMP
	return ipPacket(h, b)
}

// pieces cuts a packet as a router would for an MTU.
func pieces(pkt ipv4, mtu int) [][]byte {
	var out [][]byte
	ihl := pkt.headerLen()
	step := (mtu - ihl) &^ 7
	body := pkt.payload()
	for at := 0; at < len(body); at += step {
		n := min(step, len(body)-at)
		b := append(append([]byte(nil), pkt[:ihl]...), body[at:at+n]...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		flags := uint16(at / 8)
		if at+n < len(body) {
			flags |= flagMF
		}
		binary.BigEndian.PutUint16(b[6:], flags)
		ipv4(b).fixChecksum()
		out = append(out, b)
	}
	return out
}

// describe says in a line what a frame is.
func describe(b []byte) string {
	switch link.EtherType(b) {
	case etherARP:
		return describeARP(b)
	case etherIPv4:
		return describeIP(b[link.EthernetHeader:])
	}
	return fmt.Sprintf("type %#04x, %d bytes", link.EtherType(b), len(b))
}

func describeARP(b []byte) string {
	p := b[link.EthernetHeader:]
	spa, tpa := netip.AddrFrom4([4]byte(p[14:18])), netip.AddrFrom4([4]byte(p[24:28]))
	to := "to " + link.DstMAC(b).String()
	if link.DstMAC(b).IsBroadcast() {
		to = "broadcast"
	}
	if binary.BigEndian.Uint16(p[6:]) == arpRequest {
		return fmt.Sprintf("who-has %v tell %v %s", tpa, spa, to)
	}
	return fmt.Sprintf("%v is-at %v %s", spa, link.MAC(p[8:14]), to)
}

func describeIP(ip ipv4) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%v > %v", ip.src(), ip.dst())
	l4 := ip.payload()
	switch {
	case ip.fragment():
		fmt.Fprintf(&w, " fragment %d+%d", ip.flags()&fragOffset*8, len(l4))
	case ip.proto() == protoICMP && l4[0] == icmpEcho:
		w.WriteString(" echo request")
	case ip.proto() == protoICMP && l4[0] == icmpEchoReply:
		w.WriteString(" echo reply")
	case ip.proto() == protoICMP:
		fmt.Fprintf(&w, " icmp %d/%d", l4[0], l4[1])
	case ip.proto() == protoUDP:
		s, d, _ := ip.ports()
		fmt.Fprintf(&w, " udp %d>%d len %d", s, d, len(l4)-udpHeader)
	case ip.proto() == protoTCP:
		fmt.Fprintf(&w, " tcp %s", tcpFlags(l4[13]))
	default:
		fmt.Fprintf(&w, " proto %d", ip.proto())
	}
	return w.String()
}

func tcpFlags(f byte) string {
	var s string
	for i, c := range "FSRPA" {
		if f&(1<<i) != 0 {
			s += string(c)
		}
	}
	return s
}

// unhex reads bytes as they are written in a dump.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// quoteOf returns the ICMP header and the packet quoted by an ICMP error.
func quoteOf(t testing.TB, ip ipv4) (typ, code byte, info uint32, quoted ipv4) {
	t.Helper()
	msg := ip.payload()
	if ip.proto() != protoICMP || len(msg) < icmpHeader+ipv4MinHeader || !isICMPError(msg[0]) {
		t.Fatalf("got %s, want an ICMP error", describeIP(ip))
	}
	if _, ok := ip.valid(); !ok || checksum.Checksum(msg, 0) != 0xffff {
		t.Errorf("%s: wrong checksum", describeIP(ip))
	}
	return msg[0], msg[1], binary.BigEndian.Uint32(msg[4:]), ipv4(msg[icmpHeader:])
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
