package conntrack

import "encoding/binary"

// tcpPeer is one end of a connection as its segments show it. The names follow Guido van Rooij, "Real Stateful TCP Packet
// Filtering in IP Filter" (2001), on which the check is built.
type tcpPeer struct {
	end    uint32 // highest sequence number sent, plus one
	maxEnd uint32 // highest sequence number the other end lets it send, plus one
	maxWin uint32 // largest window it has offered; zero: it has sent nothing yet
	maxAck uint32 // highest acknowledgement it has sent, if peerAcked
	scale  uint8  // shift of its windows
	flags  uint8
}

// Flags of a tcpPeer.
const (
	peerScale   = 1 << iota // its SYN had a window scale option
	peerSACK                // its SYN allowed selective acknowledgements
	peerClosed              // it sent the first FIN
	peerLiberal             // windows are unknown: accept what is outside
	peerUnacked             // it sent data not yet acknowledged
	peerAcked               // maxAck is set
)

// Outcomes of the window check.
type windowResult uint8

const (
	windowAccept  windowResult = iota
	windowIgnore               // part of the flow, but old news: no state change, no refresh
	windowInvalid              // cannot be from this connection
)

// before and after compare sequence numbers modulo 2^32 (RFC 9293 §3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }
func after(a, b uint32) bool  { return before(b, a) }

// minAckWindow is the least distance by which an acknowledgement may lag: the largest unscaled window and some.
const minAckWindow = 66000

// tcpWindow checks a segment in direction d against what both ends have announced and learns from it.
func (t *Table) tcpWindow(e *Entry, d Dir, s *segment) windowResult {
	c := &e.proto.tcp
	sender, receiver := &c.seen[d], &c.seen[d^1]
	seq, end, ack, sack := s.seq, s.end, s.ack, s.ack
	if receiver.flags&peerSACK != 0 {
		sack = highestSACK(s.header, sack)
	}
	switch {
	case sender.maxWin == 0 && s.flags&flagSYN != 0:
		sender.begin(receiver, s, d)
		if s.flags&flagACK == 0 {
			return windowAccept // simultaneous open
		}
	case sender.maxWin == 0:
		sender.join(receiver, s, sack)
	case s.flags&flagSYN != 0 && after(end, sender.end) && (c.state == tcpSynSent || c.state == tcpSynRecv):
		sender.begin(receiver, s, d) // a SYN anew, with another initial number
		if d == Reply && s.flags&flagACK == 0 {
			return windowAccept
		}
	}
	if s.flags&flagACK == 0 || s.flags&flagRST != 0 && ack == 0 {
		ack, sack = receiver.end, receiver.end // nothing acknowledged: pretend that all is well
	}
	if s.flags&flagRST != 0 && seq == 0 && c.state == tcpSynSent {
		seq, end = sender.end, sender.end // a RST in answer to a SYN carries no number
	}
	if result := sender.check(receiver, seq, end, sack); result != windowAccept {
		if t.cfg.TCPLiberal || sender.flags&peerLiberal != 0 {
			return windowAccept
		}
		return result
	}
	win := uint32(s.win)
	if s.flags&flagSYN == 0 {
		win <<= sender.scale
	}
	sender.update(receiver, s, end, ack, sack, win)
	if s.kind == segACK {
		c.countRetransmission(d, s, ack, seq, end)
	}
	return windowAccept
}

// begin starts the record of a peer with its SYN. Scaling is on only if both SYNs offer it (RFC 7323 §2.2).
func (sender *tcpPeer) begin(receiver *tcpPeer, s *segment, d Dir) {
	sender.end, sender.maxEnd, sender.maxWin = s.end, s.end, max(uint32(s.win), 1)
	sender.readOptions(s.header)
	if d == Reply && sender.flags&receiver.flags&peerScale == 0 {
		sender.scale, receiver.scale = 0, 0
	}
}

// join starts the record of a peer in the middle of a connection.
func (sender *tcpPeer) join(receiver *tcpPeer, s *segment, sack uint32) {
	sender.end = s.end
	sender.maxWin = max(uint32(s.win)<<sender.scale, 1)
	sender.maxEnd = s.end + sender.maxWin
	if receiver.maxWin == 0 {
		receiver.end, receiver.maxEnd = sack, sack // the other end was not heard either: believe this acknowledgement
	} else if sack == receiver.end+1 {
		receiver.end++ // most likely the answer to a keepalive
	}
}

// check compares a segment with the windows: it must not go beyond what the receiver allowed nor acknowledge what the
// receiver never sent (invalid), nor lie wholly in the past (ignored).
func (sender *tcpPeer) check(receiver *tcpPeer, seq, end, sack uint32) windowResult {
	ackWindow := max(sender.maxWin, minAckWindow)
	inReceiveWindow := after(end, sender.end-receiver.maxWin-1)
	ackRecent := after(sack, receiver.end-ackWindow-1)
	ackSent := before(sack, receiver.end+1)
	switch {
	case !before(seq, sender.maxEnd+1):
		overshot := end - sender.maxEnd + 1
		if receiver.maxWin == 0 || !inReceiveWindow || !ackRecent || !ackSent || overshot > receiver.maxWin {
			return windowInvalid
		}
		// A sender that ignores the window a little. Remember how far it got: the receiver may well acknowledge it.
		sender.end = end
		sender.flags |= peerUnacked
		return windowIgnore
	case !ackSent:
		return windowInvalid
	case receiver.maxWin != 0 && !inReceiveWindow, !ackRecent:
		return windowIgnore
	}
	return windowAccept
}

