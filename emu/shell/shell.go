package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/stack"
)

// Streams are a command's standard input, output and error. A nil In is empty, a
// nil writer discards.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// An ExitError is how a command ends that does not end well. What went wrong has
// been written to Streams.Err.
type ExitError struct {
	Code int // as the real command has it; 127 for a command that is not known
}

// Error says which code it was.
func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// ExitCode returns the exit code that an error of [Run] stands for, 0 for nil.
func ExitCode(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	}
	return 1
}

// A Command describes a command for people.
type Command struct {
	Name    string
	Usage   string // its options and arguments
	Summary string // one line

	run func(*call) error
}

// commands is set by init, because help lists it.
var commands []Command

func init() {
	commands = []Command{
		pingCommand, tracerouteCommand, ipCommand, bridgeCommand, ssCommand,
		iptablesCommand, iptablesSaveCommand, iptablesRestoreCommand, ipsetCommand, nftCommand, ipvsadmCommand, conntrackCommand, sysctlCommand,
		tcpdumpCommand, curlCommand, ncCommand, birdclCommand, digCommand, nslookupCommand, getentCommand, catCommand, helpCommand,
	}
}

// Commands lists the commands in the order in which help does.
func Commands() []Command { return append([]Command(nil), commands...) }

// Run runs a command on a machine. The error is nil or an [*ExitError]; Run
// returns when the command has ended, or when ctx has. It is called from a
// goroutine of the lab's, without the driver's lock.
func Run(ctx context.Context, m *emu.Machine, argv []string, s Streams) error {
	if s.In == nil {
		s.In = strings.NewReader("")
	}
	if s.Out == nil {
		s.Out = io.Discard
	}
	if s.Err == nil {
		s.Err = io.Discard
	}
	if len(argv) == 0 || argv[0] == "" {
		fmt.Fprintln(s.Err, "found no command; help lists them")
		return &ExitError{127}
	}
	c := &call{ctx: ctx, m: m, lab: m.Lab(), host: m.Stack(), name: argv[0], args: argv[1:], Streams: s}
	for i := range commands {
		if commands[i].Name == c.name {
			c.usage = commands[i].Usage
			return commands[i].run(c)
		}
	}
	fmt.Fprintln(s.Err, Known(c.name))
	return &ExitError{127}
}

// call is one run of a command.
type call struct {
	Streams
	ctx   context.Context
	m     *emu.Machine
	lab   *emu.Lab
	host  *stack.Host
	name  string
	usage string
	args  []string
}

// do runs f with the driver's lock held.
func (c *call) do(f func()) { c.lab.Driver().Do(f) }

// printf writes to standard output.
func (c *call) printf(format string, args ...any) { fmt.Fprintf(c.Out, format, args...) }

// fail says what went wrong and ends the command.
func (c *call) fail(code int, format string, args ...any) error {
	fmt.Fprintf(c.Err, "%s: %s\n", c.name, fmt.Sprintf(format, args...))
	return &ExitError{code}
}

// misused says how the command line is wrong.
func (c *call) misused(format string, args ...any) error {
	fmt.Fprintf(c.Err, "%s: %s\nusage: %s %s\n", c.name, fmt.Sprintf(format, args...), c.name, c.usage)
	return &ExitError{2}
}

// parse reads options as getopt does and returns the arguments. Ok is false when
// the command has ended with err: the options are wrong, or --help was asked for.
func (c *call) parse(define func(*pflag.FlagSet)) (args []string, ok bool, err error) {
	f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	define(f)
	switch err := f.Parse(c.args); {
	case errors.Is(err, pflag.ErrHelp):
		c.printf("usage: %s %s\n", c.name, c.usage)
		return nil, false, nil
	case err != nil:
		return nil, false, c.misused("%v", err)
	}
	return f.Args(), true, nil
}

// resolve finds the address of a name as the real tools report it: an error that
// says "Name or service not known".
func (c *call) resolve(name string) (netip.Addr, error) {
	addrs, err := c.m.LookupContext(c.ctx, name)
	if err != nil {
		return netip.Addr{}, c.fail(2, "%s: Name or service not known", name)
	}
	a := addrs[0]
	if !a.Is4() {
		return a, c.fail(2, "%s: Address family for hostname not supported: the lab is IPv4", name)
	}
	return a, nil
}

// nameOf returns what to call an address: the machine that has it, or the
// address.
func (c *call) nameOf(a netip.Addr) string {
	if m := c.lab.Owner(a); m != nil {
		return m.Name()
	}
	return a.String()
}

var helpCommand = Command{
	Name: "help", Summary: "list the commands",
	run: func(c *call) error {
		for _, cmd := range commands {
			c.printf("%-16s %s\n", cmd.Name, cmd.Summary)
			if cmd.Usage != "" {
				c.printf("%-16s   %s %s\n", "", cmd.Name, cmd.Usage)
			}
		}
		return nil
	},
}
