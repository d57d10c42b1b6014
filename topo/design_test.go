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
			if v.Design != d.Name || len(v.Steps) != 16 {
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
