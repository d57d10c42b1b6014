package stack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/podwire/podwire/link"
)

// TraceMethod says what a traceroute sends.
type TraceMethod uint8

// Methods. The zero value is that of traceroute(8) without options.
const (
	TraceUDP  TraceMethod = iota // datagrams to ports from 33434 up
	TraceICMP                    // echo requests: traceroute -I
	TraceTCP                     // SYNs to port 80, never completed: traceroute -T
)

// TraceConfig is a command line of traceroute(8). The zero value is one without
// options.
type TraceConfig struct {
	Method   TraceMethod
	Port     uint16        // -p; 0 means 33434, the first, for UDP and 80 for TCP
	Queries  int           // -q, probes per hop; 0 means 3
	FirstHop int           // -f; 0 means 1
	MaxHops  int           // -m; 0 means 30
	Parallel int           // -N, probes in flight; 0 means 16
	Wait     time.Duration // -w, for an answer at most; 0 means 5 s
	Size     int           // of the IP packet; 0 means 60. A SYN is as long as it is
	TOS      byte          // -t
	DF       bool          // -F
	Source   netip.Addr    // -s

	// OnHop, if set, is called for each hop when all that can be said of it is
	// known, in order.
	OnHop func(TraceHop)
}

func (c *TraceConfig) setDefaults() error {
	def := func(v *int, to, most int, what string) error {
		if *v == 0 {
			*v = to
		}
		if *v < 1 || *v > most {
			return fmt.Errorf("stack: traceroute: %d %s, want 1 to %d", *v, what, most)
		}
		return nil
	}
	if c.Wait == 0 {
		c.Wait = 5 * time.Second
	}
	if c.Port == 0 {
		c.Port = [...]uint16{TraceUDP: 33434, TraceICMP: 1, TraceTCP: 80}[c.Method]
	}
	if c.Size == 0 {
		c.Size = 60
	}
	for _, err := range []error{
		def(&c.Queries, 3, 10, "probes per hop"), def(&c.MaxHops, 30, 255, "hops"),
		def(&c.FirstHop, 1, 255, "as the first hop"), def(&c.Parallel, 16, 1<<16, "probes in flight"),
		def(&c.Size, 60, 65000, "bytes"),
	} {
		if err != nil {
			return err
		}
	}
	if c.FirstHop > c.MaxHops {
		return fmt.Errorf("stack: traceroute: first hop %d, want at most the last, %d", c.FirstHop, c.MaxHops)
	}
	return nil
}

// A TraceProbe is what came of one probe.
type TraceProbe struct {
	From netip.Addr    // who answered; the zero value for nobody
	RTT  time.Duration // exact in virtual time

	Final      bool // it got as far as it can: to the destination, or to an error that ends the way
	Type, Code byte // of an ICMP answer; an echo reply and a TCP answer have 0
	MTU        int  // of a "fragmentation needed" error
}

// Mark is the annotation that traceroute(8) prints behind the time: !H, !N, !P,
// !S, !F-MTU, !X, !V, !C or !CODE, mostly none.
func (p TraceProbe) Mark() string {
	if p.Type != icmpUnreachable {
		return ""
	}
	switch p.Code {
	case codePort:
		return ""
	case 0, 6, 8, 11:
		return "!N"
	case 1, 7, 12:
		return "!H"
	case codeProtocol:
		return "!P"
	case codeFragNeeded:
		return fmt.Sprintf("!F-%d", p.MTU)
	case 5:
		return "!S"
	case 9, 10, codeProhibited:
		return "!X"
	case 14:
		return "!V"
	case 15:
		return "!C"
	}
	return fmt.Sprintf("!<%d>", p.Code)
}

// A TraceHop is one line of a traceroute.
type TraceHop struct {
	TTL    int
	Probes []TraceProbe
}

// tracer is one running traceroute.
type tracer struct {
	h      *Host
	cfg    TraceConfig
	src    netip.Addr
	to     netip.Addr
	proto  byte
	id     uint16 // of echo requests
	probes []traceProbe
	first  int // probes before it are finished
	end    int // one behind the last probe that is of interest
	wait   *link.Waiter
	timer  *link.Timer
}

type traceProbe struct {
	TraceProbe
	key    probeKey
	sentAt time.Duration
	sent   bool
	done   bool
}

// Traceroute sends packets with growing TTL until the destination or an error
// that ends the way answers. As traceroute(8) does it keeps 16 in flight, and
// waits for one that is not answered no longer than three times what others of
// the same hop took, or ten times what others of later hops took. The caller
// does not hold the driver's lock.
func (h *Host) Traceroute(to netip.Addr, cfg TraceConfig) ([]TraceHop, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	t := &tracer{h: h, cfg: cfg, to: to, probes: make([]traceProbe, cfg.MaxHops*cfg.Queries)}
	t.proto = [...]byte{TraceUDP: protoUDP, TraceICMP: protoICMP, TraceTCP: protoTCP}[cfg.Method]
	t.first, t.end = (cfg.FirstHop-1)*cfg.Queries, len(t.probes)
	var err error
	h.drv.Do(func() { err = t.start() })
	if err != nil {
		return nil, opError("traceroute", "ip", nil, &net.IPAddr{IP: to.AsSlice()}, err)
	}
	defer h.drv.Do(t.stop)
	var hops []TraceHop
	for {
		var ready []TraceHop
		var more bool
		h.drv.Do(func() { ready, more, err = t.step() })
		for _, hop := range ready {
			if cfg.OnHop != nil {
				cfg.OnHop(hop)
			}
		}
		hops = append(hops, ready...)
		if !more || err != nil {
			return hops, err
		}
		t.wait.Wait()
	}
}

