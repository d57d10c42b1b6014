package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// order is a byte order that can also append.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// file builds captures that the Writer does not: other byte orders, other
// resolutions, blocks and errors.
type file struct {
	order
	b []byte
}

// block appends a block; body is made of uint16, uint32, uint64, strings and
// byte slices, and padded.
func (f *file) block(kind uint32, body ...any) *file {
	raw := f.fields(body...)
	raw = appendPadding(raw, len(raw))
	f.b = append(f.b, f.fields(kind, uint32(len(raw)+12), raw, uint32(len(raw)+12))...)
	return f
}

func (f *file) fields(fields ...any) []byte {
	var b []byte
	for _, v := range fields {
		switch v := v.(type) {
		case uint16:
			b = f.AppendUint16(b, v)
		case uint32:
			b = f.AppendUint32(b, v)
		case uint64:
			b = f.AppendUint64(b, v)
		case string:
			b = append(b, v...)
		case []byte:
			b = append(b, v...)
		default:
			panic("file: cannot encode this type")
		}
	}
	return b
}

// option returns an option, padded.
func (f *file) option(code uint16, value ...any) []byte {
	v := f.fields(value...)
	return appendPadding(append(f.fields(code, uint16(len(v))), v...), len(v))
}

func (f *file) section(options ...any) *file {
	fixed := []any{uint32(byteOrderMagic), uint16(1), uint16(0), ^uint64(0)}
	return f.block(blockSection, append(fixed, options...)...)
}

func (f *file) iface(link uint16, snap uint32, options ...any) *file {
	return f.block(blockInterface, append([]any{link, uint16(0), snap}, options...)...)
}

// packet appends an enhanced packet block.
func (f *file) packet(id uint32, ticks uint64, data string, options ...any) *file {
	fixed := []any{id, uint32(ticks >> 32), uint32(ticks), uint32(len(data)), uint32(len(data)), data,
		appendPadding(nil, len(data))}
	return f.block(blockEnhancedPacket, append(fixed, options...)...)
}

var orders = map[string]order{"little-endian": binary.LittleEndian, "big-endian": binary.BigEndian}

// everything uses each block and option that the reader knows, and some that
// it does not.
func everything(o order) *file {
	f := &file{order: o}
	f.section(f.option(2, "hw"), f.option(3, "os\x00"), f.option(4, "app"), f.option(1, "one"), f.option(1, "two"), f.option(0))
	f.block(0x0bad, "a custom block")
	f.iface(1, 0, f.option(2, "n1/eth0"), f.option(3, "uplink"),
		f.option(4, "\x0a\x00\x00\x01\xff\xff\x00\x00"),
		f.option(5, "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x40"),
		f.option(6, "\x02\x00\x00\x00\x00\x01"), f.option(8, uint64(1e9)), f.option(14, uint64(100)),
		f.option(9, "\x09"), f.option(11, "\x00udp"), f.option(12, "Linux"), f.option(0))
	f.iface(0, 4) // no options at all: microseconds
	f.block(blockNames,
		uint16(1), uint16(9), "\x0a\x00\x00\x01a\x00bc\x00", "\x00\x00\x00",
		uint16(3), uint16(8), "\x02\x00\x00\x00\x00\x01m\x00", // EUI-48: skipped
		uint16(2), uint16(18), "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01s\x00", "\x00\x00",
		uint16(0), uint16(0))
	f.block(blockSecrets, SecretsTLS, uint32(3), "key")
	f.packet(0, 5_000000001, "hello", f.option(2, uint32(1|1<<2|0xffff0000)), f.option(3, "\x02hash"), f.option(4, uint64(9)),
		f.option(5, uint64(0x0102030405060708)), f.option(1, "first"), f.option(1, "second"), f.option(0), "after the end")
	f.packet(1, 7_000001, "bsd")
	f.block(blockPacket, uint16(1), uint16(3), uint32(0), uint32(8), uint32(2), uint32(60), "ab\x00\x00", f.option(2, uint32(2)))
	f.block(blockPacket, uint16(1), uint16(0xffff), uint32(0), uint32(9), uint32(0), uint32(0))
	f.block(blockSimplePacket, uint32(6), "simple")
	f.block(blockStatistics, uint32(0), uint32(0), uint32(1), f.option(2, uint32(0), uint32(2)), f.option(3, uint32(1), uint32(0)),
		f.option(4, uint64(10)), f.option(5, uint64(11)))
	return f
}

