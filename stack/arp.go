package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
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

// sendARPRequest asks for addr: everybody, or only the known MAC. Waiting is
// the packet that needs the answer, nil if there is none.
func (h *Host) sendARPRequest(d *Device, addr netip.Addr, known link.MAC, waiting *packet) {
	to := known
	if known.IsZero() {
		to = link.Broadcast
	}
	h.sendARP(d, arpRequest, to, d.MAC, h.arpSource(d, addr, waiting), link.MAC{}, addr)
}

// arpSource chooses the sender of a request as arp_announce says: 0 takes the
// source of the packet that waits if it is an address of this host, 1 only if
// it is in the target's subnet, 2 never.
func (h *Host) arpSource(d *Device, target netip.Addr, waiting *packet) netip.Addr {
	mode := d.conf[confARPAnnounce]
	if waiting != nil && mode < 2 {
		if src := waiting.ip().src(); h.isLocal(src) && (mode == 0 || d.onLink(src, target)) {
			return src
		}
	}
	return h.sourceFor(d, target)
}

// onLink reports whether one of the device's subnets holds both addresses
// (inet_addr_onlink). An invalid b is not looked at.
func (d *Device) onLink(a, b netip.Addr) bool {
	return slices.ContainsFunc(d.addrs, func(p netip.Prefix) bool {
		return p.Contains(a) && (!b.IsValid() || p.Contains(b))
	})
}

// An arp is an ARP packet that has come in.
type arp struct {
	op       uint16
	sha      link.MAC
	spa, tpa netip.Addr
	tha      link.MAC
	unicast  bool // the frame was for this host alone
	queued   bool // it has waited for proxy_delay
}

// receiveARP mirrors arp_process of the kernel: a request for one of our
// addresses teaches us its sender and is answered; a proxy answers for what it
// would forward; an answer or a gratuitous announcement changes an entry that
// exists.
func (h *Host) receiveARP(d *Device, f *link.Frame) {
	b := f.Bytes()[link.EthernetHeader:]
	if len(b) < arpLen || [6]byte(b[:6]) != arpPrefix || d.noARP {
		d.point.Drop(f, DropBadARP)
		return
	}
	a := arp{
		op: binary.BigEndian.Uint16(b[6:]), sha: link.MAC(b[8:14]), spa: netip.AddrFrom4([4]byte(b[14:18])),
		tha: link.MAC(b[18:24]), tpa: netip.AddrFrom4([4]byte(b[24:28])),
		unicast: !link.DstMAC(f.Bytes()).IsMulticast(),
	}
	if a.op != arpRequest && a.op != arpReply {
		d.point.Drop(f, DropBadARP)
		return
	}
	f.Release()
	if a.op == arpRequest && slices.Contains(d.claimed, a.tpa) {
		h.answerARP(d, a)
	}
	h.processARP(d, a)
}

// ClaimARP has requests for an address answered that is not the host's, as a
// program with a packet socket does: the speaker of a load balancer. The kernel
// behind it knows nothing of that; a packet for the address is one to be
// forwarded, unless a rule translates it.
func (d *Device) ClaimARP(addr netip.Addr) {
	if !slices.Contains(d.claimed, addr) {
		d.claimed = append(d.claimed, addr)
	}
}

// UnclaimARP ends ClaimARP.
func (d *Device) UnclaimARP(addr netip.Addr) {
	d.claimed = slices.DeleteFunc(d.claimed, func(a netip.Addr) bool { return a == addr })
}

// AnnounceARP tells everybody on the link that an IPv4 address is at this device:
// a gratuitous request and a gratuitous reply, for some hosts heed only one of
// them. The target's MAC is the broadcast address, as MetalLB writes it.
func (d *Device) AnnounceARP(addr netip.Addr) {
	for _, op := range []uint16{arpRequest, arpReply} {
		d.host.sendARP(d, op, link.Broadcast, d.MAC, addr, link.Broadcast, addr)
	}
}

func (h *Host) processARP(d *Device, a arp) {
	switch {
	case a.sha.IsMulticast() || a.spa.IsMulticast() || a.tpa.IsMulticast() || a.tpa.IsLoopback() && !d.conf.on(confRouteLocalnet):
		d.point.Count(DropBadARP)
		return
	case a.spa == a.tpa && d.conf.on(confDropGratuitous):
		return
	case a.spa.IsUnspecified(): // duplicate address detection (RFC 5227 §2.1.1)
		if a.op == arpRequest && h.isLocal(a.tpa) && !h.arpIgnored(d, a) {
			h.answerARP(d, a)
		}
		return
	case a.op == arpRequest && h.requestedARP(d, a):
		return
	}
	h.heardARP(d, a)
}

