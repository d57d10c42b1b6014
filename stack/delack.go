package stack

import (
	"encoding/binary"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/podwire/podwire/link"
)

// acks decides when a connection acknowledges what has come in. gVisor does so at
// once. Linux does at first, and wherever something is missing; later it waits for a
// second full segment, for data that the acknowledgement can go with, or for 40 ms
// and more (struct inet_connection_sock's icsk_ack, tcp_event_data_recv,
// __tcp_ack_snd_check, tcp_send_delayed_ack, tcp_cleanup_rbuf). So an acknowledgement
// that gVisor has sent alone waits here, until its time or something that makes it
// needless comes.
type acks struct {
	began bool   // an acknowledgement was sent
	next  uint32 // what should come in next (rcv_nxt)
	sent  uint32 // what was last acknowledged (rcv_wup)
	gap   bool   // what came in lately is not all in order

	scheduled bool // something has come in since
	now       bool // and must be acknowledged at once
	small     int  // so many segments were smaller than the others (ICSK_ACK_PUSHED)

	mss   uint32        // size of the peer's segments, as far as they were seen (rcv_mss)
	size  uint32        // of the last segment that might tell it (last_seg_size)
	quick int           // so many acknowledgements are still sent at once
	chat  bool          // ping-pong mode: what comes in is answered with data
	ato   time.Duration // how long to wait; 0 before the first data
	heard time.Duration // when data came in last

	syn time.Duration // when our SYN was sent
	rtt time.Duration // from then to the first answer

	fin struct {
		heard  bool   // the peer's has come in,
		seq    uint32 // and makes this the acknowledgement number
		closed bool   // our application has closed the connection
		alone  bool   // it had, and the peer had acknowledged that, when the FIN came in
		sent   bool   // our own was sent
	}

	frame *link.Frame // waits
	due   time.Duration
	timer *link.Timer
}

// Names and values of the kernel (include/net/tcp.h).
const (
	delackMin  = 40 * time.Millisecond // TCP_DELACK_MIN, TCP_ATO_MIN
	delackMax  = 200 * time.Millisecond
	tick       = 4 * time.Millisecond // of a kernel with HZ = 250: no timer is up earlier
	atoMax     = 500 * time.Millisecond
	maxQuick   = 16  // TCP_MAX_QUICKACKS
	mssDefault = 536 // TCP_MSS_DEFAULT
	mssMin     = 88  // TCP_MIN_MSS
)

// begin starts with the SYN or SYN-ACK of a connection.
func (a *acks) begin(n *netstack, seg []byte, w *rcvWindow) {
	a.drop(n)
	*a = acks{timer: a.timer, syn: n.host.now()}
	a.mss = max(mssMin, min(mssDefault, w.mss, w.unscaled/2)) // tcp_initialize_rcv_mss
	if seg[13]&tcpACK != 0 {
		a.began, a.next = true, binary.BigEndian.Uint32(seg[8:])
		a.sent = a.next
	}
}

// heardSegment takes note of a segment for an endpoint.
func (n *netstack) heardSegment(ep stack.TransportEndpoint, ip ipv4) {
	seg := ip.payload()
	seq, size := binary.BigEndian.Uint32(seg[4:]), uint32(len(seg)-int(seg[12]>>4)*4)
	fin := seg[13]&tcpFIN != 0
	f := n.answered(ip)
	if f == nil || !f.acks.began {
		return
	}
	a := &f.acks
	e, _ := ep.(*tcp.Endpoint)
	if e != nil && e.EndpointState() == tcp.StateSynRecv {
		a.rtt = n.host.now() - a.syn
	}
	if size == 0 && !fin {
		f.window.admit(seg)
		return
	}
	end := seq + size
	if fin {
		end++
	}
	a.scheduled = true
	switch {
	case int32(end-a.next) <= 0:
		a.hurry(&f.window) // it has come in before: the acknowledgement was lost
		a.now = true
	case int32(seq-a.next) > 0:
		a.gap = true
	default:
		a.next = end
		if size > 0 {
			a.measure(seg, size, &f.window)
			a.received(n.host.now(), &f.window)
		}
		if fin && !a.fin.heard {
			a.fin.heard, a.fin.seq = true, end
			a.fin.alone = e != nil && a.fin.closed && e.EndpointState() == tcp.StateFinWait2
			a.chat = true
			a.now = a.now || a.fin.sent // no data can follow
		}
		a.now = a.now || a.quick > 0 && !a.chat
	}
}

