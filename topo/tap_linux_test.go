package topo

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// A host that is real is pinged like any other, and its cable has faults. The
// kernel that answers is in a network namespace of its own.
func TestRealHost(t *testing.T) {
	const none = "PODWIRE_NO_IPTABLES"
	if os.Getenv(none) == "1" {
		t.Skip(none + "=1 says that there is no kernel to ask")
	}
	sc, diags := Parse("real.yaml", []byte(`
name: real
pods: [{name: a}]
hosts:
- {name: laptop, tap: pw0, routes: []}
steps:
- ping: {from: a, to: laptop}
  expect: {ttl: 63}
- set: {link: laptop, latency: 20ms}
- ping: {from: a, to: laptop}
- set: {segment: underlay, latency: 0ms}
- down: {link: laptop}
- up: {link: laptop}
- ping: {from: a, to: laptop}
  expect: {sourceIP: laptop}
`))
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	type outcome struct {
		v   *Verdict
		err error
	}
	done := make(chan outcome)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends, and the namespace with it
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- outcome{err: err}
			return
		}
		v, err := sc.Run(RunConfig{})
		done <- outcome{v, err}
	}()
	o := <-done
	if o.err != nil {
		t.Fatalf("%v (needs root; set %s=1 to go without)", o.err, none)
	}
	for _, s := range o.v.Steps[:6] {
		if !s.Passed {
			t.Errorf("step %d, %s: %s", s.Number, s.Name, s.Outcome)
		}
	}
	if took := o.v.Steps[2].Took; took < 40*time.Millisecond {
		t.Errorf("a ping over a cable of 20ms took %v, want at least twice as long", took)
	}
	// Who pings laptop is seen by a real kernel, which tells nobody.
	if last := o.v.Steps[6]; last.Passed || last.Checks[0].Got != "nobody" {
		t.Errorf("%s: %+v, want a check that finds nobody", last.Name, last.Checks)
	}
}
