package link

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestRateIsExact: what a frame takes beyond a whole nanosecond is carried, so
// that a rate holds over any number of frames. 88 bytes at 10 Gbit/s are 70.4
// ns, at 7 Gbit/s 100 4/7 ns.
func TestRateIsExact(t *testing.T) {
	for _, rate := range []int64{10e9, 7e9, 3, 999_999_937} {
		inBubble(t, func(t *testing.T, d *Driver) {
			w := d.NewWire("w", WireConfig{Rate: rate, Queue: 1 << 20})
			var at []time.Duration
			w.B.Bind(func(f *Frame) { at = append(at, d.Now()); f.Release() })
			d.Do(func() {
				for range 1000 {
					w.A.Send(d.NewFrame(64))
				}
			})
			d.Sleep(200 * time.Hour)
			for i, got := range at {
				bits := int64(i+1) * (64 + FrameOverhead) * 8
				want := time.Duration((bits*int64(time.Second) + rate - 1) / rate) // rounded up
				equal(t, fmt.Sprintf("frame %d at %d bit/s", i, rate), got, want)
			}
			equal(t, "frames", len(at), 1000)
		})
	}
}

// TestTokenBucket: after a pause Burst bytes pass at once, then the rate holds.
// A frame that is larger than the bucket still passes.
func TestTokenBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		const each = 8 * time.Microsecond // 1000 bytes at 1 Gbit/s
		w := d.NewWire("w", WireConfig{Rate: 1e9, Burst: 3000})
		var at []time.Duration
		w.B.Bind(func(f *Frame) { at = append(at, d.Now()); f.Release() })
		burst := func(n, bytes int) {
			d.Do(func() {
				for range n {
					w.A.Send(d.NewFrame(bytes - FrameOverhead))
				}
			})
		}
		burst(5, 1000)
		d.Sleep(time.Second)
		burst(1, 4000)
		burst(1, 1000)
		d.Sleep(time.Second)
		want := []time.Duration{0, 0, 0, each, 2 * each, time.Second + each, time.Second + 2*each}
		for i := range want {
			equal(t, fmt.Sprint("arrival of frame ", i), at[i], want[i])
		}
	})
}

func TestQueueInBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Rate: 1e9, QueueBytes: 1000})
		b := d.sink(w.B)
		d.Do(func() {
			for _, n := range []int{5000, 600, 500, 400, 1} { // the first is being sent
				w.A.Send(d.NewFrame(n))
			}
			ab, _ := w.Stats()
			equal(t, "waiting", fmt.Sprint(ab.Queued, " ", ab.QueuedBytes), "2 1000")
		})
		d.Sleep(time.Second)
		ab, _ := w.Points()
		equal(t, "arrived", len(b.got), 3)
		equal(t, "dropped", ab.Drops(DropQueueFull), 2)
	})
}

// byFirstByte is a classifier for tests: a flow is a frame's first byte, and a
// frame whose second byte is 1 can be marked, with a 2.
type byFirstByte struct{}

func (byFirstByte) FlowHash(b []byte) uint32 { return uint32(b[0]) }
func (byFirstByte) MarkCongestion(b []byte) bool {
	if b[1] == 0 {
		return false
	}
	b[1] = 2
	return true
}

// overload is a cable of 1000 frames per second that is sent 1250 per second of
// one flow, as tracked by f, for some time.
func overload(t *testing.T, cfg WireConfig, ecn byte, lasts time.Duration, f func(d *Driver, w *Wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := NewDriver(DriverConfig{Settle: synctest.Wait, Seed: 1, Classifier: byFirstByte{}})
		defer d.Close()
		cfg.Rate = 8e6
		w := d.NewWire("w", cfg)
		flood(d, w, 1, ecn, 800*time.Microsecond, lasts)
		f(d, w)
		d.Sleep(lasts + time.Hour)
		d.Do(func() { equal(t, "frames never released", d.LiveFrames(), 0) })
	})
}

