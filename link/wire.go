package link

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// WireConfig describes one direction of a cable. The zero value is an ideal
// cable: no delay, no limit, no loss.
type WireConfig struct {
	Latency time.Duration // from the last bit sent to the last bit received
	Rate    int64         // bit/s on the medium; 0 means unlimited
	Queue   int           // frames that may wait for a rated cable; 0 means 1000, Linux' txqueuelen
	MTU     int           // largest payload of a frame in bytes; 0 means unlimited
	Loss    float64       // probability that a frame is lost, 0 to 1
}

// Validate reports a setting that no cable can have.
func (c WireConfig) Validate() error {
	switch {
	case c.Latency < 0:
		return fmt.Errorf("link: wire: latency %v, want 0 or more", c.Latency)
	case c.Rate < 0:
		return fmt.Errorf("link: wire: rate %d bit/s, want 0 or more", c.Rate)
	case c.Queue < 0:
		return fmt.Errorf("link: wire: queue of %d frames, want 0 or more", c.Queue)
	case c.MTU < 0:
		return fmt.Errorf("link: wire: MTU %d, want 0 or more", c.MTU)
	case !(c.Loss >= 0 && c.Loss <= 1):
		return fmt.Errorf("link: wire: loss %v, want 0 to 1", c.Loss)
	}
	return nil
}

// FrameOverhead is what a frame takes on the medium beyond its own bytes:
// preamble and start delimiter 8, frame check sequence 4, inter-frame gap 12
// (IEEE 802.3 §3.1.1, §4.4.2). A rated wire counts it, as real cables do.
const FrameOverhead = 24

// A Wire is a cable with two ends and two independent directions. Frames keep
// their order. Settings may change while frames are on their way; those that
// have left keep the old ones, except that pulling the cable loses them.
type Wire struct {
	Name string
	A, B *Port

	ab, ba direction
}

// direction is one way of a wire.
type direction struct {
	drv    *Driver
	cfg    WireConfig
	rng    *rand.Rand
	source uint32
	to     *Port
	point  *Point
	down   bool
	pulls  uint32              // how often the cable was pulled
	free   time.Duration       // when the transmitter has nothing left to send
	queue  fifo[time.Duration] // when each waiting frame will have been sent
	flight fifo[uint32]        // pulls, as each frame in flight was handed over
	timed  int                 // frames in flight that are events
	last   time.Duration       // when the latest of them arrives; none overtakes it
}

// NewWire returns a cable. Both directions start with cfg, which must be valid.
func (d *Driver) NewWire(name string, cfg WireConfig) *Wire {
	w := &Wire{Name: name}
	w.A, w.B = d.NewPort(name+" A", nil), d.NewPort(name+" B", nil)
	w.ab.init(d, name+" A->B", cfg, w.B)
	w.ba.init(d, name+" B->A", cfg, w.A)
	w.A.send, w.B.send = w.ab.send, w.ba.send
	return w
}

func (x *direction) init(d *Driver, name string, cfg WireConfig, to *Port) {
	h := fnv.New64a()
	h.Write([]byte(name))
	*x = direction{
		drv: d, cfg: cfg, source: d.NewSource(), to: to,
		point: d.NewPoint(name, LinkEthernet),
		rng:   rand.New(rand.NewPCG(d.seed, h.Sum64())),
	}
}

// Set changes both directions.
func (w *Wire) Set(cfg WireConfig) { w.ab.cfg, w.ba.cfg = cfg, cfg }

// SetAB changes the direction from A to B, SetBA the other one.
func (w *Wire) SetAB(cfg WireConfig) { w.ab.cfg = cfg }

// SetBA changes the direction from B to A.
func (w *Wire) SetBA(cfg WireConfig) { w.ba.cfg = cfg }

// Config returns the settings from A to B and from B to A.
func (w *Wire) Config() (ab, ba WireConfig) { return w.ab.cfg, w.ba.cfg }

// SetUp plugs the cable in or pulls it. What is in flight when it is pulled is
// lost.
func (w *Wire) SetUp(up bool) {
	w.ab.setUp(up)
	w.ba.setUp(up)
}

// Up reports whether the cable is plugged in.
func (w *Wire) Up() bool { return !w.ab.down }

// Points returns where the drops of each direction are counted.
func (w *Wire) Points() (ab, ba *Point) { return w.ab.point, w.ba.point }

func (x *direction) setUp(up bool) {
	if !up && !x.down {
		x.pulls++
	}
	x.down = !up
}

// send puts f on the cable. Rates count bits on the medium; a frame that finds
// the queue full is dropped at its tail.
func (x *direction) send(f *Frame) {
	switch {
	case x.down:
		x.point.Drop(f, DropLinkDown)
		return
	case x.cfg.MTU > 0 && f.Len()-EthernetHeader > x.cfg.MTU:
		x.point.Drop(f, DropMTU)
		return
	}
	f.Hash = 0 // a flow hash is a host's own business
	sent := x.drv.now
	if x.cfg.Rate > 0 {
		if x.backlog() > x.queueLimit() {
			x.point.Drop(f, DropQueueFull)
			return
		}
		bits := int64(f.Len()+FrameOverhead) * 8
		x.free = max(x.free, x.drv.now) + time.Duration((bits*int64(time.Second)+x.cfg.Rate-1)/x.cfg.Rate)
		sent = x.free
		x.queue.push(sent)
	}
	if x.cfg.Loss > 0 && x.rng.Float64() < x.cfg.Loss {
		x.point.Drop(f, DropLoss)
		return
	}
	x.flight.push(x.pulls)
	at := max(sent+x.cfg.Latency, x.last)
	x.last = at
	if at == x.drv.now && x.timed == 0 {
		x.drv.soon.push(soonItem{wire: x, frame: f})
		return
	}
	x.timed++
	x.drv.heap.push(event{at: at, source: x.source, to: x, frame: f})
}

// backlog returns how many frames are waiting or being sent.
func (x *direction) backlog() int {
	for x.queue.len() > 0 && x.queue.peek() <= x.drv.now {
		x.queue.pop()
	}
	return x.queue.len()
}

func (x *direction) queueLimit() int {
	if x.cfg.Queue > 0 {
		return x.cfg.Queue
	}
	return 1000
}

// arrive is the event at the end of a frame's flight.
func (x *direction) arrive(f *Frame) {
	x.timed--
	x.land(f)
}

// land ends a frame's flight.
func (x *direction) land(f *Frame) {
	if pulls := x.flight.pop(); pulls != x.pulls {
		x.point.Drop(f, DropLinkDown)
		return
	}
	x.to.deliver(f)
}
