package stack

import (
	"encoding/binary"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/podwire/podwire/link"
)

// flowKey names one direction of what a socket sends.
type flowKey struct {
	src, dst     [4]byte
	sport, dport uint16
	proto        byte
}

// flow is what Linux keeps in the socket and gVisor does not have: the
// identification counter, the flow hash, and of TCP the receive window by
// Linux' rule and the acknowledgement that waits for company.
type flow struct {
	id     uint16
	hash   uint32
	used   time.Duration
	window rcvWindow
	acks   acks

	control *congestion  // of TCP, if any data was sent
	options SocketConfig // inherited from a listener
}

const maxFlows = 4096

// keyOf returns the key of the flow that p belongs to.
func keyOf(p ipv4) flowKey {
	k := flowKey{src: [4]byte(p[12:16]), dst: [4]byte(p[16:20]), proto: p.proto()}
	if !p.later() {
		k.sport, k.dport, _ = p.ports()
	}
	return k
}

// answered returns the flow that answers p, a packet that has come in, or nil.
func (n *netstack) answered(p ipv4) *flow {
	k := keyOf(p)
	k.src, k.dst, k.sport, k.dport = k.dst, k.src, k.dport, k.sport
	return n.flows[k]
}

// flowOf returns the state of the flow that ip belongs to.
func (n *netstack) flowOf(p ipv4) *flow {
	k := keyOf(p)
	f := n.flows[k]
	if f == nil {
		if len(n.flows) >= maxFlows {
			n.forgetFlows()
		}
		x := mix(n.host.hashKey ^ uint64(binary.BigEndian.Uint32(k.src[:]))<<32 ^ uint64(binary.BigEndian.Uint32(k.dst[:])))
		x = mix(x ^ uint64(k.sport)<<24 ^ uint64(k.dport)<<8 ^ uint64(k.proto) ^ uint64(n.host.now()))
		f = &flow{id: uint16(x), hash: uint32(x>>32) | 1}
		if k.proto == protoTCP {
			f.options = n.options[k.sport]
		}
		n.flows[k] = f
	}
	f.used = n.host.now()
	return f
}

// forgetFlows drops what has not been used for a minute, or else everything.
func (n *netstack) forgetFlows() {
	for k, f := range n.flows {
		if n.host.now()-f.used > time.Minute {
			f.acks.drop(n)
			delete(n.flows, k)
		}
	}
	if len(n.flows) >= maxFlows {
		n.dropFlows()
	}
}

// dropFlows forgets everything.
func (n *netstack) dropFlows() {
	for _, f := range n.flows {
		f.acks.drop(n)
	}
	clear(n.flows)
}

// output takes a packet from a socket, gives it the marks of a Linux socket
// and sends it on its way. A packet that is unsummed has no TCP or UDP checksum
// yet: gVisor leaves it away on a loopback NIC, but netfilter may still send the
// packet out of another one.
func (n *netstack) output(pkt *stack.PacketBuffer, unsummed bool) {
	h := n.host
	f := h.newFrame(pkt.Size())
	at := f.Bytes()
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		s := v.AsSlice()
		n := min(skip, len(s))
		skip -= n
		at = at[copy(at, s[n:]):]
	}
	if unsummed {
		sumTransport(f.Bytes())
	}
	if f = n.whole(f); f == nil {
		return
	}
	n.makeFit(f)
	p := packet{frame: f, cut: true, socket: true}
	if n.tooBig(&p) {
		return
	}
	fl := n.flowOf(p.ip())
	if fl.holdsBack(n, &p) {
		return
	}
	fl.dress(n, p.ip(), f)
	h.sendLocal(&p)
}

// dress sets identification and DF as Linux' sockets do: numbers that count up
// per socket with DF set, 0 for SYN-ACK and RST. A datagram that must be cut and
// all on a locked path have DF clear.
func (fl *flow) dress(n *netstack, ip ipv4, f *link.Frame) {
	f.Hash = fl.hash
	fl.mark(ip)
	if ip.proto() != protoTCP || len(ip) < ip.headerLen()+20 {
		ip.setIDAndFlags(fl.next(), n.host.datagramFlags(ip))
		return
	}
	var id uint16
	seg := ip.payload()
	flags := seg[13]
	if flags&tcpRST == 0 && flags&(tcpSYN|tcpACK) != tcpSYN|tcpACK {
		id = fl.next()
	}
	if flags&tcpSYN == 0 {
		if flags&tcpACK != 0 {
			fl.grow(binary.BigEndian.Uint32(seg[8:]), binary.BigEndian.Uint16(seg[14:]))
		}
		fl.acks.sends(n, seg)
	}
	switch {
	case flags&tcpSYN != 0:
		fl.window, fl.control = n.windowOf(seg), nil
		fl.acks.begin(n, seg, &fl.window)
		setWindow(seg, fl.window.initial())
	case flags&(tcpRST|tcpACK) == tcpACK:
		ack := binary.BigEndian.Uint32(seg[8:])
		if flags == tcpACK && fl.acks.fin.alone && ack == fl.acks.fin.seq {
			id = 0 // no socket is left: a time-wait entry answers (tcp_v4_timewait_ack)
		}
		setWindow(seg, fl.window.offer(ack, binary.BigEndian.Uint16(seg[14:])))
		if n.host.drv.Virtual() && len(seg) > int(seg[12]>>4)*4 {
			fl.controlled(n, ip)
		}
	}
	df := uint16(flagDF)
	if n.host.pathLocked(ip.dst()) {
		df = 0
	}
	ip.setIDAndFlags(id, df)
}

// next returns the identification of the next datagram, which is never 0.
func (f *flow) next() uint16 {
	if f.id++; f.id == 0 {
		f.id++
	}
	return f.id
}

// hasSACK reports whether a segment tells of data that has come in out of order
// (RFC 2018 §3).
func hasSACK(seg []byte) bool { return optionAt(seg, header.TCPOptionSACK, anySize) > 0 }

// mssOption returns the MSS that a segment announces, 0 if none (RFC 9293 §3.2).
func mssOption(seg []byte) int {
	if v := tcpOption(seg, 2, 2); v != nil {
		return int(binary.BigEndian.Uint16(v))
	}
	return 0
}

// tcpOption returns the value of a segment's option of that kind and size, nil
// if there is none (RFC 9293 §3.2).
func tcpOption(seg []byte, kind byte, size int) []byte {
	if at := optionAt(seg, kind, size); at > 0 {
		return seg[at+2 : at+2+size]
	}
	return nil
}

// anySize stands for every size of an option's value.
const anySize = -1

// optionAt returns where the first whole option of that kind and size begins, 0 if
// there is none.
func optionAt(seg []byte, kind byte, size int) int {
	end := int(seg[12]>>4) * 4
	if end > len(seg) {
		return 0
	}
	for at := 20; at < end; {
		switch k := seg[at]; {
		case k == header.TCPOptionEOL:
			return 0
		case k == header.TCPOptionNOP:
			at++
		case at+1 >= end || seg[at+1] < 2 || at+int(seg[at+1]) > end:
			return 0
		case k == kind && (size == anySize || int(seg[at+1]) == 2+size):
			return at
		default:
			at += int(seg[at+1])
		}
	}
	return 0
}

// GVisorVersion is the date of the gVisor release that ends TCP and UDP. A test
// compares it with go.mod.
const GVisorVersion = "20260905"
