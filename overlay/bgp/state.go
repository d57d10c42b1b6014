package bgp

import (
	"net/netip"
	"time"
)

// PeerState is what there is to know of a peer, as `birdctl show protocols all`
// prints it.
type PeerState struct {
	Config  PeerConfig
	State   string // "Established", "Passive", "Active" ...
	Since   time.Duration
	Message string // what went wrong last: "Received: Hold timer expired"

	RouterID         netip.Addr // of an established session, as what follows
	LocalAddr        netip.Addr
	Incoming         bool // the peer has made the connection
	Internal         bool
	AddPathRx        bool // it may send all paths
	AddPathTx        bool // it is sent all paths
	Refresh          bool
	EnhancedRefresh  bool
	GracefulRestart  bool
	AS4              bool
	LongLived        bool
	HoldTime         time.Duration
	KeepaliveTime    time.Duration
	HoldLeft         time.Duration
	KeepaliveLeft    time.Duration
	Received, Sent   int // messages
	RestartsFor      time.Duration
	Restarting       bool // the peer is gone, its paths are kept
	Waiting          bool // the next attempt waits because of errors
	WaitLeft         time.Duration
	ConnectDelayLeft time.Duration

	Imported, Exported, Preferred int // paths
}

// Established reports whether the session is there.
func (p *Peer) Established() bool { return p.up != nil }

// Config returns the peer's configuration.
func (p *Peer) Config() PeerConfig { return p.cfg }

// Name returns the session's name.
func (p *Peer) Name() string { return p.cfg.Name }

// State returns what there is to know of the peer now.
func (p *Peer) State() PeerState {
	st := PeerState{
		Config: p.cfg, State: p.describe(), Since: p.since, Message: p.message, Internal: p.internal(),
		Imported: len(p.paths), Restarting: p.restart != nil, Waiting: p.startup != nil,
	}
	now := p.speaker.now()
	if p.restart != nil {
		st.RestartsFor = p.restart.At() - now
	}
	if p.startup != nil {
		st.WaitLeft = p.startup.At() - now
	}
	if p.out != nil && p.out.state == Active {
		st.ConnectDelayLeft = p.out.retry.At() - now
	}
	for _, path := range p.paths {
		if first(p.speaker.table.prefixes[path.Prefix]) == path {
			st.Preferred++
		}
	}
	s := p.up
	if s == nil {
		return st
	}
	st.RouterID, st.LocalAddr, st.Incoming = p.remoteID, s.conn.LocalAddr(), s.incoming
	st.AddPathRx, st.AddPathTx = !p.cfg.NoAddPath && s.remote.AddPathTx, s.sendsPaths()
	st.Refresh, st.EnhancedRefresh, st.AS4, st.LongLived = s.remote.Refresh, s.remote.EnhancedRefresh, s.remote.AS4, s.remote.LongLived
	st.GracefulRestart = s.remote.RestartIPv4
	st.HoldTime, st.KeepaliveTime = s.holdTime, s.keepaliveTime
	if s.hold != nil {
		st.HoldLeft = s.hold.At() - now
	}
	if s.keepalive != nil {
		st.KeepaliveLeft = s.keepalive.At() - now
	}
	st.Received, st.Sent, st.Exported = s.received, s.sent, p.rib.exported
	return st
}

// describe is the state in BIRD's words: of the connection that has come further.
func (p *Peer) describe() string {
	state := Idle
	for _, s := range []*Session{p.in, p.out} {
		if s != nil {
			state = max(state, s.state)
		}
	}
	switch {
	case p.speaker.down || p.removed:
		return "Down"
	case state == Idle && p.ready && p.cfg.Passive:
		return "Passive"
	}
	return state.String()
}
