package faceoff

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// scenario is a file that holds the example's network on slow cables, with the
// lines of its cluster.
func scenario(t *testing.T, cluster, rate string) *Scene {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	text := "name: test\nseed: 1\ncluster: {nodes: 2" + cluster + "}\nunderlay: {rate: " + rate + ", latency: 5us}\n" +
		"pods: [{name: a, node: node1}, {name: b, node: node2}]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return sceneOf(t, file)
}

// With the CPU model a core that is never idle is the stream's limit: goodput per
// core is goodput, and no figure is held against theories about cables alone.
func TestGoodputPerCore(t *testing.T) {
	designs := []string{"flannel-host-gw", "flannel-vxlan"}
	cfg := Config{Designs: designs, Groups: []string{GroupHeaders, GroupGoodput}, Window: 4 * time.Millisecond, Parallel: 2}
	r := compare(t, scenario(t, ", cpu: true", "10Gbit"), cfg)
	for _, d := range designs {
		core, goodput := r.Find("goodput-core").Of(d), r.Find("goodput").Of(d)
		if core == nil || goodput == nil || math.Abs(*core / *goodput - 1) > 0.01 {
			t.Errorf("%s: goodput per core %v of a core that was never idle, want the goodput %v", d, core, goodput)
		}
		if !strings.Contains(strings.Join(r.Warnings, "\n"), d+": a core of node") {
			t.Errorf("warnings %q, want that a core is the limit under %s", r.Warnings, d)
		}
	}
	host, vxlan := r.Find("goodput-core").Of(designs[0]), r.Find("goodput-core").Of(designs[1])
	if *vxlan >= *host {
		t.Errorf("goodput per core: VXLAN %v, host-gw %v, want less", *vxlan, *host)
	}
	if v := strings.Join(r.Verdict, "\n"); !strings.Contains(v, "; a core moves ") {
		t.Errorf("verdict %q says nothing of cores", v)
	}
	for _, c := range r.Calibration {
		if !c.Agrees || c.ID == "goodput" || c.ID == "rtt" {
			t.Errorf("held against theory: %+v", c)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"cpu":"1 core per node, calibration linux-veth-fit"`; !bytes.Contains(data, []byte(want)) {
		t.Errorf("settings in JSON: %+v, want %s", r.Settings, want)
	}
	validate(t, r)

	// On a slow cable both designs leave the core time, and what a megabit costs
	// is the same.
	slow := compare(t, scenario(t, ", cpu: true", "500Mbit"), cfg)
	for _, d := range designs {
		core, goodput := slow.Find("goodput-core").Of(d), slow.Find("goodput").Of(d)
		if core == nil || *core < 1.2**goodput {
			t.Errorf("%s at 500 Mbit/s: goodput per core %v, want clearly more than the goodput %v", d, core, goodput)
		}
	}
	if len(slow.Warnings) > 0 {
		t.Errorf("warnings %q", slow.Warnings)
	}
	off := compare(t, scenario(t, "", "500Mbit"), cfg)
	if off.Find("goodput-core") != nil || off.Settings.CPU != "" {
		t.Errorf("without the CPU model: %+v, settings %+v", off.Find("goodput-core"), off.Settings)
	}
}

// The busier node counts, with all of its cores; the limit is the busiest core of
// all.
func TestReading(t *testing.T) {
	read := func(at time.Duration, a, b, c time.Duration) reading {
		return reading{at: at, cores: [][]link.CPUStats{{{Busy: a}, {Busy: b}}, {{Busy: c}}}}
	}
	cores, busiest, at := read(30, 15, 19, 26).since(read(10, 2, 10, 10))
	if cores != 1.1 || busiest != 0.8 || at != 1 {
		t.Errorf("%v cores, the busiest %v on node %d, want 1.1, 0.8, 1", cores, busiest, at)
	}
	if cores, busiest, _ := read(10, 1, 1, 1).since(read(10, 0, 0, 0)); cores != 0 || busiest != 0 {
		t.Errorf("in no time: %v, %v", cores, busiest)
	}
	s := newStream(time.Second)
	for i := range 5 {
		s.read = append(s.read, reading{at: time.Duration(i)})
	}
	if _, _, ok := s.readings(); ok {
		t.Error("a stream of 5 samples has a window")
	}
	for i := range 20 {
		s.read = append(s.read, reading{at: time.Duration(i + 5)})
	}
	if a, b, ok := s.readings(); !ok || a.at != 24-samples || b.at != 24 {
		t.Errorf("window of a stream that is not steady: %v to %v", a.at, b.at)
	}
	s.end = 9 + samples
	if a, b, ok := s.readings(); !ok || a.at != 8 || b.at != 8+samples {
		t.Errorf("window of a stream that has been measured: %v to %v", a.at, b.at)
	}
}
