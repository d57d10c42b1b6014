package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/internal/typo"
)

// A Session is a person at a lab, one line at a time, in the habit of Mininet:
// the machine comes first, "client ping -c1 web". Other lines are about the lab:
// nodes, links, pingall. Make one with [NewSession].
type Session struct {
	lab  *emu.Lab
	out  io.Writer // of several goroutines: jobs in the background print too
	errs io.Writer

	builtins []builtin
	jobs     []*job
	started  int // jobs so far
}

// builtin is a line that is about the lab.
type builtin struct {
	name, usage, summary string
	run                  func(s *Session, args []string) error
}

// job is a command in the background.
type job struct {
	number int
	line   string
	cancel context.CancelFunc
	done   bool // guarded by the driver's lock
}

// ErrExit says that the person wants to leave.
var ErrExit = errors.New("exit")

// NewSession begins a session. In virtual time the clock stands still while the
// session waits for the next line; jobs in the background go on while something
// in the foreground takes time, sleep for instance.
func NewSession(lab *emu.Lab, out, errs io.Writer) *Session {
	var mu sync.Mutex
	s := &Session{lab: lab, out: lockedWriter{&mu, out}, errs: lockedWriter{&mu, errs}}
	s.builtins = []builtin{
		{"nodes", "", "list the machines with their addresses", (*Session).nodes},
		{"links", "", "list the cables and veth pairs", (*Session).links},
		{"pingall", "[SECONDS]", "ping from every machine to every other, waiting so long for each answer", (*Session).pingAll},
		{"link", "MACHINE up|down", "plug a machine's cable in or pull it", (*Session).link},
		{"node", "NODE up|down", "switch a node on or off", (*Session).node},
		{"sleep", "SECONDS", "let time pass", (*Session).sleep},
		{"time", "", "show the lab's clock", (*Session).time},
		{"jobs", "", "list what runs in the background: MACHINE COMMAND &", (*Session).listJobs},
		{"kill", "%N", "end a job", (*Session).kill},
		{"help", "", "this list", (*Session).help},
		{"exit", "", "leave; so does the end of the input", func(*Session, []string) error { return ErrExit }},
	}
	return s
}

// lockedWriter lets several goroutines write whole lines.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// Line carries out one line. The error is nil, [ErrExit], or an [*ExitError];
// what went wrong has been printed.
func (s *Session) Line(ctx context.Context, line string) error {
	line = strings.TrimSpace(line)
	bare, background := strings.CutSuffix(line, "&")
	words, err := Split(bare)
	switch {
	case err != nil:
		return s.fail(2, "%v", err)
	case len(words) == 0:
		return nil
	}
	for _, b := range s.builtins {
		if b.name == words[0] {
			return b.run(s, words[1:])
		}
	}
	m := s.lab.Machine(words[0])
	switch {
	case m == nil:
		return s.unknown(words[0])
	case len(words) == 1:
		return s.fail(2, "%s: found no command; write for example: %s ip addr", words[0], words[0])
	case background:
		return s.start(m, words[1:], strings.TrimSpace(bare))
	}
	return Run(ctx, m, words[1:], Streams{Out: s.out, Err: s.errs})
}

// unknown says what might have been meant by a word that begins a line.
func (s *Session) unknown(word string) error {
	if Known(word) == nil {
		return s.fail(127, "%s runs on a machine; write for example: %s %s", word, s.machines()[0], word)
	}
	if near := typo.Nearest(word, s.Words("")); near != "" {
		return s.fail(127, "%s is no machine and no command, did you mean %s?", word, near)
	}
	return s.fail(127, "%s is no machine and no command; help lists the commands, nodes the machines", word)
}

func (s *Session) fail(code int, format string, args ...any) error {
	fmt.Fprintf(s.errs, format+"\n", args...)
	return &ExitError{code}
}

// Close ends the jobs in the background.
func (s *Session) Close() {
	for _, j := range s.jobs {
		j.cancel()
	}
	s.lab.Sleep(0)
}

// machines lists the names that a line may begin with.
func (s *Session) machines() []string {
	var names []string
	for _, m := range s.lab.Machines() {
		names = append(names, strings.TrimPrefix(m.Name(), "default/"))
	}
	return names
}

