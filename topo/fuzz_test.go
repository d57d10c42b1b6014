package topo

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
)

// addSeeds gives a fuzz test the seed manifests, four examples and every mistake of
// the table.
func addSeeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/seed/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, "../examples/quickstart.yaml", "../examples/docker-bridge.yaml", "../examples/random-faults.yaml", "../examples/address-conflict.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, c := range mistakes {
		f.Add([]byte(c.in))
	}
}

// checkParse parses data and checks what holds for any input at all.
func checkParse(t *testing.T, data []byte) *Scenario {
	t.Helper()
	begin := time.Now()
	sc, diags := Parse("f.yaml", data)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("%d bytes took %v", len(data), took)
	}
	if sc == nil {
		t.Fatal("got no Scenario")
	}
	lines := bytes.Count(data, []byte("\n")) + 1
	for _, d := range diags {
		if d.Rule == "" || d.Message == "" || d.File == "" {
			t.Errorf("got a finding without rule, message or file: %+v", d)
		}
		if d.File == "f.yaml" && (d.Line < 0 || d.Line > lines || d.IsValid() && d.Column < 1) {
			t.Errorf("got position %v in %d lines", d.Pos, lines)
		}
		if d.Detail() == "" {
			t.Errorf("got no long form of %v", d)
		}
	}
	again, diags2 := Parse("f.yaml", data)
	if len(diags) != len(diags2) || len(sc.Pods) != len(again.Pods) {
		t.Errorf("got %d findings and %d pods, then %d and %d", len(diags), len(sc.Pods), len(diags2), len(again.Pods))
	}
	for i := range diags {
		if diags[i] != diags2[i] {
			t.Errorf("got %v, then %v", diags[i], diags2[i])
		}
	}
	if diags.HasErrors() {
		return nil
	}
	return sc
}

func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		sc := checkParse(t, data)
		if sc == nil {
			return
		}
		for _, s := range sc.Steps {
			if s.Verb() == "" {
				t.Error("accepted a step without a verb")
			}
		}
		for _, p := range sc.Pods {
			if p.Name.Value == "" || p.Node.Value == "" {
				t.Errorf("accepted pod %+v without name or node", p)
			}
		}
		for _, n := range sc.Cluster.Nodes {
			if !n.Address.Value.IsValid() || n.PodCIDR.Value.IsValid() == emu.Standalone(sc.Cluster.Design.Value) && !n.PodCIDR.IsSet() {
				t.Errorf("accepted node %+v without address, or with a podCIDR where there is none, or without one", n)
			}
		}
	})
}

// FuzzManifest puts the input behind the head of a Service, where the strict
// decoder and its explanations live, and fixes whatever it can.
func FuzzManifest(f *testing.F) {
	addSeeds(f)
	for _, s := range []string{"  ports:\n  - port: 80\n  nodePort: 1\n", "  selector:\n  name: x\n", "  type: NodePort // x\n", "  ports: [{port: 80, targetPort: a}]\n", "  <<: *a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text := append([]byte(svcHead), data...)
		checkParse(t, text)
		for _, in := range [][]byte{text, data} {
			fixed, applied := Fix(in)
			if (len(applied) > 0) == bytes.Equal(fixed, in) {
				t.Errorf("Fix(%q): got %q with %d applied", in, fixed, len(applied))
			}
		}
		sc, _ := Parse("f.yaml", text)
		for _, o := range sc.Objects {
			for _, path := range []string{"spec.ports[0].port", "metadata.labels[a]", string(data)} {
				if pos, _ := o.Position(path); !pos.IsValid() {
					t.Errorf("Position(%q): got %v", path, pos)
				}
			}
		}
	})
}

// BenchmarkParse reads a scenario of 1000 pods and their Service.
func BenchmarkParse(b *testing.B) {
	var text bytes.Buffer
	text.WriteString("cluster: {nodes: 100}\npods:\n")
	for i := range 1000 {
		text.WriteString("- {name: p")
		for v := i; ; v /= 10 {
			text.WriteByte('0' + byte(v%10))
			if v < 10 {
				break
			}
		}
		text.WriteString("x" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + ", labels: {app: web}, ports: [80]}\n")
	}
	text.WriteString("---\n" + svcHead + "  selector: {app: web}\n  ports: [{port: 80}]\n")
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, diags := Parse("f.yaml", text.Bytes()); diags.HasErrors() {
			b.Fatal(diags)
		}
	}
}
