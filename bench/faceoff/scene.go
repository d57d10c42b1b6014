package faceoff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/overlay"
)

// A Scene is a network that can be built under any design, as often as it takes.
// Its functions are called from several goroutines at once.
type Scene struct {
	Name string
	File string // where it is from, for people
	Text string // what its files say, for those who want to run it again

	// Lab builds the network and hands it to f, with no traffic and no faults but
	// f's own. It is closed when f returns.
	Lab func(v Variant, f func(*emu.Lab) error) error

	// Play plays the scene's own steps, and says what came of them. If nil, there
	// are none.
	Play func(v Variant) (*Played, error)
}

// A Variant is how a scene is built.
type Variant struct {
	Design string
	Seed   *uint64 // nil: the scene's own
	MTU    int     // of the underlay; 0: the scene's own
	Settle func()  // makes time virtual; see emu.Config
}

// Played is what came of a scene's own steps.
type Played struct {
	Checks Checks
	Series []Series // of its flows; the design is filled in
}

// Config says what to compare. The zero value compares all designs that fit, with
// the scene's own seed, by all measures that do not depend on the host.
type Config struct {
	Designs  []string // in this order; nil means all that there are
	From, To string   // pods; empty: the first pod, and the first one on another node
	Seeds    []uint64 // nil: the scene's own
	Groups   []string // of measures; nil: all but GroupHost
	RealTime bool     // let time pass as on the wall; figures are then this host's

	// Window is how long a stream is measured. If zero, as long as 3,200 full
	// frames take at the cable's rate, and at least sixteen round trips.
	Window time.Duration

	Parallel int    // experiments at one time; 0 means 1
	Podwire  string // version, for Settings
	Go       string
	GVisor   string

	// OnProgress, if not nil, is called before each part of the work, from any
	// goroutine, one at a time.
	OnProgress func(done, of int, what string)
}

// has reports whether a group is to be measured.
func (c *Config) has(group string) bool { return slices.Contains(c.Groups, group) }

// complete fills defaults in and finds what cannot be.
func (c *Config) complete() error {
	if c.Designs == nil {
		for _, d := range overlay.Designs() {
			c.Designs = append(c.Designs, d.Name)
		}
	}
	for i, name := range c.Designs {
		if _, ok := overlay.Find(name); !ok {
			return fmt.Errorf("faceoff: design %q is not known (podwire designs lists them)", name)
		}
		if slices.Contains(c.Designs[:i], name) {
			return fmt.Errorf("faceoff: design %q is there twice", name)
		}
	}
	if c.Groups == nil {
		c.Groups = slices.DeleteFunc(slices.Clone(Groups), func(g string) bool { return g == GroupHost })
	}
	for _, g := range c.Groups {
		if !slices.Contains(Groups, g) {
			return fmt.Errorf("faceoff: group of measures %q, want some of %s", g, strings.Join(Groups, ", "))
		}
	}
	if c.Window < 0 || c.Parallel < 0 {
		return fmt.Errorf("faceoff: window %v, %d at one time: want 0 or more", c.Window, c.Parallel)
	}
	c.Parallel = max(1, c.Parallel)
	if c.RealTime {
		c.Parallel = 1
	}
	return nil
}

// A field is a lab with the pods that play in it.
type field struct {
	*emu.Lab
	design   string
	from, to *emu.Pod
}

// across reports whether the pods are on different nodes.
func (f *field) across() bool { return f.from.Node() != f.to.Node() }

// enter builds a lab and calls f with it, in the time that the configuration asks
// for.
func enter(s *Scene, c *Config, v Variant, f func(*field) error) error {
	return inTime(c.RealTime, func(settle func()) error {
		v.Settle = settle
		return s.Lab(v, func(lab *emu.Lab) error {
			field := &field{Lab: lab, design: v.Design}
			if err := field.choose(c.From, c.To); err != nil {
				return err
			}
			return f(field)
		})
	})
}

func inTime(realTime bool, f func(settle func()) error) error {
	if realTime {
		return f(nil)
	}
	return virtual.Run(f)
}

// choose finds the pods that are named, or chooses them.
func (f *field) choose(from, to string) error {
	var pods []*emu.Pod
	for _, p := range f.Pods() {
		if !hostNetwork(p) && !strings.HasPrefix(p.Name(), "kube-system/") {
			pods = append(pods, p)
		}
	}
	named := func(name string) (*emu.Pod, error) {
		p := f.Pod(name)
		switch {
		case p == nil:
			return nil, fmt.Errorf("faceoff: there is no pod %q, want one of %s", name, podNames(pods))
		case hostNetwork(p):
			return nil, fmt.Errorf("faceoff: pod %q has its node's network, want one of %s", name, podNames(pods))
		}
		return p, nil
	}
	if len(pods) < 2 {
		return fmt.Errorf("faceoff: found %d pods with a network of their own, want two", len(pods))
	}
	var err error
	if f.from = pods[0]; from != "" {
		if f.from, err = named(from); err != nil {
			return err
		}
	}
	if to != "" {
		if f.to, err = named(to); err != nil {
			return err
		}
	} else {
		f.to = other(pods, f.from)
	}
	if f.from == f.to {
		return fmt.Errorf("faceoff: from and to are both %s, want two pods", short(f.from.Name()))
	}
	return nil
}

// other returns the first pod on another node than p's, or the first on the same.
func other(pods []*emu.Pod, p *emu.Pod) *emu.Pod {
	for _, o := range pods {
		if o.Node() != p.Node() {
			return o
		}
	}
	if pods[0] != p {
		return pods[0]
	}
	return pods[1]
}

func hostNetwork(p *emu.Pod) bool { return p.Addr() == p.Node().Addr() }

func podNames(pods []*emu.Pod) string {
	var names []string
	for _, p := range pods {
		names = append(names, short(p.Name()))
	}
	return strings.Join(names, ", ")
}

func short(name string) string { return strings.TrimPrefix(name, "default/") }
