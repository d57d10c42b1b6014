package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

const udpHeader = 8

// Outer is the header that a tunnel puts around a packet, or has found around
// one.
type Outer struct {
	Src, Dst         netip.Addr // a zero Src lets the host choose
	SrcPort, DstPort uint16     // of a UDP tunnel
	TOS              byte
	TTL              byte // 0 means 64
	DF               bool
	NoChecksum       bool // leave the UDP checksum 0
}

// BindTunnel takes the datagrams that arrive at a UDP port of this host before
// any socket sees them, as a kernel tunnel device does. The receiver owns the
// frame, which begins with the UDP payload.
func (h *Host) BindTunnel(port uint16, recv func(Outer, *link.Frame)) error {
	if h.tunnels[port] != nil {
		return fmt.Errorf("stack: %s: UDP port %d already belongs to a tunnel", h.name, port)
	}
	h.tunnels[port] = recv
	return nil
}

// SendTunnel sends f, which begins with the UDP payload, in a datagram of the
// host itself. The identification is never 0, also with DF set, as the kernel's
// udp_tunnel_xmit_skb has it.
func (h *Host) SendTunnel(o Outer, f *link.Frame) {
	if !h.chooseSource(&o) {
		h.lo.point.Drop(f, DropNoRoute)
		return
	}
	if f.Len()+udpHeader+ipv4MinHeader > 65535 {
		h.lo.point.Drop(f, DropTooBig)
		return
	}
	putUDP(f.Push(udpHeader), o.SrcPort, o.DstPort)
	if !o.NoChecksum {
		sumUDP(f.Bytes(), o.Src, o.Dst)
	}
	h.sendOuter(o, protoUDP, f)
}

// SendProtocol sends f as the payload of an IP packet of the host itself, as
// the kernel's iptunnel_xmit does. Ports in o mean nothing.
func (h *Host) SendProtocol(o Outer, proto byte, f *link.Frame) {
	if !h.chooseSource(&o) {
		h.lo.point.Drop(f, DropNoRoute)
		return
	}
	if f.Len()+ipv4MinHeader > 65535 {
		h.lo.point.Drop(f, DropTooBig)
		return
	}
	h.sendOuter(o, proto, f)
}

// chooseSource fills in the outer source if it is left to the host. It reports
// false if the host has no way to the destination.
func (h *Host) chooseSource(o *Outer) (ok bool) {
	if o.Src.IsValid() {
		return true
	}
	o.Src, _, ok = h.Source(o.Dst)
	return ok
}

// sendOuter puts the outer IP header in front of f and sends it.
func (h *Host) sendOuter(o Outer, proto byte, f *link.Frame) {
	hdr := ipHeader{
		tos: o.TOS, id: h.nextID(o.Src, o.Dst, proto), ttl: o.TTL, proto: proto, src: o.Src, dst: o.Dst,
	}
	if hdr.ttl == 0 {
		hdr.ttl = h.ttl()
	}
	if o.DF {
		hdr.flags = flagDF
	}
	b := f.Push(ipv4MinHeader)
	hdr.put(b, len(b))
	h.sendLocal(&packet{frame: f})
}

// putUDP writes the header of the UDP datagram b without a checksum.
func putUDP(b []byte, src, dst uint16) {
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	b[6], b[7] = 0, 0
}

// sumUDP fills in the checksum; 0 is sent as 0xffff (RFC 768).
func sumUDP(b []byte, src, dst netip.Addr) {
	sum := ^checksum.Checksum(b, pseudoSum(src, dst, protoUDP, len(b)))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[6:], sum)
}

// sumTransport fills in the TCP or UDP checksum of a whole packet.
func sumTransport(ip ipv4) {
	l4 := ip.payload()
	switch proto := ip.proto(); {
	case ip.fragment():
	case proto == protoUDP && len(l4) >= udpHeader:
		l4[6], l4[7] = 0, 0
		sumUDP(l4, ip.src(), ip.dst())
	case proto == protoTCP && len(l4) >= 20:
		l4[16], l4[17] = 0, 0
		binary.BigEndian.PutUint16(l4[16:], ^checksum.Checksum(l4, pseudoSum(ip.src(), ip.dst(), proto, len(l4))))
	}
}

