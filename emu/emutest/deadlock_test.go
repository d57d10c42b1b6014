package emutest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// TestDeadlockFailsTheTest runs a test that waits for nobody, in a process of its
// own: it must fail, say who waits, and let the next test go on.
func TestDeadlockFailsTheTest(t *testing.T) {
	if os.Getenv("PODWIRE_DEADLOCK") != "" {
		t.Run("stuck", func(t *testing.T) {
			emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
				waitsForNobody(make(chan int))
			})
		})
		t.Run("next", func(t *testing.T) {
			emutest.Run(t, emu.Config{Nodes: 1}, func(*testing.T, *emutest.Lab) {})
		})
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestDeadlockFailsTheTest", "-test.v")
	cmd.Env = append(os.Environ(), "PODWIRE_DEADLOCK=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the test passed, want it to fail")
	}
	for _, want := range []string{"--- FAIL: TestDeadlockFailsTheTest/stuck", "--- PASS: TestDeadlockFailsTheTest/next", "virtual: deadlock: ", "in emutest_test.waitsForNobody"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

//go:noinline
func waitsForNobody(c chan int) { <-c }
