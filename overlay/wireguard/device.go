package wireguard

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/podwire/podwire/link"
)

// Config describes a device. Driver, Rand, Send and Deliver must be there.
type Config struct {
	Driver     *link.Driver
	PrivateKey Key
	Rand       *rand.Rand // of ephemeral keys, indices, cookies and jitter
	MTU        int        // of the packets inside: padding does not exceed it

	// Send is given every message and owns the frame, which begins with it. TOS
	// is 0x88 (AF41) for handshakes, else the ECN bits that Outer has chosen.
	Send func(to netip.AddrPort, tos byte, f *link.Frame)

	// Outer chooses the TOS outside of a packet by that inside. Nil means 0.
	Outer func(inner byte) byte

	// Deliver is given every packet that comes out of the tunnel, still padded,
	// and the TOS that was outside, and owns the frame. The source address is one
	// that the sender may use.
	Deliver func(f *link.Frame, tos byte)

	// Drop is told why a frame ends here and owns it. Nil releases it.
	Drop func(f *link.Frame, why link.Reason)

	// KeyLog, if set, is given the keys of every handshake that begins here
	// before its first message is sent, in the format of wg's extract-handshakes
	// (Wireshark's WGKL).
	KeyLog func(lines string)

	// HandshakeTime is how long the machine works on one handshake message. If
	// zero, it is never under load, and never asks for cookies.
	HandshakeTime time.Duration
}

// Reasons for which a device drops.
const (
	DropNoPeer    link.Reason = "wireguard: no peer for the destination"
	DropStaged    link.Reason = "wireguard: too many packets wait for the handshake"
	DropGivenUp   link.Reason = "wireguard: the peer does not answer"
	DropMessage   link.Reason = "wireguard: not a message"
	DropHandshake link.Reason = "wireguard: handshake message is not acceptable"
	DropSession   link.Reason = "wireguard: no session for the message"
	DropDecrypt   link.Reason = "wireguard: message is forged or a replay"
	DropSource    link.Reason = "wireguard: source address is not one of the peer's"
	DropBusy      link.Reason = "wireguard: too many handshakes"
)

// A Device is one WireGuard interface. Its methods want the driver's lock.
type Device struct {
	cfg     Config
	public  Key
	source  uint32
	peers   map[Key]*Peer
	allowed bart.Table[*Peer]
	indices map[uint32]indexEntry

	secret    [32]byte // of cookies
	secretAt  time.Duration
	hasSecret bool

	busyUntil time.Duration // handshake messages that came before keep the machine busy
	loadedAt  time.Duration // when it was under load last
	loaded    bool
}

// indexEntry is what a message with that receiver is for: a session, or, with
// none, the peer's handshake.
type indexEntry struct {
	peer    *Peer
	session *session
}

// New returns a device without peers.
func New(cfg Config) (*Device, error) {
	if cfg.PrivateKey == (Key{}) || cfg.Driver == nil || cfg.Rand == nil || cfg.Send == nil || cfg.Deliver == nil {
		return nil, fmt.Errorf("wireguard: configuration without a driver, a private key, a random source, Send or Deliver")
	}
	if cfg.Drop == nil {
		cfg.Drop = func(f *link.Frame, _ link.Reason) { f.Release() }
	}
	if cfg.Outer == nil {
		cfg.Outer = func(byte) byte { return 0 }
	}
	return &Device{
		cfg: cfg, public: cfg.PrivateKey.Public(), source: cfg.Driver.NewSource(),
		peers: make(map[Key]*Peer), indices: make(map[uint32]indexEntry),
	}, nil
}

// PublicKey returns the device's public key.
func (d *Device) PublicKey() Key { return d.public }

func (d *Device) now() time.Duration { return d.cfg.Driver.Now() }

// PeerConfig describes a peer.
type PeerConfig struct {
	PublicKey    Key
	PresharedKey Key            // zero is none
	Endpoint     netip.AddrPort // zero until the peer has sent something
	AllowedIPs   []netip.Prefix // what is sent to the peer, and may come from it

	// PersistentKeepalive is the interval of keepalives in silence. If zero,
	// there are none.
	PersistentKeepalive time.Duration
}

// A Peer is another device.
type Peer struct {
	device     *Device
	key, psk   Key
	endpoint   netip.AddrPort
	persistent time.Duration

	handshake               handshake
	sentHandshake           time.Duration // when a handshake message was sent last
	previous, current, next *session
	staged                  []*link.Frame // waiting for a session
	timers                  timers

	cookie    cookie
	cookieAt  time.Duration
	hasCookie bool
	lastMAC1  cookie
}

// AddPeer adds a peer. An allowed IP that another peer has becomes this one's.
func (d *Device) AddPeer(cfg PeerConfig) error {
	static, ok := d.cfg.PrivateKey.shared(cfg.PublicKey)
	switch {
	case !ok:
		return fmt.Errorf("wireguard: peer %v: not a public key", cfg.PublicKey)
	case d.peers[cfg.PublicKey] != nil || cfg.PublicKey == d.public:
		return fmt.Errorf("wireguard: peer %v is there already", cfg.PublicKey)
	}
	p := &Peer{
		device: d, key: cfg.PublicKey, psk: cfg.PresharedKey, endpoint: cfg.Endpoint, persistent: cfg.PersistentKeepalive,
		handshake: handshake{static: static}, sentHandshake: d.now() - RekeyTimeout - time.Second,
	}
	d.peers[p.key] = p
	for _, a := range cfg.AllowedIPs {
		d.allowed.Insert(a.Masked(), p)
	}
	if p.persistent > 0 {
		p.sendKeepalive()
	}
	return nil
}

// RemovePeer removes a peer with its sessions and allowed IPs. It reports
// whether there was one.
func (d *Device) RemovePeer(key Key) bool {
	p := d.peers[key]
	if p == nil {
		return false
	}
	p.timers.stop()
	p.purge()
	p.forget()
	delete(d.peers, key)
	var gone []netip.Prefix
	for a, owner := range d.allowed.All() {
		if owner == p {
			gone = append(gone, a)
		}
	}
	for _, a := range gone {
		d.allowed.Delete(a)
	}
	return true
}

// newIndex reserves an index that nobody has, for a handshake or a session.
func (d *Device) newIndex(p *Peer, s *session) uint32 {
	for {
		i := d.cfg.Rand.Uint32()
		if _, used := d.indices[i]; !used {
			d.indices[i] = indexEntry{p, s}
			return i
		}
	}
}

// forgetIndex gives the index of a handshake back that did not become a session.
func (p *Peer) forgetIndex() {
	if h := &p.handshake; h.state == initiationSent || h.state == ready {
		delete(p.device.indices, h.index)
	}
}
