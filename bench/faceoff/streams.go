package faceoff

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/podwire/podwire/bench/workload"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// noRate is why there is no goodput.
const noRate = "no cable between the pods has a rate"

// window is how long a stream is measured on a cable of that rate: thousands of
// frames of the underlay's MTU, and many round trips.
func (b *bout) window(rate int64, mtu int) time.Duration {
	const frames = 3200
	bits := (mtu + link.EthernetHeader + link.FrameOverhead) * 8
	window := max(time.Duration(float64(frames*bits)*1e9/float64(rate)), 2*samples*b.fit.rtt)
	if b.cfg.Window > 0 {
		window = b.cfg.Window
	}
	return window.Round(samples)
}

// limit is the goodput that a cable's rate and the headers of a full segment
// leave.
func limit(rate int64, p *Packet) float64 {
	return float64(rate) * float64(p.payload()) / float64(p.Bytes+link.FrameOverhead)
}

// unrated reports whether there is no rate to measure against, and notes that.
func (b *bout) unrated(ids ...string) bool {
	if b.fit.rate > 0 {
		return false
	}
	b.skip(noRate, ids...)
	return true
}

// oneWay is one stream, and then, while it goes on, pings beside it.
func (b *bout) oneWay() error {
	ids := []string{"goodput", "goodput-limit", "efficiency", "rtt-loaded-p50", "rtt-loaded-p90", "rtt-loaded-p99"}
	if b.fit.cpu != "" {
		ids = append(ids, "goodput-core")
	}
	if b.unrated(ids...) {
		return nil
	}
	window := b.window(b.fit.rate, b.fit.mtu)
	return b.enterKnown(0, func(f *field) error {
		var loaded emu.FlowResult
		var failed error
		var pinged atomic.Bool
		s := newStream(window)
		s.also = pinged.Load
		s.onDone = func() {
			f.Go(func() {
				defer pinged.Store(true)
				loaded, failed = f.flow(emu.FlowConfig{Kind: emu.PingFlow, For: window, Interval: window / 50})
			})
		}
		r, err := f.run(s)
		for err == nil && s.done() && !pinged.Load() { // some are late, or were lost
			f.Sleep(window)
		}
		if err = errors.Join(err, failed); err != nil {
			return err
		}
		goodput := s.goodput()
		b.set("goodput", goodput)
		b.set("efficiency", goodput/float64(b.fit.rate))
		if loaded.Received > 0 {
			b.set("rtt-loaded-p50", seconds(loaded.P50))
			b.set("rtt-loaded-p90", seconds(loaded.P90))
			b.set("rtt-loaded-p99", seconds(loaded.P99))
		} else {
			b.skip("no ping beside the stream was answered", "rtt-loaded-p50", "rtt-loaded-p90", "rtt-loaded-p99")
		}
		b.judge(goodput, r[0].Retransmits, s, b.perCore(f, s))
		return nil
	})
}

// judge holds a goodput against the limit. Busy is the node of a core that was
// never idle, if there is one.
func (b *bout) judge(goodput float64, retransmits uint64, s *stream, busy string) {
	if b.packet == nil {
		b.skip("no full segment was seen", "goodput-limit")
		return
	}
	most := limit(b.fit.rate, b.packet)
	b.set("goodput-limit", goodput/most)
	switch {
	case !s.steady():
		b.warnings = append(b.warnings, fmt.Sprintf("%s: the stream was not steady after %v: the figure is that of its last %v", b.design, patience*s.window, s.window))
	case busy != "" && goodput < 0.95*most:
		b.warnings = append(b.warnings, fmt.Sprintf("%s: a core of %s is the limit, not the rate: it was never idle", b.design, busy))
		return // theory is about full cables
	case !b.cfg.RealTime && !s.full:
		b.warnings = append(b.warnings, fmt.Sprintf("%s: one stream does not fill the cable: its window is the limit, not the rate", b.design))
		return // theory is about full cables
	}
	b.check("goodput", "goodput, one stream", BitRate, goodput, most, 0.005, "%s x payload %d / (frame %d + %d for preamble, FCS and gap)",
		Text(float64(b.fit.rate), BitRate), b.packet.payload(), b.packet.Bytes, link.FrameOverhead)
	if b.cfg.RealTime && goodput < 0.95*most && retransmits == 0 {
		b.warnings = append(b.warnings, fmt.Sprintf("%s: in real time this host was the limit, not the network: %s of %s without a loss",
			b.design, Text(goodput, BitRate), Text(most, BitRate)))
	}
}

