package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/topo"
	"github.com/podwire/podwire/topo/search"
)

// A fuzzReport is what came of --fuzz-faults. Its JSON form is stable: fields are
// added, not changed.
type fuzzReport struct {
	File    string        `json:"file"`
	Runs    int           `json:"runs"`  // schedules that were tried, those of shrinking included
	Found   bool          `json:"found"` // a schedule under which a check fails
	Run     int           `json:"run,omitempty"`
	Before  []string      `json:"before,omitempty"` // that schedule, elements of faults
	Faults  []string      `json:"faults,omitempty"` // the smallest
	Broken  []string      `json:"broken,omitempty"` // what it violates
	Detail  string        `json:"detail,omitempty"`
	Out     string        `json:"out,omitempty"` // the scenario with the smallest schedule
	Command string        `json:"command,omitempty"`
	Span    time.Duration `json:"duration"` // of the scenario without random faults, on its own clock
}

// fuzzFaults looks for a schedule of random faults under which a check fails,
// shrinks it, writes a scenario with it, and plays that.
func (f *runFlags) fuzzFaults(c *cobra.Command, cfg topo.RunConfig, sc *topo.Scenario, files []string) error {
	if err := f.checkFuzz(sc, files); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	j := job{Files: files, Design: cfg.Design, Seed: cfg.Seed}
	r, err := f.searchFaults(ctx, c, j, sc)
	if ctx.Err() != nil {
		os.Exit(exitInterrupted)
	}
	if err != nil {
		return err
	}
	if r.Found {
		if err := f.writeFound(ctx, j, r); err != nil {
			return err
		}
	}
	if err := r.print(c.OutOrStdout(), f.output.String()); err != nil {
		return err
	}
	if r.Found {
		return errFailed
	}
	return nil
}

// checkFuzz finds flags that do not go together, and an output in the way.
func (f *runFlags) checkFuzz(sc *topo.Scenario, files []string) error {
	switch {
	case f.pcap != "" || f.realTime:
		return errors.New("--fuzz-faults: found --pcap or --real-time, which are for one run")
	case f.seeds != "":
		return errors.New("found --seeds and --fuzz-faults, want one of them")
	case f.runs < 1:
		return fmt.Errorf("--runs: found %d, want 1 or more", f.runs)
	case f.budget < 0:
		return fmt.Errorf("--for: found %v, want a longer time", f.budget)
	case len(files) > 1 || sc.Plain() || len(sc.Steps) == 0:
		return errors.New("--fuzz-faults: want one scenario with steps that expect something")
	}
	if f.out != "" {
		return nil
	}
	f.out = strings.TrimSuffix(filepath.Base(files[0]), filepath.Ext(files[0])) + "-shrunk.yaml"
	if _, err := os.Stat(f.out); err == nil {
		return fmt.Errorf("%s is there already, want another name: --out FILE", f.out)
	}
	return nil
}

// searchFaults searches and shrinks.
func (f *runFlags) searchFaults(ctx context.Context, c *cobra.Command, j job, sc *topo.Scenario) (*fuzzReport, error) {
	r := &fuzzReport{File: j.Files[0]}
	elements, err := f.schedules(ctx, j, sc, r)
	if err != nil {
		return nil, err
	}
	s := search.New(func(ctx context.Context, faults []string) (search.Outcome, error) {
		try := j
		try.Faults = append([]string{}, faults...)
		got, err := try.do(ctx)
		return outcome(got), err
	}, runtime.GOMAXPROCS(0))
	line, done := progressLine(c.ErrOrStderr())
	defer done()
	within, cancel := ctx, context.CancelFunc(func() {})
	if f.budget > 0 {
		within, cancel = context.WithTimeout(ctx, f.budget)
	}
	defer cancel()
	s.OnRun = func(n int) {
		if line != nil {
			line(n, f.runs, "schedules tried")
		}
	}
	found, err := s.Find(within, f.runs, elements)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if err != nil || found == nil {
		r.Runs = s.Runs()
		return r, err
	}
	s.OnRun = func(n int) {
		if line != nil {
			line(n, n, "tried, shrinking")
		}
	}
	small, err := s.Shrink(ctx, found)
	if err != nil {
		return nil, err
	}
	r.Runs, r.Found, r.Run, r.Before = s.Runs(), true, found.Index+1, found.Faults
	r.Faults, r.Broken, r.Detail = small.Faults, small.Outcome.Broken, small.Outcome.Detail
	return r, nil
}

