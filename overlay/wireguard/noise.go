package wireguard

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"hash"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
)

// What both ends hash before anything else (paper §5.4).
const (
	construction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
	identifier   = "WireGuard v1 zx2c4 Jason@zx2c4.com"
)

var (
	initialChain = blake2s.Sum256([]byte(construction))
	initialHash  = mixHash(initialChain, []byte(identifier))
	zeroNonce    [chacha20poly1305.NonceSize]byte
)

func mixHash(h [32]byte, data []byte) [32]byte {
	b := make([]byte, 0, 128)
	return blake2s.Sum256(append(append(b, h[:]...), data...))
}

// kdf is HKDF of the paper, §5.4: n keys out of a chaining key and input.
func kdf(key [32]byte, input []byte, n int) (out [3]Key) {
	mac := func(key, data []byte, more ...byte) (sum Key) {
		h := hmac.New(newBlake2s, key)
		h.Write(data)
		h.Write(more)
		h.Sum(sum[:0])
		return sum
	}
	secret := mac(key[:], input)
	var last []byte
	for i := range n {
		out[i] = mac(secret[:], last, byte(i+1))
		last = out[i][:]
	}
	return out
}

func newBlake2s() hash.Hash {
	h, err := blake2s.New256(nil)
	if err != nil {
		panic(err) // only a key can be wrong
	}
	return h
}

// noise is the symmetric state of a handshake: chaining key and hash.
type noise struct {
	chain, hash [32]byte
}

func newNoise(responder Key) noise {
	return noise{chain: initialChain, hash: mixHash(initialHash, responder[:])}
}

func (n *noise) mixHash(data []byte) { n.hash = mixHash(n.hash, data) }
func (n *noise) mixKey(input []byte) { n.chain = kdf(n.chain, input, 1)[0] }

// mixKeyFor mixes input into the chain and returns a key to encrypt with.
func (n *noise) mixKeyFor(input []byte) Key {
	k := kdf(n.chain, input, 2)
	n.chain = k[0]
	return k[1]
}

// mixPSK mixes a preshared key in and returns a key to encrypt with.
func (n *noise) mixPSK(psk Key) Key {
	k := kdf(n.chain, psk[:], 3)
	n.chain = k[0]
	n.mixHash(k[1][:])
	return k[2]
}

// seal encrypts plain into dst, which is longer by a tag, and hashes the result.
func (n *noise) seal(dst []byte, key Key, plain []byte) {
	newAEAD(key).Seal(dst[:0], zeroNonce[:], plain, n.hash[:])
	n.mixHash(dst)
}

// open decrypts and hashes what it was given.
func (n *noise) open(key Key, sealed []byte) ([]byte, bool) {
	plain, err := newAEAD(key).Open(nil, zeroNonce[:], sealed, n.hash[:])
	n.mixHash(sealed)
	return plain, err == nil
}

// split returns the keys of the session: initiator to responder, and back.
func (n *noise) split() (toResponder, toInitiator Key) {
	k := kdf(n.chain, nil, 2)
	return k[0], k[1]
}

// timestamp is TAI64N: seconds since 1970 with an offset, then nanoseconds. As
// the kernel does, it rounds down to about 17 ms, which tells less about the
// sender and still orders 50 initiations per second.
type timestamp [12]byte

func newTimestamp(t time.Time) (s timestamp) {
	const tai, grain = 1<<62 + 10, 1 << 24
	binary.BigEndian.PutUint64(s[:], tai+uint64(t.Unix()))
	binary.BigEndian.PutUint32(s[8:], uint32(t.Nanosecond())&^(grain-1))
	return s
}

func (s timestamp) after(o timestamp) bool { return bytes.Compare(s[:], o[:]) > 0 }
