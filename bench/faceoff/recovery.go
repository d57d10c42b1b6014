package faceoff

import (
	"fmt"
	"time"

	"github.com/podwire/podwire/bench/workload"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// Of experiments with faults: what is broken is broken for outage, from when
// traffic has run for faultAt; it goes on until faultEnd. The rate is low, so that
// seconds of a full cable can be emulated.
const (
	faultAt   = time.Second
	outage    = time.Second
	faultEnd  = 5 * time.Second
	faultRate = 20e6
)

// linkLoss pulls the cable of the receiver's node under a stream and pings.
func (b *bout) linkLoss() error {
	if b.fit.sameNode {
		b.skip("both pods are on one node", "recover-link", "recover-link-tcp")
		return nil
	}
	return b.enterKnown(0, func(f *field) error {
		if err := workload.ChangeCables(f.Lab, func(c *link.WireConfig) { c.Rate = faultRate }); err != nil {
			return err
		}
		start := f.Now()
		_, to := f.nodes()
		f.Go(func() {
			f.Sleep(faultAt)
			to.SetLink(false)
			f.Sleep(outage)
			to.SetLink(true)
		})
		const sample = 50 * time.Millisecond
		r, err := f.flows(
			emu.FlowConfig{Kind: emu.BulkFlow, For: faultEnd, Sample: sample},
			emu.FlowConfig{Kind: emu.PingFlow, For: faultEnd, Interval: 10 * time.Millisecond, Sample: sample})
		if err != nil {
			return err
		}
		back := start + faultAt + outage
		b.recovered("recover-link-tcp", r[0], back, start+faultEnd)
		b.recovered("recover-link", r[1], back, start+faultEnd)
		marks := []Mark{{faultAt, "cable of " + to.Name() + " pulled"}, {faultAt + outage, "plugged in again"}}
		title := "link loss: TCP and pings from " + short(f.from.Name()) + " to " + short(f.to.Name())
		b.series = append(b.series,
			Series{ID: "link-loss-goodput", Title: title, Name: "goodput", Unit: BitRate, Marks: marks,
				Points: points(r[0].Series, start, func(s emu.FlowSample) float64 { return s.Goodput })},
			Series{ID: "link-loss-lost", Title: title, Name: "pings lost per 50 ms", Unit: Count, Marks: marks,
				Points: points(r[1].Series, start, func(s emu.FlowSample) float64 { return float64(s.Lost) })})
		return nil
	})
}

// recovered sets how long after the repair the first thing arrived.
func (b *bout) recovered(id string, r emu.FlowResult, back, end time.Duration) {
	switch {
	case r.GapEnd >= end:
		b.skip(fmt.Sprintf("not within %v", end-back), id)
	default:
		b.set(id, seconds(max(0, r.GapEnd-back)))
	}
}

func points(samples []emu.FlowSample, start time.Duration, value func(emu.FlowSample) float64) []Point {
	list := make([]Point, len(samples))
	for i, s := range samples {
		list[i] = Point{s.Time - start, value(s)}
	}
	return list
}

// nodeLoss lets the receiver's node crash and boot, and waits for its new pod.
func (b *bout) nodeLoss() error {
	if b.fit.sameNode {
		b.skip("both pods are on one node", "recover-node")
		return nil
	}
	return b.enterKnown(0, func(f *field) error {
		_, node := f.nodes()
		node.Crash()
		f.Sleep(outage)
		if err := node.Boot(); err != nil {
			return err
		}
		if f.to = f.Pod(f.to.Name()); f.to == nil {
			return fmt.Errorf("the pod has not come back")
		}
		back := f.Now()
		probe := workload.Probe{
			From: &f.from.Machine, To: f.to.Addr(), Limit: faultEnd, Interval: func(time.Duration) time.Duration { return time.Millisecond },
		}
		found, err := probe.Run(f.Lab)
		switch {
		case err != nil:
			return err
		case found.Answered == workload.Never:
			b.skip(fmt.Sprintf("not within %v", faultEnd), "recover-node")
		default:
			b.set("recover-node", seconds(found.Answered-back))
		}
		return nil
	})
}
