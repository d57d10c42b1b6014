package topo

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	wantDuration = "a duration such as 200us, 5ms or 1s"
	wantRate     = "a rate such as 100Mbit or 10Gbit"
	wantSize     = "a size in bytes such as 1500 or 64KiB"
	wantPercent  = "a share such as 1% or 0.5%"
)

// ParseDuration parses a duration that is not negative, in the syntax of
// [time.ParseDuration].
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isNumber(s):
		return 0, hint("a duration needs a unit: " + s + "ms or " + s + "s?")
	case err != nil:
		return 0, err
	case d < 0:
		return 0, hint("a duration is not negative")
	}
	return d, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// rateUnits are those of tc(8): decimal, in bits.
var rateUnits = []struct {
	suffix string
	factor float64
}{{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// ParseRate parses a rate in bits per second: 10Gbit, 100Mbit, 56kbit, with an
// optional /s or "ps". Units are decimal and in any case, as in tc(8); a bare
// number is refused, because tools disagree on whether it means bits or bytes.
func ParseRate(s string) (uint64, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	text = strings.TrimSuffix(strings.TrimSuffix(text, "/s"), "ps")
	for _, u := range rateUnits {
		if num, ok := strings.CutSuffix(text, u.suffix); ok {
			v, err := scaled(num, u.factor)
			if err != nil || v < 1 {
				return 0, strconv.ErrSyntax
			}
			return v, nil
		}
	}
	if isNumber(text) {
		return 0, hint("a rate needs a unit: " + text + "Mbit?")
	}
	return 0, strconv.ErrSyntax
}

var sizeUnits = []struct {
	suffix string
	factor float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

// ParseSize parses a size in bytes: 1500, 64KiB (1024 bytes each) or 64kB (1000
// bytes each).
func ParseSize(s string) (uint64, error) {
	for _, u := range sizeUnits {
		if num, ok := strings.CutSuffix(s, u.suffix); ok {
			return scaled(strings.TrimSpace(num), u.factor)
		}
	}
	return strconv.ParseUint(s, 10, 63)
}

// scaled parses a decimal number times factor; it refuses what is negative, not
// finite, or beyond an int64.
func scaled(num string, factor float64) (uint64, error) {
	if num == "" || strings.ContainsAny(num, "xXpPnNiI_+-eE") {
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || v*factor >= math.MaxInt64 {
		return 0, strconv.ErrRange
	}
	return uint64(math.Round(v * factor)), nil
}

// ParsePercent parses a share such as 1% or 0.5% and returns it as a fraction
// from 0 to 1.
func ParsePercent(s string) (float64, error) {
	num, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !ok {
		if isNumber(s) {
			return 0, hint("a share needs a percent sign: " + s + "%?")
		}
		return 0, strconv.ErrSyntax
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return 0, strconv.ErrRange
	}
	return v / 100, nil
}
