package stack

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// probeKey finds who sent a packet without a socket, from the answer to it: the
// protocol, and the local and the remote port; of ICMP, the identifier and the
// sequence number.
type probeKey struct {
	proto byte
	a, b  uint16
}

// probed hands p to whoever sent the packet that p answers. Words are the two
// 16-bit words of the key. It reports whether there is somebody; then it owns p.
func (h *Host) probed(p *packet, proto byte, words []byte) bool {
	if len(h.probes) == 0 {
		return false
	}
	f := h.probes[probeKey{proto, binary.BigEndian.Uint16(words), binary.BigEndian.Uint16(words[2:])}]
	if f == nil {
		return false
	}
	f(p.ip()) // not p: it would have to be on the heap, for every packet
	p.frame.Release()
	return true
}

// probePort returns a local port that no other probe to remote uses.
func (h *Host) probePort(proto byte, remote uint16) uint16 {
	first, last := h.LocalPorts()
	port := first + uint16(h.rng.IntN(int(last-first)+1))
	for range last - first {
		if h.probes[probeKey{proto, port, remote}] == nil {
			break
		}
		if port == last {
			port = first - 1
		}
		port++
	}
	return port
}

// probePacket is the content of a probe.
type probePacket struct {
	proto    byte
	src, dst netip.Addr
	key      probeKey
	ttl, tos byte
	df       bool
	size     int // of the IP packet; less than the headers means no data
}

// sendProbe sends a packet as traceroute(8) makes it: an echo request, a
// datagram, or a SYN with the options that Linux sends.
func (h *Host) sendProbe(o probePacket) {
	var l4 []byte
	data := func(header int) []byte {
		b := make([]byte, max(header, o.size-ipv4MinHeader))
		for i := range b[header:] {
			b[header+i] = byte(0x40 + i&0x3f)
		}
		return b
	}
	switch o.proto {
	case protoICMP:
		l4 = data(icmpHeader)
		putICMP(l4, icmpEcho, 0, uint32(o.key.a)<<16|uint32(o.key.b), l4[icmpHeader:])
	case protoUDP:
		l4 = data(udpHeader)
		putUDP(l4, o.key.a, o.key.b)
		sumUDP(l4, o.src, o.dst)
	case protoTCP:
		l4 = h.synProbe(o)
	}
	f := h.newFrame(ipv4MinHeader + len(l4))
	b := f.Bytes()
	hdr := ipHeader{tos: o.tos, id: h.nextID(o.src, o.dst, o.proto), ttl: o.ttl, proto: o.proto, src: o.src, dst: o.dst}
	if o.df {
		hdr.flags = flagDF
	}
	hdr.put(b, len(b))
	copy(b[ipv4MinHeader:], l4)
	h.sendLocal(&packet{frame: f, socket: true, probe: true})
}

// synProbe is a SYN with MSS, SACK permitted, timestamps and window scale, as
// tcp_connect sends it.
func (h *Host) synProbe(o probePacket) []byte {
	const header = 20
	mss := uint16(defaultMSS)
	if _, dev, ok := h.Source(o.dst); ok {
		mss = uint16(dev.MTU - ipv4MinHeader - header)
	}
	b := make([]byte, header, header+20)
	binary.BigEndian.PutUint16(b, o.key.a)
	binary.BigEndian.PutUint16(b[2:], o.key.b)
	binary.BigEndian.PutUint32(b[4:], h.rng.Uint32())
	b[12], b[13] = (header+20)/4<<4, tcpSYN
	binary.BigEndian.PutUint16(b[14:], 5840) // what traceroute puts there
	b = append(b, 2, 4, byte(mss>>8), byte(mss), 4, 2, 8, 10)
	b = binary.BigEndian.AppendUint32(b, uint32(h.now().Milliseconds()))
	b = append(b, 0, 0, 0, 0, 1, 3, 3, 2)
	binary.BigEndian.PutUint16(b[16:], ^checksum.Checksum(b, pseudoSum(o.src, o.dst, protoTCP, len(b))))
	return b
}

// defaultMSS is what a host may send to one it knows nothing about (RFC 9293
// §3.7.1).
const defaultMSS = 536
