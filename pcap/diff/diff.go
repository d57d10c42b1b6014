package diff

import (
	"fmt"
	"strings"
	"time"

	"github.com/podwire/podwire/pcap"
)

// Options say what counts as a difference. The zero value is the rules of the
// package documentation.
type Options struct {
	// Ignore names fields that may differ, as they appear in reports: "ip.id",
	// "tcp.window". A name covers those below it ("tcp.options" has
	// "tcp.options.mss"), in a tunnel's outer packet and in what an ICMP error
	// quotes too; "outer.ip.id" and "quoted.ip.ttl" mean these alone. "packet"
	// covers missing and extra packets, "order" their order.
	Ignore []string

	// Offload tolerates what a network card's offloads leave in a capture:
	// a partial checksum counts as right, and a TCP segment over the
	// connection's MSS is compared as the segments that the card makes of it.
	Offload bool

	// Strict maps nothing: addresses, ports, identifications, sequence
	// numbers, timestamps and checksums must be equal bit by bit, and packets
	// of different flows must come in the same order. Time is not affected.
	Strict bool

	// Timing, if not zero, is by how much a packet's time may differ, counted
	// from the first packet that both captures have.
	Timing time.Duration

	// NumbersA and NumbersB are what texts call the packets: the numbers they
	// have in a larger file. If nil, 1, 2, 3 and so on.
	NumbersA, NumbersB []int
}

// Kind says what sort of difference there is.
type Kind string

// Kinds of differences.
const (
	KindField   Kind = "field"   // two packets that belong together differ in a field
	KindMissing Kind = "missing" // a packet of A has no counterpart in B
	KindExtra   Kind = "extra"   // a packet of B has no counterpart in A
	KindOrder   Kind = "order"   // two packets that belong together, but not at the same place
)

// Difference is one finding.
type Difference struct {
	Kind    Kind   `json:"kind"`
	PacketA int    `json:"packetA"` // index into the first capture, -1 if there is none
	PacketB int    `json:"packetB"` // index into the second, -1 if there is none
	Field   string `json:"field"`   // "ip.ttl"; "packet" for KindMissing and KindExtra, "order" for KindOrder
	A       string `json:"a"`       // what the first capture has
	B       string `json:"b"`       // what the second has
	Text    string `json:"text"`    // one line for people; the first capture is "here"
}

// Report is the result of a comparison.
type Report struct {
	PacketsA    int          `json:"packetsA"` // how many there are
	PacketsB    int          `json:"packetsB"`
	Paired      int          `json:"paired"`      // how many were compared with each other; parts of a split segment count
	Differences []Difference `json:"differences"` // by packet of A, then of B; never nil
}

// Same reports whether nothing differs.
func (r Report) Same() bool { return len(r.Differences) == 0 }

// Captures compares two captures, each of one interface with one link type.
// The error says that a link type cannot be decoded, or that Options are
// wrong; packets cannot cause one.
func Captures(a, b []pcap.Packet, linkA, linkB pcap.LinkType, o Options) (Report, error) {
	r := Report{PacketsA: len(a), PacketsB: len(b), Differences: []Difference{}}
	for _, l := range []pcap.LinkType{linkA, linkB} {
		if !decodable(l) {
			return r, fmt.Errorf("diff: link type %v cannot be decoded, want ethernet, raw, null, linux_sll or linux_sll2", l)
		}
	}
	if err := o.check(len(a), len(b)); err != nil {
		return r, err
	}
	c := &comparison{
		o: o, report: &r, sameLink: linkFamily(linkA) == linkFamily(linkB),
		a: newCapture(a, linkA, o, o.NumbersA), b: newCapture(b, linkB, o, o.NumbersB),
	}
	c.run()
	return r, nil
}

func (o *Options) check(a, b int) error {
	switch {
	case o.Timing < 0:
		return fmt.Errorf("diff: timing tolerance %v, want 0 or more", o.Timing)
	case o.NumbersA != nil && len(o.NumbersA) != a:
		return fmt.Errorf("diff: %d numbers for %d packets of the first capture", len(o.NumbersA), a)
	case o.NumbersB != nil && len(o.NumbersB) != b:
		return fmt.Errorf("diff: %d numbers for %d packets of the second capture", len(o.NumbersB), b)
	}
	for _, name := range o.Ignore {
		if !knownField(name) {
			return fmt.Errorf("diff: ignore: field %q is not known, want one of %s", name, strings.Join(fieldNames, ", "))
		}
	}
	return nil
}

// ignores reports whether a field may differ.
func (o *Options) ignores(field string) bool {
	plain := plainField(field)
	for _, name := range o.Ignore {
		for _, f := range [2]string{field, plain} {
			if f == name || strings.HasPrefix(f, name+".") {
				return true
			}
		}
	}
	return false
}

// plainField takes away what says that a field is a tunnel's or quoted.
func plainField(field string) string {
	for {
		rest, outer := strings.CutPrefix(field, "outer.")
		rest, quoted := strings.CutPrefix(rest, "quoted.")
		if field = rest; !outer && !quoted {
			return field
		}
	}
}

// knownField reports whether a report can have such a field, or one below it.
func knownField(name string) bool {
	name = plainField(name)
	for _, f := range fieldNames {
		if f == name || strings.HasPrefix(f, name+".") {
			return true
		}
	}
	return false
}

// fieldNames are all fields that are compared, and what Ignore accepts.
var fieldNames = []string{
	"packet", "order", "time",
	"frame.len", "frame.cut", "frame.padding", "frame.levels",
	"eth.dst", "eth.src", "eth.type", "vlan.id", "vlan.priority", "link.data",
	"arp.opcode", "arp.sender.mac", "arp.sender.ip", "arp.target.mac", "arp.target.ip",
	"ip.version", "ip.src", "ip.dst", "ip.tos", "ip.len", "ip.id", "ip.df", "ip.mf", "ip.reserved", "ip.offset", "ip.ttl",
	"ip.proto", "ip.options", "ip.checksum", "ip.label", "ip.payload",
	"tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.ack", "tcp.flags", "tcp.window", "tcp.urgent", "tcp.options",
	"tcp.options.mss", "tcp.options.wscale", "tcp.options.sack", "tcp.options.tsval", "tcp.options.tsecr", "tcp.options.other",
	"tcp.checksum", "tcp.len", "tcp.payload",
	"udp.srcport", "udp.dstport", "udp.len", "udp.checksum", "udp.payload",
	"icmp.type", "icmp.code", "icmp.id", "icmp.seq", "icmp.time", "icmp.rest", "icmp.mtu", "icmp.checksum", "icmp.len", "icmp.payload",
	"vxlan.flags", "vxlan.vni", "vxlan.reserved",
}
