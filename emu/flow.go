package emu

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/podwire/podwire/stack"
)

// FlowKind is what a flow does.
type FlowKind string

// Kinds of flows.
const (
	BulkFlow    FlowKind = "bulk"     // one TCP connection that is kept full
	RequestFlow FlowKind = "requests" // requests and answers over one TCP connection, at a rate
	ConnectFlow FlowKind = "connects" // TCP connections one after another, each for one request and its answer
	UDPFlow     FlowKind = "udp"      // datagrams at a rate
	PingFlow    FlowKind = "ping"     // echo requests at a rate
	HTTPFlow    FlowKind = "http"     // GETs of a URL at a rate, each over a connection of its own
)

// FlowKinds lists all kinds.
var FlowKinds = []FlowKind{BulkFlow, RequestFlow, ConnectFlow, UDPFlow, PingFlow, HTTPFlow}

// FlowConfig describes traffic that runs for a while. The receiving machine
// answers on a port of its own choice, except to pings.
//
// If To is a pod that starts again or moves meanwhile, the program that answers
// starts with it. What has one connection or socket for all the time (bulk,
// requests, udp, ping) keeps the address that it began with, as such programs do;
// connects and http look up where the pod of that name is for each connection. A
// connection that is lost is not opened again, and one that hangs not given up.
type FlowConfig struct {
	Kind     FlowKind
	From, To *Machine
	URL      string        // of an HTTP flow: for example of a Service
	Connect  string        // of an HTTP flow: where to connect to; if empty, To at the URL's port, and without To the URL's host and port
	For      time.Duration // how long it sends
	Omit     time.Duration // at the beginning of it, what arrives does not count for Goodput: iperf3 -O
	Bytes    int64         // of a bulk flow: end when so many have arrived, within For; 0 means no limit
	Interval time.Duration // between datagrams, requests, connections or pings; 0 means 10 ms
	Size     int           // bytes of a datagram, request or ping; 0 means 1,000, of a ping 56
	Sample   time.Duration // how far apart the samples are; 0 means a fiftieth of For

	// OnSample, if not nil, is called with each sample; false ends a bulk flow
	// there. It may use the lab.
	OnSample func(FlowSample) (goOn bool)
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
	Sent, Received int     // datagrams, requests, connections, pings; of a bulk flow bytes received
	Goodput        float64 // bit/s of payload over the whole time, without what was to be omitted
	P50, P90, P99  time.Duration
	Max            time.Duration
	Connect        time.Duration // how long it took to open the connection, of several the median
	Took           time.Duration // until the last payload arrived
	First          time.Duration // until the first payload arrived; 0 if none did
	LongestGap     time.Duration // the longest time in which nothing arrived, the end included
	GapEnd         time.Duration // when that was over, on the lab's clock
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
	case c.From == nil || c.To == nil && c.Kind != HTTPFlow:
		return fmt.Errorf("emu: flow: want a machine at both ends")
	case c.Kind == HTTPFlow:
		if err := c.setURL(); err != nil {
			return err
		}
	}
	switch {
	case c.For <= 0 || c.Interval < 0 || c.Sample <= 0:
		return fmt.Errorf("emu: flow: for %v, every %v, samples every %v: want more than 0", c.For, c.Interval, c.Sample)
	case c.Omit < 0 || c.Omit >= c.For || c.Bytes < 0:
		return fmt.Errorf("emu: flow: omit %v of %v, %d bytes: want 0 or more, and less than all of the time", c.Omit, c.For, c.Bytes)
	case c.Bytes > 0 && (c.Kind != BulkFlow || c.Omit > 0):
		return fmt.Errorf("emu: flow: a number of bytes is for a bulk flow of which nothing is omitted")
	case c.Size < minFlowSize || c.Size > 65507:
		return fmt.Errorf("emu: flow: size %d, want %d to 65507 bytes", c.Size, minFlowSize)
	}
	return nil
}

// setURL completes Connect.
func (c *FlowConfig) setURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return fmt.Errorf("emu: flow: %w", err)
	case u.Scheme != "http" || u.Hostname() == "":
		return fmt.Errorf("emu: flow: URL %q, want one such as http://web:80/", c.URL)
	case c.Connect == "" && c.To == nil:
		c.Connect = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
	}
	return nil
}

