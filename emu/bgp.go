package emu

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

// bgpTOS is the precedence of routing protocols, internetwork control, which BIRD
// sets on all its sockets.
const bgpTOS = 0xc0

// bird is the process that a BGP speaker is: it has the sockets. Its fields are
// guarded by the driver's lock.
type bird struct {
	m       *Machine
	speaker *bgp.Speaker
	ln      net.Listener
	ended   bool
	conns   []*bgpConn
}

// speak runs a BGP speaker on a machine. The caller holds the lock.
func (m *Machine) speak(cfg bgp.Config) (*bgp.Speaker, error) {
	b := &bird{m: m}
	cfg.Driver, cfg.Rand, cfg.Dial = m.lab.drv, m.stack.Rand("bgp"), b.dial
	s, err := bgp.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("emu: %s: %w", m.name, err)
	}
	b.speaker = s
	m.birds = append(m.birds, b)
	m.lab.work(b.listen)
	return s, nil
}

// listen accepts connections until the process ends. The listener's TTL is 255,
// as that of BIRD's, until a connection is found to be a peer's.
func (b *bird) listen() error {
	ln, err := b.m.stack.ListenWith("tcp", fmt.Sprintf(":%d", bgp.Port), stack.SocketConfig{TOS: bgpTOS, TTL: 255})
	if err != nil {
		b.m.lab.drv.Do(func() {
			if !b.over() {
				b.m.lab.warn(nil, fmt.Errorf("emu: %s: bird: %w", b.m.name, err))
			}
		})
		return nil
	}
	over := false
	b.m.lab.drv.Do(func() { b.ln, over = ln, b.over() })
	if over {
		return ln.Close()
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return unlessClosed(err)
		}
		b.accept(c.(*stack.Conn))
	}
}

// over reports whether the process has ended.
func (b *bird) over() bool { return b.ended || b.speaker.Down() || b.m.lab.closed }

func (b *bird) accept(c *stack.Conn) {
	from, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok { // it was reset before it could be accepted
		c.Close()
		return
	}
	c.SetTTL(0)
	var s *bgp.Session
	b.m.lab.drv.Do(func() {
		bc := b.newConn(c)
		if s = b.speaker.Accept(bc, from.AddrPort().Addr()); s != nil {
			bc.run(s)
		}
	})
	if s == nil {
		c.Close()
	}
}

// dial is bgp.Config.Dial. The caller holds the lock.
func (b *bird) dial(local netip.Addr, remote netip.AddrPort, done func(bgp.Conn, error) *bgp.Session) (cancel func()) {
	l := b.m.lab
	c, err := b.m.stack.Connect("tcp", remote.String(), stack.SocketConfig{Local: local, TOS: bgpTOS})
	if err != nil {
		given := false
		l.drv.Soon(func() {
			if !given {
				done(nil, err)
			}
		})
		return func() { given = true }
	}
	given := false
	l.work(func() error {
		err := c.Connected()
		l.drv.Do(func() {
			switch {
			case given:
			case err != nil:
				done(nil, err)
			default:
				bc := b.newConn(c)
				if s := done(bc, nil); s != nil {
					bc.run(s)
				} else {
					c.Abort()
				}
			}
		})
		return nil
	})
	return func() {
		given = true
		c.Abort()
	}
}

// bgpConn is a connection of a BGP speaker: one goroutine reads it and one writes
// what is queued, because the speaker acts with the lock held and must not block.
type bgpConn struct {
	b      *bird
	c      *stack.Conn
	local  netip.Addr
	wait   *link.Waiter
	queue  [][]byte
	closed bool // close it once queue is written
}

func (b *bird) newConn(c *stack.Conn) *bgpConn {
	bc := &bgpConn{b: b, c: c, wait: b.m.lab.drv.NewWaiter()}
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		bc.local = a.AddrPort().Addr()
	}
	b.conns = append(b.conns, bc)
	return bc
}

// Send implements bgp.Conn.
func (c *bgpConn) Send(message []byte) {
	c.queue = append(c.queue, message)
	c.wait.Wake()
}

// Close implements bgp.Conn.
func (c *bgpConn) Close() {
	c.closed = true
	c.wait.Wake()
}

// Abort implements bgp.Conn.
func (c *bgpConn) Abort() {
	c.c.Abort()
	c.Close()
}

// LocalAddr implements bgp.Conn.
func (c *bgpConn) LocalAddr() netip.Addr { return c.local }

// run starts the goroutines. The caller holds the lock.
func (c *bgpConn) run(s *bgp.Session) {
	c.b.m.lab.work(func() error { return c.read(s) })
	c.b.m.lab.work(c.write)
}

// read hands over what comes in.
func (c *bgpConn) read(s *bgp.Session) error {
	buf := make([]byte, 4096)
	for {
		n, err := c.c.Read(buf)
		c.b.m.lab.drv.Do(func() {
			if c.b.m.lab.closed || c.closed {
				return
			}
			if n > 0 {
				s.Receive(buf[:n])
			}
			switch {
			case errors.Is(err, io.EOF):
				s.Closed(nil)
			case err != nil:
				s.Closed(systemError(err))
			}
		})
		if err != nil {
			return nil
		}
	}
}