// flood sends frames of 1000 bytes on the medium at an interval.
func flood(d *Driver, w *Wire, flow, ecn byte, every, lasts time.Duration) {
	d.Do(func() {
		var timer *Timer
		timer = d.AfterFunc(d.NewSource(), 0, func() {
			f := d.NewFrame(1000 - FrameOverhead)
			copy(f.Bytes(), []byte{flow, ecn})
			w.A.Send(f)
			if d.Now() < lasts {
				timer.Reset(every)
			}
		})
	})
}

// watcher keeps what an observer of a point is told.
type watcher func(*Observation)

func (w watcher) Observe(o *Observation) { w(o) }

// TestCoDelDropsBySchedule: the delay of a standing queue passes 5 ms, stays
// there for 100 ms, and then frames are dropped at intervals of 100 ms over the
// root of their number (RFC 8289 §5.3).
func TestCoDelDropsBySchedule(t *testing.T) {
	var drops []time.Duration
	var above time.Duration
	overload(t, WireConfig{AQM: AQM{Kind: CoDel}}, 0, time.Second, func(d *Driver, w *Wire) {
		ab, _ := w.Points()
		ab.Watch(watcher(func(o *Observation) {
			equal(t, "reason", o.Drop, DropCoDel)
			drops = append(drops, o.Time)
		}))
		w.B.Bind(func(f *Frame) { f.Release() })
	})
	// Frame n is sent at n·0.8 ms and leaves the queue at n ms: it waits n·0.2 ms.
	// Number 25 is the first to wait 5 ms.
	above = 25 * time.Millisecond
	if len(drops) < 20 {
		t.Fatalf("%d drops, want 20 or more", len(drops))
	}
	next := above + codelInterval
	for n := range 20 {
		// A frame is dropped when one leaves: at the first millisecond at or after
		// the time of the law.
		want := time.Duration(math.Ceil(float64(next)/1e6)) * time.Millisecond
		equal(t, fmt.Sprint("drop ", n+1), drops[n], want)
		if n == 0 {
			next = want
		}
		next += time.Duration(float64(codelInterval) / math.Sqrt(float64(n+1)))
	}
}

// TestCoDelLeavesAShortQueueAlone: bursts that drain within the interval lose
// nothing.
func TestCoDelLeavesAShortQueueAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Rate: 8e6, AQM: AQM{Kind: CoDel}})
		b := d.sink(w.B)
		for range 5 {
			d.Do(func() {
				for range 90 { // 90 ms
					w.A.Send(d.NewFrame(1000 - FrameOverhead))
				}
			})
			d.Sleep(200 * time.Millisecond)
		}
		equal(t, "arrived", len(b.got), 5*90)
	})
}

// TestECNMarksInsteadOfDropping, for each discipline that can.
func TestECNMarksInsteadOfDropping(t *testing.T) {
	for _, kind := range []AQMKind{RED, CoDel, FQCoDel} {
		for _, can := range []byte{0, 1} {
			t.Run(fmt.Sprint(kind, " ", can), func(t *testing.T) {
				marked := 0
				overload(t, WireConfig{AQM: AQM{Kind: kind, ECN: true, Min: 5000}, Queue: 1 << 20}, can, time.Second, func(d *Driver, w *Wire) {
					w.B.Bind(func(f *Frame) {
						if f.Bytes()[1] == 2 {
							marked++
						}
						f.Release()
					})
					d.Sleep(2 * time.Second)
					d.Do(func() {
						ab, _ := w.Stats()
						point, _ := w.Points()
						dropped := int(point.Drops(DropCoDel) + point.Drops(DropRED))
						equal(t, "marks counted", int(ab.Marked), marked)
						if hit := can == 1; (marked > 5) != hit || (dropped > 5) == hit {
							t.Errorf("%d marked and %d dropped", marked, dropped)
						}
						if can == 1 {
							equal(t, "dropped", dropped, 0)
						}
					})
				})
			})
		}
	}
}

