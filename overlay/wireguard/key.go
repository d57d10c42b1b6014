package wireguard

import (
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
)

// KeySize is the length of every WireGuard key in bytes.
const KeySize = 32

// A Key is a private, public or preshared key. The zero value is no key; as a
// preshared key it means that there is none.
type Key [KeySize]byte

// NewPrivateKey makes a private key of what rng gives.
func NewPrivateKey(rng *rand.Rand) Key {
	var k Key
	fill(rng, k[:])
	k[0] &= 248 // clamped, as wg genkey does (RFC 7748 §5)
	k[31] = k[31]&127 | 64
	return k
}

// ParseKey reads a key as wg(8) prints it: 44 characters of base64.
func ParseKey(s string) (Key, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != KeySize {
		return Key{}, fmt.Errorf("wireguard: key %q, want 32 bytes in base64", s)
	}
	return Key(b), nil
}

// String returns the key in base64.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Public returns the public key of a private one.
func (k Key) Public() Key {
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic(err) // any 32 bytes are a key
	}
	return Key(private.PublicKey().Bytes())
}

// shared is the Diffie-Hellman function of a private and a public key. It
// reports false for a public key of low order, which fixes the result.
func (k Key) shared(public Key) (Key, bool) {
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		panic(err)
	}
	theirs, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		panic(err)
	}
	secret, err := private.ECDH(theirs)
	if err != nil {
		return Key{}, false
	}
	return Key(secret), true
}

// fill writes random bytes.
func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}
