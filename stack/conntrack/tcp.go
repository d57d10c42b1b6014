package conntrack

import "time"

// TCP states of a flow, as seen from the middle of the path (nf_conntrack_proto_tcp).
const (
	tcpNone        = iota // nothing yet
	tcpSynSent            // a SYN
	tcpSynRecv            // a SYN-ACK
	tcpEstablished        // an ACK
	tcpFinWait            // a FIN
	tcpCloseWait          // an ACK after it
	tcpLastAck            // a second FIN
	tcpTimeWait           // the ACK after that
	tcpClose              // a RST
	tcpSynSent2           // a SYN from either side: simultaneous open
	tcpStates

	// What a transition can be besides a state.
	tcpIgnore  // let it pass, learn nothing: the table may be wrong and the end hosts right
	tcpInvalid // cannot be
)

var tcpNames = [tcpStates]string{
	"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
}

// tcpTransitions gives the next state for a state, a direction and a kind of segment: one line per state, the original
// direction first.
var tcpTransitions = [tcpStates][2][segKinds]uint8{
	// SYN, SYN-ACK, FIN, ACK, RST
	tcpNone: {
		{tcpSynSent, tcpInvalid, tcpInvalid, tcpEstablished, tcpInvalid}, // an ACK is taken to be from the middle of a flow
		{tcpInvalid, tcpInvalid, tcpInvalid, tcpInvalid, tcpInvalid},
	},
	tcpSynSent: {
		{tcpSynSent, tcpInvalid, tcpInvalid, tcpInvalid, tcpClose},
		{tcpSynSent2, tcpSynRecv, tcpInvalid, tcpIgnore, tcpClose}, // an ACK may be from a half-open connection
	},
	tcpSynRecv: {
		{tcpIgnore, tcpSynRecv, tcpFinWait, tcpEstablished, tcpClose},
		{tcpInvalid, tcpIgnore, tcpFinWait, tcpSynRecv, tcpClose},
	},
	tcpEstablished: {
		{tcpIgnore, tcpInvalid, tcpFinWait, tcpEstablished, tcpClose},
		{tcpInvalid, tcpIgnore, tcpFinWait, tcpEstablished, tcpClose},
	},
	tcpFinWait: {
		{tcpIgnore, tcpInvalid, tcpLastAck, tcpCloseWait, tcpClose},
		{tcpInvalid, tcpIgnore, tcpLastAck, tcpCloseWait, tcpClose},
	},
	tcpCloseWait: {
		{tcpIgnore, tcpInvalid, tcpLastAck, tcpCloseWait, tcpClose},
		{tcpInvalid, tcpIgnore, tcpLastAck, tcpCloseWait, tcpClose},
	},
	tcpLastAck: {
		{tcpIgnore, tcpInvalid, tcpLastAck, tcpTimeWait, tcpClose},
		{tcpInvalid, tcpIgnore, tcpLastAck, tcpTimeWait, tcpClose},
	},
	tcpTimeWait: {
		{tcpSynSent, tcpInvalid, tcpTimeWait, tcpTimeWait, tcpClose}, // a SYN opens the connection anew (RFC 9293 §3.6.1)
		{tcpSynSent, tcpIgnore, tcpTimeWait, tcpTimeWait, tcpClose},  // perhaps with the roles exchanged
	},
	tcpClose: {
		{tcpSynSent, tcpInvalid, tcpClose, tcpClose, tcpClose},
		{tcpInvalid, tcpIgnore, tcpClose, tcpClose, tcpClose},
	},
	tcpSynSent2: {
		{tcpSynSent2, tcpSynRecv, tcpInvalid, tcpInvalid, tcpClose},
		{tcpSynSent2, tcpSynRecv, tcpInvalid, tcpIgnore, tcpClose},
	},
}

// tcpState is what an entry remembers of a connection.
type tcpState struct {
	state uint8
	seen  [2]tcpPeer // by the direction the peer sends in

	// The latest segment that counted, and some of its fields.
	lastKind         uint8
	lastDir          Dir
	lastScale        uint8
	retrans          uint8
	lastWin          uint16
	lastSeq, lastAck uint32
	lastEnd          uint32
	lastOptions      uint8 // peerScale and peerSACK of a SYN that was ignored

	simultaneous bool // both sides sent a SYN
	challenge    bool // a SYN was ignored in LAST_ACK: the next ACK may be a challenge ACK (RFC 5961 §4)
}

