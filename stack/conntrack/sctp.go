package conntrack

import (
	"encoding/binary"
	"time"
)

// SCTP states of a flow (nf_conntrack_proto_sctp).
const (
	sctpNone = iota
	sctpClosed
	sctpCookieWait
	sctpCookieEchoed
	sctpEstablished
	sctpShutdownSent
	sctpShutdownRecd
	sctpShutdownAckSent
	sctpHeartbeatSent
	sctpStates
)

var sctpNames = [sctpStates]string{
	"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED",
	"SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT",
}

// sctpState is what an entry remembers of an association.
type sctpState struct {
	state uint8
	tag   [2]uint32 // by direction: the verification tag its packets carry, once known
}

// SCTP chunk types (RFC 9260 §3.2).
const (
	chunkInit             = 1
	chunkInitAck          = 2
	chunkHeartbeat        = 4
	chunkHeartbeatAck     = 5
	chunkAbort            = 6
	chunkShutdown         = 7
	chunkShutdownAck      = 8
	chunkError            = 9
	chunkCookieEcho       = 10
	chunkCookieAck        = 11
	chunkShutdownComplete = 14
)

// sctpHeaderLen is the common header: ports, verification tag, checksum (RFC 9260 §3.1).
const sctpHeaderLen = 12

// sctpPacket tracks SCTP chunk by chunk.
func (t *Table) sctpPacket(e *Entry, d Dir, p *packet) verdict {
	fresh := e.status&Confirmed == 0
	if len(p.l4) < sctpHeaderLen || !sctpChunksSane(p.l4[sctpHeaderLen:], fresh) {
		return verdictInvalid
	}
	a, tag := &e.proto.sctp, binary.BigEndian.Uint32(p.l4[4:])
	state := a.state
	retransmittedInit := false
	for chunks := p.l4[sctpHeaderLen:]; len(chunks) >= 4; chunks = nextChunk(chunks) {
		if fresh {
			a.begin(tag, chunks)
		}
		next, ok := sctpNext(state, d, chunks[0])
		if !ok || !a.checkTag(d, tag, chunks) {
			return verdictInvalid
		}
		retransmittedInit = !fresh && chunks[0] == chunkInit && state == sctpClosed && next == sctpClosed
		state = next
	}
	if fresh && state == sctpNone {
		return verdictInvalid // data cannot begin an association
	}
	if state == sctpEstablished && a.state != state {
		e.status |= Assured
	}
	a.state = state
	if retransmittedInit {
		return verdictOK // as for a SYN: a client that tries for ever does not keep the entry for ever
	}
	t.refresh(e, d, p, t.sctpTimeout(state))
	return verdictOK
}

// begin notes the tag that the first packet of a flow, with the given tag, gives away.
func (a *sctpState) begin(tag uint32, chunks []byte) {
	switch chunks[0] {
	case chunkInit: // checkTag reads it from the chunk
	case chunkHeartbeat, chunkHeartbeatAck:
		a.tag[Original] = tag
	default:
		a.tag[Reply] = tag
	}
}

// checkTag checks the verification tag of the packet whose next chunk is at chunks (RFC 9260 §8.5) and learns the tag of the
// other direction from INIT and INIT ACK.
func (a *sctpState) checkTag(d Dir, tag uint32, chunks []byte) bool {
	switch chunks[0] {
	case chunkInit, chunkInitAck:
		if chunks[0] == chunkInit && tag != 0 || chunks[0] == chunkInitAck && tag != a.tag[d] || len(chunks) < 8 {
			return false
		}
		a.tag[d^1] = binary.BigEndian.Uint32(chunks[4:])
	case chunkAbort, chunkShutdownComplete:
		if chunks[1]&1 != 0 { // the T bit: the tag is the one of the other side
			return tag == a.tag[d^1]
		}
		return tag == a.tag[d]
	case chunkHeartbeat, chunkHeartbeatAck:
		if a.tag[d] == 0 {
			a.tag[d] = tag
		}
		return tag == a.tag[d]
	case chunkShutdownAck: // may come from one that has forgotten the association
	default:
		return tag == a.tag[d]
	}
	return true
}

// nextChunk skips the first chunk, padded to four bytes.
func nextChunk(chunks []byte) []byte {
	n := (int(binary.BigEndian.Uint16(chunks[2:])) + 3) &^ 3
	if n < 4 || n >= len(chunks) {
		return nil
	}
	return chunks[n:]
}