func prefixes(s ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func TestReaderUnderstandsEachBlock(t *testing.T) {
	want := &Capture{
		Section: Section{Hardware: "hw", OS: "os", Application: "app", Comment: "one\ntwo"},
		Interfaces: []Interface{
			{Name: "n1/eth0", Description: "uplink", LinkType: Ethernet, MAC: [6]byte{2, 0, 0, 0, 0, 1},
				Addrs: prefixes("10.0.0.1/16", "fd00::1/64"), Speed: 1e9, OS: "Linux"},
			{LinkType: Null, SnapLen: 4},
		},
		Names: []Name{
			{netip.MustParseAddr("10.0.0.1"), "a"}, {netip.MustParseAddr("10.0.0.1"), "bc"}, {netip.MustParseAddr("fd00::1"), "s"},
		},
		Secrets: []Secrets{{SecretsTLS, []byte("key")}},
		Packets: []Packet{
			{Interface: 0, Time: time.Unix(105, 1).UTC(), Data: []byte("hello"), OrigLen: 5, ID: 0x0102030405060708,
				DropCount: 9, Direction: In, Reception: Unicast, Comments: []string{"first", "second"}},
			{Interface: 1, Time: time.Unix(7, 1000).UTC(), Data: []byte("bsd"), OrigLen: 3},
			{Interface: 1, Time: time.Unix(0, 8000).UTC(), Data: []byte("ab"), OrigLen: 60, DropCount: 3, Direction: Out},
			{Interface: 1, Time: time.Unix(0, 9000).UTC(), Data: []byte{}},
			{Interface: 0, Data: []byte("simple"), OrigLen: 6},
		},
		Statistics: map[int]Statistics{0: {
			Time: time.Unix(100, 1).UTC(), Start: time.Unix(100, 2).UTC(), End: time.Unix(104, 294967296).UTC(), Received: 10, Dropped: 11,
		}},
	}
	for name, o := range orders {
		got, err := ReadAll(bytes.NewReader(everything(o).b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, got, want)
		}
	}
}

// TestSimplePacketIsAsLongAsItsSnapshot: the block has no captured length,
// and padding must not become data.
func TestSimplePacketIsAsLongAsItsSnapshot(t *testing.T) {
	for _, tt := range []struct {
		snap, orig uint32
		body, want string
	}{
		{0, 5, "12345", "12345"},
		{4, 60, "1234", "1234"},
		{5, 60, "12345", "12345"},
		{100, 2, "12", "12"},
	} {
		f := &file{order: binary.BigEndian}
		f.section().iface(1, tt.snap).block(blockSimplePacket, tt.orig, tt.body)
		c, err := ReadAll(bytes.NewReader(f.b))
		if err != nil || len(c.Packets) != 1 {
			t.Errorf("%+v: %v, want one packet", tt, err)
			continue
		}
		if p := c.Packets[0]; string(p.Data) != tt.want || p.OrigLen != int(tt.orig) {
			t.Errorf("%+v: got %q of %d bytes", tt, p.Data, p.OrigLen)
		}
	}
}

func TestSectionsMayDifferInByteOrder(t *testing.T) {
	f := &file{order: binary.BigEndian}
	f.section(f.option(1, "first")).iface(1, 0, f.option(2, "a")).iface(1, 0, f.option(2, "b")).packet(1, 1, "1")
	g := &file{order: binary.LittleEndian}
	g.section(g.option(1, "second")).iface(101, 0, g.option(2, "c")).packet(0, 2, "2")
	r, err := NewReader(bytes.NewReader(append(f.b, g.b...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ section, iface, data string }{{"first", "b", "1"}, {"second", "c", "2"}} {
		p, err := r.Next()
		if err != nil {
			t.Fatalf("packet %s: %v", want.data, err)
		}
		if r.Section().Comment != want.section || r.Interfaces()[p.Interface].Name != want.iface || string(p.Data) != want.data {
			t.Errorf("got section %q, interface %q, data %q, want %+v", r.Section().Comment, r.Interfaces()[p.Interface].Name, p.Data, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

func TestResolutions(t *testing.T) {
	tests := []struct {
		resol  byte
		offset int64
		ticks  uint64
		want   time.Time
	}{
		{0, 0, 5, time.Unix(5, 0)},
		{3, 0, 5001, time.Unix(5, 1e6)},
		{6, 0, 1_700000000_000001, time.Unix(1700000000, 1000)},
		{9, 0, 1<<64 - 1, time.Unix(18446744073, 709551615)},
		{10, 0, 50000000019, time.Unix(5, 1)}, // below a nanosecond: cut
		{19, 0, 1_5000000000_000000000, time.Unix(1, 5e8)},
		{20, 0, 1<<64 - 1, time.Unix(0, 184467440)},
		{28, 0, 1<<64 - 1, time.Unix(0, 1)},
		{29, 0, 1<<64 - 1, time.Unix(0, 0)},
		{127, 0, 1<<64 - 1, time.Unix(0, 0)},
		{0x80, 0, 5, time.Unix(5, 0)},
		{0x80 | 1, 0, 5, time.Unix(2, 5e8)},
		{0x80 | 32, 0, 1<<32 + 1<<31, time.Unix(1, 5e8)}, // NTP format
		{0x80 | 63, 0, 3 << 62, time.Unix(1, 5e8)},
		{0x80 | 64, 0, 1 << 63, time.Unix(0, 5e8)},
		{0x80 | 65, 0, 1 << 63, time.Unix(0, 25e7)},
		{0x80 | 127, 0, 1<<64 - 1, time.Unix(0, 0)},
		{9, -10, 3e9, time.Unix(-7, 0)},
		{6, 1 << 40, 0, time.Unix(1<<40, 0)},
	}
	for _, tt := range tests {
		c := newClock(tt.resol)
		c.offset = tt.offset
		got, err := c.time(tt.ticks)
		if err != nil || !got.Equal(tt.want) {
			t.Errorf("resolution %#x, offset %d, %d ticks: got %v (%v), want %v", tt.resol, tt.offset, tt.ticks, got, err, tt.want.UTC())
		}
	}
}

func TestReaderAgreesWithWriterOnTimes(t *testing.T) {
	for _, want := range []time.Time{time.Unix(0, 0), epoch, time.Unix(18446744072, 999999999)} {
		ticks, err := nanoseconds(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := newClock(resolNano).time(ticks); err != nil || !got.Equal(want) {
			t.Errorf("got %v (%v), want %v", got, err, want)
		}
	}
}

// classic returns a pcap file with two packets.
func classicFile(o order, magic, link uint32) []byte {
	f := &file{order: o}
	return f.fields(magic, uint16(2), uint16(4), uint64(0), uint32(65535), link,
		uint32(1700000000), uint32(123456), uint32(3), uint32(60), "abc",
		uint32(1700000001), uint32(0), uint32(0), uint32(0))
}

func TestClassicFormats(t *testing.T) {
	for name, o := range orders {
		for _, tt := range []struct {
			magic uint32
			nanos int64
		}{{magicMicro, 123456000}, {magicNano, 123456}} {
			c, err := ReadAll(bytes.NewReader(classicFile(o, tt.magic, 0xf0000000|uint32(Raw))))
			if err != nil {
				t.Errorf("%s %x: %v", name, tt.magic, err)
				continue
			}
			want := &Capture{
				Interfaces: []Interface{{LinkType: Raw, SnapLen: 65535}},
				Packets: []Packet{
					{Time: time.Unix(1700000000, tt.nanos).UTC(), Data: []byte("abc"), OrigLen: 60},
					{Time: time.Unix(1700000001, 0).UTC(), Data: []byte{}},
				},
				Statistics: map[int]Statistics{},
			}
			if !reflect.DeepEqual(c, want) {
				t.Errorf("%s %x: got %+v, want %+v", name, tt.magic, c, want)
			}
		}
	}
}

// TestEveryTruncationIsReported cuts a file at every byte: at the end of a
// block that is a clean end, anywhere else an error that tells where.
func TestEveryTruncationIsReported(t *testing.T) {
	ng := everything(binary.BigEndian).b
	ends := map[int]bool{}
	for at := 0; at < len(ng); {
		at += int(binary.BigEndian.Uint32(ng[at+4:]))
		ends[at] = true
	}
	classic := classicFile(binary.LittleEndian, magicNano, 1)
	for name, tt := range map[string]struct {
		file []byte
		ends map[int]bool
	}{"pcapng": {ng, ends}, "pcap": {classic, map[int]bool{24: true, 43: true, 59: true}}} {
		for n := range len(tt.file) + 1 {
			_, err := ReadAll(bytes.NewReader(tt.file[:n]))
			switch {
			case tt.ends[n] && err != nil:
				t.Errorf("%s: %d bytes, whole blocks: got error %v, want none", name, n, err)
			case !tt.ends[n] && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("%s: %d bytes: got error %v, want %v", name, n, err, io.ErrUnexpectedEOF)
			case err != nil && !strings.HasPrefix(err.Error(), "pcap: offset "):
				t.Errorf("%s: %d bytes: got error %q, want it to begin with the offset", name, n, err)
			}
		}
	}
}

func TestReaderErrors(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	start := func() *file { return (&file{order: le}).section() }
	with := func() *file { return start().iface(1, 0) }
	opt := (&file{order: le}).option
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "pcap: offset 0: unexpected EOF"},
		{"text", []byte("hello, world"), "pcap: offset 0: magic 68656c6c, want pcapng or pcap"},
		{"gzip", []byte("\x1f\x8b\x08\x00\x00\x00"), "pcap: offset 0: magic 1f8b0800 is gzip, want pcapng or pcap: decompress it first"},
		{"magic", []byte("\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x01\x02\x03\x04"),
			"pcap: offset 0: section: byte-order magic 01020304, want 1a2b3c4d in either order"},
		{"version", (&file{order: be}).block(blockSection, uint32(byteOrderMagic), uint16(2), uint16(0), ^uint64(0)).b,
			"pcap: offset 0: section: version 2.0, want 1.0"},
		{"short section", (&file{order: be}).block(blockSection, uint32(byteOrderMagic), uint16(1)).b,
			"pcap: offset 0: section: body of 8 bytes, want 16"},
		{"section option", start().section(uint16(4), uint16(9), "app").b,
			"pcap: offset 28: section: option 4: length 9, 4 bytes left"},
		{"length below 12", append(start().b, start().fields(uint32(1), uint32(8))...),
			"pcap: offset 28: block type 0x1: length 8, want a multiple of 4 from 12"},
		{"odd length", append(start().b, start().fields(uint32(1), uint32(21))...),
			"pcap: offset 28: block type 0x1: length 21, want a multiple of 4 from 12"},
		{"huge known block", append(start().b, start().fields(uint32(6), uint32(0xfffffff0))...),
			"pcap: offset 28: block type 0x6: length 4294967280, want at most 16777216"},
		{"trailer", append(start().b, start().fields(uint32(1), uint32(20), uint64(1), uint32(24))...),
			"pcap: offset 28: block type 0x1: length 20, repeated at the end as 24"},
		{"short interface", start().block(blockInterface, uint32(1)).b, "pcap: offset 28: interface: body of 4 bytes, want 8"},
		{"resolution", start().iface(1, 0, opt(9, "ab")).b, "pcap: offset 28: interface: option 9: length 2, want 1"},
		{"offset", start().iface(1, 0, opt(14, "ab")).b, "pcap: offset 28: interface: option 14: length 2, want 8"},
		{"speed", start().iface(1, 0, opt(8, "ab")).b, "pcap: offset 28: interface: option 8: length 2, want 8"},
		{"mac", start().iface(1, 0, opt(6, "ab")).b, "pcap: offset 28: interface: option 6: length 2, want 6"},
		{"ipv4", start().iface(1, 0, opt(4, "ab")).b, "pcap: offset 28: interface: option 4: length 2, want 8"},
		{"netmask", start().iface(1, 0, opt(4, "\x0a\x00\x00\x01\xff\x00\xff\x00")).b,
			"pcap: offset 28: interface: option 4: netmask ff00ff00, want ones before zeros"},
		{"ipv6", start().iface(1, 0, opt(5, "ab")).b, "pcap: offset 28: interface: option 5: length 2, want 17"},
		{"ipv6 length", start().iface(1, 0, opt(5, "0123456789abcdef\x81")).b,
			"pcap: offset 28: interface: option 5: prefix length 129, want at most 128"},
		{"packet without interface", start().packet(0, 0, "").b, "pcap: offset 28: enhanced packet: interface 0, want less than 0"},
		{"interface of the section before", with().section().packet(0, 0, "").b,
			"pcap: offset 76: enhanced packet: interface 0, want less than 0"},
		{"short packet", with().block(blockEnhancedPacket, uint64(0)).b, "pcap: offset 48: enhanced packet: body of 8 bytes, want 20"},
		{"captured length", with().block(blockEnhancedPacket, uint64(0), uint32(0), uint32(5), uint32(5), "1234").b,
			"pcap: offset 48: enhanced packet: captured length 5, 4 bytes left"},
		{"huge captured length", with().block(blockEnhancedPacket, uint64(0), uint32(0), ^uint32(0), uint32(5), "1234").b,
			"pcap: offset 48: enhanced packet: captured length 4294967295, 4 bytes left"},
		{"original length", with().block(blockEnhancedPacket, uint64(0), uint32(0), uint32(0), ^uint32(0)).b,
			"pcap: offset 48: enhanced packet: original length 4294967295, want at most 2147483647"},
		{"flags", with().packet(0, 0, "", opt(2, "ab")).b, "pcap: offset 48: enhanced packet: option 2: length 2, want 4"},
		{"packet id", with().packet(0, 0, "", opt(5, "abcd")).b, "pcap: offset 48: enhanced packet: option 5: length 4, want 8"},
		{"option header", with().packet(0, 0, "", uint16(1), uint16(5), "1234").b,
			"pcap: offset 48: enhanced packet: option 1: length 5, 4 bytes left"},
		{"time", start().iface(1, 0, opt(9, "\x00")).packet(0, 1<<63, "").b,
			"pcap: offset 56: enhanced packet: time 9223372036854775808 s with offset 0 s, want at most 281474976710656 s"},
		{"time offset", start().iface(1, 0, opt(14, uint64(1<<63))).packet(0, 0, "").b,
			"pcap: offset 60: enhanced packet: time 0 s with offset -9223372036854775808 s, want at most 281474976710656 s"},
		{"old packet interface", with().block(blockPacket, uint16(7), uint16(0), uint64(0), uint64(0)).b,
			"pcap: offset 48: packet block: interface 7, want less than 1"},
		{"simple length", with().block(blockSimplePacket, uint32(5), "1234").b,
			"pcap: offset 48: simple packet: captured length 5, 4 bytes left"},
		{"simple without interface", start().block(blockSimplePacket, uint32(0)).b,
			"pcap: offset 28: simple packet: interface 0, want less than 0"},
		{"name record", start().block(blockNames, uint16(1), uint16(9), "\x0a\x00\x00\x01").b,
			"pcap: offset 28: names: record of 9 bytes, 4 left"},
		{"short name record", start().block(blockNames, uint16(2), uint16(4), "\x0a\x00\x00\x01").b,
			"pcap: offset 28: names: record of 4 bytes, want an address of 16"},
		{"endless name", start().block(blockNames, uint16(1), uint16(5), "\x0a\x00\x00\x01a").b,
			"pcap: offset 28: names: record for 10.0.0.1: name without its zero byte"},
		{"secrets", start().block(blockSecrets, uint32(1), uint32(5), "1234").b, "pcap: offset 28: secrets: length 5, 4 bytes left"},
		{"statistics", with().block(blockStatistics, uint32(0), uint64(0), opt(2, "ab")).b,
			"pcap: offset 48: statistics: option 2: length 2, want 8"},
		{"statistics interface", with().block(blockStatistics, uint32(3), uint64(0)).b,
			"pcap: offset 48: statistics: interface 3, want less than 1"},
		{"pcap version", (&file{order: be}).fields(uint32(magicMicro), uint16(2), uint16(2), uint64(0), uint64(0)),
			"pcap: offset 0: version 2.2, want 2.3 or 2.4"},
		{"pcap length", append(classicFile(be, magicMicro, 1), (&file{order: be}).fields(uint64(0), uint32(maxBlock+1), uint32(9))...),
			"pcap: offset 59: record: captured length 16777217, want at most 16777216"},
		{"pcap original length", append(classicFile(be, magicMicro, 1), (&file{order: be}).fields(uint64(0), uint32(0), ^uint32(0))...),
			"pcap: offset 59: record: original length 4294967295, want at most 2147483647"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadAll(bytes.NewReader(tt.file))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got error %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestReaderErrorsAreSticky(t *testing.T) {
	f := &file{order: binary.LittleEndian}
	f.section().iface(1, 0).packet(9, 0, "").packet(0, 0, "")
	r, err := NewReader(bytes.NewReader(f.b))
	if err != nil {
		t.Fatal(err)
	}
	_, first := r.Next()
	if _, again := r.Next(); first == nil || again != first {
		t.Errorf("got %v, then %v, want the same error twice", first, again)
	}
}

// TestReaderReportsItsInputsError tells a broken input from a short one.
func TestReaderReportsItsInputsError(t *testing.T) {
	whole := everything(binary.LittleEndian).b
	r, err := NewReader(io.MultiReader(bytes.NewReader(whole), failing{}))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = r.Next()
	}
	if !errors.Is(err, errDisk) {
		t.Errorf("got %v, want %v", err, errDisk)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }

func TestUnknownBlocksOfAnySizeAreSkipped(t *testing.T) {
	const size = 40 << 20 // over maxBlock
	f := &file{order: binary.LittleEndian}
	f.section()
	before := append(f.b, f.fields(uint32(0xbad), uint32(size+12))...)
	after := f.fields(uint32(size + 12))
	g := &file{order: binary.LittleEndian}
	g.iface(1, 0).packet(0, 1, "x")
	in := io.MultiReader(bytes.NewReader(before), io.LimitReader(zeros{}, size), bytes.NewReader(after), bytes.NewReader(g.b))
	if grown := allocated(func() {
		c, err := ReadAll(in)
		if err != nil || len(c.Packets) != 1 {
			t.Errorf("got %+v, %v, want one packet", c, err)
		}
	}); grown > 1<<20 {
		t.Errorf("%d bytes allocated to skip a block, want less than 1 MiB", grown)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestLengthsAloneAllocateNothing gives the reader the largest lengths that
// it accepts, and no bytes.
func TestLengthsAloneAllocateNothing(t *testing.T) {
	f := &file{order: binary.LittleEndian}
	f.section().iface(1, 0)
	for name, in := range map[string][]byte{
		"block":  append(f.b, f.fields(uint32(6), uint32(maxBlock))...),
		"record": append(classicFile(f.order, magicMicro, 1), f.fields(uint64(0), uint32(maxBlock), uint32(9))...),
	} {
		grown := allocated(func() {
			if _, err := ReadAll(bytes.NewReader(in)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: got %v, want %v", name, err, io.ErrUnexpectedEOF)
			}
		})
		if grown > 1<<20 {
			t.Errorf("%s: %d bytes allocated for one of 16 MiB that never came, want less than 1 MiB", name, grown)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestPacketsAreTheCallers(t *testing.T) {
	f := &file{order: binary.LittleEndian}
	f.section().iface(1, 0).packet(0, 0, "aaaa").packet(0, 0, "bbbb")
	r, err := NewReader(bytes.NewReader(f.b))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if string(first.Data) != "aaaa" {
		t.Errorf("first packet after the second was read: got %q, want %q", first.Data, "aaaa")
	}
}

// TestReaderFollowsALiveStream: a packet is there as soon as its block is,
// and so is what came before it.
func TestReaderFollowsALiveStream(t *testing.T) {
	in, out := io.Pipe()
	next := make(chan struct{}, 1) // one value lets the writer write one packet
	go func() {
		w, err := NewWriter(out, Section{})
		if err == nil {
			err = w.SetSync(true)
		}
		if err == nil {
			_, err = w.AddInterface(Interface{Name: "eth0"})
		}
		for range next {
			if err == nil {
				err = w.WriteStatistics(0, Statistics{Time: epoch, Received: 1})
			}
			if err == nil {
				err = w.WritePacket(&Packet{Time: epoch, Data: []byte{1}})
			}
		}
		out.CloseWithError(err)
	}()
	r, err := NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Statistics(0); ok {
		t.Error("there are statistics before any were read")
	}
	for n := range 3 {
		next <- struct{}{}
		if p, err := r.Next(); err != nil || len(p.Data) != 1 {
			t.Fatalf("packet %d: got %+v, %v", n, p, err)
		}
	}
	close(next)
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
	if s, ok := r.Statistics(0); !ok || s.Received != 1 || !s.Time.Equal(epoch) {
		t.Errorf("statistics: got %+v, %v, want 1 packet received", s, ok)
	}
}

func TestNamesOfValues(t *testing.T) {
	for _, tt := range []struct {
		value interface{ String() string }
		want  string
	}{
		{DirectionUnknown, "unknown"}, {In, "in"}, {Out, "out"}, {Direction(3), "reserved-3"},
		{ReceptionUnknown, "unknown"}, {Unicast, "unicast"}, {Multicast, "multicast"}, {Broadcast, "broadcast"},
		{Promiscuous, "promiscuous"}, {Reception(7), "reserved-7"},
		{LinkType(0), "ethernet"}, {Ethernet, "ethernet"}, {Null, "null"}, {Raw, "raw"}, {LinuxSLL, "linux_sll"},
		{LinuxSLL2, "linux_sll2"}, {LinkType(147), "linktype-147"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%T %d: got %q, want %q", tt.value, tt.value, got, tt.want)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Section{})
	mustAdd(b, w, Interface{})
	p := typical()
	for range 1000 {
		if err := w.WritePacket(p); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(out.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(out.Bytes()))
		for err == nil {
			_, err = r.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
