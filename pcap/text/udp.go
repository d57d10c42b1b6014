package text

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// udp prints a datagram (RFC 768).
func (p *Printer) udp(h ipHeader, b []byte, length int) {
	if len(b) < 8 {
		if len(b) < 4 {
			p.add("%s > %s: [|udp]", p.addr(h.src), p.addr(h.dst))
			return
		}
		p.add("%s.%d > %s.%d: [|udp]", p.addr(h.src), binary.BigEndian.Uint16(b), p.addr(h.dst), binary.BigEndian.Uint16(b[2:]))
		return
	}
	sport, dport, size := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), int(binary.BigEndian.Uint16(b[4:]))
	p.add("%s.%d > %s.%d: ", p.addr(h.src), sport, p.addr(h.dst), dport)
	if size < 8 {
		p.add("truncated-udplength %d", size)
		return
	}
	data := b[8:min(len(b), max(8, size))]
	switch {
	case dport == 4789 || dport == 8472:
		p.vxlan(data, min(size, length)-8)
	case dport == 6081:
		p.geneve(data, min(size, length)-8)
	case sport == 53 || dport == 53:
		p.dns(data)
	case size > length && !h.fragment && !h.nested:
		p.add("UDP, bad length %d > %d", size-8, length-8)
	default:
		p.add("UDP, length %d", size-8)
	}
}

// vxlan prints a VXLAN header (RFC 7348) and the frame in it.
func (p *Printer) vxlan(b []byte, length int) {
	if len(b) < 8 {
		p.add("VXLAN [|vxlan]")
		return
	}
	flags := "."
	if b[0]&8 != 0 {
		flags = "I"
	}
	p.add("VXLAN, flags [%s] (0x%02x), vni %d\n", flags, b[0], binary.BigEndian.Uint32(b[4:])>>8)
	p.ethernet(b[8:], length-8)
}

// geneve prints a Geneve header (RFC 8926) and what is in it.
func (p *Printer) geneve(b []byte, length int) {
	if len(b) < 8 {
		p.add("Geneve [|geneve]")
		return
	}
	options := int(b[0]&0x3f) * 4
	flags := pick(b[1]&0x80 != 0, "O", "") + pick(b[1]&0x40 != 0, "C", "")
	if flags == "" {
		flags = "none"
	}
	p.add("Geneve, Flags [%s], vni 0x%x", flags, binary.BigEndian.Uint32(b[4:])>>8)
	if options > 0 {
		p.add(", options [%d bytes]", options)
	}
	p.add(": ")
	typ := binary.BigEndian.Uint16(b[2:])
	if len(b) < 8+options {
		p.add("[|geneve]")
		return
	}
	b, length = b[8+options:], length-8-options
	switch typ {
	case 0x6558:
		p.ethernet(b, length)
	case etherIPv4, etherIPv6:
		ether := p.Ether
		p.Ether = false
		p.network(typ, b, length)
		p.Ether = ether
	default:
		p.add("geneve-proto-0x%x", typ)
	}
}

var rcodes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeFormatError: " FormErr", dnsmessage.RCodeServerFailure: " ServFail", dnsmessage.RCodeNameError: " NXDomain",
	dnsmessage.RCodeNotImplemented: " NotImp", dnsmessage.RCodeRefused: " Refused",
}

// dns prints a DNS message (RFC 1035) as tcpdump does: the question of a query,
// the answers of a response.
func (p *Printer) dns(b []byte) {
	const header = 12
	if len(b) < header {
		p.add("domain [length %d < %d] (invalid)", len(b), header)
		return
	}
	var parser dnsmessage.Parser
	h, err := parser.Start(b)
	if err != nil {
		p.add("domain [malformed]")
		return
	}
	counts := func(i int) int { return int(binary.BigEndian.Uint16(b[4+2*i:])) }
	questions, err := parser.AllQuestions()
	if err != nil {
		p.add("%d domain [malformed]", h.ID)
		return
	}
	if !h.Response {
		p.add("%d%s", h.ID, pick(h.RecursionDesired, "+", ""))
		for i, name := range []string{1: "a", 2: "n", 3: "au"} {
			if i > 0 && counts(i) > 0 {
				p.add(" [%d%s]", counts(i), name)
			}
		}
		for _, q := range questions {
			p.add(" %s? %s", dnsType(q.Type), printable([]byte(q.Name.String())))
		}
	} else {
		p.add("%d%s%s%s%s", h.ID, rcodes[h.RCode], pick(h.Authoritative, "*", ""), pick(h.RecursionAvailable, "", "-"), pick(h.Truncated, "|", ""))
		p.add(" %d/%d/%d", counts(1), counts(2), counts(3))
		p.answers(&parser)
	}
	p.add(" (%d)", len(b))
}

func dnsType(t dnsmessage.Type) string { return strings.TrimPrefix(t.String(), "Type") }

func (p *Printer) answers(parser *dnsmessage.Parser) {
	for n := 0; ; n++ {
		r, err := parser.Answer()
		if err != nil {
			return
		}
		if n > 0 {
			p.add(",")
		}
		text := ""
		switch r := r.Body.(type) {
		case *dnsmessage.AResource:
			text = netip.AddrFrom4(r.A).String()
		case *dnsmessage.AAAAResource:
			text = netip.AddrFrom16(r.AAAA).String()
		case *dnsmessage.CNAMEResource:
			text = r.CNAME.String()
		case *dnsmessage.PTRResource:
			text = r.PTR.String()
		case *dnsmessage.SRVResource:
			text = fmt.Sprintf("%s:%d %d %d", r.Target, r.Port, r.Priority, r.Weight)
		}
		p.add(" %s %s", dnsType(r.Header.Type), printable([]byte(text)))
	}
}