// String names the flow in errors.
func (c *FlowConfig) String() string {
	if c.Kind == HTTPFlow {
		return fmt.Sprintf("%s flow from %s to %s", c.Kind, c.From.name, c.URL)
	}
	return fmt.Sprintf("%s flow from %s to %s", c.Kind, c.From.name, c.To.name)
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
	all := l.drv.NewGroup()
	for _, f := range running {
		all.Go(f.run)
	}
	all.Wait()
	results := make([]FlowResult, len(flows))
	for i, f := range running {
		if f.err != nil {
			return nil, fmt.Errorf("emu: %s: %w", &f.cfg, f.err)
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
	counts int64       // that of it which counts for the goodput
	last   time.Duration
	delays []time.Duration
	result FlowResult
	err    error
	lost   map[int]int // by sample, what was sent and has not arrived
	seen   bitmap      // numbers of datagrams that have arrived
	opened []time.Duration
	done   bool // the result is worked out

	receiver receiver // that starts again with its pod, see attend
	socket   io.Closer
	port     int // at which it receives
}

// run is the life of a flow.
func (f *flow) run() {
	f.start = f.lab.Now()
	f.end, f.last = f.start+f.cfg.For, f.start
	f.lost = make(map[int]int)
	before := f.drops()
	sampling := f.lab.drv.NewGroup()
	sampling.Go(f.sample)
	switch f.cfg.Kind {
	case BulkFlow:
		f.err = f.bulk()
	case RequestFlow:
		f.err = f.requests()
	case ConnectFlow:
		f.err = f.connects()
	case UDPFlow:
		f.err = f.datagrams()
	case PingFlow:
		f.err = f.pings()
	case HTTPFlow:
		f.err = f.gets()
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
	if now-f.start >= f.cfg.Omit {
		f.counts += int64(bytes)
	}
	if f.result.First == 0 {
		f.result.First = now - f.start
	}
	f.gap(now)
	f.last = now
	if sent >= 0 {
		f.delays = append(f.delays, now-sent)
		f.lost[f.slot(sent)]--
	}
}

// gap notes the time since something arrived last, if it is the longest so far.
func (f *flow) gap(end time.Duration) {
	if d := end - f.last; d > f.result.LongestGap {
		f.result.LongestGap, f.result.GapEnd = d, end
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
	for at := f.start + f.cfg.Sample; at <= f.endsAt(); at += f.cfg.Sample {
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
			if f.cfg.OnSample != nil {
				f.cfg.OnSample(f.result.Series[len(f.result.Series)-1])
			}
			continue
		}
		info, s := conn.TCPInfo(), &f.result.Series[len(f.result.Series)-1]
		s.RTT, s.Cwnd, s.Retransmits = info.RTT, info.Cwnd, info.Retransmits-retransmits
		retransmits = info.Retransmits
		f.lab.drv.Do(func() { f.result.Retransmits = retransmits })
		if f.cfg.OnSample != nil && !f.cfg.OnSample(*s) && f.cfg.Kind == BulkFlow {
			f.lab.drv.Do(func() { f.end = f.lab.drv.Now() })
			conn.SetWriteDeadline(f.lab.Deadline(0))
			return
		}
	}
}

// endsAt is when the flow ends: earlier than planned once all its bytes are there.
func (f *flow) endsAt() (end time.Duration) {
	f.lab.drv.Do(func() { end = f.end })
	return end
}

// finish works the result out. The caller holds the lock.
func (f *flow) finish(before, after map[FlowDrop]uint64) {
	f.done = true
	r := &f.result
	r.Took = f.last - f.start
	if counted := f.end - f.start - f.cfg.Omit; counted > 0 {
		r.Goodput = float64(f.counts) * 8 / counted.Seconds()
	}
	f.gap(f.end)
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
	r.P50, r.P90, r.P99, r.Max = rank(f.delays, 0.5), rank(f.delays, 0.9), rank(f.delays, 0.99), rank(f.delays, 1)
	slices.Sort(f.opened)
	r.Connect = rank(f.opened, 0.5)
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

// rank returns the smallest of sorted times that at least a share q of them do
// not exceed; of none 0.
func rank(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
