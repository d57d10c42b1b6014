package emu_test

import (
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

// flowLab has two machines a round trip of 4 ms apart, which know each other.
func flowLab(t *testing.T, rate int64, f func(lab *emutest.Lab, a, b *emu.Machine)) {
	t.Helper()
	cable := link.WireConfig{Latency: time.Millisecond, Rate: rate}
	emutest.Run(t, emu.Config{Underlay: emu.Underlay{Cable: cable}}, func(t *testing.T, lab *emutest.Lab) {
		lab.Host("a")
		lab.Host("b")
		a, b := lab.Machine("a"), lab.Machine("b")
		if _, err := a.Ping("b", time.Second); err != nil {
			t.Fatal(err)
		}
		f(lab, a, b)
	})
}

func runFlow(t *testing.T, lab *emutest.Lab, c emu.FlowConfig) emu.FlowResult {
	t.Helper()
	r, err := lab.RunFlows(c)
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

// A short connection takes a round trip to open and one for the request. The
// next one is due 5 ms after, and begins when this one has ended.
func TestConnectFlow(t *testing.T) {
	flowLab(t, 0, func(lab *emutest.Lab, a, b *emu.Machine) {
		r := runFlow(t, lab, emu.FlowConfig{Kind: emu.ConnectFlow, From: a, To: b, For: 40 * time.Millisecond, Interval: 10 * time.Millisecond})
		if r.Sent != 4 || r.Received != 4 || r.Connect != 4*time.Millisecond || r.P50 != 8*time.Millisecond || r.Max != 8*time.Millisecond || r.First != 8*time.Millisecond {
			t.Errorf("got %+v, want 4 connections that open in 4 ms and end in 8 ms", r)
		}
		r = runFlow(t, lab, emu.FlowConfig{Kind: emu.ConnectFlow, From: a, To: b, For: 40 * time.Millisecond, Interval: 5 * time.Millisecond})
		if r.Sent != 5 || r.Received != 5 || r.Max != 20*time.Millisecond {
			t.Errorf("connections that are due before the one before has ended: %+v, want 5, the last one 12 ms late", r)
		}
	})
}

// A flow of some bytes ends when they are there, and nothing is lost.
func TestFlowOfBytes(t *testing.T) {
	flowLab(t, 80e6, func(lab *emutest.Lab, a, b *emu.Machine) {
		start := lab.Now()
		r := runFlow(t, lab, emu.FlowConfig{Kind: emu.BulkFlow, From: a, To: b, For: time.Minute, Bytes: 1_000_000, Sample: 10 * time.Millisecond})
		took := lab.Now() - start
		if r.Received != 1_000_000 || r.Retransmits != 0 || r.Took < 100*time.Millisecond || r.Took > 200*time.Millisecond {
			t.Errorf("%d bytes after %v, %d retransmitted, want a million after a tenth of a second and slow start", r.Received, r.Took, r.Retransmits)
		}
		if took < r.Took || took > r.Took+20*time.Millisecond {
			t.Errorf("the flow ended after %v, want soon after %v", took, r.Took)
		}
		if got, want := r.Goodput, 8e6/r.Took.Seconds(); got != want {
			t.Errorf("goodput %v, want %v", got, want)
		}
	})
}

// What arrives in the beginning does not count if it is to be omitted; a flow
// ends with the sample that says so.
func TestFlowOmitsAndEnds(t *testing.T) {
	flowLab(t, 10e6, func(lab *emutest.Lab, a, b *emu.Machine) {
		c := emu.FlowConfig{Kind: emu.BulkFlow, From: a, To: b, For: 2 * time.Second, Sample: 100 * time.Millisecond}
		whole := runFlow(t, lab, c)
		lab.Sleep(2 * time.Second) // what was queued has left
		c.Omit = time.Second
		steady := runFlow(t, lab, c)
		if steady.Goodput <= whole.Goodput || steady.Received != whole.Received {
			t.Errorf("without slow start %v of %d bytes, with it %v of %d", steady.Goodput, steady.Received, whole.Goodput, whole.Received)
		}
		lab.Sleep(2 * time.Second)
		c.Omit = 0
		var seen int
		c.OnSample = func(emu.FlowSample) bool { seen++; return seen < 5 }
		start := lab.Now()
		r := runFlow(t, lab, c)
		if took := lab.Now() - start; seen != 5 || len(r.Series) != 5 || took != 500*time.Millisecond {
			t.Errorf("ended after %d samples and %v, want 5 and 500ms", len(r.Series), took)
		}
	})
}

// The longest gap says when it was over.
func TestFlowGapEnd(t *testing.T) {
	flowLab(t, 0, func(lab *emutest.Lab, a, b *emu.Machine) {
		start := lab.Now()
		lab.Go(func() {
			lab.Sleep(95 * time.Millisecond)
			b.SetLink(false)
			lab.Sleep(100 * time.Millisecond)
			b.SetLink(true)
		})
		r := runFlow(t, lab, emu.FlowConfig{Kind: emu.PingFlow, From: a, To: b, For: 400 * time.Millisecond, Interval: 10 * time.Millisecond})
		if got := r.GapEnd - start; got != 204*time.Millisecond || r.P90 != 4*time.Millisecond {
			t.Errorf("pings came back after %v, p90 %v, want 204ms, 4ms", got, r.P90)
		}
	})
}

func TestWrongFlows(t *testing.T) {
	flowLab(t, 0, func(lab *emutest.Lab, a, b *emu.Machine) {
		for want, c := range map[string]emu.FlowConfig{
			"omit 1s of 1s":      {Kind: emu.BulkFlow, For: time.Second, Omit: time.Second},
			"-1 bytes":           {Kind: emu.BulkFlow, For: time.Second, Bytes: -1},
			"is for a bulk flow": {Kind: emu.UDPFlow, For: time.Second, Bytes: 1},
			"nothing is omitted": {Kind: emu.BulkFlow, For: time.Second, Bytes: 1, Omit: 1},
		} {
			c.From, c.To = a, b
			if _, err := lab.RunFlows(c); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %v, want %q", c, err, want)
			}
		}
	})
}
