package link

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podwire/podwire/internal/bubble"
)

// DriverConfig tells a driver what kind of time it lives in. The zero value is
// real time.
type DriverConfig struct {
	// Settle, when set, makes time virtual: the driver runs in a bubble of
	// testing/synctest, Settle returns once every other goroutine of the bubble
	// is blocked (synctest.Wait), and the clock jumps from event to event.
	Settle func()

	// ByHand makes time virtual without a bubble: the goroutines that the driver has
	// started, and the one that uses it first, take turns, and events happen while all
	// of them wait for the network. It is a second opinion on virtual time, for tests.
	// With it, Settle must be nil.
	ByHand bool

	// Seed is where every random choice of the driver's wires begins.
	Seed uint64

	// Veth is how long a frame takes from one end of a veth pair to the other.
	// Zero is an ideal pair. On Linux it is a few microseconds: the receiving
	// end's work is done in a softirq.
	Veth time.Duration

	// Classifier tells the queues of wires about the packets inside frames. If
	// nil, all frames are of one flow and none can be marked.
	Classifier Classifier
}

// A Driver owns the time of one emulated network and everything that happens
// in it: one event at a time, from one heap. Create it with [NewDriver], inside
// the bubble if time is virtual, and end it with [Driver.Close].
type Driver struct {
	mu         sync.Mutex // held while anything of the network is touched
	settle     func()
	seed       uint64
	classifier Classifier
	veth       time.Duration // of every veth pair
	epoch      time.Time
	now        time.Duration
	heap       eventHeap
	soon       fifo[soonItem] // zero-delay work, in order
	idle       []func()       // run once soon is empty
	wakes      fifo[*Waiter]  // goroutines to let go, one by one
	sources    uint32
	ids        uint64
	watching   int
	kick       chan struct{} // buffered; tells a sleeping driver to look again
	timer      *time.Timer   // what a parked loop waits for, unless that is forever
	clock      *bubble.Clock // in a bubble that is known; else nil
	leaps      int           // since the loop last settled
	done       chan struct{} // closed when the loop has ended
	closed     atomic.Bool
	parked     bool          // the loop is (about to be) waiting for time or a kick
	until      time.Duration // what a parked loop waits for

	postMu sync.Mutex // guards posts
	posts  []func()
	posted atomic.Bool // posts is not empty

	byHand bool
	hand   string // the goroutine whose turn it is with a driver by hand

	beat atomic.Uint64 // when time last moved; a watchdog outside the bubble reads it

	small, large frameList
	awake        []*sleeper  // to be used again
	observation  Observation // scratch for Point.tell
	secrets      []SecretObserver

	maxLive int           // maxLive, but in tests
	stormed bool          // there was a storm
	storm   time.Duration // when it was last noticed
}

// soonItem is a frame that arrives without delay, at a port or the end of a
// cable, or work to be done at once.
type soonItem struct {
	to    *Port
	wire  *direction
	frame *Frame
	fn    func()
}

func (i *soonItem) run() {
	switch {
	case i.to != nil:
		i.to.deliver(i.frame)
	case i.wire != nil:
		i.wire.land(i.frame)
	default:
		i.fn()
	}
}

// NewDriver starts a driver. Its clock begins at zero.
func NewDriver(cfg DriverConfig) *Driver {
	d := &Driver{
		settle:     cfg.Settle,
		seed:       cfg.Seed,
		veth:       max(0, cfg.Veth),
		classifier: cfg.Classifier,
		epoch:      time.Now(),
		maxLive:    maxLive,
		kick:       make(chan struct{}, 1),
		timer:      time.NewTimer(time.Hour),
		done:       make(chan struct{}),
		small:      frameList{size: smallBuffer},
		large:      frameList{size: largeBuffer},
	}
	if cfg.ByHand {
		d.byHand, d.epoch, d.settle = true, byHandEpoch, func() {}
		return d
	}
	if d.settle != nil {
		d.clock = bubble.Own()
	}
	go d.loop()
	return d
}

// Virtual reports whether the driver lives in virtual time.
func (d *Driver) Virtual() bool { return d.settle != nil }

// Seed returns the seed of the driver's configuration.
func (d *Driver) Seed() uint64 { return d.seed }

// Epoch is the wall-clock time at which the driver's clock was zero. In a
// bubble that is the bubble's own calendar.
func (d *Driver) Epoch() time.Time { return d.epoch }

// Now returns the time since the driver started: exact in virtual time. The
// caller holds the driver's lock.
func (d *Driver) Now() time.Duration { return d.now }

// Beat returns a number that changes whenever time moves on. It may be called
// from anywhere, also from outside the bubble: virtual time that stands still
// for long is held up by a goroutine, or by traffic that takes no time.
func (d *Driver) Beat() uint64 { return d.beat.Load() }

// Do runs f with the driver's lock held and then lets the driver look at what
// f has set in motion. It must not be called from within itself or an event,
// and panics if it is: the lock is held already, so f can be called directly.
// After Close, f still runs, but nothing that it schedules will.
func (d *Driver) Do(f func()) {
	d.lock("Do")
	defer d.unlockAndKick()
	d.readClock()
	f()
}

func (d *Driver) unlockAndKick() {
	if d.parked && (d.soon.len() > 0 || len(d.idle) > 0 || d.wakes.len() > 0 || d.heap.due(d.until-1)) {
		d.rouse()
	}
	d.mu.Unlock()
}

