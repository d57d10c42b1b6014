package topo

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestEveryCableSettingArrives, written long and short.
func TestEveryCableSettingArrives(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"loss.txt": "001", "delay.txt": "1ms 2ms"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lte, _ := link.FindPreset("lte")
	lteFast := lte.Down
	lteFast.Rate = 100e6
	for text, want := range map[string]struct{ out, in link.WireConfig }{
		"latency: 1ms, rate: 1Gbit, queue: 50": {
			link.WireConfig{Latency: time.Millisecond, Rate: 1e9, Queue: 50}, link.WireConfig{Latency: time.Millisecond, Rate: 1e9, Queue: 50}},
		"queue: 64KiB, rate: unlimited, burst: 15kB": {
			link.WireConfig{QueueBytes: 65536, Burst: 15000}, link.WireConfig{QueueBytes: 65536, Burst: 15000}},
		"queue: fq_codel": {
			link.WireConfig{AQM: link.AQM{Kind: link.FQCoDel}}, link.WireConfig{AQM: link.AQM{Kind: link.FQCoDel}}},
		"jitter: 2ms, out: {jitter: {spread: 1ms, shape: normal, trace: delay.txt}}": {
			link.WireConfig{Jitter: link.Jitter{Spread: time.Millisecond, Shape: link.NormalJitter, Trace: &link.DelayTrace{Delays: []time.Duration{1e6, 2e6}}}},
			link.WireConfig{Jitter: link.Jitter{Spread: 2 * time.Millisecond}}},
		"in: {loss: 5%, latency: 3ms, reorder: 1%}, duplicate: 2%, corrupt: 3%": {
			link.WireConfig{Duplicate: 0.02, Corrupt: 0.03}, link.WireConfig{Duplicate: 0.02, Corrupt: 0.03, Loss: 0.05, Latency: 3 * time.Millisecond, Reorder: 0.01}},
		"loss: {random: 1%, enter: 2%, leave: 30%, bad: 90%, good: 1%, trace: loss.txt}, in: {loss: 0%}": {
			link.WireConfig{Loss: 0.01, LossBurst: link.GilbertElliott{Enter: 0.02, Leave: 0.3, Bad: 0.9, Good: 0.01}, LossTrace: &link.LossTrace{Lost: []bool{false, false, true}}},
			link.WireConfig{}},
		"queue: {discipline: red, frames: 9, size: 2kB, ecn: true, min: 5kB, max: 9kB, probability: 10%}": {
			link.WireConfig{Queue: 9, QueueBytes: 2000, AQM: link.AQM{Kind: link.RED, ECN: true, Min: 5000, Max: 9000, Probability: 0.1}},
			link.WireConfig{Queue: 9, QueueBytes: 2000, AQM: link.AQM{Kind: link.RED, ECN: true, Min: 5000, Max: 9000, Probability: 0.1}}},
		"queue: {discipline: codel, target: 1ms, interval: 20ms}": {
			link.WireConfig{AQM: link.AQM{Kind: link.CoDel, Target: 1e6, Interval: 20e6}}, link.WireConfig{AQM: link.AQM{Kind: link.CoDel, Target: 1e6, Interval: 20e6}}},
		"preset: lte":                      {lte.Up, lte.Down},
		"preset: lte, in: {rate: 100Mbit}": {lte.Up, lteFast},
	} {
		sc, diags := Parse(filepath.Join(dir, "test.yaml"), []byte("cluster: {nodes: [{name: a, link: {"+text+"}}]}\n"))
		if err := diags.Err(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		u := &sc.Underlay
		out, in := u.cable(u.segment(sc.Cluster.Nodes[0].Segment), &sc.Cluster.Nodes[0].Link)
		want.out.MTU, want.in.MTU = 1500, 1500
		if !reflect.DeepEqual(out, want.out) || !reflect.DeepEqual(in, want.in) {
			t.Errorf("%s: got\n%+v\n%+v\nwant\n%+v\n%+v", text, out, in, want.out, want.in)
		}
	}
}

// TestSetChangesWhatItNames and leaves the rest.
func TestSetChangesWhatItNames(t *testing.T) {
	want(t, runText(t, world+`
- ping: {from: client, to: web}
- ping: {from: client, to: web}
  expect: {exactly: 4ms}
- set: {link: node2, latency: 20ms}
- ping: {from: client, to: web}
  expect: {exactly: 42ms}
- set: {link: node2, in: {latency: 5ms}, rate: 1Mbit}
# Four cables of 1, 5, 20 and 1 ms; 148 bytes and the medium's 38 at 1 Mbit/s,
# once each way on the cable of node2.
- ping: {from: client, to: web}
  expect: {exactly: 29.752ms}
- set: {segment: underlay, latency: 0s, rate: unlimited}
- ping: {from: client, to: web}
  expect: {exactly: 0s}
- set: {link: node1, out: {loss: 100%}}
- ping: {from: client, to: web}
  expect: {error: timeout, loss: 100%}
- set: {link: node1, loss: 0%}
- ping: {from: client, to: web}
`))
}

const twoRacks = `
cluster: {nodes: 4}
underlay:
  latency: 1ms
  segments:
  - {name: rack1, subnet: 10.0.1.0/24, machines: [node1, node2]}
  - {name: rack2, subnet: 10.0.2.0/24, machines: [node3, node4]}
  - {name: internet, subnet: 203.0.113.0/24, machines: [laptop], latency: 10ms}
  - {name: core, subnet: 10.0.0.0/29}
  routers:
  - {name: tor1, ports: [rack1, {segment: core, latency: 5ms}]}
  - {name: tor2, ports: [rack2, core]}
  - {name: edge, ports: [core, internet], routes: [{to: 10.0.2.0/24, via: 10.0.0.1}]}
hosts: [{name: laptop, routes: [{to: default, via: 203.0.113.1}], sysctls: {net.ipv4.tcp_rmem: 4096 65536 65536}}]
pods:
- {name: a, node: node1}
- {name: b, node: node3, ports: [80]}
steps:
`

func TestRacksAndRouters(t *testing.T) {
	want(t, runText(t, twoRacks+`
- ping: {from: node1, to: node2, count: 2, interval: 100ms}
  expect: {ttl: 64, exactly: 4ms}
# Six cables: 1 + 1 ms in each rack, 5 + 1 ms at the core's switch.
- ping: {from: node1, to: node3, count: 2, interval: 100ms}
  expect: {ttl: 62, exactly: 20ms}
- ping: {from: a, to: b, count: 2, interval: 100ms}
  expect: {ttl: 62, exactly: 20ms}
- http: {from: a, url: "http://b/hostname"}
  expect: {body: b}
# The way there goes by tor1, because edge has a static route; the way back not.
- ping: {from: laptop, to: node3, count: 2, interval: 100ms}
  expect: {ttl: 62}
- ping: {from: laptop, to: tor2}
- down: {segment: rack2}
- ping: {from: node1, to: node3}
  expect: {error: timeout}
- ping: {from: node1, to: node2}
- up: {segment: rack2}
- set: {link: tor1, to: core, latency: 1ms}
- ping: {from: node1, to: node3, count: 3, interval: 1s}
  expect: {exactly: 12ms}
`))
}
