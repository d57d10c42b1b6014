package link

import (
	"fmt"
	"testing"
)

type keeper struct{ got []string }

func (k *keeper) Observe(o *Observation) {
	k.got = append(k.got, fmt.Sprintf("%s %v %d %s %q %q", o.Point.Name, o.Direction, o.ID, o.Bytes, o.Note, o.Drop))
}

func TestPoint(t *testing.T) {
	d := newPool()
	p := d.NewPoint("n/eth0", LinkEthernet)
	f := d.text("data")
	f.ID, f.Note = 7, "DNAT"
	p.Pass(f, In)
	equal(t, "the note waits for somebody who watches", f.Note, "DNAT")
	k, other := &keeper{}, &keeper{}
	p.Watch(k)
	p.Watch(other)
	equal(t, "watched", p.Watched() && d.Watching(), true)
	p.Pass(f, Out)
	p.Pass(f, In)
	p.Unwatch(other)
	p.Unwatch(other)
	p.Drop(f, DropLoss)
	want(t, "seen", k.got, `n/eth0 out 7 data "DNAT" ""`, `n/eth0 in 7 data "" ""`, `n/eth0 - 7 data "" "lost on the cable"`)
	equal(t, "seen by the other", len(other.got), 2)
	equal(t, "drops", p.Drops(DropLoss), 1)
	p.EachDrop(func(why Reason, n uint64) { equal(t, string(why), n, 1) })
	p.Unwatch(k)
	equal(t, "watched", p.Watched() || d.Watching(), false)
	equal(t, "live frames", d.LiveFrames(), 0)
}

// TestPathAllocatesNothing: a frame's way over a cable and a bridge.
func TestPathAllocatesNothing(t *testing.T) {
	for name, cfg := range map[string]WireConfig{"ideal": {}, "latency": {Latency: 1000}, "rate": {Rate: 1e9, Latency: 1000}} {
		t.Run(name, func(t *testing.T) {
			d := newPool()
			send, delivered := bridgePath(d, cfg)
			for range 100 {
				send()
			}
			before := *delivered
			if n := testing.AllocsPerRun(100, send); n != 0 {
				t.Errorf("%v allocations per frame, want 0", n)
			}
			equal(t, "frames delivered", *delivered-before, 101)
			equal(t, "live frames", d.LiveFrames(), 0)
		})
	}
}

// bridgePath returns a function that sends one frame over a cable, through a
// bridge and over a second cable, and runs the driver until it has arrived.
func bridgePath(d *Driver, cfg WireConfig) (send func(), delivered *int) {
	delivered = new(int)
	in, out := d.NewWire("in", cfg), d.NewWire("out", cfg)
	b := d.NewBridge("br0")
	b.AddPort("1", in.B)
	b.AddStatic(mac(2), b.AddPort("2", out.A))
	out.B.Bind(func(f *Frame) { *delivered++; f.Release() })
	return func() {
		f := d.NewFrame(1514)
		PutEthernet(f.Bytes(), mac(2), mac(1), 0x0800)
		in.A.Send(f)
		for d.run(); d.heap.next() != forever; d.run() {
			d.now = d.heap.next()
		}
	}, delivered
}

func BenchmarkPath(b *testing.B) {
	for _, bb := range []struct {
		name string
		cfg  WireConfig
	}{{"ideal", WireConfig{}}, {"latency", WireConfig{Latency: 1000}}, {"rate", WireConfig{Rate: 1e9, Latency: 1000}}} {
		b.Run(bb.name, func(b *testing.B) {
			send, _ := bridgePath(newPool(), bb.cfg)
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}

func BenchmarkFlood(b *testing.B) {
	d := newPool()
	br := d.NewBridge("br0")
	for i := range 110 { // pods of a node
		near, far := d.NewVeth("n", "f")
		br.AddPort(fmt.Sprint(i), near)
		far.Bind((*Frame).Release)
	}
	b.ReportAllocs()
	for b.Loop() {
		f := d.NewFrame(42)
		PutEthernet(f.Bytes(), Broadcast, mac(1), 0x0806)
		br.receive(f, br.ports[0])
		d.run()
	}
}
