package link

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestREDCurve holds the share of frames that are hit against tc-red(8) and the
// kernel's red.h: p rises from 0 at min to the probability at max, and the frames
// from one hit to the next are 1 to 1/p, all equally likely.
func TestREDCurve(t *testing.T) {
	a := AQM{Kind: RED, Min: 10_000, Max: 20_000, Probability: 0.2}
	rng := rand.New(rand.NewPCG(1, 2))
	for tenth := 1; tenth < 10; tenth++ {
		r := red{avg: 10_000 + 1000*float64(tenth)}
		hits := 0
		const frames = 200_000
		for range frames {
			if r.arrive(a, int(r.avg), 0, 1e9, rng) {
				hits++
			}
		}
		p := 0.02 * float64(tenth)
		n := math.Ceil(1/p - 1e-9) // the gap, uniform but for the rest of the last step
		mean := n - p*n*(n-1)/2
		want := frames / mean
		// The gaps' deviation is 1/(p sqrt(12)); four of them is one in 16,000.
		if dev := math.Sqrt(want) / (p * math.Sqrt(12)) / mean; math.Abs(float64(hits)-want) > 4*dev+1 {
			t.Errorf("at %d tenths: %d of %d frames hit, want %.0f", tenth, hits, frames, want)
		}
	}
}

// TestREDGapsAreUniform: chi-square of the gaps at p = 0.05, 19 degrees of freedom,
// at 1 %.
func TestREDGapsAreUniform(t *testing.T) {
	a := AQM{Kind: RED, Min: 10_000, Max: 20_000, Probability: 0.1}
	rng := rand.New(rand.NewPCG(3, 4))
	r := red{avg: 15_000}
	var gaps [21]int
	gap, hits := 0, 0
	for hits < 20_000 {
		gap++
		if !r.arrive(a, 15_000, 0, 1e9, rng) {
			continue
		}
		if gap > 20 {
			t.Fatalf("gap of %d frames, want at most 20", gap)
		}
		gaps[gap]++
		gap, hits = 0, hits+1
	}
	chi := 0.0
	for _, n := range gaps[1:] {
		chi += (float64(n) - 1000) * (float64(n) - 1000) / 1000
	}
	if chi > 36.19 {
		t.Errorf("chi-square %.1f, want at most 36.19: gaps %v", chi, gaps[1:])
	}
}

// TestREDAverage: w_q of each new backlog, and over a pause as much of the old as
// the frames that could have been sent would have left; the first frame above min
// is never hit.
func TestREDAverage(t *testing.T) {
	a := AQM{Kind: RED, Min: 10_000, Max: 20_000, Probability: 1}
	rng := rand.New(rand.NewPCG(5, 6))
	var r red
	for range 1000 {
		r.arrive(a, 5000, 0, 1e9, rng)
	}
	if want := 5000 * (1 - math.Pow(1-redWeight, 1000)); math.Abs(r.avg-want) > 1e-6 {
		t.Errorf("average %.3f after a thousand frames, want %.3f", r.avg, want)
	}
	old := r.avg
	r.arrive(a, 0, 123*time.Millisecond, 8e6, rng) // 123 frames of 1,000 bytes
	if want := old * math.Pow(1-redWeight, 123); math.Abs(r.avg-want) > 1e-6 {
		t.Errorf("average %.3f after a pause, want %.3f", r.avg, want)
	}
	r = red{avg: 19_999, count: -1}
	if r.arrive(a, 19_999, 0, 1e9, rng) {
		t.Error("the first frame above min was hit, want the next at the earliest")
	}
}
