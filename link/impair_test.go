package link

import (
	"math/bits"
	"strings"
	"testing"
	"time"
)

func TestCorruptionFlipsOneBit(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{Corrupt: 0.5})
		clean, flipped := 0, 0
		where := make(map[int]bool)
		w.B.Bind(func(f *Frame) {
			n := 0
			for i, b := range f.Bytes() {
				if b != 0 {
					n += bits.OnesCount8(b)
					where[i*8+bits.TrailingZeros8(b)] = true
				}
			}
			switch n {
			case 0:
				clean++
			case 1:
				flipped++
			default:
				t.Errorf("%d bits flipped, want one", n)
			}
			f.Release()
		})
		d.Do(func() {
			for range 4000 {
				f := d.NewFrame(16)
				clear(f.Bytes())
				w.A.Send(f)
			}
		})
		d.Sleep(0)
		if flipped < 1850 || flipped > 2150 || clean+flipped != 4000 {
			t.Errorf("%d corrupt and %d clean frames, want 2000 or so of each", flipped, clean)
		}
		equal(t, "bits that were ever flipped", len(where), 128)
	})
}

func TestTracesAreReplayed(t *testing.T) {
	loss, err := ParseLossTrace("# measured\n0 0 1\n01\n")
	if err != nil {
		t.Fatal(err)
	}
	delay, err := ParseDelayTrace("1ms 3ms\n# slow\n2ms\n")
	if err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(t *testing.T, d *Driver) {
		w := d.NewWire("w", WireConfig{LossTrace: loss, Jitter: Jitter{Trace: delay}, Latency: time.Second})
		b := d.sink(w.B)
		for _, s := range strings.Split("abcdefgh", "") {
			d.Do(func() { w.A.Send(d.text(s)) })
			d.Sleep(10 * time.Millisecond)
		}
		d.Sleep(2 * time.Second)
		want(t, "at B", b.got, "1.001s a", "1.013s b", "1.032s d", "1.051s f", "1.063s g")
	})
}

// TestJitterKeepsOrder, so that TCP does not take it for loss.
func TestJitterKeepsOrder(t *testing.T) {
	last := -1
	play(t, WireConfig{Latency: 20 * time.Microsecond, Jitter: Jitter{Spread: 20 * time.Microsecond, Shape: ParetoJitter}}, func(n int, _ time.Duration) {
		if n != last+1 {
			t.Fatalf("frame %d comes after frame %d", n, last)
		}
		last = n
	})
	equal(t, "frames", last, million-1)
}

func TestEveryImpairmentAtOnceLeaksNothing(t *testing.T) {
	loss, _ := ParseLossTrace("0001")
	for _, kind := range []AQMKind{DropTail, RED, CoDel, FQCoDel} {
		inBubble(t, func(t *testing.T, d *Driver) {
			w := d.NewWire("w", WireConfig{
				Latency: 5 * time.Millisecond, Jitter: Jitter{Spread: 5 * time.Millisecond}, Reorder: 0.1,
				Rate: 1e7, Burst: 3000, QueueBytes: 20_000, AQM: AQM{Kind: kind, ECN: true}, MTU: 1200,
				Loss: 0.1, LossBurst: GilbertElliott{Enter: 0.1, Leave: 0.3}, LossTrace: loss, Duplicate: 0.1, Corrupt: 0.1,
			})
			w.B.Bind(func(f *Frame) { f.Release() })
			for i := range 200 {
				d.Do(func() {
					for range 10 {
						w.A.Send(d.NewFrame(100 + 7*i))
					}
					w.SetUp(i%50 != 7)
				})
				d.Sleep(3 * time.Millisecond)
			}
		})
	}
}

func TestTraceErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{"0\n012": "line 2", "": "empty", "# nothing\n": "empty"} {
		if _, err := ParseLossTrace(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("loss trace %q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{"1ms\n\n5": "line 3", "1ms -1ms": "line 1", " ": "empty"} {
		if _, err := ParseDelayTrace(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("delay trace %q: %v, want %q", text, err, want)
		}
	}
}

func FuzzTraces(f *testing.F) {
	for _, s := range []string{"0 1 0", "# c\n1ms 2us\n", "1h", "-1ms", "01x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if tr, err := ParseLossTrace(text); err == nil && (WireConfig{LossTrace: tr}).Validate() != nil {
			t.Errorf("%q: parsed and not valid", text)
		}
		if tr, err := ParseDelayTrace(text); err == nil && (WireConfig{Jitter: Jitter{Trace: tr}}).Validate() != nil {
			t.Errorf("%q: parsed and not valid", text)
		}
	})
}
