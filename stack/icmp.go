package stack

import (
	"encoding/binary"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// ICMP types and codes (RFC 792).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpRedirect     = 5
	icmpEcho         = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12

	codeNet        = 0
	codeHost       = 1
	codeProtocol   = 2
	codePort       = 3
	codeFragNeeded = 4
	codeProhibited = 13

	icmpHeader = 8
	// errorSize is the largest ICMP error in bytes, IP header included: what
	// every host must be able to receive (RFC 1812 §4.3.2.3).
	errorSize = 576
)

// isICMPError reports whether a type is an error about another packet.
func isICMPError(typ byte) bool {
	switch typ {
	case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameter:
		return true
	}
	return false
}

// icmpState limits the ICMP messages that a host sends, as the kernel does: per
// destination (icmp_ratelimit with a burst of 6) and in total (icmp_msgs_per_sec
// and icmp_msgs_burst), of the types in icmp_ratemask.
type icmpState struct {
	peers  map[netip.Addr]*tokenBucket
	global tokenBucket
}

// tokenBucket counts what may still be sent, in time: one token per period.
type tokenBucket struct {
	tokens, last time.Duration
	used         bool
}

const (
	peerBurst = 6 // XRLIM_BURST_FACTOR
	maxPeers  = 4096
)

func (s *icmpState) init() { s.peers = make(map[netip.Addr]*tokenBucket) }

// take removes a token if there is one.
func (b *tokenBucket) take(now, period time.Duration, burst int) bool {
	full := time.Duration(burst) * period
	if !b.used {
		b.used, b.tokens = true, full
	} else {
		b.tokens = min(full, b.tokens+now-b.last)
	}
	b.last = now
	if b.tokens < period {
		return false
	}
	b.tokens -= period
	return true
}

// allowICMP reports whether a message may be sent to dst by out now
// (icmpv4_global_allow, icmpv4_xrlim_allow). "Fragmentation needed" and what
// goes to the host itself always may.
func (h *Host) allowICMP(typ, code byte, dst netip.Addr, out *Device) bool {
	limited := typ < 32 && h.cfg.param(icmpRateMask)>>typ&1 == 1
	if !limited || out.loopback || typ == icmpUnreachable && code == codeFragNeeded {
		return true
	}
	rate := h.cfg.param(icmpPerSecond)
	if rate == 0 || !h.icmp.global.take(h.now(), time.Second/time.Duration(rate), h.cfg.param(icmpBurst)) {
		return false
	}
	period := time.Duration(h.cfg.param(icmpRateLimit)) * time.Millisecond
	return h.icmp.peer(h.now(), dst, period).take(h.now(), period, peerBurst)
}

// peer returns the bucket of a destination.
func (s *icmpState) peer(now time.Duration, dst netip.Addr, period time.Duration) *tokenBucket {
	b := s.peers[dst]
	if b == nil {
		if len(s.peers) >= maxPeers {
			s.forget(now, period)
		}
		b = &tokenBucket{}
		s.peers[dst] = b
	}
	return b
}

// forget drops the peers whose buckets are full again: they lose nothing.
func (s *icmpState) forget(now, period time.Duration) {
	for a, b := range s.peers {
		if now-b.last >= peerBurst*period {
			delete(s.peers, a)
		}
	}
	if len(s.peers) >= maxPeers {
		clear(s.peers) // a flood of forged sources: better to forget than to grow
	}
}

// sendError answers p with an ICMP error (icmp_send). It does not end p. There
// are no errors about errors, groups, broadcasts or later fragments (RFC 1122
// §3.2.2).
func (h *Host) sendError(p *packet, typ, code byte, info uint32) {
	ip := p.ip()
	src, dst := ip.src(), ip.dst()
	if p.group || ip.later() || src.IsMulticast() || src.IsUnspecified() || isLimitedBroadcast(src) ||
		dst.IsMulticast() || isLimitedBroadcast(dst) || h.broadcast.get(src) != nil || h.broadcast.get(dst) != nil && h.local.get(dst) == nil {
		return
	}
	if ip.proto() == protoICMP {
		if l4 := ip.payload(); len(l4) == 0 || isICMPError(l4[0]) {
			return
		}
	}
	from, out, ok := h.Source(src)
	if !ok {
		return
	}
	if h.isLocal(dst) {
		from = dst
	}
	if !h.allowICMP(typ, code, src, out) {
		return
	}
	quote := min(len(ip), errorSize-ipv4MinHeader-icmpHeader)
	f := h.newFrame(ipv4MinHeader + icmpHeader + quote)
	b := f.Bytes()
	ipHeader{
		tos: ip.tos()&0x1e | 0xc0, // precedence: internetwork control (RFC 1812 §5.3.2)
		id:  h.nextID(from, src, protoICMP), ttl: h.ttl(), proto: protoICMP, src: from, dst: src,
	}.put(b, len(b))
	putICMP(b[ipv4MinHeader:], typ, code, info, ip[:quote])
	e := packet{frame: f, mark: p.mark}
	if p.tracked {
		e.conn = p.conn.Related()
		e.tracked = e.conn.Entry != nil
	}
	h.sendLocal(&e)
}

