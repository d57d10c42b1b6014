package link

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// FrameOverhead is what a frame takes on the medium beyond its own bytes:
// preamble and start delimiter 8, frame check sequence 4, inter-frame gap 12
// (IEEE 802.3 §3.1.1, §4.4.2). A rated wire counts it, as real cables do.
const FrameOverhead = 24

// A Wire is a cable with two ends and two independent directions. Frames keep
// their order, unless a direction reorders them. Settings may change while
// frames are on their way; those that have left keep the old ones, except that
// pulling the cable loses them. So does a frame that waits in a queue that
// drops at its tail: when it leaves was settled when it came.
type Wire struct {
	Name string
	A, B *Port

	ab, ba direction
}

// direction is one way of a wire. What every frame needs comes first, to share
// few cache lines.
type direction struct {
	drv       *Driver
	down      bool
	impaired  bool  // cfg has more than the fast path knows
	early     bool  // cfg asks for RED
	queue     queue // nil unless frames are held back to be chosen from
	mtu       int   // copies of cfg
	latency   time.Duration
	loss      float64
	timed     int           // frames in flight that are events
	last      time.Duration // when the latest of them arrives; none overtakes it
	pulls     uint32        // how often the cable was pulled
	source    uint32
	delivered uint64
	to        *Port
	rng       *rand.Rand
	point     *Point

	pace                pacer
	maxFrames, maxBytes int        // that may wait
	leaving             fifo[sent] // frames that have a time to leave, up to the one being sent
	leavingBytes        int

	cfg     WireConfig
	held    held   // what queue holds
	next    *Timer // runs pump when the transmitter is free
	red     red
	bad     bool // state of cfg.LossBurst
	lossAt  int  // next entry of cfg.LossTrace
	delayAt int  // next entry of cfg.Jitter.Trace
	marked  uint64
}

// NewWire returns a cable. Both directions start with cfg, which must be valid.
func (d *Driver) NewWire(name string, cfg WireConfig) *Wire {
	w := &Wire{Name: name}
	w.A, w.B = d.NewPort(name+" A", nil), d.NewPort(name+" B", nil)
	w.ab.init(d, name+" A->B", cfg, w.B)
	w.ba.init(d, name+" B->A", cfg, w.A)
	w.A.send, w.B.send = w.ab.send, w.ba.send
	w.A.cabled, w.B.cabled = true, true
	return w
}

func (x *direction) init(d *Driver, name string, cfg WireConfig, to *Port) {
	h := fnv.New64a()
	h.Write([]byte(name))
	*x = direction{
		drv: d, source: d.NewSource(), to: to,
		point: d.NewPoint(name, LinkEthernet),
		rng:   rand.New(rand.NewPCG(d.seed, h.Sum64())),
	}
	x.set(cfg)
}

// Set changes both directions at once. The settings must be valid.
func (w *Wire) Set(cfg WireConfig) {
	w.ab.set(cfg)
	w.ba.set(cfg)
}

// SetAB changes the direction from A to B, SetBA the other one.
func (w *Wire) SetAB(cfg WireConfig) { w.ab.set(cfg) }

// SetBA changes the direction from B to A.
func (w *Wire) SetBA(cfg WireConfig) { w.ba.set(cfg) }

// Config returns the settings from A to B and from B to A.
func (w *Wire) Config() (ab, ba WireConfig) { return w.ab.cfg, w.ba.cfg }

// SetUp plugs the cable in or pulls it. What is in flight when it is pulled is
// lost, and so is what waits to be sent.
func (w *Wire) SetUp(up bool) {
	w.ab.setUp(up)
	w.ba.setUp(up)
}

// Up reports whether the cable is plugged in.
func (w *Wire) Up() bool { return !w.ab.down }

// Points returns where the drops of each direction are counted.
func (w *Wire) Points() (ab, ba *Point) { return w.ab.point, w.ba.point }

// WireStats is what one direction of a cable has done so far.
type WireStats struct {
	Delivered   uint64 // frames that arrived, duplicates included
	Marked      uint64 // frames that were marked as having met congestion
	Queued      int    // frames that wait now, without the one being sent
	QueuedBytes int
}