// receiveUDP hands a datagram to a tunnel or a socket. It owns p.
func (h *Host) receiveUDP(p *packet) {
	ip := p.ip()
	dgram := ip.payload()
	if len(dgram) < udpHeader || int(binary.BigEndian.Uint16(dgram[4:])) < udpHeader ||
		int(binary.BigEndian.Uint16(dgram[4:])) > len(dgram) {
		h.drop(p, DropBadHeader)
		return
	}
	if !p.sumOK() {
		h.drop(p, DropChecksum)
		return
	}
	src, dst, _ := ip.ports()
	if recv := h.tunnels[dst]; recv != nil && h.isLocal(ip.dst()) {
		o := Outer{Src: ip.src(), Dst: ip.dst(), SrcPort: src, DstPort: dst, TOS: ip.tos(), TTL: ip.ttl(), DF: ip.dontFragment()}
		f := p.frame
		f.Pull(ip.headerLen() + udpHeader)
		f.Truncate(int(binary.BigEndian.Uint16(dgram[4:])) - udpHeader)
		recv(o, f)
		return
	}
	if h.probed(p, protoUDP, []byte{dgram[2], dgram[3], dgram[0], dgram[1]}) {
		return
	}
	if h.sockets.inject(p, src, dst) {
		return
	}
	if h.isLocal(ip.dst()) {
		h.sendError(p, icmpUnreachable, codePort, 0)
	}
	h.drop(p, DropNoSocket)
}

// receiveTCP hands a segment to a socket, or resets the connection. It owns p.
func (h *Host) receiveTCP(p *packet) {
	ip := p.ip()
	seg := ip.payload()
	if len(seg) < 20 || int(seg[12]>>4)*4 < 20 || int(seg[12]>>4)*4 > len(seg) || p.group || !h.isLocal(ip.dst()) {
		h.drop(p, DropBadHeader)
		return
	}
	if !p.sumOK() {
		h.drop(p, DropChecksum)
		return
	}
	if seg[13]&tcpACK != 0 && p.in.wantsConfirmation() {
		h.confirmNeighbour(p)
	}
	src, dst, _ := ip.ports()
	if f := h.probes[probeKey{protoTCP, dst, src}]; f != nil {
		f(ip) // and then the reset that a host sends for what it has no socket for
	} else if h.sockets.inject(p, src, dst) {
		return
	}
	h.sendReset(p)
	h.drop(p, DropNoSocket)
}

// wantsConfirmation reports whether progress on a connection may tell something
// new about a neighbour. To spare the look-up, one that is confirmed is
// confirmed again once a second only.
func (d *Device) wantsConfirmation() bool {
	n := d.recent
	return d.unsure > 0 || n != nil && n.state == NeighReachable && d.host.drv.Now()-n.confirmed >= time.Second
}

// confirmNeighbour takes progress on a connection as proof that the neighbour
// the packet came from is there (the kernel's sk_dst_confirm).
func (h *Host) confirmNeighbour(p *packet) {
	src := p.ip().src()
	r := h.routes.lookup(src)
	if r == nil || r.Dev != p.in {
		return
	}
	if r.Via.IsValid() {
		src = r.Via
	}
	h.neigh.confirmAddr(p.in, src)
}

// TCP flags (RFC 9293 §3.1).
const (
	tcpFIN = 1
	tcpSYN = 2
	tcpRST = 4
	tcpPSH = 8
	tcpACK = 16
)

// sendReset answers a segment for which there is no connection (RFC 9293
// §3.10.7.1), in the form that tcp_v4_send_reset has: no options, window 0,
// identification 0, DF set.
func (h *Host) sendReset(p *packet) {
	ip := p.ip()
	seg := ip.payload()
	if ip.proto() != protoTCP || ip.later() || len(seg) < 20 || seg[13]&tcpRST != 0 {
		return
	}
	const tcpHeader = 20
	f := h.newFrame(ipv4MinHeader + tcpHeader)
	b := f.Bytes()
	ipHeader{tos: 0, flags: flagDF, ttl: h.ttl(), proto: protoTCP, src: ip.dst(), dst: ip.src()}.put(b, len(b))
	t := b[ipv4MinHeader:]
	clear(t)
	copy(t[0:2], seg[2:4])
	copy(t[2:4], seg[0:2])
	t[12] = 5 << 4
	if seg[13]&tcpACK != 0 {
		copy(t[4:8], seg[8:12])
		t[13] = tcpRST
	} else {
		length := uint32(len(seg)-int(seg[12]>>4)*4) + uint32(seg[13]&tcpFIN) + uint32(seg[13]&tcpSYN)/tcpSYN
		binary.BigEndian.PutUint32(t[8:], binary.BigEndian.Uint32(seg[4:])+length)
		t[13] = tcpRST | tcpACK
	}
	binary.BigEndian.PutUint16(t[16:], ^checksum.Checksum(t, pseudoSum(ip.dst(), ip.src(), protoTCP, tcpHeader)))
	r := packet{frame: f}
	if p.tracked && p.conn.Entry != nil {
		r.conn, r.tracked = p.conn.Related(), true
	}
	h.sendLocal(&r)
}
