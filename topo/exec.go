package topo

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/shell"
)

// Exec runs a command of package shell on a machine.
type Exec struct {
	On   Ref
	Run  Field[string] // as it was written; Argv is what it means
	Argv []string
}

// decodeExec reads {on: node1, run: "ip route"}. A list of words is taken as it
// is; a text is split as a shell splits words, quotes included.
func (l *load) decodeExec(step mapping, s *Step) {
	s.Exec = &Exec{}
	m, ok := l.verb(step, "exec", []string{"on", "run"})
	if !ok {
		return
	}
	e := s.Exec
	e.On = m.ref("on")
	if n := m.get("run"); n != nil && n.Kind == yaml.SequenceNode {
		m.list("run", "words", func(p string, n *yaml.Node) {
			if w, ok := l.scalar(m.d, n, p, "a word"); ok {
				e.Argv = append(e.Argv, w)
			}
		})
		e.Run = Field[string]{strings.Join(e.Argv, " "), m.d.pos(n)}
		return
	}
	e.Run = decode(m, "run", `a command such as "ping -c1 web"`, func(s string) (string, error) {
		var err error
		e.Argv, err = shell.Split(s)
		switch {
		case err != nil:
			return s, hint(err.Error())
		case len(e.Argv) == 0:
			return s, strconv.ErrSyntax
		}
		return s, nil
	})
	if len(e.Argv) > 0 {
		if err := shell.Known(e.Argv[0]); err != nil {
			l.addAt(e.Run.Pos, Diagnostic{Rule: "bad-value", Message: m.what + ".run: " + err.Error()})
		}
	}
}

// exec plays a command. What it prints is checked by contains, matches and body;
// without an exit code to expect, it must be 0.
func (p *player) exec(v *Exec) {
	var out, errs bytes.Buffer
	err := shell.Run(context.Background(), p.machine(v.On), v.Argv, shell.Streams{Out: &out, Err: &errs})
	code := shell.ExitCode(err)
	e := p.step.Expect
	want := 0
	if e.Exit.IsSet() {
		want = e.Exit.Value
	}
	p.result.Outcome = fmt.Sprintf("exit code %d, %s", code, plural(strings.Count(out.String(), "\n"), "line"))
	if last := lastLine(out.String() + errs.String()); last != "" {
		p.result.Outcome += ", the last: " + shorten(last, 60)
	}
	p.result.Output = out.String() + errs.String()
	if e.Exit.IsSet() || code != want {
		p.result.check("exit", strconv.Itoa(code), strconv.Itoa(want), code == want)
	}
	p.checkText(out.String() + errs.String())
	if e.Matches.IsSet() {
		re := regexp.MustCompile("(?m)" + e.Matches.Value) // it was compiled when it was read
		p.result.check("matches", strconv.Quote(shorten(out.String(), 60)), strconv.Quote(e.Matches.Value), re.MatchString(out.String()+errs.String()))
	}
}

// execFault is a command that runs beside the steps. It must succeed, and is not
// undone.
type execFault struct{ *Exec }

// Verb implements Action.
func (e *execFault) Verb() string  { return "exec" }
func (e *execFault) title() string { return e.On.Text + " " + e.Run.Value }

func (e *execFault) resolve(l *load, at string) { l.resolve(&e.On, at+".on", RefPod, RefNode, RefHost) }
func (e *execFault) play(p *player)             { _, p.err = e.disrupt(p.lab) }

func (e *execFault) disrupt(lab *emu.Lab) (undo func() error, err error) {
	m := machineOf(lab, e.On)
	if m == nil {
		return nil, errGone(e.On)
	}
	var out bytes.Buffer
	err = shell.Run(context.Background(), m, e.Argv, shell.Streams{Out: &out, Err: &out})
	if code := shell.ExitCode(err); code != 0 {
		return nil, fmt.Errorf("exit code %d: %s", code, shorten(lastLine(out.String()), 60))
	}
	return nil, nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// checkPattern compiles a regular expression, to say early what is wrong with it.
func checkPattern(s string) (string, error) {
	if _, err := regexp.Compile("(?m)" + s); err != nil {
		return s, hint(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return s, nil
}
