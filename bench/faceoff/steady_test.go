package faceoff

import (
	"testing"
	"time"
)

// play adds samples until the stream ends, and returns how many it took.
func (s *stream) play(rate func(i int) float64, queue func(i int) bool) int {
	for i := range 1000 {
		if !s.add(rate(i), queue(i)) {
			return i + 1
		}
	}
	return 0
}

func always(int) bool { return true }

// A stream that grows is not measured before it has stopped growing.
func TestStreamIsMeasuredWhenSteady(t *testing.T) {
	s := newStream(time.Second)
	n := s.play(func(i int) float64 { return float64(min(i, 20)) * 100 }, always)
	// Sample 20 is the first of the last rate; eight like it are steady, and eight more count.
	if n != 20+samples+samples || !s.steady() || s.goodput() != 2000 || !s.full {
		t.Errorf("ended after %d samples with %v, steady %v, full %v", n, s.goodput(), s.steady(), s.full)
	}
	other := newStream(time.Second)
	other.play(func(int) float64 { return 100 }, func(i int) bool { return i != samples+2 })
	if other.full {
		t.Error("the cable had nothing to send in between, and counts as full")
	}
}

// One that never is steady is given up, and its last window counts.
func TestStreamNeverSteady(t *testing.T) {
	s := newStream(time.Second)
	n := s.play(func(i int) float64 { return float64(i) }, always)
	if n != patience*samples || s.steady() || s.goodput() != float64(n)-4.5 {
		t.Errorf("ended after %d samples, steady %v, with %v", n, s.steady(), s.goodput())
	}
	if v := newStream(time.Second).goodput(); v != 0 {
		t.Errorf("without samples: %v", v)
	}
}

// A stream waits for what is to happen beside it.
func TestStreamWaits(t *testing.T) {
	s, left, told := newStream(time.Second), 5, 0
	s.onDone = func() { told++ }
	s.also = func() bool { left--; return left < 0 }
	n := s.play(func(int) float64 { return 7 }, func(i int) bool { return i < 2*samples })
	if n != 2*samples+5 || told != 1 || s.goodput() != 7 || !s.full {
		t.Errorf("ended after %d samples, told %d times, full %v", n, told, s.full)
	}
}
