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
}

// Where nodes run no BGP daemon, one cannot go down: that is found before anything
// is built, for steps and faults, for the design that is played.
func TestNoBGPDaemonHere(t *testing.T) {
	const text = "name: x\npods: [{name: a}]\nsteps:\n- down: {bgp: node1}\n- up: {bgp: node1}\nfaults:\n- {at: 1s, for: 1s, down: {bgp: node2}}\n"
	const others = "; hint: designs whose nodes do: calico-bgp, calico-bgp-rr, calico-ipip, calico-ipip-crosssubnet"
	for design, want := range map[string]string{
		"": `f.yaml:4:15: error: steps[0].down.bgp: nodes of design flannel-vxlan run no BGP daemon` + others + `
f.yaml:5:13: error: steps[1].up.bgp: nodes of design flannel-vxlan run no BGP daemon` + others + `
f.yaml:7:33: error: faults[0].down.bgp: nodes of design flannel-vxlan run no BGP daemon` + others,
		"calico-ipip": "",
		"of-my-own":   "", // reported by who knows all designs
	} {
		_, diags := Loader{Design: design}.Parse("f.yaml", []byte(text))
		var lines []string
		for _, d := range diags {
			lines = append(lines, d.String())
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("design %q: got\n%s\nwant\n%s", design, got, want)
		}
	}
}
