package stack

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// What Linux believes about path MTUs: the defaults of
// net.ipv4.route.mtu_expires and min_pmtu.
const (
	pathMTUExpires = 10 * time.Minute
	minPathMTU     = 552
	maxPathMTUs    = 4096
)

// pathMTUs are the route exceptions that routers on the way have caused: the
// largest packet that reaches an address (RFC 1191 §3). The zero value is
// empty.
type pathMTUs map[netip.Addr]pathMTU

type pathMTU struct {
	mtu     int
	expires time.Duration

	// lock says that a router named less than min_pmtu. It cannot be believed
	// and the path may be narrower still, so what is sent has DF clear.
	lock bool
}

// PathMTU returns the largest IP packet that this host may send to dst in one
// piece, as `ip route get` shows it: what a router has said within the last ten
// minutes (net.ipv4.route.mtu_expires), else the MTU of the device, 65535 at
// most. Zero says that there is no route. Packets that the host forwards ask
// only if net.ipv4.ip_forward_use_pmtu says so, or the path MTU is locked.
func (h *Host) PathMTU(dst netip.Addr) int {
	_, dev, ok := h.Source(dst)
	if !ok {
		return 0
	}
	return h.pathMTU(dst, dev.MTU)
}

func (h *Host) pathMTU(dst netip.Addr, device int) int {
	if e, ok := h.pathException(dst); ok && e.mtu < device {
		return e.mtu
	}
	return min(device, maxPacket)
}

// pathException returns what a router has said about the path to dst.
func (h *Host) pathException(dst netip.Addr) (pathMTU, bool) {
	e, ok := h.pathMTUs[dst]
	return e, ok && e.expires > h.now()
}

// A PathException is what a router has said about the way to one destination,
// as `ip route get` shows it behind "cache".
type PathException struct {
	MTU        int           // 0 if no router has named one
	Lock       bool          // MTU is min_pmtu, because a router named less: DF is clear
	Redirected bool          // a router has named another next hop
	Expires    time.Duration // how much longer it is believed
}

// PathException returns what routers have said about the way to dst and ok, or
// false if they have said nothing or it has expired.
func (h *Host) PathException(dst netip.Addr) (x PathException, ok bool) {
	if r := h.routes.lookup(dst); r != nil && r.Type == Unicast && !h.isLocal(dst) {
		if e, heard := h.redirectOf(r, dst); heard {
			x.Redirected, x.Expires, ok = true, e.expires-h.now(), true
		}
	}
	if e, heard := h.pathException(dst); heard {
		x.MTU, x.Lock, x.Expires, ok = e.mtu, e.lock, e.expires-h.now(), true
	}
	return x, ok
}

// pathLocked reports whether packets to dst have DF clear whatever their size
// (ip_dont_fragment).
func (h *Host) pathLocked(dst netip.Addr) bool {
	e, ok := h.pathException(dst)
	return ok && e.lock
}

// datagramFlags is DF for a datagram of a UDP socket that fits the path, and no
// flag for one that must be cut (IP_PMTUDISC_WANT, __ip_make_skb).
func (h *Host) datagramFlags(ip ipv4) uint16 {
	device := h.lo
	if _, d, ok := h.Source(ip.dst()); ok {
		device = d
	}
	if len(ip) > h.pathMTU(ip.dst(), device.MTU) || h.pathLocked(ip.dst()) {
		return 0
	}
	return flagDF
}

// forwardMTU is what a packet that is forwarded to dst by d must fit
// (ip_dst_mtu_maybe_forward).
func (h *Host) forwardMTU(dst netip.Addr, d *Device) int {
	if h.cfg.param(ipForwardPMTU) != 0 || h.pathLocked(dst) {
		return h.pathMTU(dst, d.MTU)
	}
	return d.MTU
}

// outputMTU is what p must fit on its way out. TCP is not asked: tooBig has told
// gVisor how to cut its segments.
func (h *Host) outputMTU(p *packet) int {
	ip := p.ip()
	switch {
	case p.probe || len(h.pathMTUs) == 0:
		return p.out.MTU
	case p.in != nil:
		return h.forwardMTU(ip.dst(), p.out)
	case ip.proto() == protoTCP:
		return p.out.MTU
	}
	return h.pathMTU(ip.dst(), p.out.MTU)
}

// learnPathMTU takes "fragmentation needed" about a packet that a socket or
// tunnel of this host has sent (__ip_rt_update_pmtu). An MTU below min_pmtu, 0
// included (a router from before RFC 1191), locks the path at min_pmtu until it
// expires. The same again is news only in the second half of its life.
func (h *Host) learnPathMTU(quoted ipv4, mtu int) {
	dst := quoted.dst()
	_, dev, ok := h.Source(dst)
	if !ok || !h.isLocal(quoted.src()) || h.pathLocked(dst) {
		return
	}
	old, least := h.pathMTU(dst, dev.MTU), h.cfg.param(ipMinPathMTU)
	life := time.Duration(h.cfg.param(ipPathMTUExpires)) * time.Second
	e, lock := h.pathMTUs[dst], mtu < least
	if lock {
		mtu = min(old, least)
	}
	if !lock && (mtu > old || mtu >= dev.MTU || mtu == e.mtu && h.now() < e.expires-life/2) {
		return
	}
	if h.pathMTUs == nil {
		h.pathMTUs = make(pathMTUs)
	}
	if len(h.pathMTUs) >= maxPathMTUs {
		clear(h.pathMTUs) // forged errors: better to forget than to grow
	}
	h.pathMTUs[dst] = pathMTU{mtu, h.now() + life, lock}
}

// FlushPathMTUs forgets what routers have said of MTUs, as `ip route flush
// cache` does.
func (h *Host) FlushPathMTUs() { clear(h.pathMTUs) }

// tunnelled reports whether a quoted packet is one that a UDP tunnel of this
// host has sent: its destination port is the tunnel's own.
func (h *Host) tunnelled(quoted ipv4) bool {
	if quoted.proto() != protoUDP {
		return false
	}
	_, dst, ok := quoted.ports()
	return ok && h.tunnels[dst] != nil
}

// tooBig tells gVisor that a TCP segment is larger than what reaches its
// destination, as a router would, and drops the segment: Linux asks the route
// for every segment, gVisor only hears of errors about its own connections. A
// SYN announces no more than fits.
func (n *netstack) tooBig(p *packet) bool {
	ip, h := p.ip(), n.host
	if len(h.pathMTUs) == 0 || ip.proto() != protoTCP {
		return false
	}
	_, dev, ok := h.Source(ip.dst())
	if !ok {
		return false
	}
	mtu := h.pathMTU(ip.dst(), dev.MTU)
	seg := ip.payload()
	if seg[13]&tcpSYN != 0 && mtu > mssHeaders {
		if at := mssAt(seg[:min(int(seg[12]>>4)*4, len(seg))]); at > 0 && int(binary.BigEndian.Uint16(seg[at+2:])) > mtu-mssHeaders {
			putWord(seg, at+2, uint16(mtu-mssHeaders))
		}
	}
	if len(ip) <= mtu {
		return false
	}
	quote := ip[:ip.headerLen()+8]
	f := h.newFrame(ipv4MinHeader + icmpHeader + len(quote))
	ipHeader{ttl: defaultTTL, proto: protoICMP, src: ip.src(), dst: ip.src()}.put(f.Bytes(), f.Len())
	putICMP(f.Bytes()[ipv4MinHeader:], icmpUnreachable, codeFragNeeded, uint32(mtu), quote)
	p.frame.Release()
	h.drv.Soon(func() { n.injectError(&packet{frame: f, in: h.lo}) })
	return true
}
