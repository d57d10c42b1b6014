package stack

import (
	"math"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// controller is what gVisor asks of a congestion control.
type controller interface {
	HandleLossDetected()
	HandleRTOExpired()
	Update(packetsAcked int, rtt time.Duration, ackTime tcpip.MonotonicTime)
	PostRecovery()
}

// congestion is a connection's congestion control after slow start. gVisor's own
// does not do what its names say (release 20260905):
//
//   - its Reno keeps a count of acknowledged segments modulo the window that has
//     just grown, so that from then on the window grows with every
//     acknowledgement: congestion avoidance is a second slow start;
//   - its CUBIC cuts the window to a whole number after every acknowledgement, so
//     that growth of less than a segment for each is lost: all growth, unless the
//     window is to double within a round trip;
//   - its retransmission timeout is SRTT + 4 RTTVAR, at least 200 ms as a whole. On
//     a steady path RTTVAR vanishes, and with more than 200 ms of round trip the
//     timer is up before the acknowledgement can come. Linux bounds the second term
//     (tcp_rto_min, __tcp_set_rto);
//   - it does not begin that timer anew for a segment that it sends again in fast
//     recovery (RFC 6675 §6, tcp_xmit_retransmit_queue). The duplicates that show a
//     loss at the end of a flight come a round trip later, and then the timer is up
//     before the acknowledgement can come.
//
// Slow start, with HyStart, stays gVisor's. gVisor calls the methods with the
// endpoint locked.
type congestion struct {
	slowStart controller
	sender    *tcp.TCPSenderState
	minRTO    *time.Duration
	timeout   *tcpip.MonotonicTime // when the retransmission timer is up, if it runs
	now       func() time.Duration
	avoid     avoidance
	entered   bool          // fast recovery, of which nothing was sent yet
	left      time.Duration // when fast recovery ended last
}

// avoidance is the part in which congestion controls differ. Windows are in
// segments.
type avoidance interface {
	// grow returns the window after so many segments were acknowledged.
	grow(cwnd, acked int, now, rtt time.Duration) int

	// reduce returns the slow start threshold after a loss.
	reduce(cwnd int) int

	// pause says that something else than the window holds the sender back.
	pause()
}

// minVariance is the least that a retransmission timeout exceeds the smoothed
// round trip time by (TCP_RTO_MIN).
const minVariance = 200 * time.Millisecond

func newAvoidance(name string) avoidance {
	if name == "reno" {
		return new(reno)
	}
	return new(cubic)
}

// Update takes note of an acknowledgement outside of fast recovery.
func (c *congestion) Update(acked int, rtt time.Duration, at tcpip.MonotonicTime) {
	s := c.sender
	*c.minRTO = s.RTTState.SRTT + minVariance
	switch {
	case s.SndCwnd < s.Ssthresh:
		c.slowStart.Update(acked, rtt, at)
	case s.Outstanding+acked < s.SndCwnd: // tcp_is_cwnd_limited, RFC 9438 §5.8
		c.avoid.pause()
	default:
		s.SndCwnd = c.avoid.grow(s.SndCwnd, acked, c.now(), s.RTTState.SRTT)
	}
}

// HandleLossDetected begins fast recovery, with the first segment sent again.
// gVisor's timer finds that its time has been put off when it is up.
func (c *congestion) HandleLossDetected() {
	*c.timeout = tcpip.MonotonicTime{}.Add(c.now() + c.sender.RTO)
	c.sender.Ssthresh = c.avoid.reduce(c.sender.SndCwnd)
	c.entered = true
}

// sends comes before a segment with data. gVisor begins fast recovery with a window
// of three segments more than the threshold, for the three duplicates that
// have left the network. With SACK these do not count as in flight to begin with:
// the window is the threshold (RFC 6675 §5, step 4.2).
func (c *congestion) sends() {
	if c.entered {
		c.entered = false
		c.sender.SndCwnd = c.sender.Ssthresh
	}
}

// PostRecovery ends fast recovery; the window is the threshold.
func (c *congestion) PostRecovery() { c.left = c.now() }

// HandleRTOExpired begins again with one segment. A timeout in fast recovery,
// which ends it, is no second reason to reduce the threshold (tcp_enter_loss).
func (c *congestion) HandleRTOExpired() {
	if s := c.sender; c.left != c.now() {
		s.Ssthresh = c.avoid.reduce(s.SndCwnd)
	}
	c.sender.SndCwnd = 1
}

// reno is congestion avoidance by RFC 5681 §3.1, counted as Linux does
// (tcp_cong_avoid_ai).
type reno struct {
	count int // segments acknowledged since the window grew
}

func (r *reno) grow(cwnd, acked int, _, _ time.Duration) int {
	for r.count += acked; r.count >= cwnd; cwnd++ {
		r.count -= cwnd
	}
	return cwnd
}

func (r *reno) reduce(cwnd int) int {
	r.count = 0
	return max(cwnd/2, 2)
}

func (r *reno) pause() {}

// cubic is congestion avoidance by RFC 9438 §4.
type cubic struct {
	running  bool          // an epoch has begun
	start    time.Duration // of the epoch
	k        float64       // seconds after it at which the window is max again
	max      float64       // W_max
	reno     float64       // W_est: what Reno's window would be
	before   float64       // cwnd_prior: the window before the last reduction
	fraction float64       // of a segment that the window has grown beyond its whole ones
}

const (
	cubicC    = 0.4
	cubicBeta = 0.7
)

// begin begins an epoch.
func (c *cubic) begin(cwnd float64, now time.Duration) {
	c.running, c.start, c.reno = true, now, cwnd
	c.max = max(c.max, cwnd)
	c.k = math.Cbrt((c.max - cwnd) / cubicC)
}

// window is W_cubic, t seconds into the epoch.
func (c *cubic) window(t float64) float64 { return cubicC*math.Pow(t-c.k, 3) + c.max }

func (c *cubic) grow(cwnd, acked int, now, rtt time.Duration) int {
	w := float64(cwnd) + c.fraction
	if !c.running {
		c.begin(w, now)
	}
	alpha := 1.0
	if c.reno < c.before {
		alpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
	}
	c.reno += alpha * float64(acked) / w
	t := (now - c.start).Seconds()
	if c.window(t) < c.reno {
		w = max(w, c.reno)
	} else {
		target := min(max(c.window(t+rtt.Seconds()), w), 1.5*w)
		w += float64(acked) * (target - w) / w
	}
	whole := math.Floor(w)
	c.fraction = w - whole
	return int(whole)
}

func (c *cubic) reduce(cwnd int) int {
	w := float64(cwnd) + c.fraction
	c.before = w
	if w < c.max { // fast convergence
		c.max = w * (1 + cubicBeta) / 2
	} else {
		c.max = w
	}
	c.running, c.fraction = false, 0
	return max(int(w*cubicBeta), 2)
}

func (c *cubic) pause() { c.running = false }
