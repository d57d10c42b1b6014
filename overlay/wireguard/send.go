package wireguard

import (
	"net/netip"

	"github.com/podwire/podwire/link"
)

const (
	handshakeTOS = 0x88 // AF41, plus 00 ECN (kernel messages.h)
	maxStaged    = 128
)

// Transmit sends the IPv4 packet in f to the peer that may receive it. Without
// a session it waits for the handshake, which begins. False says that there is
// no such peer, or that nobody knows where it is: the frame is then still the
// caller's, who answers with host unreachable as the kernel does.
func (d *Device) Transmit(f *link.Frame) bool {
	p, ok := d.allowed.Lookup(netip.AddrFrom4([4]byte(f.Bytes()[16:20])))
	if !ok || !p.endpoint.IsValid() {
		return false
	}
	if len(p.staged) == maxStaged {
		d.cfg.Drop(p.staged[0], DropStaged)
		p.staged = append(p.staged[:0], p.staged[1:]...)
	}
	p.staged = append(p.staged, f)
	p.flush()
	return true
}

// flush sends what waits, or begins a handshake (the kernel's
// wg_packet_send_staged_packets).
func (p *Peer) flush() {
	if len(p.staged) == 0 {
		return
	}
	if !p.usable(p.current) {
		p.startHandshake(false)
		return
	}
	d, s := p.device, p.current
	p.authenticatedSent()
	sent := false
	for i, f := range p.staged {
		tos := byte(0)
		if f.Len() > 0 {
			tos, sent = d.cfg.Outer(f.Bytes()[1]), true
		}
		p.staged[i] = nil
		d.cfg.Send(p.endpoint, tos, p.seal(s, f))
	}
	p.staged = p.staged[:0]
	if sent {
		p.dataSent()
	}
	if s.counter > rekeyAfterMessages || s.initiator && d.expired(s.began, RekeyAfterTime) {
		p.startHandshake(false)
	}
}

// purge drops what waits.
func (p *Peer) purge() {
	for _, f := range p.staged {
		p.device.cfg.Drop(f, DropGivenUp)
	}
	p.staged = nil
}

// sendKeepalive sends what waits, or an empty message.
func (p *Peer) sendKeepalive() {
	if len(p.staged) == 0 {
		f := p.device.cfg.Driver.NewFrame(0)
		f.ID = p.device.cfg.Driver.NewID()
		p.staged = append(p.staged, f)
	}
	p.flush()
}

// startHandshake sends an initiation unless one was sent within five seconds.
// A retry counts towards giving up.
func (p *Peer) startHandshake(retry bool) {
	d := p.device
	if !retry {
		p.timers.attempts = 0
	}
	if !d.expired(p.sentHandshake, RekeyTimeout) || !p.endpoint.IsValid() {
		return
	}
	p.sentHandshake = d.now()
	f := d.newMessage(InitiationSize)
	p.createInitiation(f.Bytes())
	p.addMACs(f.Bytes())
	p.logKeys()
	p.authenticatedSent()
	d.cfg.Send(p.endpoint, handshakeTOS, f)
	p.handshakeSent()
}

// logKeys tells what Wireshark needs for the session that this handshake leads
// to.
func (p *Peer) logKeys() {
	d := p.device
	if d.cfg.KeyLog == nil {
		return
	}
	lines := "LOCAL_STATIC_PRIVATE_KEY = " + d.cfg.PrivateKey.String() + "\n" +
		"REMOTE_STATIC_PUBLIC_KEY = " + p.key.String() + "\n" +
		"LOCAL_EPHEMERAL_PRIVATE_KEY = " + p.handshake.ephemeral.String() + "\n"
	if p.psk != (Key{}) {
		lines += "PRESHARED_KEY = " + p.psk.String() + "\n"
	}
	d.cfg.KeyLog(lines)
}

// respond answers an initiation and begins the session.
func (p *Peer) respond() {
	d := p.device
	p.sentHandshake = d.now()
	f := d.newMessage(ResponseSize)
	if !p.createResponse(f.Bytes()) {
		f.Release()
		p.forgetIndex()
		p.handshake.reset()
		return
	}
	p.addMACs(f.Bytes())
	p.newSession()
	p.sessionBegan()
	p.authenticatedSent()
	d.cfg.Send(p.endpoint, handshakeTOS, f)
}

// newMessage returns a frame for a message that no packet has caused.
func (d *Device) newMessage(n int) *link.Frame {
	f := d.cfg.Driver.NewFrame(n)
	f.ID = d.cfg.Driver.NewID()
	clear(f.Bytes())
	return f
}
