package pcap

import (
	"fmt"
	"math"
	"time"
)

// AddInterface writes an interface description and returns its number, for
// Packet.Interface. Interfaces may be added at any time before their first
// packet; a program that reads a live stream may show only those that were
// there before the first packet of all.
func (w *Writer) AddInterface(i Interface) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	link, err := i.LinkType.wire()
	if err != nil {
		return 0, fmt.Errorf("pcap: interface %q: %w", i.Name, err)
	}
	for _, p := range i.Addrs {
		if !p.IsValid() {
			return 0, fmt.Errorf("pcap: interface %q: %v, want an address with a prefix length", i.Name, p)
		}
	}
	start := w.begin(blockInterface)
	w.uint16(link)
	w.uint16(0) // reserved
	w.uint32(i.SnapLen)
	w.appendInterfaceOptions(&i)
	if err := w.end(start); err != nil {
		return 0, err
	}
	w.snap = append(w.snap, i.SnapLen)
	return len(w.snap) - 1, nil
}

func (w *Writer) appendInterfaceOptions(i *Interface) {
	b := w.buf
	b = appendText(b, optIfName, i.Name)
	b = appendText(b, optIfDescription, i.Description)
	for _, p := range i.Addrs {
		b = appendPrefix(b, p)
	}
	if i.MAC != [6]byte{} {
		b = appendOption(b, optIfMAC, i.MAC[:])
	}
	if i.Speed != 0 {
		b = appendUint64(b, optIfSpeed, i.Speed)
	}
	b = appendOption(b, optIfTSResol, "\x09") // resolNano
	b = appendText(b, optIfOS, i.OS)
	w.buf = append(b, 0, 0, 0, 0)
}

// wire returns the registry's number.
func (t LinkType) wire() (uint16, error) {
	switch {
	case t == 0:
		return uint16(Ethernet), nil
	case t == Null:
		return 0, nil
	case t < 0 || t > math.MaxUint16:
		return 0, fmt.Errorf("link type %d, want at most %d", int(t), math.MaxUint16)
	}
	return uint16(t), nil
}

// WritePacket writes one packet. What exceeds the interface's SnapLen is
// cut off, as libpcap does, and OrigLen still tells the whole length. p and
// its Data are not kept. Once the buffer has grown, nothing is allocated.
func (w *Writer) WritePacket(p *Packet) error {
	if w.err != nil {
		return w.err
	}
	data, ticks, err := w.checkPacket(p)
	if err != nil {
		return fmt.Errorf("pcap: packet: %w", err)
	}
	start := w.begin(blockEnhancedPacket)
	w.uint32(uint32(p.Interface))
	w.buf = appendTicks(w.buf, ticks)
	w.uint32(uint32(len(data)))
	w.uint32(uint32(max(p.OrigLen, len(p.Data))))
	w.buf = append(w.buf, data...)
	w.buf = appendPadding(w.buf, len(data))
	w.appendPacketOptions(p)
	return w.end(start)
}

// checkPacket returns the bytes to keep and the timestamp, or why p cannot
// be written.
func (w *Writer) checkPacket(p *Packet) (data []byte, ticks uint64, err error) {
	if p.Interface < 0 || p.Interface >= len(w.snap) {
		return nil, 0, fmt.Errorf("interface %d, want less than %d", p.Interface, len(w.snap))
	}
	data = p.Data
	if snap := w.snap[p.Interface]; snap != 0 && uint64(len(data)) > uint64(snap) {
		data = data[:snap]
	}
	switch {
	case len(data) > MaxPacket:
		return nil, 0, fmt.Errorf("%d bytes, want at most %d", len(data), MaxPacket)
	case p.OrigLen != 0 && p.OrigLen < len(p.Data):
		return nil, 0, fmt.Errorf("original length %d, want at least the %d bytes of data", p.OrigLen, len(p.Data))
	case max(p.OrigLen, len(p.Data)) > math.MaxInt32:
		return nil, 0, fmt.Errorf("original length %d, want at most %d", max(p.OrigLen, len(p.Data)), math.MaxInt32)
	case p.Direction > Out:
		return nil, 0, fmt.Errorf("direction %d, want at most %d", p.Direction, Out)
	case p.Reception > Promiscuous:
		return nil, 0, fmt.Errorf("reception %d, want at most %d", p.Reception, Promiscuous)
	}
	ticks, err = nanoseconds(p.Time)
	return data, ticks, err
}

