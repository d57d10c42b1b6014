package stack

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// sumOK reports whether the checksum of a whole TCP, UDP or ICMP packet is
// right. A frame that is known to be intact is taken at its word. A UDP checksum
// of 0 means that there is none (RFC 768), and other protocols have none that a
// host looks at.
func (p *packet) sumOK() bool {
	ip := p.ip()
	if p.frame.Intact || ip.fragment() {
		return true
	}
	l4 := ip.payload()
	switch ip.proto() {
	case protoTCP:
		return checksum.Checksum(l4, pseudoSum(ip.src(), ip.dst(), protoTCP, len(l4))) == 0xffff
	case protoUDP:
		if len(l4) < udpHeader || l4[6]|l4[7] == 0 {
			return true
		}
		l4 = l4[:min(len(l4), int(binary.BigEndian.Uint16(l4[4:])))]
		return checksum.Checksum(l4, pseudoSum(ip.src(), ip.dst(), protoUDP, len(l4))) == 0xffff
	case protoICMP:
		return checksum.Checksum(l4, 0) == 0xffff
	}
	return true
}
