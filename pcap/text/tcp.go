package text

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// flowKey is a TCP connection; which end comes first does not matter.
type flowKey struct{ low, high netip.AddrPort }

// flowBase are the sequence numbers that a connection's are relative to, of the
// end that comes first and of the other.
type flowBase struct{ seq, ack uint32 }

// tcp prints a segment (RFC 9293).
func (p *Printer) tcp(h ipHeader, b []byte, length int) {
	if len(b) < 20 {
		p.shortTCP(h, b)
		return
	}
	sport, dport := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	seq, ack := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	header, flags := int(b[12]>>4)*4, b[13]
	p.add("%s.%d > %s.%d: ", p.addr(h.src), sport, p.addr(h.dst), dport)
	if header < 20 || header > length {
		p.add("tcp %d [bad hdr length %d - too %s, %s %d]", length-header, header, pick(header < 20, "short", "long"), pick(header < 20, "<", ">"), pick(header < 20, 20, length))
		return
	}
	var base flowBase
	reverse := false
	if !p.Absolute && flags&tcpACK != 0 {
		seq, ack, base, reverse = p.relative(h, sport, dport, seq, ack, flags)
	}
	data := length - header
	p.add("Flags [%s]", tcpFlags(flags))
	if p.Verbose && !h.fragment && len(b) == length {
		p.add(", cksum 0x%04x", binary.BigEndian.Uint16(b[16:]))
		if want := h.right(b, 16); want == binary.BigEndian.Uint16(b[16:]) {
			p.add(" (correct)")
		} else {
			p.add(" (incorrect -> 0x%04x)", want)
		}
	}
	if data > 0 || flags&(tcpSYN|tcpFIN|tcpRST) != 0 {
		p.add(", seq %d", seq)
		if data > 0 {
			p.add(":%d", seq+uint32(data))
		}
	}
	if flags&tcpACK != 0 {
		p.add(", ack %d", ack)
	}
	p.add(", win %d", binary.BigEndian.Uint16(b[14:]))
	if flags&tcpURG != 0 {
		p.add(", urg %d", binary.BigEndian.Uint16(b[18:]))
	}
	if header > 20 {
		p.add(", options [%s]", tcpOptions(b[20:min(header, len(b))], base, reverse, p.Absolute || flags&tcpACK == 0))
	}
	p.add(", length %d", data)
	if data > 0 && len(b) > header {
		p.application(sport, dport, b[header:], flags)
	}
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

// shortTCP prints what is left of a header in an ICMP error.
func (p *Printer) shortTCP(h ipHeader, b []byte) {
	if len(b) < 4 {
		p.add("%s > %s: [|tcp]", p.addr(h.src), p.addr(h.dst))
		return
	}
	p.add("%s.%d > %s.%d:  [|tcp]", p.addr(h.src), binary.BigEndian.Uint16(b), p.addr(h.dst), binary.BigEndian.Uint16(b[2:]))
}

// TCP flags, in the order in which they are printed.
const (
	tcpFIN = 1
	tcpSYN = 2
	tcpRST = 4
	tcpPSH = 8
	tcpACK = 16
	tcpURG = 32
)

func tcpFlags(flags byte) string {
	var b strings.Builder
	for i, c := range "FSRP.UEW" {
		if flags&(1<<i) != 0 {
			b.WriteRune(c)
		}
	}
	if b.Len() == 0 {
		return "none"
	}
	return b.String()
}

// relative makes sequence numbers relative to the first that was seen, as
// tcpdump does: those of a connection's first segment with ACK stay as they are.
func (p *Printer) relative(h ipHeader, sport, dport uint16, seq, ack uint32, flags byte) (uint32, uint32, flowBase, bool) {
	from, to := netip.AddrPortFrom(h.src, sport), netip.AddrPortFrom(h.dst, dport)
	reverse := sport > dport || sport == dport && h.src.Compare(h.dst) > 0
	k := flowKey{from, to}
	if reverse {
		k = flowKey{to, from}
	}
	base, known := p.flows[k]
	if !known || flags&tcpSYN != 0 {
		base = flowBase{seq, ack - 1}
		if reverse {
			base = flowBase{ack - 1, seq}
		}
		if p.flows == nil || len(p.flows) >= maxFlows {
			p.flows = make(map[flowKey]flowBase)
		}
		p.flows[k] = base
		return seq, ack, base, reverse
	}
	if reverse {
		return seq - base.ack, ack - base.seq, base, reverse
	}
	return seq - base.seq, ack - base.ack, base, reverse
}

// tcpOptions prints the options between the header and the data.
func tcpOptions(b []byte, base flowBase, reverse, absolute bool) string {
	var words []string
	for len(b) > 0 {
		switch kind := b[0]; {
		case kind == 0:
			return strings.Join(append(words, "eol"), ",")
		case kind == 1:
			words = append(words, "nop")
			b = b[1:]
			continue
		case len(b) < 2 || int(b[1]) < 2 || int(b[1]) > len(b):
			return strings.Join(append(words, "[bad opt]"), ",")
		default:
			words = append(words, tcpOption(kind, b[2:b[1]], base, reverse, absolute))
			b = b[b[1]:]
		}
	}
	return strings.Join(words, ",")
}

func tcpOption(kind byte, v []byte, base flowBase, reverse, absolute bool) string {
	switch {
	case kind == 2 && len(v) == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(v))
	case kind == 3 && len(v) == 1:
		return fmt.Sprintf("wscale %d", v[0])
	case kind == 4 && len(v) == 0:
		return "sackOK"
	case kind == 5 && len(v)%8 == 0:
		text := fmt.Sprintf("sack %d ", len(v)/8)
		for ; len(v) > 0; v = v[8:] {
			from, to := binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
			if !absolute {
				off := base.ack
				if reverse {
					off = base.seq
				}
				from, to = from-off, to-off
			}
			text += fmt.Sprintf("{%d:%d}", from, to)
		}
		return text
	case kind == 8 && len(v) == 8:
		return fmt.Sprintf("TS val %d ecr %d", binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]))
	}
	text := fmt.Sprintf("unknown-%d", kind)
	if len(v) > 0 {
		text += fmt.Sprintf(" 0x%x", v)
	}
	return text
}

