package bench

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/link"
)

// BenchmarkVirtualTime is how fast virtual time passes under a load: seconds of
// the lab in one second of the machine (vsec/s), and in one second of its CPU
// (vsec/cpu-s), which other programs on the machine disturb less. One pod sends
// to another on another node, over VXLAN and cables of 1 Gbit/s and 50 µs, MTU
// 1500, through one switch. An operation is a lab and the whole time.
//
//	idle      a ping each second
//	1000pps   ten minutes of 1,000 datagrams per second
//	100Mbit   a TCP stream; the cables carry 100 Mbit/s
//	1Gbit     a TCP stream; the cables carry 1 Gbit/s
//
// The whole program runs on as many CPUs as GOMAXPROCS says: -test.cpu 1 for one.
func BenchmarkVirtualTime(b *testing.B) {
	for _, c := range []struct {
		load string
		rate int64
		flow emu.FlowConfig
	}{
		{"idle", 1e9, emu.FlowConfig{Kind: emu.PingFlow, For: 1000 * time.Second, Interval: time.Second}},
		{"1000pps", 1e9, emu.FlowConfig{Kind: emu.UDPFlow, For: 10 * time.Minute, Interval: time.Millisecond, Size: 1000}},
		{"100Mbit", 1e8, emu.FlowConfig{Kind: emu.BulkFlow, For: 5 * time.Second}},
		{"1Gbit", 1e9, emu.FlowConfig{Kind: emu.BulkFlow, For: time.Second}},
	} {
		b.Run("load="+c.load, func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime()
			for b.Loop() {
				if err := passTime(c.rate, c.flow); err != nil {
					b.Fatal(err)
				}
			}
			passed := float64(b.N) * c.flow.For.Seconds()
			b.ReportMetric(passed/b.Elapsed().Seconds(), "vsec/s")
			if cpu = cpuTime() - cpu; cpu > 0 {
				b.ReportMetric(passed/cpu.Seconds(), "vsec/cpu-s")
			}
		})
	}
}

// passTime runs a flow in a new lab.
func passTime(rate int64, flow emu.FlowConfig) error {
	runtime.GC() // what the last lab has left behind is not this one's
	return virtual.Run(func(settle func()) error {
		cable := link.WireConfig{Rate: rate, Latency: 50 * time.Microsecond}
		lab, err := emu.New(emu.Config{Nodes: 2, Underlay: emu.Underlay{Cable: cable}, Settle: settle})
		if err != nil {
			return err
		}
		defer lab.Close()
		if _, err := labPair(lab, "node2", "server:80"); err != nil {
			return err
		}
		flow.From, flow.To = &lab.Pod("client").Machine, &lab.Pod("server").Machine
		r, err := lab.RunFlows(flow)
		if err != nil {
			return err
		}
		return carried(rate, flow, &r[0])
	})
}

// carried says what is wrong with a flow that was to fill its time.
func carried(rate int64, flow emu.FlowConfig, r *emu.FlowResult) error {
	if flow.Kind != emu.BulkFlow {
		if r.Loss() != 0 || r.Sent != int(flow.For/flow.Interval) {
			return fmt.Errorf("%d sent, %d received, want %d of both", r.Sent, r.Received, flow.For/flow.Interval)
		}
		return nil
	}
	// 1,398 of 1,538 bytes are payload; slow start takes its share.
	if least := 0.85 * float64(rate); r.Goodput < least {
		return fmt.Errorf("%.0f Mbit/s, want at least %.0f", r.Goodput/1e6, least/1e6)
	}
	return nil
}
