package link

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatencyIsExact(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Latency: 1234567 * time.Nanosecond})
		b, a := d.sink(w.B), d.sink(w.A)
		d.Do(func() { w.A.Send(d.text("there")); w.B.Send(d.text("back")) })
		d.Sleep(time.Second)
		want(t, "at B", b.got, "1.234567ms there")
		want(t, "at A", a.got, "1.234567ms back")
	})
}

func TestIdealCableIsOneInstant(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{})
		b := d.sink(w.B)
		d.Do(func() {
			w.A.Send(d.text("1"))
			w.A.Send(d.text("2"))
			equal(t, "delivered within the sender's event", len(b.got), 0)
		})
		d.Sleep(0)
		want(t, "at B", b.got, "0s 1", "0s 2")
	})
}

// TestRate: frames that are sent back to back leave one after the other, each
// with 24 bytes of preamble, check sequence and gap.
func TestRate(t *testing.T) {
	tests := []struct {
		rate  int64
		bytes int
		each  time.Duration
	}{
		{1e9, 1514, 12304 * time.Nanosecond}, // (1514+24)*8 bits
		{1e9, 64, 704 * time.Nanosecond},
		{1e8, 64, 7040 * time.Nanosecond},
		{1000, 14, 304 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.bytes, " bytes at ", tt.rate), func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *Driver) {
				const latency = time.Millisecond
				w := d.NewWire("w", WireConfig{Latency: latency, Rate: tt.rate})
				var at []time.Duration
				w.B.Bind(func(f *Frame) { at = append(at, d.Now()); f.Release() })
				burst := func(n int) {
					d.Do(func() {
						for range n {
							w.A.Send(d.NewFrame(tt.bytes))
						}
					})
				}
				burst(100)
				d.Sleep(tt.each*100 + time.Hour) // the cable falls idle
				idle := d.now
				burst(2)
				d.Sleep(time.Hour)
				equal(t, "frames", len(at), 102)
				for i, got := range at[:100] {
					equal(t, fmt.Sprint("arrival of frame ", i), got, time.Duration(i+1)*tt.each+latency)
				}
				equal(t, "first of the second burst", at[100], idle+tt.each+latency)
				equal(t, "second of the second burst", at[101], idle+2*tt.each+latency)
			})
		})
	}
}

// TestTheTwoDirectionsDoNotShareTheRate: a cable is full duplex.
func TestTheTwoDirectionsDoNotShareTheRate(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{})
		d.Do(func() {
			w.SetAB(WireConfig{Rate: 1e9})
			w.SetBA(WireConfig{Rate: 1e6})
			ab, ba := w.Config()
			equal(t, "rates", fmt.Sprint(ab.Rate, ba.Rate), "1000000000 1000000")
			w.A.Send(d.NewFrame(101))
			w.B.Send(d.NewFrame(101))
		})
		var a, b time.Duration
		w.A.Bind(func(f *Frame) { a = d.Now(); f.Release() })
		w.B.Bind(func(f *Frame) { b = d.Now(); f.Release() })
		d.Sleep(time.Second)
		equal(t, "at B", b, 1000*time.Nanosecond)
		equal(t, "at A", a, time.Millisecond)
	})
}

// TestQueueDropsAtItsTail: one frame is being sent, Queue may wait.
func TestQueueDropsAtItsTail(t *testing.T) {
	for _, queue := range []int{1, 5, 0} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			inBubble(t, func(t *testing.T, d *Driver) {
				w := d.NewWire("w", WireConfig{Rate: 1e9, Queue: queue})
				b := d.sink(w.B)
				fit := queue + 1
				if queue == 0 {
					fit = 1001
				}
				d.Do(func() {
					for i := range fit + 7 {
						w.A.Send(d.text(fmt.Sprintf("%020d", i)))
					}
				})
				d.Sleep(time.Second)
				ab, _ := w.Points()
				equal(t, "arrived", len(b.got), fit)
				equal(t, "dropped", ab.Drops(DropQueueFull), 7)
				if last := b.got[fit-1]; !strings.HasSuffix(last, fmt.Sprintf("%020d", fit-1)) {
					t.Errorf("last to arrive is %s, want number %d", last, fit-1)
				}
				d.Do(func() {
					for range 2 { // room again
						w.A.Send(d.text("x"))
					}
				})
				d.Sleep(time.Second)
				equal(t, "arrived after the queue was empty", len(b.got), fit+2)
			})
		})
	}
}