func (w *Writer) appendPacketOptions(p *Packet) {
	b := w.buf
	if flags := uint32(p.Direction) | uint32(p.Reception)<<2; flags != 0 {
		b = le.AppendUint16(b, optFlags)
		b = le.AppendUint16(b, 4)
		b = le.AppendUint32(b, flags)
	}
	if p.DropCount != 0 {
		b = appendUint64(b, optDropCount, p.DropCount)
	}
	if p.ID != 0 {
		b = appendUint64(b, optPacketID, p.ID)
	}
	for _, c := range p.Comments {
		b = appendText(b, optComment, c)
	}
	w.buf = appendEnd(b, len(w.buf))
}

// namesPerBlock bytes of records end a name resolution block and begin the
// next, so that a cluster's worth of names stays far below maxBlock.
const namesPerBlock = 64 << 10

// WriteNames writes name records, in the given order. Wireshark uses a name
// wherever it is in the file, if network name resolution is on. Either all
// names are written or, if one is refused, none.
func (w *Writer) WriteNames(names []Name) error {
	if w.err != nil {
		return w.err
	}
	for _, n := range names {
		if !n.Addr.IsValid() || n.Name == "" {
			return fmt.Errorf("pcap: name %q for address %v, want both", n.Name, n.Addr)
		}
	}
	for len(names) > 0 {
		start := w.begin(blockNames)
		for len(names) > 0 && len(w.buf)-start < namesPerBlock {
			w.appendName(names[0])
			names = names[1:]
		}
		w.uint32(recordEnd) // with its length of zero
		if err := w.end(start); err != nil {
			return err
		}
	}
	return nil
}

// appendName appends one record: type, length, address, zero-ended name.
func (w *Writer) appendName(n Name) {
	kind, addr := uint16(recordIPv6), n.Addr.Unmap()
	if addr.Is4() {
		kind = recordIPv4
	}
	raw := addr.AsSlice()
	name := cleanText(n.Name, maxText-len(raw)-1)
	length := len(raw) + len(name) + 1
	w.uint16(kind)
	w.uint16(uint16(length))
	w.buf = append(w.buf, raw...)
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, 0)
	w.buf = appendPadding(w.buf, length)
}

// WriteSecrets writes key material that decrypts packets written later. kind
// is SecretsWireGuard, SecretsTLS or another type of the draft.
func (w *Writer) WriteSecrets(kind uint32, data []byte) error {
	const most = maxBlock - blockOverhead - secretsFixedLen
	if w.err != nil {
		return w.err
	}
	if len(data) > most {
		return fmt.Errorf("pcap: secrets: %d bytes, want at most %d", len(data), most)
	}
	start := w.begin(blockSecrets)
	w.uint32(kind)
	w.uint32(uint32(len(data)))
	w.buf = append(w.buf, data...)
	w.buf = appendPadding(w.buf, len(data))
	return w.end(start)
}

// WriteStatistics writes the counters of one interface, usually once at the
// end of the capture.
func (w *Writer) WriteStatistics(iface int, s Statistics) error {
	if w.err != nil {
		return w.err
	}
	if iface < 0 || iface >= len(w.snap) {
		return fmt.Errorf("pcap: statistics: interface %d, want less than %d", iface, len(w.snap))
	}
	ticks, err := s.ticks()
	if err != nil {
		return fmt.Errorf("pcap: statistics: %w", err)
	}
	start := w.begin(blockStatistics)
	w.uint32(uint32(iface))
	w.buf = appendTicks(w.buf, ticks[0])
	if !s.Start.IsZero() {
		w.buf = appendTime(w.buf, optStart, ticks[1])
	}
	if !s.End.IsZero() {
		w.buf = appendTime(w.buf, optStop, ticks[2])
	}
	w.buf = appendUint64(w.buf, optReceived, s.Received)
	w.buf = appendUint64(w.buf, optDropped, s.Dropped)
	w.buf = append(w.buf, 0, 0, 0, 0)
	return w.end(start)
}

// ticks returns the timestamps of Time, Start and End. Only the first is
// always written; the others are 0 if not set.
func (s *Statistics) ticks() (ticks [3]uint64, err error) {
	at := s.Time
	if at.IsZero() {
		at = s.End
	}
	for i, t := range [...]time.Time{at, s.Start, s.End} {
		if i > 0 && t.IsZero() {
			continue
		}
		if ticks[i], err = nanoseconds(t); err != nil {
			return ticks, err
		}
	}
	return ticks, nil
}
