package bgp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/podwire/podwire/link"
)

// A Speaker is one BGP process. Its methods want the driver's lock.
type Speaker struct {
	cfg     Config
	source  uint32
	peers   []*Peer // in the order in which they were added
	table   table
	pathIDs uint32 // given so far
	down    bool
	waiting map[*Peer]bool // after a restart: who has not sent all its paths yet
	paths   uint32         // serial number of paths
}

// New returns a speaker without peers.
func New(cfg Config) (*Speaker, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	s := &Speaker{cfg: cfg, source: cfg.Driver.NewSource(), table: newTable(), pathIDs: firstPeerID - 1}
	cfg.Driver.Soon(func() {
		if len(s.waiting) == 0 {
			s.recovered() // it has nobody to wait for
		}
	})
	return s, nil
}

// Numbers of additional paths: BIRD numbers the protocols that paths come from as
// they are configured, and Calico's configuration begins with static, kernel,
// device and direct.
const (
	staticID    = 1
	kernelID    = 2
	firstPeerID = 5
)

// AS returns the speaker's AS number.
func (s *Speaker) AS() uint32 { return s.cfg.AS }

// RouterID returns the speaker's BGP identifier.
func (s *Speaker) RouterID() netip.Addr { return s.cfg.RouterID }

// ClusterID returns the cluster id of a route reflector, else the zero value.
func (s *Speaker) ClusterID() netip.Addr { return s.cfg.ClusterID }

// Peers returns the peers in the order in which they were added.
func (s *Speaker) Peers() []*Peer { return slices.Clone(s.peers) }

// Down reports whether the speaker has ended.
func (s *Speaker) Down() bool { return s.down }

func (s *Speaker) now() time.Duration { return s.cfg.Driver.Now() }

func (s *Speaker) after(d time.Duration, f func()) *link.Timer {
	return s.cfg.Driver.AfterFunc(s.source, d, f)
}

func (s *Speaker) nextPathID() uint32 {
	s.pathIDs++
	return s.pathIDs
}

func (s *Speaker) peer(name string) *Peer {
	i := slices.IndexFunc(s.peers, func(p *Peer) bool { return p.cfg.Name == name })
	if i < 0 {
		return nil
	}
	return s.peers[i]
}

// Peer returns the peer of that name, or nil.
func (s *Speaker) Peer(name string) *Peer { return s.peer(name) }

// AddPeer adds a peer and begins to connect to it, or to wait for it.
func (s *Speaker) AddPeer(cfg PeerConfig) (*Peer, error) {
	if err := cfg.check(s); err != nil {
		return nil, err
	}
	if cfg.Port == 0 {
		cfg.Port = Port
	}
	p := &Peer{speaker: s, cfg: cfg, since: s.now(), id: s.nextPathID()}
	s.peers = append(s.peers, p)
	if s.cfg.Restarting && !cfg.NoRestart {
		if s.waiting == nil {
			s.waiting = make(map[*Peer]bool)
			s.after(restartWait, s.recovered)
		}
		s.waiting[p] = true
	}
	p.initiate()
	return p, nil
}

// restartWait is how long a speaker that has restarted waits for its peers at
// most before it uses what it knows: BIRD's graceful restart wait.
const restartWait = 240 * time.Second

// RemovePeer ends the session with a peer as its configuration goes (Cease, Peer
// De-configured) and forgets what came from it. It reports whether there was one.
func (s *Speaker) RemovePeer(name string) bool {
	p := s.peer(name)
	if p == nil {
		return false
	}
	s.peers = slices.DeleteFunc(s.peers, func(o *Peer) bool { return o == p })
	p.removed = true
	p.stop(ceaseDeconfigured)
	s.heard(p)
	return true
}

// Shutdown ends the process in good order: all peers are told (Cease,
// Administrative Shutdown). What it has told Config.Best of stays, as routes do
// that BIRD has put into the kernel with "persist".
func (s *Speaker) Shutdown() { s.end(func(p *Peer) { p.stop(ceaseShutdown) }) }

// Kill ends the process without a word: connections end as the kernel ends those
// of a process that is gone.
func (s *Speaker) Kill() { s.end((*Peer).kill) }

// Abort ends the process with its machine: connections are forgotten.
func (s *Speaker) Abort() { s.end((*Peer).abort) }

func (s *Speaker) end(f func(*Peer)) {
	if s.down {
		return
	}
	s.down = true
	for _, p := range s.peers {
		f(p)
	}
}

// Accept is given a connection that a peer has made. It returns nil if there is
// no such peer or it is not wanted now; the caller closes the connection then.
func (s *Speaker) Accept(c Conn, from netip.Addr) *Session {
	if s.down {
		return nil
	}
	for _, p := range s.peers {
		if p.cfg.Addr == from {
			return p.accept(c)
		}
	}
	s.log(nil, "Unexpected connect from unknown address "+from.String())
	return nil
}

func (s *Speaker) log(p *Peer, line string) {
	if s.cfg.Log != nil {
		s.cfg.Log(p, line)
	}
}

// Announce makes a prefix of this machine's own known: a block, which the caller
// routes to nowhere where no longer route leads on.
func (s *Speaker) Announce(prefix netip.Prefix) { s.announce(prefix, Static, staticID) }

// Learn makes a prefix known that is among the machine's routes.
func (s *Speaker) Learn(prefix netip.Prefix) { s.announce(prefix, Kernel, kernelID) }

func (s *Speaker) announce(prefix netip.Prefix, from Origin, id uint32) {
	s.table.put(s, &Path{Prefix: prefix.Masked(), Protocol: from, ID: id, Attrs: &Attrs{LocalPref: 100}, Since: s.now()})
}

// Withdraw takes an own prefix back.
func (s *Speaker) Withdraw(prefix netip.Prefix) {
	for _, id := range []uint32{staticID, kernelID} {
		s.table.remove(s, prefix.Masked(), id)
	}
}

// Ready reports whether all sessions are established.
func (s *Speaker) Ready() bool {
	for _, p := range s.peers {
		if p.up == nil {
			return false
		}
	}
	return true
}
