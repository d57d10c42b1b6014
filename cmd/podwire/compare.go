package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/podwire/podwire/bench/faceoff"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/topo"
)

// compareFlags are the flags of podwire compare.
type compareFlags struct {
	designs, groups []string
	from, to, seed  string
	seeds           int
	realTime        bool
	explain         bool
	report          string
	output          *choice
}

// comparisons are the forms in which a comparison is printed.
var comparisons = map[string]func(*compareFlags, io.Writer, *faceoff.Result) error{
	"text":     func(f *compareFlags, w io.Writer, r *faceoff.Result) error { return r.WriteText(w, f.explain) },
	"markdown": func(_ *compareFlags, w io.Writer, r *faceoff.Result) error { return r.WriteMarkdown(w) },
	"table":    func(_ *compareFlags, w io.Writer, r *faceoff.Result) error { return r.WriteKeyTable(w) },
	"csv":      func(_ *compareFlags, w io.Writer, r *faceoff.Result) error { return r.WriteCSV(w) },
	"json":     func(_ *compareFlags, w io.Writer, r *faceoff.Result) error { return writeJSON(w, r) },
}

func newCompare() *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare FILE [MANIFEST...]",
		Short: "Measure the network of a scenario under several designs, side by side",
		Long: `compare builds the network of a scenario under each design and measures it between
two pods: what a design adds to packets, MTU and MSS, goodput and its share of the
limit, round trips and connections, frames on the underlay, loss, recovery from
faults, tables and how they grow. Then it plays the scenario's own steps under each
design. Designs that do not fit the scenario are listed with the reason.

Figures are held against theory in the same run. In virtual time, which is the
default, one seed gives the same figures on every machine; --seeds adds the spread
over several. --explain says of each figure what it is, how it was measured and
what limits it. With "cluster: {cpu: true}" in the scenario packets cost CPU time, and
goodput per core is among the figures. --report writes one HTML file, which needs no network, to look at and
to hand on.

Groups of measures for --only: ` + joinWords(faceoff.Groups) + `.
The last one depends on this host, and is only measured if it is asked for.`,
		Example: `  podwire compare examples/faceoff.yaml
  podwire compare examples/faceoff.yaml --designs flannel-vxlan,flannel-host-gw
  podwire compare examples/faceoff.yaml --only goodput,loss --seeds 10
  podwire compare examples/racks.yaml --from a --to c -o markdown
  podwire compare examples/faceoff.yaml -o json > faceoff.json
  podwire compare examples/faceoff.yaml --report faceoff.html`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("found 0 files, want one or more: %s", c.UseLine())
			}
			files, err := expandDirs(args)
			if err != nil {
				return err
			}
			return f.run(c, files)
		},
	}
	c.Flags().StringSliceVar(&f.designs, "designs", nil, "compare these `designs`, in this order, instead of all that fit")
	c.Flags().StringSliceVar(&f.groups, "only", nil, "take only these `groups` of measures")
	c.Flags().StringVar(&f.from, "from", "", "measure from this `pod`; default the first")
	c.Flags().StringVar(&f.to, "to", "", "measure to this `pod`; default the first on another node")
	c.Flags().StringVar(&f.seed, "seed", "", "begin random choices at this `number` instead of the scenario's")
	c.Flags().IntVar(&f.seeds, "seeds", 1, "measure with so many seeds, one after another from the first, and show the spread")
	c.Flags().BoolVar(&f.realTime, "real-time", false, "let time pass as on the wall: figures are then this host's")
	c.Flags().BoolVar(&f.explain, "explain", false, "say of each figure what it is, how it was measured and what limits it")
	c.Flags().StringVar(&f.report, "report", "", "write all of it as a web page to this `file`: charts, topology, headers and the way of a packet")
	f.output = addChoice(c, "text", "markdown", "csv", "json", "table")
	complete := func(names func() []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return names(), cobra.ShellCompDirectiveNoFileComp
		}
	}
	c.RegisterFlagCompletionFunc("designs", complete(designNames))
	c.RegisterFlagCompletionFunc("only", complete(func() []string { return faceoff.Groups }))
	return c
}

