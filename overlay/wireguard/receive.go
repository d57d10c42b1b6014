package wireguard

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
)

// Limits of incoming handshakes (kernel messages.h).
const (
	maxQueued  = 4096
	loadQueued = maxQueued / 8
)

// Receive handles a message that has come from an address with a TOS. It owns
// the frame, which begins with the message.
func (d *Device) Receive(from netip.AddrPort, tos byte, f *link.Frame) {
	switch messageType(f.Bytes()) {
	case typeData:
		d.receiveData(from, tos, f)
	case typeInitiation, typeResponse:
		d.receiveHandshake(from, f)
	case typeCookie:
		e, ok := d.indices[receiver(f.Bytes())]
		if !ok || !e.peer.consumeCookieReply(f.Bytes()) {
			d.cfg.Drop(f, DropHandshake)
			return
		}
		f.Release()
	default:
		d.cfg.Drop(f, DropMessage)
	}
}

// receiveHandshake checks the MACs, asks for a cookie if there is too much to
// do, and carries the handshake on.
func (d *Device) receiveHandshake(from netip.AddrPort, f *link.Frame) {
	m := f.Bytes()
	loaded, full := d.load()
	known, proven := d.checkMACs(m, from)
	switch {
	case full:
		d.cfg.Drop(f, DropBusy)
		return
	case !known:
		d.cfg.Drop(f, DropHandshake)
		return
	case loaded && !proven:
		reply := d.newMessage(CookieSize)
		d.createCookieReply(reply.Bytes(), m, from)
		d.cfg.Drop(f, DropBusy)
		d.cfg.Send(from, 0, reply)
		return
	}
	ok := false
	if m[0] == typeInitiation {
		ok = d.receiveInitiation(from, m)
	} else {
		ok = d.receiveResponse(from, m)
	}
	if !ok {
		d.cfg.Drop(f, DropHandshake)
		return
	}
	f.Release()
}

func (d *Device) receiveInitiation(from netip.AddrPort, m initiation) bool {
	p := d.consumeInitiation(m)
	if p == nil {
		return false
	}
	p.endpoint = from
	p.respond()
	p.authenticatedReceived()
	return true
}

// receiveResponse begins the session. What waits is sent with it; if nothing
// does, a keepalive confirms it.
func (d *Device) receiveResponse(from netip.AddrPort, m response) bool {
	e, ok := d.indices[receiver(m)]
	if !ok || e.session != nil || !e.peer.consumeResponse(m) {
		return false
	}
	p := e.peer
	p.endpoint = from
	if p.newSession() {
		p.sessionBegan()
		p.handshakeComplete()
		p.sendKeepalive()
	}
	p.authenticatedReceived()
	return true
}

// load accounts for one handshake message. A machine that is under load stays
// so for a second.
func (d *Device) load() (loaded, full bool) {
	t := d.cfg.HandshakeTime
	if t <= 0 {
		return false, false
	}
	now := d.now()
	d.busyUntil = max(d.busyUntil, now)
	queued := int((d.busyUntil - now) / t)
	if queued >= maxQueued {
		return true, true
	}
	d.busyUntil += t
	if queued >= loadQueued {
		d.loaded, d.loadedAt = true, now
	}
	if d.loaded && d.expired(d.loadedAt, time.Second) {
		d.loaded = false
	}
	return d.loaded, false
}

// receiveData decrypts a message (the kernel's wg_packet_consume_data).
func (d *Device) receiveData(from netip.AddrPort, tos byte, f *link.Frame) {
	e, ok := d.indices[receiver(f.Bytes())]
	s := e.session
	if !ok || s == nil || d.expired(s.began, RejectAfterTime) {
		d.cfg.Drop(f, DropSession)
		return
	}
	if !s.open(f) {
		d.cfg.Drop(f, DropDecrypt)
		return
	}
	p := e.peer
	p.endpoint = from
	if p.confirmed(s) {
		p.handshakeComplete()
		p.flush()
	}
	p.refresh(s)
	p.authenticatedReceived()
	if f.Len() == 0 {
		f.Release() // a keepalive
		return
	}
	p.dataReceived()
	d.deliver(p, tos, f)
}

// refresh begins a handshake if the session ends soon and we began it: whoever
// only receives would otherwise let it end.
func (p *Peer) refresh(s *session) {
	if p.timers.lastMinute || s != p.current || !s.initiator || s.stale ||
		!p.device.expired(s.began, RejectAfterTime-KeepaliveTimeout-RekeyTimeout) {
		return
	}
	p.timers.lastMinute = true
	p.startHandshake(false)
}

// deliver hands on the packet without its padding if its source is the peer's.
func (d *Device) deliver(p *Peer, tos byte, f *link.Frame) {
	ip := f.Bytes()
	if len(ip) < 20 || ip[0]>>4 != 4 {
		d.cfg.Drop(f, DropMessage)
		return
	}
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if total < 20 || total > len(ip) {
		d.cfg.Drop(f, DropMessage)
		return
	}
	f.Truncate(total)
	if owner, ok := d.allowed.Lookup(netip.AddrFrom4([4]byte(ip[12:16]))); !ok || owner != p {
		d.cfg.Drop(f, DropSource)
		return
	}
	d.cfg.Deliver(f, tos)
}
