package text

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/podwire/podwire/pcap"
)

// Printer prints packets. The zero value prints as `tcpdump -n`. It remembers TCP
// connections, for relative sequence numbers, and so wants the packets in order
// and one goroutine at a time.
type Printer struct {
	Ether    bool // -e: MAC addresses and EtherType
	Verbose  bool // -v: the IP header, checksums
	Absolute bool // -S: TCP sequence numbers as they are on the wire

	// Name, if set, says what to print for an address, instead of -n; "" is the
	// address itself.
	Name func(netip.Addr) string

	flows map[flowKey]flowBase
	b     strings.Builder
	depth int
}

// maxDepth bounds how many headers may be inside each other.
const maxDepth = 16

// maxFlows bounds what is remembered of TCP connections.
const maxFlows = 1 << 16

// Packet returns the text of one packet, without time. Several lines are joined
// by newlines. Length is that on the wire, of which data may be the beginning.
func (p *Printer) Packet(link pcap.LinkType, data []byte, length int) string {
	p.b.Reset()
	p.depth = 0
	length = max(length, len(data))
	switch link {
	case 0, pcap.Ethernet:
		p.ethernet(data, length)
	case pcap.Raw:
		p.rawIP(data, length)
	case pcap.Null:
		if len(data) < 4 {
			p.add("[|null]")
			break
		}
		p.rawIP(data[4:], length-4)
	case pcap.LinuxSLL:
		p.cooked(data, length, 16, 14)
	case pcap.LinuxSLL2:
		p.cooked(data, length, 20, 0)
	default:
		p.add("%v, length %d", link, length)
	}
	return p.b.String()
}

func (p *Printer) add(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

// addr is how an address is printed.
func (p *Printer) addr(a netip.Addr) string {
	if p.Name != nil {
		if n := p.Name(a); n != "" {
			return n
		}
	}
	return a.String()
}

func mac(b []byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}

// EtherTypes that are printed.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd
)

var etherNames = map[uint16]string{etherIPv4: "IPv4", etherARP: "ARP", etherIPv6: "IPv6", etherVLAN: "802.1Q", 0x88cc: "LLDP", 0x88a8: "802.1Q-QinQ"}

func etherName(t uint16) string {
	if n := etherNames[t]; n != "" {
		return n
	}
	return "Unknown"
}

func (p *Printer) ethernet(b []byte, length int) {
	const header = 14
	if p.depth++; p.depth > maxDepth {
		p.add("[nested too deep]")
		return
	}
	if len(b) < header {
		p.add("[|ether]")
		return
	}
	typ := binary.BigEndian.Uint16(b[12:])
	if p.Ether {
		if typ < 1536 {
			p.add("%s > %s, 802.3, length %d: ", mac(b[6:]), mac(b), typ)
		} else {
			p.add("%s > %s, ethertype %s (0x%04x), length %d: ", mac(b[6:]), mac(b), etherName(typ), typ, length)
		}
	}
	p.network(typ, b[header:], length-header)
}

// network prints what an EtherType announces.
func (p *Printer) network(typ uint16, b []byte, length int) {
	if p.depth++; p.depth > maxDepth {
		p.add("[nested too deep]")
		return
	}
	switch typ {
	case etherIPv4:
		if !p.Ether {
			p.add("IP ")
		}
		p.ipv4(b, length)
	case etherIPv6:
		if !p.Ether {
			p.add("IP6 ")
		}
		p.ipv6(b, length)
	case etherARP:
		if !p.Ether {
			p.add("ARP, ")
		}
		p.arp(b, length)
	case etherVLAN:
		p.vlan(b, length)
	default:
		if !p.Ether {
			p.add("ethertype %s (0x%04x), ", etherName(typ), typ)
		}
		p.add("length %d", length)
	}
}

func (p *Printer) vlan(b []byte, length int) {
	if len(b) < 4 {
		p.add("[|vlan]")
		return
	}
	tci := binary.BigEndian.Uint16(b)
	typ := binary.BigEndian.Uint16(b[2:])
	if p.Ether {
		p.add("vlan %d, p %d, ethertype %s (0x%04x), ", tci&0xfff, tci>>13, etherName(typ), typ)
	}
	p.network(typ, b[4:], length-4)
}

// rawIP prints a packet that begins with an IP header.
func (p *Printer) rawIP(b []byte, length int) {
	if len(b) == 0 {
		p.add("[|ip]")
		return
	}
	switch b[0] >> 4 {
	case 4:
		p.add("IP ")
		p.ipv4(b, length)
	case 6:
		p.add("IP6 ")
		p.ipv6(b, length)
	default:
		p.add("ip v%d", b[0]>>4)
	}
}

// cooked prints a packet of -i any.
func (p *Printer) cooked(b []byte, length, header, proto int) {
	if len(b) < header {
		p.add("[|sll]")
		return
	}
	ether := p.Ether
	p.Ether = false
	p.network(binary.BigEndian.Uint16(b[proto:]), b[header:], length-header)
	p.Ether = ether
}

// arp prints an ARP packet (RFC 826) of Ethernet and IPv4.
func (p *Printer) arp(b []byte, length int) {
	if len(b) < 28 {
		p.add("[|arp]")
		return
	}
	if p.Verbose {
		p.add("Ethernet (len %d), IPv4 (len %d), ", b[4], b[5])
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:])), netip.AddrFrom4([4]byte(b[24:]))
	switch op := binary.BigEndian.Uint16(b[6:]); op {
	case 1:
		p.add("Request who-has %s", p.addr(target))
		if [6]byte(b[18:]) != [6]byte{} {
			p.add(" (%s)", mac(b[18:]))
		}
		p.add(" tell %s", p.addr(sender))
	case 2:
		p.add("Reply %s is-at %s", p.addr(sender), mac(b[8:]))
	default:
		p.add("Unknown (%d)", op)
	}
	p.add(", length %d", length)
}
