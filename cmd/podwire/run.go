package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/pcap"
	"github.com/podwire/podwire/topo"
)

// runFlags are the flags of podwire run.
type runFlags struct {
	pcap     string
	seed     string
	design   string
	realTime bool
	output   *output

	seeds  string
	fuzz   bool
	runs   int
	budget time.Duration
	out    string
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run FILE...",
		Short: "Build the network of a scenario, play its steps, check what they expect",
		Long: `run builds the network of a scenario, plays its steps, and checks what they
expect. Further files, or those of a directory, are Kubernetes manifests.

Manifests alone are surveyed: in a cluster of two nodes, or of the Nodes among
them, with DNS and a load balancer, every port of every pod is asked, every port
of every Service from a pod on each node, every node port, load balancer, external
IP and health check from outside. What Kubernetes drops there by design is expected
to time out. The annotation podwire/expect of a Pod or Service (refused, timeout,
unknown-name ...) says of one that it is there to fail; podwire/ready: "false" of a
pod, that its readiness probe fails.

--seeds plays the scenario with several seeds, each in a process of its own, as many
at a time as GOMAXPROCS, and reports the spread; a seed that fails is named with the
command that plays it again. --fuzz-faults looks for a schedule of random faults
under which a check fails, shrinks it as far as it still does, and writes a scenario
that fails in the same way: what is drawn is what the scenario has under random, or
else anything during the time that its steps take.

With --real-time a minute takes a minute, and what happens is as late as the machine
makes it; the verdict says how late that was. Nothing is early: of a time that is
expected exactly, that is what is checked. What wants to be quick, or fast, can fail
on a machine that is busy.`,
		Example: `  podwire run examples/quickstart.yaml
  podwire run examples/manifests/04-nodeport.yaml
  podwire run deployment.yaml service.yaml
  podwire run examples/quickstart.yaml --pcap out.pcapng
  podwire run examples/quickstart.yaml --pcap - | wireshark -k -i -
  podwire run examples/quickstart.yaml --design flannel-wireguard
  podwire run examples/random-faults.yaml --seeds 20
  podwire run examples/random-faults.yaml --seeds 100-119 -o json
  podwire run examples/partition-and-heal.yaml --fuzz-faults --runs 100 --out weak.yaml
  podwire run examples/quickstart.yaml -o json`,
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
	c.Flags().StringVar(&f.pcap, "pcap", "", "write all packets to this pcapng `file`; - is standard output")
	f.addBuild(c)
	c.Flags().BoolVar(&f.realTime, "real-time", false, "let time pass as on the wall instead of jumping from event to event")
	c.Flags().StringVar(&f.seeds, "seeds", "", "play so many seeds, from the scenario's on, or a range such as `100-119`, and report the spread")
	c.Flags().BoolVar(&f.fuzz, "fuzz-faults", false, "look for random faults under which a check fails, and shrink them")
	c.Flags().IntVar(&f.runs, "runs", 200, "of --fuzz-faults: try at most so many schedules before shrinking")
	c.Flags().DurationVar(&f.budget, "for", 0, "of --fuzz-faults: try for at most this `time`, on the wall; default no limit")
	c.Flags().StringVar(&f.out, "out", "", "of --fuzz-faults: write the smallest scenario to this `file`; default NAME-shrunk.yaml")
	f.output = addOutput(c)
	return c
}

// addBuild gives a command the flags that change what is built.
func (f *runFlags) addBuild(c *cobra.Command) {
	c.Flags().StringVar(&f.seed, "seed", "", "begin random choices at this `number` instead of the scenario's")
	c.Flags().StringVar(&f.design, "design", "", "use this pod network `design` instead of the scenario's (podwire designs lists them)")
	c.RegisterFlagCompletionFunc("design", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return designNames(), cobra.ShellCompDirectiveNoFileComp
	})
}

// oneFile wants one argument and says what it is.
func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("found %d files, want one: %s", len(args), c.UseLine())
	}
	return nil
}