// Stats returns what each direction has done; drops are counted at [Wire.Points].
func (w *Wire) Stats() (ab, ba WireStats) { return w.ab.stats(), w.ba.stats() }

func (x *direction) stats() WireStats {
	frames, bytes := x.backlog()
	if frames > 0 { // the first is being sent
		frames, bytes = frames-1, bytes-x.leaving.peek().bytes
	}
	return WireStats{Delivered: x.delivered, Marked: x.marked, Queued: frames + x.held.frames, QueuedBytes: bytes + x.held.bytes}
}

// set changes the settings. Frames that wait in a queue move to the new one;
// traces begin again.
func (x *direction) set(cfg WireConfig) {
	old := x.cfg
	x.cfg = cfg
	x.mtu, x.latency, x.loss, x.early = cfg.MTU, cfg.Latency, cfg.Loss, cfg.AQM.Kind == RED
	x.maxFrames, x.maxBytes = cfg.queueLimits()
	x.pace.set(cfg.Rate, cfg.Burst)
	x.impaired = cfg.hasImpairment()
	if cfg.AQM != old.AQM {
		x.red = red{}
	}
	if cfg.LossTrace != old.LossTrace {
		x.lossAt = 0
	}
	if cfg.Jitter.Trace != old.Jitter.Trace {
		x.delayAt = 0
	}
	if x.queue != nil || cfg.AQM.Kind >= CoDel {
		x.changeQueue(cfg.AQM != old.AQM || (cfg.Rate == 0) != (old.Rate == 0))
	}
}

// changeQueue moves what waits to the queue that the settings ask for, and
// looks again at when the transmitter is free.
func (x *direction) changeQueue(other bool) {
	var waiting []*Frame
	if other {
		if x.queue != nil {
			waiting = x.queue.drain()
		}
		x.queue = x.newQueue()
	}
	if x.next != nil {
		x.next.Stop()
	}
	for _, f := range waiting {
		if x.pace.rate > 0 {
			x.admit(f)
		} else {
			x.fly(f, x.drv.now)
		}
	}
	if x.queue != nil {
		x.pump()
	}
}

func (x *direction) setUp(up bool) {
	if !up && !x.down {
		x.pulls++
		if x.queue != nil {
			for _, f := range x.queue.drain() {
				x.point.Drop(f, DropLinkDown)
			}
		}
	}
	x.down = !up
}

// send puts f on the cable.
func (x *direction) send(f *Frame) {
	switch {
	case x.down:
		x.point.Drop(f, DropLinkDown)
		return
	case x.mtu > 0 && f.Len()-EthernetHeader > x.mtu:
		x.point.Drop(f, DropMTU)
		return
	}
	f.Hash, f.Core = 0, 0 // a host's own business
	if x.pace.rate > 0 {
		x.admit(f)
		return
	}
	x.fly(f, x.drv.now)
}

// fly puts f on the medium; its last bit leaves at the given time.
func (x *direction) fly(f *Frame, sent time.Duration) {
	if x.loss > 0 && x.rng.Float64() < x.loss {
		x.point.Drop(f, DropLoss)
		return
	}
	if x.impaired {
		x.impair(f, sent)
		return
	}
	x.arriveAt(f, max(sent+x.latency, x.last))
}

// arriveAt lets f arrive at a time, behind all that was sent before it.
func (x *direction) arriveAt(f *Frame, at time.Duration) {
	f.pulls = x.pulls
	x.last = at
	if at == x.drv.now && x.timed == 0 {
		x.drv.soon.push(soonItem{wire: x, frame: f})
		return
	}
	x.timed++
	x.drv.heap.push(event{at: at, source: x.source, to: x, frame: f})
}

// arrive is the event at the end of a frame's flight.
func (x *direction) arrive(f *Frame) {
	x.timed--
	x.land(f)
}

// land ends a frame's flight.
func (x *direction) land(f *Frame) {
	if f.pulls != x.pulls {
		x.point.Drop(f, DropLinkDown)
		return
	}
	x.delivered++
	x.to.deliver(f)
}
