// Command podwire runs and explains emulated Kubernetes networks.
//
//	podwire run examples/quickstart.yaml --pcap out.pcapng
//	podwire exec examples/quickstart.yaml client -- ping -c1 web
//	podwire validate my-service.yaml
//	podwire diff kernel.pcap out.pcapng#node1/cni0
//
// It exits with 0 if all checks hold, 1 if a check failed or captures differ,
// 2 if the input or the command line is wrong.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu/shell"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a check of a scenario failed, or captures differ
	exitInput  = 2 // the input or the command line is wrong

	exitInterrupted = 130 // by SIGINT or SIGTERM, as shells have it
)

// errFailed says that a check failed; the verdict has been printed.
var errFailed = errors.New("a check failed")

// errReported says that the input is wrong and that this has been explained.
var errReported = errors.New("wrong input")

func main() { os.Exit(run(os.Args[1:])) }

// run executes the command line and returns the exit code.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	var exit *shell.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.Code // the command has said why
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case !errors.Is(err, errReported):
		fmt.Fprintf(os.Stderr, "podwire: %v\n", err)
	}
	return exitInput
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "podwire",
		Short: "Kubernetes networking, emulated packet by packet in one process",
		Long: `podwire emulates Kubernetes networking in one ordinary process: no root, no
kernel modules, no containers. Nodes and pods are real TCP/IP stacks, joined by
virtual links, bridges and tunnels; Services work by kube-proxy's own rules;
time is virtual, exact and repeatable; every packet can be captured.

Exit codes: 0 all checks hold, 1 a check failed or captures differ, 2 the input is
wrong, 130 it was interrupted (up ends with 0 then); exec ends with the code of its
command.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, c.CommandPath())
	})
	root.AddCommand(newRun(), newUp(), newCompare(), newBench(), newExec(), newShell(), newInspect(), newExplain(), newTcpdump(), newValidate(), newDiff(), newDesigns(), newSchema(), newVersion())
	root.AddCommand(newWorker()) // hidden: the other end of --seeds and --fuzz-faults
	return root
}

// output is the value of -o: text or json.
type output string

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "text|json" }

func (o *output) Set(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("found %q, want text or json", s)
	}
	*o = output(s)
	return nil
}

// addOutput gives a command the flag -o.
func addOutput(c *cobra.Command) *output {
	o := output("text")
	c.Flags().VarP(&o, "output", "o", "output format: text or json")
	c.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp
	})
	return &o
}
