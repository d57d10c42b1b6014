package report

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/podwire/podwire/bench/faceoff"
)

// A scale is how the values of one chart are written: all in one unit, with as
// many decimals as tell them apart.
type scale struct {
	Factor   float64 `json:"factor"` // a value times this is in Suffix
	Suffix   string  `json:"suffix"`
	Decimals int     `json:"decimals"`
}

// prefix is a step of a unit: from what value on it is used.
type prefix struct {
	from   float64
	factor float64
	suffix string
}

var (
	times = []prefix{{1, 1, "s"}, {1e-3, 1e3, "ms"}, {1e-6, 1e6, "µs"}, {0, 1e9, "ns"}}
	rates = []prefix{{1e9, 1e-9, "Gbit/s"}, {1e6, 1e-6, "Mbit/s"}, {1e3, 1e-3, "kbit/s"}, {0, 1, "bit/s"}}
)

// scaleFor returns the scale for values that go as far as these.
func scaleFor(unit faceoff.Unit, values []float64) scale {
	top, whole := 0.0, true
	for _, v := range values {
		top = max(top, math.Abs(v))
	}
	s := scale{Factor: 1, Suffix: string(unit)}
	switch unit {
	case faceoff.Seconds:
		s.pick(times, top)
	case faceoff.BitRate:
		s.pick(rates, top)
	case faceoff.Share:
		s.Factor, s.Suffix = 100, "%"
	case faceoff.Count, faceoff.Entries:
		s.Suffix = ""
	case faceoff.PerSec:
		s.Suffix = "/s"
	}
	for _, v := range values {
		whole = whole && math.Abs(v*s.Factor-math.Round(v*s.Factor)) < 1e-9
	}
	if !whole && top > 0 {
		s.Decimals = max(3-int(math.Floor(math.Log10(top*s.Factor))), 0)
		for _, v := range values {
			if v != 0 { // 40 µs among seconds are not 0.000 s
				s.Decimals = max(s.Decimals, 1-int(math.Floor(math.Log10(math.Abs(v)*s.Factor))))
			}
		}
		s.Decimals = min(s.Decimals, 6)
	}
	if unit == faceoff.Share && !whole {
		s.Decimals = max(s.Decimals, 2) // 99.99 % is not 100 %
	}
	return s
}

func (s *scale) pick(steps []prefix, top float64) {
	i := slices.IndexFunc(steps, func(p prefix) bool { return top >= p.from })
	if top == 0 {
		i = 0
	}
	s.Factor, s.Suffix = steps[i].factor, steps[i].suffix
}

// text writes a value with its unit.
func (s scale) text(v float64) string { return join(s.number(v), s.Suffix) }

// number writes a value without its unit.
func (s scale) number(v float64) string {
	return thousands(strconv.FormatFloat(v*s.Factor, 'f', s.Decimals, 64))
}

// quantity writes one value that stands alone, as the other renderings do.
func quantity(unit faceoff.Unit, v float64) string {
	return strings.ReplaceAll(faceoff.Text(v, unit), " ", noBreak)
}

// percent writes a share with its sign.
func percent(share float64, decimals int) string {
	s := strconv.FormatFloat(share*100, 'f', decimals, 64)
	switch {
	case strings.Trim(s, "-0.") == "":
		return strings.TrimPrefix(s, "-") + " %"
	case share > 0:
		s = "+" + s
	}
	return strings.Replace(s, "-", "−", 1) + " %"
}

// noBreak keeps a number and its unit on one line.
const noBreak = "\u00a0"

// thousands puts a comma between thousands, from 10,000 on.
func thousands(s string) string {
	whole, rest, _ := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "-")
	if len(digits) > 4 {
		for i := len(digits) - 3; i > 0; i -= 3 {
			digits = digits[:i] + "," + digits[i:]
		}
	}
	if strings.HasPrefix(whole, "-") {
		digits = "−" + digits
	}
	if rest != "" {
		digits += "." + rest
	}
	return digits
}

// join puts a no-break space between a number and its unit.
func join(number, unit string) string {
	if unit == "" {
		return number
	}
	return number + noBreak + unit
}
