package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report reads what `go test -bench` printed and returns the table: for each
// benchmark the median of every unit, how far the measurements spread, the
// ratio to the bare pair of the same run, and where there is one the budget. A
// budget is met or missed only if all measurements say so.
// Errors are those of [Parse].
func Report(r io.Reader) (string, error) {
	results, err := Parse(r)
	if err != nil {
		return "", err
	}
	return results.String(), nil
}

// group is what the table says about one benchmark function.
type group struct {
	name  string // "TCP" for BenchmarkTCP
	title string
	units []string // shown in this order

	// base names the group whose bare pair this one is held against, if not
	// its own; baseUnit is the bare pair's unit, if not the same.
	base     string
	baseUnit map[string]string

	// growth says that the results are held against those of the same benchmark
	// with n=10.
	growth bool
}

// against is the heading of the column of ratios.
func (g group) against() string {
	if g.growth {
		return "to n=10"
	}
	return "to bare"
}

// perSegment compares the time for one packet with the time that the bare pair
// takes for a segment and its acknowledgement.
var perSegment = map[string]string{"ns/op": "ns/segment"}

// groups are in the order of the table. A benchmark that is not listed comes
// last, with all its units.
var groups = []group{
	{name: "TCP", title: "TCP, one stream, wall time; allocations per MiB", units: []string{"MB/s", "allocs/op"}},
	{name: "Connect", title: "TCP connections, one after another, wall time", units: []string{"conn/s", "allocs/op"}},
	{name: "TCPVirtual", title: "TCP, one stream, virtual time, per second of wall time", units: []string{"MB/s", "vsec/s"}, base: "TCP"},
	{name: "VirtualTime", title: "virtual seconds in a second of wall time, and in one of CPU time", units: []string{"vsec/s", "vsec/cpu-s"}},
	{name: "Forward", title: "one UDP datagram through a node, to a segment of the bare pair", units: []string{"ns/op", "allocs/op"}, base: "TCP", baseUnit: perSegment},
	{name: "Tunnel", title: "one UDP datagram through a node's VXLAN device, to a segment of the bare pair", units: []string{"ns/op", "allocs/op"}, base: "TCP", baseUnit: perSegment},
	{name: "Growth", title: "one UDP datagram through a node or a lab that has n of something", units: []string{"ns/op", "allocs/op"}, growth: true},
	{name: "Rules", title: "kube-proxy's rules of 10,000 Services with 10 endpoints each: CPU time, memory that stays", units: []string{"cpu-s/op", "heap-MB", "allocs/op"}},
	{name: "Build", title: "10 nodes with 30 pods each, built and closed, to 310 bare stacks", units: []string{"ns/op", "allocs/op"}},
	{name: "IdlePods", title: "a pod that does nothing, to a bare stack that does nothing", units: []string{"heap-B/pod", "goroutines/pod"}},
}

// barePath ends the name of the result that the others of its benchmark are
// held against.
const barePath = "/path=bare"

// A budget is what a result must reach. Against says that it is a ratio.
type budget struct {
	name, unit string
	least      float64
	against    bool
}

var budgets = []budget{
	{"TCP/path=vxlan", "MB/s", 0.5, true},
	{"VirtualTime/load=1Gbit", "vsec/s", 1, false},
	{"VirtualTime/load=1000pps", "vsec/s", 60, false},
}

