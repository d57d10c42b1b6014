package bgp

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
)

// Port is BGP's TCP port.
const Port = 179

// Config describes a speaker. Driver, Rand, AS, RouterID and Dial must be there.
// Times are of whole seconds; those that are zero have the values that Calico
// gives BIRD.
type Config struct {
	Driver   *link.Driver
	Rand     *rand.Rand // of the jitter of timers
	AS       uint32
	RouterID netip.Addr

	// ClusterID makes the speaker a route reflector for its peers that are
	// clients. Zero means that it has none.
	ClusterID netip.Addr

	// Dial begins to connect. Done is called once, at a later event, with the
	// connection or with what has gone wrong, and returns the session that the
	// connection is for: nil if nobody wants it any more. Local is zero if any
	// address will do.
	// Cancel gives the attempt up; done is not called any more.
	Dial func(local netip.Addr, remote netip.AddrPort, done func(Conn, error) *Session) (cancel func())

	// Best is told the path that is used for a prefix, nil if there is none any
	// more, whenever that changes. Nil to tell nobody.
	Best func(netip.Prefix, *Path)

	// Recovered is called when a restart is over and Best has been told of all
	// paths that there are: routes that the machine has beside are to go.
	Recovered func()

	// Export says whether a path may be sent to a peer, beside the rules of BGP
	// itself. Nil allows all.
	Export func(*Peer, *Path) bool

	// Log is told what a daemon would write to its log. Nil to tell nobody.
	Log func(peer *Peer, line string)

	HoldTime     time.Duration // 240 s; keepalives are sent three times as often
	ConnectDelay time.Duration // 2 s: how long a peer is left alone before it is connected to
	ConnectRetry time.Duration // 5 s: how long an attempt may take
	ErrorWait    time.Duration // 5 s, doubled by each further error
	ErrorWaitMax time.Duration // 30 s
	ErrorForget  time.Duration // 300 s: an error this long ago is forgotten
	RestartTime  time.Duration // 120 s: how long peers should keep our paths when the connection is lost

	// Restarting says that the speaker has run before and that the machine has gone
	// on to forward by what it had learned (RFC 4724 §4.1).
	Restarting bool
}

func (c *Config) setDefaults() error {
	if c.Driver == nil || c.Rand == nil || c.Dial == nil {
		return fmt.Errorf("bgp: configuration without a driver, a random source or Dial")
	}
	if c.AS == 0 {
		return fmt.Errorf("bgp: AS 0, want 1 to 4294967295")
	}
	if !c.RouterID.Is4() || c.RouterID.IsUnspecified() {
		return fmt.Errorf("bgp: router id %v, want an IPv4 address", c.RouterID)
	}
	c.HoldTime = cmp.Or(c.HoldTime, 240*time.Second)
	c.ConnectDelay = cmp.Or(c.ConnectDelay, 2*time.Second)
	c.ConnectRetry = cmp.Or(c.ConnectRetry, 5*time.Second)
	c.ErrorWait = cmp.Or(c.ErrorWait, 5*time.Second)
	c.ErrorWaitMax = cmp.Or(c.ErrorWaitMax, 30*time.Second)
	c.ErrorForget = cmp.Or(c.ErrorForget, 300*time.Second)
	c.RestartTime = cmp.Or(c.RestartTime, 120*time.Second)
	if c.HoldTime < 3*time.Second || c.HoldTime > 65535*time.Second {
		return fmt.Errorf("bgp: hold time %v, want 3s to 65535s", c.HoldTime)
	}
	return nil
}

// PeerConfig describes a peer.
type PeerConfig struct {
	Name string     // of the session, unique: "Mesh_192_168_56_12"
	Addr netip.Addr // the peer's
	Port uint16     // if zero, 179
	AS   uint32

	// Local is the address that connections come from. If zero, the machine
	// chooses; the next hop of paths is then the one that it has chosen.
	Local netip.Addr

	Passive       bool // the peer connects
	Client        bool // of this route reflector
	NextHopSelf   bool // send all paths with our own address as next hop
	KeepNextHop   bool // of an external peer: leave next hops as they are
	AllowLocalAS  int  // how often our own AS may be in a path that is accepted
	NoAddPath     bool // neither offer nor accept additional paths
	NoRestart     bool // no graceful restart
	DefaultPolicy bool // of a router: send all that is known; Config.Export is not asked
}

func (c PeerConfig) check(s *Speaker) error {
	switch {
	case c.Name == "" || s.peer(c.Name) != nil:
		return fmt.Errorf("bgp: peer %v: name %q, want one that no other has", c.Addr, c.Name)
	case !c.Addr.Is4() || c.Addr.IsUnspecified():
		return fmt.Errorf("bgp: peer %s: address %v, want an IPv4 address", c.Name, c.Addr)
	case c.AS == 0:
		return fmt.Errorf("bgp: peer %s: AS 0, want 1 to 4294967295", c.Name)
	case c.Client && (!s.cfg.ClusterID.Is4() || c.AS != s.cfg.AS):
		return fmt.Errorf("bgp: peer %s: a client of a route reflector has its AS, %d, and the reflector a cluster id", c.Name, s.cfg.AS)
	}
	return nil
}

// Conn is a TCP connection. Its methods are called with the driver's lock held and
// do not block.
type Conn interface {
	Send(message []byte) // queues it; the callee owns the bytes
	Close()              // once all that was queued is sent
	Abort()              // at once
	LocalAddr() netip.Addr
}

// jittered is a timer's time, shortened by up to a quarter in whole seconds (RFC
// 4271 §10, and bgp_start_timer of BIRD 1.6).
func (s *Speaker) jittered(d time.Duration) time.Duration {
	seconds := int64(d / time.Second)
	return time.Duration(seconds-s.cfg.Rand.Int64N(seconds/4+1)) * time.Second
}
