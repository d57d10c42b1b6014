package bgp

import (
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
)

// A Peer is another speaker: one BGP session, which is made anew whenever it has
// ended. Its methods want the driver's lock.
type Peer struct {
	speaker *Speaker
	cfg     PeerConfig
	id      uint32 // of its paths without a number
	removed bool

	ready     bool // connections are made and accepted
	stopping  bool
	startup   *link.Timer   // to the next start
	delay     time.Duration // of the next start, because of errors
	erred     bool
	lastError time.Duration
	in, out   *Session
	up        *Session // the one that is established
	remoteID  netip.Addr
	restart   *link.Timer // a graceful restart of the peer goes on

	paths map[pathKey]*Path // Adj-RIB-In
	ids   map[uint32]uint32 // what we call the peer's numbers
	rib   adjOut

	since   time.Duration // when it was up or down last
	message string        // what went wrong last
}

// pathKey names a path among those of one peer.
type pathKey struct {
	prefix netip.Prefix
	number uint32
}

// internal reports whether the peer is of our AS.
func (p *Peer) internal() bool { return p.cfg.AS == p.speaker.cfg.AS }

// initiate begins, after a pause if there were errors (bgp_initiate).
func (p *Peer) initiate() {
	switch {
	case p.removed || p.speaker.down || p.ready || p.startup != nil:
	case p.delay > 0:
		p.startup = p.speaker.after(p.speaker.jittered(p.delay), p.start)
	default:
		p.start()
	}
}

func (p *Peer) start() {
	p.startup, p.ready = nil, true
	p.activate()
}

// activate leaves the peer alone for the connect delay, then connects to it
// (bgp_active).
func (p *Peer) activate() {
	if p.cfg.Passive || !p.ready || p.up != nil || p.out != nil || p.speaker.down {
		return
	}
	p.out = &Session{peer: p, state: Active}
	p.out.retry = p.speaker.after(p.speaker.jittered(p.speaker.cfg.ConnectDelay), p.out.connect)
}

// decide has the peer go on when a connection has come to nothing (bgp_decision).
func (p *Peer) decide() { p.speaker.cfg.Driver.Soon(p.activate) }

// accept takes a connection of the peer, or nil (bgp_incoming_connection).
func (p *Peer) accept(c Conn) *Session {
	wanted := p.ready && p.in == nil
	if old := p.up; old != nil && old.graceful() { // the peer has lost its end without our knowing (RFC 4724 §4.2)
		p.note("Neighbor graceful restart")
		p.beginRestart(old)
		old.drop()
		if p.in != nil {
			p.in.drop()
		}
		wanted = true
	}
	if !wanted {
		return nil
	}
	s := &Session{peer: p, conn: c, incoming: true}
	p.in = s
	s.sendOpen()
	return s
}

// stop ends all connections and forgets what the peer has told, then begins
// again.
func (p *Peer) stop(sub uint8) {
	if p.stopping {
		return
	}
	p.stopping, p.ready = true, false
	for _, s := range []*Session{p.out, p.in} {
		if s != nil {
			s.close(sub)
		}
	}
	p.flush()
	p.stopping = false
	p.speaker.cfg.Driver.Soon(p.initiate)
}

// flush is what stop does besides connections.
func (p *Peer) flush() {
	for _, t := range []*link.Timer{p.startup, p.restart} {
		if t != nil {
			t.Stop()
		}
	}
	p.startup, p.restart, p.up, p.since = nil, nil, nil, p.speaker.now()
	p.forget(func(*Path) bool { return true })
}

// kill ends the connections without a notification.
func (p *Peer) kill() { p.leave((*Session).drop) }

// abort forgets the connections.
func (p *Peer) abort() {
	p.leave(func(s *Session) {
		if s.conn != nil {
			s.conn.Abort()
			s.conn = nil
		}
		s.drop()
	})
}

func (p *Peer) leave(f func(*Session)) {
	p.stopping = true
	for _, s := range []*Session{p.out, p.in} {
		if s != nil {
			f(s)
		}
	}
	p.flush()
}

// punish makes the pause before the next start longer (bgp_update_startup_delay).
func (p *Peer) punish() {
	cfg := &p.speaker.cfg
	now := p.speaker.now()
	if p.erred && now-p.lastError >= cfg.ErrorForget {
		p.delay = 0
	}
	p.erred, p.lastError = true, now
	if p.delay == 0 {
		p.delay = cfg.ErrorWait
	} else {
		p.delay = min(2*p.delay, cfg.ErrorWaitMax)
	}
}

// note keeps what went wrong, and logs it.
func (p *Peer) note(message string) {
	p.message = message
	p.speaker.log(p, message)
}

// beginRestart keeps the paths of a peer whose connection was lost, in the hope
// that it comes back before its restart time is over (RFC 4724 §4.2).
func (p *Peer) beginRestart(s *Session) {
	p.up, p.since = nil, p.speaker.now()
	p.forget(func(o *Path) bool { return o.stale }) // it has restarted twice
	p.markStale()
	if p.restart != nil {
		p.restart.Stop()
	}
	p.restart = p.speaker.after(p.speaker.jittered(s.remote.RestartTime), func() {
		p.restart = nil
		p.note("Neighbor graceful restart timeout")
		p.stop(ceaseNone)
	})
}

// markStale notes which paths are from before now. They are used until there
// are others.
func (p *Peer) markStale() {
	for _, o := range p.sortedPaths() {
		fresh := *o
		fresh.stale = true
		p.paths[pathKey{o.Prefix, o.Number}] = &fresh
		p.speaker.table.put(p.speaker, &fresh)
	}
}

// endRestart drops what the peer has not repeated.
func (p *Peer) endRestart() { p.forget(func(o *Path) bool { return o.stale }) }
