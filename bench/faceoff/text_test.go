package faceoff

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    Unit
		want string
	}{
		{9.4040e9, BitRate, "9.404 Gbit/s"}, {940.35e6, BitRate, "940.4 Mbit/s"}, {0, BitRate, "0 bit/s"}, {12, BitRate, "12 bit/s"},
		{20.392e-6, Seconds, "20.39 µs"}, {0, Seconds, "0 s"}, {1.5, Seconds, "1.5 s"}, {3e-9, Seconds, "3 ns"}, {0.000999999, Seconds, "1 ms"},
		{0.99884, Share, "99.88 %"}, {0, Share, "0 %"}, {22549.4, PerSec, "22549 /s"}, {1129616, Bytes, "1129616 B"}, {0.25, Entries, "0.25"}, {-3, Count, "-3"},
	} {
		if got := Text(c.v, c.u); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.v, c.u, got, c.want)
		}
	}
}

func of(v float64) *float64 { return &v }

// made is a result with figures that are easy to check.
func made() *Result {
	names := []string{"thin", "thick", "same"}
	measure := func(id string, u Unit, b Better, values ...float64) Measure {
		m := Measure{ID: id, Group: GroupGoodput, Title: id, Short: id, Unit: u, Better: b, Key: true, What: "What.", How: "How.", Limit: "Limit."}
		for i, v := range values {
			m.Values = append(m.Values, Value{Design: names[i], Value: of(v)})
		}
		return m
	}
	r := &Result{
		Schema: SchemaID, Scenario: Scenario{Name: "made|up", From: "a", To: "b"}, Settings: Settings{Virtual: true, Seeds: []uint64{1}, MTU: 1500, Window: time.Millisecond, CPU: "2 cores per node, calibration made-up"},
		Designs: []Design{{Name: "thin"}, {Name: "thick"}, {Name: "same"}}, Unfit: []Unfit{{"far", "out of reach"}},
		Measures: []Measure{
			measure("goodput", BitRate, Higher, 1e9, 0.966e9, 1e9), measure("goodput-9000", BitRate, Higher, 2e9, 2e9, 2e9),
			measure("encapsulation", Bytes, Lower, 0, 50, 0), measure("mtu", Bytes, Higher, 1500, 1430, 1500),
			measure("connect-cold", Seconds, Lower, 1e-3, 2e-3, 1e-3), measure("connect", Seconds, Lower, 1e-3, 1e-3, 1e-3),
			measure("frames-datagram", Count, Lower, 1, 2, 1), measure("recover-node", Seconds, Lower, 0.01, 1, 0.01),
		},
		Calibration: []Calibration{
			{ID: "goodput", Title: "goodput", Design: "thin", Unit: BitRate, Measured: 1e9, Theory: 1.001e9, Error: -0.001, Agrees: true},
			{ID: "goodput", Title: "goodput", Design: "thick", Unit: BitRate, Measured: 0.966e9, Theory: 2e9, Error: -0.517},
		},
	}
	last := &r.Measures[7]
	last.Values[2] = Value{Design: "same", Note: "not within 5s"}
	r.Verdict = verdict(r)
	return r
}

// Each sentence is computed from the figures.
func TestVerdict(t *testing.T) {
	got := strings.Join(made().Verdict, "\n")
	want := `thick costs 3.4 % goodput against thin at MTU 1500, nothing at MTU 9000: each packet has 50 B more.
same has as much goodput as thin.
The very first connection usually takes 1 ms, under thick 2 ms.
A UDP datagram of 1472 bytes, which fits the underlay, is cut into fragments by thick.
The MTU of pods is lower than the encapsulation asks for under thick (20 B).
After a node has crashed and booted, its new pod answers within 10 ms; under thick after 1 s; under same not in time.
1 of 2 figures that theory can tell do not agree with it: goodput of thick.`
	if got != want {
		t.Errorf("verdict\n%s\nwant\n%s", got, want)
	}
	if v := verdict(&Result{Designs: []Design{{Name: "thin"}}}); len(v) != 0 {
		t.Errorf("without figures: %q", v)
	}
}