// String returns the table, see [Report].
func (r *Results) String() string {
	var b strings.Builder
	for _, s := range r.Settings {
		fmt.Fprintf(&b, "%s: %s\n", s.Key, s.Value)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, g := range r.groups() {
		fmt.Fprintf(w, "\n%s\t\t\t\t\n", g.title)
		fmt.Fprintf(w, "  benchmark\tvalue\tspread\t%s\tbudget\n", g.against())
		for _, s := range r.Series {
			if function(s.Name) == g.name {
				r.rows(w, g, s)
			}
		}
	}
	w.Flush() // to a strings.Builder: never fails
	return trimLines(b.String())
}

// trimLines removes the spaces that tabwriter pads empty cells with.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// groups returns the groups that have results: those with a title first.
func (r *Results) groups() []group {
	var list []group
	has := func(name string) bool {
		return slices.ContainsFunc(r.Series, func(s *Series) bool { return function(s.Name) == name })
	}
	for _, g := range groups {
		if has(g.name) {
			list = append(list, g)
		}
	}
	for _, s := range r.Series {
		name := function(s.Name)
		if !slices.ContainsFunc(list, func(g group) bool { return g.name == name }) {
			list = append(list, group{name: name, title: name})
		}
	}
	return list
}

// function returns the benchmark's name without those of its parts.
func function(name string) string {
	f, _, _ := strings.Cut(name, "/")
	return f
}

// rows writes a line for each unit of a series.
func (r *Results) rows(w io.Writer, g group, s *Series) {
	name := "  " + strings.TrimPrefix(strings.TrimPrefix(s.Name, g.name), "/")
	if s.Name == g.name {
		name = "  " + s.Name
	}
	if s.Procs != 1 {
		name = fmt.Sprintf("%s (%d CPUs)", name, s.Procs)
	} else {
		name += " (1 CPU)"
	}
	units := g.units
	if units == nil {
		for unit := range s.Values {
			units = append(units, unit)
		}
		slices.Sort(units)
	}
	for _, unit := range units {
		v, ok := s.Median(unit)
		if !ok {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, format(v, unit), spread(s.Values[unit], v), r.toBare(g, s, unit), r.budget(g, s, unit))
		name = ""
	}
}

// bare returns the series that s is compared with, or nil: the bare pair's, or
// that with n=10.
func (r *Results) bare(g group, s *Series) *Series {
	if g.growth {
		if i := strings.LastIndex(s.Name, "/n="); i >= 0 && s.Name[i:] != "/n=10" {
			return r.Find(s.Name[:i]+"/n=10", s.Procs)
		}
		return nil
	}
	base := g.base
	if base == "" {
		base = g.name
	}
	if name := base + barePath; s.Name != name {
		return r.Find(name, s.Procs)
	}
	return nil
}

func (r *Results) toBare(g group, s *Series, unit string) string {
	b := r.bare(g, s)
	if b == nil || g.base != "" && unit == "allocs/op" { // per packet here, per MiB there
		return ""
	}
	baseUnit := unit
	if u := g.baseUnit[unit]; u != "" {
		baseUnit = u
	}
	if ratio, ok := median(s.RatiosIn(unit, b, baseUnit)); ok {
		return fmt.Sprintf("%.2f", ratio)
	}
	return ""
}

// budget says what the result should be, and whether it is.
func (r *Results) budget(g group, s *Series, unit string) string {
	for _, b := range budgets {
		if b.name == s.Name && b.unit == unit {
			values := s.Values[unit]
			if bare := r.bare(g, s); b.against && bare != nil {
				values = s.Ratios(bare, unit)
			} else if b.against {
				values = nil
			}
			return fmt.Sprintf(">= %.2f: %s", b.least, b.verdict(values))
		}
	}
	return ""
}

// verdict needs all measurements to agree: on a machine that does other things
// too, a median alone says "met" or "missed" by chance.
func (b budget) verdict(values []float64) string {
	if len(values) == 0 {
		return "not known"
	}
	switch least, most := slices.Min(values), slices.Max(values); {
	case least >= b.least:
		return "met"
	case most < b.least:
		return "MISSED"
	default:
		return fmt.Sprintf("unclear, %.2f to %.2f", least, most)
	}
}

// spread returns how far the values lie from the median, at most, in percent
// of it. One value has none.
func spread(values []float64, median float64) string {
	if len(values) < 2 || median == 0 {
		return ""
	}
	var most float64
	for _, v := range values {
		most = max(most, math.Abs(v-median)/math.Abs(median))
	}
	if most > largest {
		return ""
	}
	return fmt.Sprintf("±%.0f%%", 100*most)
}

// format prints a value in a unit that people compare: bit rates rather than
// byte rates, and times by their size.
func format(v float64, unit string) string {
	switch {
	case unit == "MB/s":
		return fmt.Sprintf("%.2f Gbit/s", v*8/1000)
	case unit == "ns/op" && v >= 1e9:
		return fmt.Sprintf("%.2f s/op", v/1e9)
	case unit == "ns/op" && v >= 1e6:
		return fmt.Sprintf("%.1f ms/op", v/1e6)
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return fmt.Sprintf("%.0f %s", v, unit)
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}
