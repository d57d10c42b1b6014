package link

import (
	"math"
	"testing"
	"time"
)

// million is how many frames the statistics are taken over.
const million = 1_000_000

// play sends a million numbered frames over a cable, one per microsecond, and
// calls got for each that arrives. It turns the driver's wheel itself: a million
// jumps of a bubble's clock would take seconds.
func play(t *testing.T, cfg WireConfig, got func(n int, at time.Duration)) {
	t.Helper()
	d := NewDriver(DriverConfig{Seed: 1})
	defer d.Close()
	d.mu.Lock() // the driver's own goroutine waits here
	defer d.mu.Unlock()
	start := d.now
	w := d.NewWire("w", cfg)
	w.B.Bind(func(f *Frame) {
		b := f.Bytes()
		got(int(b[0])<<24|int(b[1])<<16|int(b[2])<<8|int(b[3]), d.Now()-start)
		f.Release()
	})
	until := func(at time.Duration) {
		for d.soon.len() > 0 || d.heap.due(at) {
			d.now = max(d.now, min(at, d.heap.next()))
			d.run()
		}
		d.now = at
	}
	for n := range million {
		until(start + time.Duration(n)*time.Microsecond)
		f := d.NewFrame(64)
		copy(f.Bytes(), []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		w.A.Send(f)
	}
	until(d.now + time.Hour)
	equal(t, "frames never released", d.LiveFrames(), 0)
}

// fits fails the test unless counts agree with probabilities by Pearson's
// chi-square test at 1 %. The last class takes what is left of both.
func fits(t *testing.T, what string, counts []int, share []float64) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	rest := 1.0
	for _, p := range share {
		rest -= p
	}
	if rest > 1e-9 {
		share = append(share, rest)
	}
	if len(counts) != len(share) {
		t.Fatalf("%s: %d classes, want %d", what, len(counts), len(share))
	}
	chi := 0.0
	for i, n := range counts {
		want := share[i] * float64(total)
		chi += (float64(n) - want) * (float64(n) - want) / want
	}
	if limit := chiSquare99(len(counts) - 1); chi > limit {
		t.Errorf("%s: chi-square %.2f over %d degrees of freedom, want at most %.2f: counts %v, shares %.5v", what, chi, len(counts)-1, limit, counts, share)
	}
}

// chiSquare99 is the 99 % quantile of the chi-square distribution, by the
// approximation of Wilson and Hilferty (1931), good to a percent.
func chiSquare99(freedom int) float64 {
	if freedom == 1 {
		return 6.635 // where the approximation is worst
	}
	k := 2 / (9 * float64(freedom))
	return float64(freedom) * math.Pow(1-k+2.326348*math.Sqrt(k), 3)
}

// TestLossIsBinomial: each frame by itself, so that runs of losses are
// geometric.
func TestLossIsBinomial(t *testing.T) {
	for _, p := range []float64{0.001, 0.05, 0.5} {
		runs, next, lost := make([]int, 3), 0, 0
		play(t, WireConfig{Loss: p}, func(n int, _ time.Duration) {
			if gap := n - next; gap > 0 {
				lost += gap
				runs[min(gap, len(runs))-1]++
			}
			next = n + 1
		})
		lost += million - next
		fits(t, "lost", []int{lost, million - lost}, []float64{p, 1 - p})
		if p >= 0.05 {
			fits(t, "runs", runs, []float64{1 - p, p * (1 - p)})
		}
	}
}

// TestBurstsAreGeometric: in the bad state everything is lost, so the length
// of a burst is the time to leave it, and the gaps between bursts are the time
// to enter it.
func TestBurstsAreGeometric(t *testing.T) {
	const enter, leave = 0.02, 0.25
	bursts, gaps := make([]int, 12), make([]int, 4)
	next, start, lost := 0, 0, 0
	play(t, WireConfig{LossBurst: GilbertElliott{Enter: enter, Leave: leave}}, func(n int, _ time.Duration) {
		if burst := n - next; burst > 0 {
			lost += burst
			bursts[min(burst, len(bursts))-1]++
			gaps[min((next-start-1)/25, len(gaps)-1)]++
			start = n
		}
		next = n + 1
	})
	var lengths []float64
	for n := range len(bursts) - 1 {
		lengths = append(lengths, leave*math.Pow(1-leave, float64(n)))
	}
	fits(t, "burst lengths", bursts, lengths)
	in25 := 1 - math.Pow(1-enter, 25)
	fits(t, "gaps", gaps, []float64{in25, (1 - in25) * in25, (1 - in25) * (1 - in25) * in25})
	want := enter / (enter + leave) // frames are not independent: the share is checked to a standard deviation or three
	if got := float64(lost) / million; math.Abs(got-want) > 0.0025 {
		t.Errorf("lost %.4f of all frames, want %.4f", got, want)
	}
}

