package topo

import (
	"os"
	"path/filepath"
	"testing"
)

// A scenario that is written anew keeps what is not changed, comments included,
// and finds its files from where it stands.
func TestRewrite(t *testing.T) {
	seed := uint64(7)
	for _, c := range []struct{ name, in, want string }{
		{"everything", `# Old head.
#
#	podwire run x.yaml
name: x
seed: 1
cluster: {nodes: [{name: n1, iptables: rules/n1}, {name: n2}], design: flannel-vxlan}
underlay: {latency: 1ms} # kept
manifests: [a.yaml, /abs/b.yaml]
steps:
# the step
- name: "s: 1"
  sleep: 1s
faults:
- {at: 1s, kill: {pod: p}}
- random: {count: 3, window: 1s}
---
apiVersion: v1
kind: Namespace   # as it was
metadata: {name: a}
`, `# New head:
#
#     podwire run y.yaml
name: x
seed: 7
cluster: {nodes: [{name: n1, iptables: ../in/rules/n1}, {name: n2}], design: calico-vxlan}
underlay: {latency: 1ms} # kept
manifests: [../in/a.yaml, /abs/b.yaml]
steps:
  # the step
  - name: "s: 1"
    sleep: 1s
faults:
  - {with: 's: 1 + 1s', down: {link: n1}, for: 1s}
  - {at: 0s, partition: [[n1], [n2]]}
---
apiVersion: v1
kind: Namespace   # as it was
metadata: {name: a}
`},
		{"hardly anything, behind a manifest", `apiVersion: v1
kind: Namespace
metadata: {name: a}
---
steps: [{sleep: 1s}] // a comment of another language
`, `apiVersion: v1
kind: Namespace
metadata: {name: a}
---
# New head:
#
#     podwire run y.yaml
steps: [{sleep: 1s}] #  a comment of another language
seed: 7
cluster: {design: calico-vxlan}
faults:
  - {with: 's: 1 + 1s', down: {link: n1}, for: 1s}
  - {at: 0s, partition: [[n1], [n2]]}
`},
	} {
		got, err := Rewrite{
			Comment: "New head:\n\n    podwire run y.yaml", Seed: &seed, Design: "calico-vxlan", Dir: "out",
			Faults: []string{"- {with: 's: 1 + 1s', down: {link: n1}, for: 1s}", "- {at: 0s, partition: [[n1], [n2]]}"},
		}.Apply("in/x.yaml", []byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v; got\n%s\nwant\n%s", c.name, err, got, c.want)
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	for _, c := range []struct {
		in string
		r  Rewrite
	}{
		{"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", Rewrite{}},
		{"steps: []\n", Rewrite{Faults: []string{"{at: 1s}: x"}}},
		{"", Rewrite{}},
		{"\x00", Rewrite{}},
	} {
		if got, err := c.r.Apply("f.yaml", []byte(c.in)); err == nil {
			t.Errorf("%q: got %q, want an error", c.in, got)
		}
	}
}

// Every example can be written anew and means the same.
func TestRewriteExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sc, diags := Load(f)
		if diags.HasErrors() || sc.Plain() {
			continue
		}
		elements := sc.Elements(1)
		text, err := Rewrite{Comment: "x", Faults: elements, Dir: filepath.Dir(f)}.Apply(f, data)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		again, diags := Parse(f, text)
		if err := diags.Err(); err != nil {
			t.Errorf("%s: %v in\n%s", f, err, text)
			continue
		}
		if len(again.Steps) != len(sc.Steps) || len(again.Pods) != len(sc.Pods) || len(again.Objects) != len(sc.Objects) || len(again.Faults) != len(elements) {
			t.Errorf("%s: %d steps, %d pods, %d objects, %d faults; want %d, %d, %d, %d", f, len(again.Steps), len(again.Pods), len(again.Objects), len(again.Faults),
				len(sc.Steps), len(sc.Pods), len(sc.Objects), len(elements))
		}
	}
}
