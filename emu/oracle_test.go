package emu_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/link"
)

// The engine of virtual time learns from testing/synctest that all is quiet. These
// tests hold it against another that has no bubble, no clock of the machine's and
// nothing to observe: link.DriverConfig.ByHand, under which the goroutines of a lab
// take turns. Both must give the same packets at the same nanoseconds. What both
// have in common is below that: the order within an instant, and how the work of
// gVisor's processors is waited for or done in their place (stack's TestPauseIsABarrier
// and TestProcessorIsReplaced).
//
// By hand, a goroutine runs only if the lab has started it. So what is not held
// against it is net/http with goroutines of its own: the server that answers for
// pods, and that of kube-proxy's health checks. Flows of HTTP are, with a server
// that is written here.

// oracleScenario is a day in the life of two pods.
type oracleScenario struct {
	cable  link.WireConfig
	over   []emu.Config // if empty, three designs
	events int          // packets that it must have at least
	run    func(lab *emu.Lab, a, b *emu.Pod) error
}

func oracleDesigns(names ...string) (list []emu.Config) {
	for _, name := range names {
		list = append(list, emu.Config{Design: name})
	}
	return list
}

func TestTwoEnginesGiveTheSamePackets(t *testing.T) {
	for _, set := range []struct {
		seeds     uint64
		scenarios map[string]oracleScenario
	}{{2, oracleCalls}, {1, oracleFlows}, {1, oracleServices}} {
		for name, sc := range set.scenarios {
			if sc.over == nil {
				sc.over = oracleDesigns("flannel-vxlan", "calico-vxlan", "flannel-wireguard")
			}
			if raceEnabled {
				sc.over = sc.over[:1] // what the race detector looks for shows in any of them
			}
			for _, cfg := range sc.over {
				t.Run(fmt.Sprintf("%s over %s %s", name, cfg.Design, cfg.Proxy), func(t *testing.T) { sc.compare(t, cfg, set.seeds) })
			}
		}
	}
}

// compare holds the engines against each other, and wants that the seed matters.
func (sc oracleScenario) compare(t *testing.T, cfg emu.Config, seeds uint64) {
	cfg.Nodes, cfg.Underlay.Cable = 2, sc.cable
	var before [sha256.Size]byte
	for cfg.Seed = range seeds {
		byHand, err := sc.digest(cfg.ByHand())
		if err != nil {
			t.Fatalf("seed %d, by hand: %v", cfg.Seed, err)
		}
		var bubble [sha256.Size]byte
		if err := virtual.Run(func(settle func()) (err error) {
			cfg := cfg
			cfg.Settle = settle
			bubble, err = sc.digest(cfg)
			return err
		}); err != nil {
			t.Fatalf("seed %d, in a bubble: %v", cfg.Seed, err)
		}
		if byHand != bubble {
			t.Errorf("seed %d: digest %x by hand, %x in a bubble, want the same", cfg.Seed, byHand[:8], bubble[:8])
		}
		if byHand == before {
			t.Errorf("seed %d: the digest of the seed before, want another", cfg.Seed)
		}
		before = byHand
	}
}

// digest runs the scenario and returns the digest of its capture.
func (sc oracleScenario) digest(cfg emu.Config) (sum [sha256.Size]byte, err error) {
	lab, err := emu.New(cfg)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	hash := sha256.New()
	packets := &packetCounter{}
	capture, err := lab.Capture(hash, emu.CaptureConfig{})
	if err != nil {
		return sum, err
	}
	a, err := lab.AddPod(emu.PodConfig{Name: "a", Node: "node1"})
	if err != nil {
		return sum, err
	}
	b, err := lab.AddPod(emu.PodConfig{Name: "b", Node: "node2", Labels: map[string]string{"app": "sink"}})
	if err != nil {
		return sum, err
	}
	lab.Driver().Do(func() {
		for _, m := range []*emu.Machine{&a.Machine, &b.Machine} {
			for _, d := range m.Stack().Devices() {
				d.Point().Watch(packets)
			}
		}
	})
	if err := sc.run(lab, a, b); err != nil {
		return sum, err
	}
	if packets.n < sc.events {
		return sum, fmt.Errorf("%d packets at the pods, want %d or more", packets.n, sc.events)
	}
	fmt.Fprintln(hash, lab.Now()) // the end, to the nanosecond
	if err := capture.Close(); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

type packetCounter struct{ n int }

func (p *packetCounter) Observe(*link.Observation) { p.n++ }
