// Package convergence measures how soon a pod network carries packets again when a
// node comes, or after a node or a link was lost: how each design's tables follow,
// and what else has to happen on the wire.
//
//	f, err := convergence.Measure(convergence.Config{Design: "flannel-vxlan", Seed: 1})
//	fmt.Println(f.LinkLost) // from when the cable is plugged in to the first answer
//
// Nothing else is sent meanwhile, and outages are long. How a stream of data and
// steady pings come back after a second is what the recovery group of package
// faceoff measures.
//
// Everything runs in virtual time: figures are exact, and the same for one seed.
// Over seeds they differ, because cables have jitter and because what happens
// falls into another moment of every timer.
package convergence

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/podwire/podwire/bench/workload"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/link"
)

// Config describes a measurement.
type Config struct {
	Design string // if empty, "flannel-vxlan"; one with a cluster
	Seed   uint64

	// Outage is how long a node or a cable is lost. If zero, five minutes: longer
	// than any timer of the designs. Those of BGP take longest: 90 s until the
	// session's hold timer runs out (RFC 4271 §4.2; the speakers of Calico's nodes
	// offer 240 s), 120 s for which stale routes are kept (RFC 4724 §4.2).
	Outage time.Duration

	// Cable is what the nodes' cables are like. If nil, 200 µs with a jitter of
	// 50 µs.
	Cable *link.WireConfig
}

// Blip is how long a cable is lost for [Figures.Blip]: no timer of a routing
// protocol notices.
const Blip = 5 * time.Second

// Never is the figure of what did not happen while it was waited for.
const Never = workload.Never

const (
	patience = 10 * time.Minute // for a first packet
	settled  = 5 * time.Minute  // after which nothing of what was before goes on
)

// Figures are what one run has measured. All are times that passed until
// something happened, or [Never]. A packet is delivered when it is answered: there
// is a way there and a way back.
type Figures struct {
	NodeAdded time.Duration // from when a node with a pod is added to the first packet between it and a pod elsewhere
	Blip      time.Duration // from when a cable is plugged in again after 5 s to the first packet
	LinkLost  time.Duration // the same after Config.Outage
	NodeLost  time.Duration // from when a node that had crashed boots, after Config.Outage, to the first packet to its pod

	// While the node is down, from when it crashed:

	Withdrawn time.Duration // until another node has no route to its pods, looked at once a second
	Told      time.Duration // until somebody who sends there hears an ICMP error
}

// Measure runs a lab of three nodes, to which a fourth is added, in a bubble of
// virtual time of its own.
func Measure(cfg Config) (f Figures, err error) {
	if emu.Standalone(cfg.Design) {
		return f, fmt.Errorf("convergence: %s has no cluster, want a design whose nodes know of each other", cfg.Design)
	}
	err = virtual.Run(func(settle func()) error {
		m, err := newMeasurement(cfg, settle)
		if err != nil {
			return err
		}
		f, err = m.all()
		return errors.Join(err, m.lab.Close())
	})
	return f, err
}

// measurement is one run.
type measurement struct {
	lab            *emu.Lab
	rng            *rand.Rand
	outage         time.Duration
	client, server *emu.Pod // on the first node and the second
}

func newMeasurement(cfg Config, settle func()) (*measurement, error) {
	if cfg.Cable == nil {
		cfg.Cable = &link.WireConfig{Latency: 200 * time.Microsecond, Jitter: link.Jitter{Spread: 50 * time.Microsecond}}
	}
	lab, err := emu.New(emu.Config{
		Design: cfg.Design, Seed: cfg.Seed, Nodes: 3, Settle: settle, Underlay: emu.Underlay{Cable: *cfg.Cable},
	})
	if err != nil {
		return nil, err
	}
	m := &measurement{lab: lab, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), outage: cmp.Or(cfg.Outage, 5*time.Minute)}
	m.client, err = lab.AddPod(emu.PodConfig{Name: "client", Node: "node1"})
	if err == nil {
		m.server, err = lab.AddPod(emu.PodConfig{Name: "server", Node: "node2"})
	}
	if err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return m, nil
}

