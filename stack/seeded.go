package stack

import (
	mathrand "math/rand"
	"math/rand/v2"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// clock is the driver's time as gVisor wants it.
type clock struct{ h *Host }

func (c clock) Now() time.Time { return c.h.drv.Epoch().Add(c.h.drv.Now()) }

func (c clock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.h.drv.Now())
}

func (c clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	h := c.h
	return h.drv.AfterFunc(h.source, d, func() {
		f()
		h.sockets.touched()
	})
}

// lockedSource is a seeded source that may be used from several goroutines, as
// gVisor demands.
type lockedSource struct {
	mu  sync.Mutex
	src rand.Source
}

func (l *lockedSource) Int63() int64 { return int64(l.Uint64() >> 1) }

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src.Uint64()
}

func (l *lockedSource) Seed(int64) {}

var _ mathrand.Source64 = (*lockedSource)(nil)

// seededReader stands in for the system's secure random numbers: a lab is
// repeatable, not secret.
type seededReader struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (r *seededReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b {
		b[i] = byte(r.rng.Uint32())
	}
	return len(b), nil
}
