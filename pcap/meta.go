package pcap

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
)

// This file reads the pcapng blocks that carry no packet.

// readSection begins a section: its interfaces are numbered from zero again.
func (r *Reader) readSection(body []byte) error {
	if err := wantBody(body, sectionFixedLen); err != nil {
		return fmt.Errorf("section: %w", err)
	}
	// Some writers say 1.2 and mean 1.0; readers have to accept it (section
	// 4.1). There is no other version: rather than skip the section and lose
	// its packets unnoticed, fail.
	major, minor := r.order.Uint16(body[4:]), r.order.Uint16(body[6:])
	if major != 1 || minor != 0 && minor != 2 {
		return fmt.Errorf("section: version %d.%d, want 1.0", major, minor)
	}
	// The section length is not used: sections are found by reading on.
	s := Section{}
	err := r.options(body[sectionFixedLen:], func(code uint16, value []byte) error {
		switch code {
		case optHardware:
			s.Hardware = text(value)
		case optSectionOS:
			s.OS = text(value)
		case optApplication:
			s.Application = text(value)
		case optComment:
			if s.Comment != "" {
				s.Comment += "\n"
			}
			s.Comment += text(value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("section: %w", err)
	}
	r.section, r.base = s, len(r.ifaces)
	return nil
}

// readInterface reads an interface description block, section 4.2.
func (r *Reader) readInterface(body []byte) error {
	if err := wantBody(body, ifaceFixedLen); err != nil {
		return fmt.Errorf("interface: %w", err)
	}
	i := Interface{LinkType: linkTypeOf(r.order.Uint16(body)), SnapLen: r.order.Uint32(body[4:])}
	c := newClock(resolMicro)
	err := r.options(body[ifaceFixedLen:], func(code uint16, value []byte) error {
		if code == optIfTSResol || code == optIfTSOffset {
			return r.readClockOption(&c, code, value)
		}
		return r.readInterfaceOption(&i, code, value)
	})
	if err != nil {
		return fmt.Errorf("interface: %w", err)
	}
	r.ifaces, r.clocks = append(r.ifaces, i), append(r.clocks, c)
	return nil
}

func (r *Reader) readInterfaceOption(i *Interface, code uint16, value []byte) error {
	switch code {
	case optIfName:
		i.Name = text(value)
	case optIfDescription:
		i.Description = text(value)
	case optIfOS:
		i.OS = text(value)
	case optIfIPv4, optIfIPv6:
		p, err := readPrefix(code, value)
		if err != nil {
			return err
		}
		i.Addrs = append(i.Addrs, p)
	case optIfMAC:
		if err := wantLen(value, len(i.MAC)); err != nil {
			return err
		}
		i.MAC = [6]byte(value)
	case optIfSpeed:
		return r.readUint64(&i.Speed, value)
	}
	return nil
}

// readClockOption reads an option that sets the interface's clock. Their
// order is not fixed, so each sets only its own part.
func (r *Reader) readClockOption(c *clock, code uint16, value []byte) error {
	if code == optIfTSOffset {
		var seconds uint64
		err := r.readUint64(&seconds, value)
		c.offset = int64(seconds)
		return err
	}
	if err := wantLen(value, 1); err != nil {
		return err
	}
	offset := c.offset
	*c = newClock(value[0])
	c.offset = offset
	return nil
}

// linkTypeOf is the inverse of LinkType.wire.
func linkTypeOf(n uint16) LinkType {
	if n == 0 {
		return Null
	}
	return LinkType(n)
}

// readNames reads a name resolution block, section 4.5: its records; the options after them are not of interest.
func (r *Reader) readNames(body []byte) error {
	for len(body) > 0 {
		if err := wantBody(body, 4); err != nil {
			return fmt.Errorf("names: record: %w", err)
		}
		kind, n := r.order.Uint16(body), int(r.order.Uint16(body[2:]))
		body = body[4:]
		if kind == recordEnd {
			return nil
		}
		if n+padding(n) > len(body) {
			return fmt.Errorf("names: record of %d bytes, %d left", n, len(body))
		}
		if err := r.readName(kind, body[:n]); err != nil {
			return fmt.Errorf("names: %w", err)
		}
		body = body[n+padding(n):]
	}
	return nil
}

// readName reads one record: an address and one or more names, each ended by
// a zero byte.
func (r *Reader) readName(kind uint16, record []byte) error {
	size := 0
	switch kind {
	case recordIPv4:
		size = 4
	case recordIPv6:
		size = 16
	default:
		return nil // EUI-48, EUI-64 and whatever comes
	}
	if len(record) < size {
		return fmt.Errorf("record of %d bytes, want an address of %d", len(record), size)
	}
	addr, _ := netip.AddrFromSlice(record[:size])
	for rest := record[size:]; len(rest) > 0; {
		name, after, ended := bytes.Cut(rest, []byte{0})
		if !ended {
			return fmt.Errorf("record for %v: name without its zero byte", addr)
		}
		if len(name) > 0 {
			r.names = append(r.names, Name{Addr: addr, Name: text(name)})
		}
		rest = after
	}
	return nil
}

// readStatistics reads an interface statistics block, section 4.6. A later
// one for the same interface replaces it.
func (r *Reader) readStatistics(body []byte) error {
	if err := wantBody(body, statsFixedLen); err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	iface, err := r.interfaceIndex(r.order.Uint32(body))
	if err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	s := Statistics{}
	c := r.clocks[iface]
	if s.Time, err = c.time(r.ticks(body[4:])); err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	err = r.options(body[statsFixedLen:], func(code uint16, value []byte) (err error) {
		switch code {
		case optStart, optStop:
			if err := wantLen(value, 8); err != nil {
				return err
			}
			if code == optStart {
				s.Start, err = c.time(r.ticks(value))
			} else {
				s.End, err = c.time(r.ticks(value))
			}
		case optReceived:
			err = r.readUint64(&s.Received, value)
		case optDropped:
			err = r.readUint64(&s.Dropped, value)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("statistics: %w", err)
	}
	r.statistics[iface] = s
	return nil
}

// readSecrets reads a decryption secrets block, section 4.7.
func (r *Reader) readSecrets(body []byte) error {
	if err := wantBody(body, secretsFixedLen); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	n := r.order.Uint32(body[4:])
	if uint64(n) > uint64(len(body)-secretsFixedLen) {
		return fmt.Errorf("secrets: length %d, %d bytes left", n, len(body)-secretsFixedLen)
	}
	data := slices.Clone(body[secretsFixedLen : secretsFixedLen+int(n)])
	r.secrets = append(r.secrets, Secrets{Kind: r.order.Uint32(body), Data: data})
	return nil
}
