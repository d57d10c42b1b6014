package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/pcap/diff"
)

// asLate is by how much a packet of the lab may come earlier or later than in the
// kernel's capture. The kernel's timers are up to 3 % late, the lab's are exact.
const asLate = 60 * time.Millisecond

// What differs from the kernel is what FIDELITY.md says, no less and no more.
func TestFidelity(t *testing.T) {
	found := &fidelity{at: map[[3]string][]string{}}
	for _, s := range kernelScenes {
		t.Run(s.name, func(t *testing.T) {
			on := s.run(t)
			for _, p := range s.points {
				kernel, podwire := kernelCapture(t, p[0]).Packets, on(p[1])
				r, err := diff.Captures(kernel, podwire, pcap.Ethernet, pcap.Ethernet, diff.Options{Timing: asLate})
				if err != nil {
					t.Fatal(err)
				}
				if r.Paired == 0 && len(kernel) > 0 {
					t.Errorf("%s: no packet has a counterpart on %s", p[0], p[1])
				}
				if testing.Verbose() {
					for _, d := range r.Differences {
						t.Logf("%s: %s", p[0], d.Text)
					}
				}
				found.add(p[0], r)
			}
		})
	}
	if t.Failed() {
		return
	}
	everyCapture(t)
	got, want := found.rows(), documented(t)
	for _, row := range got {
		if !slices.Contains(want, row) {
			t.Errorf("FIDELITY.md does not say\n%s REASON |", row)
		}
	}
	for _, row := range want {
		if !slices.Contains(got, row) {
			t.Errorf("FIDELITY.md says, and it is not so\n%s", row)
		}
	}
}

// everyCapture wants each file of testdata/kernel compared.
func everyCapture(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/kernel/*.pcap")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	compared := map[string]bool{}
	for _, s := range kernelScenes {
		for _, p := range s.points {
			compared[p[0]] = true
		}
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".pcap"); !compared[name] {
			t.Errorf("%s is not compared with anything", name)
		}
	}
}

// fidelity gathers differences by what they are: field, kernel's value,
// podwire's value. at lists captures with the numbers of the packets.
type fidelity struct {
	at    map[[3]string][]string
	order [][3]string

	// partial counts checksums that the kernel has left to the network card, and
	// podwire has right: there are so many that they make one row.
	partial, partialIn int
}

// isPartial reports whether d is such a checksum.
func isPartial(d diff.Difference) bool {
	return d.Kind == diff.KindField && strings.HasSuffix(d.Field, ".checksum") && d.A == "partial (left to the network card)" && d.B == "right"
}

func (f *fidelity) add(capture string, r diff.Report) {
	packets := map[[3]string][]int{}
	var order [][3]string
	before := f.partial
	for _, d := range r.Differences {
		if isPartial(d) {
			f.partial++
			continue
		}
		k, n := [3]string{d.Field, d.A, d.B}, d.PacketA
		switch d.Kind {
		case diff.KindMissing:
			k[1], k[2] = what(d.A), "none"
		case diff.KindExtra:
			k[1], k[2], n = "none", what(d.B), d.PacketB
		}
		if packets[k] == nil {
			order = append(order, k)
		}
		packets[k] = append(packets[k], n+1)
	}
	if f.partial > before {
		f.partialIn++
	}
	for _, k := range order {
		if f.at[k] == nil {
			f.order = append(f.order, k)
		}
		f.at[k] = append(f.at[k], capture+": "+ranges(packets[k]))
	}
}

// what is what a packet is without its addresses: "router solicitation", not
// whose.
func what(s string) string {
	var words []string
	for _, w := range strings.Fields(s) {
		if strings.ContainsAny(w, ".:") {
			break
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// ranges writes 1, 2, 3, 7 as "1-3 7".
func ranges(list []int) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprint(&b, list[i])
		if j > i {
			fmt.Fprintf(&b, "-%d", list[j])
		}
		i = j + 1
	}
	return b.String()
}

// rows are the table of FIDELITY.md without the last column.
func (f *fidelity) rows() []string {
	out := []string{fmt.Sprintf("| %d in %d captures | checksums of TCP and UDP | partial (left to the network card) | right |", f.partial, f.partialIn)}
	for _, k := range f.order {
		out = append(out, fmt.Sprintf("| %s | %s | %s | %s |", strings.Join(f.at[k], "; "), k[0], k[1], k[2]))
	}
	return out
}

// documented reads the table, and wants a reason in each row.
func documented(t *testing.T) []string {
	t.Helper()
	file, err := os.ReadFile("../../FIDELITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(file)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.Contains(line, "---") || strings.HasPrefix(line, "| where |") {
			continue
		}
		if strings.TrimSpace(cells[5]) == "" {
			t.Errorf("FIDELITY.md gives no reason: %s", line)
		}
		out = append(out, strings.Join(cells[:5], "|")+"|")
	}
	if len(out) == 0 {
		t.Fatal("FIDELITY.md has no table")
	}
	return out
}
