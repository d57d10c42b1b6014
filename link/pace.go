package link

import (
	"math"
	"time"
)

// A pacer is a transmitter of limited rate: it says when each frame will have
// left. It counts in nanoseconds and carries what a frame takes beyond a whole
// one, so that a rate is exact over any number of frames.
//
// A token bucket is the same thing that may run ahead: a bucket of B bytes that
// fills at the rate lets a frame leave B bytes' time before its last bit would
// have left a plain transmitter.
type pacer struct {
	rate  int64         // bit/s; 0 means unlimited
	ahead time.Duration // how long a full bucket lasts

	end  time.Duration // when all that was accepted would have been sent bit by bit, rounded down
	part int64         // what end leaves out, in rate-ths of a nanosecond
}

// set changes the rate and the bucket's size in bytes.
func (p *pacer) set(rate int64, burst int) {
	if rate != p.rate && p.part > 0 {
		p.end, p.part = p.end+1, 0
	}
	p.rate, p.ahead = rate, 0
	if rate > 0 && burst > 0 {
		ns := math.Floor(float64(burst) * 8e9 / float64(rate))
		p.ahead = time.Duration(min(ns, float64(forever/4)))
	}
}

// take accepts a frame of so many bytes, the medium's overhead included, and
// returns when its last bit leaves.
func (p *pacer) take(now time.Duration, bytes int) time.Duration {
	if p.end < now {
		p.end, p.part = now, 0
	}
	sum := int64(bytes)*8*int64(time.Second) + p.part
	p.end += time.Duration(sum / p.rate)
	p.part = sum % p.rate
	return max(now, p.busyUntil())
}

// busyUntil returns when the transmitter can begin with another frame.
func (p *pacer) busyUntil() time.Duration {
	end := p.end - p.ahead
	if p.part > 0 {
		end++
	}
	return end
}
