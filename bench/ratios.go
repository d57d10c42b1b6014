package bench

import (
	"fmt"
	"io"
	"strings"
)

// WriteRatios writes the ratios of [Report] in the benchmark format, a line for
// each measurement, for benchstat: absolute figures of two runs differ as their
// machines do, what a run says against its own bare pair can be compared. The
// unit of a ratio of MB/s is to-bare:MB/s, of ns/op to n=10 to-n=10:ns/op.
// Settings come first. Measurements of what nothing is held against are left out.
func (r *Results) WriteRatios(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Settings {
		fmt.Fprintf(&b, "%s: %s\n", s.Key, s.Value)
	}
	for _, g := range r.groups() {
		for _, s := range r.Series {
			if function(s.Name) == g.name {
				r.ratioLines(&b, g, s)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ratioLines writes the measurements of a series, all of its units in a line.
func (r *Results) ratioLines(b *strings.Builder, g group, s *Series) {
	base := r.bare(g, s)
	if base == nil {
		return
	}
	name := "Benchmark" + s.Name
	if s.Procs != 1 {
		name = fmt.Sprintf("%s-%d", name, s.Procs)
	}
	// benchstat would turn an MB/s or ns/op by itself into B/s and s/op.
	against := strings.ReplaceAll(g.against(), " ", "-")
	lines := make(map[int]string)
	most := 0
	for _, unit := range g.units {
		if g.base != "" && unit == "allocs/op" { // as in the table
			continue
		}
		baseUnit := unit
		if u := g.baseUnit[unit]; u != "" {
			baseUnit = u
		}
		for i, ratio := range s.RatiosIn(unit, base, baseUnit) {
			lines[i] += fmt.Sprintf(" %.6g %s:%s", ratio, against, unit)
			most = max(most, i+1)
		}
	}
	for i := range most {
		fmt.Fprintf(b, "%s 1%s\n", name, lines[i])
	}
}
