package text

import "encoding/binary"

// checksum is the complement of the Internet checksum (RFC 1071) of b, after
// what initial holds: 0 for bytes that carry their right checksum.
func checksum(b []byte, initial uint32) uint16 {
	sum := initial
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return ^fold(sum)
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// pseudo sums the pseudo header of TCP and UDP.
func (h ipHeader) pseudo(length int) uint32 {
	sum := uint32(h.proto) + uint32(length)
	for _, b := range [][]byte{h.src.AsSlice(), h.dst.AsSlice()} {
		for ; len(b) >= 2; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
	}
	return sum
}

// right returns the checksum that should stand at offset at of b.
func (h ipHeader) right(b []byte, at int) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		if i != at {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	return ^fold(sum + h.pseudo(len(b)))
}
