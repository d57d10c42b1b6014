package diff

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// rule says how two values of a field are compared.
type rule int

const (
	plain   rule = iota // keys are equal
	named               // keys are names that learnNames has paired
	stepped             // keys are steps of a series
	bytes               // as far as both go
)

// value is one field of a packet.
type value struct {
	field string
	rule  rule
	key   string // what is compared
	show  string // what is printed; if empty, key
	data  []byte // of the rule bytes
	of    series // of the rule stepped
}

func (v value) text() string {
	switch {
	case v.rule == bytes:
		return fmt.Sprintf("%d bytes", len(v.data))
	case v.show != "":
		return v.show
	}
	return v.key
}

// texts are two values that differ, in words; of bytes, the first that does.
func texts(v, w value) (string, string) {
	if v.rule != bytes {
		return v.text(), w.text()
	}
	i := 0
	for v.data[i] == w.data[i] {
		i++
	}
	return excerpt(v.data, i), excerpt(w.data, i)
}

// excerpt is up to 8 bytes from where data begins to differ.
func excerpt(b []byte, from int) string {
	end := min(from+8, len(b))
	return fmt.Sprintf("byte %d is %s", from, hex.EncodeToString(b[from:end]))
}

// lister collects the values of a packet.
type lister struct {
	c      *comparison
	prefix string // "outer.", "quoted."
	list   []value
}

func (w *lister) add(v value) {
	v.field = w.prefix + v.field
	w.list = append(w.list, v)
}

func (w *lister) num(field string, n int) { w.add(value{field: field, key: strconv.Itoa(n)}) }
func (w *lister) hex(field string, n uint64, digits int) {
	w.add(value{field: field, key: fmt.Sprintf("0x%0*x", digits, n)})
}
func (w *lister) flag(field string, on bool) {
	w.add(value{field: field, key: map[bool]string{true: "set", false: "clear"}[on]})
}

// data adds bytes if there are any.
func (w *lister) data(field string, b []byte) {
	if len(b) > 0 {
		w.add(value{field: field, rule: bytes, data: b})
	}
}

// relative adds a number that is compared by what it means, in strict mode as
// it is.
func (w *lister) relative(field, meaning string, raw uint64) {
	if w.c.o.Strict {
		meaning = strconv.FormatUint(raw, 10)
	}
	w.add(value{field: field, key: meaning})
}

// step adds a number of a series.
func (w *lister) step(field string, of series, raw uint16, format string) {
	step, show := of.step, fmt.Sprintf(format, raw)
	if w.c.o.Strict {
		step = show
	} else if step != isZero {
		show += " (" + step + ")"
	}
	w.add(value{field: field, rule: stepped, key: step, show: show, of: of})
}

// sum adds a checksum by its state.
func (w *lister) sum(field, state string, raw uint16) {
	switch {
	case w.c.o.Strict:
		w.add(value{field: field, key: fmt.Sprintf("0x%04x", raw), show: fmt.Sprintf("0x%04x, %s", raw, state)})
		return
	case w.c.o.Offload && state == sumPartial:
		state = sumRight
	}
	w.add(value{field: field, key: state})
}

func (w *lister) mac(field string, m [6]byte) {
	v := value{field: field, key: macText(m)}
	if macName(m) != "" {
		v.rule = named
	}
	w.add(v)
}

func (w *lister) addr(field string, a netip.Addr) {
	v := value{field: field, key: a.String()}
	if localName(a) != "" {
		v.rule = named
	}
	w.add(v)
}

