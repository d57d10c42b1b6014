package topo

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/podwire/podwire/emu"
)

// A Spread is what came of playing a scenario with several seeds. Its JSON form
// is stable: fields are added, not changed. Durations are in nanoseconds.
type Spread struct {
	Scenario string       `json:"scenario"`
	File     string       `json:"file"`
	Design   string       `json:"design"`
	Nodes    int          `json:"nodes"`
	Pods     int          `json:"pods"`
	Virtual  bool         `json:"virtualTime"`
	Passed   bool         `json:"passed"` // with every seed
	Seeds    []SeedResult `json:"seeds"`
	Flows    []FlowSpread `json:"flows,omitempty"` // over the seeds that were played to their end
	Steps    []StepSpread `json:"steps"`
}

// A SeedResult is what came of one seed.
type SeedResult struct {
	Seed     uint64        `json:"seed"`
	Passed   bool          `json:"passed"`
	Error    string        `json:"error,omitempty"` // there is no verdict: the run crashed, stood still, or could not begin
	Duration time.Duration `json:"duration"`        // of the lab's clock
	Failures []string      `json:"failures,omitempty"`
	Command  string        `json:"command"` // that plays it again
}

// A Range is the spread of one figure.
type Range struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// A StepSpread is one step over all seeds.
type StepSpread struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Passed int    `json:"passed"` // with how many seeds
	Failed int    `json:"failed"`
	Took   Range  `json:"took"`
}

// A FlowSpread is one flow over all seeds.
type FlowSpread struct {
	Step        int    `json:"step"`
	Kind        string `json:"kind"`
	From        string `json:"from"`
	To          string `json:"to"`
	Goodput     Range  `json:"goodput"` // bit/s
	Loss        Range  `json:"loss"`    // a share; not of a bulk flow
	P50         Range  `json:"p50"`
	P99         Range  `json:"p99"`
	LongestGap  Range  `json:"longestGap"`
	Retransmits Range  `json:"retransmits"`
}

// NewSpread sums verdicts up. Verdicts are by seed, nil where there is none; the
// results hold seed, command and error.
func NewSpread(results []SeedResult, verdicts []*Verdict) *Spread {
	s := &Spread{Seeds: results, Passed: true, Steps: []StepSpread{}}
	var played []*Verdict
	for i, v := range verdicts {
		r := &s.Seeds[i]
		if v != nil {
			played = append(played, v)
			r.Passed, r.Duration, r.Failures = v.Passed, v.Duration, v.Failures()
		}
		s.Passed = s.Passed && r.Passed
	}
	if len(played) == 0 {
		return s
	}
	first := played[0]
	s.Scenario, s.File, s.Design, s.Nodes, s.Pods, s.Virtual = first.Scenario, first.File, first.Design, first.Nodes, first.Pods, first.Virtual
	for i := range first.Steps {
		s.addStep(i, played)
	}
	return s
}

// Failures are what did not hold, one line each.
func (v *Verdict) Failures() (list []string) {
	for _, s := range v.Steps {
		for _, c := range s.Checks {
			if !c.Passed {
				list = append(list, fmt.Sprintf("step %d, %s: %s: got %s, want %s", s.Number, printable(s.Name), c.What, c.Got, c.Want))
			}
		}
	}
	for _, f := range v.Faults {
		if f.Error != "" {
			list = append(list, fmt.Sprintf("fault %s: %s", printable(f.What), f.Error))
		}
	}
	return list
}

// addStep sums a step and its flows up.
func (s *Spread) addStep(i int, played []*Verdict) {
	step := StepSpread{Number: i + 1, Name: played[0].Steps[i].Name}
	of := func(f func(*StepResult) float64) Range {
		var list []float64
		for _, v := range played {
			if i < len(v.Steps) {
				list = append(list, f(&v.Steps[i]))
			}
		}
		return newRange(list)
	}
	for _, v := range played {
		if i < len(v.Steps) && v.Steps[i].Passed {
			step.Passed++
		} else {
			step.Failed++
		}
	}
	step.Took = of(func(r *StepResult) float64 { return float64(r.Took) })
	s.Steps = append(s.Steps, step)
	for j := 0; ; j++ {
		var list []*FlowResult
		for _, v := range played {
			if i < len(v.Steps) && j < len(v.Steps[i].Flows) {
				list = append(list, &v.Steps[i].Flows[j])
			}
		}
		if len(list) == 0 {
			return
		}
		s.Flows = append(s.Flows, newFlowSpread(i+1, list))
	}
}

