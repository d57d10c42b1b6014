package conntrack

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The cast: two clients, two services, two backends, a masquerading gateway and a router on the way.
var (
	client   = netip.MustParseAddr("10.244.1.3")
	client2  = netip.MustParseAddr("10.244.1.4")
	service  = netip.MustParseAddr("10.96.0.10")
	service2 = netip.MustParseAddr("10.96.0.11")
	backend  = netip.MustParseAddr("10.244.2.2")
	backend2 = netip.MustParseAddr("10.244.2.3")
	gateway  = netip.MustParseAddr("10.244.1.0")
	router   = netip.MustParseAddr("192.168.56.1")
)

const sec = time.Second

func newTable(cfg Config) *Table { return New(cfg, rand.New(rand.NewPCG(1, 2))) }

func serialize(src, dst netip.Addr, proto layers.IPProtocol, rest ...gopacket.SerializableLayer) []byte {
	ip := &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: 0x1234, Flags: layers.IPv4DontFragment, Protocol: proto,
		SrcIP: net.IP(src.AsSlice()), DstIP: net.IP(dst.AsSlice()),
	}
	for _, l := range rest {
		switch l := l.(type) {
		case *layers.TCP:
			l.SetNetworkLayerForChecksum(ip)
		case *layers.UDP:
			l.SetNetworkLayerForChecksum(ip)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{ip}, rest...)...); err != nil {
		panic(err)
	}
	return bytes.Clone(buf.Bytes())
}

func udp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, data string) []byte {
	u := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	return serialize(src, dst, layers.IPProtocolUDP, u, gopacket.Payload(data))
}

// tcp makes a segment; flags is a string of S, A, F, R, P, U.
func tcp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, flags string, seq, ack uint32, data string) []byte {
	h := &layers.TCP{
		SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: seq, Ack: ack, Window: 65535,
	}
	for _, f := range flags {
		switch f {
		case 'S':
			h.SYN = true
		case 'A':
			h.ACK = true
		case 'F':
			h.FIN = true
		case 'R':
			h.RST = true
		case 'P':
			h.PSH = true
		case 'U':
			h.URG = true
		}
	}
	return serialize(src, dst, layers.IPProtocolTCP, h, gopacket.Payload(data))
}

func icmp(src, dst netip.Addr, typ, code uint8, id, seq uint16, data []byte) []byte {
	h := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code), Id: id, Seq: seq}
	return serialize(src, dst, layers.IPProtocolICMPv4, h, gopacket.Payload(data))
}

func ping(src, dst netip.Addr, id uint16) []byte {
	return icmp(src, dst, 8, 0, id, 1, []byte("abcdefgh"))
}

// icmpError quotes the first size bytes of pkt, all of it if size is zero.
func icmpError(src, dst netip.Addr, typ, code uint8, pkt []byte, size int) []byte {
	if size == 0 || size > len(pkt) {
		size = len(pkt)
	}
	return icmp(src, dst, typ, code, 0, 0, pkt[:size])
}

// sctp makes a packet with a right CRC32c; each chunk is its type, its flags and its value. All verification tags are 7,
// except that the value of INIT and INIT ACK has to begin with it and a packet with INIT has none (RFC 9260 §8.5.1).
func sctp(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, chunks ...string) []byte {
	l4 := binary.BigEndian.AppendUint16(nil, sport)
	l4 = binary.BigEndian.AppendUint16(l4, dport)
	tag := byte(7)
	if len(chunks) > 0 && chunks[0][0] == chunkInit {
		tag = 0
	}
	l4 = append(l4, 0, 0, 0, tag, 0, 0, 0, 0)
	for _, c := range chunks {
		l4 = append(l4, c[0], c[1])
		l4 = binary.BigEndian.AppendUint16(l4, uint16(len(c)+2))
		l4 = append(l4, c[2:]...)
		for len(l4)%4 != 0 {
			l4 = append(l4, 0)
		}
	}
	binary.LittleEndian.PutUint32(l4[8:], crc32.Checksum(l4, crc32.MakeTable(crc32.Castagnoli)))
	return serialize(src, dst, layers.IPProtocolSCTP, gopacket.Payload(l4))
}