// TestFQCoDelSparesTheSparseFlow: a flow of 100 frames per second shares a cable of
// 1000 with one of 1250. It loses nothing and waits for at most the frame that
// is being sent, where a plain queue makes it wait for all.
func TestFQCoDelSparesTheSparseFlow(t *testing.T) {
	for kind, limit := range map[AQMKind]time.Duration{FQCoDel: 3 * time.Millisecond, DropTail: time.Second} {
		t.Run(kind.String(), func(t *testing.T) {
			var worst time.Duration
			sparse := 0
			overload(t, WireConfig{AQM: AQM{Kind: kind}, Queue: 1 << 20}, 0, 4*time.Second, func(d *Driver, w *Wire) {
				w.B.Bind(func(f *Frame) {
					if b := f.Bytes(); b[0] == 2 {
						sparse++
						sent := time.Duration(sparse-1) * 10 * time.Millisecond
						worst = max(worst, d.Now()-sent)
					}
					f.Release()
				})
				flood(d, w, 2, 0, 10*time.Millisecond, 4*time.Second)
			})
			equal(t, "frames of the sparse flow", sparse, 401)
			if kind == FQCoDel && worst > limit || kind == DropTail && worst < limit/2 {
				t.Errorf("the sparse flow waits up to %v, the limit is %v", worst, limit)
			}
		})
	}
}

// TestFQCoDelShares: three flows that all want everything get a third each, in
// bytes.
func TestFQCoDelShares(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		d.classifier = byFirstByte{}
		w := d.NewWire("w", WireConfig{Rate: 8e6, AQM: AQM{Kind: FQCoDel}})
		bytes := make(map[byte]int)
		w.B.Bind(func(f *Frame) { bytes[f.Bytes()[0]] += f.Len(); f.Release() })
		d.Do(func() {
			for range 2000 {
				for flow, size := range map[byte]int{1: 1400, 2: 700, 3: 100} {
					f := d.NewFrame(size)
					f.Bytes()[0] = flow
					w.A.Send(f)
				}
			}
		})
		d.Sleep(90 * time.Millisecond) // before CoDel acts
		for flow := range byte(3) {
			if got := bytes[flow+1]; got < 26_500 || got > 31_000 {
				t.Errorf("flow %d got %d bytes of %v, want a third", flow+1, got, bytes)
			}
		}
	})
}

// TestFQCoDelShedsTheLongestQueue when it is full.
func TestFQCoDelShedsTheLongestQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		d.classifier = byFirstByte{}
		w := d.NewWire("w", WireConfig{Rate: 8e6, Queue: 100, AQM: AQM{Kind: FQCoDel}})
		got := make(map[byte]int)
		w.B.Bind(func(f *Frame) { got[f.Bytes()[0]]++; f.Release() })
		send := func(flow byte, n int) {
			for range n {
				f := d.NewFrame(900)
				f.Bytes()[0] = flow
				w.A.Send(f)
			}
		}
		d.Do(func() { send(1, 95); send(2, 10) })
		d.Sleep(time.Hour)
		ab, _ := w.Points()
		equal(t, "of the short queue", got[2], 10)
		// One frame was being sent. The hundred-and-first that waits costs the long
		// queue half of its 94.
		equal(t, "dropped", int(ab.Drops(DropQueueFull)), 47)
		equal(t, "of the long queue", got[1], 95-47)
	})
}

