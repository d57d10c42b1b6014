package emu_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

// duringFlow runs a flow of two seconds from a pod on node1 to the pod web on node2,
// and something else after 995 ms of it. A packet takes a millisecond between nodes.
func duringFlow(t *testing.T, c emu.FlowConfig, then func(lab *emutest.Lab, web *emu.Pod) error) (r emu.FlowResult) {
	t.Helper()
	cfg := emu.Config{Nodes: 3, Underlay: emu.Underlay{Cable: link.WireConfig{Latency: 500 * time.Microsecond}}}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		web := lab.Pod("web", "node2", 80)
		lab.Pod("other", "node3")
		client.Ping("web")
		client.Ping("other")
		c.From, c.To, c.For = &client.Machine, &web.Machine, 2*time.Second
		lab.Go(func() {
			lab.Sleep(995 * time.Millisecond)
			if err := then(lab, web.Pod); err != nil {
				t.Error(err)
			}
		})
		r = runFlow(t, lab, c)
	})
	return r
}

// What becomes of flows whose target moves, starts again at its address, or is away
// for 100 ms and comes back at another: who connects anew finds it in every case,
// who holds an address only at that, and a connection that was there is lost.
func TestFlowTargetStartsAgain(t *testing.T) {
	events := []func(lab *emutest.Lab, web *emu.Pod) error{
		func(lab *emutest.Lab, web *emu.Pod) error {
			_, err := lab.RestartPod(web, lab.Node("node3"))
			return err
		},
		func(lab *emutest.Lab, web *emu.Pod) error {
			_, err := lab.MovePod(web, emu.MoveConfig{KeepAddr: true})
			return err
		},
		func(lab *emutest.Lab, web *emu.Pod) error {
			if err := lab.RemovePod(web); err != nil {
				return err
			}
			lab.Sleep(100 * time.Millisecond)
			again, err := lab.StartAgain(web)
			if err == nil && again.Addr() == web.Addr() {
				t.Errorf("it has the address %v again, want another", web.Addr())
			}
			return err
		},
	}
	for _, c := range []struct {
		flow emu.FlowConfig
		want [3]string // received of sent, by event
	}{
		{emu.FlowConfig{Kind: emu.PingFlow}, [3]string{"100 of 200", "200 of 200", "100 of 200"}},
		{emu.FlowConfig{Kind: emu.UDPFlow}, [3]string{"100 of 200", "200 of 200", "100 of 200"}},
		{emu.FlowConfig{Kind: emu.RequestFlow}, [3]string{"100 of 101", "100 of 101", "100 of 101"}},
		{emu.FlowConfig{Kind: emu.ConnectFlow}, [3]string{"200 of 200", "200 of 200", "190 of 200"}},
		{emu.FlowConfig{Kind: emu.HTTPFlow, URL: "http://web/"}, [3]string{"200 of 200", "200 of 200", "190 of 200"}},
		{emu.FlowConfig{Kind: emu.HTTPFlow, URL: "http://any.name:80/"}, [3]string{"200 of 200", "200 of 200", "190 of 200"}},
	} {
		for i, then := range events {
			r := duringFlow(t, c.flow, then)
			if got := fmt.Sprintf("%d of %d", r.Received, r.Sent); got != c.want[i] {
				t.Errorf("%s flow, event %d: %s arrived, longest gap %v, want %s", c.flow.Kind, i, got, r.LongestGap, c.want[i])
			}
		}
	}
}
