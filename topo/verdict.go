package topo

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/podwire/podwire/emu"
)

// A Verdict is what came of playing a scenario. Its JSON form is stable:
// fields are added, not changed. Durations are in nanoseconds.
type Verdict struct {
	Scenario string        `json:"scenario"`
	File     string        `json:"file"`
	Design   string        `json:"design"`
	Nodes    int           `json:"nodes"`
	Pods     int           `json:"pods"`
	Seed     uint64        `json:"seed"`
	Virtual  bool          `json:"virtualTime"`
	Late     *Lateness     `json:"late,omitempty"`     // in real time
	TCP      string        `json:"tcp"`                // the settings of every TCP connection
	CPU      string        `json:"cpu,omitempty"`      // the CPU model of the nodes, if there is one
	Duration time.Duration `json:"duration"`           // of the lab's clock
	Warnings []string      `json:"warnings,omitempty"` // what does not work on this network, known before the first step
	Passed   bool          `json:"passed"`
	Steps    []StepResult  `json:"steps"`
	Faults   []FaultResult `json:"faults,omitempty"` // what happened beside the steps
	Drawn    []string      `json:"drawn,omitempty"`  // random faults, a line of YAML each, as they can stand under faults
}

// A StepResult is what came of one step.
type StepResult struct {
	Number  int           `json:"number"` // from 1
	Name    string        `json:"name"`
	Verb    string        `json:"verb"`
	Pos     Pos           `json:"position"`
	Start   time.Duration `json:"start"` // on the lab's clock
	Took    time.Duration `json:"took"`
	Passed  bool          `json:"passed"`
	Outcome string        `json:"outcome"`         // what happened, in one line
	Error   string        `json:"error,omitempty"` // one of StepErrors, or other words
	Checks  []Check       `json:"checks"`
	Flows   []FlowResult  `json:"flows,omitempty"` // of a flow step
	// Translated is what NAT did to the flow of an http, tcp or udp step that got an
	// answer, in the order in which its first packet met it.
	Translated []emu.Translation `json:"translated,omitempty"`
	Output     string            `json:"output,omitempty"` // what a command printed
}

// A Check is one expectation of a step.
type Check struct {
	What   string `json:"what"` // the key under expect
	Want   string `json:"want"`
	Got    string `json:"got"`
	Passed bool   `json:"passed"`
}

// WriteText prints the verdict as a table for people.
func (v *Verdict) WriteText(w io.Writer) error {
	clock := "real time"
	if v.Virtual {
		clock = "virtual time"
	}
	fmt.Fprintf(w, "%s: %s, %s, %s, seed %d, %s\n\n", printable(v.Scenario), v.Design, plural(v.Nodes, "node"), plural(v.Pods, "pod"), v.Seed, clock)
	if v.CPU != "" {
		fmt.Fprintf(w, "CPU model: %s\n\n", v.CPU)
	}
	if v.Late != nil {
		fmt.Fprintf(w, "Real time: %v.\n\n", v.Late)
	}
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, s := range v.Steps {
		fmt.Fprintf(t, "%s\t%d\t%s\t%v\n", mark(s.Passed), s.Number, printable(s.Name), s.Took)
		if len(s.Flows) == 0 {
			fmt.Fprintf(t, "\t\t  %s\t\n", s.Outcome)
		}
		for _, line := range translations(s.Translated) {
			fmt.Fprintf(t, "\t\t  %s\t\n", line)
		}
		for _, f := range s.Flows {
			fmt.Fprintf(t, "\t\t  %s -> %s %s\t\n", f.From, f.To, f)
		}
		for _, c := range s.Checks {
			if !c.Passed {
				fmt.Fprintf(t, "\t\t  %s: got %s, want %s (%s)\t\n", c.What, c.Got, c.Want, s.Pos)
			}
		}
	}
	for _, f := range v.Faults {
		fmt.Fprintf(t, "%s\tfault\t%s\t%v\n", mark(f.Error == ""), printable(f.What), f.Time)
		if f.Error != "" {
			fmt.Fprintf(t, "\t\t  %s (%s)\t\n", f.Error, f.Pos)
		}
	}
	t.Flush()
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	if len(v.Drawn) > 0 {
		fmt.Fprintf(w, "\nrandom faults, as they can be written under faults:\n%s\n", strings.Join(v.Drawn, "\n"))
	}
	if v.Late != nil && !v.Passed {
		fmt.Fprintf(w, "\nIn real time a lab is as late as its machine, moves no more than that has CPU time for, and has\ngVisor's own congestion control: times and rates need slack. In virtual time (without --real-time)\nthey are exact.\n")
	}
	_, err := fmt.Fprintf(w, "\n%s after %v\n", v.summary(), v.Duration)
	return err
}

// printable keeps control characters of a name away from the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

func mark(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAIL"
}

// summary counts steps and checks.
func (v *Verdict) summary() string {
	var failed, checks int
	for _, s := range v.Steps {
		checks += len(s.Checks)
		if !s.Passed {
			failed++
		}
	}
	if failed == 0 {
		hold := "hold"
		if checks == 1 {
			hold = "holds"
		}
		return fmt.Sprintf("PASS: %s, %s %s,", plural(len(v.Steps), "step"), plural(checks, "check"), hold)
	}
	return fmt.Sprintf("FAIL: %d of %s", failed, plural(len(v.Steps), "step"))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// check adds one expectation to the result.
func (r *StepResult) check(what, got, want string, ok bool) {
	r.Checks = append(r.Checks, Check{What: what, Want: want, Got: got, Passed: ok})
	r.Passed = r.Passed && ok
}

// shorten cuts text for a table.
func shorten(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len([]rune(s)) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
