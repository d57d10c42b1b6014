package wireguard

import "encoding/binary"

// Types of messages (paper §5.4). The type is the first of four bytes, the
// others are zero; numbers are little-endian.
const (
	typeInitiation = 1
	typeResponse   = 2
	typeCookie     = 3
	typeData       = 4
)

// Lengths of messages in bytes.
const (
	InitiationSize = 148
	ResponseSize   = 92
	CookieSize     = 64
	KeepaliveSize  = dataHeader + tagSize // a data message without a packet

	dataHeader = 16
	tagSize    = 16
	macsSize   = 32 // mac1 and mac2 at the end of the first two types
)

// messageType returns the type of a message whose length is right for it, else
// 0.
func messageType(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	typ := binary.LittleEndian.Uint32(b)
	switch {
	case typ == typeInitiation && len(b) == InitiationSize,
		typ == typeResponse && len(b) == ResponseSize,
		typ == typeCookie && len(b) == CookieSize,
		typ == typeData && len(b) >= KeepaliveSize:
		return typ
	}
	return 0
}

// An initiation is the first message:
//
//	4 type | 4 sender | 32 ephemeral | 48 static | 28 timestamp | 16 mac1 | 16 mac2
type initiation []byte

func (m initiation) ephemeral() []byte { return m[8:40] }
func (m initiation) static() []byte    { return m[40:88] }
func (m initiation) timestamp() []byte { return m[88:116] }

// A response is the second message:
//
//	4 type | 4 sender | 4 receiver | 32 ephemeral | 16 empty | 16 mac1 | 16 mac2
type response []byte

func (m response) ephemeral() []byte { return m[12:44] }
func (m response) empty() []byte     { return m[44:60] }

// A cookieReply is what a responder under load sends in place of a response:
//
//	4 type | 4 receiver | 24 nonce | 32 cookie
type cookieReply []byte

func (m cookieReply) nonce() []byte  { return m[8:32] }
func (m cookieReply) cookie() []byte { return m[32:64] }

// A data message is a packet, or nothing, in an AEAD:
//
//	4 type | 4 receiver | 8 counter | encrypted packet, padded to 16 | 16 tag
type data []byte

func (m data) counter() uint64 { return binary.LittleEndian.Uint64(m[8:]) }

// sender and receiver are the indices that the ends have chosen.
func sender(m []byte) uint32 { return binary.LittleEndian.Uint32(m[4:]) }

// receiver is the second word of a cookie reply and of data, the third of a
// response.
func receiver(m []byte) uint32 {
	if m[0] == typeResponse {
		return binary.LittleEndian.Uint32(m[8:])
	}
	return binary.LittleEndian.Uint32(m[4:])
}

// put writes 32-bit words at the start of a message.
func put(m []byte, words ...uint32) {
	for i, w := range words {
		binary.LittleEndian.PutUint32(m[4*i:], w)
	}
}
