package pcap

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// An option is
//
//	+-------------------------------+-------------------------------+
//	|          Option Code          |         Option Length         |
//	|             Option Value, padded to 32 bits ...               |
//	+---------------------------------------------------------------+
//
// where the length does not count the padding. Code 0 ends the list.

const optionHeaderLen = 4

var le = binary.LittleEndian

// padding returns how many bytes follow n bytes to reach 32 bits.
func padding(n int) int { return -n & 3 }

func appendPadding(b []byte, n int) []byte {
	const zeros = "\x00\x00\x00"
	return append(b, zeros[:padding(n)]...)
}

func appendOption[T string | []byte](b []byte, code uint16, value T) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	return appendPadding(b, len(value))
}

// appendText appends s unless it is empty.
func appendText(b []byte, code uint16, s string) []byte {
	if s == "" {
		return b
	}
	return appendOption(b, code, cleanText(s, maxText))
}

func appendUint64(b []byte, code uint16, v uint64) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, 8)
	return le.AppendUint64(b, v)
}

// appendTicks appends a time as the high word, then the low word: a
// timestamp is not a 64-bit integer of the section's byte order.
func appendTicks(b []byte, ticks uint64) []byte {
	b = le.AppendUint32(b, uint32(ticks>>32))
	return le.AppendUint32(b, uint32(ticks))
}

func appendTime(b []byte, code uint16, ticks uint64) []byte {
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, 8)
	return appendTicks(b, ticks)
}

// appendPrefix appends if_IPv4addr (address, netmask) or if_IPv6addr
// (address, prefix length).
func appendPrefix(b []byte, p netip.Prefix) []byte {
	if p.Addr().Is4() {
		addr := p.Addr().As4()
		mask := ^uint32(0) << (32 - p.Bits())
		b = le.AppendUint16(b, optIfIPv4)
		b = le.AppendUint16(b, 8)
		b = append(b, addr[:]...)
		return binary.BigEndian.AppendUint32(b, mask) // an address: network order
	}
	addr := p.Addr().As16()
	b = le.AppendUint16(b, optIfIPv6)
	b = le.AppendUint16(b, 17)
	b = append(b, addr[:]...)
	b = append(b, byte(p.Bits()))
	return appendPadding(b, 17)
}

// appendEnd ends an option list that began at from. A block without options
// has no end either.
func appendEnd(b []byte, from int) []byte {
	if len(b) == from {
		return b
	}
	return append(b, 0, 0, 0, 0)
}

// cleanText makes s fit an option or a name of at most limit bytes. The
// format wants UTF-8, and readers written in C stop at a zero byte, so both
// zero bytes and bytes that are not UTF-8 become U+FFFD. What is too long is
// cut between runes.
func cleanText(s string, limit int) string {
	const bad = string(utf8.RuneError)
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", bad), bad)
	}
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// text reads a string option. Some writers count a terminating zero in the
// length: a zero ends a string, and what is not UTF-8 is repaired (sections
// 3.5 and 3.6.3).
func text(value []byte) string {
	s, _, _ := strings.Cut(string(value), "\x00")
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}

// options calls f for every option of list until f fails. The value is only
// valid during the call.
func (r *Reader) options(list []byte, f func(code uint16, value []byte) error) error {
	for len(list) > 0 {
		if len(list) < optionHeaderLen {
			return fmt.Errorf("option: %d bytes left, want %d", len(list), optionHeaderLen)
		}
		code, n := r.order.Uint16(list), int(r.order.Uint16(list[2:]))
		list = list[optionHeaderLen:]
		if code == optEnd {
			return nil
		}
		if n+padding(n) > len(list) {
			return fmt.Errorf("option %d: length %d, %d bytes left", code, n, len(list))
		}
		if err := f(code, list[:n]); err != nil {
			return fmt.Errorf("option %d: %w", code, err)
		}
		list = list[n+padding(n):]
	}
	return nil
}

// wantLen checks an option whose length is fixed.
func wantLen(value []byte, n int) error {
	if len(value) != n {
		return fmt.Errorf("length %d, want %d", len(value), n)
	}
	return nil
}

// readUint64 reads an 8-byte integer option into v.
func (r *Reader) readUint64(v *uint64, value []byte) error {
	if err := wantLen(value, 8); err != nil {
		return err
	}
	*v = r.order.Uint64(value)
	return nil
}

// ticks reads a timestamp; b must hold 8 bytes.
func (r *Reader) ticks(b []byte) uint64 {
	return uint64(r.order.Uint32(b))<<32 | uint64(r.order.Uint32(b[4:]))
}

// readPrefix reads if_IPv4addr or if_IPv6addr.
func readPrefix(code uint16, value []byte) (netip.Prefix, error) {
	if code == optIfIPv4 {
		return readPrefix4(value)
	}
	if err := wantLen(value, 17); err != nil {
		return netip.Prefix{}, err
	}
	if value[16] > 128 {
		return netip.Prefix{}, fmt.Errorf("prefix length %d, want at most 128", value[16])
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(value)), int(value[16])), nil
}

func readPrefix4(value []byte) (netip.Prefix, error) {
	if err := wantLen(value, 8); err != nil {
		return netip.Prefix{}, err
	}
	mask := binary.BigEndian.Uint32(value[4:])
	bits := 0
	for mask<<bits&(1<<31) != 0 {
		bits++
	}
	if mask<<bits != 0 {
		return netip.Prefix{}, fmt.Errorf("netmask %08x, want ones before zeros", mask)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte(value)), bits), nil
}
