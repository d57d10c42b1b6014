package link

import "time"

// A loop of bridges without a spanning tree carries a broadcast round and round
// for ever, and where there is more than one way round, more and more of them.
// On cables that take time that is what happens here too, as in a real network.
// On ideal ones it would all be in one instant, which would never end; and memory
// is finite in any case. Hence two limits that no network without a loop meets.

// maxBridged is how many bridges a frame may pass at one instant. Spanning tree
// protocols allow 20 in a row (IEEE 802.1D §8.10.2, the greatest Max Age); what
// routers send on counts on, up to its TTL.
const maxBridged = 1 << 10

// maxLive is how many frames may exist before bridges stop copying: half a
// gigabyte of them.
const maxLive = 1 << 18

// loopGuard counts how often a frame has been bridged at one instant.
type loopGuard struct {
	at      time.Duration
	bridged int
}

// goesRound counts one more bridge and reports whether it is one too many.
func (f *Frame) goesRound(now time.Duration) bool {
	if f.loop.at != now {
		f.loop = loopGuard{at: now}
	}
	f.loop.bridged++
	return f.loop.bridged > maxBridged
}

// storming reports whether there are too many frames for another flood. Once
// there are, no bridge floods until time has moved on, so that the storm ends
// with the frames that are there.
func (d *Driver) storming() bool {
	if d.LiveFrames() >= d.maxLive {
		d.storm, d.stormed = d.now, true
	}
	return d.stormed && d.storm == d.now
}