// raw makes a packet of another protocol.
func raw(src, dst netip.Addr, proto uint8, data string) []byte {
	return serialize(src, dst, layers.IPProtocol(proto), gopacket.Payload(data))
}

// patch returns a copy of pkt with the bytes at off replaced and the IP header checksum made right.
func patch(pkt []byte, off int, b ...byte) []byte {
	pkt = bytes.Clone(pkt)
	copy(pkt[off:], b)
	if len(pkt) >= 20 {
		pkt[10], pkt[11] = 0, 0
		binary.BigEndian.PutUint16(pkt[10:], ^onesSum(pkt[:20], 0))
	}
	return pkt
}

// onesSum is RFC 1071 done the plain way.
func onesSum(b []byte, sum uint32) uint16 {
	for i := 0; i < len(b); i += 2 {
		if i+1 < len(b) {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		} else {
			sum += uint32(b[i]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// checksumFault returns what is wrong with the checksums of pkt, and of the datagram an ICMP error quotes as far as it is
// there; "" if they are right. It recomputes them from nothing.
func checksumFault(pkt []byte) string {
	hlen := int(pkt[0]&15) * 4
	total := int(binary.BigEndian.Uint16(pkt[2:]))
	if onesSum(pkt[:hlen], 0) != 0xffff {
		return "IP header"
	}
	cut := total > len(pkt)
	l4 := pkt[hlen:]
	pseudo := uint32(onesSum(pkt[12:20], 0)) + uint32(pkt[9]) + uint32(total-hlen)
	switch {
	case cut:
		return "" // the sum needs what was cut off
	case pkt[9] == protoTCP && onesSum(l4, pseudo) != 0xffff:
		return "TCP"
	case pkt[9] == protoUDP && (l4[6] != 0 || l4[7] != 0) && onesSum(l4, pseudo) != 0xffff:
		return "UDP"
	case pkt[9] == protoSCTP:
		zeroed := bytes.Clone(l4)
		copy(zeroed[8:12], []byte{0, 0, 0, 0})
		if crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(l4[8:]) {
			return "SCTP"
		}
	case pkt[9] == protoICMP:
		if onesSum(l4, 0) != 0xffff {
			return "ICMP"
		}
		if isICMPError(l4[0]) {
			if fault := checksumFault(l4[8:]); fault != "" {
				return "quoted " + fault
			}
		}
	}
	return ""
}

// decode returns pkt as one line of "src:port > dst:port", and the same of a quoted datagram after "about".
func decode(pkt []byte) string {
	var p packet
	hlen, total, ok := splitIPv4(pkt, true)
	if !ok || p.fill(pkt[:total], hlen) != parseOK {
		return "broken"
	}
	s := p.key.tuple().String()
	if p.proto() == protoICMP && isICMPError(p.l4[0]) {
		tu := p.key.tuple()
		return "src=" + tu.Src.String() + " dst=" + tu.Dst.String() + " about " + decode(p.l4[8:])
	}
	return s
}

// rules is a nat table for tests: what to do with a new flow.
type rules struct{ dst, src Range }

// pass sends pkt through the hooks of a forwarding host and returns its Conn and whether it came out.
func pass(t testing.TB, tb *Table, now time.Duration, pkt []byte, r rules) (Conn, bool) {
	t.Helper()
	c := tb.Track(now, pkt)
	for _, m := range []Manip{Dst, Src} {
		if c.NeedsNAT(m) {
			want := r.dst
			if m == Src {
				want = r.src
			}
			if err := tb.Setup(c.Entry, m, want); err != nil {
				return c, false
			}
		}
		if err := tb.Translate(c, m, pkt); err != nil {
			return c, false
		}
	}
	return c, tb.Confirm(now, c)
}

// wantPass is pass for a packet that must come out.
func wantPass(t testing.TB, tb *Table, now time.Duration, pkt []byte, r rules) Conn {
	t.Helper()
	before := decode(pkt)
	c, ok := pass(t, tb, now, pkt, r)
	if !ok {
		t.Fatalf("%s was dropped, want it forwarded", before)
	}
	if fault := checksumFault(pkt); fault != "" {
		t.Fatalf("%s became %s: %s checksum is wrong", before, decode(pkt), fault)
	}
	return c
}

func to(a netip.Addr, port uint16) Range { return Range{MinAddr: a, MinPort: port} }
