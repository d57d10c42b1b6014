package text

import (
	"encoding/binary"

	"github.com/podwire/podwire/pcap"
)

// A Filter chooses packets. It does not change and may be used by several
// goroutines. A nil *Filter chooses all.
type Filter struct {
	match test
}

// test is a node of an expression.
type test func(*view) bool

// Match reports whether the filter chooses a packet that begins with a header of
// the link type. As pcap-filter(7) has it, it looks at the outermost headers.
func (f *Filter) Match(link pcap.LinkType, data []byte) bool {
	if f == nil || f.match == nil {
		return true
	}
	v := newView(link, data)
	return f.match(&v)
}

// view is a packet, taken apart as far as filters look.
type view struct {
	frame     []byte
	ether     []byte // of an Ethernet frame: from its header on
	etherType uint16
	net       []byte // from the network header on
	ihl       int    // of IPv4
	proto     byte   // of IPv4 and IPv6
	fragment  bool   // not the first: no transport header
	ports     bool   // src and dst port are there
	sport     uint16
	dport     uint16
}

func newView(link pcap.LinkType, data []byte) view {
	v := view{frame: data}
	switch link {
	case 0, pcap.Ethernet:
		if len(data) < 14 {
			return v
		}
		v.ether, v.etherType, v.net = data, binary.BigEndian.Uint16(data[12:]), data[14:]
	case pcap.Raw:
		v.raw(data)
	case pcap.Null:
		if len(data) > 4 {
			v.raw(data[4:])
		}
	case pcap.LinuxSLL:
		if len(data) >= 16 {
			v.etherType, v.net = binary.BigEndian.Uint16(data[14:]), data[16:]
		}
	case pcap.LinuxSLL2:
		if len(data) >= 20 {
			v.etherType, v.net = binary.BigEndian.Uint16(data), data[20:]
		}
	}
	v.transport()
	return v
}

func (v *view) raw(b []byte) {
	if len(b) == 0 {
		return
	}
	v.net = b
	switch b[0] >> 4 {
	case 4:
		v.etherType = etherIPv4
	case 6:
		v.etherType = etherIPv6
	}
}

// transport finds protocol and ports.
func (v *view) transport() {
	var l4 []byte
	switch {
	case v.etherType == etherIPv4 && len(v.net) >= 20:
		v.ihl, v.proto = int(v.net[0]&15)*4, v.net[9]
		v.fragment = binary.BigEndian.Uint16(v.net[6:])&0x1fff != 0
		if v.fragment || len(v.net) < v.ihl {
			return
		}
		l4 = v.net[v.ihl:]
	case v.etherType == etherIPv6 && len(v.net) >= 40:
		v.proto, l4 = v.net[6], v.net[40:]
	}
	if (v.proto == protoTCP || v.proto == protoUDP || v.proto == 132) && len(l4) >= 4 {
		v.ports, v.sport, v.dport = true, binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	}
}

// isIP reports whether v is IPv4 with a whole header.
func (v *view) isIP() bool { return v.etherType == etherIPv4 && len(v.net) >= 20 }

// direction is which end of a packet a primitive is about.
type direction uint8

const (
	either direction = iota
	source
	destination
	both
)

// on combines what is true of the two ends.
func (d direction) on(src, dst bool) bool {
	switch d {
	case source:
		return src
	case destination:
		return dst
	case both:
		return src && dst
	}
	return src || dst
}

// addrs returns the two IPv4 addresses of IP and ARP packets.
func (v *view) addrs(ip, arp bool) (src, dst uint32, ok bool) {
	switch {
	case ip && v.isIP():
		return binary.BigEndian.Uint32(v.net[12:]), binary.BigEndian.Uint32(v.net[16:]), true
	case arp && v.etherType == etherARP && len(v.net) >= 28:
		return binary.BigEndian.Uint32(v.net[14:]), binary.BigEndian.Uint32(v.net[24:]), true
	}
	return 0, 0, false
}