// run plays one scenario, or surveys manifests.
func (f *runFlags) run(c *cobra.Command, files []string) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	sc, err := load(c, cfg.Design, files...)
	if err != nil {
		return err
	}
	if sc.Plain() {
		sc.Survey()
	}
	switch {
	case f.fuzz:
		return f.fuzzFaults(c, cfg, sc, files)
	case f.seeds != "":
		return f.runSeeds(c, cfg, sc, files)
	}
	for _, name := range []string{"runs", "for", "out"} {
		if c.Flags().Changed(name) {
			return fmt.Errorf("--%s is of --fuzz-faults, which was not found", name)
		}
	}
	out := c.OutOrStdout()
	if f.pcap == "-" {
		out = c.ErrOrStderr() // standard output is the capture
	}
	if err := keepInputs("--pcap", f.pcap, sc, files...); err != nil {
		return err
	}
	interrupt := notifyInterrupt() // before there is a file to remove
	defer interrupt.stop()
	capture, err := f.capture(c.OutOrStdout(), sc, sc.Cluster.Design.Value)
	if err != nil {
		return err
	}
	defer capture.abort()
	interrupt.then(capture.abort)
	cfg.OnBuild = capture.start
	cfg.OnWarning = func(w string) { fmt.Fprintln(c.ErrOrStderr(), "warning:", w) }
	onStep, done := progress(c.ErrOrStderr())
	cfg.OnStep = onStep
	v, err := f.play(sc, cfg)
	done()
	if err != nil {
		return err
	}
	if err := capture.commit(); err != nil {
		return err
	}
	if err := f.print(out, v); err != nil {
		return err
	}
	if capture.path != "" && *f.output == "text" {
		fmt.Fprintf(out, "packets: %s\n", capture.path)
	}
	if !v.Passed {
		return errFailed
	}
	return nil
}

// keepInputs refuses to write what a flag names over a file that the scenario is
// read from.
func keepInputs(flag, path string, sc *topo.Scenario, files ...string) error {
	out, err := os.Stat(path)
	if path == "" || err != nil {
		return nil // it is a new file
	}
	inputs := slices.Clone(files)
	for _, m := range sc.Manifests {
		in := m.Value
		if !filepath.IsAbs(in) {
			in = filepath.Join(filepath.Dir(files[0]), in)
		}
		inputs = append(inputs, in)
	}
	for _, in := range inputs {
		if info, err := os.Stat(in); err == nil && os.SameFile(info, out) {
			return fmt.Errorf("%s %s: found an input file, want another name", flag, path)
		}
	}
	return nil
}

// config turns flags into settings.
func (f *runFlags) config() (topo.RunConfig, error) {
	var cfg topo.RunConfig
	if f.seed != "" {
		n, err := parseSeed(f.seed)
		if err != nil {
			return cfg, err
		}
		cfg.Seed = &n
	}
	if f.design != "" {
		if _, err := findDesign(f.design); err != nil {
			return cfg, fmt.Errorf("--design: %w", err)
		}
		cfg.Design = f.design
	}
	return cfg, nil
}

// play runs the scenario in virtual or real time.
func (f *runFlags) play(sc *topo.Scenario, cfg topo.RunConfig) (v *topo.Verdict, err error) {
	err = inTime(f.realTime, func(settle func()) error {
		cfg.Settle = settle
		var err error
		v, err = sc.Run(cfg)
		return err
	})
	return v, err
}

// inTime calls f with what makes time virtual, or with nil for real time.
func inTime(realTime bool, f func(settle func()) error) error {
	if realTime {
		return f(nil)
	}
	return virtual.Run(f)
}

func (f *runFlags) print(w io.Writer, v *topo.Verdict) error {
	if *f.output == "json" {
		return writeJSON(w, v)
	}
	return v.WriteText(w)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// progress shows on a terminal which step is being played, and nothing
// elsewhere. Done clears the line.
func progress(w io.Writer) (onStep func(n, of int, name string), done func()) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, func() {}
	}
	const clear = "\r\x1b[K"
	onStep = func(n, of int, name string) {
		width, _, err := term.GetSize(int(file.Fd()))
		if err != nil || width < 20 {
			width = 80
		}
		line := []rune(fmt.Sprintf("step %d of %d: %s", n, of, name))
		fmt.Fprint(w, clear+string(line[:min(len(line), width-1)]))
	}
	return onStep, func() { fmt.Fprint(w, clear) }
}

