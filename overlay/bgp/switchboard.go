package bgp

import (
	"errors"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
)

// A Switchboard joins speakers without a network, for tests: whoever dials the
// address of one is connected. Its methods want the driver's lock.
type Switchboard struct {
	Driver  *link.Driver
	Latency time.Duration // of a message, one way

	// Watch is told of every message. Nil to tell nobody.
	Watch func(from, to netip.Addr, message []byte)

	speakers map[netip.Addr]*Speaker
	source   uint32
	cut      map[netip.Addr]bool
}

// errRefused is the error of a connection that nobody takes.
var errRefused = errors.New("connection refused")

// Start makes a speaker whose address is its router id.
func (b *Switchboard) Start(cfg Config) (*Speaker, error) {
	if b.speakers == nil {
		b.speakers, b.cut, b.source = make(map[netip.Addr]*Speaker), make(map[netip.Addr]bool), b.Driver.NewSource()
	}
	own := cfg.RouterID
	cfg.Driver = b.Driver
	cfg.Dial = func(_ netip.Addr, remote netip.AddrPort, done func(Conn, error) *Session) func() {
		given := false
		b.Driver.AfterFunc(b.source, 2*b.Latency, func() {
			if given || b.cut[own] || b.cut[remote.Addr()] {
				return
			}
			near, far := b.pair(own, remote.Addr())
			if s := b.speakers[remote.Addr()]; s != nil {
				far.session = s.Accept(far, own)
			}
			if far.session == nil {
				done(nil, errRefused)
				return
			}
			if near.session = done(near, nil); near.session == nil {
				near.Close()
			}
		})
		return func() { given = true }
	}
	s, err := New(cfg)
	if err == nil {
		b.speakers[own] = s
	}
	return s, err
}

// Cut loses all that is sent from and to an address, or ends that.
func (b *Switchboard) Cut(a netip.Addr, cut bool) { b.cut[a] = cut }

func (b *Switchboard) pair(near, far netip.Addr) (x, y *patch) {
	x, y = &patch{b: b, addr: near}, &patch{b: b, addr: far}
	x.other, y.other = y, x
	return x, y
}

// patch is one end of a connection.
type patch struct {
	b       *Switchboard
	addr    netip.Addr
	other   *patch
	session *Session
	closed  bool
}

// deliver has something arrive at the other end, unless one of them is cut off.
func (p *patch) deliver(f func(*Session)) {
	if p.b.cut[p.addr] || p.b.cut[p.other.addr] {
		return
	}
	p.b.Driver.AfterFunc(p.b.source, p.b.Latency, func() {
		if s := p.other.session; s != nil && !p.other.closed {
			f(s)
		}
	})
}

// Send implements Conn.
func (p *patch) Send(message []byte) {
	if p.b.Watch != nil {
		p.b.Watch(p.addr, p.other.addr, message)
	}
	p.deliver(func(s *Session) { s.Receive(message) })
}

// Close implements Conn.
func (p *patch) Close() {
	if !p.closed {
		p.closed = true
		p.deliver(func(s *Session) { s.Closed(nil) })
	}
}

// Abort implements Conn.
func (p *patch) Abort() { p.closed = true }

// LocalAddr implements Conn.
func (p *patch) LocalAddr() netip.Addr { return p.addr }