// all measures one thing after another.
func (m *measurement) all() (f Figures, err error) {
	node := m.server.Node()
	steps := []func() error{
		func() error { _, err := m.first(m.server.Addr()); return err }, // it is up
		func() error { f.NodeAdded, err = m.nodeAdded(); return err },
		func() error { f.Blip, err = m.linkLost(node, Blip); return err },
		func() error { f.LinkLost, err = m.linkLost(node, m.outage); return err },
		func() error { return m.nodeLost(node, &f) },
	}
	for _, step := range steps {
		// What was before is over, and it is another moment of every timer.
		m.lab.Sleep(settled + time.Duration(m.rng.Int64N(int64(time.Minute))))
		if err := step(); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (m *measurement) nodeAdded() (time.Duration, error) {
	start := m.lab.Now()
	node, err := m.lab.AddNode(emu.NodeConfig{})
	if err != nil {
		return Never, err
	}
	pod, err := m.lab.AddPod(emu.PodConfig{Name: "late", Node: node.Name()})
	if err != nil {
		return Never, err
	}
	at, err := m.first(pod.Addr())
	return since(start, at), err
}

func (m *measurement) linkLost(node *emu.Node, outage time.Duration) (time.Duration, error) {
	node.SetLink(false)
	if found, err := m.watch(m.server.Addr(), outage+m.phase(), func() {}); err != nil || found.Answered != Never {
		return Never, errors.Join(err, m.survived("cable", found.Answered))
	}
	node.SetLink(true)
	back := m.lab.Now()
	at, err := m.first(m.server.Addr())
	return since(back, at), err
}

func (m *measurement) nodeLost(node *emu.Node, f *Figures) error {
	f.NodeLost, f.Withdrawn, f.Told = Never, Never, Never
	start, to := m.lab.Now(), m.server.Addr()
	node.Crash()
	found, err := m.watch(to, m.outage+m.phase(), func() {
		if f.Withdrawn == Never && !m.routed(to) {
			f.Withdrawn = m.lab.Now() - start
		}
	})
	if err != nil || found.Answered != Never {
		return errors.Join(err, m.survived("node", found.Answered))
	}
	f.Told = since(start, found.Told)
	back := m.lab.Now()
	if err := node.Boot(); err != nil {
		return err
	}
	m.server = m.lab.Pod(m.server.Name())
	at, err := m.first(m.server.Addr())
	f.NodeLost = since(back, at)
	return err
}

// phase is a part of a second, by which an outage is longer: whoever sends has the
// kernel ask for a neighbour once a second, and the repair may come at any moment
// of that.
func (m *measurement) phase() time.Duration { return time.Duration(m.rng.Int64N(int64(time.Second))) }

// survived is the error of what was answered while it was lost.
func (m *measurement) survived(what string, at time.Duration) error {
	if at == Never {
		return nil
	}
	return fmt.Errorf("convergence: %s: found a packet delivered at %v while the %s was lost", m.server.Name(), at, what)
}

// routed reports whether the client's node has a route to an address that is not
// its default route.
func (m *measurement) routed(to netip.Addr) (routed bool) {
	host := m.client.Node().Stack()
	m.lab.Driver().Do(func() {
		r, ok := host.LookupRoute(to)
		routed = ok && r.Dst.Bits() > 0
	})
	return routed
}

// watch pings once a second for a while, and calls look as often.
func (m *measurement) watch(to netip.Addr, during time.Duration, look func()) (workload.Finding, error) {
	return m.probe(to, during, func(time.Duration) time.Duration {
		look()
		return time.Second
	})
}

// first pings until the first answer and returns when that came in: every
// millisecond in the first tenth of a second, then after a hundredth of the time that
// has passed.
func (m *measurement) first(to netip.Addr) (time.Duration, error) {
	found, err := m.probe(to, patience, func(passed time.Duration) time.Duration { return max(time.Millisecond, passed/100) })
	return found.Answered, err
}

func (m *measurement) probe(to netip.Addr, limit time.Duration, interval func(time.Duration) time.Duration) (workload.Finding, error) {
	p := workload.Probe{From: &m.client.Machine, To: to, Limit: limit, Interval: interval}
	return p.Run(m.lab)
}

// since is the time from start to at, unless that is Never.
func since(start, at time.Duration) time.Duration {
	if at == Never {
		return Never
	}
	return at - start
}
