package netfilter

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// realTools skips or fails a test that needs the real iptables. A machine without them must say so, or conformance
// would go untested unnoticed.
func realTools(t *testing.T, tools ...string) {
	t.Helper()
	if os.Getenv("PODWIRE_NO_IPTABLES") == "1" {
		t.Skip("PODWIRE_NO_IPTABLES=1")
	}
	const hint = "run as root with iptables and unshare installed, or set PODWIRE_NO_IPTABLES=1 to skip"
	if os.Getuid() != 0 {
		t.Fatalf("not root: %s", hint)
	}
	for _, tool := range append(tools, "unshare") {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: %s", err, hint)
		}
	}
}

// inNamespace runs a shell command in a new network namespace, so that nothing of this machine changes.
func inNamespace(t *testing.T, stdin, command string) (string, error) {
	t.Helper()
	cmd := exec.Command("unshare", "-n", "sh", "-c", command)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

// plainSave drops the comment lines, and sorts the tables as Save does.
func plainSave(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && line != "\n" {
			kept = append(kept, line)
		}
	}
	var tables [numTables]string
	for _, part := range strings.SplitAfter(strings.Join(kept, ""), "COMMIT\n") {
		name, _, _ := strings.Cut(strings.TrimPrefix(part, "*"), "\n")
		if t, ok := tableByName(name); ok {
			tables[t] = part
		}
	}
	return strings.Join(tables[:], "")
}

func readFixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustRestore(t testing.TB, text string) *Ruleset {
	t.Helper()
	r := New()
	if err := r.Restore(text, RestoreOptions{}); err != nil {
		t.Fatalf("Restore: %v\n%s", err, text)
	}
	return r
}

// corpusRule is a line of testdata/rules.txt.
type corpusRule struct {
	table, in, out string
	ours           bool // not for the real tool
}

func (c corpusRule) text(rule string) string {
	return "*" + c.table + "\n:USR - [0:0]\n" + rule + "\nCOMMIT\n"
}

func corpus(t testing.TB) []corpusRule {
	t.Helper()
	var list []corpusRule
	for line := range strings.Lines(readFixture(t, "rules.txt")) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		line, ours := strings.CutPrefix(line, "~")
		table, rest, _ := strings.Cut(line, " ")
		in, out, ok := strings.Cut(rest, " => ")
		if !ok {
			out = in
		}
		list = append(list, corpusRule{table, in, out, ours})
	}
	return list
}

func TestRealToolAgreesOnNode(t *testing.T) {
	for _, tool := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(tool, func(t *testing.T) {
			realTools(t, tool+"-restore", tool+"-save")
			save := mustRestore(t, readFixture(t, "node.rules")).Save()
			got, err := inNamespace(t, save, `rules=$(cat); echo "$rules" | `+tool+`-restore --test && echo "$rules" | `+
				tool+"-restore && "+tool+"-save")
			if err != nil {
				t.Fatalf("%s does not take our Save: %v", tool, err)
			}
			if got = plainSave(got); got != save {
				t.Errorf("%s prints, and we print:\n%s", tool, diff(got, save))
			}
		})
	}
}

// TestRealToolAgreesOnCorpus gives each rule of the corpus to the real tool, as written, and compares what it prints
// with what we print. All rules go in one file, each in a chain of its own or the built-in one it names.
func TestRealToolAgreesOnCorpus(t *testing.T) {
	const tool = "iptables-nft"
	realTools(t, tool+"-restore", tool+"-save")
	rules := corpus(t)
	var in strings.Builder
	for _, table := range tableNames {
		fmt.Fprintf(&in, "*%s\n:USR - [0:0]\n", table)
		for _, c := range rules {
			if c.table == table && !c.ours {
				in.WriteString(c.in + "\n")
			}
		}
		in.WriteString("COMMIT\n")
	}
	got, err := inNamespace(t, in.String(), tool+"-restore && "+tool+"-save")
	if err != nil {
		t.Fatalf("the corpus is not what %s takes: %v", tool, err)
	}
	got = plainSave(got)
	if want := mustRestore(t, in.String()).Save(); got != want {
		t.Errorf("%s prints, and we print:\n%s", tool, diff(got, want))
	}
	for _, legacy := range []string{"iptables-legacy"} {
		realTools(t, legacy+"-restore", legacy+"-save")
		canonical := mustRestore(t, in.String()).Save()
		again, err := inNamespace(t, canonical, legacy+"-restore && "+legacy+"-save")
		if err != nil {
			t.Fatalf("%s does not take our Save: %v", legacy, err)
		}
		if again = plainSave(again); again != canonical {
			t.Errorf("%s prints, and we print:\n%s", legacy, diff(again, canonical))
		}
	}
}

// diff shows the lines that only one of two texts has.
func diff(got, want string) string {
	count := make(map[string]int)
	for line := range strings.Lines(want) {
		count[line]++
	}
	var b strings.Builder
	for line := range strings.Lines(got) {
		if count[line]--; count[line] < 0 {
			b.WriteString("got  " + line)
		}
	}
	for line := range strings.Lines(want) {
		if count[line] > 0 {
			count[line]--
			b.WriteString("want " + line)
		}
	}
	if b.Len() == 0 {
		return "the same lines in another order\n" + got
	}
	return b.String()
}

// TestRealToolRefusesToo gives texts that we refuse to the real tool, which must refuse them as well, except for the
// ones marked as stricter here.
func TestRealToolRefusesToo(t *testing.T) {
	const tool = "iptables-nft"
	realTools(t, tool+"-restore")
	var script strings.Builder
	cases := refusals
	for i, c := range cases {
		fmt.Fprintf(&script, "unshare -n %s-restore >/dev/null 2>&1 <<'__END__'\n%s__END__\necho %d $?\n", tool, c.text, i)
	}
	out, err := inNamespace(t, "", script.String())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		refused := !regexp.MustCompile(fmt.Sprintf(`(?m)^%d 0$`, i)).MatchString(out)
		if refused == c.stricter {
			t.Errorf("%s: the real tool refuses it: %v, want %v\n%s", c.name, refused, !c.stricter, c.text)
		}
	}
}