func (t *tracer) start() error {
	src, _, ok := t.h.Source(t.to)
	if !ok {
		return os.NewSyscallError("connect", syscall.ENETUNREACH)
	}
	if t.cfg.Source.IsValid() {
		src = t.cfg.Source
	}
	t.src, t.wait, t.id = src, t.h.drv.NewWaiter(), uint16(t.h.rng.Uint32())
	return nil
}

// stop forgets what is still in flight.
func (t *tracer) stop() {
	for i := range t.probes {
		if p := &t.probes[i]; p.sent {
			delete(t.h.probes, p.key)
		}
	}
	if t.timer != nil {
		t.timer.Stop()
	}
}

// step sends what may be sent and returns the hops that are complete. The
// caller holds the lock.
func (t *tracer) step() (ready []TraceHop, more bool, err error) {
	if t.h.sockets.closed.Load() || t.h.drv.Closed() {
		return nil, false, net.ErrClosed
	}
	now := t.h.now()
	next, flying := time.Duration(1<<63-1), 0
	for i := t.first; i < t.end && flying < t.cfg.Parallel; i++ {
		p := &t.probes[i]
		if !p.sent {
			t.send(i)
		}
		if expires := p.sentAt + t.patience(i); !p.done && expires <= now {
			p.done = true
		} else if !p.done {
			flying++
			next = min(next, expires)
		}
	}
	for q := t.cfg.Queries; t.first < t.end && t.hopDone(t.first); t.first += q {
		hop := TraceHop{TTL: t.first/q + 1}
		for _, p := range t.probes[t.first : t.first+q] {
			hop.Probes = append(hop.Probes, p.TraceProbe)
			if p.Final {
				t.end = min(t.end, t.first+q)
			}
		}
		ready = append(ready, hop)
	}
	if t.first >= t.end {
		return ready, false, nil
	}
	if flying == 0 {
		next = now // the window has moved: go on at once
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = t.h.drv.AfterFunc(t.h.source, next-now, t.wait.Wake)
	return ready, true, nil
}

func (t *tracer) hopDone(first int) bool {
	for _, p := range t.probes[first : first+t.cfg.Queries] {
		if !p.done {
			return false
		}
	}
	return true
}

// send sends probe i. Its answer wakes the tracer.
func (t *tracer) send(i int) {
	h, p := t.h, &t.probes[i]
	p.sent, p.sentAt = true, h.now()
	switch t.cfg.Method {
	case TraceUDP:
		port := t.cfg.Port + uint16(i)
		p.key = probeKey{protoUDP, h.probePort(protoUDP, port), port}
	case TraceICMP:
		p.key = probeKey{protoICMP, t.id, t.cfg.Port + uint16(i)}
	case TraceTCP:
		p.key = probeKey{protoTCP, h.probePort(protoTCP, t.cfg.Port), t.cfg.Port}
	}
	h.probes[p.key] = func(answer ipv4) { t.answered(p, answer) }
	h.sendProbe(probePacket{
		proto: t.proto, src: t.src, dst: t.to, key: p.key, ttl: byte(i/t.cfg.Queries + 1),
		tos: t.cfg.TOS, df: t.cfg.DF, size: t.cfg.Size,
	})
}

func (t *tracer) answered(p *traceProbe, ip ipv4) {
	if p.done {
		return
	}
	p.done, p.From, p.RTT, p.Final = true, ip.src(), t.h.now()-p.sentAt, true
	if ip.proto() == protoICMP {
		r := replyOf(ip)
		p.Type, p.Code, p.MTU = r.Type, r.Code, r.MTU
		p.Final = r.Type != icmpTimeExceeded
	}
	t.wait.Wake()
}

// patience is how long probe i is waited for.
func (t *tracer) patience(i int) time.Duration {
	const here, near, precision = 3, 10, time.Millisecond
	hop := i - i%t.cfg.Queries
	for _, p := range t.probes[hop : hop+t.cfg.Queries] {
		if p.From.IsValid() {
			return min(t.cfg.Wait, here*(p.RTT+precision))
		}
	}
	for _, p := range t.probes[i+1:] {
		if !p.sent {
			break
		}
		if p.From.IsValid() {
			return min(t.cfg.Wait, near*(p.RTT+precision))
		}
	}
	return t.cfg.Wait
}
