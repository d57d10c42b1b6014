package pcap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// epoch is a time whose seconds and nanoseconds both need their high bits.
var epoch = time.Date(2026, 9, 5, 12, 34, 56, 987654321, time.UTC)

// capture returns what write wrote after a section header, without it.
func capture(t *testing.T, write func(w *Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Section{})
	if err != nil {
		t.Fatalf("NewWriter: %v", err)
	}
	head := out.Len()
	write(w)
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return out.Bytes()[head:]
}

// mustAdd adds an interface that is known to be good.
func mustAdd(t testing.TB, w *Writer, i Interface) int {
	t.Helper()
	n, err := w.AddInterface(i)
	if err != nil {
		t.Fatalf("AddInterface(%+v): %v", i, err)
	}
	return n
}

// unhex joins hex fields; blanks within them are for the reader.
func unhex(t *testing.T, fields ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(fields, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

func TestSectionHeaderBytes(t *testing.T) {
	var out bytes.Buffer
	if _, err := NewWriter(&out, Section{Application: "podwire", Comment: "seed 1"}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, out.Bytes(), unhex(t,
		"0a0d0d0a",                          // block type
		"38000000",                          // total length 56
		"4d3c2b1a",                          // byte-order magic
		"0100 0000",                         // version 1.0
		"ffffffffffffffff",                  // section length unknown
		"0400 0700", "706f6477697265", "00", // shb_userappl "podwire"
		"0100 0600", "736565642031", "0000", // opt_comment "seed 1"
		"0000 0000", // opt_endofopt
		"38000000",  // total length again
	))
}

func TestSectionHeaderWithoutOptionsBytes(t *testing.T) {
	var out bytes.Buffer
	if _, err := NewWriter(&out, Section{}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, out.Bytes(), unhex(t,
		"0a0d0d0a", "1c000000", "4d3c2b1a", "0100 0000", "ffffffffffffffff", "1c000000"))
}

func TestInterfaceBytes(t *testing.T) {
	got := capture(t, func(w *Writer) {
		mustAdd(t, w, Interface{
			Name:        "n1/eth0",
			Description: "x",
			LinkType:    Raw,
			MAC:         [6]byte{0x6a, 0x2b, 0x4a, 0x46, 0xb4, 0x17},
			Addrs:       []netip.Prefix{netip.MustParsePrefix("192.168.56.11/20"), netip.MustParsePrefix("fd00::b/64")},
			Speed:       10_000_000_000,
			SnapLen:     128,
			OS:          "Linux",
		})
	})
	wantBytes(t, got, unhex(t,
		"01000000",                          // block type: interface description
		"7c000000",                          // total length 124
		"6500 0000",                         // link type 101, reserved
		"80000000",                          // snapshot length 128
		"0200 0700", "6e312f65746830", "00", // if_name "n1/eth0"
		"0300 0100", "78", "000000", // if_description "x"
		"0400 0800", "c0a8380b", "fffff000", // if_IPv4addr: address, netmask
		"0500 1100", "fd00000000000000 000000000000000b", "40", "000000", // if_IPv6addr: address, prefix length
		"0600 0600", "6a2b4a46b417", "0000", // if_MACaddr
		"0800 0800", "00e40b5402000000", // if_speed 10^10
		"0900 0100", "09", "000000", // if_tsresol: nanoseconds
		"0c00 0500", "4c696e7578", "000000", // if_os "Linux"
		"0000 0000", // opt_endofopt
		"7c000000",
	))
}

func TestZeroInterfaceIsEthernetBytes(t *testing.T) {
	got := capture(t, func(w *Writer) { mustAdd(t, w, Interface{}) })
	wantBytes(t, got, unhex(t,
		"01000000", "20000000",
		"0100 0000",             // link type 1, reserved
		"00000000",              // no snapshot length
		"0900 0100", "09000000", // if_tsresol is always there
		"0000 0000",
		"20000000",
	))
}

func TestPacketBytes(t *testing.T) {
	got := capture(t, func(w *Writer) {
		mustAdd(t, w, Interface{})
		mustAdd(t, w, Interface{})
		err := w.WritePacket(&Packet{
			Interface: 1,
			Time:      epoch,
			Data:      []byte{1, 2, 3, 4, 5},
			OrigLen:   1514,
			ID:        0x1122334455667788,
			DropCount: 3,
			Direction: Out,
			Reception: Broadcast,
			Comments:  []string{"DNAT", "é"},
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	wantBytes(t, got[2*32:], unhex(t,
		"06000000",             // block type: enhanced packet
		"5c000000",             // total length 92
		"01000000",             // interface 1
		"dc6cd218", "b1c80ea8", // 1788611696987654321 ns: high word, low word
		"05000000",             // captured length
		"ea050000",             // original length 1514
		"0102030405", "000000", // data, padded
		"0200 0400", "0e000000", // epb_flags: outbound (2), broadcast (3<<2)
		"0400 0800", "0300000000000000", // epb_dropcount
		"0500 0800", "8877665544332211", // epb_packetid
		"0100 0400", "444e4154", // opt_comment "DNAT"
		"0100 0200", "c3a9", "0000", // opt_comment "é"
		"0000 0000",
		"5c000000",
	))
}

func TestPlainPacketHasNoOptionsBytes(t *testing.T) {
	got := capture(t, func(w *Writer) {
		mustAdd(t, w, Interface{})
		if err := w.WritePacket(&Packet{Time: time.Unix(0, 1), Data: []byte{0xaa}}); err != nil {
			t.Fatal(err)
		}
	})
	wantBytes(t, got[32:], unhex(t,
		"06000000", "24000000", "00000000",
		"00000000", "01000000", // one nanosecond after 1970
		"01000000", "01000000", // both lengths
		"aa", "000000",
		"24000000",
	))
}

func TestNamesBytes(t *testing.T) {
	got := capture(t, func(w *Writer) {
		err := w.WriteNames([]Name{
			{netip.MustParseAddr("10.244.1.2"), "web-0"},
			{netip.MustParseAddr("fd00::2%eth0"), "six"},
			{netip.MustParseAddr("::ffff:10.0.0.1"), "m"},
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	wantBytes(t, got, unhex(t,
		"04000000",                                       // block type: name resolution
		"44000000",                                       // total length 68
		"0100 0a00", "0af40102", "7765622d30 00", "0000", // IPv4 record: address, name, zero
		"0200 1400", "fd00000000000000 0000000000000002", "736978 00", // IPv6 record
		"0100 0600", "0a000001", "6d 00", "0000", // a mapped address is IPv4
		"0000 0000", // end of records
		"44000000",
	))
}

func TestSecretsBytes(t *testing.T) {
	got := capture(t, func(w *Writer) {
		if err := w.WriteSecrets(SecretsWireGuard, []byte("k = v")); err != nil {
			t.Fatal(err)
		}
	})
	wantBytes(t, got, unhex(t,
		"0a000000", // block type: decryption secrets
		"1c000000",
		"4c4b4757", // secrets type 0x57474b4c
		"05000000", // secrets length
		"6b203d2076", "000000",
		"1c000000",
	))
}

func TestStatisticsBytes(t *testing.T) {
	got := capture(t, func(w *Writer) {
		mustAdd(t, w, Interface{})
		err := w.WriteStatistics(0, Statistics{Start: time.Unix(1, 0), End: time.Unix(5, 0), Received: 7, Dropped: 2})
		if err != nil {
			t.Fatal(err)
		}
	})
	wantBytes(t, got[32:], unhex(t,
		"05000000", // block type: interface statistics
		"4c000000",
		"00000000",             // interface 0
		"01000000", "00f2052a", // read at the end: 5e9 ns, high word and low word
		"0200 0800", "00000000", "00ca9a3b", // isb_starttime: 1e9 ns
		"0300 0800", "01000000", "00f2052a", // isb_endtime
		"0400 0800", "0700000000000000", // isb_ifrecv
		"0500 0800", "0200000000000000", // isb_ifdrop
		"0000 0000",
		"4c000000",
	))
}

func TestWriterRefusesWhatCannotBeWritten(t *testing.T) {
	good := netip.MustParseAddr("10.0.0.1")
	tests := []struct {
		name string
		call func(w *Writer) error
		want string
	}{
		{"no such interface", func(w *Writer) error { return w.WritePacket(&Packet{Interface: 1, Time: epoch}) },
			"pcap: packet: interface 1, want less than 1"},
		{"negative interface", func(w *Writer) error { return w.WritePacket(&Packet{Interface: -1, Time: epoch}) },
			"pcap: packet: interface -1, want less than 1"},
		{"no time", func(w *Writer) error { return w.WritePacket(&Packet{}) },
			"pcap: packet: time 0001-01-01T00:00:00Z, want from 1970 to 2554"},
		{"late time", func(w *Writer) error { return w.WritePacket(&Packet{Time: time.Unix(1<<60, 0)}) }, "want from 1970 to 2554"},
		{"long packet", func(w *Writer) error { return w.WritePacket(&Packet{Time: epoch, Data: make([]byte, MaxPacket+1)}) },
			"pcap: packet: 262145 bytes, want at most 262144"},
		{"short original", func(w *Writer) error { return w.WritePacket(&Packet{Time: epoch, Data: make([]byte, 3), OrigLen: 2}) },
			"pcap: packet: original length 2, want at least the 3 bytes of data"},
		{"negative original", func(w *Writer) error { return w.WritePacket(&Packet{Time: epoch, OrigLen: -1}) },
			"pcap: packet: original length -1, want at least the 0 bytes of data"},
		{"direction", func(w *Writer) error { return w.WritePacket(&Packet{Time: epoch, Direction: 3}) },
			"pcap: packet: direction 3, want at most 2"},
		{"reception", func(w *Writer) error { return w.WritePacket(&Packet{Time: epoch, Reception: 5}) },
			"pcap: packet: reception 5, want at most 4"},
		{"too many comments", func(w *Writer) error {
			long := strings.Repeat("x", 60000)
			p := Packet{Time: epoch}
			for range 300 {
				p.Comments = append(p.Comments, long)
			}
			return w.WritePacket(&p)
		}, "pcap: block of 18001236 bytes, want at most 16777216"},
		{"link type", func(w *Writer) error { _, err := w.AddInterface(Interface{LinkType: 1 << 16}); return err },
			`pcap: interface "": link type 65536, want at most 65535`},
		{"no prefix", func(w *Writer) error {
			_, err := w.AddInterface(Interface{Name: "a", Addrs: []netip.Prefix{{}}})
			return err
		}, `pcap: interface "a": invalid Prefix, want an address with a prefix length`},
		{"no address", func(w *Writer) error { return w.WriteNames([]Name{{good, "a"}, {Name: "b"}}) },
			`pcap: name "b" for address invalid IP, want both`},
		{"no name", func(w *Writer) error { return w.WriteNames([]Name{{Addr: good}}) },
			`pcap: name "" for address 10.0.0.1, want both`},
		{"secrets", func(w *Writer) error { return w.WriteSecrets(SecretsTLS, make([]byte, maxBlock)) },
			"pcap: secrets: 16777216 bytes, want at most 16777196"},
		{"statistics of nothing", func(w *Writer) error { return w.WriteStatistics(1, Statistics{End: epoch}) },
			"pcap: statistics: interface 1, want less than 1"},
		{"statistics without time", func(w *Writer) error { return w.WriteStatistics(0, Statistics{}) },
			"pcap: statistics: time 0001-01-01T00:00:00Z, want from 1970 to 2554"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			w, err := NewWriter(&out, Section{})
			if err != nil {
				t.Fatal(err)
			}
			mustAdd(t, w, Interface{})
			err = tt.call(w)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
			// Nothing of it was written, and the writer still works.
			if err := w.WritePacket(&Packet{Time: epoch, Data: []byte{1}}); err != nil {
				t.Errorf("next packet: %v", err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			c, err := ReadAll(&out)
			if err != nil || len(c.Packets) != 1 || len(c.Interfaces) != 1 || len(c.Names) != 0 {
				t.Errorf("read back %+v, %v, want one interface and one packet", c, err)
			}
		})
	}
}

func TestLongTextIsCutBetweenRunes(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want string
	}{
		{"fits", strings.Repeat("a", 65535), strings.Repeat("a", 65535)},
		{"one too long", strings.Repeat("a", 65536), strings.Repeat("a", 65535)},
		{"rune across the end", strings.Repeat("a", 65534) + "é", strings.Repeat("a", 65534)},
		{"rune ends at the end", strings.Repeat("a", 65533) + "é", strings.Repeat("a", 65533) + "é"},
		{"wide rune across the end", strings.Repeat("a", 65532) + "🐳z", strings.Repeat("a", 65532)},
		{"zero byte", "a\x00b", "a\uFFFDb"},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			w, err := NewWriter(&out, Section{Comment: tt.in})
			if err != nil {
				t.Fatal(err)
			}
			mustAdd(t, w, Interface{Name: tt.in})
			if err := w.WritePacket(&Packet{Time: epoch, Comments: []string{tt.in, "after"}}); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			c, err := ReadAll(&out)
			if err != nil {
				t.Fatal(err)
			}
			wantText(t, "section comment", c.Section.Comment, tt.want)
			wantText(t, "interface name", c.Interfaces[0].Name, tt.want)
			wantText(t, "packet comment", c.Packets[0].Comments[0], tt.want)
			wantText(t, "second comment", c.Packets[0].Comments[1], "after")
		})
	}
}

// wantText keeps 64 KiB of letters out of the failure message.
func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %d bytes ending in %q, want %d ending in %q", what,
			len(got), got[max(0, len(got)-8):], len(want), want[max(0, len(want)-8):])
	}
}

func TestLongNameFitsItsRecord(t *testing.T) {
	long := strings.Repeat("é", 40000)
	got := capture(t, func(w *Writer) {
		for _, a := range []string{"10.0.0.1", "fd00::1"} {
			if err := w.WriteNames([]Name{{netip.MustParseAddr(a), long}}); err != nil {
				t.Fatal(err)
			}
		}
	})
	var head bytes.Buffer
	if _, err := NewWriter(&head, Section{}); err != nil {
		t.Fatal(err)
	}
	c, err := ReadAll(io.MultiReader(&head, bytes.NewReader(got)))
	if err != nil || len(c.Names) != 2 {
		t.Fatalf("got %d names, error %v, want 2", len(c.Names), err)
	}
	// 65535 less the address and the zero byte, down to an even number.
	for i, want := range []int{65530, 65518} {
		if n := c.Names[i].Name; len(n) != want || !utf8.ValidString(n) {
			t.Errorf("name for %v: %d bytes, valid %v, want %d", c.Names[i].Addr, len(n), utf8.ValidString(n), want)
		}
	}
}

func TestSnapLenCutsAndKeepsTheLength(t *testing.T) {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Section{})
	mustAdd(t, w, Interface{SnapLen: 4})
	for _, p := range []Packet{
		{Time: epoch, Data: []byte("12345678")},
		{Time: epoch, Data: []byte("12345678"), OrigLen: 20},
		{Time: epoch, Data: []byte("1234")},
		{Time: epoch, Data: make([]byte, MaxPacket+1)},
	} {
		if err := w.WritePacket(&p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := ReadAll(&out)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{8, 20, 4, MaxPacket + 1} {
		if p := c.Packets[i]; len(p.Data) != 4 || p.OrigLen != want {
			t.Errorf("packet %d: got %d of %d bytes, want 4 of %d", i, len(p.Data), p.OrigLen, want)
		}
	}
}

// callWriter counts calls, and fails from call failAt on if that is not 0.
type callWriter struct {
	bytes.Buffer
	calls  int
	failAt int
	short  bool
}

var errDisk = errors.New("disk full")

func (c *callWriter) Write(b []byte) (int, error) {
	c.calls++
	if c.failAt != 0 && c.calls >= c.failAt {
		if c.short {
			return len(b) / 2, nil
		}
		return 0, errDisk
	}
	return c.Buffer.Write(b)
}

func TestSyncWritesEachPacketAtOnce(t *testing.T) {
	out := &callWriter{}
	w, err := NewWriter(out, Section{})
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, w, Interface{})
	if out.calls != 1 {
		t.Errorf("%d writes before SetSync, want 1: the section", out.calls)
	}
	if err := w.SetSync(true); err != nil {
		t.Fatal(err)
	}
	if out.calls != 2 {
		t.Errorf("%d writes after SetSync, want 2: it flushes", out.calls)
	}
	for n := 1; n <= 3; n++ {
		if err := w.WritePacket(&Packet{Time: epoch, Data: []byte{1}, Comments: []string{"c"}}); err != nil {
			t.Fatal(err)
		}
		if out.calls != 2+n {
			t.Errorf("%d writes after packet %d, want %d", out.calls, n, 2+n)
		}
		if c, err := ReadAll(bytes.NewReader(out.Bytes())); err != nil || len(c.Packets) != n {
			t.Errorf("after packet %d: read %+v, %v, want all", n, c, err)
		}
	}
	if err := w.SetSync(false); err != nil {
		t.Fatal(err)
	}
	if err := w.WritePacket(&Packet{Time: epoch}); err != nil {
		t.Fatal(err)
	}
	if out.calls != 5 {
		t.Errorf("%d writes with sync off again, want 5", out.calls)
	}
}

func TestBufferedWritesCarryWholeBlocks(t *testing.T) {
	out := &callWriter{}
	w, _ := NewWriter(out, Section{})
	mustAdd(t, w, Interface{})
	data := make([]byte, 1000)
	for n := range 200 {
		before := out.calls
		if err := w.WritePacket(&Packet{Time: epoch, Data: data}); err != nil {
			t.Fatal(err)
		}
		if out.calls != before {
			if c, err := ReadAll(bytes.NewReader(out.Bytes())); err != nil || len(c.Packets) != n+1 {
				t.Errorf("after write %d: %v, want the %d packets so far", out.calls, err, n+1)
			}
		}
	}
	if out.calls != 1+3 { // 200 blocks of 1032 bytes are three times 64 KiB
		t.Errorf("%d writes, want 4", out.calls)
	}
	if err := w.Flush(); err != nil || out.calls != 5 {
		t.Errorf("Flush: %v, %d writes, want 5", err, out.calls)
	}
	if err := w.Flush(); err != nil || out.calls != 5 {
		t.Errorf("second Flush: %v, %d writes, want 5", err, out.calls)
	}
}

func TestWriteErrorsAreSticky(t *testing.T) {
	for _, short := range []bool{false, true} {
		out := &callWriter{failAt: 2, short: short}
		w, err := NewWriter(out, Section{})
		if err != nil {
			t.Fatal(err)
		}
		mustAdd(t, w, Interface{})
		want := errDisk
		if short {
			want = io.ErrShortWrite
		}
		first := w.Flush()
		if !errors.Is(first, want) {
			t.Errorf("short %v: Flush: got %v, want %v", short, first, want)
		}
		_, add := w.AddInterface(Interface{})
		for name, err := range map[string]error{
			"AddInterface":    add,
			"WritePacket":     w.WritePacket(&Packet{Time: epoch}),
			"WriteNames":      w.WriteNames(nil),
			"WriteSecrets":    w.WriteSecrets(SecretsTLS, nil),
			"WriteStatistics": w.WriteStatistics(0, Statistics{Time: epoch}),
			"SetSync":         w.SetSync(true),
			"SetSync off":     w.SetSync(false),
			"Flush":           w.Flush(),
			"Close":           w.Close(),
		} {
			if err != first {
				t.Errorf("short %v: %s after the failure: got %v, want %v", short, name, err, first)
			}
		}
		if out.calls != 2 {
			t.Errorf("short %v: %d writes, want 2: none after the failure", short, out.calls)
		}
	}
	if _, err := NewWriter(&callWriter{failAt: 1}, Section{}); !errors.Is(err, errDisk) {
		t.Errorf("NewWriter on a broken writer: got %v, want %v", err, errDisk)
	}
}

func TestClosedWriter(t *testing.T) {
	out := &callWriter{}
	w, _ := NewWriter(out, Section{})
	mustAdd(t, w, Interface{})
	if err := w.Close(); err != nil || out.calls != 2 {
		t.Errorf("Close: %v after %d writes, want nil after 2: it flushes", err, out.calls)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: got %v, want nil", err)
	}
	if err := w.WritePacket(&Packet{Time: epoch}); err != ErrClosed {
		t.Errorf("WritePacket: got %v, want %v", err, ErrClosed)
	}
}

func TestManyNamesStayInSmallBlocks(t *testing.T) {
	var names []Name
	addr := netip.MustParseAddr("10.0.0.1")
	for range 10000 {
		names = append(names, Name{addr, "default/" + addr.String()})
		addr = addr.Next()
	}
	out := &callWriter{}
	w, _ := NewWriter(out, Section{})
	if err := w.WriteNames(names); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if out.calls < 4 {
		t.Errorf("%d bytes of names in %d writes, want several", out.Len(), out.calls)
	}
	c, err := ReadAll(&out.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Names) != len(names) {
		t.Fatalf("got %d names, want %d", len(c.Names), len(names))
	}
	for i := range names {
		if c.Names[i] != names[i] {
			t.Fatalf("name %d: got %v, want %v", i, c.Names[i], names[i])
		}
	}
}

// typical is what the emulator writes for every packet at every interface.
func typical() *Packet {
	return &Packet{
		Time: epoch, Data: make([]byte, 1450), ID: 7, Direction: In, Reception: Unicast,
		Comments: []string{"DNAT 10.96.0.10:80 -> 10.244.2.3:8080"},
	}
}

func TestWritePacketDoesNotAllocate(t *testing.T) {
	for _, sync := range []bool{false, true} {
		w, _ := NewWriter(io.Discard, Section{})
		mustAdd(t, w, Interface{})
		if err := w.SetSync(sync); err != nil {
			t.Fatal(err)
		}
		p := typical()
		write := func() {
			if err := w.WritePacket(p); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 { // grows the buffer to its final size
			write()
		}
		if n := testing.AllocsPerRun(1000, write); n != 0 {
			t.Errorf("sync %v: %v allocations per packet, want 0", sync, n)
		}
	}
}

func BenchmarkWritePacket(b *testing.B) {
	w, _ := NewWriter(io.Discard, Section{})
	mustAdd(b, w, Interface{})
	p := typical()
	b.SetBytes(int64(len(p.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := w.WritePacket(p); err != nil {
			b.Fatal(err)
		}
	}
}
