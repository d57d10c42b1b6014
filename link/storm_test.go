package link

import (
	"testing"
	"time"
)

// looped is two bridges joined by some cables, and a station on each.
func looped(d *Driver, cables int, cfg WireConfig) (a, b *switched, wires []*Wire) {
	a, b = newSwitched(d, 1), newSwitched(d, 1)
	for range cables {
		w := d.NewWire("loop", cfg)
		a.AddPort("loop", w.A)
		b.AddPort("loop", w.B)
		wires = append(wires, w)
	}
	return a, b, wires
}

// broadcast sends a broadcast from the station of a bridge.
func (s *switched) broadcast() {
	s.d.Do(func() {
		f := s.d.NewFrame(60)
		PutEthernet(f.Bytes(), Broadcast, mac(1), 0x0800)
		s.far[0].Send(f)
	})
}

// A ring without a spanning tree, of ideal cables: a broadcast would go round for
// ever in no time. It is stopped, and what was meant to go on goes on.
func TestLoopOfIdealCables(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		a, b, wires := looped(d, 2, WireConfig{})
		a.broadcast()
		d.Sleep(0)
		d.Do(func() {
			equal(t, "frames stopped, one each way round", a.Point().Drops(DropLoop)+b.Point().Drops(DropLoop), 2)
			equal(t, "frames left", d.LiveFrames(), 0)
			equal(t, "copies that the other station got, at least", min(len(b.sinks[0].got), maxBridged/2), maxBridged/2)
			wires[1].SetUp(false)
		})
		d.Sleep(time.Second)
		b.sinks[0].got = nil
		a.broadcast()
		d.Sleep(0)
		want(t, "one cable is no loop", b.sinks[0].got, "1>255")
	})
}

// With three cables each round doubles the frames: memory is bounded, and the
// storm ends.
func TestStormIsBounded(t *testing.T) {
	for name, cfg := range map[string]WireConfig{"ideal cables": {}, "cables that take time": {Latency: time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *Driver) {
				const maxLive = 1 << 10
				d.maxLive = maxLive
				a, b, wires := looped(d, 3, cfg)
				most := 0
				for _, s := range []*switched{a, b} {
					s.far[0].Bind(func(f *Frame) { most = max(most, d.LiveFrames()); f.Release() })
				}
				a.broadcast()
				d.Sleep(20 * time.Millisecond)
				if most < maxLive/2 || most > maxLive+3 {
					t.Errorf("%d frames at once, want about %d and no more", most, maxLive)
				}
				d.Do(func() {
					if a.Point().Drops(DropStorm)+b.Point().Drops(DropStorm) == 0 {
						t.Error("nothing was dropped for the storm")
					}
					wires[1].SetUp(false)
					wires[2].SetUp(false)
				})
				d.Sleep(time.Second)
				arrived := 0
				b.far[0].Bind(func(f *Frame) { arrived++; f.Release() })
				a.broadcast()
				d.Sleep(time.Second)
				equal(t, "broadcasts that arrive when the loop is open", arrived, 1)
			})
		})
	}
}

// A frame that passes many bridges, but each at another time, is in no loop: on
// cables that take time a ring goes on until somebody opens it.
func TestLoopThatTakesTimeGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		a, b, wires := looped(d, 2, WireConfig{Latency: time.Millisecond})
		a.broadcast()
		d.Sleep(5 * time.Second)
		d.Do(func() {
			equal(t, "frames that go round, one each way", d.LiveFrames(), 2)
			equal(t, "stopped", a.Point().Drops(DropLoop)+b.Point().Drops(DropLoop), 0)
			wires[0].SetUp(false)
		})
		d.Sleep(time.Second)
		d.Do(func() { equal(t, "frames when the ring is open", d.LiveFrames(), 0) })
	})
}
