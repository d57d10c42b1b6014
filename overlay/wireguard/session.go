package wireguard

import (
	"crypto/cipher"
	"encoding/binary"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.zx2c4.com/wireguard/replay"

	"github.com/podwire/podwire/link"
)

// session is a pair of keys that a handshake has led to (the kernel's
// noise_keypair).
type session struct {
	send, recv cipher.AEAD
	index      uint32 // ours
	remote     uint32
	counter    uint64 // of the next message we send
	seen       replay.Filter
	began      time.Duration
	initiator  bool
	stale      bool // too old or too much used to send
}

// newSession turns a handshake that is ready into a session (paper §5.4.5).
// Until the first message comes in, a responder cannot know that the initiator
// has the keys: its session is the next one.
func (p *Peer) newSession() bool {
	h := &p.handshake
	if h.state != ready {
		return false
	}
	send, recv := h.split()
	if !h.initiator {
		send, recv = recv, send
	}
	s := &session{send: newAEAD(send), recv: newAEAD(recv), index: h.index, remote: h.remote, began: p.device.now(), initiator: h.initiator}
	p.device.indices[s.index] = indexEntry{p, s}
	h.reset() // its index is the session's now
	if s.initiator {
		if p.next != nil {
			p.drop(p.previous)
			p.drop(p.current)
			p.previous, p.next = p.next, nil
		} else {
			p.drop(p.previous)
			p.previous = p.current
		}
		p.current = s
		return true
	}
	p.drop(p.next)
	p.drop(p.previous)
	p.previous, p.next = nil, s
	return true
}

// confirmed makes the next session the current one when a message with its
// keys has come in. It reports whether that was news.
func (p *Peer) confirmed(s *session) bool {
	if s != p.next {
		return false
	}
	p.drop(p.previous)
	p.previous, p.current, p.next = p.current, s, nil
	return true
}

// drop ends a session; nil is none.
func (p *Peer) drop(s *session) {
	if s != nil {
		delete(p.device.indices, s.index)
	}
}

// expired reports whether a time has passed since at (wg_birthdate_has_expired).
func (d *Device) expired(at, after time.Duration) bool { return at+after <= d.now() }

// usable reports whether the session can still encrypt.
func (p *Peer) usable(s *session) bool {
	if s != nil && (s.counter >= rejectAfterMessages || p.device.expired(s.began, RejectAfterTime)) {
		s.stale = true
	}
	return s != nil && !s.stale
}

// seal makes a data message of the packet in f, padded with zeros to 16 bytes
// but not beyond the MTU (paper §5.4.6), and releases f.
func (p *Peer) seal(s *session, f *link.Frame) *link.Frame {
	n := f.Len()
	padded := max(n, min((n+15)&^15, p.device.cfg.MTU))
	out := p.device.cfg.Driver.NewFrame(dataHeader + padded + tagSize)
	out.ID, out.Hash, out.Note = f.ID, f.Hash, f.Note
	b := out.Bytes()
	put(b, typeData, s.remote)
	binary.LittleEndian.PutUint64(b[8:], s.counter)
	plain := b[dataHeader : dataHeader+padded]
	clear(plain[copy(plain, f.Bytes()):])
	s.send.Seal(plain[:0], nonceOf(s.counter), plain, nil)
	s.counter++
	f.Release()
	return out
}

// open decrypts a data message in place: afterwards f is the packet with its
// padding.
func (s *session) open(f *link.Frame) bool {
	m := data(f.Bytes())
	counter := m.counter()
	plain, err := s.recv.Open(m[dataHeader:dataHeader], nonceOf(counter), m[dataHeader:], nil)
	if err != nil || !s.seen.ValidateCounter(counter, rejectAfterMessages) {
		return false
	}
	f.Truncate(dataHeader + len(plain))
	f.Pull(dataHeader)
	return true
}

// nonceOf is four zeros and the counter.
func nonceOf(counter uint64) []byte {
	var n [chacha20poly1305.NonceSize]byte
	binary.LittleEndian.PutUint64(n[4:], counter)
	return n[:]
}
