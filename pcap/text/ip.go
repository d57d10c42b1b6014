package text

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// IP protocols that are printed.
const (
	protoICMP   = 1
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoGRE    = 47
	protoICMPv6 = 58
)

var protoNames = map[byte]string{
	protoICMP: "ICMP", 2: "IGMP", protoIPIP: "IPIP", protoTCP: "TCP", protoUDP: "UDP", protoIPv6: "IPv6", protoGRE: "GRE", 50: "ESP",
	51: "AH", 132: "SCTP", protoICMPv6: "ICMPv6",
}

// ipHeader is what the layers above want to know of the one below.
type ipHeader struct {
	src, dst netip.Addr
	proto    byte
	fragment bool // any fragment: checksums cannot be checked
	nested   bool // quoted in an ICMP error: it may be cut
}

// ipv4 prints an IPv4 packet (RFC 791).
func (p *Printer) ipv4(b []byte, length int) {
	p.ipv4Packet(b, length, false)
}

func (p *Printer) ipv4Packet(b []byte, length int, nested bool) {
	if p.depth++; p.depth > maxDepth {
		p.add("[nested too deep]")
		return
	}
	if len(b) < 20 {
		p.add("[|ip]")
		return
	}
	ihl, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case b[0]>>4 != 4:
		p.add("IP%d", b[0]>>4)
		return
	case ihl < 20:
		p.add("bad-hlen %d", ihl)
		return
	case total < ihl:
		p.add("bad-len %d", total)
		return
	case len(b) < ihl:
		p.add("[|ip]")
		return
	case total > length && !nested:
		p.add("truncated-ip - %d bytes missing! ", total-length)
	}
	b = b[:min(len(b), total)]
	flags := binary.BigEndian.Uint16(b[6:])
	offset := int(flags&0x1fff) * 8
	h := ipHeader{
		src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])), proto: b[9],
		fragment: flags&0x3fff != 0, nested: nested,
	}
	if p.Verbose {
		p.ipv4Header(b[:ihl], total, offset, flags)
	}
	if offset > 0 {
		p.add("%s > %s: ip-proto-%d", p.addr(h.src), p.addr(h.dst), h.proto)
		return
	}
	p.transport(h, b[ihl:], total-ihl)
}

// ipv4Header prints what -v adds.
func (p *Printer) ipv4Header(b []byte, total, offset int, flags uint16) {
	p.add("(tos 0x%x", b[1])
	if ecn := b[1] & 3; ecn != 0 {
		p.add(",%s", [...]string{"", "ECT(1)", "ECT(0)", "CE"}[ecn])
	}
	words := "none"
	switch flags & 0x6000 {
	case 0x4000:
		words = "DF"
	case 0x2000:
		words = "+"
	case 0x6000:
		words = "+, DF"
	}
	name := protoNames[b[9]]
	if name == "" {
		name = "unknown"
	}
	p.add(", ttl %d, id %d, offset %d, flags [%s], proto %s (%d), length %d", b[8], binary.BigEndian.Uint16(b[4:]), offset, words, name, b[9], total)
	if len(b) > 20 {
		p.add(", options (%d bytes)", len(b)-20)
	}
	if sum := checksum(b, 0); sum != 0 {
		have := binary.BigEndian.Uint16(b[10:])
		p.add(", bad cksum %x (->%x)!", have, ^fold(uint32(^have)+uint32(^sum)))
	}
	p.add(")\n    ")
}

// ipv6 prints an IPv6 packet (RFC 8200).
func (p *Printer) ipv6(b []byte, length int) {
	if p.depth++; p.depth > maxDepth {
		p.add("[nested too deep]")
		return
	}
	const header = 40
	if len(b) < header {
		p.add("[|ip6]")
		return
	}
	h := ipHeader{src: netip.AddrFrom16([16]byte(b[8:])), dst: netip.AddrFrom16([16]byte(b[24:])), proto: b[6]}
	payload := int(binary.BigEndian.Uint16(b[4:]))
	b = b[header:min(len(b), header+payload)]
	if h.proto == 0 && len(b) >= 8 && len(b) >= (int(b[1])+1)*8 { // hop by hop
		n := (int(b[1]) + 1) * 8
		p.add("%s > %s: HBH ", p.addr(h.src), p.addr(h.dst))
		h.proto, b, payload = b[0], b[n:], payload-n
		if h.proto == protoICMPv6 {
			p.icmpv6(b, payload)
			return
		}
	}
	p.transport(h, b, payload)
}

// transport prints addresses and what the protocol makes of the payload.
func (p *Printer) transport(h ipHeader, b []byte, length int) {
	switch h.proto {
	case protoTCP:
		p.tcp(h, b, length)
		return
	case protoUDP:
		p.udp(h, b, length)
		return
	}
	p.add("%s > %s: ", p.addr(h.src), p.addr(h.dst))
	switch h.proto {
	case protoICMP:
		p.icmp(h, b, length)
	case protoICMPv6:
		p.icmpv6(b, length)
	case protoIPIP:
		p.add("%s", pick(p.Ether, "", "IP "))
		p.ipv4(b, length)
	case protoIPv6:
		p.add("IP6 ")
		p.ipv6(b, length)
	case protoGRE:
		p.gre(b, length)
	default:
		p.add("ip-proto-%d %d", h.proto, length)
	}
}

