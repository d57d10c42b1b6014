package link

import "time"

// DefaultBacklog is Linux' net.core.netdev_max_backlog.
const DefaultBacklog = 1000

// DropBacklog is why a packet ends that finds too many others waiting for the
// CPU: it is what /proc/net/softnet_stat counts as dropped.
const DropBacklog Reason = "CPU backlog is full (netdev_max_backlog)"

// CPUConfig describes the CPU of a machine. The zero value is one core with
// Linux' backlog.
type CPUConfig struct {
	Cores   int // 0 means 1
	Backlog int // packets that may wait for a core, 0 means DefaultBacklog
}

// A CPU is what the packets of a machine wait for: each core serves one after
// another, in the order in which they came. It is a queue with a clock and knows
// nothing of what the work is. What is done with a packet on its way through the
// machine is added up with Spend; After lets it leave when all of that, and all
// work that was there before, is done.
//
// What happens to a packet is decided when it comes, not when its turn comes:
// tables and rules are read earlier than on a busy machine, by as much as the
// packet waits. A frame's core is found by the hash of its flow, as with RSS, so
// that a flow keeps its order; Frame.Core says which, from 1.
//
// All methods want the driver's lock.
type CPU struct {
	drv     *Driver
	cores   []core
	backlog int
	slow    int64 // percent
}

// core is one server with its queue.
type core struct {
	cpu     *CPU
	source  uint32
	busy    time.Duration // when all that was spent so far is done, rounded down
	part    int64         // picoseconds beyond it
	spent   time.Duration
	waiting fifo[served]
	armed   bool
	instant time.Duration // of the last packet that came
	came    int           // packets that waited then, and that have come since then
	leave   func()        // made once
	drops   uint64
	most    int
}

// served is a packet that leaves when its work is done.
type served struct {
	at    time.Duration
	frame *Frame
	then  func(*Frame)
}

// NewCPU returns an idle CPU.
func (d *Driver) NewCPU(cfg CPUConfig) *CPU {
	c := &CPU{drv: d, cores: make([]core, max(1, cfg.Cores)), backlog: cfg.Backlog, slow: 100}
	if c.backlog <= 0 {
		c.backlog = DefaultBacklog
	}
	for i := range c.cores {
		k := &c.cores[i]
		k.cpu, k.source = c, d.NewSource()
		k.leave = k.finish
	}
	return c
}

// Cores returns how many cores there are.
func (c *CPU) Cores() int { return len(c.cores) }

// SetSlow makes everything take so many times as long from now on: 10 is a tenth
// of the speed. Work that has begun to wait keeps its time. Hundredths count, and
// no less than one of them.
func (c *CPU) SetSlow(factor float64) { c.slow = max(1, int64(factor*100+0.5)) }

// Slow returns the factor.
func (c *CPU) Slow() float64 { return float64(c.slow) / 100 }

// Choose gives f its core by the hash of its flow.
func (c *CPU) Choose(f *Frame, hash uint32) {
	f.Core = uint16(uint64(hash)*uint64(len(c.cores))>>32) + 1
}

// of returns the core of f, the first if none was chosen.
func (c *CPU) of(f *Frame) *core {
	if n := int(f.Core); n > 0 && n <= len(c.cores) {
		return &c.cores[n-1]
	}
	return &c.cores[0]
}

// Admit reports whether another packet may wait for the core of f. If not, it is
// counted, and the caller drops it.
func (c *CPU) Admit(f *Frame) bool {
	k := c.of(f)
	if k.instant != c.drv.now || k.came == 0 {
		k.instant, k.came = c.drv.now, k.waiting.len()
	}
	// What has come in this instant is on its way to where it will wait.
	if k.came < c.backlog {
		k.came++
		return true
	}
	k.drops++
	return false
}

// Spend adds work on f, in picoseconds.
func (c *CPU) Spend(f *Frame, ps int64) {
	k := c.of(f)
	if k.busy < c.drv.now {
		k.busy, k.part = c.drv.now, 0
	}
	k.part += ps * c.slow / 100
	took := time.Duration(k.part / 1000)
	k.busy += took
	k.spent += took
	k.part %= 1000
}

// After calls then with f once all work that was spent on the core of f so far
// is done: at once if that is so already.
func (c *CPU) After(f *Frame, then func(*Frame)) {
	k := c.of(f)
	at := k.busy
	if k.part > 0 {
		at++
	}
	if at <= c.drv.now && k.waiting.len() == 0 {
		then(f)
		return
	}
	k.waiting.push(served{at, f, then})
	k.most = max(k.most, k.waiting.len())
	k.arm()
}

// arm waits for the first in the queue.
func (k *core) arm() {
	if k.armed || k.waiting.len() == 0 {
		return
	}
	k.armed = true
	d := k.cpu.drv
	d.AfterFunc(k.source, k.waiting.peek().at-d.now, k.leave)
}

// finish lets those go whose work is done.
func (k *core) finish() {
	k.armed = false
	for k.waiting.len() > 0 && k.waiting.peek().at <= k.cpu.drv.now {
		s := k.waiting.pop()
		s.then(s.frame)
	}
	k.arm()
}

// CPUStats is what one core has done.
type CPUStats struct {
	Busy    time.Duration // work, also what is still to be done
	Waiting int           // packets that wait now
	Most    int           // the most that have waited
	Dropped uint64        // packets that found the backlog full
}

// Stats returns what each core has done so far.
func (c *CPU) Stats() []CPUStats {
	list := make([]CPUStats, len(c.cores))
	for i := range c.cores {
		k := &c.cores[i]
		list[i] = CPUStats{Busy: k.spent, Waiting: k.waiting.len(), Most: k.most, Dropped: k.drops}
	}
	return list
}
