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

// innerIPv4 returns the IPv4 packet in an Ethernet frame, nil if there is none.
func innerIPv4(frame []byte) []byte {
	if len(frame) < link.EthernetHeader+ipv4Header || link.EtherType(frame) != 0x0800 {
		return nil
	}
	return frame[link.EthernetHeader:]
}

// innerTOS returns the TOS of the IPv4 packet in an Ethernet frame, or 0.
func innerTOS(frame []byte) byte {
	if ip := innerIPv4(frame); ip != nil {
		return ip[1]
	}
	return 0
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
// to the IPv4 packet inside (RFC 6040 §4.2, kernel IP_ECN_decapsulate). It
// reports false if that cannot carry a mark and must be dropped; the packet is
// then as it was. Nil is left alone.
func decapsulateECN(ip []byte, outer byte) bool {
	outer &= ecnMask
	if outer != ecnCE && outer != ecnECT1 || ip == nil {
		return true
	}
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