// httpWords begin the first line of what HTTP says.
var httpWords = []string{"GET", "PUT", "COPY", "HEAD", "LOCK", "MOVE", "POLL", "POST", "BCOPY", "BMOVE", "MKCOL", "TRACE", "LABEL", "MERGE", "DELETE", "SEARCH", "UNLOCK", "REPORT", "UPDATE", "NOTIFY", "BDELETE", "CONNECT", "OPTIONS", "CHECKIN", "PROPFIND", "CHECKOUT", "CCM_POST", "SUBSCRIBE", "PROPPATCH", "BPROPFIND", "BPROPPATCH", "UNCHECKOUT", "MKACTIVITY", "MKWORKSPACE", "UNSUBSCRIBE", "RPC_CONNECT", "VERSION-CONTROL", "BASELINE-CONTROL"}

// application prints what is known of the data by its port.
func (p *Printer) application(sport, dport uint16, data []byte, flags byte) {
	is := func(ports ...uint16) bool { return slices.Contains(ports, sport) || slices.Contains(ports, dport) }
	switch {
	case flags&tcpRST != 0:
	case is(80, 8080, 3128):
		p.add(": HTTP")
		line, _, _ := bytes.Cut(data, []byte("\r\n"))
		word, rest, _ := strings.Cut(string(line), " ")
		code, _, _ := strings.Cut(rest, " ")
		answer := len(code) == 3 && strings.Trim(code, "0123456789") == ""
		if answer || slices.Contains(httpWords, word) {
			p.add(": %s", printable(line))
		}
	case is(179):
		p.add(": BGP")
	case is(53) && len(data) > 2:
		p.add(" ")
		p.dns(data[2:])
	}
}

// printable keeps control characters away from the terminal.
func printable(b []byte) string {
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '.'
		}
		return r
	}, b))
}
