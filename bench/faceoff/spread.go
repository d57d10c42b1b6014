package faceoff

import (
	"math"
	"slices"
)

// value puts what the bouts of one design have found for a measure together: the
// median, and how far they lie apart.
func value(id string, bouts []*bout) Value {
	v := Value{Design: bouts[0].design}
	var all []float64
	for _, b := range bouts {
		if x, ok := b.values[id]; ok {
			all = append(all, x)
		} else if v.Note == "" {
			v.Note = b.notes[id]
		}
	}
	if len(all) == 0 {
		return v
	}
	m := median(all)
	v.Value = &m
	if len(bouts) > 1 {
		v.Spread = &Spread{Min: slices.Min(all), Max: slices.Max(all), Stddev: stddev(all), All: all}
	}
	return v
}

func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// lowMedian is the value that half of all do not exceed, the lower of two.
func lowMedian(all []float64) float64 { return slices.Sorted(slices.Values(all))[(len(all)-1)/2] }

// stddev is that of a sample; of one value 0.
func stddev(all []float64) float64 {
	if len(all) < 2 {
		return 0
	}
	var sum, squares float64
	for _, x := range all {
		sum += x
	}
	mean := sum / float64(len(all))
	for _, x := range all {
		squares += (x - mean) * (x - mean)
	}
	return math.Sqrt(squares / float64(len(all)-1))
}