// TestREDFollowsItsAverage: no drop below Min, some between Min and Max, all
// above.
func TestREDFollowsItsAverage(t *testing.T) {
	var r red
	a := AQM{Kind: RED, Min: 10_000, Max: 20_000, Probability: 0.1}
	d := NewDriver(DriverConfig{})
	defer d.Close()
	rng := d.NewWire("w", WireConfig{}).ab.rng
	share := func(backlog int) float64 {
		r.avg = float64(backlog) // it stays there
		hits := 0
		for range 20_000 {
			if r.arrive(a, backlog, 0, 1e9, rng) {
				hits++
			}
		}
		return float64(hits) / 20_000
	}
	equal(t, "below min", share(9_999), 0)
	equal(t, "above max", share(20_000), 1)
	// Half-way the probability is 5 %; spreading the drops evenly, as the paper
	// does, makes the mean gap between them (1/p+1)/2 frames.
	if got, want := share(15_000), 2/(1/0.05+1); math.Abs(got-want) > 0.01 {
		t.Errorf("half-way %.4f, want %.4f", got, want)
	}
	r.avg = 20_000
	r.arrive(a, 0, time.Second, 8e6, rng) // a thousand frames' time
	if want := 20_000 * math.Pow(1-redWeight, 1000); math.Abs(r.avg-want) > 1 {
		t.Errorf("average after a pause %.0f, want %.0f", r.avg, want)
	}
}

// TestPullingTheCableEmptiesItsQueue.
func TestPullingTheCableEmptiesItsQueue(t *testing.T) {
	for _, kind := range []AQMKind{DropTail, CoDel, FQCoDel} {
		inBubble(t, func(t *testing.T, d *Driver) {
			w := d.NewWire("w", WireConfig{Rate: 8e6, AQM: AQM{Kind: kind}})
			b := d.sink(w.B)
			d.Do(func() {
				for range 10 {
					w.A.Send(d.NewFrame(1000 - FrameOverhead))
				}
			})
			d.Sleep(2500 * time.Microsecond)
			d.Do(func() { w.SetUp(false); w.SetUp(true); w.A.Send(d.NewFrame(500)) })
			d.Sleep(time.Second)
			ab, _ := w.Points()
			equal(t, kind.String()+" arrived", len(b.got), 3)
			equal(t, kind.String()+" dropped", ab.Drops(DropLinkDown), 8)
		})
	}
}

// TestDisciplinesChangeInMidTraffic: no frame is lost or kept.
func TestDisciplinesChangeInMidTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Rate: 8e6})
		b := d.sink(w.B)
		n := 0
		for _, cfg := range []WireConfig{
			{Rate: 8e6, AQM: AQM{Kind: CoDel}}, {Rate: 4e6, AQM: AQM{Kind: CoDel}}, {Rate: 8e6, AQM: AQM{Kind: FQCoDel}},
			{Rate: 8e6, AQM: AQM{Kind: RED}}, {Rate: 8e6, AQM: AQM{Kind: FQCoDel}}, {}, {Rate: 8e6, Latency: time.Second},
		} {
			d.Do(func() {
				for range 10 {
					w.A.Send(d.text(fmt.Sprintf("%03d%997d", n, 0)))
					n++
				}
				w.Set(cfg)
			})
			d.Sleep(time.Millisecond)
		}
		d.Sleep(time.Minute)
		equal(t, "arrived", len(b.got), n)
	})
}

// TestARateThatGrowsHelpsWhatWaits in a queue that holds its frames.
func TestARateThatGrowsHelpsWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		cfg := WireConfig{Rate: 8e3, AQM: AQM{Kind: FQCoDel}} // a frame per second
		w := d.NewWire("w", cfg)
		var at []time.Duration
		w.B.Bind(func(f *Frame) { at = append(at, d.Now()); f.Release() })
		d.Do(func() {
			for range 3 {
				w.A.Send(d.NewFrame(1000 - FrameOverhead))
			}
		})
		d.Sleep(time.Second / 2)
		cfg.Rate = 8e6
		d.Do(func() { w.Set(cfg) })
		d.Sleep(time.Minute)
		equal(t, "arrivals", fmt.Sprint(at), fmt.Sprint([]time.Duration{time.Second, 1001 * time.Millisecond, 1002 * time.Millisecond}))
	})
}
