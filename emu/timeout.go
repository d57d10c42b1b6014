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
	ctx := &timeout{Context: inner, deadline: l.Deadline(d), lab: l, cancel: cancel}
	if at, ok := parent.Deadline(); ok && at.Before(ctx.deadline) {
		ctx.deadline = at
	}
	ctx.follow(parent)
	ended := l.drv.NewWaiter()
	var timer *link.Timer
	l.drv.Do(func() {
		timer = l.drv.AfterFunc(l.source, d, ended.Wake)
		// What waits for the context must be let go by a goroutine that the driver
		// waits for, not by the event itself.
		l.work(func() error {
			ended.Wait()
			ctx.end(context.DeadlineExceeded)
			return nil
		})
	})
	return ctx, func() {
		ctx.unfollow()
		ctx.end(context.Canceled)
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
	lab      *Lab
	cancel   context.CancelCauseFunc
	unfollow func() bool
	after    []*func() // guarded by the driver's lock
}

func (t *timeout) Deadline() (time.Time, bool) { return t.deadline, true }

// Err tells a context that has timed out from one that was cancelled.
func (t *timeout) Err() error {
	if t.Context.Err() == nil {
		return nil
	}
	return context.Cause(t.Context)
}

// AfterFunc has f called when the context ends, by the goroutine that ends it,
// where context.AfterFunc would start one that the driver does not know of. F must
// not wait. Dials look for this method.
func (t *timeout) AfterFunc(f func()) (stop func() bool) {
	over := false
	t.lab.drv.Do(func() {
		if over = t.Context.Err() != nil; !over {
			t.after = append(t.after, &f)
		}
	})
	if over {
		f()
	}
	return func() (waiting bool) {
		t.lab.drv.Do(func() {
			for i, o := range t.after {
				if o == &f {
					t.after, waiting = append(t.after[:i:i], t.after[i+1:]...), true
					return
				}
			}
		})
		return waiting
	}
}

// follow has the context end with its parent.
func (t *timeout) follow(parent context.Context) {
	end := func() { t.end(context.Cause(parent)) }
	if p, ok := parent.(*timeout); ok {
		t.unfollow = p.AfterFunc(end)
		return
	}
	t.unfollow = context.AfterFunc(parent, end)
}

// end ends the context, unless it has ended before.
func (t *timeout) end(cause error) {
	t.cancel(cause)
	var after []*func()
	t.lab.drv.Do(func() { after, t.after = t.after, nil })
	for _, f := range after {
		(*f)()
	}
}
