package emu

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/podwire/podwire/stack"
)

// FlowKind is what a flow does.
type FlowKind string

// Kinds of flows.
const (
	BulkFlow    FlowKind = "bulk"     // one TCP connection that is kept full
	RequestFlow FlowKind = "requests" // requests and answers over one TCP connection, at a rate
	UDPFlow     FlowKind = "udp"      // datagrams at a rate
	PingFlow    FlowKind = "ping"     // echo requests at a rate
)

// FlowKinds lists all kinds.
var FlowKinds = []FlowKind{BulkFlow, RequestFlow, UDPFlow, PingFlow}

// FlowConfig describes traffic that runs for a while. The receiving machine
// answers on a port of its own choice, except to pings.
type FlowConfig struct {
	Kind     FlowKind
	From, To *Machine
	For      time.Duration // how long it sends
	Interval time.Duration // between datagrams, requests or pings; 0 means 10 ms
	Size     int           // bytes of a datagram, request or ping; 0 means 1,000, of a ping 56
	Sample   time.Duration // how far apart the samples are; 0 means a fiftieth of For
}

// A FlowSample is what happened between the sample before and this one.
type FlowSample struct {
	Time        time.Duration `json:"time"`    // on the lab's clock
	Goodput     float64       `json:"goodput"` // bit/s of payload that arrived
	RTT         time.Duration `json:"rtt,omitempty"`
	Cwnd        int           `json:"cwnd,omitempty"` // segments
	Retransmits uint64        `json:"retransmits,omitempty"`
	Queue       int           `json:"queue,omitempty"` // frames that wait for the sender's cable
	Lost        int           `json:"lost,omitempty"`  // pings, requests, datagrams that were sent then and never answered or received
}

// FlowResult is what came of a flow. Delays are round trips; of UDP one way.
type FlowResult struct {
	Sent, Received int     // datagrams, requests, pings; of a bulk flow bytes received
	Goodput        float64 // bit/s of payload over the whole time
	P50, P99, Max  time.Duration
	LongestGap     time.Duration // the longest time in which nothing arrived, the end included
	Retransmits    uint64
	Drops          []FlowDrop // on the sender's and receiver's cables, all traffic counted
	Series         []FlowSample
}

// FlowDrop counts frames that were dropped while a flow ran.
type FlowDrop struct {
	Place  string `json:"place"`
	Reason string `json:"reason"`
	Frames uint64 `json:"frames"`
}

// Loss returns the share of what was sent and not received.
func (r *FlowResult) Loss() float64 {
	if r.Sent == 0 {
		return 0
	}
	return float64(r.Sent-r.Received) / float64(r.Sent)
}

func (c *FlowConfig) setDefaults() error {
	if c.Interval == 0 {
		c.Interval = 10 * time.Millisecond
	}
	if c.Size == 0 {
		if c.Size = 1000; c.Kind == PingFlow {
			c.Size = 56
		}
	}
	if c.Sample == 0 {
		c.Sample = c.For / 50
	}
	switch {
	case !slices.Contains(FlowKinds, c.Kind):
		return fmt.Errorf("emu: flow: kind %q, want one of %v", c.Kind, FlowKinds)
	case c.From == nil || c.To == nil:
		return fmt.Errorf("emu: flow: want a machine at both ends")
	case c.For <= 0 || c.Interval < 0 || c.Sample <= 0:
		return fmt.Errorf("emu: flow: for %v, every %v, samples every %v: want more than 0", c.For, c.Interval, c.Sample)
	case c.Size < minFlowSize || c.Size > 65507:
		return fmt.Errorf("emu: flow: size %d, want %d to 65507 bytes", c.Size, minFlowSize)
	}
	return nil
}

// minFlowSize holds a datagram's number and the time at which it left.
const minFlowSize = 16

// RunFlows runs flows beside each other and returns when all have ended, one
// result for each.
func (l *Lab) RunFlows(flows ...FlowConfig) ([]FlowResult, error) {
	running := make([]*flow, len(flows))
	for i, c := range flows {
		if err := c.setDefaults(); err != nil {
			return nil, err
		}
		running[i] = &flow{lab: l, cfg: c}
	}
	var wg sync.WaitGroup
	for _, f := range running {
		wg.Add(1)
		l.Go(func() {
			defer wg.Done()
			f.run()
		})
	}
	wg.Wait()
	l.Sleep(0)
	results := make([]FlowResult, len(flows))
	for i, f := range running {
		if f.err != nil {
			return nil, fmt.Errorf("emu: %s flow from %s to %s: %w", f.cfg.Kind, f.cfg.From.name, f.cfg.To.name, f.err)
		}
		results[i] = f.result
	}
	return results, nil
}

