package nftables

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/podwire/podwire/stack/netfilter"
)

// expr is something about a packet that has a value.
type expr interface {
	// load writes the value into k, which is zero. False means that the packet has none, and the rule does not match.
	load(c *context, k []byte) bool
	datatype() *datatype
	String() string
}

// context is one evaluation.
type context struct {
	r     *Ruleset
	state *state
	p     *netfilter.Packet
	env   netfilter.Env
	key   key // scratch: one on the stack would move to the heap, with every call through an interface
}

// scratch is a key to be loaded.
func (c *context) scratch() *key {
	c.key = key{}
	return &c.key
}

// field is a part of a header or of what the host knows about a packet.
type field struct {
	words string // as nft prints them
	typ   *datatype
	proto uint8 // the packet has to be of it; 0 for any
	get   func(c *context) (uint32, bool)
}

func (f *field) datatype() *datatype { return f.typ }
func (f *field) String() string      { return f.words }

func (f *field) load(c *context, k []byte) bool {
	if f.proto != 0 && (c.p.Proto != f.proto || c.p.Fragment) {
		return false
	}
	n, ok := f.get(c)
	if ok {
		f.typ.put(k, n)
	}
	return ok
}

// deviceField is the name of a device.
type deviceField struct {
	words string
	get   func(p *netfilter.Packet) string
}

func (f *deviceField) datatype() *datatype { return typeDevice }
func (f *deviceField) String() string      { return f.words }

func (f *deviceField) load(c *context, k []byte) bool {
	name := f.get(c.p)
	copy(k, name)
	return name != ""
}

func addr(a interface{ As4() [4]byte }) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// port reads a port, or whatever stands in its place in another transport header.
func port(at int) func(c *context) (uint32, bool) {
	return func(c *context) (uint32, bool) {
		b := c.p.Bytes
		if c.p.Fragment || len(b) < 20 {
			return 0, false
		}
		if b = b[min(len(b), int(b[0]&15)*4):]; len(b) < at+2 {
			return 0, false
		}
		return uint32(binary.BigEndian.Uint16(b[at:])), true
	}
}

func number(get func(p *netfilter.Packet) uint32) func(c *context) (uint32, bool) {
	return func(c *context) (uint32, bool) { return get(c.p), true }
}

// fields are the one- and two-word expressions by their first word. "mark" is short for "meta mark".
var fields = map[string]map[string]expr{
	"ip": {
		"saddr":    &field{"ip saddr", typeAddr, 0, number(func(p *netfilter.Packet) uint32 { return addr(p.Src) })},
		"daddr":    &field{"ip daddr", typeAddr, 0, number(func(p *netfilter.Packet) uint32 { return addr(p.Dst) })},
		"protocol": &field{"ip protocol", typeProto, 0, number(func(p *netfilter.Packet) uint32 { return uint32(p.Proto) })},
		"ttl":      &field{"ip ttl", typeByte, 0, number(func(p *netfilter.Packet) uint32 { return uint32(p.TTL) })},
		"length":   &field{"ip length", typeLength, 0, number(func(p *netfilter.Packet) uint32 { return uint32(p.Length) })},
	},
	"tcp":  ports("tcp", 6),
	"udp":  ports("udp", 17),
	"sctp": ports("sctp", 132),
	"th":   ports("th", 0),
	"icmp": {
		"type": &field{"icmp type", typeICMP, 1, number(func(p *netfilter.Packet) uint32 { return uint32(p.ICMPType) })},
		"code": &field{"icmp code", typeByte, 1, number(func(p *netfilter.Packet) uint32 { return uint32(p.ICMPCode) })},
	},
	"meta": {
		"l4proto": &field{"meta l4proto", typeProto, 0, number(func(p *netfilter.Packet) uint32 { return uint32(p.Proto) })},
		"mark":    &field{"meta mark", typeMark, 0, number(func(p *netfilter.Packet) uint32 { return p.Mark })},
		"length":  &field{"meta length", typeInteger, 0, number(func(p *netfilter.Packet) uint32 { return uint32(p.Length) })},
		"iifname": &deviceField{"iifname", func(p *netfilter.Packet) string { return p.In }},
		"oifname": &deviceField{"oifname", func(p *netfilter.Packet) string { return p.Out }},
	},
	"ct": {
		"state":     &field{"ct state", typeState, 0, number(ctState)},
		"status":    &field{"ct status", typeStatus, 0, ctStatus},
		"mark":      &field{"ct mark", typeMark, 0, ctMark},
		"direction": &field{"ct direction", typeDir, 0, ctDirection},
	},
}

