package emu_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// A timeout is an event of the lab: exact, and told from a cancellation.
func TestWithTimeout(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		start := lab.Now()
		ctx, cancel := lab.WithTimeout(context.Background(), 3*time.Second)
		if d, ok := ctx.Deadline(); !ok || d.Sub(lab.Deadline(0)) != 3*time.Second {
			t.Errorf("deadline %v, %v, want it 3s from now", d, ok)
		}
		<-ctx.Done()
		if took := lab.Now() - start; took != 3*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v with %v, want 3s and %v", took, ctx.Err(), context.DeadlineExceeded)
		}
		cancel()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("cancelled late: %v, want it to stay %v", ctx.Err(), context.DeadlineExceeded)
		}

		ctx, cancel = lab.WithTimeout(context.Background(), time.Hour)
		cancel()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("cancelled: %v, want %v", ctx.Err(), context.Canceled)
		}
		cancel()

		long, cancelLong := lab.WithTimeout(context.Background(), 4*time.Second)
		defer cancelLong()
		ctx, cancel = lab.WithTimeout(long, time.Hour)
		defer cancel()
		start = lab.Now()
		if d, ok := ctx.Deadline(); !ok || d.Sub(lab.Deadline(0)) != 4*time.Second {
			t.Errorf("deadline %v, %v, want the parent's", d, ok)
		}
		<-ctx.Done()
		if took := lab.Now() - start; took != 4*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v with %v, want with its parent", took, ctx.Err())
		}
		lateCalls(t, lab)
	})
}

// lateCalls checks what is called when a context ends.
func lateCalls(t *testing.T, lab *emutest.Lab) {
	t.Helper()
	ctx, cancel := lab.WithTimeout(context.Background(), time.Second)
	defer cancel()
	after := ctx.(interface {
		AfterFunc(func()) func() bool
	}).AfterFunc
	var called []string
	note := func(name string) func() { return func() { called = append(called, name) } }
	stop := after(note("stopped"))
	stopLate := after(note("in time"))
	if !stop() || stop() {
		t.Error("a function that waits is stopped once, want true and then false")
	}
	<-ctx.Done()
	lab.Sleep(0)
	after(note("afterwards"))
	if stopLate() || !slices.Equal(called, []string{"in time", "afterwards"}) {
		t.Errorf("called %q, want in time and afterwards", called)
	}
}

// A dial that nobody answers times out when its context does, to the nanosecond.
func TestDialTimesOutOnTheLabsClock(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		lab.Pod("web", "node2", 80)
		client.Ping("web")
		lab.Node("node2").SetLink(false)
		start := lab.Now()
		ctx, cancel := lab.WithTimeout(context.Background(), 2500*time.Millisecond)
		defer cancel()
		_, err := client.DialContext(ctx, "tcp", "web:80")
		if took := lab.Now() - start; took != 2500*time.Millisecond || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v after %v, want a timeout after 2.5s", err, took)
		}
	})
}
