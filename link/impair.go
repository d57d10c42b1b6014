package link

import "time"

// impair is fly for a cable that does more to a frame than delay it.
func (x *direction) impair(f *Frame, sent time.Duration) {
	c := &x.cfg
	if c.LossBurst != (GilbertElliott{}) && c.LossBurst.lose(&x.bad, x.rng) || x.lostByTrace() {
		x.point.Drop(f, DropLoss)
		return
	}
	var twin *Frame
	if c.Duplicate > 0 && x.rng.Float64() < c.Duplicate {
		twin = x.drv.Clone(f)
	}
	if c.Corrupt > 0 && x.rng.Float64() < c.Corrupt && f.Len() > 0 {
		f.Bytes()[x.rng.IntN(f.Len())] ^= 1 << x.rng.IntN(8)
		f.Intact = false
	}
	if c.Reorder > 0 && x.rng.Float64() < c.Reorder {
		x.overtake(f, sent)
	} else {
		late := max(0, c.Latency+c.Jitter.sample(&x.delayAt, x.rng))
		x.arriveAt(f, max(sent+late, x.last))
	}
	if twin != nil {
		x.arriveAt(twin, max(sent, x.last))
	}
}

// lostByTrace plays the next entry of the loss trace.
func (x *direction) lostByTrace() bool {
	t := x.cfg.LossTrace
	if t == nil {
		return false
	}
	lost := t.Lost[x.lossAt%len(t.Lost)]
	x.lossAt++
	return lost
}

// overtake lets f arrive as soon as it is sent, ahead of what is in flight.
func (x *direction) overtake(f *Frame, sent time.Duration) {
	f.pulls = x.pulls
	x.timed++
	x.drv.heap.push(event{at: sent, source: x.source, to: x, frame: f})
}
