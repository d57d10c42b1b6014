package stack

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// rcvWindow is the receive window that a connection offers, by the rules of
// Linux (tcp_select_initial_window, __tcp_select_window, tcp_select_window):
// the free space, no more than a threshold that grows as data comes in, never
// less than what was offered before, rounded up to the scale. gVisor's own
// window is the free space, and bounds everything: it accepts no more. Its
// buffers are larger than tcp_rmem says, so that it offers as much (see
// windowSlack).
//
// One exception: gVisor's first window is 20 segments whatever the size of its
// buffer, and grows with the first data that it has acknowledged. A peer sends
// at most 10 segments before that (RFC 6928), so that Linux' first window can be
// offered from the start.
type rcvWindow struct {
	on       bool // a SYN of ours was seen: the rest is known
	began    bool // an acknowledgement was seen: the next two are known
	acked    uint32
	first    uint32 // where the window of a whole empty buffer ends
	edge     uint32 // the highest sequence number offered yet
	left     uint32 // bytes that may come in before gVisor must have grown its window
	scale    uint8
	mss      uint32
	room     uint32 // window of a whole empty buffer
	thresh   uint32 // rcv_ssthresh
	clamp    uint32 // how far that may grow (window_clamp), see large
	unscaled uint32 // of the SYN
	last     uint32 // the window that was offered last, in bytes (rcv_wnd)
	own      uint32 // the last one of gVisor's, in bytes; it begins at acked
}

// firstFlight is how many segments a peer sends at most before the first
// acknowledgement (RFC 6928 §2).
const firstFlight = 10

// windowSlack is how many bytes gVisor's buffer is larger than tcp_rmem says. Half
// as large again: gVisor takes every byte of window to cost two of buffer, and so
// does Linux at first, but once it has seen segments of some size it finds that
// three quarters of its buffer can be offered. And two units of the window's
// scale, to round up into.
func windowSlack(b Buffer) int {
	return b.Default/2 + 4<<tcp.FindWndScale(seqnum.Size(b.Max))
}

// windowOf begins the window of a connection with its SYN or SYN-ACK: the
// largest multiple of the segment size that half of the buffer and 16 bits hold,
// without room for the timestamp option in a SYN, with it in a SYN-ACK.
func (n *netstack) windowOf(seg []byte) rcvWindow {
	b := n.host.cfg.TCPReceive.withDefaults()
	w := rcvWindow{on: true, mss: uint32(mssOption(seg)), room: uint32(b.Default+windowSlack(b)) / 2}
	if v := tcpOption(seg, 3, 1); v != nil {
		w.scale = v[0]
	}
	unit := w.mss
	if seg[13]&tcpACK != 0 && tcpOption(seg, 8, 8) != nil {
		unit -= min(unit, 12)
	}
	w.unscaled = uint32(b.Default) / 2
	if unit > 0 && w.unscaled > unit {
		w.unscaled -= w.unscaled % unit
	}
	w.unscaled = min(w.unscaled, 65535)
	w.thresh, w.clamp = w.unscaled, uint32(b.Default)/2
	if seg[13]&tcpACK != 0 {
		w.begin(binary.BigEndian.Uint32(seg[8:]))
	}
	return w
}

// begin notes where the peer's data begins.
func (w *rcvWindow) begin(ack uint32) {
	w.began = true
	w.acked, w.first, w.edge = ack, ack+w.room, ack+w.unscaled
	w.left, w.last = firstFlight*w.mss, w.unscaled
}

// initial is the window of the SYN.
func (w *rcvWindow) initial() uint16 { return uint16(w.unscaled) }

// noScale is for a peer whose SYN-ACK does not know window scaling.
func (w *rcvWindow) noScale() { w.scale = 0 }

// offer returns the window of a segment that acknowledges ack, for which gVisor
// has written own.
func (w *rcvWindow) offer(ack uint32, own uint16) uint16 {
	if !w.on {
		return own
	}
	w.hear(ack, own)
	if own == 0 {
		w.last = 0
		return 0
	}
	limit := w.limit(ack, own)
	want := min(limit, w.thresh)
	if open := w.edge - ack; int32(open) > 0 {
		want = max(want, open)
	}
	unit := uint32(1) << w.scale
	window := min((want+unit-1)>>w.scale, limit>>w.scale, 65535)
	w.last = window << w.scale
	if edge := ack + w.last; int32(edge-w.edge) > 0 {
		w.edge = edge
	}
	return uint16(window)
}

// limit is the most that may be offered with ack, for which gVisor has written own.
func (w *rcvWindow) limit(ack uint32, own uint16) uint32 {
	limit := uint32(own) << w.scale
	if whole := w.first - ack; w.left > 0 && int32(whole) > 0 {
		limit = max(limit, whole)
	}
	return limit
}

// hear takes note of data that has come in, whether a segment acknowledges it now
// or later, and reports whether the threshold has grown.
func (w *rcvWindow) hear(ack uint32, own uint16) (grew bool) {
	if !w.on {
		return false
	}
	if !w.began {
		w.begin(ack)
	}
	w.own = uint32(own) << w.scale
	return w.advance(ack, w.own)
}

// admit moves a segment without data into gVisor's window, if it is within one that
// was offered. Windows are rounded to the scale, and gVisor's down: their edge goes
// back a little. A peer that had filled the window is then beyond it, and gVisor would
// not hear its acknowledgements, whereas Linux never lets the edge go back (RFC 9293
// §3.8.6). If the data that fills the window is not read, both ends would wait for
// ever.
func (w *rcvWindow) admit(seg []byte) {
	seq := binary.BigEndian.Uint32(seg[4:])
	if !w.began || int32(seq-(w.acked+w.own)) <= 0 || int32(seq-w.edge) > 0 {
		return
	}
	in := w.acked
	if w.own > 0 {
		in++ // what is not the next in order leaves the timestamp alone (RFC 7323 §4.3)
	}
	binary.BigEndian.PutUint32(seg[4:], in)
}

// opens reports whether the window would be no smaller than it was last.
func (w *rcvWindow) opens(ack uint32, own uint16) bool {
	unit := uint32(1) << w.scale
	return !w.on || min(w.limit(ack, own), w.thresh)+unit-1 >= w.last
}

// advance takes note of data that has come in, and lets the threshold grow by
// what tcp_grow_window adds for a segment that is not small.
func (w *rcvWindow) advance(ack, limit uint32) (grew bool) {
	n := ack - w.acked
	if int32(n) <= 0 {
		return false
	}
	w.acked = ack
	w.left -= min(w.left, n)
	if grew = n >= 128 && w.thresh < min(limit, w.clamp); grew {
		w.thresh = min(w.thresh+2*max(n, w.mss), w.clamp)
	}
	return grew
}

// large takes note of a segment of some size. Until one has come in, Linux thinks
// that half of its buffer is overhead (tcp_scaling_ratio); from then on gVisor's
// window is the only bound.
func (w *rcvWindow) large() { w.clamp = 1<<32 - 1 }

// setWindow writes a segment's window and mends the checksum.
func setWindow(seg []byte, window uint16) {
	old := binary.BigEndian.Uint16(seg[14:])
	if old == window {
		return
	}
	binary.BigEndian.PutUint16(seg[14:], window)
	MendChecksum(seg[16:18], old, window)
}