// Words lists what may follow the beginning of a line, for completion: machines
// and commands first, then commands, then machines and Services.
func (s *Session) Words(begin string) []string {
	words := strings.Fields(begin)
	switch {
	case len(words) == 0:
		list := s.machines()
		for _, b := range s.builtins {
			list = append(list, b.name)
		}
		return list
	case len(words) == 1 && s.lab.Machine(words[0]) != nil:
		var list []string
		for _, c := range commands {
			list = append(list, c.Name)
		}
		return list
	}
	list := s.machines()
	for _, svc := range s.lab.Services() {
		list = append(list, svc.Name)
	}
	return list
}

// start runs a command in the background.
func (s *Session) start(m *emu.Machine, argv []string, line string) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.started++
	j := &job{number: s.started, line: line, cancel: cancel}
	s.jobs = append(s.jobs, j)
	fmt.Fprintf(s.out, "[%d] %s\n", j.number, line)
	s.lab.Go(func() {
		Run(ctx, m, argv, Streams{Out: s.out, Err: s.errs})
		s.lab.Driver().Do(func() { j.done = true })
	})
	s.lab.Sleep(0) // it has begun
	return nil
}

func (s *Session) listJobs([]string) error {
	for _, j := range s.jobs {
		state := "Running"
		s.lab.Driver().Do(func() {
			if j.done {
				state = "Done"
			}
		})
		fmt.Fprintf(s.out, "[%d] %-8s %s\n", j.number, state, j.line)
	}
	return nil
}

func (s *Session) kill(args []string) error {
	for _, a := range args {
		n, _ := strconv.Atoi(strings.TrimPrefix(a, "%"))
		i := slices.IndexFunc(s.jobs, func(j *job) bool { return j.number == n })
		if i < 0 {
			return s.fail(1, "kill: %s: no such job", a)
		}
		s.jobs[i].cancel()
		s.jobs = slices.Delete(s.jobs, i, i+1)
	}
	s.lab.Sleep(0)
	return nil
}

func (s *Session) nodes([]string) error {
	for _, m := range s.lab.Machines() {
		fmt.Fprintf(s.out, "%-20s %v\n", strings.TrimPrefix(m.Name(), "default/"), m.Addr())
	}
	return nil
}

func (s *Session) links([]string) error {
	for _, m := range s.lab.Machines() {
		state, other := "up", "underlay"
		if p := s.lab.Pod(m.Name()); p != nil && &p.Machine == m {
			other = p.Node().Name() + "/" + p.Peer()
		}
		if !m.LinkUp() {
			state = "down"
		}
		fmt.Fprintf(s.out, "%s/eth0 <-> %s (%s)\n", strings.TrimPrefix(m.Name(), "default/"), other, state)
	}
	return nil
}

func (s *Session) link(args []string) error {
	if len(args) != 2 || args[1] != "up" && args[1] != "down" {
		return s.fail(2, "usage: link MACHINE up|down")
	}
	m := s.lab.Machine(args[0])
	if m == nil {
		return s.unknown(args[0])
	}
	m.SetLink(args[1] == "up")
	return nil
}

func (s *Session) node(args []string) error {
	if len(args) != 2 || args[1] != "up" && args[1] != "down" {
		return s.fail(2, "usage: node NODE up|down")
	}
	n := s.lab.Node(args[0])
	if n == nil {
		return s.fail(1, "%s is no node", args[0])
	}
	n.SetUp(args[1] == "up")
	return nil
}

func (s *Session) sleep(args []string) error {
	if len(args) != 1 {
		return s.fail(2, "usage: sleep SECONDS")
	}
	d, err := time.ParseDuration(args[0])
	if n, ferr := strconv.ParseFloat(args[0], 64); ferr == nil {
		d, err = seconds(n), nil
	}
	if err != nil || d < 0 {
		return s.fail(2, "sleep: %q, want seconds or a duration such as 300ms", args[0])
	}
	s.lab.Sleep(d)
	return nil
}

func (s *Session) time([]string) error {
	fmt.Fprintln(s.out, s.lab.Now())
	return nil
}

func (s *Session) help([]string) error {
	for _, b := range s.builtins {
		fmt.Fprintf(s.out, "%-28s %s\n", strings.TrimSpace(b.name+" "+b.usage), b.summary)
	}
	fmt.Fprintf(s.out, "\nMACHINE COMMAND..., & at the end for the background. Commands:\n")
	for _, c := range commands {
		fmt.Fprintf(s.out, "%-28s %s\n", "  "+c.Name, c.Summary)
	}
	return nil
}
