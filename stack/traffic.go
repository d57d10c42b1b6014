package stack

import (
	"encoding/binary"

	"github.com/podwire/podwire/link"
)

// Traffic tells the queues of cables about the IPv4 packets inside frames; it
// is the link.Classifier of a lab. A tunnel's packet is judged by its outer
// headers, whose source port stands for the flow inside.
type Traffic struct{}

var _ link.Classifier = Traffic{}

// FlowHash implements link.Classifier: both directions of a flow have one hash,
// as with the kernel's skb_get_hash; frames without IPv4 go by their two MACs.
func (Traffic) FlowHash(frame []byte) uint32 {
	if ip := ipv4In(frame); ip != nil {
		return dissect(0, ip)
	}
	if len(frame) < link.EthernetHeader {
		return 0
	}
	return uint32(mix(binary.BigEndian.Uint64(frame[0:8]) ^ mix(uint64(binary.BigEndian.Uint32(frame[8:12])))))
}

// MarkCongestion implements link.Classifier: it sets CE in a packet whose
// sender understands ECN (RFC 3168 §5), as the kernel's INET_ECN_set_ce does.
func (Traffic) MarkCongestion(frame []byte) bool {
	ip := ipv4In(frame)
	if ip == nil || ip[1]&3 == 0 {
		return false
	}
	old := binary.BigEndian.Uint16(ip)
	ip[1] |= 3
	MendChecksum(ip[10:12], old, binary.BigEndian.Uint16(ip))
	return true
}

// ipv4In returns the IPv4 packet of an Ethernet frame, or nil.
func ipv4In(frame []byte) ipv4 {
	if len(frame) < link.EthernetHeader+ipv4MinHeader || link.EtherType(frame) != etherIPv4 || frame[link.EthernetHeader]>>4 != 4 {
		return nil
	}
	return frame[link.EthernetHeader:]
}
