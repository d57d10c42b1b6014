package topo

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// playInRealTime plays a scenario on the machine's clock. Its tests check what is so
// however late the machine is: what happens and in which order, and least times.
func playInRealTime(t *testing.T, text string) (v *Verdict, printed string) {
	t.Helper()
	sc, diags := Parse("test.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	v, err := sc.Run(RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := v.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if v.Virtual || v.Late == nil || v.Late.Max < v.Late.Median {
		t.Errorf("virtual %v, lateness %v, want real time and how late it was", v.Virtual, v.Late)
	}
	return v, b.String()
}

// Flows run in real time too, faults happen beside them, and both are seen in the
// results.
func TestFlowsAndFaultsInRealTime(t *testing.T) {
	v, text := playInRealTime(t, `
cluster: {nodes: 2}
underlay: {latency: 1ms}
pods: [{name: a, node: node1}, {name: b, node: node2, labels: {app: b}, ports: [80]}]
steps:
- ping: {from: a, to: b}
  expect: {exactly: 4ms}
- name: some time
  flow:
  - {kind: udp, from: a, to: b, for: 700ms, every: 5ms, expect: {loss: ">5%", recovers: ">100ms"}}
  - {kind: ping, from: node1, to: node2, for: 700ms, every: 10ms, expect: {loss: ">5%", p50: 4ms}}
  - {kind: requests, from: b, to: a, for: 700ms, every: 10ms, expect: {retransmits: ">=1"}}
- http: {from: a, url: "http://svc/"}
  expect: {status: 200, exactly: 8ms}
faults:
- {with: some time + 100ms, down: {link: node2}, for: 400ms}
---
apiVersion: v1
kind: Service
metadata: {name: svc}
spec: {selector: {app: b}, ports: [{port: 80}]}
`)
	want(t, v)
	if !strings.Contains(text, "real time\n\nReal time: this machine was up to ") {
		t.Errorf("verdict\n%s\nlacks how late it was", text)
	}
	var what []string
	for _, f := range v.Faults {
		what = append(what, f.What)
	}
	began := v.Steps[1].Start
	if !slices.Equal(what, []string{"down node2", "undone: down node2"}) || v.Faults[0].Time < began+100*time.Millisecond || v.Faults[1].Time < began+500*time.Millisecond {
		t.Errorf("faults %+v, want the link down 100ms after %v or later, and up 500ms after it or later", v.Faults, began)
	}
	dropped := uint64(0)
	for _, f := range v.Steps[1].Flows {
		for _, d := range f.Drops {
			if d.Reason == "link is down" {
				dropped += d.Frames
			}
		}
	}
	if dropped == 0 {
		t.Error("no frame was dropped at the cable that was down")
	}
}

// A check of time that fails in real time says that this may be the machine's doing.
func TestRealTimeFails(t *testing.T) {
	v, text := playInRealTime(t, `
cluster: {nodes: 2}
underlay: {latency: 1ms}
steps:
- ping: {from: node1, to: node2}
  expect: {within: 1ms}
- ping: {from: node1, to: node2}
  expect: {exactly: 1h}
`)
	if v.Passed || v.Steps[1].Passed {
		t.Error("a round trip of 4ms takes at most 1ms, or an hour")
	}
	for _, part := range []string{"times and rates need slack", "want 1h0m0s or, in real time, later"} {
		if !strings.Contains(text, part) {
			t.Errorf("verdict\n%s\nlacks %q", text, part)
		}
	}
}
