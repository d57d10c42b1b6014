package diff

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/podwire/podwire/pcap"
)

// This file takes packets apart. Nothing here fails: what is too short or not
// known stays behind as bytes.

// A packet is one record of a capture, or one part of a segment that was split.
type packet struct {
	index  int // in the capture
	part   int // 1, 2, ... of a segment that was split, else 0
	at     time.Time
	wire   int      // length on the wire
	cut    bool     // fewer bytes were kept than were on the wire
	levels []*level // IP packets, the outermost first; never empty
	place  int      // in its flow, set by newCapture
	dir    int      // 0 from the client, 1 from the server
	flow   *flow
}

// inner is the IP packet that endpoints exchange, inside all tunnels.
func (p *packet) inner() *level { return p.levels[len(p.levels)-1] }

// level is one Ethernet frame or IP packet with what it carries.
type level struct {
	link   []byte // what a header other than Ethernet's holds, without the protocol
	hasEth bool
	dst    [6]byte
	src    [6]byte
	tags   []uint16 // 802.1Q tags
	typ    uint16   // ethertype
	pad    int      // bytes after the IP packet

	arp   *arp
	ip    *ip
	tcp   *tcp
	udp   *udp
	icmp  *icmp
	vxlan *vxlan // of a tunnel's outer packet
	upper []byte // TCP or UDP header and payload
	rest  []byte // payload of the highest header
	note  note   // what the flow's other packets say about this one
}

// arp is an ARP packet for Ethernet and IPv4 (RFC 826).
type arp struct {
	op                   uint16
	senderMAC, targetMAC [6]byte
	sender, target       netip.Addr
}

// ip is an IPv4 or IPv6 header.
type ip struct {
	src, dst netip.Addr
	version  byte
	tos      byte
	length   int // of the whole packet, as the header says
	id       uint16
	reserved bool
	df, mf   bool
	offset   int // of a fragment, bytes
	ttl      byte
	proto    byte
	label    uint32 // IPv6 flow label
	options  []byte
	sum      string // state of the checksum
	rawSum   uint16
	payload  int // bytes after the header
}

func (i *ip) fragment() bool { return i.mf || i.offset > 0 }

type udp struct {
	src, dst uint16
	length   int
	sum      string
	rawSum   uint16
}

type icmp struct {
	typ, code byte
	rest      uint32 // bytes 4 to 7 of the header
	sum       string
	rawSum    uint16
	quoted    *level // what an error quotes
	v6        bool
}

func (i *icmp) echo() bool {
	if i.v6 {
		return i.typ == 128 || i.typ == 129
	}
	return i.typ == 0 || i.typ == 8
}

// isError says that the message quotes a packet (RFC 1122 §3.2.2, RFC 4443 §2.1).
func (i *icmp) isError() bool {
	if i.v6 {
		return i.typ < 128
	}
	return i.typ == 3 || i.typ == 4 || i.typ == 5 || i.typ == 11 || i.typ == 12
}

type vxlan struct {
	flags    byte
	vni      uint32
	reserved uint32 // the 24 bits after the flags and the last 8
}

const (
	protoICMP   = 1
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoICMPv6 = 58

	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeVLAN = 0x8100
	typeQinQ = 0x88a8
	typeIPv6 = 0x86dd
)

// maxLevels bounds tunnels in tunnels.
const maxLevels = 8

// vxlanPorts are IANA's and the one that Linux had before, and flannel still
// uses.
var vxlanPorts = [2]uint16{4789, 8472}

var be = binary.BigEndian

// decodable reports whether dissect knows the header of a link type.
func decodable(l pcap.LinkType) bool {
	switch l {
	case 0, pcap.Ethernet, pcap.Raw, pcap.Null, pcap.LinuxSLL, pcap.LinuxSLL2:
		return true
	}
	return false
}

// linkFamily is equal for link types whose headers can be compared.
func linkFamily(l pcap.LinkType) pcap.LinkType {
	if l == 0 {
		return pcap.Ethernet
	}
	return l
}

// dissect takes apart what was captured at an interface.
func dissect(p *pcap.Packet, index int, link pcap.LinkType) *packet {
	out := &packet{index: index, at: p.Time, wire: max(p.OrigLen, len(p.Data))}
	out.cut = out.wire > len(p.Data)
	l, b := &level{}, p.Data
	out.levels = []*level{l}
	switch {
	case linkFamily(link) == pcap.Ethernet:
		b = l.readEthernet(b)
	case link == pcap.Raw && len(b) > 0:
		l.typ = ipType(b)
	case link == pcap.Null && len(b) >= 4:
		b = b[4:]
		l.typ = ipType(b)
	case link == pcap.LinuxSLL && len(b) >= 16:
		l.link, l.typ, b = b[:4], be.Uint16(b[14:]), b[16:]
	case link == pcap.LinuxSLL2 && len(b) >= 20:
		l.link, l.typ, b = b[8:11], be.Uint16(b), b[20:] // not the interface's index
	}
	out.readNetwork(l, b)
	return out
}

// ipType tells an ethertype from an IP version.
func ipType(b []byte) uint16 {
	if len(b) > 0 {
		switch b[0] >> 4 {
		case 4:
			return typeIPv4
		case 6:
			return typeIPv6
		}
	}
	return 0
}

