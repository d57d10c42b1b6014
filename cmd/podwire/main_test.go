package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/podwire/podwire/emu/virtual"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"podwire": main, "podwire-flaky": flaky})
}

// flaky is a podwire whose runs of seed 2 crash, and whose runs of seed 3 stand
// still.
func flaky() {
	if len(os.Args) < 2 || os.Args[1] != "worker" {
		main()
		return
	}
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	switch {
	case bytes.Contains(in, []byte(`"seed":2`)):
		panic("seed 2")
	case bytes.Contains(in, []byte(`"seed":3`)):
		var mu sync.Mutex
		mu.Lock()
		virtual.RunOr(50*time.Millisecond, func() { os.Exit(exitStalled) }, func(func()) error {
			mu.Lock() // for ever
			return nil
		})
	}
	root := newRoot()
	root.SetArgs(os.Args[1:])
	root.SetIn(bytes.NewReader(in))
	if err := root.Execute(); err != nil {
		panic(err)
	}
}

// TestScripts runs the command line as a person would: each file is a session.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	seed, err := filepath.Abs("../../topo/testdata/seed")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("EXAMPLES", examples)
			e.Setenv("SEED", seed)
			return os.WriteFile(filepath.Join(e.WorkDir, "junk.yaml"), bytes.Repeat([]byte("junk: [\n"), 100<<20/8), 0o644)
		},
		// Sessions that play hundreds of labs show no more races than those that play one.
		Condition: func(cond string) (bool, error) {
			if cond != "race" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return raceEnabled, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"oneline": oneLine, "exitcode": exitCode, "waitfor": waitFor},
	})
}

// oneLine wants standard error to be one line that begins with a place in the
// file: oneline FILE:LINE:COL:
func oneLine(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	if n := strings.Count(text, "\n"); n != 1 || strings.Contains(text, "panic") {
		ts.Fatalf("stderr has %d lines, want one:\n%s", n, text)
	}
	if len(args) > 0 && !strings.HasPrefix(text, args[0]) {
		ts.Fatalf("stderr begins %q, want %q", text, args[0])
	}
}

// exitCode runs podwire in this process and wants its exit code: exitcode N ARGS...
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	want := args[0]
	err := ts.Exec("podwire", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("podwire %s: exit code %s, want %s", strings.Join(args[1:], " "), got, want)
	}
}

// waitFor waits until a file whose name begins so appears: waitfor PREFIX
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	for range 1000 {
		if found, _ := filepath.Glob(ts.MkAbs(args[0]) + "*"); len(found) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("no file %s* appeared", args[0])
}
