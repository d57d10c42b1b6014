package diff_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// FuzzCaptures compares whatever a file holds with itself, where there must be
// no difference, and with a part of itself both ways, where as much must be
// missing as is extra.
func FuzzCaptures(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pcap")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(1))
		f.Add(b, uint8(2))
	}
	f.Fuzz(func(t *testing.T, file []byte, link uint8) {
		c, _ := pcap.ReadAll(bytes.NewReader(file))
		if c == nil {
			return
		}
		list := c.Packets
		for _, l := range []pcap.LinkType{pcap.Ethernet, pcap.Raw, pcap.LinuxSLL, pcap.LinuxSLL2, pcap.Null}[link%5:][:1] {
			for _, o := range []diff.Options{{}, {Strict: true}, {Offload: true}} {
				r, err := diff.Captures(list, list, l, l, o)
				if err != nil || !r.Same() {
					t.Fatalf("%+v: a capture and itself: %q, %v, want no differences", o, texts(r), err)
				}
			}
			part := list[:len(list)/2]
			r, err := diff.Captures(list, part, l, l, diff.Options{})
			s, err2 := diff.Captures(part, list, l, l, diff.Options{})
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if n, m := kinds(r)[diff.KindMissing], kinds(s)[diff.KindExtra]; n != m || r.Paired+n != len(list) {
				t.Fatalf("%d packets, %d missing one way, %d extra the other, %d paired", len(list), n, m, r.Paired)
			}
		}
	})
}

func kinds(r diff.Report) map[diff.Kind]int {
	n := map[diff.Kind]int{}
	for _, d := range r.Differences {
		n[d.Kind]++
	}
	return n
}
