package link

import (
	"math"
	"math/rand/v2"
	"time"
)

// red is random early detection (S. Floyd, V. Jacobson: Random Early Detection
// Gateways for Congestion Avoidance, 1993), with the names of that paper.
type red struct {
	avg   float64 // moving average of the backlog in bytes
	count int     // frames since the last that was hit; -1 while below min
}

const (
	redWeight      = 0.002 // w_q: the paper's choice
	redMin         = 30_000
	redProbability = 0.02
	redFrame       = 1000 // bytes of a typical frame, by which an idle queue's average fades
)

func (a AQM) min() int {
	if a.Min == 0 {
		return redMin
	}
	return a.Min
}

func (a AQM) max() int {
	if a.Max == 0 {
		return 3 * a.min()
	}
	return a.Max
}

// arrive updates the average for a frame that finds so many bytes waiting, or
// a cable that has been idle for some time, and reports whether the frame is hit.
func (r *red) arrive(a AQM, backlog int, idle time.Duration, rate int64, rng *rand.Rand) bool {
	if backlog == 0 && idle > 0 {
		frames := idle.Seconds() * float64(rate) / (8 * redFrame)
		r.avg *= math.Pow(1-redWeight, frames)
	} else {
		r.avg += float64(redWeight * (float64(backlog) - r.avg))
	}
	low, high := float64(a.min()), float64(a.max())
	switch {
	case r.avg < low:
		r.count = -1
		return false
	case r.avg >= high:
		r.count = 0
		return true
	}
	if r.count++; r.count == 0 {
		return false // Linux begins to count with the first frame above min
	}
	p := a.Probability
	if p == 0 {
		p = redProbability
	}
	p *= (r.avg - low) / (high - low)
	// The paper's method 2, as the kernel has it: the next to be hit is any of the
	// next 1/p frames, all equally likely.
	if before := float64(r.count-1) * p; before < 1 && rng.Float64() >= p/(1-before) {
		return false
	}
	r.count = 0
	return true
}
