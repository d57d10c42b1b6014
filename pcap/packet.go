package pcap

import (
	"fmt"
	"math"
	"slices"
)

// This file reads the three pcapng blocks that carry a packet.

// packet reads a block that carries a packet, and returns false for others.
func (r *Reader) packet(kind uint32, body []byte) (p Packet, ok bool, err error) {
	name := ""
	switch kind {
	case blockEnhancedPacket:
		name = "enhanced packet"
		p, err = r.readEnhanced(body)
	case blockSimplePacket:
		name = "simple packet"
		p, err = r.readSimple(body)
	case blockPacket:
		name = "packet block"
		p, err = r.readObsolete(body)
	default:
		return Packet{}, false, nil
	}
	if err != nil {
		return Packet{}, true, fmt.Errorf("%s: %w", name, err)
	}
	return p, true, nil
}

// readEnhanced reads an enhanced packet block, section 4.3:
//
//	interface id, timestamp high, timestamp low,
//	captured length, original length, packet data, options
func (r *Reader) readEnhanced(body []byte) (Packet, error) {
	if err := wantBody(body, enhancedFixedLen); err != nil {
		return Packet{}, err
	}
	return r.readPacket(body, r.order.Uint32(body))
}

// readObsolete reads a packet block, appendix A. It differs from its
// successor in the first word: a 16-bit interface id, then a 16-bit count of
// drops, where all ones means unknown.
func (r *Reader) readObsolete(body []byte) (Packet, error) {
	if err := wantBody(body, enhancedFixedLen); err != nil {
		return Packet{}, err
	}
	p, err := r.readPacket(body, uint32(r.order.Uint16(body)))
	if drops := r.order.Uint16(body[2:]); err == nil && drops != math.MaxUint16 {
		p.DropCount = uint64(drops)
	}
	return p, err
}

// readPacket reads the fields that the enhanced and the obsolete block have
// in common.
func (r *Reader) readPacket(body []byte, id uint32) (p Packet, err error) {
	if p.Interface, err = r.interfaceIndex(id); err != nil {
		return Packet{}, err
	}
	if p.Time, err = r.clocks[p.Interface].time(r.ticks(body[4:])); err != nil {
		return Packet{}, err
	}
	n, left := r.order.Uint32(body[12:]), body[enhancedFixedLen:]
	if p.OrigLen, err = origLen(r.order.Uint32(body[16:])); err != nil {
		return Packet{}, err
	}
	if uint64(n) > uint64(len(left)) {
		return Packet{}, fmt.Errorf("captured length %d, %d bytes left", n, len(left))
	}
	p.Data = slices.Clone(left[:n])
	left = left[int(n)+padding(int(n)):] // in range: a body is a multiple of 4
	err = r.options(left, func(code uint16, value []byte) error {
		return r.readPacketOption(&p, code, value)
	})
	if err != nil {
		return Packet{}, err
	}
	return p, nil
}

func (r *Reader) readPacketOption(p *Packet, code uint16, value []byte) error {
	switch code {
	case optComment:
		p.Comments = append(p.Comments, text(value))
	case optFlags:
		if err := wantLen(value, 4); err != nil {
			return err
		}
		flags := r.order.Uint32(value)
		p.Direction = Direction(flags & 3)
		p.Reception = Reception(flags >> 2 & 7)
	case optDropCount:
		return r.readUint64(&p.DropCount, value)
	case optPacketID:
		return r.readUint64(&p.ID, value)
	}
	return nil
}

// readSimple reads a simple packet block, section 4.4: the original length
// and the data of a packet at the section's first interface. How much was
// captured follows from that interface's snapshot length.
func (r *Reader) readSimple(body []byte) (p Packet, err error) {
	if err := wantBody(body, 4); err != nil {
		return Packet{}, err
	}
	if p.Interface, err = r.interfaceIndex(0); err != nil {
		return Packet{}, err
	}
	n := r.order.Uint32(body)
	if p.OrigLen, err = origLen(n); err != nil {
		return Packet{}, err
	}
	if snap := r.ifaces[p.Interface].SnapLen; snap != 0 {
		n = min(n, snap)
	}
	if left := len(body) - 4; uint64(n) > uint64(left) {
		return Packet{}, fmt.Errorf("captured length %d, %d bytes left", n, left)
	}
	p.Data = slices.Clone(body[4 : 4+int(n)])
	return p, nil
}

// interfaceIndex turns an id of the current section into an index.
func (r *Reader) interfaceIndex(id uint32) (int, error) {
	if n := len(r.ifaces) - r.base; uint64(id) >= uint64(n) {
		return 0, fmt.Errorf("interface %d, want less than %d", id, n)
	}
	return r.base + int(id), nil
}

// origLen refuses what a 32-bit int cannot hold.
func origLen(n uint32) (int, error) {
	if n > math.MaxInt32 {
		return 0, fmt.Errorf("original length %d, want at most %d", n, math.MaxInt32)
	}
	return int(n), nil
}
