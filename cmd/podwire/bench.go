package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/bench/workload"
	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/internal/typo"
	"github.com/podwire/podwire/topo"
)

// benchFlags are the flags of podwire bench.
type benchFlags struct {
	labFlags
	from, to, work, wire, rate string
	options                    workload.Options
}

func newBench() *cobra.Command {
	var f benchFlags
	var works, wires []string
	list := func(name, summary string) string { return fmt.Sprintf("  %-12s %s\n", name, summary) }
	var help strings.Builder
	for _, w := range workload.Workloads() {
		works = append(works, w.Name)
		help.WriteString(list(w.Name, w.Summary))
	}
	help.WriteString("\nCables for --wire, instead of the scenario's:\n")
	for _, w := range workload.Wires() {
		wires = append(wires, w.Name)
		help.WriteString(list(w.Name, w.Summary))
	}
	c := &cobra.Command{
		Use:   "bench FILE --from MACHINE --to MACHINE",
		Short: "Send traffic between two machines of a scenario and report as iperf3 does",
		Long: `bench builds the lab of a scenario, plays its steps, and runs one workload between
two machines. Time is virtual: the figures are the network's, whatever the host.

Workloads:
` + help.String(),
		Example: `  podwire bench examples/faceoff.yaml --from client --to server
  podwire bench examples/faceoff.yaml --from client --to server --workload both-ways --wire 25g --for 20ms
  podwire bench examples/faceoff.yaml --from client --to server --workload mixed --wire wan -o json
  podwire bench examples/faceoff.yaml --from client --to server --workload udp --rate 500Mbit --design flannel-vxlan`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error { return f.bench(c, args[0], works, wires) },
	}
	f.add(c)
	f.output = addOutput(c)
	c.Flags().StringVar(&f.from, "from", "", "the `machine` that sends: a pod, a node, one outside")
	c.Flags().StringVar(&f.to, "to", "", "the `machine` that receives")
	c.Flags().StringVar(&f.work, "workload", "bulk", "what to send: a `workload` of those above")
	c.Flags().StringVar(&f.wire, "wire", "", "change the cables to a `kind` of those above")
	c.Flags().DurationVar(&f.options.For, "for", 100*time.Millisecond, "how long to send, on the lab's clock")
	c.Flags().DurationVar(&f.options.Omit, "omit", 0, "do not count the beginning, as iperf3 -O")
	c.Flags().DurationVar(&f.options.Interval, "every", 0, "time between requests and connections; 0 is 10ms")
	c.Flags().IntVar(&f.options.Size, "size", 0, "`bytes` of requests and datagrams; 0 is 1000")
	c.Flags().StringVar(&f.rate, "rate", "", "of UDP payload, such as 500Mbit; default 10Mbit")
	words := func(list []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return list, cobra.ShellCompDirectiveNoFileComp
		}
	}
	c.RegisterFlagCompletionFunc("workload", words(works))
	c.RegisterFlagCompletionFunc("wire", words(wires))
	return c
}

// check finds what is wrong with the flags before a lab is built.
func (f *benchFlags) check(works, wires []string) error {
	known := func(flag, word string, words []string) error {
		for _, w := range words {
			if w == word {
				return nil
			}
		}
		if near := typo.Nearest(word, words); near != "" {
			return fmt.Errorf("--%s: found %q, did you mean %s?", flag, word, near)
		}
		return fmt.Errorf("--%s: found %q, want one of %s", flag, word, joinWords(words))
	}
	switch {
	case f.from == "" || f.to == "":
		return errors.New("want --from and --to, the machines at both ends")
	case f.options.For <= 0 || f.options.Omit < 0 || f.options.Omit >= f.options.For:
		return fmt.Errorf("--for %v --omit %v: want some time, and less of it omitted", f.options.For, f.options.Omit)
	}
	if err := known("workload", f.work, works); err != nil {
		return err
	}
	if f.wire != "" {
		if err := known("wire", f.wire, wires); err != nil {
			return err
		}
	}
	if f.rate != "" {
		rate, err := topo.ParseRate(f.rate)
		if err != nil || rate == 0 {
			return fmt.Errorf("--rate: found %q, want a rate such as 500Mbit", f.rate)
		}
		f.options.Rate = int64(rate)
	}
	return nil
}

// bench runs a workload and prints what came of it.
func (f *benchFlags) bench(c *cobra.Command, file string, works, wires []string) error {
	if err := f.check(works, wires); err != nil {
		return err
	}
	return f.with(c, file, func(lab *emu.Lab) error {
		from, err := machine(lab, f.from)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		to, err := machine(lab, f.to)
		if err != nil {
			return fmt.Errorf("--to: %w", err)
		}
		if w, ok := workload.FindWire(f.wire); ok {
			if err := w.Apply(lab, plugged(lab, to)); err != nil {
				return fmt.Errorf("--wire: %w", err)
			}
		} else if !rated(lab) && f.work != "connections" && f.work != "requests" && f.work != "udp" {
			return errors.New("no cable of the scenario has a rate, so a stream has no end: want --wire, or a rate under underlay")
		}
		r, err := workload.Run(lab, from, to, f.work, f.options)
		if err != nil {
			return err
		}
		if *f.output == "json" {
			return writeJSON(c.OutOrStdout(), r)
		}
		return r.WriteText(c.OutOrStdout())
	})
}

// plugged returns the machine whose cable leads to m: of a pod its node.
func plugged(lab *emu.Lab, m *emu.Machine) *emu.Machine {
	for _, p := range lab.Pods() {
		if &p.Machine == m {
			return &p.Node().Machine
		}
	}
	return m
}

// rated reports whether any cable has a rate.
func rated(lab *emu.Lab) (any bool) {
	for _, m := range lab.Machines() {
		for _, u := range m.Uplinks() {
			lab.Driver().Do(func() {
				out, in := u.Cable.Config()
				any = any || out.Rate > 0 || in.Rate > 0
			})
		}
	}
	return any
}
