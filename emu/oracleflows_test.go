package emu_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay/bgp"
)

// Scenarios with goroutines that the lab has started: flows, and faults while they
// run.

var oracleFlows = map[string]oracleScenario{
	"flows beside each other": {
		cable:  link.WireConfig{Latency: time.Millisecond, Jitter: link.Jitter{Spread: 300 * time.Microsecond}, Rate: 20e6, Loss: 0.002, Queue: 60},
		events: 1500,
		run: func(lab *emu.Lab, a, b *emu.Pod) error {
			if err := oracleHello(lab, a, b); err != nil {
				return err
			}
			return oracleRunFlows(lab, oracleAllFlows(a, b, 500*time.Millisecond)...)
		},
	},
	"faults while flows run": {
		cable:  link.WireConfig{Latency: time.Millisecond, Rate: 20e6, Loss: 0.002},
		events: 3000,
		run:    oracleFaults,
	},
	"flows on slow CPUs": {
		cable:  link.WireConfig{Latency: 100 * time.Microsecond, Rate: 1e9},
		over:   []emu.Config{{Design: "flannel-vxlan", CPU: &emu.CPUConfig{Cores: 2}}, {Design: "flannel-wireguard", CPU: &emu.CPUConfig{Backlog: 50}}},
		events: 3000,
		run: func(lab *emu.Lab, a, b *emu.Pod) error {
			if err := oracleHello(lab, a, b); err != nil {
				return err
			}
			slow := make(chan error, 1) // is full before RunFlows returns
			lab.Go(func() {
				lab.Sleep(50 * time.Millisecond)
				slow <- lab.Node("node2").SetSlow(20)
			})
			flows := oracleAllFlows(a, b, 200*time.Millisecond)
			flows[0].Bytes = 1 << 20 // by far not all that the cable could carry
			return errors.Join(oracleRunFlows(lab, flows...), <-slow)
		},
	},
	"BGP": {
		cable:  link.WireConfig{Latency: 500 * time.Microsecond, Loss: 0.01},
		over:   oracleDesigns("calico-bgp"),
		events: 100,
		run:    oracleBGP,
	},
}

// oracleHello has both machines know each other: two handshakes of WireGuard at
// once fail.
func oracleHello(lab *emu.Lab, a, b *emu.Pod) (err error) {
	for range 10 {
		if _, err = a.Ping(b.Addr().String(), 100*time.Millisecond); err == nil {
			lab.Sleep(50 * time.Millisecond)
			return nil
		}
		lab.Sleep(6 * time.Second) // what is lost of a handshake is tried again after five
	}
	return err
}

// oracleAllFlows is one of each kind that two pods can have.
func oracleAllFlows(a, b *emu.Pod, d time.Duration) []emu.FlowConfig {
	from, to := &a.Machine, &b.Machine
	return []emu.FlowConfig{
		{Kind: emu.BulkFlow, From: from, To: to, For: d},
		{Kind: emu.BulkFlow, From: to, To: from, For: d, Bytes: 64 << 10},
		{Kind: emu.UDPFlow, From: from, To: to, For: d, Interval: time.Millisecond, Size: 300},
		{Kind: emu.PingFlow, From: to, To: from, For: d, Interval: 5 * time.Millisecond},
		{Kind: emu.RequestFlow, From: from, To: to, For: d},
		{Kind: emu.ConnectFlow, From: to, To: from, For: d},
	}
}

// oracleRunFlows runs flows and wants that something arrived by each.
func oracleRunFlows(lab *emu.Lab, flows ...emu.FlowConfig) error {
	results, err := lab.RunFlows(flows...)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Received == 0 {
			err = errors.Join(err, fmt.Errorf("nothing came of the %s flow", flows[i].Kind))
		}
	}
	return err
}

// oracleFaults breaks the network in every way while flows run between two pods
// and a third comes, moves and goes.
func oracleFaults(lab *emu.Lab, a, b *emu.Pod) error {
	if err := oracleHello(lab, a, b); err != nil {
		return err
	}
	n1, n2 := lab.Node("node1"), lab.Node("node2")
	faults := lab.Driver().NewGroup()
	var failed error
	at := func(when time.Duration, fault func() error) {
		faults.Go(func() {
			lab.Sleep(when)
			if err := fault(); err != nil {
				lab.Driver().Do(func() { failed = errors.Join(failed, err) })
			}
		})
	}
	var third *emu.Pod
	at(100*time.Millisecond, func() (err error) {
		third, err = lab.AddPod(emu.PodConfig{Name: "third", Node: "node1"})
		return err
	})
	at(200*time.Millisecond, func() error { a.SetLink(false); return nil })
	at(200*time.Millisecond, func() (err error) { // in the same instant
		third, err = lab.MovePod(third, emu.MoveConfig{Node: n2})
		return err
	})
	at(300*time.Millisecond, func() error { a.SetLink(true); return nil })
	at(400*time.Millisecond, func() error {
		return n2.ChangeCable("", func(out, in *link.WireConfig) { out.Loss, in.Latency = 0.3, 20*time.Millisecond })
	})
	at(600*time.Millisecond, func() error {
		return n2.ChangeCable("", func(out, in *link.WireConfig) { out.Loss, in.Latency = 0, time.Millisecond })
	})
	at(700*time.Millisecond, func() error { return lab.Partition([]*emu.Machine{&n1.Machine}, []*emu.Machine{&n2.Machine}) })
	at(700*time.Millisecond, func() error { return n1.TakeAddr(n2.Addr(), true) })
	at(800*time.Millisecond, func() error { return errors.Join(lab.Partition(), n1.LeaveAddr(n2.Addr())) })
	at(time.Second, func() error { n2.SetUp(false); return nil })
	at(1300*time.Millisecond, func() error { n2.SetUp(true); return nil })
	at(1800*time.Millisecond, func() error { return lab.RemovePod(third) })
	at(2500*time.Millisecond, func() error { n2.Crash(); return nil }) // ends what is left of the flows
	err := oracleRunFlows(lab, oracleAllFlows(a, b, 3*time.Second)...)
	faults.Wait()
	return errors.Join(err, failed)
}

// oracleBGP loses the node of one pod for longer than BGP's hold time, and ends
// the daemon of the other.
func oracleBGP(lab *emu.Lab, a, b *emu.Pod) error {
	n1, n2 := lab.Node("node1"), lab.Node("node2")
	state := func() (s bgp.PeerState) {
		lab.Driver().Do(func() { s = n1.Speaker().Peer("Mesh_192_168_56_12").State() })
		return s
	}
	if err := lab.AwaitReady(30 * time.Second); err != nil {
		return err
	}
	n2.Crash()
	lab.Sleep(300 * time.Second)
	if s := state(); s.State == "Established" {
		return fmt.Errorf("session is %v, want that its hold time is over", s)
	}
	if err := errors.Join(n2.Boot(), lab.AwaitReady(60*time.Second)); err != nil {
		return err
	}
	if err := oracleHello(lab, a, lab.Pod("b")); err != nil {
		return err
	}
	if err := n1.StopBGP(false); err != nil {
		return err
	}
	lab.Sleep(10 * time.Second)
	if err := errors.Join(n1.StartBGP(), lab.AwaitReady(60*time.Second)); err != nil {
		return err
	}
	if s := state(); s.State != "Established" {
		return fmt.Errorf("session is %v, want it established", s)
	}
	return oracleRunFlows(lab, oracleAllFlows(a, lab.Pod("b"), 200*time.Millisecond)...)
}
