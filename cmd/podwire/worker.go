package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/topo"
)

// exitStalled is how a worker ends whose virtual time stands still.
const exitStalled = 3

// A job is one run of a scenario in a process of its own, so that a run that
// crashes or stands still takes no other with it.
type job struct {
	Files    []string `json:"files"`
	Design   string   `json:"design,omitempty"`
	Seed     *uint64  `json:"seed,omitempty"`
	RealTime bool     `json:"realTime,omitempty"`
	Faults   []string `json:"faults"` // instead of the scenario's, unless it is null
}

// result is what came of a job: a verdict, or why there is none.
type result struct {
	Verdict *topo.Verdict `json:"verdict,omitempty"`
	Error   string        `json:"error,omitempty"` // the lab could not be built

	crashed, stalled bool // then Error is the first line of what was said
}

// newWorker is the other end of a job: it is read from standard input, and
// answered on standard output.
func newWorker() *cobra.Command {
	return &cobra.Command{
		Use: "worker", Hidden: true, Args: cobra.NoArgs,
		Short: "Play one scenario for another podwire",
		RunE: func(c *cobra.Command, _ []string) error {
			var j job
			if err := json.NewDecoder(c.InOrStdin()).Decode(&j); err != nil {
				return fmt.Errorf("worker: %w", err)
			}
			var r result
			var err error
			if r.Verdict, err = j.play(); err != nil {
				r.Error = err.Error()
			}
			return json.NewEncoder(c.OutOrStdout()).Encode(r)
		},
	}
}

// play runs the scenario.
func (j *job) play() (v *topo.Verdict, err error) {
	sc, diags := j.load()
	if err := diags.Err(); err != nil {
		return nil, err
	}
	cfg := topo.RunConfig{Seed: j.Seed, Design: j.Design}
	play := func(settle func()) error {
		cfg.Settle = settle
		v, err = sc.Run(cfg)
		return err
	}
	if j.RealTime {
		return v, play(nil)
	}
	return v, virtual.RunOr(virtual.StallAfter, func() { os.Exit(exitStalled) }, play)
}

// load reads the scenario as run does.
func (j *job) load() (*topo.Scenario, topo.Diagnostics) {
	ld := loader()
	ld.Design, ld.Faults = j.Design, j.Faults
	sc, diags := ld.Load(j.Files[0], j.Files[1:]...)
	if !diags.HasErrors() && sc.Plain() {
		sc.Survey()
	}
	return sc, diags
}

// do plays the job in another process. The error says that there could be none.
func (j *job) do(ctx context.Context) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	in, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	var out bytes.Buffer
	said := &head{max: 64 << 10}
	cmd := exec.CommandContext(ctx, self, "worker")
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, said
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case errors.As(err, &exit):
		r.stalled = exit.ExitCode() == exitStalled
		r.crashed = !r.stalled
		r.Error = said.gist(exit)
		return r, nil
	case err != nil:
		return r, err
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return result{crashed: true, Error: "the answer of its process: " + err.Error()}, nil
	}
	if strings.HasPrefix(r.Error, "virtual: panic: ") {
		r.crashed = true
		r.Error, _, _ = strings.Cut(strings.TrimPrefix(r.Error, "virtual: "), "\n")
	}
	return r, nil
}

// doAll plays jobs, so many at a time.
func doAll(ctx context.Context, jobs []*job, parallel int, onDone func(done int)) ([]result, error) {
	results, errs := make([]result, len(jobs)), make([]error, len(jobs))
	next := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards done
	done := 0
	for range min(parallel, len(jobs)) {
		wg.Go(func() {
			for i := range next {
				results[i], errs[i] = jobs[i].do(ctx)
				mu.Lock()
				done++
				onDone(done)
				mu.Unlock()
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()
	return results, errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	max int
}

func (h *head) Write(p []byte) (int, error) {
	if n := h.max - h.Len(); n > 0 {
		h.Buffer.Write(p[:min(n, len(p))])
	}
	return len(p), nil
}

// gist is the line that says why a process ended.
func (h *head) gist(exit *exec.ExitError) string {
	var last string
	for line := range strings.Lines(h.String()) {
		line = strings.TrimSpace(line)
		for _, word := range []string{"panic: ", "fatal error: ", "podwire: virtual time has stood still"} {
			if strings.HasPrefix(line, word) {
				return strings.TrimPrefix(line, "podwire: ")
			}
		}
		if line != "" {
			last = line
		}
	}
	if last == "" {
		return exit.String()
	}
	return last
}

var _ io.Writer = (*head)(nil)
