package conntrack

import (
	"encoding/binary"
	"hash/crc32"
)

// delta is a pending change to Internet checksums, RFC 1624 equation 3: the sum of ~m + m' over the 16-bit words that
// changed from m to m'. It wraps only after 32,768 words.
type delta uint32

// put16 stores v over the two bytes at b and adds the change.
func (d *delta) put16(b []byte, v uint16) {
	*d += delta(^binary.BigEndian.Uint16(b)) + delta(v)
	binary.BigEndian.PutUint16(b, v)
}

// put32 stores v over the four bytes at b and adds the change.
func (d *delta) put32(b []byte, v uint32) {
	d.put16(b, uint16(v>>16))
	d.put16(b[2:], uint16(v))
}

// apply returns checksum sum brought up to date with the change.
func (d delta) apply(sum uint16) uint16 {
	s := uint32(^sum) + uint32(d)&0xffff + uint32(d)>>16
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	return ^uint16(s)
}

// fix updates the checksum at b and returns how that changes sums that cover it.
func (d delta) fix(b []byte) delta {
	var covered delta
	covered.put16(b, d.apply(binary.BigEndian.Uint16(b)))
	return covered
}

// fixUDP is fix for UDP, where zero means no checksum and is never computed (RFC 768).
func (d delta) fixUDP(b []byte) delta {
	old := binary.BigEndian.Uint16(b)
	if old == 0 {
		return 0
	}
	sum := d.apply(old)
	if sum == 0 {
		sum = 0xffff
	}
	var covered delta
	covered.put16(b, sum)
	return covered
}

// fixICMP is fix for an ICMP message msg. It is the one checksum whose data may be all zero (an echo reply with identifier,
// number and data zero): then the checksum is 0xffff, where the arithmetic gives 0.
func (d delta) fixICMP(msg []byte) delta {
	covered := d.fix(msg[2:])
	if msg[0]|msg[1]|msg[2]|msg[3] != 0 {
		return covered
	}
	for _, b := range msg[4:] {
		if b != 0 {
			return covered
		}
	}
	covered.put16(msg[2:], 0xffff)
	return covered
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var zeros [1024]byte

// sctpPut16 stores v over a port at l4[at] and updates the CRC32c of the SCTP packet of size bytes that begins with l4; it
// may be cut short after the common header, as in a quote. CRCs are linear: the change of the checksum depends on the bytes
// that changed and on how many follow, not on what they are, so it is the difference of two runs over zeros. As with the
// Internet checksum, a packet that was corrupt stays corrupt.
func sctpPut16(l4 []byte, at int, v uint16, size int) delta {
	var covered delta
	if len(l4) < sctpHeaderLen {
		covered.put16(l4[at:], v)
		return covered
	}
	sum := binary.LittleEndian.Uint32(l4[8:])
	sum ^= sctpPortsCRC(l4, size)
	covered.put16(l4[at:], v)
	sum ^= sctpPortsCRC(l4, size)
	var wire [4]byte
	binary.LittleEndian.PutUint32(wire[:], sum)
	covered.put32(l4[8:], binary.BigEndian.Uint32(wire[:]))
	return covered
}

// sctpPortsCRC returns the CRC32c of the ports at l4, followed by zeros up to size bytes.
func sctpPortsCRC(l4 []byte, size int) uint32 {
	crc := crc32.Update(0, castagnoli, l4[:4])
	for size -= 4; size > 0; size -= len(zeros) {
		crc = crc32.Update(crc, castagnoli, zeros[:min(size, len(zeros))])
	}
	return crc
}
