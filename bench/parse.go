package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Setting is a line such as "cpu: AMD EPYC" in front of results.
type Setting struct{ Key, Value string }

// A Series is all measurements of one benchmark in the order in which they
// were made.
type Series struct {
	Name  string // without "Benchmark" and without the number of processors
	Procs int    // GOMAXPROCS

	// Values are the measurements by unit: "ns/op", "MB/s". A unit that one of
	// several runs did not report has fewer values.
	Values map[string][]float64
}

// Results is the output of one or more runs of `go test -bench`.
type Results struct {
	Settings []Setting // each key once, with the first value seen
	Series   []*Series // in order of first appearance
}

// Errors of Parse that a caller may want to tell from broken input.
var (
	ErrFailed = errors.New("bench: the benchmarks failed")
	ErrEmpty  = errors.New("bench: no results in the input")
)

// Parse reads the standard benchmark format (Go proposal 14313): result lines
// "BenchmarkName-procs iterations {value unit}", settings "key: value". Other
// lines are skipped, but for those by which go test says that something
// failed: then the error is ErrFailed with the line. Several runs may follow
// one another.
func Parse(r io.Reader) (*Results, error) {
	p := parser{series: make(map[seriesKey]*Series)}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := p.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("%w (line %d)", err, n)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if len(p.results.Series) == 0 {
		return nil, ErrEmpty
	}
	return &p.results, nil
}

type seriesKey struct {
	name  string
	procs int
}

type parser struct {
	results Results
	series  map[seriesKey]*Series
}

func (p *parser) line(s string) error {
	switch {
	case s == "FAIL", strings.HasPrefix(s, "FAIL\t"), strings.HasPrefix(s, "--- FAIL"), strings.HasPrefix(s, "panic:"):
		return fmt.Errorf("%w: %s", ErrFailed, s)
	case strings.HasPrefix(s, "Benchmark"):
		return p.result(strings.Fields(s))
	}
	if key, value, ok := strings.Cut(s, ": "); ok && isKey(key) {
		p.setting(key, strings.TrimSpace(value))
	}
	return nil
}

// isKey reports whether s can be the key of a setting: it begins with a lower
// case letter and has no space and no upper case letter.
func isKey(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && !strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r >= 'A' && r <= 'Z' })
}

func (p *parser) setting(key, value string) {
	if !slices.ContainsFunc(p.results.Settings, func(s Setting) bool { return s.Key == key }) {
		p.results.Settings = append(p.results.Settings, Setting{key, value})
	}
}

// largest bounds what is taken for a measurement, so that no arithmetic with
// values overflows.
const largest = 1e18

// result reads the fields of a result line. A line with the name alone is what
// a benchmark that logs leaves behind; it is skipped.
func (p *parser) result(fields []string) error {
	if len(fields) < 4 || len(fields)%2 != 0 {
		return nil
	}
	if _, err := strconv.ParseUint(fields[1], 10, 63); err != nil {
		return nil
	}
	name, procs := splitProcs(strings.TrimPrefix(fields[0], "Benchmark"))
	if name == "" {
		return nil
	}
	values := make(map[string]float64)
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || !(math.Abs(v) <= largest) {
			return fmt.Errorf("bench: %s: value %q of unit %s, want a number", name, fields[i], fields[i+1])
		}
		values[fields[i+1]] = v
	}
	p.add(seriesKey{name, procs}, values)
	return nil
}

func (p *parser) add(k seriesKey, values map[string]float64) {
	s := p.series[k]
	if s == nil {
		s = &Series{Name: k.name, Procs: k.procs, Values: make(map[string][]float64)}
		p.series[k] = s
		p.results.Series = append(p.results.Series, s)
	}
	for unit, v := range values {
		s.Values[unit] = append(s.Values[unit], v)
	}
}

// splitProcs takes the number of processors from the end of a name. The
// testing package leaves it away if it is 1.
func splitProcs(s string) (name string, procs int) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return s, 1
	}
	n, err := strconv.Atoi(s[i+1:])
	if err != nil || n < 1 || s[i+1] == '+' {
		return s, 1
	}
	return s[:i], n
}

// Find returns the series of that name and number of processors, or nil.
func (r *Results) Find(name string, procs int) *Series {
	for _, s := range r.Series {
		if s.Name == name && s.Procs == procs {
			return s
		}
	}
	return nil
}

// Median returns the median of a unit's values. ok is false if there are none.
func (s *Series) Median(unit string) (v float64, ok bool) { return median(s.Values[unit]) }

func median(values []float64) (float64, bool) {
	n := len(values)
	if n == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return sorted[n/2], true
	}
	return sorted[n/2-1]/2 + sorted[n/2]/2, true
}

// Ratios returns this series divided by another, measurement by measurement:
// the first of one by the first of the other, and so on. If both were measured
// in turns, a machine that was busy for a while does not show. Measurements
// without a partner, or with one of 0, are left out.
func (s *Series) Ratios(to *Series, unit string) []float64 { return s.RatiosIn(unit, to, unit) }

// RatiosIn is Ratios where the two series are compared in different units.
func (s *Series) RatiosIn(unit string, to *Series, toUnit string) []float64 {
	var list []float64
	for i, v := range s.Values[unit] {
		if i >= len(to.Values[toUnit]) {
			break
		}
		if r := v / to.Values[toUnit][i]; math.Abs(r) <= largest {
			list = append(list, r)
		}
	}
	return list
}
