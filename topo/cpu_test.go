package topo

import (
	"strings"
	"testing"
	"time"
)

// A node is slow for a while: pings through it take longer then, and as long as
// before when it is over. The report says that there is a CPU model.
func TestSlowNodeOnTheTimeline(t *testing.T) {
	v := runText(t, `
cluster: {design: flannel-host-gw, cpu: {cores: 2}}
pods: [{name: a, node: node1}, {name: b, node: node2}]
steps:
- ping: {from: a, to: b}
- ping: {from: a, to: b}
- ping: {from: a, to: b}
  at: 2s
- ping: {from: a, to: b}
  at: 5s
faults:
- {at: 1s, slow: {node: node2, factor: 10}, for: 2s}
`)
	if v.CPU != "2 cores per node, calibration linux-veth-fit" {
		t.Errorf("CPU model %q in the verdict", v.CPU)
	}
	var text strings.Builder
	if err := v.WriteText(&text); err != nil || !strings.Contains(text.String(), "CPU model: 2 cores per node") {
		t.Errorf("text %q, error %v, want the CPU model in it", text.String(), err)
	}
	took := func(i int) time.Duration { return v.Steps[i].Took }
	if !v.Passed || took(1) == 0 || took(2) < 5*took(1) || took(2) > 10*took(1) || took(3) != took(1) {
		t.Errorf("pings take %v, %v and %v, want between 5 and 10 times as long while node2 is slow", took(1), took(2), took(3))
	}
}

func TestCPUMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"cluster: {cpu: maybe}":                                "true or false",
		"cluster: {cpu: {cores: 0}}":                           "a whole number from 1 to 1024",
		"cluster: {cpu: {core: 2}}":                            "core",
		"cluster: {cpu: {calibration: nowhere.yaml}}":          `file "nowhere.yaml": cannot read`,
		"steps: [{slow: {node: node1, factor: 10}}]":           "cpu: true",
		"cluster: {cpu: true}\nsteps: [{slow: {node: node1}}]": "factor",
	} {
		_, diags := Parse("f.yaml", []byte(in+"\n"))
		found := false
		for _, d := range diags {
			found = found || strings.Contains(d.Message+d.Hint, want)
		}
		if !found {
			t.Errorf("%q: %v, want something with %q", in, diags, want)
		}
	}
}
