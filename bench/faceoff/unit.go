package faceoff

import (
	"math"
	"strconv"
)

// Text prints a value in its unit, for people: "9.29 Gbit/s", "220.5 µs",
// "96.6 %". Four digits count, and five of rates, where designs differ little.
func Text(v float64, u Unit) string {
	switch u {
	case BitRate:
		return scaled(v, "", []scale{{1e9, "Gbit/s"}, {1e6, "Mbit/s"}, {1e3, "kbit/s"}, {1, "bit/s"}})
	case Seconds:
		return scaled(v, "0 s", []scale{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}})
	case Share:
		return digits(100*v, 4) + " %"
	case PerSec:
		return digits(v, 4) + " /s"
	case Bytes:
		return digits(v, 9) + " B"
	}
	return digits(v, 9)
}

type scale struct {
	factor float64
	unit   string
}

// scaled prints v with the first unit of which it has at least one.
func scaled(v float64, zero string, scales []scale) string {
	if v == 0 && zero != "" {
		return zero
	}
	for _, s := range scales {
		if math.Abs(v) >= s.factor*(1-5e-5) || s == scales[len(scales)-1] {
			return digits(v/s.factor, 4) + " " + s.unit
		}
	}
	return ""
}

// digits prints at most n significant digits, without an exponent.
func digits(v float64, n int) string {
	if v == 0 {
		return "0"
	}
	after := n - 1 - int(math.Floor(math.Log10(math.Abs(v))))
	pow := math.Pow(10, float64(max(0, after)))
	return strconv.FormatFloat(math.Round(v*pow)/pow, 'f', -1, 64)
}
