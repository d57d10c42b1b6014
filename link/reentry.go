package link

import (
	"fmt"
	"runtime"
	"strings"
)

// lock takes the driver's lock for one of its methods. A goroutine that holds it
// already would wait for itself for ever, and without a word; it panics instead.
func (d *Driver) lock(method string) {
	if d.mu.TryLock() {
		return
	}
	if withinDriver() && d.holds(method) {
		panic(fmt.Sprintf("link: %s called from within the driver: a function given to Do, a timer, a handler or an observer holds the driver's lock already and must neither call %s nor a method of a lab, host or socket that does", method, method))
	}
	d.mu.Lock()
}

// withinDriver reports whether a frame of the calling goroutine may hold the
// lock of some driver. It is the cheap question, for locks are often contended
// in real time.
func withinDriver() bool {
	var pcs [128]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(4, pcs[:])]) // without lock and the method that called it
	for {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, driverPrefix) {
			switch f.Function[len(driverPrefix):] {
			case "Do", "loop", "step":
				return true
			}
		}
		if !more {
			return false
		}
	}
}

// driverPrefix is what the names of the driver's methods begin with.
const driverPrefix = "github.com/podwire/podwire/link.(*Driver)."

// holds reports whether the calling goroutine, in a method of d, holds the lock of
// d and not only that of another driver: two labs may nest. The runtime tells
// receivers in text alone. What the loop calls, it calls with the lock held.
func (d *Driver) holds(method string) bool {
	buf := make([]byte, 64<<10)
	trace := string(buf[:runtime.Stack(buf, false)])
	calls := strings.Count(trace, fmt.Sprintf("%sDo(%p", driverPrefix, d))
	if method == "Do" {
		calls-- // the call that asks
	}
	return calls > 0 || strings.Contains(trace, fmt.Sprintf("%sloop(%p", driverPrefix, d)) || strings.Contains(trace, fmt.Sprintf("%sstep(%p", driverPrefix, d))
}