// TestLoss is a binomial draw that the seed and the cable's name repeat.
func TestLoss(t *testing.T) {
	run := func(seed uint64, name string, loss float64) (pattern string, lost uint64) {
		synctest.Test(t, func(t *testing.T) {
			d := NewDriver(DriverConfig{Settle: synctest.Wait, Seed: seed})
			defer d.Close()
			w := d.NewWire(name, WireConfig{Loss: loss})
			seen := make([]byte, 10000)
			for i := range seen {
				seen[i] = '.'
			}
			w.B.Bind(func(f *Frame) { seen[int(f.Bytes()[0])<<8|int(f.Bytes()[1])] = '#'; f.Release() })
			d.Do(func() {
				for i := range seen {
					w.A.Send(d.text(string([]byte{byte(i >> 8), byte(i)})))
				}
			})
			d.Sleep(0)
			ab, _ := w.Points()
			pattern, lost = string(seen), ab.Drops(DropLoss)
		})
		return pattern, lost
	}
	first, lost := run(1, "w", 0.1)
	if lost < 880 || lost > 1120 { // four standard deviations
		t.Errorf("lost %d of 10000 frames, want 1000 or so", lost)
	}
	again, _ := run(1, "w", 0.1)
	equal(t, "the same again", again == first, true)
	other, _ := run(2, "w", 0.1)
	equal(t, "another seed is the same", other == first, false)
	other, _ = run(1, "x", 0.1)
	equal(t, "another cable is the same", other == first, false)
	_, lost = run(1, "w", 1)
	equal(t, "lost at 1", lost, 10000)
	_, lost = run(1, "w", 0)
	equal(t, "lost at 0", lost, 0)
}

func TestPulledCableLosesWhatIsOnIt(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Latency: 10 * time.Millisecond})
		b := d.sink(w.B)
		send := func(s string) { d.Do(func() { w.A.Send(d.text(s)) }) }
		send("in flight")
		d.Sleep(5 * time.Millisecond)
		d.Do(func() { w.SetUp(false); equal(t, "up", w.Up(), false) })
		send("while it is out")
		d.Do(func() { w.SetUp(true); equal(t, "up", w.Up(), true) })
		send("plugged in at the same instant")
		d.Sleep(4 * time.Millisecond)
		send("later")
		d.Do(func() { w.SetUp(true) }) // was up: changes nothing
		d.Sleep(time.Second)
		want(t, "at B", b.got, "15ms plugged in at the same instant", "19ms later")
		ab, _ := w.Points()
		equal(t, "dropped", ab.Drops(DropLinkDown), 2)
	})
}

func TestOrderIsKeptWhenLatencyShrinks(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Latency: 10 * time.Millisecond})
		b := d.sink(w.B)
		send := func(s string) { d.Do(func() { w.A.Send(d.text(s)) }) }
		send("1")
		d.Do(func() { w.Set(WireConfig{Latency: time.Millisecond}) })
		send("2")
		d.Sleep(time.Millisecond)
		send("3")
		d.Do(func() { w.Set(WireConfig{}) })
		send("4")
		// At the instant at which they all arrive, from an event before theirs.
		d.Do(func() { d.AfterFunc(0, 9*time.Millisecond, func() { w.A.Send(d.text("5")) }) })
		d.Sleep(20 * time.Millisecond)
		send("6")
		d.Sleep(0)
		want(t, "at B", b.got, "10ms 1", "10ms 2", "10ms 3", "10ms 4", "10ms 5", "21ms 6")
	})
}

func TestWireMTU(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{MTU: 1500})
		n := 0
		w.B.Bind(func(f *Frame) { n += f.Len(); f.Release() })
		d.Do(func() { w.A.Send(d.NewFrame(1514)); w.A.Send(d.NewFrame(1515)) })
		d.Sleep(0)
		ab, _ := w.Points()
		equal(t, "bytes that arrived", n, 1514)
		equal(t, "dropped", ab.Drops(DropMTU), 1)
	})
}

