package emu_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// oneStage is a calibration in which one stage costs something.
func oneStage(w stack.Work, c stack.Cost) *emu.CPUConfig {
	x := &emu.CPUConfig{Calibration: emu.Calibration{Name: "test"}}
	x.Calibration.Costs[w] = c
	return x
}

// Each stage costs what it says as often as a ping between pods of two nodes
// passes it. The way of a ping over VXLAN and back: see `podwire designs`.
func TestCPUChargesEachStageExactly(t *testing.T) {
	us := int64(1_000_000) // in picoseconds
	for _, tt := range []struct {
		work  stack.Work
		times int
	}{
		{stack.WorkReceive, 2},  // once on each node
		{stack.WorkTransmit, 2}, // the same
		{stack.WorkVeth, 4},     // out of and into each pod
		{stack.WorkVXLAN, 4},    // around and out of, each way
		{stack.WorkBridge, 4},   // cni0 of each node, each way
		{stack.WorkIPIP, 0},
		{stack.WorkWireGuard, 0},
	} {
		cfg := emu.Config{Nodes: 2, CPU: oneStage(tt.work, stack.Cost{Packet: 3 * us})}
		emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			a := lab.Pod("a", "node1")
			lab.Pod("b", "node2")
			a.Ping("b") // neighbours are known
			want := time.Duration(tt.times) * 3 * time.Microsecond
			if r := a.Ping("b"); r != want {
				t.Errorf("%v: a ping takes %v, want %v", tt.work, r, want)
			}
		})
	}
}

// A byte costs as much as it says: a ping of 56 bytes is a frame of 98 bytes
// at the NIC of host-gw.
func TestCPUChargesBytes(t *testing.T) {
	cfg := emu.Config{Nodes: 2, Design: "flannel-host-gw", CPU: oneStage(stack.WorkReceive, stack.Cost{Packet: 500, Byte: 1500})}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		a := lab.Pod("a", "node1")
		lab.Pod("b", "node2")
		a.Ping("b")
		// 147.5 ns each: a packet leaves with the first whole nanosecond.
		if r := a.Ping("b"); r != 2*148*time.Nanosecond {
			t.Errorf("a ping takes %v, want 296ns", r)
		}
		if s := lab.Node("node2").CPU(); len(s) != 1 || s[0].Busy == 0 {
			t.Errorf("stats of node2: %+v, want one core that was busy", s)
		}
	})
}

// A slow node makes its own packets slow and no others.
func TestSlowNode(t *testing.T) {
	cfg := emu.Config{Nodes: 2, CPU: oneStage(stack.WorkReceive, stack.Cost{Packet: 1_000_000})}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		a := lab.Pod("a", "node1")
		lab.Pod("b", "node2")
		a.Ping("b")
		if err := lab.Node("node2").SetSlow(10); err != nil {
			t.Fatal(err)
		}
		if r := a.Ping("b"); r != 11*time.Microsecond {
			t.Errorf("a ping takes %v, want 11µs", r)
		}
	})
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		if err := lab.Node("node1").SetSlow(10); err == nil || !strings.Contains(err.Error(), "no CPU model") {
			t.Errorf("error %v, want that there is no CPU model", err)
		}
	})
}

// What finds the backlog full is dropped where it came in and counted there.
func TestCPUBacklogDrops(t *testing.T) {
	cpu := oneStage(stack.WorkReceive, stack.Cost{Packet: 1_000_000_000})
	cpu.Backlog = 3
	emutest.Run(t, emu.Config{Nodes: 2, CPU: cpu}, func(t *testing.T, lab *emutest.Lab) {
		a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2")
		a.Ping("b")
		in, err := b.ListenPacket("udp", ":9")
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := a.Dial("udp", netip.AddrPortFrom(b.Addr(), 9).String())
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		for range 10 {
			out.Write([]byte("x"))
		}
		lab.Sleep(time.Second)
		// All leave the pod at once, and node1 takes three in.
		var dropped uint64
		lab.Driver().Do(func() { dropped = a.Stack().Device("eth0").Point().Drops(link.DropBacklog) })
		if s := lab.Node("node1").CPU()[0]; dropped != 7 || s.Dropped != 7 {
			t.Errorf("%d dropped, stats %+v, want 7 of 10", dropped, s)
		}
		if s := lab.Node("node2").CPU()[0]; s.Dropped != 0 || s.Most != 3 || s.Waiting != 0 {
			t.Errorf("stats of node2 %+v, want 3 waiting at most", s)
		}
	})
}

// Where the CPU is the limit, the default calibration puts the designs in the
// order that they have on real machines.
func TestDesignsInOrderOfCost(t *testing.T) {
	last := 1e18
	designs := []string{"flannel-host-gw", "flannel-vxlan", "flannel-wireguard", "flannel-udp"}
	if raceEnabled {
		designs = designs[2:] // those that move the fewest packets
	}
	for _, design := range designs {
		emutest.Run(t, emu.Config{Nodes: 2, Design: design, CPU: &emu.CPUConfig{}}, func(t *testing.T, lab *emutest.Lab) {
			a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2")
			a.Ping("b")
			r, err := lab.RunFlows(emu.FlowConfig{Kind: emu.BulkFlow, From: &a.Machine, To: &b.Machine, For: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %.0f Mbit/s", design, r[0].Goodput/1e6)
			if r[0].Goodput >= 0.97*last || r[0].Goodput < 1e8 {
				t.Errorf("%s: %.0f Mbit/s, want more than 100 and less than the one before, %.0f", design, r[0].Goodput/1e6, last/1e6)
			}
			last = r[0].Goodput
		})
	}
}

func TestReadCalibration(t *testing.T) {
	if c := emu.DefaultCalibration(); c.Costs[stack.WorkVXLAN].Packet != 650_000 || c.Costs[stack.WorkWireGuard].Byte != 450 {
		t.Errorf("default calibration %+v", c)
	}
	for in, want := range map[string]string{
		"":          "calibration: EOF",
		"name: x\n": "want a name and stages",
		"name: x\nstages: {vxlam: {packet: 1ns}}": `stage "vxlam", want one of [receive`,
		"name: x\nstages: {vxlan: {packet: 1s}}":  `stage vxlan: time "1s"`,
		"name: x\nstages: {vxlan: {packed: 1ns}}": "packed",
		"name: x\nstages: {vxlan: {byte: -1ns}}":  `time "-1ns"`,
	} {
		if _, err := emu.ReadCalibration(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", in, err, want)
		}
	}
}

// FuzzReadCalibration: no file makes it panic, and what is read is not negative.
func FuzzReadCalibration(f *testing.F) {
	f.Add("name: x\nstages: {vxlan: {packet: 650ns, byte: 0.5ns, source: here}}")
	f.Add("name: x\nstages: {vxlan: {packet: 1e300us}}")
	f.Fuzz(func(t *testing.T, in string) {
		c, err := emu.ReadCalibration(strings.NewReader(in))
		if err != nil {
			return
		}
		for w, cost := range c.Costs {
			if cost.Packet < 0 || cost.Byte < 0 {
				t.Errorf("%v costs %+v", stack.Work(w), cost)
			}
		}
	})
}
