package faceoff

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes the result for people at a terminal. Explain adds to each
// measure what it is, how it was measured and what limits it.
func (r *Result) WriteText(w io.Writer, explain bool) error {
	var b bytes.Buffer
	for _, line := range r.head() {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintln(&b)
	if t := r.keyTable(); len(t.rows[0]) > 1 {
		t.text(&b)
	}
	for _, s := range r.Verdict {
		fmt.Fprintf(&b, "%s\n", s)
	}
	for _, t := range r.groupTables() {
		fmt.Fprintf(&b, "\n%s\n", t.title)
		t.text(&b)
	}
	if len(r.Calibration) > 0 {
		fmt.Fprintf(&b, "\nCalibration: the emulator held against theory\n")
		r.calibrationTable(r.worst()).text(&b)
	}
	r.lists(&b, "\n%s\n", "  %s\n")
	if explain {
		fmt.Fprintf(&b, "\nWhat the figures are\n")
		for _, m := range r.Measures {
			fmt.Fprintf(&b, "  %s: %s\n    How: %s\n    Limit: %s\n", m.Title, m.What, m.How, m.Limit)
		}
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// head says what was compared, and under which settings.
func (r *Result) head() []string {
	s := r.Settings
	clock := "virtual time"
	if !s.Virtual {
		clock = "real time"
	}
	seeds := make([]string, len(s.Seeds))
	for i, n := range s.Seeds {
		seeds[i] = fmt.Sprint(n)
	}
	word := "seed"
	if len(seeds) > 1 {
		word = "seeds"
	}
	lines := []string{
		fmt.Sprintf("%s: %s -> %s, %d designs, %s %s, %s", r.Scenario.Name, r.Scenario.From, r.Scenario.To, len(r.Designs), word, strings.Join(seeds, ", "), clock),
	}
	if s.Wire != "" {
		lines = append(lines, fmt.Sprintf("cables: %s; MTU %d", s.Wire, s.MTU))
	}
	if s.Window > 0 {
		lines = append(lines, fmt.Sprintf("streams: measured for %v, once they are steady", s.Window))
	}
	if s.CPU != "" {
		lines = append(lines, "CPU model: "+s.CPU)
	}
	return append(lines, "TCP: "+s.TCP, fmt.Sprintf("versions: podwire %s, %s, gVisor %s", s.Podwire, s.Go, s.GVisor))
}

func (t table) text(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		fmt.Fprintln(tw, strings.Join(row, "\t")+"\t")
	}
	tw.Flush() // to a buffer: never fails
}

// worst returns of each kind of figure the one that is farthest from theory, and
// all that do not agree with it.
func (r *Result) worst() (list []Calibration) {
	for i, c := range r.Calibration {
		farther := func(o Calibration) bool { return o.ID == c.ID && math.Abs(o.Error) > math.Abs(c.Error) }
		first := slices.IndexFunc(r.Calibration, func(o Calibration) bool { return o.ID == c.ID && o.Error == c.Error }) == i
		if !c.Agrees || first && !slices.ContainsFunc(r.Calibration, farther) {
			list = append(list, c)
		}
	}
	return list
}

// calibrationTable shows what theory says.
func (r *Result) calibrationTable(list []Calibration) table {
	t := table{rows: [][]string{{"farthest off", "figure", "measured", "theory", "error", "", "because"}}}
	for _, c := range list {
		ok := "ok"
		if !c.Agrees {
			ok = "DISAGREES"
		}
		t.rows = append(t.rows, []string{c.Design, c.Title, Text(c.Measured, c.Unit), Text(c.Theory, c.Unit), fmt.Sprintf("%+.3f %%", 100*c.Error), ok, c.Formula})
	}
	return t
}

// lists writes what is not a figure: designs that do not fit, steps that failed,
// values that are missing, warnings.
func (r *Result) lists(w io.Writer, title, item string) {
	section := func(name string, list []string) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(w, title, name)
		for _, s := range list {
			fmt.Fprintf(w, item, s)
		}
	}
	var unfit, steps []string
	for _, u := range r.Unfit {
		unfit = append(unfit, u.Design+": "+u.Reason)
	}
	for _, d := range r.Designs {
		if d.Checks == nil {
			continue
		}
		for _, f := range d.Checks.Failed {
			steps = append(steps, d.Name+": "+f)
		}
	}
	section("Do not fit this scenario", unfit)
	section("Steps of the scenario that failed", steps)
	section("Not measured", r.notes())
	section("Warnings", r.Warnings)
}