// All outputs hold every design, what is missing and why.
func TestRenderings(t *testing.T) {
	r := made()
	var text, markdown, table, csv bytes.Buffer
	for _, err := range []error{r.WriteText(&text, true), r.WriteMarkdown(&markdown), r.WriteKeyTable(&table), r.WriteCSV(&csv)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for out, wants := range map[*bytes.Buffer][]string{
		&text: {"\nCPU model: 2 cores per node, calibration made-up\n", "made|up: a -> b, 3 designs, seed 1, virtual time", "thick   966 Mbit/s  2 Gbit/s", "Do not fit this scenario\n  far: out of reach", "same: not within 5s (recover-node)",
			"DISAGREES", "  goodput: What.\n    How: How.\n    Limit: Limit.", made().Verdict[0]},
		&markdown: {"- CPU model: 2 cores per node, calibration made-up\n", `# Face-off: made\|up`, "| design | goodput |", "| thick | 966 Mbit/s |", "- far: out of reach", "- **goodput** (goodput): What. How. Limit: Limit."},
		&table:    {"| design | goodput |", "| same | 1 Gbit/s |"},
		&csv:      {"thick,goodput,goodput,bit/s,higher,1,9.66e+08,\n", "same,goodput,recover-node,s,lower,,,not within 5s\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
	if strings.Contains(table.String(), "What.") {
		t.Error("the key table has more than the table")
	}
}

func TestSpread(t *testing.T) {
	var bouts []*bout
	for _, x := range []float64{4, 1, 7, 2} {
		bouts = append(bouts, &bout{design: "d", values: map[string]float64{"x": x}})
	}
	v := value("x", bouts)
	if *v.Value != 3 || v.Spread.Min != 1 || v.Spread.Max != 7 || v.Spread.Stddev < 2.645 || v.Spread.Stddev > 2.646 || v.Spread.All[2] != 7 {
		t.Errorf("median %v, spread %+v", *v.Value, v.Spread)
	}
	if got := v.text(Bytes); got != "3 B (1 B to 7 B)" {
		t.Errorf("printed as %q", got)
	}
	bouts[1].values, bouts[1].notes = nil, map[string]string{"x": "broken"}
	if v := value("x", bouts); *v.Value != 4 || v.Note != "broken" {
		t.Errorf("with one run that failed: %+v", v)
	}
}

// syn is a SYN with these options.
func syn(options ...byte) []byte {
	b := make([]byte, 40, 40+len(options))
	b[0], b[9], b[32], b[33] = 0x45, protoTCP, byte(5+len(options)/4)<<4, 0x02
	return append(b, options...)
}

func TestSynMSS(t *testing.T) {
	for _, c := range []struct {
		ip   []byte
		want int
	}{
		{syn(2, 4, 0x05, 0xb4), 1460}, {syn(1, 1, 4, 2, 2, 4, 0x05, 0x82), 1410}, {syn(), 0}, {syn(0, 2, 4, 5), 0}, {syn(4, 0, 2, 4), 0}, {syn(2, 4, 5, 0xb4)[:42], 0},
	} {
		if got, ok := synMSS(c.ip); got != c.want || ok != (c.want > 0) {
			t.Errorf("MSS of %x is %d, %v, want %d", c.ip, got, ok, c.want)
		}
	}
}

// FuzzLayers: whatever the frame, its layers follow each other and do not reach
// beyond it, and no option makes the reading of a SYN panic.
func FuzzLayers(f *testing.F) {
	segment := append(syn(2, 4, 0x05, 0xb4), "payload"...)
	ethernet := make([]byte, 14)
	ethernet[12] = 8
	f.Add(append(bytes.Clone(ethernet), segment...), []byte(nil))
	outer := make([]byte, 28)
	outer[0], outer[9] = 0x45, protoUDP
	vxlan, wireguard := bytes.Clone(outer), bytes.Clone(outer)
	vxlan[22], vxlan[23] = 0x21, 0x18
	vxlan = append(append(append(vxlan, 8, 0, 0, 0, 0, 0, 1, 0), ethernet...), segment...)
	f.Add(append(bytes.Clone(ethernet), vxlan...), segment)
	wireguard[22], wireguard[23] = 0xca, 0x6c
	wireguard = append(append(wireguard, 4), make([]byte, 31+len(segment)+3)...)
	f.Add(append(bytes.Clone(ethernet), wireguard...), segment)
	f.Fuzz(func(t *testing.T, frame, packet []byte) {
		if len(packet) > 0 && (len(packet) < 28 || packet[0] != 0x45) {
			packet = nil // a pod's packet is one that was read before
		}
		at := 0
		for _, l := range takeApart(link.LinkEthernet, frame, packet) {
			if l.Offset != at || l.Bytes <= 0 {
				t.Fatalf("%+v at %d of %x", l, at, frame)
			}
			at += l.Bytes
		}
		if at > len(frame) {
			t.Fatalf("layers of %d bytes in a frame of %d", at, len(frame))
		}
		if len(frame) >= 40 {
			synMSS(frame)
		}
	})
}
