package overlay

import (
	"encoding/binary"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// ECN codepoints (RFC 3168 §5).
const (
	ecnMask   = 3
	ecnNotECT = 0
	ecnECT1   = 1
	ecnECT0   = 2
	ecnCE     = 3
)

// innerTOS returns the TOS of the IPv4 packet in an Ethernet frame, or 0.
func innerTOS(b []byte) byte {
	if !isIPv4(b) {
		return 0
	}
	return b[link.EthernetHeader+1]
}

func isIPv4(b []byte) bool {
	return len(b) >= link.EthernetHeader+20 && link.EtherType(b) == 0x0800
}

// outerTOS is what a tunnel with a fixed DSCP of 0 writes outside: the inner
// ECN bits, with a congestion mark made ECT(0), so that congestion on the
// underlay can be told from congestion before it (RFC 6040 §4.1, kernel
// INET_ECN_encapsulate).
func outerTOS(inner byte) byte {
	if inner&ecnMask == ecnCE {
		return ecnECT0
	}
	return inner & ecnMask
}

// decapsulateECN carries a congestion mark, or ECT(1) on ECT(0), from outside
// to the inner packet (RFC 6040 §4.2, kernel IP_ECN_decapsulate). It reports
// false if the inner packet cannot carry a mark and must be dropped. What is
// no IP packet is left alone.
func decapsulateECN(frame []byte, outer byte) bool {
	outer &= ecnMask
	if outer != ecnCE && outer != ecnECT1 || !isIPv4(frame) {
		return true
	}
	ip := frame[link.EthernetHeader:]
	switch inner := ip[1] & ecnMask; {
	case inner == ecnNotECT:
		return outer != ecnCE
	case outer == ecnECT1 && inner != ecnECT0:
		return true
	}
	old := binary.BigEndian.Uint16(ip)
	ip[1] = ip[1]&^ecnMask | outer
	stack.MendChecksum(ip[10:12], old, binary.BigEndian.Uint16(ip))
	return true
}
