package netfilter

import (
	"net/netip"
	"time"
)

// Packet is what rules may look at. The caller fills it from the bytes once per hook and may reuse it: evaluation
// keeps no reference. MARK, CONNMARK, NOTRACK, TOS, DSCP, TTL and TCPMSS change it in place; what they change in the
// header the caller writes to the bytes.
type Packet struct {
	In, Out         string // interface names, "" where the hook has none
	PhysIn, PhysOut string // bridge ports, set while br_netfilter shows a bridged packet
	Src, Dst        netip.Addr
	Proto           uint8 // IP protocol number

	// Fragment marks a fragment other than the first. It has no transport header, so every match on ports, flags
	// or ICMP types fails, even when inverted.
	Fragment bool

	SrcPort, DstPort   uint16 // TCP, UDP, UDP-Lite, SCTP, DCCP
	TCPFlags           uint8  // FIN is bit 0, as in RFC 9293 §3.1
	ICMPType, ICMPCode uint8
	TOS, TTL           uint8
	Length             int     // total length of the IP packet in bytes
	LinkType           PktType // how the frame was addressed

	// Bytes is the packet from its IP header on, for the matches that read further: u32, tcpmss.
	Bytes []byte

	Socket bool // made by a socket of this host; see -m owner
	IPVS   bool // of a connection that IPVS balances

	Mark     uint32  // the packet's mark (skb->mark)
	ConnMark *uint32 // the connection's mark; nil when the packet has no connection

	State  CTState
	Status CTStatus
	Conn   Connection // nil when the packet has no connection

	// MSS is set by TCPMSS. The caller applies it to the MSS option of a SYN before it sends the packet on.
	MSS MSSAction
}

// MSSAction is what TCPMSS asks for. The zero value asks for nothing.
type MSSAction struct {
	Set   uint16 // lower the MSS to this value, or add the option with it
	Clamp bool   // lower the MSS to the path MTU less 40 bytes (less 60 for IPv6)
}

// CTState is the conntrack state of a packet, as ctstate and state see it. The zero value is a packet that conntrack
// could not make sense of.
type CTState uint8

// The states.
const (
	StateInvalid     CTState = iota // no connection, and not untracked
	StateNew                        // first packet of a connection
	StateEstablished                // of a connection that has seen both directions, or the reply itself
	StateRelated                    // expected by, or an ICMP error about, another connection
	StateUntracked                  // exempted in the raw table
)

// CTStatus are the conntrack status bits that --ctstate SNAT and --ctstate DNAT test.
type CTStatus uint8

// The status bits.
const (
	StatusSNAT CTStatus = 1 << iota // the original source differs from the reply destination
	StatusDNAT                      // the original destination differs from the reply source
)

// PktType is the link-layer class of a received frame, as -m pkttype tests it.
type PktType uint8

// The classes, with the kernel's PACKET_* numbers.
const (
	PktUnicast PktType = iota // to this host (PACKET_HOST); also what locally made packets have
	PktBroadcast
	PktMulticast
	PktOtherHost // seen because the port is promiscuous
)

// AddrType is the type of an address by the host's routing tables, with the kernel's RTN_* numbers.
type AddrType uint8

// The address types of -m addrtype.
const (
	TypeUnspec AddrType = iota
	TypeUnicast
	TypeLocal
	TypeBroadcast
	TypeAnycast
	TypeMulticast
	TypeBlackhole
	TypeUnreachable
	TypeProhibit
	TypeThrow
	TypeNAT
	TypeXResolve
	numAddrTypes
)

var addrTypeNames = [numAddrTypes]string{"UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST",
	"BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE"}

// String is the name that iptables uses, such as LOCAL.
func (a AddrType) String() string {
	if a < numAddrTypes {
		return addrTypeNames[a]
	}
	return "TYPE?"
}

// Env answers what rules ask about the host. Run calls it only when a rule needs it, and it must not call back into
// the Ruleset.
type Env interface {
	// AddrType classifies an address. With dev not empty only addresses of that interface count as local or
	// broadcast (--limit-iface-in, --limit-iface-out).
	AddrType(addr netip.Addr, dev string) AddrType
	// ReversePath reports whether the host would send to the packet's source by the device that it came in by, or with
	// loose by any (-m rpfilter). Sources that are local count with acceptLocal only.
	ReversePath(p *Packet, loose, acceptLocal bool) bool
	// SourceMAC is the source of the Ethernet header that the packet came with (-m mac); false if it had none.
	SourceMAC(p *Packet) (mac [6]byte, ok bool)
	// Alive reports whether a connection, by its Handle, is still in the table and not closed (-m connlimit).
	Alive(handle any) bool
	// Now is the time since the lab began.
	Now() time.Duration
	// Uint32 is a seeded random number, drawn by -m statistic --mode random.
	Uint32() uint32
}