// update learns from an accepted segment.
func (sender *tcpPeer) update(receiver *tcpPeer, s *segment, end, ack, sack, win uint32) {
	sender.maxWin = max(sender.maxWin, win+sack-ack)
	if after(end, sender.end) {
		sender.end = end
		sender.flags |= peerUnacked
	}
	if s.flags&flagACK != 0 && (sender.flags&peerAcked == 0 || after(ack, sender.maxAck)) {
		sender.maxAck = ack
		sender.flags |= peerAcked
	}
	if receiver.maxWin != 0 && after(end, sender.maxEnd) {
		receiver.maxWin += end - sender.maxEnd
	}
	if after(sack+win, receiver.maxEnd-1) {
		receiver.maxEnd = sack + max(win, 1)
	}
	if ack == receiver.end {
		receiver.flags &^= peerUnacked
	}
}

// countRetransmission counts identical segments in a row.
func (c *tcpState) countRetransmission(d Dir, s *segment, ack, seq, end uint32) {
	if c.lastDir == d && c.lastSeq == seq && c.lastAck == ack && c.lastEnd == end && c.lastWin == s.win {
		if c.retrans < 255 {
			c.retrans++
		}
		return
	}
	c.lastDir, c.lastSeq, c.lastAck, c.lastEnd, c.lastWin, c.retrans = d, seq, ack, end, s.win, 0
}

// tcpReset decides about a RST: the state it leads to, whether the window check is skipped, and whether it is valid.
func (e *Entry) tcpReset(d Dir, s *segment) (next uint8, skipWindow, valid bool) {
	c := &e.proto.tcp
	if c.state >= tcpFinWait && c.state <= tcpClose {
		return tcpClose, true, true // ending anyway, and the tuple may be in use again: the numbers prove nothing
	}
	next = tcpClose
	other := &c.seen[d^1]
	if other.flags&peerAcked != 0 && c.lastKind != segSYN {
		established := c.state == tcpEstablished && e.status&Assured != 0
		if s.seq == 0 && !established {
			return tcpClose, false, true // answers a SYN that was let through
		}
		if before(s.seq, other.maxAck) && !e.table.cfg.TCPIgnoreInvalidRST {
			return c.state, false, false
		}
		inTrain := c.lastKind == segACK && c.lastDir == d && s.seq == c.lastEnd
		if !established || s.seq == other.maxAck || inTrain {
			return tcpClose, false, true
		}
		next = c.state // in the window but not exact: the end host will challenge it (RFC 5961 §3) and may live on
	}
	answersSYN := e.status&SeenReply != 0 && c.lastKind == segSYN && c.lastDir != d
	answersACK := e.status&Assured == 0 && c.lastKind == segACK
	if (answersSYN || answersACK) && s.ack == c.lastEnd {
		return next, true, true
	}
	answersChallenge := c.state == tcpSynSent && c.lastKind == segACK && c.lastDir == Reply && s.seq == c.lastAck
	return next, answersChallenge, true
}

// tcpOutOfWindow shortens the life of a connection when FIN or RST outside the window came from both ends: table and end
// hosts disagree, and it should not stay for days.
func (t *Table) tcpOutOfWindow(e *Entry, d Dir, kind uint8) {
	if e.status&Assured == 0 || kind != segFIN && kind != segRST {
		return
	}
	c := &e.proto.tcp
	if c.lastDir == d || c.lastKind != segFIN && c.lastKind != segRST {
		c.lastKind, c.lastDir = kind, d
		return
	}
	t.setDeadline(e, min(e.deadline, t.now+t.cfg.Timeouts.TCPUnack))
}

// TCP option kinds (RFC 9293 §3.2, RFC 7323, RFC 2018).
const (
	optEnd           = 0
	optNop           = 1
	optWindowScale   = 3
	optSACKPermitted = 4
	optSACK          = 5
)

// readOptions takes window scale and SACK permission from the options of a SYN. One without any changes nothing of what is
// known, as in Linux: after a repeated SYN data may still count as unacknowledged.
func (p *tcpPeer) readOptions(header []byte) {
	if len(header) == 20 {
		return
	}
	p.scale = 0
	p.flags &= peerLiberal
	for opts := header[20:]; ; {
		kind, value, rest, ok := nextOption(opts)
		if !ok {
			return
		}
		switch {
		case kind == optWindowScale && len(value) == 1:
			p.scale = min(value[0], 14) // RFC 7323 §2.3
			p.flags |= peerScale
		case kind == optSACKPermitted && len(value) == 0:
			p.flags |= peerSACK
		}
		opts = rest
	}
}

// highestSACK returns the highest right edge among the SACK blocks, or ack if none is higher.
func highestSACK(header []byte, ack uint32) uint32 {
	opts := header[20:]
	if len(opts) == 12 && binary.BigEndian.Uint32(opts) == 0x0101080a {
		return ack // NOP, NOP, timestamps: what nearly every segment has
	}
	for {
		kind, value, rest, ok := nextOption(opts)
		if !ok {
			return ack
		}
		if kind == optSACK && len(value)%8 == 0 {
			for ; len(value) >= 8; value = value[8:] {
				if edge := binary.BigEndian.Uint32(value[4:]); after(edge, ack) {
					ack = edge
				}
			}
		}
		opts = rest
	}
}

// nextOption splits the first option off opts, skipping padding.
func nextOption(opts []byte) (kind byte, value, rest []byte, ok bool) {
	for len(opts) > 0 && opts[0] == optNop {
		opts = opts[1:]
	}
	if len(opts) < 2 || opts[0] == optEnd {
		return 0, nil, nil, false
	}
	n := int(opts[1])
	if n < 2 || n > len(opts) {
		return 0, nil, nil, false
	}
	return opts[0], opts[2:n], opts[n:], true
}