// tcpPacket tracks TCP (RFC 9293): the transition first, then the exceptions to it, then the window.
func (t *Table) tcpPacket(e *Entry, d Dir, p *packet) verdict {
	var s segment
	if !s.parse(p.l4) || e.status&Confirmed == 0 && !t.tcpNew(e, &s) {
		return verdictInvalid
	}
	c := &e.proto.tcp
	old := c.state
	next := tcpTransitions[old][d][s.kind]
	switch {
	case next == tcpInvalid:
		return verdictInvalid
	case next == tcpSynSent && old >= tcpTimeWait:
		if c.mayReopen(d) {
			return verdictRepeat
		}
		next = tcpIgnore
	case next == tcpTimeWait && old == tcpLastAck && c.isChallenge(d, &s):
		c.challenge = false
		return verdictOK
	case next == tcpSynSent2:
		c.simultaneous = true
	case next == tcpSynRecv && d == Reply && s.kind == segACK && c.simultaneous:
		next = tcpEstablished
	}
	skipWindow := false
	if next == tcpIgnore {
		if !c.resync(d, &s) {
			c.noteIgnored(d, &s)
			return verdictOK
		}
		old, next = tcpSynSent, tcpSynRecv
	} else if s.kind == segRST {
		var valid bool
		if next, skipWindow, valid = e.tcpReset(d, &s); !valid {
			return verdictInvalid
		}
	}
	if !skipWindow {
		switch t.tcpWindow(e, d, &s) {
		case windowIgnore:
			return verdictOK
		case windowInvalid:
			t.tcpOutOfWindow(e, d, s.kind)
			return verdictInvalid
		}
	}
	c.lastKind, c.lastDir, c.state = s.kind, d, next
	if next == tcpFinWait && old != next {
		c.seen[d].flags |= peerClosed
	}
	return t.tcpAccept(e, d, p, &s, old)
}

// tcpAccept ends tcpPacket for a segment that moved the flow from state old: timeout, counters, Assured.
func (t *Table) tcpAccept(e *Entry, d Dir, p *packet, s *segment, old uint8) verdict {
	timeout := t.tcpTimeout(&e.proto.tcp, s)
	switch {
	case e.status&SeenReply == 0 && s.kind == segRST:
		// Refused at once, the usual fate of a SYN to a closed port: no reason to keep the entry.
		e.counters[d].Packets++
		e.counters[d].Bytes += uint64(p.total)
		t.remove(e)
		return verdictOK
	case e.status&SeenReply == 0 && s.kind == segSYN && old == tcpSynSent:
		// A retransmitted SYN does not extend the timeout, or a client that tries for ever would keep a stale NAT binding
		// for ever.
		return verdictOK
	case e.status&SeenReply == 0 && e.proto.tcp.state == tcpEstablished:
		timeout = min(timeout, t.cfg.Timeouts.TCPUnack)
	case e.status&SeenReply != 0 && e.proto.tcp.state == tcpEstablished && (old == tcpSynRecv || old == tcpEstablished):
		e.status |= Assured
	}
	t.refresh(e, d, p, timeout)
	return verdictOK
}

// tcpNew prepares a new entry for its first segment; false if no flow can begin with it.
func (t *Table) tcpNew(e *Entry, s *segment) bool {
	peer := tcpPeer{end: s.end, maxEnd: s.end, maxWin: max(uint32(s.win), 1)}
	e.proto.tcp = tcpState{lastKind: segNothing}
	switch tcpTransitions[tcpNone][Original][s.kind] {
	case tcpSynSent:
		peer.readOptions(s.header)
	case tcpEstablished:
		if t.cfg.TCPStrict {
			return false
		}
		// From the middle of a connection: the window scale was missed, so windows are not held against it.
		peer.maxEnd += peer.maxWin
		peer.flags = peerSACK | peerLiberal
		e.proto.tcp.seen[Reply].flags = peerSACK | peerLiberal
	default:
		return false
	}
	e.proto.tcp.seen[Original] = peer
	return true
}