// sctpChunksSane checks the rules of RFC 9260 §6.10 on bundling: INIT, INIT ACK and SHUTDOWN COMPLETE travel alone, COOKIE
// ECHO and COOKIE ACK first. A flow begins with INIT or, where an association is already on another path, HEARTBEAT; a
// SHUTDOWN ACK or HEARTBEAT ACK out of the blue is let through to be answered (§8.4).
func sctpChunksSane(chunks []byte, fresh bool) bool {
	alone := false
	for i := 0; len(chunks) >= 4; i++ {
		typ := chunks[0]
		alone = alone || typ == chunkInit || typ == chunkInitAck || typ == chunkShutdownComplete
		if i > 0 && (alone || typ == chunkCookieEcho || typ == chunkCookieAck) {
			return false
		}
		if fresh && typ != chunkInit && typ != chunkHeartbeat && typ != chunkHeartbeatAck && typ != chunkShutdownAck {
			return false
		}
		if binary.BigEndian.Uint16(chunks[2:]) == 0 {
			return false
		}
		if chunks = nextChunk(chunks); chunks == nil {
			return true
		}
	}
	return false // no chunk at all, or a cut one at the end
}

// sctpNext returns the state after a chunk of type typ in direction d; false if it cannot be.
func sctpNext(state uint8, d Dir, typ uint8) (uint8, bool) {
	if state == sctpNone || state == sctpHeartbeatSent {
		return sctpFirst(state, d, typ)
	}
	switch typ {
	case chunkAbort:
		return sctpClosed, true
	case chunkInit:
		if d == Original && (state == sctpShutdownSent || state == sctpShutdownRecd) {
			return sctpClosed, true
		}
	case chunkInitAck:
		if d == Reply && state == sctpClosed {
			return sctpCookieWait, true
		}
	case chunkCookieEcho:
		if state == sctpCookieWait {
			return sctpCookieEchoed, true
		}
	case chunkCookieAck:
		if state == sctpCookieEchoed {
			return sctpEstablished, true
		}
	case chunkError:
		if d == Reply && state == sctpCookieEchoed {
			return sctpClosed, true // a stale cookie
		}
	case chunkShutdown:
		if state == sctpEstablished && d == Original {
			return sctpShutdownSent, true
		}
		if state == sctpEstablished {
			return sctpShutdownRecd, true
		}
	case chunkShutdownAck:
		if state == sctpShutdownSent || state == sctpShutdownRecd {
			return sctpShutdownAckSent, true
		}
	case chunkShutdownComplete:
		if state == sctpShutdownAckSent {
			return sctpClosed, true
		}
	}
	return state, true
}

// sctpFirst is sctpNext for a flow without an association: nothing seen, or only the HEARTBEAT that probes another path.
func sctpFirst(state uint8, d Dir, typ uint8) (uint8, bool) {
	switch typ {
	case chunkHeartbeat:
		return sctpHeartbeatSent, d == Original || state == sctpHeartbeatSent
	case chunkHeartbeatAck:
		if d == Reply {
			return sctpEstablished, state == sctpHeartbeatSent
		}
		if state == sctpHeartbeatSent {
			return state, true
		}
		return sctpClosed, true
	case chunkInit:
		if state == sctpHeartbeatSent {
			return sctpCookieWait, d == Original
		}
		return sctpClosed, d == Original // until the INIT ACK
	case chunkShutdownAck:
		return sctpShutdownAckSent, d == Original
	case chunkInitAck, chunkAbort, chunkShutdown, chunkError, chunkCookieEcho, chunkCookieAck, chunkShutdownComplete:
		return sctpClosed, d == Original
	}
	return state, true
}

func (t *Table) sctpTimeout(state uint8) time.Duration {
	switch state {
	case sctpCookieWait:
		return t.cfg.Timeouts.SCTPCookieWait
	case sctpCookieEchoed:
		return t.cfg.Timeouts.SCTPCookieEchoed
	case sctpEstablished:
		return t.cfg.Timeouts.SCTPEstablished
	case sctpShutdownSent:
		return t.cfg.Timeouts.SCTPShutdownSent
	case sctpShutdownRecd:
		return t.cfg.Timeouts.SCTPShutdownRecd
	case sctpShutdownAckSent:
		return t.cfg.Timeouts.SCTPShutdownAckSent
	case sctpHeartbeatSent:
		return t.cfg.Timeouts.SCTPHeartbeatSent
	}
	return t.cfg.Timeouts.SCTPClosed
}