func TestElliottLosesInBothStates(t *testing.T) {
	const enter, leave, bad, good = 0.01, 0.01, 0.5, 0.1
	arrived := 0
	play(t, WireConfig{LossBurst: GilbertElliott{Enter: enter, Leave: leave, Bad: bad, Good: good}}, func(int, time.Duration) { arrived++ })
	// The states change slowly: 10,000 stays of each give the share to 1 %.
	if lost := 1 - float64(arrived)/million; math.Abs(lost-(bad+good)/2) > 0.01 {
		t.Errorf("lost %.4f of all frames, want %.4f", lost, (bad+good)/2)
	}
}

func TestDuplicationIsBinomial(t *testing.T) {
	const p = 0.03
	arrived := make([]byte, million)
	play(t, WireConfig{Duplicate: p}, func(n int, _ time.Duration) { arrived[n]++ })
	counts := make([]int, 3)
	for _, n := range arrived {
		counts[n]++
	}
	if counts[0] != 0 {
		t.Errorf("%d frames lost, want none", counts[0])
	}
	fits(t, "duplicates", counts[1:], []float64{1 - p, p})
}

func TestReorderingIsBinomial(t *testing.T) {
	const p, latency = 0.02, 10 * time.Microsecond
	early := 0
	play(t, WireConfig{Latency: latency, Reorder: p}, func(n int, at time.Duration) {
		switch took := at - time.Duration(n)*time.Microsecond; took {
		case 0:
			early++
		case latency:
		default:
			t.Fatalf("frame %d took %v, want 0 or %v", n, took, latency)
		}
	})
	fits(t, "early frames", []int{early, million - early}, []float64{p, 1 - p})
}

// TestJitterFollowsItsShape compares the delays with the distribution
// functions. Spread is small against the distance of the frames, so that none
// waits for another.
func TestJitterFollowsItsShape(t *testing.T) {
	const latency, spread = 500 * time.Nanosecond, 60 * time.Nanosecond
	normal := func(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
	pareto := func(x float64) float64 {
		if x = x*paretoDeviation + paretoMean; x <= 1 {
			return 0
		}
		return 1 - math.Pow(x, -paretoShape)
	}
	for shape, cdf := range map[JitterShape]func(float64) float64{
		UniformJitter: func(x float64) float64 { return min(1, max(0, (x+1)/2)) },
		NormalJitter:  normal,
		ParetoJitter:  pareto,
	} {
		t.Run(shape.String(), func(t *testing.T) {
			// Classes of 20 ns. Delays are cut to whole nanoseconds, so the
			// edges lie between them.
			edge := func(i int) float64 { return (float64(i*20-40) + 0.5) / float64(spread) }
			counts := make([]int, 6)
			play(t, WireConfig{Latency: latency, Jitter: Jitter{Spread: spread, Shape: shape}}, func(n int, at time.Duration) {
				x := float64(at-time.Duration(n)*time.Microsecond-latency) / float64(spread)
				i := 0
				for i < len(counts)-1 && x > edge(i) {
					i++
				}
				counts[i]++
			})
			var share []float64
			below := 0.0
			for i := range len(counts) - 1 {
				// time.Duration(x) cuts towards zero: what lies beyond the edge by
				// less than half a nanosecond is on the other side of it.
				at := edge(i)
				if at > 0 {
					at += 0.5 / float64(spread)
				} else {
					at -= 0.5 / float64(spread)
				}
				share = append(share, cdf(at)-below)
				below = cdf(at)
			}
			fits(t, shape.String(), counts, share)
		})
	}
}