// readEthernet reads a header and its VLAN tags.
func (l *level) readEthernet(b []byte) []byte {
	if len(b) < 14 {
		return b
	}
	l.hasEth, l.dst, l.src, l.typ = true, [6]byte(b), [6]byte(b[6:]), be.Uint16(b[12:])
	b = b[14:]
	for (l.typ == typeVLAN || l.typ == typeQinQ) && len(b) >= 4 {
		l.tags = append(l.tags, be.Uint16(b))
		l.typ, b = be.Uint16(b[2:]), b[4:]
	}
	return b
}

// readNetwork reads what follows the link header of l.
func (p *packet) readNetwork(l *level, b []byte) {
	switch {
	case l.typ == typeARP:
		l.readARP(b)
	case l.typ == typeIPv4:
		if body, ok := l.readIPv4(b); ok {
			p.readTransport(l, body)
			return
		}
		l.rest = b
	case l.typ == typeIPv6:
		if body, ok := l.readIPv6(b); ok {
			p.readTransport(l, body)
			return
		}
		l.rest = b
	default:
		l.rest = b
	}
}

// readTransport reads what an IP packet carries; a tunnel adds a level.
func (p *packet) readTransport(l *level, b []byte) {
	if l.readUpper(b) {
		p.readTunnel(l)
		return
	}
	tunnel := (l.ip.proto == protoIPIP || l.ip.proto == protoIPv6) && !l.ip.fragment() && len(p.levels) < maxLevels
	if t := ipType(b); tunnel && t != 0 {
		next := &level{typ: t}
		p.levels = append(p.levels, next)
		p.readNetwork(next, b)
		return
	}
	l.rest = b
}

// readTunnel goes on inside VXLAN (RFC 7348 §5), as far as it is there in the
// first of several fragments:
//
//	flags, 24 bits reserved, 24 bits network identifier, 8 bits reserved
func (p *packet) readTunnel(l *level) {
	if l.udp == nil || l.udp.dst != vxlanPorts[0] && l.udp.dst != vxlanPorts[1] || len(l.rest) < 8+14 || len(p.levels) >= maxLevels {
		return
	}
	h := l.rest
	l.vxlan = &vxlan{flags: h[0], vni: be.Uint32(h[4:]) >> 8, reserved: be.Uint32(h)<<8 | uint32(h[7])}
	l.rest = nil
	next := &level{}
	p.levels = append(p.levels, next)
	p.readNetwork(next, next.readEthernet(h[8:]))
	if l.udp.sum == sumWrong && finishedLater(l, next) {
		l.udp.sum = sumPartial
	}
}

func (l *level) readARP(b []byte) {
	if len(b) < 28 || be.Uint32(b) != 1<<16|typeIPv4 || b[4] != 6 || b[5] != 4 {
		l.rest = b
		return
	}
	l.arp = &arp{
		op: be.Uint16(b[6:]), senderMAC: [6]byte(b[8:]), sender: netip.AddrFrom4([4]byte(b[14:])),
		targetMAC: [6]byte(b[18:]), target: netip.AddrFrom4([4]byte(b[24:])),
	}
	l.pad = len(b) - 28
}

// readIPv4 reads a header (RFC 791 §3.1) and returns the payload.
func (l *level) readIPv4(b []byte) (body []byte, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, false
	}
	head := int(b[0]&15) * 4
	if head < 20 || head > len(b) {
		return nil, false
	}
	frag := be.Uint16(b[6:])
	l.ip = &ip{
		version: 4, src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])), tos: b[1],
		length: int(be.Uint16(b[2:])), id: be.Uint16(b[4:]), reserved: frag&0x8000 != 0, df: frag&0x4000 != 0, mf: frag&0x2000 != 0,
		offset: int(frag&0x1fff) * 8, ttl: b[8], proto: b[9], options: b[20:head], rawSum: be.Uint16(b[10:]), sum: sumRight,
	}
	if fold(sum(b[:head], 0)) != 0xffff {
		l.ip.sum = sumWrong
	}
	n := l.ip.length
	if n == 0 { // left to the network card, or longer than 65535
		n = len(b)
	}
	end := max(head, min(n, len(b)))
	l.ip.payload, l.pad = max(n-head, 0), len(b)-end
	return b[head:end], true
}

// readIPv6 reads a header (RFC 8200 §3) and steps over hop-by-hop options.
func (l *level) readIPv6(b []byte) (body []byte, ok bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return nil, false
	}
	word, n := be.Uint32(b), int(be.Uint16(b[4:]))
	l.ip = &ip{
		version: 6, src: netip.AddrFrom16([16]byte(b[8:])), dst: netip.AddrFrom16([16]byte(b[24:])), tos: byte(word >> 20),
		label: word & 0xfffff, length: 40 + n, proto: b[6], ttl: b[7],
	}
	end := min(40+n, len(b))
	l.pad, body = len(b)-end, b[40:end]
	if l.ip.proto == 0 && len(body) >= 8 {
		if skip := (int(body[1]) + 1) * 8; skip <= len(body) {
			l.ip.proto, l.ip.options, body = body[0], body[:skip], body[skip:]
		}
	}
	l.ip.payload = max(40+n-(end-len(body)), 0)
	return body, true
}
