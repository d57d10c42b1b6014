package topo

import (
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
