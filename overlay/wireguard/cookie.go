package wireguard

import (
	"crypto/hmac"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
)

// Lives of cookies (kernel messages.h).
const (
	cookieMaxAge  = 120 * time.Second
	cookieLatency = 5 * time.Second
)

// A cookie proves that its holder receives at the address it sends from.
type cookie [blake2s.Size128]byte

// labelled is the key that a public key stands for in one role.
func labelled(label string, public Key) Key {
	return blake2s.Sum256(append([]byte(label), public[:]...))
}

func mac1Key(public Key) Key   { return labelled("mac1----", public) }
func cookieKey(public Key) Key { return labelled("cookie--", public) }

// mac is the keyed hash of 16 bytes.
func mac(key, data []byte) (sum cookie) {
	h, err := blake2s.New128(key)
	if err != nil {
		panic(err) // keys have 16 or 32 bytes
	}
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// addMACs finishes a handshake message: mac1 shows that the sender knows the
// receiver's public key, mac2 that it has a cookie of the last two minutes
// (paper §5.4.4).
func (p *Peer) addMACs(m []byte) {
	m1 := m[len(m)-macsSize : len(m)-macsSize/2]
	m2 := m[len(m)-macsSize/2:]
	key := mac1Key(p.key)
	p.lastMAC1 = mac(key[:], m[:len(m)-macsSize])
	copy(m1, p.lastMAC1[:])
	clear(m2)
	if p.hasCookie && !p.device.expired(p.cookieAt, cookieMaxAge-cookieLatency) {
		sum := mac(p.cookie[:], m[:len(m)-macsSize/2])
		copy(m2, sum[:])
	}
}

// checkMACs reports whether mac1 is right, and whether mac2 is.
func (d *Device) checkMACs(m []byte, from netip.AddrPort) (known, proven bool) {
	key := mac1Key(d.public)
	sum := mac(key[:], m[:len(m)-macsSize])
	if !hmac.Equal(sum[:], m[len(m)-macsSize:len(m)-macsSize/2]) {
		return false, false
	}
	c := d.cookieFor(from)
	sum = mac(c[:], m[:len(m)-macsSize/2])
	return true, hmac.Equal(sum[:], m[len(m)-macsSize/2:])
}

// cookieFor is the cookie of an address. The secret behind it changes every two
// minutes.
func (d *Device) cookieFor(from netip.AddrPort) cookie {
	if !d.hasSecret || d.expired(d.secretAt, cookieMaxAge) {
		fill(d.cfg.Rand, d.secret[:])
		d.hasSecret, d.secretAt = true, d.now()
	}
	b := from.Addr().AsSlice()
	return mac(d.secret[:], binary.BigEndian.AppendUint16(b, from.Port()))
}

// createCookieReply answers a handshake message with a cookie (paper §5.4.7).
func (d *Device) createCookieReply(out cookieReply, m []byte, from netip.AddrPort) {
	put(out, typeCookie, sender(m))
	fill(d.cfg.Rand, out.nonce())
	c := d.cookieFor(from)
	newXAEAD(cookieKey(d.public)).Seal(out.cookie()[:0], out.nonce(), c[:], m[len(m)-macsSize:len(m)-macsSize/2])
}

// consumeCookieReply keeps the cookie for the next handshake message.
func (p *Peer) consumeCookieReply(m cookieReply) bool {
	c, err := newXAEAD(cookieKey(p.key)).Open(nil, m.nonce(), m.cookie(), p.lastMAC1[:])
	if err != nil {
		return false
	}
	p.cookie, p.hasCookie, p.cookieAt = cookie(c), true, p.device.now()
	return true
}

func newXAEAD(k Key) interface {
	Seal(dst, nonce, plain, more []byte) []byte
	Open(dst, nonce, sealed, more []byte) ([]byte, error)
} {
	a, err := chacha20poly1305.NewX(k[:])
	if err != nil {
		panic(err) // a Key has the right length
	}
	return a
}
