package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/shell"
)

func newShell() *cobra.Command {
	var f labFlags
	c := &cobra.Command{
		Use:   "shell FILE",
		Short: "A prompt at the lab: MACHINE COMMAND, pingall, link down ...; reads a script from standard input",
		Long: `shell builds the lab of a scenario, plays its steps, and reads lines, as Mininet's
prompt does: the machine first, then a command of a Linux host. Names stand for
addresses. The clock stands still while the prompt waits (not with --real-time);
COMMAND & runs in the background while something else takes time, such as sleep.
At a terminal lines can be edited and recalled, and Tab completes.

From a pipe or a file it reads a script; the exit code is that of the last line.`,
		Example: `  podwire shell examples/quickstart.yaml
  podwire shell examples/quickstart.yaml --after 0 < script
  echo 'client ping -c1 web' | podwire shell examples/quickstart.yaml`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, args[0], func(lab *emu.Lab) error { return prompt(c, lab) })
		},
	}
	f.add(c)
	f.addRealTime(c)
	return c
}

// prompt reads lines until the end of the input.
func prompt(c *cobra.Command, lab *emu.Lab) error {
	in := c.InOrStdin()
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return terminal(f, lab)
	}
	s := shell.NewSession(lab, c.OutOrStdout(), c.ErrOrStderr())
	defer s.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	var last error
	for lines.Scan() {
		err := s.Line(context.Background(), lines.Text())
		if errors.Is(err, shell.ErrExit) {
			return last
		}
		last = err
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	return last
}

// terminal reads lines from a person.
func terminal(f *os.File, lab *emu.Lab) error {
	fd := int(f.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	defer term.Restore(fd, state)
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, os.Stdout}, "podwire> ")
	if w, h, err := term.GetSize(fd); err == nil {
		t.SetSize(w, h)
	}
	s := shell.NewSession(lab, t, t)
	defer s.Close()
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		return complete(s, line, pos)
	}
	fmt.Fprintln(t, "help lists the commands, nodes the machines; Ctrl-D leaves")
	for {
		line, err := t.ReadLine()
		if err != nil {
			return nil // Ctrl-D, Ctrl-C
		}
		if errors.Is(s.Line(context.Background(), line), shell.ErrExit) {
			return nil
		}
	}
}

// complete extends the word before pos by what all words that fit have in common.
func complete(s *shell.Session, line string, pos int) (string, int, bool) {
	begin := line[:pos]
	at := strings.LastIndexByte(begin, ' ') + 1
	word, common := begin[at:], ""
	fits := 0
	for _, w := range s.Words(begin[:at]) {
		if !strings.HasPrefix(w, word) {
			continue
		}
		if fits++; fits == 1 {
			common = w + " "
			continue
		}
		for !strings.HasPrefix(w+" ", common) {
			common = common[:len(common)-1]
		}
	}
	if fits == 0 || len(common) <= len(word) {
		return "", 0, false
	}
	return begin[:at] + common + line[pos:], at + len(common), true
}