// flow is one that runs. What goroutines share is guarded by the driver's lock.
type flow struct {
	lab    *Lab
	cfg    FlowConfig
	start  time.Duration
	end    time.Duration
	conn   *stack.Conn // of a TCP flow, the sender's
	bytes  int64       // payload that arrived
	last   time.Duration
	delays []time.Duration
	result FlowResult
	err    error
	lost   map[int]int // by sample, what was sent and has not arrived
	done   bool        // the result is worked out
}

// run is the life of a flow.
func (f *flow) run() {
	f.start = f.lab.Now()
	f.end, f.last = f.start+f.cfg.For, f.start
	f.lost = make(map[int]int)
	before := f.drops()
	var sampling sync.WaitGroup
	sampling.Add(1)
	f.lab.Go(func() {
		defer sampling.Done()
		f.sample()
	})
	switch f.cfg.Kind {
	case BulkFlow:
		f.err = f.bulk()
	case RequestFlow:
		f.err = f.requests()
	case UDPFlow:
		f.err = f.datagrams()
	case PingFlow:
		f.err = f.pings()
	}
	sampling.Wait()
	after := f.drops()
	f.lab.drv.Do(func() { f.finish(before, after) })
}

// arrived notes payload that came in, and how long it took if that is known.
func (f *flow) arrived(bytes int, sent, now time.Duration) {
	if f.done {
		return
	}
	f.bytes += int64(bytes)
	f.result.LongestGap = max(f.result.LongestGap, now-f.last)
	f.last = now
	if sent >= 0 {
		f.delays = append(f.delays, now-sent)
		f.lost[f.slot(sent)]--
	}
}

// left notes that something was sent that should arrive.
func (f *flow) left(at time.Duration) {
	f.result.Sent++
	f.lost[f.slot(at)]++
}

func (f *flow) slot(at time.Duration) int { return int((at - f.start) / f.cfg.Sample) }

// sample takes samples until the flow ends.
func (f *flow) sample() {
	var bytes int64
	var retransmits uint64
	for at := f.start + f.cfg.Sample; at <= f.end; at += f.cfg.Sample {
		f.lab.Sleep(at - f.lab.Now())
		var conn *stack.Conn
		f.lab.drv.Do(func() {
			conn = f.conn
			s := FlowSample{Time: f.lab.drv.Now(), Goodput: float64(f.bytes-bytes) * 8 / f.cfg.Sample.Seconds()}
			bytes = f.bytes
			if w := f.cfg.From.Cable(); w != nil {
				out, _ := w.Stats()
				s.Queue = out.Queued
			}
			if n := len(f.delays); n > 0 {
				s.RTT = f.delays[n-1]
			}
			f.result.Series = append(f.result.Series, s)
		})
		if conn == nil {
			continue
		}
		info, s := conn.TCPInfo(), &f.result.Series[len(f.result.Series)-1]
		s.RTT, s.Cwnd, s.Retransmits = info.RTT, info.Cwnd, info.Retransmits-retransmits
		retransmits = info.Retransmits
		f.lab.drv.Do(func() { f.result.Retransmits = retransmits })
	}
}

// finish works the result out. The caller holds the lock.
func (f *flow) finish(before, after map[FlowDrop]uint64) {
	f.done = true
	r := &f.result
	r.Goodput = float64(f.bytes) * 8 / f.cfg.For.Seconds()
	r.LongestGap = max(r.LongestGap, f.end-f.last)
	r.Received = len(f.delays)
	if f.cfg.Kind == BulkFlow {
		r.Received = int(f.bytes)
		for _, s := range r.Series {
			f.delays = append(f.delays, s.RTT)
		}
	}
	for i := range r.Series {
		r.Series[i].Lost = f.lost[i]
	}
	slices.Sort(f.delays)
	if n := len(f.delays); n > 0 {
		rank := func(q float64) time.Duration { return f.delays[int(math.Ceil(q*float64(n)))-1] }
		r.P50, r.P99, r.Max = rank(0.5), rank(0.99), f.delays[n-1]
	}
	for d, n := range after {
		if d.Frames = n - before[d]; d.Frames > 0 {
			r.Drops = append(r.Drops, d)
		}
	}
	slices.SortFunc(r.Drops, func(a, b FlowDrop) int {
		if a.Frames != b.Frames {
			return int(b.Frames) - int(a.Frames)
		}
		return slices.Compare([]string{a.Place, a.Reason}, []string{b.Place, b.Reason})
	})
}