// measure learns the size of the peer's segments (tcp_measure_rcv_mss).
func (a *acks) measure(seg []byte, size uint32, w *rcvWindow) {
	if size >= a.mss {
		w.large()
		a.mss = size
		if seg[13]&tcpPSH != 0 {
			a.small = max(a.small, 1)
		}
		return
	}
	if whole := uint32(len(seg)); whole >= mssDefault+20 || whole >= mssMin+20 && seg[13]&tcpPSH == 0 {
		last := a.size
		if a.size = size; size == last {
			a.mss = size
			return
		}
	}
	a.small++
}

// received adapts to the pace of the data (tcp_event_data_recv).
func (a *acks) received(now time.Duration, w *rcvWindow) {
	since := now - a.heard
	a.heard = now
	switch {
	case a.ato == 0:
		a.hasten(w)
		a.ato = delackMin
	case since <= delackMin/2:
		a.ato = a.ato/2 + delackMin/2
	case since < a.ato:
		a.ato = min(a.ato/2+since, a.rto())
	case since > a.rto():
		a.hasten(w) // the peer begins anew, with a small window
	}
}

// hasten makes the next acknowledgements quick (tcp_incr_quickack).
func (a *acks) hasten(w *rcvWindow) {
	n := maxQuick
	if a.mss > 0 {
		n = min(maxQuick, int(w.last/(2*a.mss)))
	}
	a.quick = max(a.quick, n, 2)
}

// hurry is hasten, also in a conversation (tcp_enter_quickack_mode).
func (a *acks) hurry(w *rcvWindow) {
	a.hasten(w)
	a.chat, a.ato = false, delackMin
}

// rto is the retransmission timeout of the connection, as the handshake lets expect
// it (tcp_rtt_estimator with one sample).
func (a *acks) rto() time.Duration { return a.rtt + max(2*a.rtt, minVariance) }

// leaves takes note of an application that closes a connection.
func (n *netstack) leaves(ep tcpip.Endpoint) {
	if f := n.flowFrom(ep); f != nil {
		f.acks.fin.closed = true
	}
}

// flowFrom returns what is known about an endpoint's packets, or nil.
func (n *netstack) flowFrom(ep tcpip.Endpoint) *flow {
	local, err := ep.GetLocalAddress()
	remote, err2 := ep.GetRemoteAddress()
	if err != nil || err2 != nil || local.Addr.Len() != 4 || remote.Addr.Len() != 4 {
		return nil
	}
	return n.flows[flowKey{src: local.Addr.As4(), dst: remote.Addr.As4(), sport: local.Port, dport: remote.Port, proto: protoTCP}]
}

// holdsBack reports whether a packet of the flow is an acknowledgement that is to
// wait; then it owns it. Any other segment takes the place of one that waits.
func (f *flow) holdsBack(n *netstack, p *packet) bool {
	ip := p.ip()
	if ip.proto() != protoTCP || len(ip) < ip.headerLen()+20 {
		return false
	}
	a, seg := &f.acks, ip.payload()
	if flags := seg[13]; flags != tcpACK || len(seg) > int(seg[12]>>4)*4 || !a.began {
		return false
	}
	ack, own := binary.BigEndian.Uint32(seg[8:]), binary.BigEndian.Uint16(seg[14:])
	f.grow(ack, own)
	missing := a.gap || int32(ack-a.next) > 0
	if a.gap = hasSACK(seg); a.gap || missing {
		if int32(ack-a.next) > 0 {
			a.next = ack
		}
		return false // something is missing, or was until now (RFC 5681 §4.2)
	}
	before := a.sent
	if a.frame != nil {
		before = binary.BigEndian.Uint32(ipv4(a.frame.Bytes()).payload()[8:])
	}
	if int32(ack-before) <= 0 || !a.scheduled || a.now || a.quick > 0 && !a.chat {
		return false
	}
	if ack-a.sent > a.mss && (f.window.opens(ack, own) || !n.host.drv.Virtual()) {
		return false // in real time it may have been read meanwhile, whatever gVisor's window was
	}
	if !f.delay(n, p.frame) {
		return false
	}
	if !n.host.drv.Virtual() {
		n.mayBeRead(f, ip)
	}
	return true
}