// run measures and prints.
func (f *compareFlags) run(c *cobra.Command, files []string) error {
	sc, err := load(c, f.fitting(files), files...)
	if err != nil {
		return err
	}
	cfg, err := f.config(sc)
	if err != nil {
		return err
	}
	if err := keepInputs("--report", f.report, sc, files...); err != nil {
		return err
	}
	interrupt := notifyInterrupt() // before there is a file to remove
	defer interrupt.stop()
	page, err := newReportFile(f.report)
	if err != nil {
		return err
	}
	defer page.abort()
	interrupt.then(page.abort)
	onProgress, done := progressLine(c.ErrOrStderr())
	cfg.OnProgress = onProgress
	r, err := faceoff.Run(scene(files, sc), cfg)
	done()
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "faceoff: "))
	}
	if err := page.commit(r); err != nil {
		return err
	}
	if err := comparisons[f.output.String()](f, c.OutOrStdout(), r); err != nil {
		return err
	}
	if f.report != "" && f.output.String() == "text" {
		fmt.Fprintf(c.OutOrStdout(), "report: %s\n", f.report)
	}
	return nil
}

// fitting returns the first of the designs, the file's own before all, over which
// nothing is wrong with the scenario; what is wrong over others says why they do
// not fit. If there is none, it is the first.
func (f *compareFlags) fitting(files []string) string {
	designs := f.designs
	if len(designs) == 0 {
		designs = append([]string{""}, designNames()...)
	}
	for _, name := range designs {
		ld := loader()
		ld.Design = strings.TrimSpace(name)
		if _, diags := ld.Load(files[0], files[1:]...); !diags.HasErrors() {
			return ld.Design
		}
	}
	return strings.TrimSpace(designs[0])
}

// config turns flags into settings.
func (f *compareFlags) config(sc *topo.Scenario) (faceoff.Config, error) {
	cfg := faceoff.Config{
		From: f.from, To: f.to, RealTime: f.realTime, Parallel: runtime.GOMAXPROCS(0),
		Podwire: version(), Go: runtime.Version(), GVisor: moduleVersion("gvisor.dev/gvisor"),
	}
	for _, name := range f.designs {
		d, err := findDesign(strings.TrimSpace(name))
		if err != nil {
			return cfg, fmt.Errorf("--designs: %w", err)
		}
		if slices.Contains(cfg.Designs, d.Name) {
			return cfg, fmt.Errorf("--designs: found %s twice", d.Name)
		}
		cfg.Designs = append(cfg.Designs, d.Name)
	}
	for _, g := range f.groups {
		if !slices.Contains(faceoff.Groups, g) {
			return cfg, fmt.Errorf("--only: found %q, want some of %s", g, joinWords(faceoff.Groups))
		}
		cfg.Groups = append(cfg.Groups, g)
	}
	first := sc.Seed.Value
	if f.seed != "" {
		n, err := parseSeed(f.seed)
		if err != nil {
			return cfg, err
		}
		first = n
	}
	if f.seeds < 1 || f.seeds > 1000 {
		return cfg, fmt.Errorf("--seeds: found %d, want 1 to 1000", f.seeds)
	}
	for i := range f.seeds {
		cfg.Seeds = append(cfg.Seeds, first+uint64(i))
	}
	return cfg, nil
}

// scene makes a scenario what package faceoff measures. The files are read anew for
// each lab, because a scenario is not for several at once.
func scene(files []string, sc *topo.Scenario) *faceoff.Scene {
	read := func(v faceoff.Variant) (*topo.Scenario, topo.RunConfig, error) {
		ld := loader()
		ld.Design = v.Design
		sc, diags := ld.Load(files[0], files[1:]...)
		return sc, topo.RunConfig{Seed: v.Seed, Design: v.Design, MTU: v.MTU, Settle: v.Settle}, diags.Err()
	}
	s := &faceoff.Scene{
		Name: sc.Name.Value, File: filepath.Base(files[0]),
		Lab: func(v faceoff.Variant, f func(*emu.Lab) error) error {
			sc, cfg, err := read(v)
			if err != nil {
				return err
			}
			return sc.Lab(cfg, f)
		},
	}
	s.Text = textOf(files)
	if s.Name == "" {
		s.Name = s.File
	}
	if len(sc.Steps) > 0 {
		s.Play = func(v faceoff.Variant) (*faceoff.Played, error) {
			sc, cfg, err := read(v)
			if err != nil {
				return nil, err
			}
			verdict, err := sc.Run(cfg)
			if err != nil {
				return nil, err
			}
			return played(verdict), nil
		}
	}
	return s
}

