package netfilter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dumps are rules as they are found on nodes, with their sets.
func dumps(t *testing.T) map[string][2]string {
	t.Helper()
	files, err := filepath.Glob("testdata/dumps/*.rules")
	if err != nil || len(files) < 4 {
		t.Fatalf("dumps: %v, %v", files, err)
	}
	out := make(map[string][2]string)
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".rules")
		sets, _ := os.ReadFile(strings.TrimSuffix(f, ".rules") + ".sets")
		out[name] = [2]string{string(sets), readFixture(t, "dumps/"+name+".rules")}
	}
	return out
}

// What a node has printed is read, and printed again as it was.
func TestDumpsRoundTrip(t *testing.T) {
	for name, d := range dumps(t) {
		r := New()
		if err := r.RestoreSets(d[0]); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := r.Restore(d[1], RestoreOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := r.Save(), withoutCounters(plainSave(d[1])); got != want {
			t.Errorf("%s:\n%s", name, diff(got, want))
		}
		again := New()
		if err := again.RestoreSets(r.SaveSets()); err != nil || again.SaveSets() != r.SaveSets() {
			t.Errorf("%s: sets: %v\n%s", name, err, r.SaveSets())
		}
	}
}

// withoutCounters sets the counters of policies to 0, as they are in a file of which they were not asked for.
func withoutCounters(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if head, _, ok := strings.Cut(line, " ["); ok && line[0] == ':' {
			line = head + " [0:0]\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// The real tool prints the same of each dump; rules with sets are left out where there is no ipset.
func TestRealToolAgreesOnDumps(t *testing.T) {
	const tool = "iptables-nft"
	realTools(t, tool+"-restore", tool+"-save")
	for name, d := range dumps(t) {
		var plain strings.Builder
		for line := range strings.Lines(d[1]) {
			if !strings.Contains(line, "--match-set") {
				plain.WriteString(line)
			}
		}
		want := mustRestore(t, plain.String()).Save()
		got, err := inNamespace(t, plain.String(), tool+"-restore && "+tool+"-save")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got = withoutCounters(plainSave(got)); got != want {
			t.Errorf("%s: %s prints, and we print:\n%s", name, tool, diff(got, want))
		}
	}
}
