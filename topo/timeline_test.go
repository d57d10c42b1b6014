package topo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// happened lists what a verdict says of its faults.
func happened(v *Verdict) (list []string) {
	for _, f := range v.Faults {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%v %s %s", f.Time, f.What, f.Error)))
	}
	return list
}

// TestFaultsHappenBesideSteps: at a time, again and again, and undone.
func TestFaultsHappenBesideSteps(t *testing.T) {
	v := runText(t, world+`
# Pings leave every 100 ms from 0 on; pulled from 250 ms for 200 ms, and from
# 750 ms for 200 ms: four are lost.
- ping: {from: node1, to: laptop, count: 11, interval: 100ms}
  expect: {loss: 36.36363636363637%}
- name: quiet
  sleep: 1s
- sleep: 3s
faults:
- {at: 250ms, down: {link: laptop}, every: 500ms, until: 1s, for: 200ms}
- {after: quiet + 500ms, set: {link: node1, latency: 7ms}, for: 1s}
- {with: quiet, down: {node: node2}}
`)
	got := happened(v)
	for _, f := range v.Faults {
		if f.Error != "" {
			t.Errorf("%+v", f)
		}
	}
	var what []string
	for _, f := range v.Faults {
		what = append(what, f.What)
	}
	want := []string{
		"down laptop", "undone: down laptop", "down laptop", "undone: down laptop", "down node2",
		"set node1: latency 7ms", "undone: set node1: latency 7ms",
	}
	if !slices.Equal(what, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	quiet := v.Steps[1]
	for i, at := range map[int]int64{0: 250e6, 1: 450e6, 2: 750e6, 3: 950e6, 4: int64(quiet.Start), 5: int64(quiet.Start) + 1500e6, 6: int64(quiet.Start) + 2500e6} {
		if int64(v.Faults[i].Time) != at {
			t.Errorf("%s, want it at %d ns", got[i], at)
		}
	}
}

// TestFaultThatNeverHappens fails the scenario: it does not test what it says.
func TestFaultThatNeverHappens(t *testing.T) {
	v := runText(t, world+"\n- sleep: 1s\nfaults:\n- {at: 2s, down: {link: node1}}\n")
	if want := []string{"1s down node1 did not happen: the steps ended before"}; v.Passed || !slices.Equal(happened(v), want) {
		t.Errorf("passed %v with %q, want %q", v.Passed, happened(v), want)
	}
}

func TestPartitionHeals(t *testing.T) {
	want(t, runText(t, twoRacks+`
- ping: {from: a, to: b}
- partition: [[node1, node2], [node3, node4]]
- ping: {from: a, to: b}
  expect: {error: timeout}
- ping: {from: node1, to: node2}
- ping: {from: node1, to: laptop}
- partition: []
- ping: {from: a, to: b}
`))
}

func TestPodsAreKilledAndMoved(t *testing.T) {
	want(t, runText(t, world+`
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200}
- move: {pod: web, to: node1}
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200, exactly: 0s}
- restart: {pod: web}
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200}
- kill: {pod: web}
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {error: refused}
`+services))
}

func TestNodeCrashesAndBoots(t *testing.T) {
	want(t, runText(t, world+`
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200}
- sleep: 100ms
- ping: {from: client, to: web}
  expect: {error: timeout}
- at: 60s
  http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200}
faults:
- {at: 50ms, crash: {node: node2}, for: 50s}
`+services))
}
