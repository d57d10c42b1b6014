package pcap

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// The classic format, draft-ietf-opsawg-pcap section 4: a header of 24 bytes
//
//	magic, version major and minor, 8 reserved bytes, snapshot length, link type
//
// and for each packet 16 bytes of seconds, fraction, captured length and
// original length, then the data, without padding.
const (
	magicMicro       = 0xa1b2c3d4
	magicNano        = 0xa1b23c4d
	classicHeaderLen = 24
	recordHeaderLen  = 16
)

// classicHeader is what later records need of the file's header.
type classicHeader struct {
	tick time.Duration // unit of the fraction
}

func (r *Reader) readClassicHeader() error {
	head := r.head[:classicHeaderLen]
	if err := r.read(head[:4]); err != nil {
		return unexpected(err)
	}
	if err := r.setMagic(head); err != nil {
		return err
	}
	if err := r.read(head[4:]); err != nil {
		return unexpected(err)
	}
	// Before 2.3 the two lengths of a record could come in the other order.
	major, minor := r.order.Uint16(head[4:]), r.order.Uint16(head[6:])
	if major != 2 || minor < 3 || minor > 4 {
		return fmt.Errorf("version %d.%d, want 2.3 or 2.4", major, minor)
	}
	// The upper half of the link type describes the frame check sequence.
	link := linkTypeOf(uint16(r.order.Uint32(head[20:])))
	r.ifaces = []Interface{{LinkType: link, SnapLen: r.order.Uint32(head[16:])}}
	return nil
}

// setMagic learns byte order and resolution.
func (r *Reader) setMagic(magic []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		r.order = order
		switch order.Uint32(magic) {
		case magicMicro:
			r.classic.tick = time.Microsecond
			return nil
		case magicNano:
			r.classic.tick = time.Nanosecond
			return nil
		}
	}
	if magic[0] == 0x1f && magic[1] == 0x8b {
		return fmt.Errorf("magic %x is gzip, want pcapng or pcap: decompress it first", magic[:4])
	}
	return fmt.Errorf("magic %x, want pcapng or pcap", magic[:4])
}

func (r *Reader) nextClassic() (Packet, error) {
	r.start = r.off
	head := r.head[:recordHeaderLen]
	if err := r.read(head); err != nil {
		return Packet{}, err
	}
	sec, frac := r.order.Uint32(head), r.order.Uint32(head[4:])
	n := r.order.Uint32(head[8:])
	orig, err := origLen(r.order.Uint32(head[12:]))
	if err != nil {
		return Packet{}, fmt.Errorf("record: %w", err)
	}
	if n > maxBlock {
		return Packet{}, fmt.Errorf("record: captured length %d, want at most %d", n, maxBlock)
	}
	data, err := r.readBody(int(n))
	if err != nil {
		return Packet{}, fmt.Errorf("record: %w", err)
	}
	at := time.Unix(int64(sec), int64(frac)*int64(r.classic.tick)).UTC()
	return Packet{Time: at, Data: slices.Clone(data), OrigLen: orig}, nil
}