func TestWireConfigValidate(t *testing.T) {
	for _, good := range []WireConfig{{}, {Latency: time.Hour, Rate: 1, Queue: 1, MTU: 1, Loss: 1}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	nan := math.NaN()
	for _, bad := range []WireConfig{
		{Latency: -1}, {Rate: -1}, {Queue: -1}, {MTU: -1}, {Loss: -0.1}, {Loss: 1.1}, {Loss: nan},
		{Burst: -1}, {QueueBytes: -1}, {Duplicate: 2}, {Corrupt: nan}, {Reorder: 0.5}, {Reorder: -1, Latency: 1},
		{Jitter: Jitter{Spread: -1}}, {Jitter: Jitter{Shape: 9}}, {Jitter: Jitter{Trace: &DelayTrace{}}},
		{Jitter: Jitter{Trace: &DelayTrace{Delays: []time.Duration{-1}}}},
		{LossBurst: GilbertElliott{Enter: 2}}, {LossBurst: GilbertElliott{Enter: 0.1}}, {LossTrace: &LossTrace{}},
		{AQM: AQM{Kind: 9}}, {AQM: AQM{Kind: CoDel, Target: -1}}, {AQM: AQM{Flows: -1}}, {AQM: AQM{Quantum: -1}},
		{AQM: AQM{Kind: RED, Min: 10, Max: 5}}, {AQM: AQM{Kind: RED, Probability: nan}},
	} {
		if err := bad.Validate(); err == nil || !strings.HasPrefix(err.Error(), "link: wire: ") {
			t.Errorf("%+v: got %v, want an error", bad, err)
		}
	}
}

// TestFlowHashEndsAtTheCable: it is a host's own business.
// TestVethLatency: frames take the time that the driver's configuration says,
// in order, and keep their flow hash.
func TestVethLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDriver(DriverConfig{Settle: synctest.Wait, Veth: 5 * time.Microsecond})
		defer d.Close()
		a, b := d.NewVeth("a", "b")
		atA, atB := d.sink(a), d.sink(b)
		var hash uint32
		d.Do(func() {
			f := d.text("1")
			f.Hash = 77
			a.Send(f)
			a.Send(d.text("2"))
			b.Send(d.text("3"))
		})
		d.Sleep(time.Microsecond)
		d.Do(func() { a.Send(d.text("4")) })
		d.Sleep(time.Millisecond)
		want(t, "at b", atB.got, "5µs 1", "5µs 2", "6µs 4")
		want(t, "at a", atA.got, "5µs 3")
		b.Bind(func(f *Frame) { hash = f.Hash; f.Release() })
		d.Do(func() {
			f := d.text("5")
			f.Hash = 77
			a.Send(f)
		})
		d.Sleep(time.Millisecond)
		equal(t, "flow hash", hash, 77)
	})
}

func TestFlowHashEndsAtTheCable(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{})
		a, b := d.NewVeth("a", "b")
		for _, x := range []struct {
			from, to *Port
			want     uint32
		}{{w.A, w.B, 0}, {a, b, 7}} {
			got := uint32(99)
			x.to.Bind(func(f *Frame) { got = f.Hash; equal(t, "ID", f.ID, 5); f.Release() })
			d.Do(func() {
				f := d.NewFrame(20)
				f.Hash, f.ID = 7, 5
				x.from.Send(f)
			})
			d.Sleep(0)
			equal(t, "hash after "+x.from.Name, got, x.want)
		}
	})
}

func TestPorts(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		a, b := d.NewVeth("a", "b")
		d.Do(func() { a.Send(d.NewFrame(20)) })
		d.Sleep(0)
		equal(t, "nobody is bound", b.Lost().Drops(DropNoPeer), 1)
		s := d.sink(b)
		d.Do(func() { b.SetUp(false); a.Send(d.NewFrame(20)); b.Send(d.NewFrame(20)) })
		d.Sleep(0)
		equal(t, "port that is down", b.Lost().Drops(DropLinkDown), 2)
		d.Do(func() { b.SetUp(true); equal(t, "up", b.Up(), true); a.Send(d.text("x")) })
		d.Sleep(0)
		equal(t, "received", len(s.got), 1)
	})
}
