package link

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Jitter is how the latency of a cable varies from frame to frame. No frame
// takes less than no time, and none overtakes another: one that is quick waits
// behind one that is slow, as in the queues that make jitter on real paths. The
// zero value does not vary.
type Jitter struct {
	Spread time.Duration // see the shapes
	Shape  JitterShape
	Trace  *DelayTrace // if not nil, adds delays as recorded, besides the shape
}

// JitterShape is the distribution of a jitter.
type JitterShape uint8

// Shapes of jitter.
const (
	UniformJitter JitterShape = iota // anything from -Spread to +Spread
	NormalJitter                     // a bell with standard deviation Spread
	ParetoJitter                     // a long tail: Pareto of shape 3 with mean 0 and standard deviation Spread, as netem's table
)

var jitterShapes = [...]string{"uniform", "normal", "pareto"}

// String returns "uniform", "normal" or "pareto".
func (s JitterShape) String() string {
	if int(s) < len(jitterShapes) {
		return jitterShapes[s]
	}
	return fmt.Sprintf("jitter shape %d", uint8(s))
}

func (j Jitter) validate() error {
	switch {
	case j.Spread < 0:
		return fmt.Errorf("link: wire: jitter %v, want 0 or more", j.Spread)
	case int(j.Shape) >= len(jitterShapes):
		return fmt.Errorf("link: wire: %v, want one of %s", j.Shape, strings.Join(jitterShapes[:], ", "))
	}
	return j.Trace.validate()
}

// Mean and standard deviation of a Pareto distribution of shape 3 that begins
// at 1: 3/2 and √(3/4).
const (
	paretoShape = 3
	paretoMean  = 1.5
)

var paretoDeviation = math.Sqrt(0.75)

// sample draws what a frame takes beyond the latency; it may be negative.
func (j Jitter) sample(next *int, rng *rand.Rand) time.Duration {
	var d time.Duration
	if j.Trace != nil {
		d = j.Trace.Delays[*next%len(j.Trace.Delays)]
		*next++
	}
	if j.Spread == 0 {
		return d
	}
	var x float64
	switch j.Shape {
	case NormalJitter:
		x = rng.NormFloat64()
	case ParetoJitter:
		x = (math.Pow(1-rng.Float64(), -1.0/paretoShape) - paretoMean) / paretoDeviation
	default:
		x = 2*rng.Float64() - 1
	}
	// An hour at most: the tail of a Pareto distribution has no end.
	return d + time.Duration(min(x*float64(j.Spread), float64(time.Hour)))
}

// A DelayTrace is a recorded sequence of delays, one per frame. It is played
// over and over, by each direction from its beginning. It must not change once
// a cable has it.
type DelayTrace struct{ Delays []time.Duration }

func (t *DelayTrace) validate() error {
	if t == nil {
		return nil
	}
	if len(t.Delays) == 0 {
		return errors.New("link: wire: delay trace is empty, want one entry or more")
	}
	for i, d := range t.Delays {
		if d < 0 {
			return fmt.Errorf("link: wire: delay trace: entry %d is %v, want 0 or more", i+1, d)
		}
	}
	return nil
}

// ParseDelayTrace reads a trace of durations such as 12.5ms, apart by white
// space. Lines that begin with # are skipped.
func ParseDelayTrace(text string) (*DelayTrace, error) {
	t := &DelayTrace{}
	err := eachTraceWord(text, func(line int, word string) error {
		d, err := time.ParseDuration(word)
		if err != nil || d < 0 {
			return fmt.Errorf("link: delay trace: line %d: %.20q, want a duration such as 12.5ms", line, word)
		}
		t.Delays = append(t.Delays, d)
		return nil
	})
	return t, errors.Join(err, t.validate())
}

// eachTraceWord calls f for each word of a trace until it fails.
func eachTraceWord(text string, f func(line int, word string) error) error {
	line := 0
	for l := range strings.Lines(text) {
		line++
		if strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		for word := range strings.FieldsSeq(l) {
			if err := f(line, word); err != nil {
				return err
			}
		}
	}
	return nil
}
