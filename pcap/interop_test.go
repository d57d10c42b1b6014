package pcap

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"
)

// This file compares the package with two decoders that others wrote:
// gopacket and tshark.

// echo is an ICMP echo request from 10.244.1.2 to 10.244.2.2, as an Ethernet
// frame.
const echo = "2e1122334402 2e1122334401 0800" +
	"4500 0024 8134 4000 3f01 a1b9 0af40102 0af40202" +
	"0800 ae9e 3d50 0001 0001020304050607"

// writeDemo writes one capture that uses everything the Writer can.
func writeDemo(t *testing.T, w *Writer) {
	t.Helper()
	frame := unhex(t, echo)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	eth0 := mustAdd(t, w, Interface{
		Name: "node1/eth0", Description: "uplink of node1", MAC: [6]byte{2, 0, 0, 0, 0, 1},
		Addrs: prefixes("192.168.56.11/24", "fd00::b/64"), Speed: 1e10, SnapLen: 65535, OS: "Linux",
	})
	tunl0 := mustAdd(t, w, Interface{Name: "node1/tunl0", LinkType: Raw})
	check(w.WriteNames([]Name{
		{netip.MustParseAddr("10.244.1.2"), "web-0.default.pod"},
		{netip.MustParseAddr("fd00::2"), "six"},
	}))
	check(w.WriteSecrets(SecretsTLS, []byte("CLIENT_RANDOM 00 11\n")))
	check(w.WritePacket(&Packet{Interface: eth0, Time: epoch, Data: frame, ID: 0x1122334455667788,
		Direction: Out, Reception: Unicast, Comments: []string{"DNAT 10.96.0.10:80 → 10.244.2.3:8080", "second"}}))
	check(w.WritePacket(&Packet{Interface: tunl0, Time: epoch.Add(1), Data: frame[14:], ID: 0x1122334455667788, Direction: In}))
	later := mustAdd(t, w, Interface{Name: "late", SnapLen: 20})
	check(w.WritePacket(&Packet{Interface: later, Time: epoch.Add(time.Second), Data: frame, Comments: []string{"cut"}}))
	check(w.WriteStatistics(eth0, Statistics{Start: epoch, End: epoch.Add(time.Second), Received: 1, Dropped: 4}))
}

