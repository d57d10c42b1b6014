package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/shell"
	"github.com/podwire/podwire/internal/typo"
	"github.com/podwire/podwire/topo"
)

// labFlags are the flags of the commands that look into a lab.
type labFlags struct {
	runFlags
	after   int
	onBuild func(*emu.Lab) error // besides the capture that --pcap wants
}

func (f *labFlags) add(c *cobra.Command) {
	c.Flags().IntVar(&f.after, "after", -1, "play only the first `N` steps before; without it all")
	f.addBuild(c)
	c.Flags().StringVar(&f.pcap, "pcap", "", "write all packets to this pcapng `file`")
}

// addRealTime is for commands that can join a machine which is real.
func (f *labFlags) addRealTime(c *cobra.Command) {
	c.Flags().BoolVar(&f.realTime, "real-time", false, "let time pass as on the wall instead of jumping from event to event")
}

// with builds the lab of a scenario, plays its steps and hands it to use.
func (f *labFlags) with(c *cobra.Command, file string, use func(*emu.Lab) error) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	sc, err := load(c, cfg.Design, file)
	if err != nil {
		return err
	}
	steps := len(sc.Steps)
	if c.Flags().Changed("after") {
		if f.after < 0 || f.after > len(sc.Steps) {
			return fmt.Errorf("--after: found %d, want a number of steps from 0 to %d", f.after, len(sc.Steps))
		}
		steps = f.after
	}
	if f.pcap == "-" {
		return errors.New("--pcap -: standard output is the command's, want a file")
	}
	if err := keepInputs("--pcap", f.pcap, sc, file); err != nil {
		return err
	}
	if cfg.NoTAPs = !f.realTime; cfg.NoTAPs {
		f.leaveAway(c, sc)
	}
	interrupt := notifyInterrupt()
	defer interrupt.stop()
	capture, err := f.capture(c.OutOrStdout(), sc, sc.Cluster.Design.Value)
	if err != nil {
		return err
	}
	defer capture.abort()
	interrupt.then(capture.abort)
	cfg.OnBuild = func(lab *emu.Lab) error {
		if f.onBuild != nil {
			if err := f.onBuild(lab); err != nil {
				return err
			}
		}
		return capture.start(lab)
	}
	cfg.OnWarning = func(w string) { fmt.Fprintln(c.ErrOrStderr(), "warning:", w) }
	err = inTime(f.realTime, func(settle func()) error {
		cfg.Settle = settle
		return sc.With(cfg, steps, func(lab *emu.Lab, _ *topo.Verdict) error { return use(lab) })
	})
	var exit *shell.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	return errors.Join(capture.commit(), err)
}

// leaveAway says which hosts are not there in virtual time.
func (f *labFlags) leaveAway(c *cobra.Command, sc *topo.Scenario) {
	hint := ""
	if c.Flags().Lookup("real-time") != nil {
		hint = "; hint: --real-time joins it"
	}
	for _, h := range sc.Hosts {
		if h.TAP.IsSet() {
			fmt.Fprintf(c.ErrOrStderr(), "%v: warning: host %s is real (tap: %s), and left away%s\n", h.TAP.Pos, h.Name.Value, h.TAP.Value, hint)
		}
	}
}

// machine finds a machine by what a person calls it.
func machine(lab *emu.Lab, name string) (*emu.Machine, error) {
	if m := lab.Machine(name); m != nil {
		return m, nil
	}
	names := machineNames(lab)
	if near := typo.Nearest(name, names); near != "" {
		return nil, fmt.Errorf("machine %q is not known, did you mean %s?", name, near)
	}
	return nil, fmt.Errorf("machine %q is not known, want one of %s", name, joinWords(names))
}

func machineNames(lab *emu.Lab) []string {
	var names []string
	for _, m := range lab.Machines() {
		names = append(names, strings.TrimPrefix(m.Name(), "default/"))
	}
	return names
}

// execReport is what podwire exec -o json prints.
type execReport struct {
	Machine  string   `json:"machine"`
	Command  []string `json:"command"`
	ExitCode int      `json:"exitCode"`
	Stdout   string   `json:"stdout"`
	Stderr   string   `json:"stderr"`
}

