package topo

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/pcap"
)

// stormy is a scenario in which anything can happen.
const stormy = `
name: stormy
cluster: {nodes: 3, design: DESIGN}
underlay: {latency: 1ms, loss: 1%}
hosts: [{name: laptop}]
pods:
- {name: web, node: node2, labels: {app: web}, ports: [80]}
- {name: client, node: node1}
- {name: other}
steps:
- name: traffic
  flow:
  - {kind: ping, from: client, to: web, for: 6s, every: 100ms}
  - {kind: requests, from: laptop, to: node3, for: 6s, every: 50ms}
- sleep: 5s
faults:
`

func stormyOf(design, faults string) string {
	return strings.Replace(stormy, "DESIGN", design, 1) + faults
}

// digest plays a scenario with a seed and returns the hash of its capture.
func digest(t *testing.T, text string, seed uint64) (sum [32]byte, v *Verdict) {
	t.Helper()
	sc, diags := Parse("test.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		w, err := pcap.NewWriter(&file, pcap.Section{})
		if err != nil {
			t.Fatal(err)
		}
		var capture *emu.Capture
		v, err = sc.Run(RunConfig{Seed: &seed, Settle: synctest.Wait, OnBuild: func(lab *emu.Lab) (err error) {
			capture, err = lab.CaptureTo(w, emu.CaptureConfig{})
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := capture.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return sha256.Sum256(file.Bytes()), v
}

// What a verdict prints of random faults can be written into the file: that run
// is the same, to the byte of its capture.
func TestDrawnFaultsCanBePasted(t *testing.T) {
	const random = "- {with: traffic + 500ms, random: {count: 12, window: 4s}}\n- {at: 1s, random: {every: 700ms, window: 5s, for: 20ms..50ms, kinds: [link, loss]}}\n"
	sum, v := digest(t, stormyOf("flannel-vxlan", random), 7)
	if len(v.Drawn) < 14 {
		t.Fatalf("%d faults were drawn, want 12 and some more: %q", len(v.Drawn), v.Drawn)
	}
	pasted, w := digest(t, stormyOf("flannel-vxlan", strings.Join(v.Drawn, "\n")+"\n"), 7)
	if pasted != sum {
		t.Errorf("drawn and pasted give other packets:\n%q\n%q", happened(v), happened(w))
	}
	again, v2 := digest(t, stormyOf("flannel-vxlan", random), 7)
	if again != sum || !slices.Equal(v.Drawn, v2.Drawn) {
		t.Errorf("the same seed gives another run: %q, then %q", v.Drawn, v2.Drawn)
	}
	if _, o := digest(t, stormyOf("flannel-vxlan", random), 8); slices.Equal(v.Drawn, o.Drawn) {
		t.Errorf("seeds 7 and 8 give the same faults %q", o.Drawn)
	}
}

// A seed goes on to draw what it drew, whatever kinds there are by now: a run that
// somebody has noted can be played again. Only where nodes have a CPU may they be slow.
func TestSeedsKeepTheirFaults(t *testing.T) {
	draw := func(design string) []string {
		sc, diags := Parse("f.yaml", []byte(stormyOf(design, "- random: {count: 6, window: 4s}\n")))
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		_, drawn, err := sc.Schedule(1)
		if err != nil {
			t.Fatal(err)
		}
		return drawn
	}
	got, want := draw("flannel-vxlan"), []string{
		"- {at: 950ms, down: {lease: node2}, for: 102ms}",
		"- {at: 1.081s, conflict: {on: laptop, address: node2}, for: 419ms}",
		"- {at: 2.144s, set: {link: laptop, mtu: 1380}, for: 729ms}",
		"- {at: 2.992s, down: {segment: underlay}, for: 632ms}",
		"- {at: 3.058s, move: {pod: other, to: node1}, for: 955ms}",
		"- {at: 3.791s, down: {link: laptop}, for: 715ms}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("seed 1 draws\n%s\nwant as ever\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if slices.Equal(draw("flannel-vxlan, cpu: true"), want) {
		t.Error("with the CPU model seed 1 draws the same: slow is not among what it may draw")
	}
}

// A seed of their own makes the faults the same for every seed of the run.
func TestSeedOfRandomFaults(t *testing.T) {
	draw := func(text string, seed uint64) []string {
		sc, diags := Parse("f.yaml", []byte(stormyOf("flannel-vxlan", text)))
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		_, drawn, err := sc.Schedule(seed)
		if err != nil {
			t.Fatal(err)
		}
		return drawn
	}
	const own = "- random: {count: 5, window: 4s, seed: 3}\n"
	if a, b := draw(own, 1), draw(own, 2); len(a) != 5 || !slices.Equal(a, b) {
		t.Errorf("got %q and %q, want the same 5", a, b)
	}
	if a, b := draw(own, 1), draw("- random: {count: 5, window: 4s}\n", 3); !slices.Equal(a, b) {
		t.Errorf("got %q with seed 3 of its own, %q with seed 3 of the run, want the same", a, b)
	}
	got := draw("- {after: traffic + 1s, random: {count: 400, window: 1s, for: 10ms, kinds: [link], targets: [web]}}\n", 1)
	if len(got) < 20 || len(got) > 91 { // each takes 10 ms and the instant at its end
		t.Errorf("%d faults of 10ms on one cable within 1s, want as many as there is room for", len(got))
	}
}

// Whatever is drawn, in whatever design, can be carried out and undone, holds
// to the window, and leaves the network whole.
func TestDrawnFaultsCanBeCarriedOut(t *testing.T) {
	for _, d := range overlay.Designs() {
		t.Run(d.Name, func(t *testing.T) {
			for seed := range uint64(3) {
				design := d.Name
				if seed == 2 {
					design += ", cpu: true" // nodes may be slow
				}
				text := stormyOf(design, "- {at: 100ms, random: {count: 30, window: 7s, for: 1ms..2s}}\n")
				text = strings.Replace(text, "- sleep: 5s\n", "- sleep: 200s\n- ping: {from: node1, to: node3}\n- ping: {from: client, to: node1}\n- ping: {from: laptop, to: node2}\n", 1)
				sc, diags := Parse("test.yaml", []byte(text))
				if err := diags.Err(); err != nil {
					t.Fatal(err)
				}
				sc.Seed.Value = seed
				v := runScenario(t, sc)
				v.Steps = v.Steps[1:] // the traffic may suffer
				v.Passed = !slices.ContainsFunc(v.Steps, func(s StepResult) bool { return !s.Passed })
				want(t, v)
				if len(v.Drawn) < 15 || len(v.Faults) < len(v.Drawn) {
					t.Errorf("seed %d: %d faults drawn, %d happened, want 30 with their ends: %q", seed, len(v.Drawn), len(v.Faults), v.Drawn)
				}
				for _, f := range v.Faults {
					if f.Error != "" {
						t.Errorf("seed %d: %s at %v: %s; faults:\n%s", seed, f.What, f.Time, f.Error, strings.Join(v.Drawn, "\n"))
					}
					if f.Time < 100*time.Millisecond || f.Time > 7100*time.Millisecond && !strings.HasPrefix(f.What, "undone: ") {
						t.Errorf("seed %d: %s at %v, want it within 7s from 100ms on", seed, f.What, f.Time)
					}
				}
			}
		})
	}
}

// Each kind can be drawn.
func TestEveryRandomKind(t *testing.T) {
	verbs := map[string]string{"node": "down: {node: ", "link": "down: {link: ", "segment": "down: {segment: ", "lease": "down: {lease: ", "endpoint": "down: {endpoint: ",
		"ready": "down: {ready: ", "partition": "partition: [[", "loss": ", loss: ", "latency": ", latency: ", "rate": ", rate: ", "mtu": ", mtu: "}
	for _, word := range kindWords() {
		text := stormyOf("flannel-vxlan, cpu: true", fmt.Sprintf("- random: {count: 3, window: 4s, for: 100ms, kinds: [%s]}\n", word))
		sc, diags := Parse("f.yaml", []byte(text))
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		faults, drawn, err := sc.Schedule(1)
		if err != nil || len(faults) != 3 {
			t.Fatalf("%s: %d faults, %v", word, len(faults), err)
		}
		want := verbs[word]
		if want == "" {
			want = word + ": {"
		}
		for _, d := range drawn {
			if !strings.Contains(d, want) {
				t.Errorf("%s: drawn %s, want %s in it", word, d, want)
			}
		}
	}
}

func TestRandomFaultsWrong(t *testing.T) {
	_, diags := Parse("f.yaml", []byte(`cluster: {nodes: 1}
pods: [{name: p}]
faults:
- random: {}
- {at: 1s, every: 1s, for: 1s, down: {link: p}, random: {count: 0, window: 1s}}
- random: {count: 3, every: 0s, window: 1s, for: 2s..1s}
- random: {count: 3, window: 1s, kinds: [crsh, partition, move, slow], targets: [p, node3], seed: -1}
- random: {every: 1ns, window: 1s, for: x}
- random: {count: 3, window: 1s, targets: [nobody]}
- {with: nothing, random: {count: 1, window: 1s}}
- {at: 1s, after: nothing, random: {count: 1, window: 1s}}
- random: 3
`))
	var got []string
	for _, d := range diags {
		got = append(got, d.String())
	}
	want := strings.Split(strings.TrimSpace(`
f.yaml:4:11: error: faults[0].random: want either count or every
f.yaml:4:11: error: faults[0].random: no window, want the time within which all faults begin
f.yaml:5:3: error: faults[1]: every belongs under random
f.yaml:5:3: error: faults[1]: for belongs under random
f.yaml:5:3: error: faults[1]: random and down, want one of them
f.yaml:5:65: error: faults[1].random.count: found "0", want a whole number from 1 to 10000
f.yaml:6:11: error: faults[2].random: want either count or every
f.yaml:6:11: error: faults[2].random: every 0s never ends, want a longer time
f.yaml:6:50: error: faults[2].random.for: found "2s..1s", want a time, or a range such as "100ms..2s"; hint: the shorter one stands first
f.yaml:7:42: error: faults[3].random.kinds[0]: found "crsh", want one of link, node, segment, lease, endpoint, ready, partition, crash, kill, restart, move, conflict, loss, latency, rate, mtu, slow; hint: did you mean "crash"?
f.yaml:7:48: error: faults[3].random.kinds: nothing here that partition could happen to
f.yaml:7:59: error: faults[3].random.kinds: nothing here that move could happen to
f.yaml:7:65: error: faults[3].random.kinds: nothing here that slow could happen to; hint: cluster: {cpu: true} switches the CPU model on
f.yaml:7:85: error: faults[3].random.targets: unknown name "node3", want a node, host, pod or segment; hint: did you mean "node1"?
f.yaml:7:99: error: faults[3].random.seed: found "-1", want a whole number, not negative
f.yaml:8:11: error: faults[4].random: some 1000000000 faults, want at most 10000
f.yaml:8:41: error: faults[4].random.for: found "x", want a time, or a range such as "100ms..2s"
f.yaml:9:11: error: faults[5].random: nothing here that could fail
f.yaml:9:44: error: faults[5].random.targets: unknown name "nobody", want a node, host, pod or segment; hint: known names: p, node1
f.yaml:10:10: error: 0 steps have the name "nothing", want one
f.yaml:11:3: error: faults[7]: want one of at, after and with, or none
f.yaml:11:19: error: 0 steps have the name "nothing", want one
f.yaml:12:11: error: faults[8].random: found a single value, want a mapping (count, every, window, for, kinds, targets, seed)`), "\n")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