func TestGopacketReadsWhatWeWrite(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Section{Hardware: "virtual", OS: "Linux", Application: "podwire", Comment: "seed 1"})
	if err != nil {
		t.Fatal(err)
	}
	writeDemo(t, w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ours, err := ReadAll(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := pcapgo.NewNgReader(&out, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := compareWithGopacket(t, ours, theirs); n != 3 {
		t.Errorf("gopacket read %d packets, want 3", n)
	}
	if s := theirs.SectionInfo(); s.Hardware != "virtual" || s.OS != "Linux" || s.Application != "podwire" || s.Comment != "seed 1" {
		t.Errorf("gopacket read section %+v", s)
	}
	for i, want := range []Interface{
		{Name: "node1/eth0", Description: "uplink of node1", LinkType: Ethernet, SnapLen: 65535, OS: "Linux"},
		{Name: "node1/tunl0", LinkType: Raw},
		{Name: "late", LinkType: Ethernet, SnapLen: 20},
	} {
		got, err := theirs.Interface(i)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != want.Name || got.Description != want.Description || int(got.LinkType) != int(want.LinkType) ||
			got.SnapLength != want.SnapLen || got.OS != want.OS {
			t.Errorf("interface %d: gopacket read %+v, want %+v", i, got, want)
		}
	}
	eth0, _ := theirs.Interface(0)
	if s := eth0.Statistics; s.PacketsReceived != 1 || s.PacketsDropped != 4 || !s.StartTime.Equal(epoch) ||
		!s.EndTime.Equal(epoch.Add(time.Second)) || !s.LastUpdate.Equal(epoch.Add(time.Second)) {
		t.Errorf("gopacket read statistics %+v", s)
	}
}

// packetReader is what gopacket's readers have in common.
type packetReader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

// compareWithGopacket checks every packet and returns how many there were.
func compareWithGopacket(t *testing.T, ours *Capture, theirs packetReader) int {
	t.Helper()
	for n := 0; ; n++ {
		data, info, err := theirs.ReadPacketData()
		if err == io.EOF && n == len(ours.Packets) {
			return n
		}
		if err != nil || n == len(ours.Packets) {
			t.Fatalf("packet %d: gopacket says %v, we read %d packets", n, err, len(ours.Packets))
		}
		p := ours.Packets[n]
		if !p.Time.Equal(info.Timestamp) || !bytes.Equal(p.Data, data) || p.OrigLen != info.Length || p.Interface != info.InterfaceIndex {
			t.Errorf("packet %d: got %+v, gopacket read %+v with data %x", n, p, info, data)
		}
	}
}

// Captures of a real kernel, and one of every encapsulation from another
// pcapng writer.
var fixtures = []struct {
	file    string
	packets int
	first   time.Time
	ifaces  []string
}{
	{"flannel-vxlan-icmp-p1a-eth0.pcap", 4, time.Unix(1795346805, 268278000), []string{""}},
	{"garp-arp_notify.pcap", 13, time.Unix(1795347929, 358456000), []string{""}},
	{"icmp-n1-eth0.pcap", 5, time.Unix(1795346805, 268331000), []string{""}},
	{"decode-matrix.pcapng", 10, time.Unix(1700000000, 0), []string{"n1/eth0", "p1a/eth0"}},
}

func TestFixturesReadAsGopacketReadsThem(t *testing.T) {
	for _, tt := range fixtures {
		t.Run(tt.file, func(t *testing.T) {
			path := filepath.Join("testdata", tt.file)
			ours, err := ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, i := range ours.Interfaces {
				names = append(names, i.Name)
				if i.LinkType != Ethernet {
					t.Errorf("interface %q: link type %v, want %v", i.Name, i.LinkType, Ethernet)
				}
			}
			if len(ours.Packets) != tt.packets || !ours.Packets[0].Time.Equal(tt.first) || !slices.Equal(names, tt.ifaces) {
				t.Errorf("got %d packets from %v, interfaces %q, want %d from %v, %q",
					len(ours.Packets), ours.Packets[0].Time, names, tt.packets, tt.first.UTC(), tt.ifaces)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			compareWithGopacket(t, ours, newGopacketReader(t, raw))
		})
	}
}

func newGopacketReader(t *testing.T, raw []byte) packetReader {
	t.Helper()
	ng, err := pcapgo.NewNgReader(bytes.NewReader(raw), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err == nil {
		return ng
	}
	classic, err := pcapgo.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("gopacket: %v", err)
	}
	return classic
}

func TestDecodeMatrixMetadata(t *testing.T) {
	c, err := ReadFile(filepath.Join("testdata", "decode-matrix.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Section{OS: "emulated", Application: "emu 0.1", Comment: "test scenario"}); c.Section != want {
		t.Errorf("section: got %+v, want %+v", c.Section, want)
	}
	wantNames := []Name{
		{netip.MustParseAddr("10.244.1.2"), "web-a.default.pod"},
		{netip.MustParseAddr("10.96.0.100"), "web.default.svc.cluster.local"},
	}
	if !slices.Equal(c.Names, wantNames) {
		t.Errorf("names: got %v, want %v", c.Names, wantNames)
	}
	if len(c.Secrets) != 1 || c.Secrets[0].Kind != SecretsWireGuard || !bytes.HasPrefix(c.Secrets[0].Data, []byte("LOCAL_STATIC_PRIVATE_KEY")) {
		t.Errorf("secrets: got %+v, want one WireGuard key log", c.Secrets)
	}
	p := c.Packets[0]
	if p.ID != 1000 || p.Direction != In || !slices.Equal(p.Comments, []string{"design=ipip"}) {
		t.Errorf("first packet: got %+v, want id 1000, in, design=ipip", p)
	}
	if on := c.On("p1a/eth0"); len(on) != 5 || on[4].Comments[0] != "design=vlan" {
		t.Errorf("at p1a/eth0: got %d packets, want 5, the last one design=vlan", len(on))
	}
}

// TestGopacketReadsBigEndianAsWeDo keeps the file that the other tests build
// by hand honest.
func TestGopacketReadsBigEndianAsWeDo(t *testing.T) {
	for name, o := range orders {
		f := &file{order: o}
		f.section().iface(1, 0, f.option(9, "\x09")).iface(1, 0).packet(0, 5_000000001, "hello").packet(1, 7_000001, "you")
		ours, err := ReadAll(bytes.NewReader(f.b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := compareWithGopacket(t, ours, newGopacketReader(t, f.b)); n != 2 {
			t.Errorf("%s: %d packets, want 2", name, n)
		}
		for _, magic := range []uint32{magicMicro, magicNano} {
			raw := classicFile(o, magic, 1)
			if ours, err = ReadAll(bytes.NewReader(raw)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			compareWithGopacket(t, ours, newGopacketReader(t, raw))
		}
	}
}

// tshark runs tshark on a file and returns its lines. Without tshark the
// test fails: skipping by itself would let the format rot unseen.
func tshark(t *testing.T, path string, args ...string) []string {
	t.Helper()
	exe, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("PODWIRE_NO_TSHARK") == "1" {
			t.Skip("tshark not found, and PODWIRE_NO_TSHARK=1")
		}
		t.Fatal("tshark not found: install it (Debian: apt-get install tshark), or set PODWIRE_NO_TSHARK=1 to skip this test")
	}
	cmd := exec.Command(exe, append([]string{"-n", "-r", path}, args...)...)
	// Without the user's preferences, and with times in UTC.
	cmd.Env = append(os.Environ(), "WIRESHARK_CONFIG_DIR="+t.TempDir(), "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, stderr.String())
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func TestTsharkReadsWhatWeWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.pcapng")
	f, err := Create(path, Section{Application: "podwire"})
	if err != nil {
		t.Fatal(err)
	}
	writeDemo(t, f.Writer)
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	got := tshark(t, path, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=;",
		"-e", "frame.interface_name", "-e", "frame.interface_description", "-e", "frame.packet_flags_direction",
		"-e", "frame.packet_flags_reception_type", "-e", "frame.packet_id", "-e", "frame.comment", "-e", "frame.time_epoch",
		"-e", "frame.cap_len", "-e", "frame.len", "-e", "ip.dst", "-e", "icmp.seq")
	want := []string{
		"node1/eth0|uplink of node1|0x00000002|1|1234605616436508552|DNAT 10.96.0.10:80 → 10.244.2.3:8080;second|1788611696.987654321|50|50|10.244.2.2|1",
		"node1/tunl0||0x00000001|0|1234605616436508552||1788611696.987654322|36|36|10.244.2.2|1",
		"late|||||cut|1788611697.987654321|20|50||",
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	names := tshark(t, path, "-N", "n", "-T", "fields", "-e", "ip.src_host", "-c", "1")
	if want := []string{"web-0.default.pod"}; !slices.Equal(names, want) {
		t.Errorf("tshark resolved the source to %q, want %q", names, want)
	}
}

// TestTsharkReadsTheLargest tries the limits that MaxPacket and maxBlock
// claim to share with Wireshark.
func TestTsharkReadsTheLargest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.pcapng")
	f, err := Create(path, Section{Comment: strings.Repeat("c", 70000)})
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, f.Writer, Interface{})
	if err := f.WriteSecrets(SecretsTLS, bytes.Repeat([]byte("#\n"), (maxBlock-20)/2)); err != nil {
		t.Fatal(err)
	}
	if err := f.WritePacket(&Packet{Time: epoch, Data: make([]byte, MaxPacket), Comments: []string{strings.Repeat("é", 40000)}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	got := tshark(t, path, "-T", "fields", "-e", "frame.cap_len", "-e", "frame.comment")
	want := strconv.Itoa(MaxPacket) + "\t" + strings.Repeat("é", 32767)
	if len(got) != 1 || got[0] != want {
		t.Errorf("tshark read %d lines, the first of %d bytes, want one of %d", len(got), len(got[0]), len(want))
	}
}

// TestTsharkReadsFixturesAsWeDo covers what gopacket leaves out: names of
// interfaces, directions, ids and comments.
func TestTsharkReadsFixturesAsWeDo(t *testing.T) {
	for _, tt := range fixtures {
		path := filepath.Join("testdata", tt.file)
		c, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got := tshark(t, path, "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch", "-e", "frame.cap_len",
			"-e", "frame.interface_name", "-e", "frame.packet_id", "-e", "frame.comment")
		var want []string
		for _, p := range c.Packets {
			id := ""
			if p.ID != 0 {
				id = strconv.FormatUint(p.ID, 10)
			}
			seconds := strconv.FormatInt(p.Time.Unix(), 10) + p.Time.Format(".000000000")
			want = append(want, strings.Join([]string{seconds, strconv.Itoa(len(p.Data)),
				c.Interfaces[p.Interface].Name, id, strings.Join(p.Comments, ",")}, "|"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: tshark read\n%s\nwe read\n%s", tt.file, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestTsharkReadsTheHandMadeFile checks the reader's test file itself, in
// both byte orders.
func TestTsharkReadsTheHandMadeFile(t *testing.T) {
	for name, o := range orders {
		path := filepath.Join(t.TempDir(), "made.pcapng")
		f := &file{order: o}
		f.section().iface(1, 0, f.option(2, "a"), f.option(9, "\x09"), f.option(14, uint64(100)))
		f.packet(0, 5_000000001, "hello", f.option(2, uint32(2)), f.option(5, uint64(77)), f.option(1, "first"))
		f.block(blockPacket, uint16(0), uint16(0xffff), uint32(0), uint32(8), uint32(2), uint32(60), "ab\x00\x00")
		if err := os.WriteFile(path, f.b, 0o600); err != nil {
			t.Fatal(err)
		}
		got := tshark(t, path, "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch", "-e", "frame.interface_name",
			"-e", "frame.packet_flags_direction", "-e", "frame.packet_id", "-e", "frame.comment", "-e", "frame.len")
		want := []string{"105.000000001|a|0x00000002|77|first|5", "100.000000008|a||||60"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: tshark read %q, want %q", name, got, want)
		}
	}
}

// TestTsharkReadsAStream reads while we write, through a pipe.
func TestTsharkReadsAStream(t *testing.T) {
	tshark(t, filepath.Join("testdata", fixtures[0].file)) // present, or fail with the hint
	cmd := exec.Command("tshark", "-n", "-r", "-", "-T", "fields", "-e", "frame.interface_name")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(in, Section{})
	if err == nil {
		err = w.SetSync(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	writeDemo(t, w)
	err = errors.Join(w.Close(), in.Close(), cmd.Wait())
	if want := "node1/eth0\nnode1/tunl0\nlate\n"; err != nil || out.String() != want {
		t.Errorf("tshark printed %q (%v), want %q", out.String(), err, want)
	}
}
