package stack

import (
	"math"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// TestSenderIsKnown fails when a release of gVisor has other fields: see which
// of its bugs are gone, and mend findSender for the others.
func TestSenderIsKnown(t *testing.T) {
	if !senderKnown {
		t.Fatalf("gVisor %s: sender fields not found: %+v", GVisorVersion, ofSender)
	}
}

// TestRenoGrowsByOneSegmentPerWindow: whatever the acknowledgements are made up of.
func TestRenoGrowsByOneSegmentPerWindow(t *testing.T) {
	for _, each := range []int{1, 2, 3} {
		r, cwnd, acked := new(reno), 10, 0
		for cwnd < 20 {
			cwnd = r.grow(cwnd, each, 0, 0)
			acked += each
		}
		if want := (10 + 19) * 10 / 2; acked < want || acked >= want+each {
			t.Errorf("acknowledged %d at a time: 20 segments after %d, want %d", each, acked, want)
		}
	}
	if got := new(reno).reduce(21); got != 10 {
		t.Errorf("threshold after a loss at 21: %d, want 10", got)
	}
	if got := new(reno).reduce(3); got != 2 {
		t.Errorf("threshold after a loss at 3: %d, want 2", got)
	}
}

// TestCubicIsBackAtItsMaximum: after K seconds the window is what it was at the
// loss, and after 2 K as much more as it was less (RFC 9438 §4.2), an
// acknowledgement at a time.
func TestCubicIsBackAtItsMaximum(t *testing.T) {
	const most, rtt = 1000, 100 * time.Millisecond
	c := new(cubic)
	cwnd := c.reduce(most)
	if cwnd != 700 {
		t.Fatalf("threshold after a loss at %d: %d, want 700", most, cwnd)
	}
	k := time.Duration(math.Cbrt(most*0.3/0.4) * float64(time.Second)) // 9.09 s
	at := func(until, from time.Duration) time.Duration {
		for now := from; ; now += rtt / time.Duration(cwnd) {
			if now >= until {
				return now
			}
			cwnd = c.grow(cwnd, 1, now, rtt)
		}
	}
	now := at(k, 0)
	if cwnd < most-2 || cwnd > most {
		t.Errorf("window %d after %v, want %d", cwnd, k, most)
	}
	at(2*k, now)
	if cwnd < most+280 || cwnd > most+300 {
		t.Errorf("window %d after %v, want %d", cwnd, 2*k, most+300)
	}
}

// TestCubicConvergesFast: a loss below the last maximum lowers it (RFC 9438 §4.7).
func TestCubicConvergesFast(t *testing.T) {
	c := new(cubic)
	c.reduce(100)
	if got := c.reduce(80); got != 56 || c.max != 68 {
		t.Errorf("threshold %d, maximum %v, want 56, 68", got, c.max)
	}
}

// TestTimeoutInRecoveryIsNoSecondLoss: the threshold is reduced once.
func TestTimeoutInRecoveryIsNoSecondLoss(t *testing.T) {
	var timeout tcpip.MonotonicTime
	now := time.Second
	s := &tcp.TCPSenderState{SndCwnd: 40, RTO: 300 * time.Millisecond}
	c := &congestion{sender: s, timeout: &timeout, now: func() time.Duration { return now }, avoid: new(reno), left: -1}
	c.HandleLossDetected()
	s.SndCwnd = s.Ssthresh + 3 // as gVisor does
	c.sends()
	if s.Ssthresh != 20 || s.SndCwnd != 20 || timeout != (tcpip.MonotonicTime{}).Add(1300*time.Millisecond) {
		t.Errorf("in recovery: threshold %d, window %d, timeout %v, want 20, 20, 1.3 s", s.Ssthresh, s.SndCwnd, timeout)
	}
	now += time.Second
	c.PostRecovery()
	c.HandleRTOExpired()
	if s.Ssthresh != 20 || s.SndCwnd != 1 {
		t.Errorf("timeout in recovery: threshold %d, window %d, want 20, 1", s.Ssthresh, s.SndCwnd)
	}
	s.SndCwnd, now = 16, now+time.Second
	c.HandleRTOExpired()
	if s.Ssthresh != 8 || s.SndCwnd != 1 {
		t.Errorf("timeout by itself: threshold %d, window %d, want 8, 1", s.Ssthresh, s.SndCwnd)
	}
}
