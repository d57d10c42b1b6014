package stack

import (
	"encoding/binary"
	"net/netip"

	"github.com/podwire/podwire/link"
)

// ARP packet for IPv4 over Ethernet (RFC 826).
//
//	0  hardware type 2   1
//	2  protocol type 2   0x0800
//	4  hardware length 1 6
//	5  protocol length 1 4
//	6  operation 2       1 request, 2 reply
//	8  sender MAC 6, sender IP 4
//	18 target MAC 6, target IP 4
const (
	arpLen     = 28
	arpRequest = 1
	arpReply   = 2
)

var arpPrefix = [6]byte{0, 1, 8, 0, 6, 4}

// sendARP transmits one ARP packet. Links are virtual, so it is not padded.
func (h *Host) sendARP(d *Device, op uint16, to, sha link.MAC, spa netip.Addr, tha link.MAC, tpa netip.Addr) {
	f := h.newFrame(arpLen)
	b := f.Bytes()
	copy(b, arpPrefix[:])
	binary.BigEndian.PutUint16(b[6:], op)
	s, t := spa.As4(), tpa.As4()
	copy(b[8:], sha[:])
	copy(b[14:], s[:])
	copy(b[18:], tha[:])
	copy(b[24:], t[:])
	d.sendFrame(f, to, etherARP)
}

// sendARPRequest asks for addr: everybody, or only the known MAC.
func (h *Host) sendARPRequest(d *Device, addr netip.Addr, known link.MAC) {
	to := known
	if known.IsZero() {
		to = link.Broadcast
	}
	h.sendARP(d, arpRequest, to, d.MAC, h.sourceFor(d, addr), link.MAC{}, addr)
}

// receiveARP mirrors arp_process of the kernel: a request for one of our
// addresses teaches us its sender and is answered; an answer or a gratuitous
// announcement changes an entry that exists.
func (h *Host) receiveARP(d *Device, f *link.Frame) {
	b := f.Bytes()[link.EthernetHeader:]
	if len(b) < arpLen || [6]byte(b[:6]) != arpPrefix || d.noARP {
		d.point.Drop(f, DropBadARP)
		return
	}
	op := binary.BigEndian.Uint16(b[6:])
	if op != arpRequest && op != arpReply {
		d.point.Drop(f, DropBadARP)
		return
	}
	sha, spa := link.MAC(b[8:14]), netip.AddrFrom4([4]byte(b[14:18]))
	tpa := netip.AddrFrom4([4]byte(b[24:28]))
	unicast := !link.DstMAC(f.Bytes()).IsMulticast()
	f.Release()
	switch {
	case sha.IsMulticast() || spa.IsMulticast() || tpa.IsMulticast() || tpa.IsLoopback():
		d.point.Count(DropBadARP)
	case op == arpRequest && !spa.IsValid() || op == arpRequest && spa.IsUnspecified():
		if h.isLocal(tpa) { // duplicate address detection (RFC 5227 §2.1.1)
			h.sendARP(d, arpReply, sha, d.MAC, tpa, sha, spa)
		}
	case op == arpRequest && h.isLocal(tpa) && spa != tpa:
		h.neigh.learn(d, spa, sha, false, true)
		h.sendARP(d, arpReply, sha, d.MAC, tpa, sha, spa)
	case op == arpReply || spa == tpa:
		if h.isLocal(spa) {
			if sha != d.MAC { // a hairpin port sends our own broadcasts back
				d.point.Count("address conflict")
			}
			return
		}
		h.neigh.learn(d, spa, sha, op == arpReply && unicast, false)
	default:
		h.neigh.learn(d, spa, sha, false, false)
	}
}
