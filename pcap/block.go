package pcap

import (
	"encoding/binary"
	"fmt"
)

// block reads the next block that this package understands and returns its
// type and body, which is valid until the next call. The error is io.EOF at
// the clean end of the file.
func (r *Reader) block() (kind uint32, body []byte, err error) {
	for {
		kind, total, err := r.blockHeader()
		if err != nil {
			return 0, nil, err
		}
		if known(kind) {
			body, err = r.knownBody(total)
		} else {
			// New types may come at any time (section 3.1): skipped unseen,
			// whatever their length.
			err = r.skip(int64(total) - blockOverhead)
		}
		if err == nil {
			err = r.blockTrailer(total)
		}
		if err != nil {
			return 0, nil, fmt.Errorf("block type %#x: %w", kind, err)
		}
		if known(kind) {
			return kind, body, nil
		}
	}
}

func known(kind uint32) bool {
	switch kind {
	case blockSection, blockInterface, blockPacket, blockSimplePacket,
		blockNames, blockStatistics, blockEnhancedPacket, blockSecrets:
		return true
	}
	return false
}

// blockHeader reads the type and the total length. A section header says the
// byte order of its own length: look ahead at its magic.
func (r *Reader) blockHeader() (kind, total uint32, err error) {
	r.start = r.off
	head := r.head[:blockHeaderLen]
	if err := r.read(head); err != nil {
		return 0, 0, err
	}
	if le.Uint32(head) == blockSection {
		if err := r.setOrder(); err != nil {
			return 0, 0, fmt.Errorf("section: %w", err)
		}
	}
	kind, total = r.order.Uint32(head), r.order.Uint32(head[4:])
	if total < blockOverhead || total%4 != 0 {
		return 0, 0, fmt.Errorf("block type %#x: length %d, want a multiple of 4 from %d", kind, total, blockOverhead)
	}
	return kind, total, nil
}

func (r *Reader) setOrder() error {
	magic, err := r.r.Peek(4)
	if err != nil {
		return unexpected(err)
	}
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(magic):
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic):
		r.order = binary.BigEndian
	default:
		return fmt.Errorf("byte-order magic %x, want %x in either order", magic, byteOrderMagic)
	}
	return nil
}

func (r *Reader) knownBody(total uint32) ([]byte, error) {
	if total > maxBlock {
		return nil, fmt.Errorf("length %d, want at most %d", total, maxBlock)
	}
	return r.readBody(int(total - blockOverhead))
}

// blockTrailer checks the second copy of the length.
func (r *Reader) blockTrailer(total uint32) error {
	tail := r.head[:4]
	if err := r.read(tail); err != nil {
		return unexpected(err)
	}
	if again := r.order.Uint32(tail); again != total {
		return fmt.Errorf("length %d, repeated at the end as %d", total, again)
	}
	return nil
}

// nextEnhanced returns the next packet of a pcapng file. It takes in the
// other blocks on the way.
func (r *Reader) nextEnhanced() (Packet, error) {
	for {
		kind, body, err := r.block()
		if err != nil {
			return Packet{}, err
		}
		if p, ok, err := r.packet(kind, body); ok {
			return p, err
		}
		switch kind {
		case blockSection:
			err = r.readSection(body)
		case blockInterface:
			err = r.readInterface(body)
		case blockNames:
			err = r.readNames(body)
		case blockStatistics:
			err = r.readStatistics(body)
		case blockSecrets:
			err = r.readSecrets(body)
		}
		if err != nil {
			return Packet{}, err
		}
	}
}

// wantBody checks that a block holds its fixed fields.
func wantBody(body []byte, n int) error {
	if len(body) < n {
		return fmt.Errorf("body of %d bytes, want %d", len(body), n)
	}
	return nil
}