// gre prints a GRE header (RFC 2784, RFC 2890).
func (p *Printer) gre(b []byte, length int) {
	if len(b) < 4 {
		p.add("[|gre]")
		return
	}
	flags, typ := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.add("GREv%d", flags&7)
	n := 4
	for _, bit := range []uint16{0x8000, 0x2000, 0x1000} { // checksum, key, sequence number
		if flags&bit != 0 {
			if bit == 0x2000 && len(b) >= n+4 {
				p.add(", key=0x%x", binary.BigEndian.Uint32(b[n:]))
			}
			n += 4
		}
	}
	p.add(", length %d: ", length)
	switch {
	case len(b) >= n && typ == etherIPv4:
		p.add("%s", pick(p.Ether, "", "IP "))
		p.ipv4(b[n:], length-n)
	case len(b) >= n && typ == 0x6558: // transparent Ethernet bridging
		p.ethernet(b[n:], length-n)
	default:
		p.add("gre-proto-0x%x", typ)
	}
}

// icmpv6 prints what an idle Linux host says.
func (p *Printer) icmpv6(b []byte, length int) {
	if len(b) < 4 {
		p.add("[|icmp6]")
		return
	}
	p.add("ICMP6, ")
	target := func() string {
		if len(b) < 24 {
			return "[|icmp6]"
		}
		return netip.AddrFrom16([16]byte(b[8:])).String()
	}
	switch b[0] {
	case 128, 129:
		if len(b) >= 8 {
			p.add("echo %s, id %d, seq %d", map[byte]string{128: "request", 129: "reply"}[b[0]], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]))
		}
	case 133:
		p.add("router solicitation")
	case 134:
		p.add("router advertisement")
	case 135:
		p.add("neighbor solicitation, who has %s", target())
	case 136:
		p.add("neighbor advertisement, tgt is %s", target())
	case 143:
		if len(b) >= 8 {
			p.add("multicast listener report v2, %d group record(s)", binary.BigEndian.Uint16(b[6:]))
		}
	default:
		p.add("type-#%d", b[0])
	}
	p.add(", length %d", length)
}

// icmp prints an ICMP message (RFC 792).
func (p *Printer) icmp(h ipHeader, b []byte, length int) {
	if len(b) < 8 {
		p.add("[|icmp]")
		return
	}
	p.add("ICMP %s, length %d", p.icmpText(b), length)
	if p.Verbose && !h.fragment && !h.nested && len(b) == length {
		if sum := checksum(b, 0); sum != 0 {
			have := binary.BigEndian.Uint16(b[2:])
			p.add(" (wrong icmp cksum %x (->%x)!)", have, ^fold(uint32(^have)+uint32(^sum)))
		}
	}
	if p.Verbose && isError(b[0]) && len(b) > 8+20 {
		p.add("\n\t%s", pick(p.Ether, "", "IP "))
		p.ipv4Packet(b[8:], len(b)-8, true)
	}
}

func isError(typ byte) bool { return typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12 }

func (p *Printer) icmpText(b []byte) string {
	typ, code := b[0], b[1]
	switch typ {
	case 0, 8:
		return fmt.Sprintf("echo %s, id %d, seq %d", map[byte]string{0: "reply", 8: "request"}[typ], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]))
	case 3:
		return p.unreachable(code, binary.BigEndian.Uint16(b[6:]), b[8:])
	case 5:
		if len(b) >= 8+20 {
			return fmt.Sprintf("redirect %s to host %s", p.addr(netip.AddrFrom4([4]byte(b[8+16:]))), p.addr(netip.AddrFrom4([4]byte(b[4:]))))
		}
	case 11:
		switch code {
		case 0:
			return "time exceeded in-transit"
		case 1:
			return "ip reassembly time exceeded"
		}
	}
	return fmt.Sprintf("type-#%d", typ)
}

// unreachable is the text of ICMP type 3 about the packet quoted.
func (p *Printer) unreachable(code byte, mtu uint16, quoted []byte) string {
	if len(quoted) < 20 {
		return "[|icmp]"
	}
	dst := p.addr(netip.AddrFrom4([4]byte(quoted[16:])))
	switch code {
	case 0:
		return "net " + dst + " unreachable"
	case 1:
		return "host " + dst + " unreachable"
	case 2:
		return fmt.Sprintf("%s protocol %d unreachable", dst, quoted[9])
	case 3:
		ihl := int(quoted[0]&15) * 4
		if len(quoted) < ihl+4 {
			return "[|icmp]"
		}
		port := binary.BigEndian.Uint16(quoted[ihl+2:])
		switch quoted[9] {
		case protoTCP:
			return fmt.Sprintf("%s tcp port %d unreachable", dst, port)
		case protoUDP:
			return fmt.Sprintf("%s udp port %d unreachable", dst, port)
		}
		return fmt.Sprintf("%s protocol %d port %d unreachable", dst, quoted[9], port)
	case 4:
		if mtu > 0 {
			return fmt.Sprintf("%s unreachable - need to frag (mtu %d)", dst, mtu)
		}
		return dst + " unreachable - need to frag"
	case 9:
		return "net " + dst + " unreachable - admin prohibited"
	case 10:
		return "host " + dst + " unreachable - admin prohibited"
	case 13:
		return "host " + dst + " unreachable - admin prohibited filter"
	}
	return fmt.Sprintf("%s unreachable - #%d", dst, code)
}