func newFlowSpread(step int, list []*FlowResult) FlowSpread {
	of := func(f func(*FlowResult) float64) Range {
		values := make([]float64, len(list))
		for i, r := range list {
			values[i] = f(r)
		}
		return newRange(values)
	}
	return FlowSpread{
		Step: step, Kind: list[0].Kind, From: list[0].From, To: list[0].To,
		Goodput: of(func(r *FlowResult) float64 { return r.Goodput }),
		Loss: of(func(r *FlowResult) float64 {
			if r.Kind == string(emu.BulkFlow) || r.Sent == 0 {
				return 0
			}
			return float64(r.Sent-r.Received) / float64(r.Sent)
		}),
		P50: of(func(r *FlowResult) float64 { return float64(r.P50) }), P99: of(func(r *FlowResult) float64 { return float64(r.P99) }),
		LongestGap:  of(func(r *FlowResult) float64 { return float64(r.LongestGap) }),
		Retransmits: of(func(r *FlowResult) float64 { return float64(r.Retransmits) }),
	}
}

// newRange is the spread of a list; the median of an even number is the mean of
// the two in the middle.
func newRange(list []float64) Range {
	if len(list) == 0 {
		return Range{}
	}
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	return Range{list[0], (list[(n-1)/2] + list[n/2]) / 2, list[n-1]}
}

// WriteText prints the spread for people.
func (s *Spread) WriteText(w io.Writer) error {
	clock := "real time"
	if s.Virtual {
		clock = "virtual time"
	}
	if s.Scenario != "" {
		fmt.Fprintf(w, "%s: %s, %s, %s, %s, %s\n\n", printable(s.Scenario), s.Design, plural(s.Nodes, "node"), plural(s.Pods, "pod"), plural(len(s.Seeds), "seed"), clock)
	}
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	if len(s.Steps) > 0 {
		fmt.Fprintf(t, "\t\t\t\tmin\tmedian\tmax\n")
	}
	for _, step := range s.Steps {
		fmt.Fprintf(t, "%s\t%d\t%s\t%d of %d\t%s\n", mark(step.Failed == 0), step.Number, printable(step.Name), step.Passed, step.Passed+step.Failed, step.Took.text(nanoText))
		for _, f := range s.Flows {
			if f.Step == step.Number {
				f.write(t)
			}
		}
	}
	t.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	return s.writeSeeds(w)
}

func (f *FlowSpread) write(w io.Writer) {
	name := fmt.Sprintf("  %s %s -> %s", f.Kind, f.From, f.To)
	row := func(what string, r Range, text func(float64) string) {
		fmt.Fprintf(w, "\t\t%s\t%s\t%s\n", name, what, r.text(text))
		name = ""
	}
	if f.Kind != string(emu.PingFlow) {
		row("goodput", f.Goodput, bitRate)
	}
	if f.Kind != string(emu.BulkFlow) {
		row("loss", f.Loss, func(v float64) string { return strconv.FormatFloat(v*100, 'f', 1, 64) + "%" })
	}
	row("delay p50", f.P50, nanoText)
	row("delay p99", f.P99, nanoText)
	row("longest gap", f.LongestGap, nanoText)
	if f.Retransmits.Max > 0 {
		row("retransmitted", f.Retransmits, func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) })
	}
}

func (r Range) text(one func(float64) string) string {
	return one(r.Min) + "\t" + one(r.Median) + "\t" + one(r.Max)
}

// nanoText prints a duration with as many digits as one can compare.
func nanoText(v float64) string {
	d := time.Duration(v)
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 1000).String()
		}
	}
	return d.String()
}

// writeSeeds names the seeds that failed, each with the command that plays it
// again, and the sum of all.
func (s *Spread) writeSeeds(w io.Writer) error {
	failed := 0
	for _, r := range s.Seeds {
		if r.Passed {
			continue
		}
		failed++
		fmt.Fprintf(w, "\nFAIL  seed %d: %s\n", r.Seed, r.Command)
		if r.Error != "" {
			fmt.Fprintf(w, "  %s\n", r.Error)
		}
		for i, f := range r.Failures {
			if i == 3 && len(r.Failures) > 4 {
				fmt.Fprintf(w, "  and %d more\n", len(r.Failures)-i)
				break
			}
			fmt.Fprintf(w, "  %s\n", f)
		}
	}
	if failed > 0 {
		_, err := fmt.Fprintf(w, "\nFAIL: %d of %s\n", failed, plural(len(s.Seeds), "seed"))
		return err
	}
	_, err := fmt.Fprintf(w, "\nPASS: %s\n", plural(len(s.Seeds), "seed"))
	return err
}
