package faceoff

import (
	"fmt"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
)

// hostCost measures what emulating a frame takes, one design after another and
// nothing beside.
func hostCost(s *Scene, cfg *Config, fits []*fit, bouts [][]*bout, p *progress) error {
	for i, f := range fits {
		p.say(f.design.Name + ": CPU per packet")
		b := bouts[i][0]
		if f.sameNode {
			b.skip("both pods are on one node", "host-packet")
			continue
		}
		best := time.Duration(0)
		for range 3 {
			small, few, err := streamCost(b, 4*megabyte)
			if err != nil {
				return err
			}
			large, many, err := streamCost(b, 20*megabyte)
			if err != nil {
				return err
			}
			if many <= few {
				return fmt.Errorf("faceoff: %s: %d frames for 20 MB, %d for 4 MB", b.design, many, few)
			}
			if per := (large - small) / time.Duration(many-few); best == 0 || per < best {
				best = per
			}
		}
		b.set("host-packet", seconds(best))
	}
	return nil
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