// capture is where the packets of a run go: a file that appears when it is
// whole, a stream, or nowhere.
type capture struct {
	path   string
	file   *pcap.File
	writer *pcap.Writer
	cfg    emu.CaptureConfig
	lab    *emu.Capture
}

// capture prepares the output that --pcap names.
func (f *runFlags) capture(stdout io.Writer, sc *topo.Scenario, design string) (*capture, error) {
	c := &capture{}
	for _, p := range sc.Capture {
		c.cfg.Points = append(c.cfg.Points, p.Value)
	}
	section := pcap.Section{
		Application: "podwire " + version(), OS: "emulated Linux hosts",
		Comment: fmt.Sprintf("scenario %s, design %s", sc.Name.Value, design),
	}
	var err error
	switch f.pcap {
	case "":
		return c, nil
	case "-":
		if file, ok := stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			return nil, errors.New("--pcap -: standard output is a terminal, want a file or a pipe")
		}
		if c.writer, err = pcap.NewWriter(stdout, section); err == nil {
			err = c.writer.SetSync(true)
		}
	default:
		c.path = f.pcap
		if c.file, err = pcap.Create(f.pcap, section); err == nil {
			c.writer = c.file.Writer
		}
	}
	if err != nil {
		return nil, fmt.Errorf("--pcap: %w", err)
	}
	return c, nil
}

// start begins capturing a lab.
func (c *capture) start(lab *emu.Lab) (err error) {
	if c.writer != nil {
		c.lab, err = lab.CaptureTo(c.writer, c.cfg)
	}
	return err
}

// commit makes the file appear.
func (c *capture) commit() error {
	if c.lab != nil {
		if err := c.lab.Close(); err != nil && !errors.Is(err, syscall.EPIPE) {
			return fmt.Errorf("--pcap: %w", err)
		}
	}
	if c.file == nil {
		return nil
	}
	if err := c.file.Commit(); err != nil {
		return fmt.Errorf("--pcap: %w", err)
	}
	return nil
}

// abort leaves nothing behind if commit was not reached.
func (c *capture) abort() {
	if c.file != nil {
		c.file.Abort()
	}
}

// interrupt is a request to end, SIGINT or SIGTERM. It is noted from
// notifyInterrupt on, and obeyed once then has said how.
type interrupt chan os.Signal

func notifyInterrupt() interrupt {
	ch := make(interrupt, 1) // keeps a signal that comes before then
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	return ch
}

// then ends the process when the signal comes, or at once if it has come, after
// clean has removed what must not stay.
func (ch interrupt) then(clean func()) {
	go func() {
		if _, ok := <-ch; ok {
			clean()
			os.Exit(exitInterrupted)
		}
	}()
}

// again lets the next signal end the process, for one who will not wait.
func (ch interrupt) again() { signal.Reset(os.Interrupt, syscall.SIGTERM) }

// stop gives the signals their usual effect again.
func (ch interrupt) stop() {
	signal.Stop(ch)
	close(ch)
}

// expandDirs puts the YAML and JSON files of a directory in its place, by name.
func expandDirs(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		if st, err := os.Stat(arg); err != nil || !st.IsDir() {
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg) // sorted
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml" || ext == ".json") {
				files = append(files, filepath.Join(arg, e.Name()))
			}
		}
		if len(files) == before {
			files = append(files, arg) // the loader says what it is
		}
	}
	return files, nil
}

// load reads a scenario and further manifests, for another design than its own if
// one is named, and says what is wrong with it, a line each; notes are for validate.
func load(c *cobra.Command, design string, files ...string) (*topo.Scenario, error) {
	ld := loader()
	ld.Design = design
	sc, diags := ld.Load(files[0], files[1:]...)
	least := topo.Warning
	if diags.HasErrors() {
		least = topo.Error // what stops the run, and nothing else
	}
	for _, d := range diags {
		if d.Severity <= least {
			fmt.Fprintln(c.ErrOrStderr(), d)
		}
	}
	if diags.HasErrors() {
		return nil, errReported
	}
	if len(sc.Steps) == 0 && len(sc.Pods) == 0 {
		return nil, fmt.Errorf("%s: found no pods and no steps, want a scenario; hint: podwire validate explains manifests", files[0])
	}
	return sc, nil
}

// joinWords is for lists in help texts.
func joinWords(words []string) string { return strings.Join(words, ", ") }