// bothWays is two streams against each other.
func (b *bout) bothWays() error {
	if b.unrated("goodput-both") {
		return nil
	}
	return b.enterKnown(0, func(f *field) error {
		there, back := newStream(b.window(b.fit.rate, b.fit.mtu)), newStream(b.window(b.fit.rate, b.fit.mtu))
		there.also, back.also = back.done, there.done
		back.back = true
		if _, err := f.run(there, back); err != nil {
			return err
		}
		b.set("goodput-both", there.goodput()+back.goodput())
		return nil
	})
}

// halfRate sends datagrams at half the rate.
func (b *bout) halfRate() error {
	if b.unrated("udp-loss", "udp-delay") {
		return nil
	}
	const size = 1000
	window := b.window(b.fit.rate, b.fit.mtu)
	return b.enterKnown(0, func(f *field) error {
		interval := time.Duration(size * 8e9 / (float64(b.fit.rate) / 2))
		r, err := f.flow(emu.FlowConfig{Kind: emu.UDPFlow, For: window, Interval: max(1, interval), Size: size})
		if err != nil {
			return err
		}
		b.set("udp-loss", r.Loss())
		b.set("udp-delay", seconds(r.P99))
		return nil
	})
}

// loss moves bytes over a cable that loses some.
func (b *bout) loss() error {
	const bytes, share = 10 * megabyte, 0.005
	if b.fit.sameNode {
		b.skip("both pods are on one node", "loss-time", "loss-retransmits")
		return nil
	}
	return b.enterKnown(0, func(f *field) error {
		_, to := f.nodes()
		if err := to.ChangeCable("", func(_, in *link.WireConfig) { in.Loss = share }); err != nil {
			return err
		}
		r, err := f.flow(emu.FlowConfig{Kind: emu.BulkFlow, For: 10 * time.Minute, Bytes: bytes, Sample: 10 * time.Millisecond})
		if err != nil {
			return err
		}
		if r.Received < bytes {
			b.skip(fmt.Sprintf("%d of %d bytes arrived in 10 minutes", r.Received, bytes), "loss-time", "loss-retransmits")
			return nil
		}
		b.set("loss-time", seconds(r.Took))
		b.set("loss-retransmits", float64(r.Retransmits))
		return nil
	})
}

// wires measures a stream on other cables.
func (b *bout) wires() error {
	ids := []string{"goodput-1g", "goodput-10g", "goodput-25g"}
	if b.fit.sameNode {
		b.skip("both pods are on one node", append(ids, "goodput-wan", "goodput-9000")...)
		return nil
	}
	for i, name := range []string{"1g", "10g", "25g"} {
		w, _ := workload.FindWire(name)
		if err := b.stream(ids[i], 0, b.window(w.Rate(), b.fit.mtu), &w); err != nil {
			return err
		}
	}
	if err := b.wan(); err != nil {
		return err
	}
	if b.unrated("goodput-9000") {
		return nil
	}
	return b.stream("goodput-9000", jumbo, b.window(b.fit.rate, jumbo), nil)
}

// jumbo is the MTU that switches and NICs of data centres agree on.
const jumbo = 9000

// stream measures one stream, on other cables if there are some.
func (b *bout) stream(id string, mtu int, window time.Duration, on *workload.Wire) error {
	return b.enterKnown(mtu, func(f *field) error {
		if on != nil {
			if err := on.Apply(f.Lab, &f.to.Node().Machine); err != nil {
				return err
			}
		}
		s := newStream(window)
		_, err := f.run(s)
		if err == nil {
			b.set(id, s.goodput())
		}
		return err
	})
}

// wan moves bytes over a path that is long and loses frames.
func (b *bout) wan() error {
	return b.enterKnown(0, func(f *field) error {
		wan, _ := workload.FindWire("wan")
		if err := wan.Apply(f.Lab, &f.to.Node().Machine); err != nil {
			return err
		}
		r, err := f.flow(emu.FlowConfig{Kind: emu.BulkFlow, For: 10 * time.Minute, Bytes: 10 * megabyte, Sample: 100 * time.Millisecond})
		switch {
		case err != nil:
		case r.Received < 10*megabyte:
			b.skip(fmt.Sprintf("%d of %d bytes arrived in 10 minutes", r.Received, 10*megabyte), "goodput-wan")
		default:
			b.set("goodput-wan", r.Goodput)
		}
		return err
	})
}