func newExec() *cobra.Command {
	var f labFlags
	c := &cobra.Command{
		Use:   "exec FILE MACHINE -- COMMAND...",
		Short: "Run a command of a Linux host on a machine of the lab: ping, ip, ss, iptables, curl ...",
		Long: `exec builds the lab of a scenario, plays its steps, and runs a command on a node,
a pod or a machine outside, with the options and the output that its users know.
The exit code is the command's. The commands:

` + commandList(),
		Example: `  podwire exec examples/quickstart.yaml client -- ping -c1 web
  podwire exec examples/quickstart.yaml node1 -- ip route
  podwire exec examples/quickstart.yaml node2 -- iptables-save -t nat
  podwire exec examples/quickstart.yaml client --after 0 -- traceroute -n web`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 3 {
				return fmt.Errorf("found %d arguments, want a scenario, a machine and a command: %s", len(args), c.UseLine())
			}
			return f.exec(c, args[0], args[1], args[2:])
		},
		ValidArgsFunction: completeExec,
	}
	c.Flags().SetInterspersed(true)
	f.add(c)
	f.addRealTime(c)
	f.output = addOutput(c)
	return c
}

func commandList() string {
	var b strings.Builder
	for _, c := range shell.Commands() {
		fmt.Fprintf(&b, "  %-16s %s\n", c.Name, c.Summary)
	}
	return strings.TrimRight(b.String(), "\n")
}

// exec runs one command.
func (f *labFlags) exec(c *cobra.Command, file, where string, argv []string) error {
	if err := shell.Known(argv[0]); err != nil {
		return err
	}
	return f.with(c, file, func(lab *emu.Lab) error {
		m, err := machine(lab, where)
		if err != nil {
			return err
		}
		s := shell.Streams{In: c.InOrStdin(), Out: c.OutOrStdout(), Err: c.ErrOrStderr()}
		if *f.output != "json" {
			return shell.Run(context.Background(), m, argv, s)
		}
		var out, errs bytes.Buffer
		s.Out, s.Err = &out, &errs
		exit := shell.Run(context.Background(), m, argv, s)
		report := execReport{strings.TrimPrefix(m.Name(), "default/"), argv, shell.ExitCode(exit), out.String(), errs.String()}
		if err := writeJSON(c.OutOrStdout(), report); err != nil {
			return err
		}
		return exit
	})
}

// completeExec completes machines of the scenario, then commands.
func completeExec(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	case 1:
		return scenarioMachines(args[0]), cobra.ShellCompDirectiveNoFileComp
	case 2:
		var names []string
		for _, cmd := range shell.Commands() {
			names = append(names, cmd.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return scenarioMachines(args[0]), cobra.ShellCompDirectiveNoFileComp
}

// scenarioMachines lists the machines of a scenario without building it.
func scenarioMachines(file string) []string {
	sc, diags := loader().Load(file)
	if diags.HasErrors() {
		return nil
	}
	var names []string
	for _, n := range sc.Cluster.Nodes {
		names = append(names, n.Name.Value)
	}
	for _, p := range sc.Pods {
		names = append(names, strings.TrimPrefix(p.Key(), "default/"))
	}
	for _, h := range sc.Hosts {
		if !h.TAP.IsSet() { // it is real
			names = append(names, h.Name.Value)
		}
	}
	return append(names, "gateway")
}

// tables are what podwire inspect shows, and the command that shows it.
var tables = []struct {
	name, summary string
	argv          []string
	json          bool // the command knows -j
}{
	{"addresses", "devices and their addresses", []string{"ip", "addr"}, true},
	{"links", "devices", []string{"ip", "link"}, true},
	{"routes", "the main routing table", []string{"ip", "route"}, true},
	{"neigh", "the ARP table", []string{"ip", "neigh"}, true},
	{"fdb", "forwarding databases of bridges and tunnels", []string{"bridge", "fdb"}, true},
	{"ports", "ports of bridges", []string{"bridge", "link"}, true},
	{"nat", "rules of the nat table, with counters", []string{"iptables-save", "-c", "-t", "nat"}, false},
	{"rules", "all netfilter rules, with counters", []string{"iptables-save", "-c"}, false},
	{"nft", "nf_tables, kube-proxy's in nftables mode", []string{"nft", "list", "ruleset"}, false},
	{"ipvs", "virtual servers, kube-proxy's in ipvs mode", []string{"ipvsadm", "-L", "-n"}, false},
	{"ipsets", "sets that rules match", []string{"ipset", "list"}, false},
	{"conntrack", "tracked connections", []string{"conntrack", "-L"}, false},
	{"sockets", "TCP and UDP sockets", []string{"ss", "-ai"}, false},
	{"bgp", "BGP sessions of machines that speak it", []string{"birdcl", "show", "protocols"}, false},
	{"rib", "all paths that BGP knows", []string{"birdcl", "show", "route", "all"}, false},
	{"sysctls", "kernel parameters", []string{"sysctl", "-a"}, false},
}

func tableNames() []string {
	var names []string
	for _, t := range tables {
		names = append(names, t.name)
	}
	return names
}

func newInspect() *cobra.Command {
	var f labFlags
	var list strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&list, "  %-10s %s (%s)\n", t.name, t.summary, strings.Join(t.argv, " "))
	}
	c := &cobra.Command{
		Use:   "inspect FILE TABLE [MACHINE...]",
		Short: "Show tables of machines after the scenario's steps: routes, neigh, fdb, nat, conntrack ...",
		Long: `inspect builds the lab of a scenario, plays its steps, and shows a table of the
machines that are named, or of all:

` + list.String(),
		Example: `  podwire inspect examples/quickstart.yaml routes node1
  podwire inspect examples/quickstart.yaml conntrack node1 node2
  podwire inspect examples/quickstart.yaml fdb -o json`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fmt.Errorf("found %d arguments, want a scenario and a table, one of %s", len(args), joinWords(tableNames()))
			}
			return f.inspect(c, args[0], args[1], args[2:])
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return tableNames(), cobra.ShellCompDirectiveNoFileComp
			}
			return completeExec(c, args[:min(len(args), 1)], word)
		},
	}
	f.add(c)
	f.addRealTime(c)
	f.output = addOutput(c)
	return c
}