// macText writes a MAC; package net would bring sockets along.
func macText(m [6]byte) string {
	parts := make([]string, 6)
	for i, b := range m {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

// values lists the fields of a packet, from the outside in.
func (c *comparison) values(p *packet) []value {
	w := &lister{c: c}
	w.num("frame.levels", len(p.levels))
	w.flag("frame.cut", p.cut)
	if l := p.levels[0]; l.ip == nil && l.arp == nil {
		w.num("frame.len", p.wire)
	}
	for i, l := range p.levels {
		w.prefix = strings.Repeat("outer.", len(p.levels)-1-i)
		if i > 0 || c.sameLink {
			w.link(l)
		}
		w.level(l)
	}
	return w.list
}

// link lists what is below IP.
func (w *lister) link(l *level) {
	if l.hasEth {
		w.mac("eth.dst", l.dst)
		w.mac("eth.src", l.src)
	}
	w.data("link.data", l.link)
	for i, tag := range l.tags {
		suffix := ""
		if i > 0 {
			suffix = fmt.Sprintf(".%d", i+1)
		}
		w.num("vlan.id"+suffix, int(tag&0xfff))
		w.num("vlan.priority"+suffix, int(tag>>12))
	}
	w.num("frame.padding", l.pad)
}

// level lists the fields of one IP packet, or of what is none.
func (w *lister) level(l *level) {
	w.hex("eth.type", uint64(l.typ), 4)
	if l.arp != nil {
		w.num("arp.opcode", int(l.arp.op))
		w.mac("arp.sender.mac", l.arp.senderMAC)
		w.addr("arp.sender.ip", l.arp.sender)
		w.mac("arp.target.mac", l.arp.targetMAC)
		w.addr("arp.target.ip", l.arp.target)
	}
	if l.ip != nil {
		w.ip(l)
	}
	switch {
	case l.tcp != nil:
		w.tcp(l)
	case l.udp != nil:
		w.udp(l)
	case l.icmp != nil:
		w.icmp(l)
	default:
		w.data("ip.payload", l.rest)
	}
}

func (w *lister) ip(l *level) {
	h := l.ip
	w.num("ip.version", int(h.version))
	w.addr("ip.src", h.src)
	w.addr("ip.dst", h.dst)
	w.hex("ip.tos", uint64(h.tos), 2)
	w.num("ip.ttl", int(h.ttl))
	w.num("ip.proto", int(h.proto))
	w.data("ip.options", h.options)
	if len(h.options) > 0 || l.tcp == nil && l.udp == nil && l.icmp == nil || h.fragment() {
		w.num("ip.len", h.length) // else it follows from the lengths inside
	}
	if h.version == 6 {
		w.flag("ip.label", h.label != 0)
		return
	}
	w.step("ip.id", l.note.id, h.id, "0x%04x")
	w.flag("ip.df", h.df)
	w.flag("ip.mf", h.mf)
	w.flag("ip.reserved", h.reserved)
	w.num("ip.offset", h.offset)
	w.sum("ip.checksum", h.sum, h.rawSum)
}

func (w *lister) tcp(l *level) {
	t := l.tcp
	w.relative("tcp.srcport", l.note.srcPort, uint64(t.src))
	w.relative("tcp.dstport", l.note.dstPort, uint64(t.dst))
	w.relative("tcp.seq", l.note.seq, uint64(t.seq))
	if t.short {
		return
	}
	w.relative("tcp.ack", l.note.ack, uint64(t.ack))
	w.add(value{field: "tcp.flags", key: flagText(t.flags)})
	w.num("tcp.window", int(t.window))
	w.num("tcp.urgent", int(t.urgent))
	w.add(value{field: "tcp.options", key: strings.Join(t.order, ","), show: "[" + strings.Join(t.order, " ") + "]"})
	if t.mss >= 0 {
		w.num("tcp.options.mss", t.mss)
	}
	if t.wscale >= 0 {
		w.num("tcp.options.wscale", t.wscale)
	}
	if t.sack != nil {
		if w.c.o.Strict {
			l.note.sack = fmt.Sprint(t.sack)
		}
		w.add(value{field: "tcp.options.sack", key: strings.TrimSpace(l.note.sack)})
	}
	if t.hasTS {
		w.relative("tcp.options.tsval", l.note.tsval, uint64(t.tsval))
		w.relative("tcp.options.tsecr", l.note.ecr, uint64(t.tsecr))
	}
	w.data("tcp.options.other", t.other)
	w.sum("tcp.checksum", t.sum, t.rawSum)
	w.num("tcp.len", max(l.ip.payload-t.head, 0))
	w.data("tcp.payload", l.rest)
}

func (w *lister) udp(l *level) {
	u := l.udp
	if l.vxlan != nil {
		w.step("udp.srcport", l.note.outerPort, u.src, "%d")
		w.num("udp.dstport", int(u.dst))
		w.sum("udp.checksum", u.sum, u.rawSum)
		w.hex("vxlan.flags", uint64(l.vxlan.flags), 2)
		w.num("vxlan.vni", int(l.vxlan.vni))
		w.hex("vxlan.reserved", uint64(l.vxlan.reserved), 8)
		return
	}
	w.relative("udp.srcport", l.note.srcPort, uint64(u.src))
	w.relative("udp.dstport", l.note.dstPort, uint64(u.dst))
	w.num("udp.len", u.length)
	w.sum("udp.checksum", u.sum, u.rawSum)
	w.data("udp.payload", l.rest)
}

func (w *lister) icmp(l *level) {
	m := l.icmp
	w.num("icmp.type", int(m.typ))
	w.num("icmp.code", int(m.code))
	w.sum("icmp.checksum", m.sum, m.rawSum)
	w.num("icmp.len", max(l.ip.payload-8, 0))
	switch {
	case m.echo():
		w.relative("icmp.id", "the flow's", uint64(m.rest>>16))
		w.num("icmp.seq", int(m.rest&0xffff))
	case !m.v6 && m.typ == 3 && m.code == 4: // RFC 1191 §4
		w.num("icmp.mtu", int(m.rest&0xffff))
		w.hex("icmp.rest", uint64(m.rest>>16), 4)
	default:
		w.hex("icmp.rest", uint64(m.rest), 8)
	}
	if m.quoted != nil {
		outer := w.prefix
		w.prefix += "quoted."
		w.level(m.quoted)
		w.prefix = outer
	}
	data := l.rest
	if m.echo() && !w.c.o.Strict && hasTime(data) {
		w.add(value{field: "icmp.time", key: "present"})
		data = data[16:]
	}
	w.data("icmp.payload", data)
}

// hasTime reports whether the data of an echo begins with the time of sending,
// as that of iputils' ping does from 16 bytes on: seconds since 1970 and
// microseconds, 8 bytes each, in the order of most machines.
func hasTime(data []byte) bool {
	if len(data) < 16 {
		return false
	}
	s, us := binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:])
	return s > 0 && s < 1<<33 && us < 1e6
}
