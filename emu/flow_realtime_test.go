package emu_test

import (
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
)

// In real time a sender of datagrams can be late for the next one. It sends that
// at once, and does not stop.
func TestUDPFlowIsLateInRealTime(t *testing.T) {
	lab, err := emu.New(emu.Config{Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	var pods []*emu.Pod
	for name, node := range map[string]string{"a": "node1", "b": "node2"} {
		p, err := lab.AddPod(emu.PodConfig{Name: name, Node: node})
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, p)
	}
	const n = 2000
	r, err := lab.RunFlows(emu.FlowConfig{Kind: emu.UDPFlow, From: &pods[0].Machine, To: &pods[1].Machine, For: n * time.Nanosecond, Interval: 1, Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	if r[0].Sent != n {
		t.Errorf("%d datagrams were sent, want %d", r[0].Sent, n)
	}
}
