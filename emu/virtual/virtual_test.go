package virtual

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Run rests on testing/synctest accepting an empty testing.T. If a release of
// Go changes that, this says so before anything else fails.
func TestRunIsVirtual(t *testing.T) {
	var slept time.Duration
	err := Run(func(settle func()) error {
		start := time.Now()
		time.Sleep(1000 * time.Hour)
		slept = time.Since(start)
		return nil
	})
	if err != nil || slept != 1000*time.Hour {
		t.Errorf("slept %v, error %v, want exactly 1000h and none", slept, err)
	}
}

func TestSettleWaitsForTheBubble(t *testing.T) {
	err := Run(func(settle func()) error {
		var n atomic.Int64
		for range 10 {
			go n.Add(1)
		}
		settle()
		if got := n.Load(); got != 10 {
			t.Errorf("%d goroutines ran before settle returned, want 10", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRunReturnsErrorsAndPanics(t *testing.T) {
	boom := errors.New("boom")
	if err := Run(func(func()) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
	err := Run(func(func()) error { panic("ouch") })
	if err == nil || !strings.Contains(err.Error(), "ouch") || !strings.Contains(err.Error(), "virtual_test.go") {
		t.Errorf("error %v, want the panic and its stack", err)
	}
	if err := Run(func(func()) error { return nil }); err != nil {
		t.Errorf("after a panic: %v, want none", err)
	}
}

// A goroutine of the bubble that waits for a mutex holds up time. The report
// must name it.
func TestWatchNamesTheCulprit(t *testing.T) {
	var out lockedBuffer
	var mu sync.Mutex
	mu.Lock()
	stop := Watch(&out, 50*time.Millisecond, func() uint64 { return 0 })
	defer stop()
	reported := make(chan struct{})
	go func() {
		for !strings.Contains(out.String(), "waitsForMutex") {
			time.Sleep(time.Millisecond)
		}
		mu.Unlock()
		close(reported)
	}()
	err := Run(func(settle func()) error {
		go waitsForMutex(&mu)
		settle()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	<-reported
	if !strings.Contains(out.String(), "virtual time has stood still for 50ms") {
		t.Errorf("report:\n%s\nwant how long time stood still", out.String())
	}
}

//go:noinline
func waitsForMutex(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
}

// A bubble that makes progress is left alone.
func TestWatchIsQuietWhileTimeMoves(t *testing.T) {
	var out lockedBuffer
	var n atomic.Uint64
	stop := Watch(&out, 20*time.Millisecond, func() uint64 { return n.Add(1) })
	time.Sleep(60 * time.Millisecond) // what is tested is real time
	stop()
	if out.String() != "" {
		t.Errorf("report %q, want none", out.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
