//go:build !race

// Minutes of full cables: under the race detector they take ten times as long and
// show nothing that shorter streams do not.

package emu_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

// lossyPath is a stream over a path that is never full. It returns the mean window,
// in segments, after the first fifth of the time, how many segments were lost, and
// how many sent again.
func lossyPath(t *testing.T, control string, loss float64, rtt, d time.Duration) (window float64, lost, again uint64) {
	emutest.Run(t, emu.Config{}, func(t *testing.T, lab *emutest.Lab) {
		sysctls := map[string]string{"net.ipv4.tcp_congestion_control": control}
		a, b := pairOfHosts(t, lab, link.WireConfig{Rate: 1e9, Latency: rtt / 2, Loss: loss}, link.WireConfig{Latency: rtt / 2}, sysctls)
		got, conn := stream(t, lab, a, b, d/5, d)
		out, _ := a.Cable().Points()
		window = float64(got[1]-got[0]) / sackMSS * rtt.Seconds() / (d - d/5).Seconds()
		lost, again = out.Drops(link.DropLoss), conn.TCPInfo().Retransmits
	})
	return window, lost, again
}

// sackMSS is the payload of a segment, which has timestamps.
const sackMSS = 1448

// TestResponseFunction: the mean window at random loss is that of Mathis et al. 1997
// for Reno, sqrt(3/2p), and of RFC 9438 §5.1 for CUBIC, or Reno's where that is
// more (§4.3). Both are derived for losses at equal distances; random ones, the
// round trip of each recovery and whole segments account for the difference.
func TestResponseFunction(t *testing.T) {
	for _, c := range []struct {
		control   string
		loss      float64
		rtt, time time.Duration
	}{
		{"reno", 0.001, 100 * time.Millisecond, 100 * time.Second},
		{"reno", 0.01, 100 * time.Millisecond, 100 * time.Second},
		{"reno", 0.01, 400 * time.Millisecond, 200 * time.Second},
		{"cubic", 0.001, 400 * time.Millisecond, 140 * time.Second},
		{"cubic", 0.01, 100 * time.Millisecond, 100 * time.Second},
		{"cubic", 0.01, 400 * time.Millisecond, 200 * time.Second},
	} {
		t.Run(fmt.Sprint(c.control, " ", c.loss*100, "% ", c.rtt), func(t *testing.T) {
			want := math.Sqrt(1.5 / c.loss)
			if c.control == "cubic" {
				want = max(want, math.Pow(0.4*3.7/(4*0.3), 0.25)*math.Pow(c.rtt.Seconds()/c.loss, 0.75))
			}
			got, lost, again := lossyPath(t, c.control, c.loss, c.rtt, c.time)
			t.Logf("mean window %.1f, in theory %.1f (%+.0f %%); %d lost, %d sent again", got, want, (got/want-1)*100, lost, again)
			if math.Abs(got/want-1) > 0.15 {
				t.Errorf("mean window %.1f, want %.1f within 15 %%", got, want)
			}
			// What was lost last may not have been sent again yet, and recovery may send
			// a segment that is only late (RFC 6675 §4, NextSeg, rules 3 and 4).
			if again > lost+1 || lost > again+1 {
				t.Errorf("%d segments sent again, %d lost", again, lost)
			}
		})
	}
}

// TestLongPathWithoutLoss: nothing is sent again, however steady and long the
// round trip is.
func TestLongPathWithoutLoss(t *testing.T) {
	for _, rtt := range []time.Duration{199 * time.Millisecond, 400*time.Millisecond + 333*time.Microsecond, 2 * time.Second} {
		if _, _, again := lossyPath(t, "cubic", 0, rtt, 10*rtt); again != 0 {
			t.Errorf("round trip of %v: %d segments sent again", rtt, again)
		}
	}
}
