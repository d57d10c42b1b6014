package faceoff

import (
	"errors"
	"fmt"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
)

// hostCost measures what emulating a frame takes, one design after another and
// nothing beside.
func hostCost(cfg *Config, fits []*fit, bouts [][]*bout, p *progress) {
	for i, f := range fits {
		p.say(f.design.Name + ": CPU per packet")
		b := bouts[i][0]
		switch {
		case f.sameNode:
			b.skip("both pods are on one node", "host-packet")
			continue
		case cfg.RealTime:
			b.skip("only in virtual time: in real time it would count what is waited for", "host-packet")
			continue
		}
		per, err := framesCost(b)
		if err != nil {
			b.warnings = append(b.warnings, fmt.Sprintf("%s: CPU per packet: %v", b.design, err))
			b.skip(err.Error(), "host-packet")
			continue
		}
		b.set("host-packet", seconds(per))
	}
}

// framesCost returns the real time for a frame, the best of three.
func framesCost(b *bout) (best time.Duration, err error) {
	for range 3 {
		small, few, err := streamCost(b, 4*megabyte)
		if err != nil {
			return 0, err
		}
		large, many, err := streamCost(b, 20*megabyte)
		if err != nil {
			return 0, err
		}
		if many <= few {
			return 0, fmt.Errorf("%d frames for 20 MB, %d for 4 MB", many, few)
		}
		if per := (large - small) / time.Duration(many-few); per > 0 && (best == 0 || per < best) {
			best = per
		}
	}
	if best == 0 {
		return 0, errors.New("this host is too busy: 20 MB did not take longer than 4 MB")
	}
	return best, nil
}

// streamCost moves bytes and returns the real time and the frames it took, all of
// the lab included.
func streamCost(b *bout, bytes int64) (took time.Duration, frames int, err error) {
	watch := virtual.Stopwatch()
	err = b.enterKnown(0, func(f *field) error {
		from, to := f.nodes()
		before := delivered(f, from, to)
		r, err := f.flow(emu.FlowConfig{Kind: emu.BulkFlow, For: time.Minute, Bytes: bytes})
		if err != nil {
			return err
		}
		if int64(r.Received) < bytes {
			return fmt.Errorf("%d of %d bytes arrived in a minute", r.Received, bytes)
		}
		frames = delivered(f, from, to) - before
		return nil
	})
	return watch(), frames, err
}

// delivered counts the frames that have arrived at nodes by their cables.
func delivered(f *field, nodes ...*emu.Node) (n int) {
	f.Driver().Do(func() {
		for _, node := range nodes {
			_, in := node.Cable().Stats()
			n += int(in.Delivered)
		}
	})
	return n
}