func ports(word string, proto uint8) map[string]expr {
	return map[string]expr{
		"sport": &field{word + " sport", typeService, proto, port(0)},
		"dport": &field{word + " dport", typeService, proto, port(2)},
	}
}

func ctState(p *netfilter.Packet) uint32 {
	switch p.State {
	case netfilter.StateNew:
		return 8
	case netfilter.StateEstablished:
		return 2
	case netfilter.StateRelated:
		return 4
	case netfilter.StateUntracked:
		return 64
	}
	return 1
}

func ctStatus(c *context) (uint32, bool) {
	if c.p.Conn == nil {
		return 0, false
	}
	var n uint32
	for _, b := range []struct {
		on  bool
		bit uint32
	}{
		{c.p.Conn.Seen(), 2}, {c.p.Conn.Assured(), 4}, {c.p.Conn.Confirmed(), 8},
		{c.p.Status&netfilter.StatusSNAT != 0, 16}, {c.p.Status&netfilter.StatusDNAT != 0, 32},
	} {
		if b.on {
			n |= b.bit
		}
	}
	return n, true
}

func ctMark(c *context) (uint32, bool) {
	if c.p.ConnMark == nil {
		return 0, false
	}
	return *c.p.ConnMark, true
}

func ctDirection(c *context) (uint32, bool) {
	switch {
	case c.p.Conn == nil:
		return 0, false
	case c.p.Conn.Reply():
		return 1, true
	}
	return 0, true
}

// fib is what the routing tables make of an address.
type fib struct{ source bool }

func (f *fib) datatype() *datatype { return typeFib }

func (f *fib) String() string {
	if f.source {
		return "fib saddr type"
	}
	return "fib daddr type"
}

func (f *fib) load(c *context, k []byte) bool {
	a := c.p.Dst
	if f.source {
		a = c.p.Src
	}
	typeFib.put(k, uint32(c.env.AddrType(a, "")))
	return true
}

// numgen makes numbers: random ones, or one after the other.
type numgen struct {
	random      bool
	mod, offset uint32
}

func (n *numgen) datatype() *datatype { return typeInteger }

func (n *numgen) String() string {
	kind := "inc"
	if n.random {
		kind = "random"
	}
	s := fmt.Sprintf("numgen %s mod %d", kind, n.mod)
	if n.offset != 0 {
		s += fmt.Sprintf(" offset %d", n.offset)
	}
	return s
}

func (n *numgen) load(c *context, k []byte) bool {
	var v uint32
	if n.random {
		v = uint32(uint64(c.env.Uint32()) * uint64(n.mod) >> 32) // reciprocal_scale
	} else {
		v = c.state.counts[n]
		c.state.counts[n] = (v + 1) % n.mod
	}
	typeInteger.put(k, v+n.offset)
	return true
}

// bitwise is left op right, with a constant to the right.
type bitwise struct {
	left expr
	op   byte // & | ^
	by   uint32
}

func (b *bitwise) datatype() *datatype { return b.left.datatype() }

func (b *bitwise) String() string {
	var k key
	b.datatype().put(k[:], b.by)
	return fmt.Sprintf("%v %c %s", b.left, b.op, b.datatype().format(k[:], k[:]))
}

func (b *bitwise) load(c *context, k []byte) bool {
	if !b.left.load(c, k) {
		return false
	}
	d := b.datatype()
	n := d.get(k)
	switch b.op {
	case '&':
		n &= b.by
	case '|':
		n |= b.by
	default:
		n ^= b.by
	}
	d.put(k, n)
	return true
}

// constant is a value of its own.
type constant struct {
	typ   *datatype
	value key
}

func (v *constant) datatype() *datatype { return v.typ }
func (v *constant) String() string      { return v.typ.format(v.value[:], v.value[:]) }

func (v *constant) load(_ *context, k []byte) bool {
	copy(k, v.value[:v.typ.width])
	return true
}

// concat is one or more expressions, one behind the other.
type concat []expr

// load is false if one of them has no value.
func (l concat) load(c *context, k *key) bool {
	at := 0
	for _, e := range l {
		if !e.load(c, k[at:]) {
			return false
		}
		at += e.datatype().padded()
	}
	return true
}

func (l concat) String() string {
	words := make([]string, len(l))
	for i, e := range l {
		words[i] = e.String()
	}
	return strings.Join(words, " . ")
}

// types are those of the parts.
func (l concat) types() []*datatype {
	list := make([]*datatype, len(l))
	for i, e := range l {
		list[i] = e.datatype()
	}
	return list
}

func typeNames(list []*datatype) string {
	names := make([]string, len(list))
	for i, d := range list {
		names[i] = d.name
	}
	return strings.Join(names, " . ")
}
