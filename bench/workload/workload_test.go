package workload_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/bench/workload"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

// inLab calls f with two pods on different nodes whose cables have 100 Mbit/s.
func inLab(t *testing.T, f func(lab *emutest.Lab, a, b *emu.Machine)) {
	t.Helper()
	cfg := emu.Config{Nodes: 2, Design: "flannel-host-gw", Underlay: emu.Underlay{Cable: link.WireConfig{Rate: 100e6, Latency: time.Millisecond}}}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("a", "node1")
		lab.Pod("b", "node2")
		f(lab, lab.Machine("a"), lab.Machine("b"))
	})
}

// Every workload runs, moves what it says, and prints a line for each interval.
func TestWorkloads(t *testing.T) {
	for _, w := range workload.Workloads() {
		t.Run(w.Name, func(t *testing.T) {
			inLab(t, func(lab *emutest.Lab, a, b *emu.Machine) {
				r, err := workload.Run(lab.Lab, a, b, w.Name, workload.Options{For: 500 * time.Millisecond, Omit: 200 * time.Millisecond, Sample: 100 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				var text bytes.Buffer
				if err := r.WriteText(&text); err != nil {
					t.Fatal(err)
				}
				for i, f := range r.Flows {
					if f.Result.Received == 0 || len(f.Result.Series) != 5 {
						t.Errorf("flow %d: %+v, want something received in 5 samples", i+1, f)
					}
				}
				if got, want := strings.Count(text.String(), " sec  "), 6*len(r.Flows); got != want {
					t.Errorf("%d lines, want %d:\n%s", got, want, &text)
				}
			})
		})
	}
}

// The stream fills the cable: rate x payload / frame, segments being 12 bytes of
// timestamps short of the MSS.
func TestBulkFillsTheCable(t *testing.T) {
	inLab(t, func(lab *emutest.Lab, a, b *emu.Machine) {
		r, err := workload.Run(lab.Lab, a, b, "bulk", workload.Options{Omit: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.Flows[0].Result.Goodput, 100e6*1448/1538; math.Abs(got/want-1) > 0.005 {
			t.Errorf("goodput %.3f Mbit/s, want %.3f within 0.5 %%", got/1e6, want/1e6)
		}
		var text bytes.Buffer
		r.WriteText(&text)
		if !strings.Contains(text.String(), "[  1]   0.50-1.00   sec   5.61 MBytes   94.2 Mbits/sec     0  connect 8.05248ms") {
			t.Errorf("printed\n%s", &text)
		}
	})
}

// UDP at a rate: 10 Mbit/s of payload in datagrams of 500 bytes is 2,500 a second.
func TestUDPRate(t *testing.T) {
	inLab(t, func(lab *emutest.Lab, a, b *emu.Machine) {
		r, err := workload.Run(lab.Lab, a, b, "udp", workload.Options{For: 200 * time.Millisecond, Size: 500})
		if err != nil {
			t.Fatal(err)
		}
		if x := r.Flows[0].Result; x.Sent != 500 || x.Received != 500 {
			t.Errorf("%d of %d datagrams, want 500 of 500", x.Received, x.Sent)
		}
	})
}

func TestWires(t *testing.T) {
	inLab(t, func(lab *emutest.Lab, a, b *emu.Machine) {
		node := lab.Machine("node2")
		for _, w := range workload.Wires() {
			if err := w.Apply(lab.Lab, node); err != nil {
				t.Fatal(err)
			}
			lab.Driver().Do(func() {
				if _, in := node.Cable().Config(); in.Rate != w.Rate() || in.Latency == time.Millisecond {
					t.Errorf("%s: %+v", w.Name, in)
				}
			})
		}
	})
	if _, ok := workload.FindWire("token ring"); ok {
		t.Error("found a wire that does not exist")
	}
}

func TestWrongInput(t *testing.T) {
	inLab(t, func(lab *emutest.Lab, a, b *emu.Machine) {
		for want, run := range map[string]func() (*workload.Report, error){
			`found "bulky", want one of bulk, both-ways`: func() (*workload.Report, error) { return workload.Run(lab.Lab, a, b, "bulky", workload.Options{}) },
			"want a machine at both ends":                func() (*workload.Report, error) { return workload.Run(lab.Lab, a, nil, "bulk", workload.Options{}) },
			"rate -1": func() (*workload.Report, error) {
				return workload.Run(lab.Lab, a, b, "udp", workload.Options{Rate: -1})
			},
			"want more than 0": func() (*workload.Report, error) {
				return workload.Run(lab.Lab, a, b, "bulk", workload.Options{For: -1})
			},
		} {
			if _, err := run(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	})
}
