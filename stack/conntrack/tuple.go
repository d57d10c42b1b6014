package conntrack

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// IP protocol numbers the table treats by name; all others are generic.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
	protoGRE  = 47
	protoSCTP = 132
)

// Tuple names one direction of a flow. Tuples are comparable.
//
// For TCP, UDP and SCTP the ports are the ports. For ICMP SrcPort is the identifier of the query, in both directions, and
// DstPort is type<<8 | code. For other protocols both are zero.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto            uint8
}

// String returns the tuple as /proc/net/nf_conntrack prints it, "src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2", without the
// trailing space.
func (t Tuple) String() string {
	s := "src=" + t.Src.String() + " dst=" + t.Dst.String()
	switch t.Proto {
	case protoTCP, protoUDP, protoSCTP:
		return fmt.Sprintf("%s sport=%d dport=%d", s, t.SrcPort, t.DstPort)
	case protoICMP:
		return fmt.Sprintf("%s type=%d code=%d id=%d", s, t.DstPort>>8, t.DstPort&0xff, t.SrcPort)
	case protoGRE:
		return s + " srckey=0x0 dstkey=0x0"
	}
	return s
}

// Compare orders tuples by protocol, source, destination.
func (t Tuple) Compare(u Tuple) int {
	return cmp.Or(
		cmp.Compare(t.Proto, u.Proto),
		t.Src.Compare(u.Src),
		cmp.Compare(t.SrcPort, u.SrcPort),
		t.Dst.Compare(u.Dst),
		cmp.Compare(t.DstPort, u.DstPort),
	)
}

// addr is an address of either family as two words. It holds no pointer, so that keys compare and hash as plain memory,
// which netip.Addr (three words, one of them a pointer) does not.
type addr struct{ hi, lo uint64 }

// v4Prefix is the IPv4-mapped prefix ::ffff:0:0/96 in the low word.
const v4Prefix = 0xffff << 32

// addr4 reads an IPv4 address from the four bytes at b.
func addr4(b []byte) addr { return addr{lo: v4Prefix | uint64(binary.BigEndian.Uint32(b))} }

func (a addr) v4() uint32 { return uint32(a.lo) }

// addrOf converts a; the family of the result is lost and kept elsewhere in a key.
func addrOf(a netip.Addr) addr {
	b := a.As16()
	return addr{hi: binary.BigEndian.Uint64(b[:8]), lo: binary.BigEndian.Uint64(b[8:])}
}

func (a addr) netip(family uint8) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	if family == 4 {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

// key is a Tuple in the form the table stores: 40 bytes, no pointers.
type key struct {
	src, dst     addr
	sport, dport uint16 // as SrcPort and DstPort of Tuple
	proto        uint8
	family       uint8 // 4 or 6
	_            uint16
}

// invert returns the key of an answer to a packet with key k. False: nothing answers such a packet (an ICMP message that is
// neither query nor answer).
func (k *key) invert() (key, bool) {
	r := key{src: k.dst, dst: k.src, sport: k.dport, dport: k.sport, proto: k.proto, family: k.family}
	if k.proto != protoICMP {
		return r, true
	}
	answer, ok := icmpAnswer(uint8(k.dport >> 8))
	r.sport, r.dport = k.sport, uint16(answer)<<8|k.dport&0xff
	return r, ok
}

func (k *key) tuple() Tuple {
	return Tuple{
		Src: k.src.netip(k.family), Dst: k.dst.netip(k.family),
		SrcPort: k.sport, DstPort: k.dport, Proto: k.proto,
	}
}

// icmpAnswer returns the type that answers an ICMP query of type typ, or the type of the query it answers.
func icmpAnswer(typ uint8) (uint8, bool) {
	switch typ {
	case 0: // echo reply
		return 8, true
	case 8:
		return 0, true
	case 13, 15, 17: // timestamp, information, address mask requests: the answer is the next number
		return typ + 1, true
	case 14, 16, 18:
		return typ - 1, true
	}
	return 0, false
}
