package faceoff

import (
	"fmt"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// noRate is why there is no goodput.
const noRate = "no cable between the pods has a rate"

// times returns how long a stream runs before it counts, and how long it counts:
// the queue has filled and slow start is over, and thousands of frames have
// passed.
func (b *bout) times(rate int64) (warmup, window time.Duration) {
	const frames, bits = 8000, (1500 + link.EthernetHeader + link.FrameOverhead) * 8
	frame := time.Duration(float64(bits) / float64(rate) * 1e9)
	window = max(frames*frame, 20*b.fit.rtt)
	if b.cfg.Window > 0 {
		window = b.cfg.Window
	}
	return 20*b.fit.rtt + 2000*frame, window
}

// limit is the goodput that a cable's rate and the headers of a full segment
// leave.
func limit(rate int64, p *Packet) float64 {
	return float64(rate) * float64(p.payload()) / float64(p.Bytes+link.FrameOverhead)
}

// streams measures streams on the scenario's own cables.
func (b *bout) streams() error {
	ids := []string{"goodput", "goodput-limit", "efficiency", "goodput-both", "udp-loss", "udp-delay", "rtt-loaded-p50", "rtt-loaded-p90", "rtt-loaded-p99"}
	if b.fit.rate == 0 {
		b.skip(noRate, ids...)
		return nil
	}
	if err := b.oneWay(); err != nil {
		return err
	}
	if err := b.bothWays(); err != nil {
		return err
	}
	return b.halfRate()
}

// oneWay is one stream with pings beside it.
func (b *bout) oneWay() error {
	warmup, window := b.times(b.fit.rate)
	return b.enterKnown(0, func(f *field) error {
		type outcome struct {
			emu.FlowResult
			error
		}
		pings := make(chan outcome, 1)
		f.Go(func() {
			f.Sleep(warmup)
			r, err := f.flow(emu.FlowConfig{Kind: emu.PingFlow, For: window, Interval: window / 50})
			pings <- outcome{r, err}
		})
		stream, err := f.flow(emu.FlowConfig{Kind: emu.BulkFlow, For: warmup + window, Omit: warmup})
		loaded := <-pings
		if err != nil {
			return err
		}
		if loaded.error != nil {
			return loaded.error
		}
		b.set("goodput", stream.Goodput)
		b.set("efficiency", stream.Goodput/float64(b.fit.rate))
		b.set("rtt-loaded-p50", seconds(loaded.P50))
		b.set("rtt-loaded-p90", seconds(loaded.P90))
		b.set("rtt-loaded-p99", seconds(loaded.P99))
		b.judge(stream.Goodput, stream.Retransmits)
		return nil
	})
}

// judge holds a goodput against the limit.
func (b *bout) judge(goodput float64, retransmits uint64) {
	if b.packet == nil {
		b.skip("no full segment was seen", "goodput-limit")
		return
	}
	most := limit(b.fit.rate, b.packet)
	b.set("goodput-limit", goodput/most)
	b.check("goodput", "goodput, one stream", BitRate, goodput, most, 0.005, "%s x payload %d / (frame %d + %d for preamble, FCS and gap)",
		Text(float64(b.fit.rate), BitRate), b.packet.payload(), b.packet.Bytes, link.FrameOverhead)
	if b.cfg.RealTime && goodput < 0.95*most && retransmits == 0 {
		b.warnings = append(b.warnings, fmt.Sprintf("%s: in real time this host was the limit, not the network: %s of %s without a loss",
			b.design, Text(goodput, BitRate), Text(most, BitRate)))
	}
}

// bothWays is two streams against each other.
func (b *bout) bothWays() error {
	warmup, window := b.times(b.fit.rate)
	return b.enterKnown(0, func(f *field) error {
		c := emu.FlowConfig{Kind: emu.BulkFlow, For: warmup + window, Omit: warmup}
		back := c
		back.From, back.To = &f.to.Machine, &f.from.Machine
		r, err := f.flows(c, back)
		if err != nil {
			return err
		}
		b.set("goodput-both", r[0].Goodput+r[1].Goodput)
		return nil
	})
}

// halfRate sends datagrams at half the rate.
func (b *bout) halfRate() error {
	const size = 1000
	_, window := b.times(b.fit.rate)
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
	for i, rate := range []int64{1e9, 10e9, 25e9} {
		warmup, window := b.times(rate)
		if err := b.stream(ids[i], 0, warmup, window, func(f *field) error { return f.setRate(rate) }); err != nil {
			return err
		}
	}
	err := b.stream("goodput-wan", 0, time.Second, 2*time.Second, func(f *field) error {
		_, to := f.nodes()
		wan, _ := link.FindPreset("wan")
		return to.ChangeCable("", func(out, in *link.WireConfig) {
			wan.Up.MTU, wan.Down.MTU = out.MTU, in.MTU
			*out, *in = wan.Up, wan.Down
		})
	})
	if err != nil {
		return err
	}
	if b.fit.rate == 0 {
		b.skip(noRate, "goodput-9000")
		return nil
	}
	warmup, window := b.times(b.fit.rate)
	return b.stream("goodput-9000", 9000, warmup, window, nil)
}

// stream measures one stream in a lab that prepare has changed.
func (b *bout) stream(id string, mtu int, warmup, window time.Duration, prepare func(*field) error) error {
	return b.enterKnown(mtu, func(f *field) error {
		if prepare != nil {
			if err := prepare(f); err != nil {
				return err
			}
		}
		r, err := f.flow(emu.FlowConfig{Kind: emu.BulkFlow, For: warmup + window, Omit: warmup})
		b.set(id, r.Goodput)
		return err
	})
}

// setRate gives all cables of the underlay a rate; the rest of them stays.
func (f *field) setRate(rate int64) error {
	for _, m := range f.Machines() {
		for _, u := range m.Uplinks() {
			if err := m.ChangeCable(u.Segment, func(out, in *link.WireConfig) { out.Rate, in.Rate = rate, rate }); err != nil {
				return err
			}
		}
	}
	return nil
}