// mayBeRead sends an acknowledgement that has begun to wait if the application was
// faster. In real time gVisor wakes it before the host sees the acknowledgement; who
// reads later finds that one waits.
func (n *netstack) mayBeRead(f *flow, ip ipv4) {
	ep, _ := n.endpoint(keyOf(ip), 0).(tcpip.Endpoint)
	if ep != nil && ep.Readiness(waiter.EventIn) == 0 {
		f.wasRead(n, func() bool { return true })
	}
}

// grow lets the window grow with what an acknowledgement tells to have come in. The
// peer is told at once (tcp_grow_window).
func (f *flow) grow(ack uint32, own uint16) {
	if f.window.hear(ack, own) {
		f.acks.quick |= 1
	}
}

// delay keeps an acknowledgement until its time (tcp_send_delayed_ack), unless that
// has nearly come.
func (f *flow) delay(n *netstack, ack *link.Frame) bool {
	a, now := &f.acks, n.host.now()
	wait := a.ato
	if wait > delackMin {
		most := atoMax
		if a.chat || a.small > 0 {
			most = delackMax
		}
		wait = min(wait, most, max(a.rtt, delackMin))
	}
	due := now + min(max(wait, tick), delackMax)
	if a.frame != nil {
		if a.due <= now+wait/4 {
			return false
		}
		due = min(due, a.due)
		a.frame.Release()
	} else {
		n.held.Add(1)
	}
	a.frame, a.due = ack, due
	if a.timer == nil {
		a.timer = n.host.drv.AfterFunc(n.host.source, due-now, func() { f.late(n) })
	} else {
		a.timer.Reset(due - now)
	}
	return true
}

// late sends the acknowledgement that has waited for nothing (tcp_delack_timer_handler).
func (f *flow) late(n *netstack) {
	if a := &f.acks; a.chat {
		a.chat, a.ato = false, delackMin
	} else {
		a.ato = min(2*a.ato, a.rto())
	}
	f.release(n)
}

// release sends the acknowledgement that waits.
func (f *flow) release(n *netstack) {
	p := packet{frame: f.acks.frame, cut: true, socket: true}
	f.acks.frame = nil
	n.held.Add(-1)
	f.acks.timer.Stop()
	f.dress(n, p.ip(), p.frame)
	n.host.sendLocal(&p)
}

// read takes note of an application that has read from an endpoint: what waits for
// it is acknowledged if that was all, and somebody may wait for it (tcp_cleanup_rbuf).
func (n *netstack) read(ep tcpip.Endpoint) {
	if f := n.flowFrom(ep); f != nil {
		f.wasRead(n, func() bool { return ep.Readiness(waiter.EventIn) == 0 })
	}
}

func (f *flow) wasRead(n *netstack, all func() bool) {
	a := &f.acks
	if a.frame == nil {
		return
	}
	if a.next-a.sent > a.mss || (a.small > 1 || a.small == 1 && !a.chat) && all() {
		f.release(n)
	}
}

// sends takes note of a segment that leaves.
func (a *acks) sends(n *netstack, seg []byte) {
	a.drop(n)
	flags := seg[13]
	if flags&(tcpRST|tcpACK) != tcpACK {
		return
	}
	now, ack := n.host.now(), binary.BigEndian.Uint32(seg[8:])
	if !a.began {
		a.began, a.next, a.rtt = true, ack, now-a.syn
	}
	if a.quick > 0 && a.scheduled { // tcp_dec_quickack_mode
		if a.quick--; a.quick == 0 {
			a.ato = delackMin
		}
	}
	a.sent, a.scheduled, a.now, a.small = ack, false, false, 0
	a.fin.sent = a.fin.sent || flags&tcpFIN != 0
	if len(seg) > int(seg[12]>>4)*4 && now-a.heard < a.ato { // tcp_event_data_sent
		a.chat = true
	}
}

// drop takes back what waits.
func (a *acks) drop(n *netstack) {
	if a.frame != nil {
		n.held.Add(-1)
		a.timer.Stop()
		a.frame.Release()
		a.frame = nil
	}
}
