package wireguard

import (
	"crypto/cipher"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

func newAEAD(k Key) cipher.AEAD {
	a, err := chacha20poly1305.New(k[:])
	if err != nil {
		panic(err) // a Key has the right length
	}
	return a
}

// state says how far a handshake has come.
type state uint8

const (
	idle               state = iota
	initiationSent           // we wait for the response
	initiationReceived       // we are about to send the response
	ready                    // both messages were exchanged: a session can begin
)

// handshake is what a peer remembers from one message to the next.
type handshake struct {
	noise
	state      state
	initiator  bool
	ephemeral  Key // ours, private
	theirs     Key // their ephemeral, public
	index      uint32
	remote     uint32 // their index
	static     Key    // Diffie-Hellman of both static keys, computed once
	timestamp  timestamp
	consumedAt time.Duration // when an initiation of theirs was accepted last
	consumed   bool
}

// reset forgets a handshake but what protects from replay.
func (h *handshake) reset() {
	*h = handshake{static: h.static, timestamp: h.timestamp, consumedAt: h.consumedAt, consumed: h.consumed}
}

// createInitiation writes the first message (paper §5.4.2), without its MACs.
func (p *Peer) createInitiation(m initiation) {
	d, h := p.device, &p.handshake
	p.forgetIndex()
	h.reset()
	h.noise = newNoise(p.key)
	h.ephemeral = NewPrivateKey(d.cfg.Rand)
	public := h.ephemeral.Public()
	copy(m.ephemeral(), public[:])
	h.mixHash(public[:])
	h.mixKey(public[:])
	secret, _ := h.ephemeral.shared(p.key) // AddPeer has tried p.key
	h.seal(m.static(), h.mixKeyFor(secret[:]), d.public[:])
	ts := newTimestamp(d.cfg.Driver.Epoch().Add(d.now()))
	h.seal(m.timestamp(), h.mixKeyFor(h.static[:]), ts[:])
	h.state, h.initiator, h.index = initiationSent, true, d.newIndex(p, nil)
	put(m, typeInitiation, h.index)
}

// consumeInitiation reads the first message and returns who sent it, nil if it
// is not acceptable: forged, from a stranger, a replay, or the next one within
// 20 ms.
func (d *Device) consumeInitiation(m initiation) *Peer {
	n := newNoise(d.public)
	theirs := Key(m.ephemeral())
	n.mixHash(theirs[:])
	n.mixKey(theirs[:])
	secret, ok := d.cfg.PrivateKey.shared(theirs)
	if !ok {
		return nil
	}
	static, ok := n.open(n.mixKeyFor(secret[:]), m.static())
	if !ok {
		return nil
	}
	p := d.peers[Key(static)]
	if p == nil {
		return nil
	}
	h := &p.handshake
	ts, ok := n.open(n.mixKeyFor(h.static[:]), m.timestamp())
	if !ok || !timestamp(ts).after(h.timestamp) || h.consumed && h.consumedAt+initiationInterval > d.now() {
		return nil
	}
	p.forgetIndex()
	h.reset()
	h.noise, h.theirs, h.remote, h.timestamp = n, theirs, sender(m), timestamp(ts)
	h.consumed, h.consumedAt, h.state = true, d.now(), initiationReceived
	return p
}

// createResponse writes the second message (paper §5.4.3), without its MACs.
// It reports false if the peer's keys do not allow for one.
func (p *Peer) createResponse(m response) bool {
	d, h := p.device, &p.handshake
	h.ephemeral = NewPrivateKey(d.cfg.Rand)
	public := h.ephemeral.Public()
	copy(m.ephemeral(), public[:])
	h.mixHash(public[:])
	h.mixKey(public[:])
	for _, theirs := range []Key{h.theirs, p.key} {
		secret, ok := h.ephemeral.shared(theirs)
		if !ok {
			return false
		}
		h.mixKey(secret[:])
	}
	h.seal(m.empty(), h.mixPSK(p.psk), nil)
	h.state, h.index = ready, d.newIndex(p, nil)
	put(m, typeResponse, h.index, h.remote)
	return true
}

// consumeResponse reads the second message. It changes nothing unless the
// message is right.
func (p *Peer) consumeResponse(m response) bool {
	h := &p.handshake
	if h.state != initiationSent {
		return false
	}
	n, theirs := h.noise, Key(m.ephemeral())
	n.mixHash(theirs[:])
	n.mixKey(theirs[:])
	for _, ours := range []Key{h.ephemeral, p.device.cfg.PrivateKey} {
		secret, ok := ours.shared(theirs)
		if !ok {
			return false
		}
		n.mixKey(secret[:])
	}
	if _, ok := n.open(n.mixPSK(p.psk), m.empty()); !ok {
		return false
	}
	h.noise, h.theirs, h.remote, h.state = n, theirs, sender(m), ready
	return true
}
