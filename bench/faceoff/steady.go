package faceoff

import (
	"math"
	"time"

	"github.com/podwire/podwire/emu"
)

// A stream is measured when it is steady: slow start is over, and what four
// samples bring differs by less than a thousandth from what the four before have
// brought. Should that not happen, the last of so many windows counts.
const (
	samples  = 8 // in a window
	patience = 8 // windows
	steadily = 0.001
)

// stream is a TCP stream that runs until it has been measured.
type stream struct {
	window time.Duration
	back   bool        // from the receiver to the sender
	onDone func()      // if not nil, called once it has been measured; the stream goes on until also holds
	also   func() bool // if not nil, must hold too before the stream ends

	rates []float64 // of all samples
	read  []reading // at the end of all samples, with the CPU model
	begin int       // of the samples that count; 0: it is not steady yet
	end   int       // of the samples that count; 0: it has not been measured yet
	full  bool      // frames waited for the sender's cable at all samples that count
}

func newStream(window time.Duration) *stream { return &stream{window: window} }

// steady reports whether the stream has become steady.
func (s *stream) steady() bool { return s.begin > 0 }

// done reports whether it has been measured.
func (s *stream) done() bool { return s.end > 0 }

// add takes a sample, and whether frames waited for the cable.
func (s *stream) add(rate float64, queue bool) (goOn bool) {
	s.rates = append(s.rates, rate)
	if n := len(s.rates); !s.steady() && n >= samples {
		before, now := mean(s.rates[n-samples:n-samples/2]), mean(s.rates[n-samples/2:])
		if before > 0 && math.Abs(now/before-1) < steadily {
			s.begin, s.full = n, true
			return true
		}
	}
	s.full = s.full && (queue || s.done())
	if n := len(s.rates); !s.done() && (s.steady() && n >= s.begin+samples || !s.steady() && n >= patience*samples) {
		s.end = n
		if s.onDone != nil {
			s.onDone()
		}
	}
	return !s.done() || s.also != nil && !s.also()
}

// goodput returns the payload per second in the window.
func (s *stream) goodput() float64 {
	end := len(s.rates)
	if s.done() {
		end = s.end
	}
	return mean(s.rates[max(0, end-samples):end])
}

// readings returns what the CPUs had done at the beginning and at the end of the
// samples that goodput is the mean of.
func (s *stream) readings() (before, after reading, ok bool) {
	end := len(s.read)
	if s.done() {
		end = s.end
	}
	if end <= samples || end > len(s.read) {
		return before, after, false
	}
	return s.read[end-samples-1], s.read[end-1], true
}

func mean(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	var sum float64
	for _, x := range list {
		sum += x
	}
	return sum / float64(len(list))
}

// run runs streams beside each other until all have been measured.
func (f *field) run(list ...*stream) ([]emu.FlowResult, error) {
	var flows []emu.FlowConfig
	for _, s := range list {
		from, to := f.from, f.to
		if s.back {
			from, to = to, from
		}
		cable, model := from.Node().Cable(), f.CPUModel() != ""
		flows = append(flows, emu.FlowConfig{
			Kind: emu.BulkFlow, From: &from.Machine, To: &to.Machine, For: 2 * patience * s.window, Sample: s.window / samples,
			OnSample: func(x emu.FlowSample) bool {
				queued := 0
				f.Driver().Do(func() {
					out, _ := cable.Stats()
					queued = out.Queued
				})
				if model {
					s.read = append(s.read, f.readCPU(x.Time, from.Node(), to.Node()))
				}
				return s.add(x.Goodput, queued > 0)
			},
		})
	}
	return f.RunFlows(flows...)
}