// requestedARP handles a request that is for this host: for an address of its
// own, or for one that it is proxy for. It reports false for the others, and
// for those whose sender could not be answered (ip_route_input refuses it).
func (h *Host) requestedARP(d *Device, a arp) bool {
	if h.martian(d, a.spa, a.tpa) != "" || h.spoofed(d, a.spa) {
		return false
	}
	if h.isLocal(a.tpa) {
		if !h.arpIgnored(d, a) && !h.arpFiltered(d, a) {
			h.neigh.learn(d, a.spa, a.sha, heard{request: true})
			h.answerARP(d, a)
		}
		return true
	}
	if !d.conf.on(confForwarding) || !h.proxies(d, a) {
		return false
	}
	h.neigh.learn(d, a.spa, a.sha, heard{request: true})
	if a.unicast || a.queued || d.conf[neighProxyDelay] == 0 {
		h.answerARP(d, a)
	} else {
		h.delayARP(d, a)
	}
	return true
}

// proxies reports whether the host answers for an address that is not its own:
// with proxy_arp if it would forward there by another device, with
// proxy_arp_pvlan by the same one.
func (h *Host) proxies(d *Device, a arp) bool {
	if h.broadcast.get(a.tpa) != nil || isLimitedBroadcast(a.tpa) {
		return false
	}
	r := h.routes.lookup(a.tpa)
	switch {
	case r == nil || r.Type != Unicast:
		return false
	case r.Dev != d:
		return d.conf.on(confProxyARP)
	}
	return d.conf.on(confProxyARPPrivate) && a.spa != a.tpa
}

// delayARP answers after a random time of up to proxy_delay, so that of several
// proxies not all answer at once (pneigh_enqueue). More than proxy_qlen do not
// wait.
func (h *Host) delayARP(d *Device, a arp) {
	if d.proxied >= int(d.conf[neighProxyQueue]) {
		d.point.Count(DropNeighQueue)
		return
	}
	d.proxied++
	most := int64(d.conf[neighProxyDelay]) * int64(jiffy)
	a.queued = true
	h.drv.AfterFunc(h.source, time.Duration(h.neigh.rng.Int64N(most)), func() {
		d.proxied--
		if d.up {
			h.processARP(d, a)
		}
	})
}

// jiffy is the unit of locktime and proxy_delay in /proc: USER_HZ is 100.
const jiffy = 10 * time.Millisecond

// arpIgnored is arp_ignore: 1 answers only for addresses of this device, 2 only
// if the sender is in its subnet too, 3 not for addresses of scope host, 8
// never.
func (h *Host) arpIgnored(d *Device, a arp) bool {
	own := func(p netip.Prefix) bool { return p.Addr() == a.tpa }
	switch d.conf[confARPIgnore] {
	case 1:
		return !slices.ContainsFunc(d.addrs, own)
	case 2:
		return !slices.ContainsFunc(d.addrs, func(p netip.Prefix) bool { return own(p) && p.Contains(a.spa) })
	case 3:
		return a.tpa.IsLoopback()
	case 8:
		return true
	}
	return false
}

// arpFiltered is arp_filter: answer only by the device that packets to the
// sender would leave by.
func (h *Host) arpFiltered(d *Device, a arp) bool {
	if !d.conf.on(confARPFilter) {
		return false
	}
	_, out, ok := h.Source(a.spa)
	return !ok || out != d
}

func (h *Host) answerARP(d *Device, a arp) {
	h.sendARP(d, arpReply, a.sha, d.MAC, a.tpa, a.sha, a.spa)
}

// heardARP takes what an ARP packet for somebody else, an answer or an
// announcement says about its sender.
func (h *Host) heardARP(d *Device, a arp) {
	if h.isLocal(a.spa) {
		if a.sha != d.MAC { // a hairpin port sends our own broadcasts back
			d.point.Count("address conflict")
		}
		return
	}
	gratuitous := a.spa == a.tpa && (a.op == arpRequest || a.tha == a.sha) && h.AddrType(a.spa, "") == netfilter.TypeUnicast
	accept := d.conf[confARPAccept]
	if accept == 2 && !d.onLink(a.spa, netip.Addr{}) {
		accept = 0
	}
	h.neigh.learn(d, a.spa, a.sha, heard{
		answer:   a.op == arpReply && a.unicast,
		override: gratuitous,
		create:   accept > 0 && (gratuitous || a.op == arpReply && h.AddrType(a.spa, "") == netfilter.TypeUnicast),
		onlyNews: true,
	})
}