// putICMP writes an ICMP message: header, four bytes of info, body.
func putICMP(b []byte, typ, code byte, info uint32, body []byte) {
	b[0], b[1], b[2], b[3] = typ, code, 0, 0
	binary.BigEndian.PutUint32(b[4:], info)
	copy(b[icmpHeader:], body)
	binary.BigEndian.PutUint16(b[2:], ^checksum.Checksum(b, 0))
}

// receiveICMP handles ICMP for this host. It owns p.
func (h *Host) receiveICMP(p *packet) {
	ip := p.ip()
	msg := ip.payload()
	switch {
	case len(msg) < icmpHeader:
		h.drop(p, DropBadHeader)
		return
	case !p.sumOK():
		h.drop(p, DropChecksum)
		return
	}
	switch typ := msg[0]; {
	case typ == icmpEcho:
		h.echo(p)
	case typ == icmpEchoReply:
		if !h.probed(p, protoICMP, msg[4:]) {
			h.pingReply(p)
		}
	case isICMPError(typ):
		h.receiveError(p)
	default:
		h.drop(p, DropNoSocket)
	}
}

// echo answers an echo request: TOS as in the request, DF clear, an
// identification of its own. Broadcasts are answered if the configuration says
// so, from the address of the device (fib_compute_spec_dst).
func (h *Host) echo(p *packet) {
	ip := p.ip()
	src, dst := ip.src(), ip.dst()
	if h.cfg.EchoBroadcasts && p.in != nil && (isLimitedBroadcast(dst) || h.broadcast.get(dst) != nil) {
		dst = h.sourceFor(p.in, src)
	}
	if !h.isLocal(dst) || src.IsUnspecified() {
		h.drop(p, DropNoSocket)
		return
	}
	if _, out, ok := h.Source(src); ok && !h.allowICMP(icmpEchoReply, 0, src, out) {
		p.frame.Release()
		return
	}
	if h.cfg.OnEcho != nil {
		h.cfg.OnEcho(src)
	}
	body := ip.payload()[icmpHeader:]
	f := h.newFrame(ipv4MinHeader + icmpHeader + len(body))
	b := f.Bytes()
	ipHeader{
		tos: ip.tos(), id: h.nextID(dst, src, protoICMP), ttl: h.ttl(), proto: protoICMP, src: dst, dst: src,
	}.put(b, len(b))
	putICMP(b[ipv4MinHeader:], icmpEchoReply, 0, binary.BigEndian.Uint32(ip.payload()[4:]), body)
	p.frame.Release()
	h.sendLocal(&packet{frame: f})
}

// receiveError tells the socket whose packet an error is about.
func (h *Host) receiveError(p *packet) {
	quoted := ipv4(p.ip().payload()[icmpHeader:])
	if len(quoted) < ipv4MinHeader || quoted.headerLen() < ipv4MinHeader || len(quoted) < quoted.headerLen()+8 {
		h.drop(p, DropBadHeader)
		return
	}
	if msg := p.ip().payload(); msg[0] == icmpUnreachable && msg[1] == codeFragNeeded && h.owns(quoted) {
		h.learnPathMTU(quoted, int(binary.BigEndian.Uint16(msg[6:])))
	}
	if msg := p.ip().payload(); msg[0] == icmpRedirect {
		h.heardRedirect(p.ip().src(), msg[1], netip.AddrFrom4([4]byte(msg[4:8])), quoted)
		p.frame.Release()
		return
	}
	about := quoted.payload()
	if quoted.proto() == protoICMP {
		about = about[4:] // identifier and sequence number are in the place of ports
	}
	if h.probed(p, quoted.proto(), about) {
		return
	}
	switch {
	case quoted.proto() == protoICMP:
		h.pingError(p, quoted)
	case h.protocols[quoted.proto()] != nil, h.tunnelled(quoted):
		p.frame.Release() // a tunnel learns the MTU and nothing else
	case quoted.proto() == protoUDP:
		h.sockets.datagramError(p.ip().payload(), quoted)
		p.frame.Release()
	default:
		h.sockets.injectError(p)
	}
}
