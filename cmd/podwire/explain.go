package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/internal/typo"
)

// explainFlags are the flags of podwire explain.
type explainFlags struct {
	labFlags
	from, to  string
	udp       bool
	size, ttl int
	df        bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain FILE --from MACHINE --to NAME[:PORT]",
		Short: "Follow one packet and its answer hop by hop: why did my packet die?",
		Long: `explain builds the lab of a scenario, plays its steps, sends one packet, and shows
every device that it passes, what is done to it on the way (DNAT, SNAT, which
rule), the tunnels around it, and where and why it dies; then the same of the
answer. Without a port the packet is a ping, with one a TCP SYN, with --udp a
datagram. NAME is a Service, a pod, a node, a machine outside, or an address.
Nothing is guessed: the packet is sent and watched.

The exit code is 0 if the answer is the wanted one, 1 if it is an error or does
not come.`,
		Example: `  podwire explain examples/quickstart.yaml --from client --to web
  podwire explain examples/quickstart.yaml --from client --to web:80 --after 0
  podwire explain examples/quickstart.yaml --from client --to 10.244.2.99
  podwire explain examples/quickstart.yaml --from client --to web --size 1472 --df --design calico-ipip -o json`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("found %d arguments, want a scenario: %s", len(args), c.UseLine())
			}
			return f.explain(c, args[0])
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return completeExec(c, nil, word)
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	f.add(c)
	f.addRealTime(c)
	f.output = addOutput(c)
	c.Flags().StringVar(&f.from, "from", "", "the `machine` that sends: a pod, a node, one outside")
	c.Flags().StringVar(&f.to, "to", "", "whom to send to: `NAME[:PORT]` or ADDRESS[:PORT]")
	c.Flags().BoolVar(&f.udp, "udp", false, "send a UDP datagram to the port, in place of a TCP SYN")
	c.Flags().IntVar(&f.size, "size", 0, "`bytes` of a ping after its header; 0 is 56")
	c.Flags().BoolVar(&f.df, "df", false, "do not fragment a ping: what is too big is refused")
	c.Flags().IntVar(&f.ttl, "ttl", 0, "TTL of a ping; 0 is 64")
	for _, name := range []string{"from", "to"} {
		c.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return scenarioMachines(args[0]), cobra.ShellCompDirectiveNoFileComp
		})
	}
	return c
}

// probe reads the flags.
func (f *explainFlags) probe() (p explain.Probe, err error) {
	switch {
	case f.from == "":
		return p, errors.New("--from is missing, want the machine that sends")
	case f.to == "":
		return p, errors.New("--to is missing, want NAME, NAME:PORT or an address")
	case f.ttl < 0 || f.ttl > 255:
		return p, fmt.Errorf("--ttl: found %d, want 1 to 255", f.ttl)
	case f.size < 0:
		return p, fmt.Errorf("--size: found %d, want 0 or more", f.size)
	}
	p = explain.Probe{To: f.to, Size: f.size, TTL: byte(f.ttl), DontFragment: f.df}
	if host, port, ok := strings.Cut(f.to, ":"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" {
			return p, fmt.Errorf("--to: found %q, want NAME or NAME:PORT with a port from 1 to 65535", f.to)
		}
		p.To, p.Port, p.Network = host, uint16(n), "tcp"
	}
	switch {
	case f.udp && p.Port == 0:
		return p, fmt.Errorf("--udp: --to %s has no port, want %s:PORT", f.to, f.to)
	case p.Port != 0 && (f.size != 0 || f.ttl != 0 || f.df):
		return p, fmt.Errorf("--size, --ttl and --df are for a ping, and --to %s has a port", f.to)
	case f.udp:
		p.Network = "udp"
	}
	return p, nil
}

// explain sends one packet and shows what becomes of it.
func (f *explainFlags) explain(c *cobra.Command, file string) error {
	p, err := f.probe()
	if err != nil {
		return err
	}
	answered := false
	err = f.with(c, file, func(lab *emu.Lab) error {
		if p.From, err = machine(lab, f.from); err != nil {
			return err
		}
		r, err := explain.Trace(lab, p)
		if err != nil {
			return unknownTarget(lab, p.To, err)
		}
		answered = r.Answered
		if *f.output == "json" {
			return writeJSON(c.OutOrStdout(), r)
		}
		return r.WriteText(c.OutOrStdout())
	})
	if err == nil && !answered {
		return errFailed
	}
	return err
}

// unknownTarget adds to the error of a name that is not known what was meant.
func unknownTarget(lab *emu.Lab, name string, err error) error {
	var unknown *explain.NameError
	if !errors.As(err, &unknown) {
		return err
	}
	known := machineNames(lab)
	for _, s := range lab.Services() {
		known = append(known, strings.TrimSuffix(s.Name+"."+s.Namespace, ".default"))
	}
	if near := typo.Nearest(name, known); near != "" {
		return fmt.Errorf("--to: %q is not known, did you mean %s?", name, near)
	}
	return fmt.Errorf("--to: %w, want one of %s", unknown.Err, joinWords(known))
}