// inspectReport is one machine in podwire inspect -o json.
type inspectReport struct {
	Machine string `json:"machine"`
	Table   string `json:"table"`
	Entries any    `json:"entries"` // as the command prints them with -j; else its lines
}

// inspect shows one table of some machines.
func (f *labFlags) inspect(c *cobra.Command, file, table string, where []string) error {
	i := slices.Index(tableNames(), table)
	if i < 0 {
		if near := typo.Nearest(table, tableNames()); near != "" {
			return fmt.Errorf("table %q is not known, did you mean %s?", table, near)
		}
		return fmt.Errorf("table %q is not known, want one of %s", table, joinWords(tableNames()))
	}
	t := tables[i]
	return f.with(c, file, func(lab *emu.Lab) error {
		machines := lab.Machines()
		if t.argv[0] == "birdcl" {
			machines = slices.DeleteFunc(machines, func(m *emu.Machine) bool { return !m.SpeaksBGP() })
		}
		if len(where) > 0 {
			machines = nil
		}
		for _, name := range where {
			m, err := machine(lab, name)
			if err != nil {
				return err
			}
			machines = append(machines, m)
		}
		if *f.output == "json" {
			return inspectJSON(c.OutOrStdout(), machines, t.name, t.argv, t.json)
		}
		for n, m := range machines {
			if len(machines) > 1 {
				if n > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				fmt.Fprintf(c.OutOrStdout(), "# %s\n", strings.TrimPrefix(m.Name(), "default/"))
			}
			if err := shell.Run(context.Background(), m, t.argv, shell.Streams{Out: c.OutOrStdout()}); err != nil {
				return err
			}
		}
		return nil
	})
}

func inspectJSON(w io.Writer, machines []*emu.Machine, table string, argv []string, knows bool) error {
	reports := []inspectReport{}
	if knows {
		argv = append([]string{argv[0], "-j"}, argv[1:]...)
	}
	for _, m := range machines {
		var out bytes.Buffer
		if err := shell.Run(context.Background(), m, argv, shell.Streams{Out: &out}); err != nil {
			return err
		}
		r := inspectReport{Machine: strings.TrimPrefix(m.Name(), "default/"), Table: table}
		if knows {
			r.Entries = json.RawMessage(out.Bytes())
		} else {
			r.Entries = append([]string{}, strings.FieldsFunc(out.String(), func(c rune) bool { return c == '\n' })...)
		}
		reports = append(reports, r)
	}
	return writeJSON(w, reports)
}