// rouse lets a parked loop look again. The caller holds the lock. In a bubble
// the loop waits for its timer alone, because a receive from one channel costs
// less than a choice of two; so the timer is made to fire now.
func (d *Driver) rouse() {
	if d.byHand {
		return
	}
	if d.settle != nil && d.until != forever {
		d.timer.Reset(0)
		return
	}
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// readClock moves now forward to the clock of the bubble or of the machine.
func (d *Driver) readClock() {
	if d.byHand {
		return
	}
	if t := time.Since(d.epoch); t > d.now {
		d.now = t
		d.beat.Store(uint64(t))
	}
}

// Close ends the driver. Events that are still waiting never happen, and
// goroutines that wait in [Waiter.Wait] are let go. It is safe to call twice,
// and returns when the driver's goroutine has ended.
func (d *Driver) Close() {
	d.lock("Close")
	if d.byHand && !d.closed.Load() {
		d.releaseWaiters()
		close(d.done)
	}
	d.closed.Store(true)
	d.rouse()
	d.mu.Unlock()
	<-d.done
}

// Closed reports whether Close was called. It may be called from anywhere.
func (d *Driver) Closed() bool { return d.closed.Load() }

// forever is the time of an event that never comes.
const forever = time.Duration(1<<63 - 1)

// loop is the driver's goroutine.
func (d *Driver) loop() {
	defer close(d.done)
	defer d.timer.Stop()
	defer d.clock.Release()
	for {
		if d.settle != nil {
			d.settle()
		}
		d.mu.Lock()
		d.parked = false
		d.readClock()
		more := d.run()
		for d.leaps = 0; !more && d.leap(); d.leaps++ {
			more = d.run()
		}
		if d.closed.Load() {
			d.releaseWaiters()
			d.mu.Unlock()
			return
		}
		if !more {
			d.parked, d.until = true, d.heap.next()
			if d.until != forever {
				d.timer.Reset(d.until - d.now)
			}
		}
		until := d.until
		d.mu.Unlock()
		if !more {
			d.park(until)
		}
	}
}

// mostLeaps bounds how often time leaps before the loop settles again: who watches
// from outside whether it does sees it at least that often.
const mostLeaps = 1024

// leap moves time to the next event, if parking until then would do nothing else.
func (d *Driver) leap() bool {
	next := d.heap.next()
	if d.leaps == mostLeaps || next == forever || d.closed.Load() || !d.clock.Leap(next-d.now) {
		return false
	}
	d.now = next
	d.beat.Store(uint64(next))
	return true
}

// park waits until the time has come, for which the timer is set, or somebody
// rouses the loop.
func (d *Driver) park(until time.Duration) {
	switch {
	case d.settle == nil && d.linger():
	case until == forever:
		<-d.kick
	case d.settle != nil:
		<-d.timer.C
	default:
		select {
		case <-d.timer.C:
		case <-d.kick:
		}
	}
}

// linger gives other goroutines a moment to post something before the driver
// goes to sleep, in real time: waking it costs more than a few turns of the
// scheduler.
func (d *Driver) linger() bool {
	for range 8 {
		if d.posted.Load() {
			return true
		}
		runtime.Gosched()
	}
	return d.posted.Load()
}

// yieldEvery bounds how many events run before waiting goroutines get the lock.
const yieldEvery = 512

// run does what is due now and reports whether there is more to do at once: a
// goroutine was let go and must be waited for, or the quota is used up.
func (d *Driver) run() (more bool) {
	for n := 0; !d.closed.Load(); n++ {
		switch {
		case d.posted.Load():
			d.takePosts()
		case d.soon.len() > 0:
			item := d.soon.pop()
			item.run()
		case len(d.idle) > 0:
			d.runIdle()
		case d.wakes.len() > 0:
			if d.wakeNext() && d.settle != nil {
				return true
			}
		case d.heap.due(d.now):
			d.heap.pop().fire(d)
		default:
			return false
		}
		if n >= yieldEvery && d.settle == nil {
			return true
		}
	}
	return false
}

func (d *Driver) runIdle() {
	for i := 0; i < len(d.idle); i++ { // work may add more
		f := d.idle[i]
		d.idle[i] = nil
		f()
	}
	d.idle = d.idle[:0]
}

// Soon runs f after the event that is running now, before time moves on, in
// the order of the calls.
func (d *Driver) Soon(f func()) { d.soon.push(soonItem{fn: f}) }

// Post is Soon for a caller that does not hold the lock. It is for goroutines
// that are not the lab's to order, and so for real time only.
func (d *Driver) Post(f func()) {
	d.postMu.Lock()
	d.posts = append(d.posts, f)
	first := !d.posted.Swap(true)
	d.postMu.Unlock()
	if first {
		select {
		case d.kick <- struct{}{}:
		default:
		}
	}
}

// takePosts moves what was posted into the order of events.
func (d *Driver) takePosts() {
	d.postMu.Lock()
	defer d.postMu.Unlock()
	for i, f := range d.posts {
		d.soon.push(soonItem{fn: f})
		d.posts[i] = nil
	}
	d.posts = d.posts[:0]
	d.posted.Store(false)
}

// WhenIdle runs f once all zero-delay work is done, still at this instant and
// before any goroutine is let go. It lets a host handle a burst at once.
func (d *Driver) WhenIdle(f func()) { d.idle = append(d.idle, f) }

// NewID returns a number that no other datagram of this driver has.
func (d *Driver) NewID() uint64 {
	d.ids++
	return d.ids
}

// NewSource returns a number that orders simultaneous events: those of a lower
// source come first.
func (d *Driver) NewSource() uint32 {
	d.sources++
	return d.sources
}
