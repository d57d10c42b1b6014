package emu

import (
	"context"
	"time"

	"github.com/podwire/podwire/link"
)

// WithTimeout is [context.WithTimeout] on the lab's clock. In virtual time a
// timer of package context would fire in no repeatable order with what else
// happens at that instant; this one is an event like any other.
func (l *Lab) WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(parent)
	ended := l.drv.NewWaiter()
	ctx := timeout{inner, l.Deadline(d)}
	if at, ok := parent.Deadline(); ok && at.Before(ctx.deadline) {
		ctx.deadline = at
	}
	var timer *link.Timer
	l.drv.Do(func() {
		timer = l.drv.AfterFunc(l.source, d, ended.Wake)
		// What waits for the context must be let go by a goroutine that the driver
		// waits for, not by the event itself.
		l.work(func() error {
			ended.Wait()
			cancel(context.DeadlineExceeded)
			return nil
		})
	})
	return ctx, func() {
		cancel(context.Canceled)
		l.drv.Do(func() {
			timer.Stop()
			ended.Wake()
		})
	}
}

// timeout is a context that ends when the lab says so.
type timeout struct {
	context.Context
	deadline time.Time
}

func (t timeout) Deadline() (time.Time, bool) { return t.deadline, true }

// Err tells a context that has timed out from one that was cancelled.
func (t timeout) Err() error {
	if t.Context.Err() == nil {
		return nil
	}
	return context.Cause(t.Context)
}