// textOf returns what files say, each but the only one under its name. They have
// been read before: one that has gone since is left out.
func textOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if len(files) > 1 {
			fmt.Fprintf(&b, "# %s\n", filepath.Base(file))
		}
		b.Write(content)
		if !bytes.HasSuffix(content, []byte("\n")) {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// played puts a verdict into the words of a comparison.
func played(v *topo.Verdict) *faceoff.Played {
	p := &faceoff.Played{Checks: faceoff.Checks{Passed: v.Passed, Steps: len(v.Steps)}}
	for _, s := range v.Steps {
		for _, c := range s.Checks {
			if !c.Passed {
				p.Checks.Failed = append(p.Checks.Failed, fmt.Sprintf("step %d, %s: %s: got %s, want %s", s.Number, s.Name, c.What, c.Got, c.Want))
			}
		}
		for i, f := range s.Flows {
			p.Series = append(p.Series, flowSeries(v, &s, i, &f)...)
		}
	}
	return p
}

// flowSeries is the goodput of a flow of a step and, of flows of single packets,
// how long they took; with the faults that happened meanwhile.
func flowSeries(v *topo.Verdict, s *topo.StepResult, i int, f *topo.FlowResult) []faceoff.Series {
	series := faceoff.Series{ID: fmt.Sprintf("step-%d-%d", s.Number, i+1), Title: fmt.Sprintf("%s: %s %s -> %s", s.Name, f.Kind, f.From, f.To)}
	for _, fault := range v.Faults {
		if at := fault.Time - s.Start; at >= 0 && at <= s.Took {
			series.Marks = append(series.Marks, faceoff.Mark{Time: at, Text: fault.What})
		}
	}
	goodput, rtt := series, series
	goodput.ID, goodput.Name, goodput.Unit = series.ID+"-goodput", "goodput", faceoff.BitRate
	rtt.ID, rtt.Name, rtt.Unit = series.ID+"-delay", "delay", faceoff.Seconds
	for _, x := range f.Series {
		goodput.Points = append(goodput.Points, faceoff.Point{Time: x.Time - s.Start, Value: x.Goodput})
		rtt.Points = append(rtt.Points, faceoff.Point{Time: x.Time - s.Start, Value: x.RTT.Seconds()})
	}
	if f.Kind == string(emu.PingFlow) {
		return []faceoff.Series{rtt}
	}
	return []faceoff.Series{goodput, rtt}
}

// progressLine shows on a terminal what is being done, and nothing elsewhere.
func progressLine(w io.Writer) (on func(done, of int, what string), end func()) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, func() {}
	}
	const clear = "\r\x1b[K"
	return func(done, of int, what string) {
		fmt.Fprintf(w, "%s%d of %d: %.60s", clear, done, of, what)
	}, func() { fmt.Fprint(w, clear) }
}

// parseSeed reads a seed.
func parseSeed(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("--seed: found %q, want a number from 0 to 2^64-1", s)
	}
	return n, nil
}

// choice is the value of an -o that knows more than text and json.
type choice struct {
	value string
	words []string
}

func (o *choice) String() string { return o.value }
func (o *choice) Type() string   { return strings.Join(o.words, "|") }

func (o *choice) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return fmt.Errorf("found %q, want one of %s", s, joinWords(o.words))
	}
	o.value = s
	return nil
}

// addChoice gives a command the flag -o with these words, the first the default.
func addChoice(c *cobra.Command, words ...string) *choice {
	o := &choice{words[0], words}
	c.Flags().VarP(o, "output", "o", "output format: "+joinWords(words))
	c.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
	return o
}
