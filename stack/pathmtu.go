package stack

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// What Linux believes about path MTUs (net.ipv4.route.*).
const (
	pathMTUExpires = 10 * time.Minute // mtu_expires
	minPathMTU     = 552              // min_pmtu
	maxPathMTUs    = 4096
)

// pathMTUs are the route exceptions that routers on the way have caused: the
// largest packet that reaches an address (RFC 1191 §3). The zero value is
// empty.
type pathMTUs map[netip.Addr]pathMTU

type pathMTU struct {
	mtu     int
	expires time.Duration
}

// PathMTU returns the largest IP packet that this host may send to dst in one
// piece, as `ip route get` shows it: what a router has said within the last ten
// minutes, else the MTU of the device. Zero says that there is no route.
// Packets that the host forwards do not ask (ip_forward_use_pmtu=0).
func (h *Host) PathMTU(dst netip.Addr) int {
	_, dev, ok := h.Source(dst)
	if !ok {
		return 0
	}
	return h.pathMTU(dst, dev.MTU)
}

func (h *Host) pathMTU(dst netip.Addr, device int) int {
	if e, ok := h.pathMTUs[dst]; ok && e.expires > h.now() && e.mtu < device {
		return e.mtu
	}
	return device
}

// outputMTU is what p must fit on its way out. TCP is not asked: tooBig has told
// gVisor how to cut its segments.
func (h *Host) outputMTU(p *packet) int {
	ip := p.ip()
	if p.in != nil || p.probe || len(h.pathMTUs) == 0 || ip.proto() == protoTCP {
		return p.out.MTU
	}
	return h.pathMTU(ip.dst(), p.out.MTU)
}

// learnPathMTU takes "fragmentation needed" about a packet that a socket or
// tunnel of this host has sent (__ip_rt_update_pmtu). Of an MTU below 552
// the kernel thinks that someone means harm; a router that names none is too old
// to be about (RFC 1191 §5). The same again is news only in the second half of
// its life.
func (h *Host) learnPathMTU(quoted ipv4, mtu int) {
	dst := quoted.dst()
	if !h.isLocal(quoted.src()) || mtu == 0 {
		return
	}
	_, dev, ok := h.Source(dst)
	old := 0
	if ok {
		old = h.pathMTU(dst, dev.MTU)
	}
	e := h.pathMTUs[dst]
	if mtu < minPathMTU {
		mtu = min(old, minPathMTU)
	}
	if !ok || mtu > old || mtu >= dev.MTU || mtu == e.mtu && h.now() < e.expires-pathMTUExpires/2 {
		return
	}
	if h.pathMTUs == nil {
		h.pathMTUs = make(pathMTUs)
	}
	if len(h.pathMTUs) >= maxPathMTUs {
		clear(h.pathMTUs) // forged errors: better to forget than to grow
	}
	h.pathMTUs[dst] = pathMTU{mtu, h.now() + pathMTUExpires}
}

// FlushPathMTUs forgets what routers have said, as `ip route flush cache` does.
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
