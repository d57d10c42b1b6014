package workload_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/bench/workload"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

// A probe hears the first answer, whichever request it is to; an ICMP error does
// not end it; and it gives up when its time is over.
func TestProbe(t *testing.T) {
	cfg := emu.Config{Nodes: 2, Underlay: emu.Underlay{Cable: link.WireConfig{Latency: 10 * time.Millisecond}}}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2")
		a.Ping("b")
		probe := func(to netip.Addr) (answered, told, took time.Duration) {
			start := lab.Now()
			p := workload.Probe{From: &a.Machine, To: to, Limit: 5 * time.Second, Interval: func(time.Duration) time.Duration { return 15 * time.Millisecond }}
			f, err := p.Run(lab.Lab)
			if err != nil {
				t.Fatal(err)
			}
			since := func(at time.Duration) time.Duration {
				if at == workload.Never {
					return at
				}
				return at - start
			}
			return since(f.Answered), since(f.Told), lab.Now() - start
		}
		if answered, told, took := probe(b.Addr()); answered != 40*time.Millisecond || told != workload.Never || took != answered {
			t.Errorf("answered after %v, told after %v, over after %v; want 40ms, never, 40ms", answered, told, took)
		}
		nobody := netip.MustParseAddr("10.244.2.77")
		if answered, told, took := probe(nobody); answered != workload.Never || told < time.Second || told > 4*time.Second || took != 5*time.Second {
			t.Errorf("nobody there: answered after %v, told after %v, over after %v; want never, some 3s, 5s", answered, told, took)
		}
		lab.Node("node2").SetLink(false)
		lab.Go(func() {
			lab.Sleep(time.Second)
			lab.Node("node2").SetLink(true)
		})
		// Requests leave every 15 ms; the first that finds the cable is that of 1.005 s.
		if answered, told, _ := probe(b.Addr()); answered != 1045*time.Millisecond || told != workload.Never {
			t.Errorf("a cable away for 1s: answered after %v, told after %v, want 1.045s, never", answered, told)
		}
	})
}
