package stack

import (
	"net/netip"
	"time"
)

// How redirects are sent and believed (net/ipv4/route.c of the kernel with
// HZ=100 and its defaults).
const (
	redirectLoad    = 20 * time.Millisecond // ip_rt_redirect_load: doubles with every redirect
	redirectNumber  = 9                     // ip_rt_redirect_number: a peer that ignores so many gets no more
	redirectSilence = redirectLoad << (redirectNumber + 1)
	redirectExpires = 5 * time.Minute // ip_rt_gc_timeout: how long one is followed
	maxRedirects    = 4096
)

// A redirect is a next hop that a router has named for one destination.
type redirect struct {
	from, via netip.Addr // the router, and the next hop instead of it
	dev       *Device
	expires   time.Duration
}

// redirected is what a router remembers of a host that takes the long way.
type redirected struct {
	sent int
	last time.Duration
}

// redirects are those that were believed, by destination, and those that were
// sent, by source. The zero value is empty.
type redirects struct {
	heard map[netip.Addr]redirect
	told  map[netip.Addr]*redirected
}

// wantsRedirect reports whether the sender of a packet that leaves by the
// device it came in by should have sent it to the next hop itself
// (__mkroute_input): the sender must be on the link.
func (h *Host) wantsRedirect(p *packet) bool {
	if p.out != p.in || !p.in.conf.on(confSendRedirects) || p.bridged != nil {
		return false
	}
	src := p.ip().src()
	back := h.routes.lookup(src)
	if back == nil || back.Type != Unicast || back.Dev != p.in || back.Via.IsValid() {
		return false
	}
	gateway := p.via
	if gateway == p.ip().dst() {
		gateway = netip.Addr{}
	}
	return p.in.conf.on(confSharedMedia) || p.out.onLink(src, gateway)
}

// sendRedirect tells the sender of p to use its next hop, less and less often
// (ip_rt_send_redirect).
func (h *Host) sendRedirect(p *packet) {
	src, now := p.ip().src(), h.now()
	t := h.redirects.told[src]
	if t == nil {
		if len(h.redirects.told) >= maxRedirects {
			clear(h.redirects.told)
		}
		if h.redirects.told == nil {
			h.redirects.told = make(map[netip.Addr]*redirected)
		}
		t = &redirected{}
		h.redirects.told[src] = t
	}
	if now > t.last+redirectSilence {
		t.sent = 0
	}
	switch {
	case t.sent >= redirectNumber:
		t.last = now
	case t.sent == 0 || now > t.last+redirectLoad<<t.sent:
		h.sendError(p, icmpRedirect, codeHost, key4(p.via))
		t.sent, t.last = t.sent+1, now
	}
}

// heardRedirect is what a host does with a redirect about a packet of its own
// (__ip_do_redirect): it believes the router that it uses for the destination,
// if accept_redirects says so and the new next hop is on the link. The next hop
// must be known; if not, it is asked for, and the next redirect counts.
func (h *Host) heardRedirect(from netip.Addr, code byte, via netip.Addr, quoted ipv4) {
	dst := quoted.dst()
	r := h.routes.lookup(dst)
	if code > 3 || r == nil || r.Type != Unicast || !h.isLocal(quoted.src()) || !h.owns(quoted) {
		return
	}
	used := h.nextHop(r, dst)
	d := r.Dev
	if used != from || via == from || !d.conf.on(confAcceptRedirects) || via.IsMulticast() || isLimitedBroadcast(via) || isZeroNet(via) {
		return
	}
	if d.conf.on(confSharedMedia) {
		if h.isLocal(via) || h.broadcast.get(via) != nil {
			return
		}
	} else if !d.onLink(via, from) || d.conf.on(confSecureRedirects) && !h.isDefaultRouter(via, d) {
		return
	}
	n := h.neigh.get(d, via)
	if n == nil {
		return
	}
	if !n.known() {
		h.neigh.ask(n)
		return
	}
	if h.redirects.heard == nil {
		h.redirects.heard = make(map[netip.Addr]redirect)
	}
	if len(h.redirects.heard) >= maxRedirects {
		clear(h.redirects.heard)
	}
	h.redirects.heard[dst] = redirect{from: r.Via, via: via, dev: d, expires: h.now() + redirectExpires}
}

// isDefaultRouter reports whether a default route leads by via (ip_fib_check_default).
func (h *Host) isDefaultRouter(via netip.Addr, d *Device) bool {
	for _, r := range h.routes.all() {
		if r.Dst.Bits() == 0 && r.Via == via && r.Dev == d {
			return true
		}
	}
	return false
}

// nextHop is where a packet to dst goes by route r: where a router has said, or
// the route's next hop. It is not valid for a destination on the link.
func (h *Host) nextHop(r *Route, dst netip.Addr) netip.Addr {
	if e, ok := h.redirectOf(r, dst); ok {
		return e.via
	}
	return r.Via
}

// NextHop returns the gateway that a packet of this host to dst is sent to, also
// one that a router has named in a redirect. It is not valid if dst is on the
// link or there is no route.
func (h *Host) NextHop(dst netip.Addr) netip.Addr {
	if r := h.routes.lookup(dst); r != nil && r.Type == Unicast && !h.isLocal(dst) && !h.isBroadcast(dst) {
		return h.nextHop(r, dst)
	}
	return netip.Addr{}
}

// redirectOf returns what the router of r has said about dst.
func (h *Host) redirectOf(r *Route, dst netip.Addr) (redirect, bool) {
	e, ok := h.redirects.heard[dst]
	return e, ok && e.dev == r.Dev && e.from == r.Via && e.expires > h.now()
}

// owns reports whether a quoted packet is one that this host may have sent: a
// socket, a ping or a tunnel of that kind exists.
func (h *Host) owns(quoted ipv4) bool {
	switch quoted.proto() {
	case protoICMP:
		return true // receiveError asks for the ping itself
	case protoTCP, protoUDP:
		return h.tunnelled(quoted) || h.sockets.sent(quoted)
	}
	return h.protocols[quoted.proto()] != nil
}