// mayReopen reports whether a SYN in direction d may replace a connection that has ended: one side closed it, or the sender
// of the SYN reset it.
func (c *tcpState) mayReopen(d Dir) bool {
	return (c.seen[0].flags|c.seen[1].flags)&peerClosed != 0 || c.lastDir == d && c.lastKind == segRST
}

// isChallenge reports whether the ACK s answers a SYN that was ignored in LAST_ACK, instead of acknowledging the last FIN.
func (c *tcpState) isChallenge(d Dir, s *segment) bool {
	return s.kind == segACK && c.lastDir != d && c.lastKind == segSYN && c.challenge
}

// resync reports whether s is the SYN-ACK to a SYN that was ignored, and if so adopts that SYN: the end hosts agree on a new
// connection and the table was behind.
func (c *tcpState) resync(d Dir, s *segment) bool {
	if s.kind != segSYNACK || c.lastKind != segSYN || c.lastDir == d || s.ack != c.lastEnd {
		return false
	}
	c.seen[d^1] = tcpPeer{
		end: c.lastEnd, maxEnd: c.lastEnd, maxWin: max(uint32(c.lastWin), 1),
		scale: c.lastScale, flags: c.lastOptions,
	}
	c.challenge = false
	c.seen[d] = tcpPeer{flags: c.seen[d].flags & peerLiberal}
	return true
}

// noteIgnored remembers a segment that was let through without believing it, for resync and tcpReset.
func (c *tcpState) noteIgnored(d Dir, s *segment) {
	c.challengeAck(d, s)
	c.lastKind, c.lastDir = s.kind, d
	c.lastSeq, c.lastEnd, c.lastWin = s.seq, s.end, s.win
	if s.kind == segSYN && d == Original {
		var peer tcpPeer
		peer.readOptions(s.header)
		c.lastScale, c.lastOptions = peer.scale, peer.flags
		c.challenge = c.state == tcpLastAck
		c.simultaneous = false // Linux keeps it in the same word
	}
}

// challengeAck notes the number of an ACK that answers a SYN: the sender of the SYN will reset with it.
func (c *tcpState) challengeAck(d Dir, s *segment) {
	if c.state == tcpSynSent && s.kind == segACK && d == Reply {
		c.lastAck = s.ack
	}
}

// tcpTimeout returns how long the flow lives after segment s, its state being up to date.
func (t *Table) tcpTimeout(c *tcpState, s *segment) time.Duration {
	timeout := t.tcpStateTimeout(c.state)
	switch {
	case int(c.retrans) >= t.cfg.TCPMaxRetrans && timeout > t.cfg.Timeouts.TCPMaxRetrans:
		return t.cfg.Timeouts.TCPMaxRetrans
	case s.kind == segRST:
		return t.cfg.Timeouts.TCPClose
	case (c.seen[0].flags|c.seen[1].flags)&peerUnacked != 0 && timeout > t.cfg.Timeouts.TCPUnack:
		return t.cfg.Timeouts.TCPUnack
	case c.lastWin == 0 && timeout > t.cfg.Timeouts.TCPMaxRetrans:
		return t.cfg.Timeouts.TCPMaxRetrans
	}
	return timeout
}

func (t *Table) tcpStateTimeout(state uint8) time.Duration {
	switch state {
	case tcpSynRecv:
		return t.cfg.Timeouts.TCPSynRecv
	case tcpEstablished:
		return t.cfg.Timeouts.TCPEstablished
	case tcpFinWait:
		return t.cfg.Timeouts.TCPFinWait
	case tcpCloseWait:
		return t.cfg.Timeouts.TCPCloseWait
	case tcpLastAck:
		return t.cfg.Timeouts.TCPLastAck
	case tcpTimeWait:
		return t.cfg.Timeouts.TCPTimeWait
	case tcpClose:
		return t.cfg.Timeouts.TCPClose
	}
	return t.cfg.Timeouts.TCPSynSent
}
