package topo

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFlows: what is known about a cable comes out of traffic over it.
func TestFlows(t *testing.T) {
	v := runText(t, world+`
- set: {link: node1, rate: 10Mbit, queue: 20}
- name: all kinds beside each other
  flow:
  - {kind: udp, from: node1, to: laptop, for: 1s, every: 10ms, size: 100, expect: {loss: 0%, max: "<50ms"}}
  - {kind: ping, from: laptop, to: node1, for: 1s, every: 100ms, expect: {loss: 0%}}
  - {kind: requests, from: laptop, to: node2, for: 1s, every: 50ms, size: 200, expect: {loss: 0%, p50: 4ms, max: "<=8ms", goodput: 32kbit}}
- name: the cable is full
  flow: {kind: bulk, from: node1, to: laptop, for: 4s, expect: {goodput: ">9Mbit", retransmits: ">0", recovers: "<500ms"}}
- name: an outage
  flow: {kind: udp, from: node2, to: laptop, for: 2s, rate: 800kbit, expect: {loss: 25%, recovers: "510ms", p99: 2ms}}
faults:
- {with: an outage + 995ms, down: {link: laptop}, for: 500ms}
`)
	want(t, v)
	bulk := v.Steps[2].Flows[0]
	if len(bulk.Series) != 50 || len(bulk.Drops) == 0 {
		t.Fatalf("%d samples and drops %v, want 50 and some", len(bulk.Series), bulk.Drops)
	}
	last := bulk.Series[49]
	if last.Cwnd == 0 || last.Queue == 0 || last.RTT < 10*time.Millisecond || last.Goodput < 8e6 {
		t.Errorf("last sample %+v, want a window, a queue and the delay that it makes", last)
	}
	lost := 0
	for _, s := range v.Steps[3].Flows[0].Series {
		lost += s.Lost
	}
	if lost != 50 {
		t.Errorf("%d datagrams lost in the series, want 50", lost)
	}
}

// A pod moves under flows to it: short connections and GETs of its own URL find it
// at its new address, pings keep the old one.
func TestFlowsToAPodThatMoves(t *testing.T) {
	v := runText(t, world+`
- ping: {from: client, to: web}
- name: under way
  flow:
  - {kind: connects, from: client, to: web, for: 2s, every: 100ms, expect: {loss: 0%}}
  - {kind: http, from: client, url: "http://web/hostname", for: 2s, every: 100ms, expect: {loss: 0%}}
  - {kind: ping, from: client, to: web, for: 2s, every: 100ms, expect: {loss: 50%}}
faults:
- {with: under way + 950ms, move: {pod: web, to: node1}}
`)
	want(t, v)
}

// GETs of a Service: each is a connection of its own, so that what happens to one
// backend is seen by its share of them, and none waits for another.
func TestHTTPFlow(t *testing.T) {
	v := runText(t, world+`
- name: gets
  flow: {kind: http, from: client, url: "http://web-svc:8080/hostname", for: 2s, every: 100ms, expect: {loss: 20%, p50: 8ms, max: 12ms, recovers: "<600ms"}}
- flow: {kind: http, from: laptop, url: "http://node1:30080/nosuchpage", for: 300ms, every: 100ms, expect: {loss: 100%, recovers: "300ms"}}
faults:
- {at: 550ms, down: {endpoint: web}, for: 400ms}
`+services)
	want(t, v)
	if f := v.Steps[0].Flows[0]; f.Sent != 20 || f.Received != 16 || f.To != "http://web-svc:8080/hostname" {
		t.Errorf("got %+v, want 16 of 20 of the URL", f)
	}
	_, diags := Parse("f.yaml", []byte("pods: [{name: p, ports: [80]}]\nsteps:\n- flow: {kind: http, from: p, to: p, for: 1s}\n- flow: {kind: ping, from: p, url: 'http://p/', for: 1s}\n- flow: {kind: http, from: p, url: p, for: 1s}\n"))
	var got []string
	for _, d := range diags {
		got = append(got, d.String())
	}
	if want := []string{
		"f.yaml:3:9: error: steps[0].flow: no url, want one",
		"f.yaml:3:31: error: steps[0].flow: a http flow has no to, want url",
		"f.yaml:4:9: error: steps[1].flow: no to, want one",
		"f.yaml:4:31: error: steps[1].flow: a ping flow has no url, want to",
		`f.yaml:5:36: error: steps[2].flow.url: found "p", want a URL such as "http://web:80/"; hint: did you mean "http://p"?`,
	}; !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A flow whose pod ends loses the rest; that is a result and no error.
func TestFlowOutlivesItsPod(t *testing.T) {
	for _, pod := range []string{"web", "client"} {
		v := runText(t, world+`
- set: {link: node1, rate: 10Mbit, queue: 20}
- name: traffic
  flow:
  - {kind: bulk, from: client, to: web, for: 1s, expect: {recovers: ">450ms"}}
  - {kind: requests, from: client, to: web, for: 1s, every: 50ms, expect: {recovers: ">450ms"}}
  - {kind: udp, from: client, to: web, for: 1s, every: 50ms, expect: {loss: ">=40%", recovers: ">450ms"}}
  - {kind: ping, from: client, to: web, for: 1s, every: 50ms, expect: {loss: ">=40%"}}
  - {kind: http, from: client, url: "http://web/", for: 1s, every: 50ms, expect: {loss: ">=40%"}}
faults:
- {at: 500ms, kill: {pod: `+pod+`}}
`)
		want(t, v)
	}
}
