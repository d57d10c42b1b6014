package topo

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/podwire/podwire/overlay"
)

// playOver plays an example with another design than its own.
func playOver(t *testing.T, example, design string, cfg RunConfig) *Verdict {
	t.Helper()
	sc, diags := Load("../examples/" + example)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var v *Verdict
	synctest.Test(t, func(t *testing.T) {
		cfg.Settle, cfg.Design = synctest.Wait, design
		var err error
		if v, err = sc.Run(cfg); err != nil {
			t.Fatal(err)
		}
	})
	return v
}

// One scenario file runs over every design of a cluster without change.
func TestOneScenarioOverEveryDesign(t *testing.T) {
	for _, d := range overlay.Designs() {
		if d.Standalone {
			continue // no Services, no nodes that know of each other
		}
		t.Run(d.Name, func(t *testing.T) {
			v := playOver(t, "any-design.yaml", d.Name, RunConfig{OnWarning: func(w string) { t.Errorf("warning: %s", w) }})
			want(t, v)
			if v.Design != d.Name || len(v.Steps) != 17 {
				t.Errorf("the verdict is about %s with %d steps", v.Design, len(v.Steps))
			}
		})
	}
}

// What a design does differently shows: a quickstart that expects VXLAN's TTL
// and addresses fails over others, in those places and no other.
func TestQuickstartOverOtherDesigns(t *testing.T) {
	for design, want := range map[string]string{
		"flannel-ipip":      "",
		"flannel-wireguard": "",
		"flannel-host-gw":   "sourceIP: 192.168.56.11",
		"flannel-udp":       "ttl: 60",
	} {
		var failed []string
		for _, s := range playOver(t, "quickstart.yaml", design, RunConfig{}).Steps {
			for _, c := range s.Checks {
				if !c.Passed {
					failed = append(failed, c.What+": "+c.Got)
				}
			}
		}
		if got := strings.Join(failed, ", "); got != want {
			t.Errorf("%s: failed %q, want %q", design, got, want)
		}
	}
}

// Across a router every tunnel works. host-gw and Calico without encapsulation
// cannot: the run says so before the first step, and the step across fails.
func TestRacksOverEveryDesign(t *testing.T) {
	for _, d := range overlay.Designs() {
		if d.Standalone {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			var warned []string
			v := playOver(t, "racks.yaml", d.Name, RunConfig{OnWarning: func(w string) { warned = append(warned, w) }})
			why := map[string]string{
				"flannel-host-gw": "cannot reach the pods 10.244.1.0/24: their node 10.0.1.11 is not on the link of eth0",
				"calico-bgp":      "node3 cannot reach the pods of node1 (10.0.1.11), which is behind a router",
				"calico-bgp-rr":   "node3 cannot reach the pods of node1 (10.0.1.11), which is behind a router",
			}[d.Name]
			routed := why != ""
			if got := len(warned) > 0; got != routed || len(warned) != len(v.Warnings) {
				t.Errorf("warnings %q, in the verdict %q", warned, v.Warnings)
			}
			if !v.Steps[0].Passed || v.Steps[1].Passed == routed {
				t.Errorf("in the rack: %v; across the router: %v", v.Steps[0], v.Steps[1])
			}
			if routed && !strings.Contains(warned[0], why) {
				t.Errorf("warning %q", warned[0])
			}
		})
	}
}
