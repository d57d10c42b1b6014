package topo

import (
	"strings"
	"testing"
)

// A scenario ends a node's BGP daemon and starts it again: the node's pods are out
// of reach for others meanwhile, at once. Times count from when routes are there.
func TestBGPDaemonInAScenario(t *testing.T) {
	const text = `cluster: {design: calico-bgp, nodes: 2}
underlay: {latency: 100us}
pods: [{name: a, node: node1}, {name: b, node: node2}]
steps:
- ping: {from: a, to: b}
- at: 1s
  down: {bgp: node2}
- sleep: 1ms
- exec: {on: node1, run: "birdcl show route for 10.244.2.0"}
  expect: {contains: kernel1}
- ping: {from: a, to: b, count: 1}
  expect: {error: timeout}
- up: {bgp: node2}
- sleep: 3s
- ping: {from: a, to: b}
- down: {bgp: node1}
- down: {bgp: node1}
`
	sc, diags := Parse("f.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	v := runScenario(t, sc)
	if n := len(v.Steps); v.Steps[1].Start.String() != "1s" || !strings.Contains(v.Steps[n-1].Outcome, "node1 runs no BGP daemon") || v.Steps[n-1].Passed {
		t.Errorf("second step at %v, last %+v", v.Steps[1].Start, v.Steps[n-1])
	}
	for _, s := range v.Steps[:len(v.Steps)-1] {
		if !s.Passed {
			t.Errorf("%s: %s %s", s.Name, s.Outcome, s.Error)
		}
	}
	sc, diags = Parse("f.yaml", []byte("cluster: {design: flannel-vxlan}\nsteps: [{down: {bgp: node1}}]\n"))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if v := runScenario(t, sc); v.Passed || !strings.Contains(v.Steps[0].Outcome, "design flannel-vxlan speaks no BGP") {
		t.Errorf("with a design that speaks no BGP: %+v", v.Steps[0])
	}
}
