package wireguard

import (
	"time"

	"github.com/podwire/podwire/link"
)

// Times of the protocol (paper §6.1, kernel messages.h).
const (
	RekeyAfterTime   = 120 * time.Second
	RejectAfterTime  = 180 * time.Second
	RekeyTimeout     = 5 * time.Second
	KeepaliveTimeout = 10 * time.Second

	rekeyAfterMessages  = 1 << 60
	rejectAfterMessages = 1<<64 - 1<<13 - 1
	initiationInterval  = time.Second / 50
	maxAttempts         = 90 / 5 // handshakes before a peer is given up
	jitterMax           = 333    // ms on top of RekeyTimeout
)

// timer is one of a peer's timers.
type timer struct{ t *link.Timer }

func (t *timer) pending() bool { return t.t != nil }

func (t *timer) stop() {
	if t.t != nil {
		t.t.Stop()
		t.t = nil
	}
}

// set starts the timer, or starts it again.
func (p *Peer) set(t *timer, after time.Duration, f func()) {
	t.stop()
	t.t = p.device.cfg.Driver.AfterFunc(p.device.source, after, func() {
		t.t = nil
		f()
	})
}

// timers are a peer's (kernel timers.c).
type timers struct {
	retransmit   timer // send the initiation again
	keepalive    timer // say that we are here, after data without an answer of ours
	newHandshake timer // nothing has come back
	zero         timer // forget all keys
	persistent   timer

	attempts         int // handshakes since one has succeeded
	anotherKeepalive bool
	lastMinute       bool // a handshake was begun because the session is about to end
}

func (t *timers) stop() {
	for _, x := range []*timer{&t.retransmit, &t.keepalive, &t.newHandshake, &t.zero, &t.persistent} {
		x.stop()
	}
}

func (p *Peer) jitter() time.Duration {
	return time.Duration(p.device.cfg.Rand.IntN(jitterMax)) * time.Millisecond
}

// dataSent: if nothing comes back within 15 seconds, there is a new handshake.
func (p *Peer) dataSent() {
	if t := &p.timers; !t.newHandshake.pending() {
		p.set(&t.newHandshake, KeepaliveTimeout+RekeyTimeout+p.jitter(), func() { p.startHandshake(false) })
	}
}

// dataReceived: if we send nothing within 10 seconds, a keepalive says that we
// are here.
func (p *Peer) dataReceived() {
	t := &p.timers
	if t.keepalive.pending() {
		t.anotherKeepalive = true
		return
	}
	p.set(&t.keepalive, KeepaliveTimeout, p.keepaliveDue)
}

func (p *Peer) keepaliveDue() {
	p.sendKeepalive()
	if t := &p.timers; t.anotherKeepalive {
		t.anotherKeepalive = false
		p.set(&t.keepalive, KeepaliveTimeout, p.keepaliveDue)
	}
}

// authenticated messages of any kind reset what waits for one: sent, received.
func (p *Peer) authenticatedSent() {
	p.timers.keepalive.stop()
	p.traversed()
}

func (p *Peer) authenticatedReceived() {
	p.timers.newHandshake.stop()
	p.traversed()
}

// traversed puts off the persistent keepalive.
func (p *Peer) traversed() {
	if p.persistent > 0 {
		p.set(&p.timers.persistent, p.persistent, p.sendKeepalive)
	}
}

// handshakeSent: without a response there is another one in five seconds and a
// little.
func (p *Peer) handshakeSent() {
	p.set(&p.timers.retransmit, RekeyTimeout+p.jitter(), p.retransmit)
}

func (p *Peer) retransmit() {
	t := &p.timers
	if t.attempts <= maxAttempts {
		t.attempts++
		p.startHandshake(true)
		return
	}
	t.keepalive.stop()
	p.purge()
	if !t.zero.pending() {
		p.set(&t.zero, 3*RejectAfterTime, p.forget)
	}
}

func (p *Peer) handshakeComplete() {
	t := &p.timers
	t.retransmit.stop()
	t.attempts, t.lastMinute = 0, false
}

// sessionBegan: its keys are forgotten after nine minutes without another one.
func (p *Peer) sessionBegan() { p.set(&p.timers.zero, 3*RejectAfterTime, p.forget) }

// forget drops all keys and a handshake that is not over.
func (p *Peer) forget() {
	p.forgetIndex()
	p.handshake.reset()
	for _, s := range []**session{&p.previous, &p.current, &p.next} {
		p.drop(*s)
		*s = nil
	}
}
