package pcap

import (
	"fmt"
	"net/netip"
	"time"
)

// MaxPacket is the largest number of bytes that one packet may keep in a
// capture. Wireshark and libpcap call a file with a longer Ethernet record
// corrupt (WTAP_MAX_PACKET_SIZE_STANDARD, MAXIMUM_SNAPLEN).
const MaxPacket = 256 << 10

// Section describes the machine and the program that made a capture: the
// section header block. Empty fields are not written.
type Section struct {
	Hardware    string // what the packets were captured on
	OS          string // the operating system
	Application string // the program, with its version
	Comment     string // anything; several comments read from a file are joined by newlines
}

// LinkType says which header a packet begins with. Values are those of the
// registry at https://www.tcpdump.org/linktypes.html, except Null, so that
// the zero value can mean Ethernet when an Interface is written.
type LinkType int

// Link types that occur beside an emulated Linux host.
const (
	Null      LinkType = -1  // BSD loopback, 0 in a file
	Ethernet  LinkType = 1   // what a zero LinkType is written as
	Raw       LinkType = 101 // an IPv4 or IPv6 packet: tun and ipip devices
	LinuxSLL  LinkType = 113 // "cooked" capture, as on -i any
	LinuxSLL2 LinkType = 276 // cooked capture with the interface index
)

// String returns the name in the link-type registry, in lower case, or the
// number.
func (t LinkType) String() string {
	switch t {
	case Null:
		return "null"
	case 0, Ethernet:
		return "ethernet"
	case Raw:
		return "raw"
	case LinuxSLL:
		return "linux_sll"
	case LinuxSLL2:
		return "linux_sll2"
	}
	return fmt.Sprintf("linktype-%d", int(t))
}

// Interface is one place where packets are captured: the interface
// description block. The zero value is a nameless Ethernet interface. Fields
// that are zero are not written, except LinkType and SnapLen.
type Interface struct {
	Name        string         // "node1/flannel.1"
	Description string         // a sentence for people
	LinkType    LinkType       // 0 is written as Ethernet; a reader never returns 0
	MAC         [6]byte        // all zero: none
	Addrs       []netip.Prefix // addresses with their prefix length
	Speed       uint64         // bit/s
	SnapLen     uint32         // bytes kept of a packet; 0 is no limit
	OS          string         // the system that owns the interface
}

// Direction says which way a packet crosses its interface, seen from the
// host that owns the interface.
type Direction uint8

// Directions, with the values of epb_flags bits 0-1.
const (
	DirectionUnknown Direction = 0
	In               Direction = 1
	Out              Direction = 2
)

// String returns "unknown", "in" or "out".
func (d Direction) String() string {
	return pick(uint8(d), "unknown", "in", "out")
}

// Reception says how a packet was addressed at the link layer.
type Reception uint8

// Reception types, with the values of epb_flags bits 2-4.
const (
	ReceptionUnknown Reception = 0
	Unicast          Reception = 1
	Multicast        Reception = 2
	Broadcast        Reception = 3
	Promiscuous      Reception = 4 // addressed to another host
)

// String returns the name in lower case, "unknown" for zero.
func (r Reception) String() string {
	return pick(uint8(r), "unknown", "unicast", "multicast", "broadcast", "promiscuous")
}

// pick returns the name at n, or the number of a reserved value.
func pick(n uint8, names ...string) string {
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("reserved-%d", n)
}

// Packet is one packet at one interface: the enhanced packet block.
type Packet struct {
	// Interface is what AddInterface returned or, from a reader, an index
	// into Interfaces.
	Interface int

	// Time is written in nanoseconds since 1970 and must lie between 1970
	// and 2554. A reader returns UTC, and the zero time for a simple packet
	// block, which has none.
	Time time.Time

	// Data begins with the header that the interface's LinkType names. A
	// writer keeps no reference to it; from a reader it is the caller's.
	Data []byte

	// OrigLen is the length on the wire, in bytes. Zero means len(Data).
	OrigLen int

	// ID is the same for one packet at every interface it crosses
	// (epb_packetid). Zero means none.
	ID uint64

	// DropCount is the number of packets lost at this interface since the
	// packet before (epb_dropcount). Zero is not written.
	DropCount uint64

	Direction Direction
	Reception Reception

	// Comments are shown by Wireshark above the packet, in this order. An
	// empty one is not written; one over 65535 bytes is cut.
	Comments []string
}

// Name binds a host name to an address: one record of a name resolution
// block.
type Name struct {
	Addr netip.Addr // an IPv4-mapped address counts as IPv4; a zone is not written
	Name string
}

// Secret types for WriteSecrets, draft-ietf-opsawg-pcapng section 4.7.
const (
	SecretsWireGuard uint32 = 0x57474b4c // "WGKL": LOCAL_STATIC_PRIVATE_KEY = ... and so on, one per line
	SecretsTLS       uint32 = 0x544c534b // "TLSK": the NSS key log, as SSLKEYLOGFILE
)

// Secrets is a decryption secrets block.
type Secrets struct {
	Kind uint32 // SecretsWireGuard, SecretsTLS or another type of the draft
	Data []byte
}

// Statistics are the counters of one interface: the interface statistics
// block.
type Statistics struct {
	Time     time.Time // when the counters were read; zero is written as End
	Start    time.Time // when the capture began; zero is not written
	End      time.Time // when it ended; zero is not written
	Received uint64    // packets received from the interface
	Dropped  uint64    // packets the interface dropped for lack of resources
}