// schedules returns what draws the i-th schedule. The scenario must hold without
// random faults, or there is nothing to look for.
func (f *runFlags) schedules(ctx context.Context, j job, sc *topo.Scenario, r *fuzzReport) (func(i uint64) []string, error) {
	j.Faults = []string{}
	random := false
	for i := range sc.Faults {
		if sc.Faults[i].Random != nil {
			random = true
			continue
		}
		j.Faults = append(j.Faults, sc.Faults[i].Text())
	}
	got, err := j.do(ctx)
	if err != nil {
		return nil, err
	}
	if o := outcome(got); got.Verdict == nil || !got.Verdict.Passed {
		if o.Detail == "" && got.Verdict != nil {
			o.Detail = strings.Join(got.Verdict.Failures(), "; ")
		}
		return nil, fmt.Errorf("--fuzz-faults: %s fails without random faults: %s", j.Files[0], o.Detail)
	}
	r.Span = got.Verdict.Duration
	seed := got.Verdict.Seed
	if random {
		return func(i uint64) []string { return sc.Elements(seed + i) }, nil
	}
	counts := []int{1, 2, 3, 4, 6, 8}
	drawn := make([]*topo.Scenario, len(counts))
	for i, n := range counts {
		longest := max(time.Millisecond, r.Span/4).Round(time.Millisecond)
		j.Faults = append(j.Faults, fmt.Sprintf("- {at: 0s, random: {count: %d, window: %v, for: %v..%v}}", n, r.Span, max(time.Millisecond, longest/20), longest))
		var diags topo.Diagnostics
		if drawn[i], diags = j.load(); diags.HasErrors() {
			return nil, diags.Err()
		}
		j.Faults = j.Faults[:len(j.Faults)-1]
	}
	return func(i uint64) []string { return drawn[i%uint64(len(drawn))].Elements(seed + i) }, nil
}

// outcome says what a run violates.
func outcome(r result) (o search.Outcome) {
	switch {
	case r.crashed:
		return search.Outcome{Broken: []string{"crash"}, Detail: r.Error}
	case r.stalled:
		return search.Outcome{Broken: []string{"stall"}, Detail: r.Error}
	case r.Verdict == nil:
		return search.Outcome{Invalid: true, Detail: r.Error}
	}
	for _, s := range r.Verdict.Steps {
		for _, c := range s.Checks {
			if !c.Passed {
				o.Broken = append(o.Broken, fmt.Sprintf("step %d %s", s.Number, c.What))
			}
		}
	}
	if len(o.Broken) > 0 {
		o.Detail = r.Verdict.Failures()[0]
	}
	for _, f := range r.Verdict.Faults {
		o.Invalid = o.Invalid || f.Error != ""
	}
	return o
}

// writeFound writes the scenario with the smallest schedule, and plays it as
// anybody would.
func (f *runFlags) writeFound(ctx context.Context, j job, r *fuzzReport) error {
	data, err := os.ReadFile(j.Files[0])
	if err != nil {
		return err
	}
	r.Out, r.Command = f.out, "podwire run "+f.out
	text, err := topo.Rewrite{
		Comment: fmt.Sprintf("%s fails under these faults:\n%s\n\n%s", filepath.Base(j.Files[0]), r.Detail, "\t"+r.Command),
		Faults:  r.Faults, Seed: j.Seed, Design: j.Design, Dir: filepath.Dir(f.out),
	}.Apply(j.Files[0], data)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.out, text, 0o666); err != nil {
		return err
	}
	again, err := (&job{Files: []string{f.out}}).do(ctx)
	if err != nil {
		return err
	}
	if o := outcome(again); strings.Join(o.Broken, ",") != strings.Join(r.Broken, ",") {
		return fmt.Errorf("--fuzz-faults: %s does not fail as it did: found %v, want %v", f.out, o.Broken, r.Broken)
	}
	return nil
}

// print prints the report.
func (r *fuzzReport) print(w io.Writer, form string) error {
	if form == "json" {
		return writeJSON(w, r)
	}
	if !r.Found {
		_, err := fmt.Fprintf(w, "PASS: all checks of %s hold under %d schedules of random faults\n", r.File, r.Runs)
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n\nschedule %d fails, with %d faults; the smallest of %d runs that fails:\n%s\n\nFAIL: %s\n",
		r.Detail, r.Run, len(r.Before), r.Runs, strings.Join(r.Faults, "\n"), r.Command)
	return err
}
