package convergence

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/overlay"
)

// runs is how often a figure is measured, with one seed and with as many.
const runs = 20

// clusters are the designs that have figures, all of them or, where time is short,
// one of a kind.
func clusters(t *testing.T) (names []string) {
	for _, d := range overlay.Designs() {
		if d.Standalone || raceEnabled && d.Name != "flannel-vxlan" {
			continue
		}
		names = append(names, d.Name)
	}
	return names
}

// One seed gives the same figures as often as one likes.
func TestFiguresAreRepeatable(t *testing.T) {
	for _, design := range clusters(t) {
		t.Run(design, func(t *testing.T) {
			t.Parallel()
			first, err := Measure(Config{Design: design, Seed: 42})
			if err != nil {
				t.Fatal(err)
			}
			for i := range runs - 1 {
				again, err := Measure(Config{Design: design, Seed: 42})
				if err != nil {
					t.Fatal(err)
				}
				if again != first {
					t.Fatalf("run %d: %+v, want what the first run has measured: %+v", i+2, again, first)
				}
			}
		})
	}
}

// Over twenty seeds every design comes back, as soon as its control plane says.
// The log holds the table.
func TestConvergence(t *testing.T) {
	names := clusters(t)
	list := make([]Summary, len(names))
	t.Run("designs", func(t *testing.T) {
		for i, design := range names {
			t.Run(design, func(t *testing.T) {
				t.Parallel()
				s, err := Spread(Config{Design: design, Seed: 1}, runs)
				if err != nil {
					t.Fatal(err)
				}
				list[i] = s
				check(t, s)
			})
		}
	})
	var b strings.Builder
	if err := WriteTable(&b, list); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds:\n%s", runs, b.String())
}

// What is allowed to take how long.
const (
	atOnce   = 10 * time.Millisecond                  // a few round trips of 0.8 ms: a handshake, the packet itself
	nextARP  = time.Second + atOnce                   // a kernel asks for a neighbour once a second
	newKeys  = 5*time.Second + time.Second/3 + atOnce // WireGuard tries again (REKEY_TIMEOUT and its jitter)
	sessions = 10 * time.Second                       // BGP speakers find each other again (connect delay and retry)

	// The hold timer: 240 s less a quarter as jitter and what has passed since the
	// last KEEPALIVE, of which there is one in 80 s.
	holdLeast, holdMost = 180*time.Second - 80*time.Second, 240 * time.Second
)

// check holds a design's figures against what its control plane allows.
func check(t *testing.T, s Summary) {
	t.Helper()
	within := func(what string, r Range, least, most time.Duration) {
		t.Helper()
		if order(r.Min) < order(least) || order(r.Max) > order(most) {
			t.Errorf("%s: %v to %v, want %v to %v", what, r.Min, r.Max, least, most)
		}
	}
	if s.LinkLost.Min == s.LinkLost.Max || s.NodeLost.Min == s.NodeLost.Max {
		t.Errorf("link lost %+v, node lost %+v: want them to differ over seeds", s.LinkLost, s.NodeLost)
	}
	switch {
	case slices.Contains([]string{"calico-bgp", "calico-bgp-rr", "calico-ipip", "calico-ipip-crosssubnet"}, s.Design):
		within("node added", s.NodeAdded, time.Second, sessions)
		within("blip", s.Blip, 0, nextARP)
		within("link lost", s.LinkLost, 0, sessions)
		within("node lost", s.NodeLost, 0, sessions)
		within("withdrawn", s.Withdrawn, holdLeast, holdMost)
		return
	case s.Design == "flannel-wireguard":
		within("blip", s.Blip, 0, newKeys)
		within("link lost", s.LinkLost, 0, newKeys)
	default:
		within("blip", s.Blip, 0, nextARP)
		within("link lost", s.LinkLost, 0, nextARP)
	}
	within("node added", s.NodeAdded, 0, atOnce)
	within("node lost", s.NodeLost, 0, nextARP)
	within("withdrawn", s.Withdrawn, Never, Never) // leases stay
}

func TestMeasureRefuses(t *testing.T) {
	for design, want := range map[string]string{"docker-bridge": "has no cluster", "flannel-smoke": "is not known"} {
		if _, err := Measure(Config{Design: design}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", design, err, want)
		}
	}
}
