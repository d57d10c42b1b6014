package bgp

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/podwire/podwire/link"
)

// State is the state of a connection (RFC 4271 §8.2.2), ordered as BIRD orders them.
type State uint8

// States.
const (
	Idle State = iota
	Connect
	Active
	OpenSent
	OpenConfirm
	Established
	Close // a notification was sent or received
)

var stateNames = [...]string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established", "Close"}

// String is the state's name in the RFC.
func (s State) String() string { return stateNames[s] }

// A Session is one TCP connection with a peer, or the attempt to make one. Its
// methods want the driver's lock.
type Session struct {
	peer     *Peer
	conn     Conn
	state    State
	incoming bool
	dead     bool

	retry, hold, keepalive *link.Timer

	dials  int    // attempts to connect
	cancel func() // the one that goes on
	buf    []byte // received, not a whole message yet

	remote                  capabilities
	holdTime, keepaliveTime time.Duration
	received, sent          int // messages
}

// Peer returns the peer.
func (s *Session) Peer() *Peer { return s.peer }

// connect begins to connect, and again when the time for it is over.
func (s *Session) connect() {
	sp, cfg := s.peer.speaker, &s.peer.cfg
	if s.cancel != nil {
		s.cancel()
	}
	if s.peer.up != nil { // the peer was faster
		s.drop()
		return
	}
	s.state = Connect
	s.dials++
	dial := s.dials
	s.cancel = sp.cfg.Dial(cfg.Local, addrPort(cfg.Addr, cfg.Port), func(c Conn, err error) *Session {
		if s.dead || s.dials != dial {
			return nil
		}
		s.cancel = nil
		if err != nil {
			s.Closed(err)
			return nil
		}
		s.conn = c
		s.sendOpen()
		return s
	})
	s.retry = sp.after(sp.jittered(sp.cfg.ConnectRetry), s.connect)
}

// sendOpen begins a session on a new connection.
func (s *Session) sendOpen() {
	if s.retry != nil {
		s.retry.Stop()
	}
	s.state = OpenSent
	s.send(s.peer.openMessage())
	s.startHold(s.peer.speaker.cfg.HoldTime)
}

// send queues a message.
func (s *Session) send(m *bgp.BGPMessage, options ...*bgp.MarshallingOption) {
	b, err := m.Serialize(options...)
	if err != nil {
		panic(fmt.Sprintf("bgp: message of our own: %v", err))
	}
	s.sent++
	s.conn.Send(b)
}

// startHold waits so long for the next message; 0 is for ever.
func (s *Session) startHold(d time.Duration) {
	if s.hold != nil {
		s.hold.Stop()
	}
	if d > 0 {
		s.hold = s.peer.speaker.after(s.peer.speaker.jittered(d), func() {
			s.fail(&notification{code: holdExpired, why: "nothing was heard of the peer"})
		})
	}
}

// sendKeepalive sends a KEEPALIVE now and from now on.
func (s *Session) sendKeepalive() {
	s.send(bgp.NewBGPKeepAliveMessage())
	if s.keepaliveTime > 0 {
		s.keepalive = s.peer.speaker.after(s.peer.speaker.jittered(s.keepaliveTime), s.sendKeepalive)
	}
}

// graceful reports whether the session may be lost without its paths being lost.
func (s *Session) graceful() bool { return !s.peer.cfg.NoRestart && s.remote.RestartIPv4 }

// Closed is called when the connection has ended: by the peer if err is nil,
// or it could not be made.
func (s *Session) Closed(err error) {
	if s.dead {
		return
	}
	p := s.peer
	if err != nil {
		p.note("Socket: " + err.Error())
	} else {
		p.note("Socket: Connection closed")
	}
	if s.state == Established && s.graceful() {
		p.beginRestart(s)
		s.drop()
		p.decide()
		return
	}
	established := s.state == Established
	s.drop()
	if established {
		p.stop(ceaseNone)
		return
	}
	p.decide()
}

