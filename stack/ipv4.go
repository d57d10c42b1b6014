package stack

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// Offsets and constants of the IPv4 header (RFC 791 §3.1).
const (
	ipv4MinHeader = 20
	defaultTTL    = 64    // of net.ipv4.ip_default_ttl
	maxPacket     = 65535 // what the length in the header can say

	flagDF     = 0x4000
	flagMF     = 0x2000
	fragOffset = 0x1fff
)

// Transport protocol numbers (IANA).
const (
	protoICMP = 1
	protoIPIP = 4
	protoTCP  = 6
	protoUDP  = 17
)

// EtherTypes.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
)

// ipv4 is the bytes of a packet that begin with an IPv4 header. Accessors
// other than valid want a packet for which valid has said yes.
type ipv4 []byte

// valid checks what ip_rcv checks: version, header length, total length and
// header checksum. It returns the total length, which may be shorter than the
// bytes at hand (Ethernet padding).
func (p ipv4) valid() (total int, ok bool) {
	if len(p) < ipv4MinHeader || p[0]>>4 != 4 {
		return 0, false
	}
	ihl := p.headerLen()
	total = int(binary.BigEndian.Uint16(p[2:]))
	if ihl < ipv4MinHeader || total < ihl || total > len(p) {
		return 0, false
	}
	return total, checksum.Checksum(p[:ihl], 0) == 0xffff
}

func (p ipv4) headerLen() int     { return int(p[0]&15) * 4 }
func (p ipv4) tos() byte          { return p[1] }
func (p ipv4) totalLen() int      { return int(binary.BigEndian.Uint16(p[2:])) }
func (p ipv4) id() uint16         { return binary.BigEndian.Uint16(p[4:]) }
func (p ipv4) flags() uint16      { return binary.BigEndian.Uint16(p[6:]) }
func (p ipv4) ttl() byte          { return p[8] }
func (p ipv4) proto() byte        { return p[9] }
func (p ipv4) src() netip.Addr    { return netip.AddrFrom4([4]byte(p[12:16])) }
func (p ipv4) dst() netip.Addr    { return netip.AddrFrom4([4]byte(p[16:20])) }
func (p ipv4) payload() []byte    { return p[p.headerLen():] }
func (p ipv4) dontFragment() bool { return p.flags()&flagDF != 0 }

// fragment reports whether p is any fragment, later one that it is not the
// first, so that it carries no transport header.
func (p ipv4) fragment() bool { return p.flags()&(flagMF|fragOffset) != 0 }
func (p ipv4) later() bool    { return p.flags()&fragOffset != 0 }

// ports returns the first two 16-bit words of the transport header.
func (p ipv4) ports() (src, dst uint16, ok bool) {
	l4 := p.payload()
	if p.later() || len(l4) < 4 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:]), true
}

// fixChecksum computes the header checksum anew.
func (p ipv4) fixChecksum() {
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^checksum.Checksum(p[:p.headerLen()], 0))
}

// decrementTTL lowers the TTL by one and mends the checksum (RFC 1624 §3).
func (p ipv4) decrementTTL() {
	p[8]--
	sum := uint32(binary.BigEndian.Uint16(p[10:])) + 0x0100
	binary.BigEndian.PutUint16(p[10:], uint16(sum+sum>>16))
}

// setTOS writes the TOS octet and mends the checksum.
func (p ipv4) setTOS(tos byte) {
	old := binary.BigEndian.Uint16(p[0:])
	p[1] = tos
	MendChecksum(p[10:12], old, binary.BigEndian.Uint16(p[0:]))
}

// setTTL writes the TTL and mends the checksum.
func (p ipv4) setTTL(ttl byte) {
	old := binary.BigEndian.Uint16(p[8:])
	p[8] = ttl
	MendChecksum(p[10:12], old, binary.BigEndian.Uint16(p[8:]))
}

// setIDAndFlags writes identification, flags and offset and mends the checksum.
func (p ipv4) setIDAndFlags(id, flags uint16) {
	oldID, oldFlags := p.id(), p.flags()
	binary.BigEndian.PutUint16(p[4:], id)
	binary.BigEndian.PutUint16(p[6:], flags)
	MendChecksum(p[10:12], oldID, id)
	MendChecksum(p[10:12], oldFlags, flags)
}

// MendChecksum updates an Internet checksum after one 16-bit word has changed (RFC 1624 §3, eqn. 3).
func MendChecksum(sum []byte, old, new uint16) {
	s := uint32(^binary.BigEndian.Uint16(sum)) + uint32(^old) + uint32(new)
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	binary.BigEndian.PutUint16(sum, ^uint16(s))
}

// Checksum is the Internet checksum's sum of b (RFC 1071); what goes into a
// header is its complement.
func Checksum(b []byte) uint16 { return checksum.Checksum(b, 0) }

// ipHeader is what a host decides when it makes a packet.
type ipHeader struct {
	tos   byte
	id    uint16
	flags uint16
	ttl   byte
	proto byte
	src   netip.Addr
	dst   netip.Addr
}

// put writes a 20-byte header for a packet of total bytes in b.
func (h ipHeader) put(b []byte, total int) {
	b[0], b[1] = 0x45, h.tos
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	binary.BigEndian.PutUint16(b[4:], h.id)
	binary.BigEndian.PutUint16(b[6:], h.flags)
	b[8], b[9] = h.ttl, h.proto
	src, dst := h.src.As4(), h.dst.As4()
	copy(b[12:16], src[:])
	copy(b[16:20], dst[:])
	ipv4(b).fixChecksum()
}

// pseudoSum is the checksum of the pseudo header (RFC 768, RFC 9293 §3.1).
func pseudoSum(src, dst netip.Addr, proto byte, length int) uint16 {
	s, d := src.As4(), dst.As4()
	sum := checksum.Checksum(s[:], 0)
	sum = checksum.Checksum(d[:], sum)
	return checksum.Combine(sum, checksum.Combine(uint16(proto), uint16(length)))
}

// isLimitedBroadcast reports whether a is 255.255.255.255.
func isLimitedBroadcast(a netip.Addr) bool { return a == limitedBroadcast }

// isZeroNet reports whether a is in 0.0.0.0/8, which no packet comes from or
// goes to (RFC 1122 §3.2.1.3 a, b).
func isZeroNet(a netip.Addr) bool { return a.Is4() && a.As4()[0] == 0 }

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// LastAddr returns the highest address of a prefix: for IPv4 the subnet's
// broadcast address.
func LastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
