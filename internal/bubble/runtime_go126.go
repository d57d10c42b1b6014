//go:build go1.26 && !go1.27 && !goexperiment.staticlockranking

package bubble

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// The types of this file have the fields of those in the runtime of Go 1.26, in
// their order: runtime/synctest.go and runtime/time.go.

// state is runtime.synctestBubble.
type state struct {
	mu      mutex
	timers  timers
	id      uint64
	now     int64 // nanoseconds since 1970
	root    unsafe.Pointer
	waiter  unsafe.Pointer
	main    unsafe.Pointer
	waiting bool // a goroutine is in synctest.Wait
	done    bool // the bubble's first goroutine has ended
	total   int  // goroutines
	running int  // goroutines that are not durably blocked
	active  int  // what else keeps the bubble from being so
}

type mutex struct{ key uintptr }

type timers struct {
	mu              mutex
	heap            []timerWhen
	len             atomic.Uint32
	zombies         atomic.Int32
	raceCtx         uintptr
	minWhenHeap     atomic.Int64
	minWhenModified atomic.Int64
}

type timerWhen struct {
	_ *timer
	_ int64 // when
}

// timeTimer is what a *time.Timer points to.
type timeTimer struct {
	c    unsafe.Pointer
	init bool
	timer
}

type timer struct {
	mu             mutex
	astate, state  uint8
	isChan, isFake bool
	blocked, rand  uint32
	when, period   int64
	f              unsafe.Pointer
	arg            any
	seq            uintptr
	ts             *timers
}

// find returns the bubble that the caller is in. A timer knows it, while it waits.
func find() *state {
	now := time.Now().UnixNano()
	t := time.AfterFunc(time.Hour, func() {})
	defer t.Stop()
	own := (*timeTimer)(unsafe.Pointer(t))
	if !own.init || own.isChan || !own.isFake || own.period != 0 || own.when != now+int64(time.Hour) || own.ts == nil {
		return nil
	}
	b := (*state)(unsafe.Add(unsafe.Pointer(own.ts), -int(unsafe.Offsetof(state{}.timers))))
	wake := b.timers.wakeTime()
	if b.now != now || b.id == 0 || b.root == nil || b.main == nil || b.done ||
		b.running < 1 || b.total <= b.running || b.active < 0 ||
		b.timers.len.Load() < 1 || wake <= 0 || wake > own.when {
		return nil
	}
	return b
}

// alone reports whether all goroutines of the bubble but the caller's are durably
// blocked, and none of them in synctest.Wait. If so, nobody but the caller changes
// that; if not, the answer may be old already.
func (b *state) alone() bool {
	return b.running == 1 && b.active == 0 && !b.waiting && !b.done
}

// wakeTime returns a time before which no timer ends, or 0 if there is none. The
// order of its loads is that of the method of this name in the runtime.
func (ts *timers) wakeTime() int64 {
	modified := ts.minWhenModified.Load()
	when := ts.minWhenHeap.Load()
	if when == 0 || modified != 0 && modified < when {
		return modified
	}
	return when
}