// drop closes the connection without a word.
func (s *Session) drop() {
	if s.dead {
		return
	}
	s.dead = true
	for _, t := range []*link.Timer{s.retry, s.hold, s.keepalive} {
		if t != nil {
			t.Stop()
		}
	}
	if s.cancel != nil {
		s.cancel()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	p := s.peer
	switch s {
	case p.in:
		p.in = nil
	case p.out:
		p.out = nil
	}
	if p.up == s {
		p.up = nil
	}
	s.state, s.buf = Idle, nil
}

// close ends the session in order (bgp_graceful_close_conn).
func (s *Session) close(sub uint8) {
	if s.state >= OpenSent {
		s.notify(&notification{code: cease, sub: sub})
	}
	s.drop()
}

// notify sends a NOTIFICATION.
func (s *Session) notify(n *notification) {
	s.send(bgp.NewBGPNotificationMessage(n.code, n.sub, n.data))
}

// fail tells the peer of an error and ends the session (bgp_error).
func (s *Session) fail(n *notification) {
	if s.dead {
		return
	}
	p := s.peer
	p.note("BGP Error: " + errorText(n.code, n.sub))
	s.notify(n)
	established := s.state == Established
	s.drop()
	if n.code != cease {
		p.punish()
	}
	if established || n.code != cease {
		p.stop(ceaseNone)
		return
	}
	p.decide()
}

// headerSize is the size of the header of all messages (RFC 4271 §4.1).
const headerSize = bgp.BGP_HEADER_LENGTH

// Receive is given what has come in on the connection, in pieces as they come.
// The bytes are the caller's.
func (s *Session) Receive(b []byte) {
	if s.dead {
		return
	}
	s.buf = append(s.buf, b...)
	for !s.dead && len(s.buf) >= headerSize {
		size := int(binary.BigEndian.Uint16(s.buf[16:]))
		if n := checkHeader(s.buf, size); n != nil {
			s.fail(n)
			return
		}
		if len(s.buf) < size {
			return
		}
		message := s.buf[:size:size]
		s.buf = s.buf[size:]
		s.received++
		if n := s.handle(message[18], message[headerSize:]); n != nil {
			s.fail(n)
		}
	}
	if len(s.buf) == 0 {
		s.buf = nil
	}
}

// sizes are those that messages have at least (RFC 4271 §6.1, RFC 2918 §3).
var sizes = map[byte]int{
	bgp.BGP_MSG_OPEN: 29, bgp.BGP_MSG_UPDATE: 23, bgp.BGP_MSG_NOTIFICATION: 21, bgp.BGP_MSG_KEEPALIVE: 19, bgp.BGP_MSG_ROUTE_REFRESH: 19,
}

// checkHeader finds what is wrong with a message's header (RFC 4271 §6.1).
func checkHeader(b []byte, size int) *notification {
	for _, x := range b[:16] {
		if x != 0xff {
			return &notification{code: headerError, sub: badSync, why: "the marker is not all ones"}
		}
	}
	least, known := sizes[b[18]]
	switch {
	case size < headerSize || size > bgp.BGP_MAX_MESSAGE_LENGTH || known && size < least || b[18] == bgp.BGP_MSG_KEEPALIVE && size != least:
		return &notification{headerError, badLength, []byte{b[16], b[17]}, fmt.Sprintf("%d-byte message of type %d", size, b[18])}
	case !known:
		return &notification{headerError, badType, []byte{b[18]}, fmt.Sprintf("message of type %d", b[18])}
	}
	return nil
}

// handle is the state machine's view of a message.
func (s *Session) handle(kind byte, body []byte) *notification {
	switch kind {
	case bgp.BGP_MSG_OPEN:
		return s.open(body)
	case bgp.BGP_MSG_NOTIFICATION:
		s.notified(body[0], body[1])
		return nil
	case bgp.BGP_MSG_KEEPALIVE:
		switch s.state {
		case OpenConfirm:
			s.establish()
		case Established:
		default:
			return s.unexpected()
		}
		s.startHold(s.holdTime)
		return nil
	case bgp.BGP_MSG_UPDATE:
		if s.state == OpenConfirm { // its KEEPALIVE was left away
			s.establish()
		}
		if s.state != Established {
			return s.unexpected()
		}
		s.startHold(s.holdTime)
		return s.update(body)
	}
	if s.state != Established {
		return s.unexpected()
	}
	return s.refresh(body)
}

// unexpected is the error of a message that has no place in this state (RFC 6608).
func (s *Session) unexpected() *notification {
	return &notification{code: fsmError, sub: uint8(s.state - OpenSent + 1), why: "not expected in state " + s.state.String()}
}

// open is an OPEN: if nothing is wrong with it, the better one of two
// connections stays (RFC 4271 §6.8, RFC 6286 §2.3).
func (s *Session) open(body []byte) *notification {
	if s.state != OpenSent {
		return s.unexpected()
	}
	m := &bgp.BGPOpen{}
	if err := m.DecodeFromBytes(body); err != nil {
		return notificationOf(err, openError)
	}
	p := s.peer
	remote, n := p.checkOpen(m)
	if n != nil {
		return n
	}
	other := p.in
	if s.incoming {
		other = p.out
	}
	if other != nil {
		switch other.state {
		case Connect, Active:
			other.drop()
		case OpenConfirm:
			dominated := p.speaker.cfg.RouterID.Less(m.ID) || p.speaker.cfg.RouterID == m.ID && p.speaker.cfg.AS < p.cfg.AS
			if dominated != s.incoming {
				return &notification{code: cease, sub: ceaseCollision, why: "the other connection stays"}
			}
			other.fail(&notification{code: cease, sub: ceaseCollision, why: "the new connection stays"})
		case Established:
			return &notification{code: cease, sub: ceaseCollision, why: "there is a session"}
		}
	}
	s.remote, p.remoteID = remote, m.ID
	s.holdTime = min(time.Duration(m.HoldTime)*time.Second, p.speaker.cfg.HoldTime)
	s.keepaliveTime = s.holdTime / 3
	s.state = OpenConfirm
	s.sendKeepalive()
	s.startHold(s.holdTime)
	return nil
}

// establish begins to exchange paths.
func (s *Session) establish() {
	p := s.peer
	s.state, p.up, p.since, p.message = Established, s, p.speaker.now(), ""
	if p.restart != nil {
		p.restart.Stop()
		p.restart = nil
		if !s.remote.RestartIPv4 || !s.remote.Forwarding {
			p.endRestart()
		}
	}
	if !s.remote.Restart {
		p.speaker.heard(p) // it will not say when it has sent all
	}
	p.rib = newAdjOut(s)
	for prefix := range p.speaker.table.prefixes {
		p.mark(prefix)
	}
	p.schedule()
}

// notified is the end that the peer has put to the session.
func (s *Session) notified(code, sub uint8) {
	p := s.peer
	p.note("Received: " + errorText(code, sub))
	established := s.state == Established
	s.drop()
	if code != cease {
		p.punish()
	}
	if established || code != cease {
		p.stop(ceaseNone)
		return
	}
	p.decide()
}