// systemError is the innermost error, as a daemon prints it.
func systemError(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// write sends what is queued, each message by itself.
func (c *bgpConn) write() error {
	for {
		c.wait.Wait()
		var queue [][]byte
		closed := false
		c.b.m.lab.drv.Do(func() {
			queue, closed = c.queue, c.closed || c.b.m.lab.closed
			c.queue = nil
		})
		for _, message := range queue {
			if _, err := c.c.Write(message); err != nil {
				break // the reader hears of it too
			}
		}
		if closed {
			c.c.Close()
			c.b.m.lab.drv.Do(func() { c.b.forget(c) })
			return nil
		}
	}
}

func (b *bird) forget(c *bgpConn) {
	for i, o := range b.conns {
		if o == c {
			b.conns = append(b.conns[:i:i], b.conns[i+1:]...)
			break
		}
	}
}

// stop ends the process once its speaker has: the listener closes. The caller
// holds the lock.
func (b *bird) stop() {
	b.speaker.Abort()
	b.ended = true
	if b.ln != nil {
		ln := b.ln
		b.ln = nil
		b.m.lab.work(func() error { return unlessClosed(ln.Close()) })
	}
}

// endBirds ends the machine's BGP speakers. The caller holds the lock.
func (m *Machine) endBirds() {
	for _, b := range m.birds {
		b.stop()
	}
	m.birds = nil
}

// runSpeaker is overlay.Network.Speak.
func (l *Lab) runSpeaker(n *overlay.Node, cfg bgp.Config) (*bgp.Speaker, error) {
	m := l.machines[n.Name]
	if m == nil || m.stack != n.Host {
		return nil, fmt.Errorf("emu: %s is no machine of the lab", n.Name)
	}
	return m.speak(cfg)
}

// Speaker returns the machine's BGP speaker, nil if it runs none: the nodes of
// Calico's designs with BGP do. Use it with the driver's lock held.
func (m *Machine) Speaker() *bgp.Speaker {
	for _, b := range m.birds {
		if !b.over() {
			return b.speaker
		}
	}
	return nil
}

// SpeaksBGP reports whether the machine runs a BGP speaker.
func (m *Machine) SpeaksBGP() (yes bool) {
	m.lab.drv.Do(func() { yes = m.Speaker() != nil })
	return yes
}

// speaking returns the design as one whose nodes speak BGP.
func (l *Lab) speaking() (overlay.Speaking, error) {
	s, ok := l.cni.(overlay.Speaking)
	if !ok || !l.design.BGP {
		return nil, fmt.Errorf("emu: design %s speaks no BGP", l.design.Name)
	}
	return s, nil
}

// AddBGPPeer has nodes peer with one more speaker outside of the cluster, as
// Config.BGP.Peers has from the beginning.
func (l *Lab) AddBGPPeer(p overlay.BGPPeer) error {
	s, err := l.speaking()
	if err == nil {
		l.drv.Do(func() { err = s.AddPeer(p) })
	}
	return err
}

// StopBGP ends the node's BGP daemon: in good order, so that its peers forget what
// it has announced, or killed, so that they keep it for the restart time in the
// hope that it comes back. Pods and the node's own routes stay.
func (n *Node) StopBGP(kill bool) error {
	s, err := n.lab.speaking()
	if err == nil {
		n.lab.drv.Do(func() {
			if err = n.lab.checkNode(n); err == nil {
				if err = s.StopSpeaker(&n.overlay, kill); err == nil {
					n.quitBirds()
				}
			}
		})
	}
	return err
}

// quitBirds ends the processes whose speakers have ended, connections in order.
func (m *Machine) quitBirds() {
	for _, b := range m.birds {
		b.ended = true
		if b.ln != nil {
			ln := b.ln
			b.ln = nil
			m.lab.work(func() error { return unlessClosed(ln.Close()) })
		}
	}
	m.birds = nil
}

// StartBGP starts the daemon again. One that was killed begins with a graceful
// restart.
func (n *Node) StartBGP() error {
	s, err := n.lab.speaking()
	if err == nil {
		n.lab.drv.Do(func() {
			if err = n.lab.checkNode(n); err == nil {
				err = s.StartSpeaker(&n.overlay)
			}
		})
	}
	return err
}

// readyPoll is how often AwaitReady looks.
const readyPoll = 10 * time.Millisecond

// AwaitReady waits until what the design's daemons tell each other has reached all
// nodes, as a cluster's scheduler waits for nodes to be Ready: until all BGP sessions
// are established and all blocks are known everywhere. Designs without such daemons
// are ready at once, and no time passes. The error says what is missing when the
// timeout, on the lab's clock, is over.
func (l *Lab) AwaitReady(timeout time.Duration) error {
	s, err := l.speaking()
	if err != nil {
		return nil
	}
	for end := l.Now() + timeout; ; {
		missing := ""
		l.drv.Do(func() {
			if !l.closed {
				missing = s.Unsettled()
			}
		})
		switch {
		case missing == "":
			return nil
		case l.Now() >= end:
			return fmt.Errorf("emu: not ready after %v: %s", timeout, missing)
		}
		l.Sleep(readyPoll)
	}
}
