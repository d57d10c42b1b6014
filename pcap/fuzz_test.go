package pcap

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzReader: no input makes the reader panic or return more than was in it,
// and what it read can be written again.
func FuzzReader(f *testing.F) {
	for _, tt := range fixtures {
		raw, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, o := range []order{binary.LittleEndian, binary.BigEndian} { // a fixed order numbers the seeds
		f.Add(everything(o).b)
		f.Add(append(everything(binary.BigEndian).b, everything(o).b...)) // two sections
		f.Add(classicFile(o, magicMicro, 1))
		f.Add(classicFile(o, magicNano, 101))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := ReadAll(bytes.NewReader(in))
		if c == nil {
			if err == nil {
				t.Fatal("no capture and no error")
			}
			return
		}
		size := len(c.Section.Hardware) + len(c.Section.OS) + len(c.Section.Application)
		for _, p := range c.Packets {
			size += len(p.Data)
			if p.Interface < 0 || p.Interface >= len(c.Interfaces) || p.OrigLen < 0 {
				t.Fatalf("packet %+v of %d interfaces", p, len(c.Interfaces))
			}
			for _, comment := range p.Comments {
				if !utf8.ValidString(comment) {
					t.Fatalf("comment %q is not UTF-8", comment)
				}
			}
		}
		for _, s := range c.Secrets {
			size += len(s.Data)
		}
		// A byte that is not UTF-8 becomes three.
		if size > 3*len(in) {
			t.Fatalf("%d bytes of content from a file of %d", size, len(in))
		}
		if c.Packets != nil && cap(c.Packets[0].Data) > len(in)+64 {
			t.Fatalf("capacity %d for a packet in a file of %d", cap(c.Packets[0].Data), len(in))
		}
		wantRewritable(t, c)
	})
}

// wantRewritable writes a capture and reads it back. What the writer refuses
// is left out: times before 1970, reserved flags, snapped lengths.
func wantRewritable(t *testing.T, c *Capture) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, c.Section)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range c.Interfaces {
		i.SnapLen = 0
		if _, err := w.AddInterface(i); err != nil {
			t.Fatalf("AddInterface(%+v): %v", i, err)
		}
	}
	if err := w.WriteNames(c.Names); err != nil && !strings.Contains(err.Error(), "want both") {
		t.Fatalf("WriteNames: %v", err)
	}
	var want []Packet
	for _, p := range c.Packets {
		if w.WritePacket(&p) == nil {
			want = append(want, normal(p))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := ReadAll(&out)
	if err != nil {
		t.Fatalf("what the reader gave and the writer took: %v", err)
	}
	if !reflect.DeepEqual(again.Packets, want) {
		t.Fatalf("packets written again: got %+v, want %+v", again.Packets, want)
	}
	if again.Section != c.Section && len(c.Section.Comment) <= maxText {
		t.Fatalf("section: got %+v, want %+v", again.Section, c.Section)
	}
}

// normal returns p as it is after a round trip.
func normal(p Packet) Packet {
	p.Time = p.Time.UTC()
	p.OrigLen = max(p.OrigLen, len(p.Data))
	if p.Data == nil {
		p.Data = []byte{}
	}
	var comments []string
	for _, c := range p.Comments {
		if c != "" {
			comments = append(comments, cleanText(c, maxText))
		}
	}
	p.Comments = comments
	return p
}

// FuzzRoundTrip: every field that the writer accepts comes back, and what
// cannot be represented comes back as documented.
func FuzzRoundTrip(f *testing.F) {
	f.Add("node1/eth0", "uplink", 101, uint64(1e10), []byte("\x0a\xf4\x01\x02"), uint8(24), int64(1788611696), uint32(987654321),
		[]byte("data"), uint16(1500), uint64(7), uint8(1|3<<2), "DNAT 10.96.0.10:80")
	f.Add("", "", 0, uint64(0), []byte("0123456789abcdef"), uint8(128), int64(0), uint32(0), []byte{}, uint16(0), uint64(0), uint8(0), "")
	f.Add("a\x00b\xff", "é", -1, uint64(1), []byte{}, uint8(0), int64(-1), uint32(1), []byte{1, 2, 3, 4, 5}, uint16(5), uint64(1)<<63, uint8(2), "\x00")
	f.Add("x", "y", 276, uint64(1), []byte("::ffff----------"), uint8(96), int64(18446744072), uint32(999999999), []byte("12"), uint16(1), uint64(3), uint8(16), "c")
	f.Fuzz(func(t *testing.T, name, description string, link int, speed uint64, addr []byte, bits uint8,
		sec int64, nsec uint32, data []byte, more uint16, id uint64, flags uint8, comment string) {
		section := Section{Hardware: description, OS: comment, Application: name, Comment: comment}
		iface := Interface{Name: name, Description: description, LinkType: LinkType(link), Speed: speed, OS: comment}
		copy(iface.MAC[:], data)
		var names []Name
		if a, ok := netip.AddrFromSlice(addr); ok {
			iface.Addrs = []netip.Prefix{netip.PrefixFrom(a, int(bits))}
			names = []Name{{a.Unmap(), name}}
		}
		p := Packet{Time: time.Unix(sec, int64(nsec)%1e9).UTC(), Data: data, OrigLen: len(data) + int(more), ID: id, DropCount: id >> 1,
			Direction: Direction(flags & 3), Reception: Reception(flags >> 2), Comments: []string{comment, description}}
		stats := Statistics{Time: p.Time, Start: p.Time, End: p.Time, Received: speed, Dropped: id}

		var out bytes.Buffer
		w, err := NewWriter(&out, section)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.AddInterface(iface); err != nil {
			valid := link >= -1 && link <= 65535 && (len(iface.Addrs) == 0 || iface.Addrs[0].IsValid())
			if valid {
				t.Fatalf("AddInterface(%+v): %v", iface, err)
			}
			return
		}
		if w.WriteNames(names) != nil {
			names = nil
		}
		if err := w.WriteSecrets(uint32(id), data); err != nil {
			t.Fatal(err)
		}
		inRange := sec >= 0 && sec <= 18446744072
		err = w.WritePacket(&p)
		valid := inRange && flags&3 <= 2 && flags>>2 <= 4 && len(data) <= MaxPacket
		if (err == nil) != valid {
			t.Fatalf("WritePacket(%+v): error %v, valid %v", p, err, valid)
		}
		if err := w.WriteStatistics(0, stats); (err == nil) != inRange {
			t.Fatalf("WriteStatistics(%+v): error %v", stats, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}

		got, err := ReadAll(&out)
		if err != nil {
			t.Fatalf("reading back: %v", err)
		}
		clean := func(s string) string { return cleanText(s, maxText) }
		want := &Capture{
			Section:    Section{clean(section.Hardware), clean(section.OS), clean(section.Application), clean(section.Comment)},
			Secrets:    []Secrets{{uint32(id), append([]byte{}, data...)}},
			Statistics: map[int]Statistics{},
		}
		iface.Name, iface.Description, iface.OS = clean(name), clean(description), clean(comment)
		if link == 0 {
			iface.LinkType = Ethernet
		}
		want.Interfaces = []Interface{iface}
		for _, n := range names {
			want.Names = append(want.Names, Name{n.Addr, cleanText(n.Name, maxText-1-n.Addr.BitLen()/8)})
		}
		if valid {
			want.Packets = []Packet{normal(p)}
		}
		if inRange {
			want.Statistics[0] = stats
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got\n%+v\nwant\n%+v", got, want)
		}
	})
}
