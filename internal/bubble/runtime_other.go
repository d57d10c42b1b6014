//go:build !go1.26 || go1.27 || goexperiment.staticlockranking

package bubble

// state is that of a bubble of a runtime that is not known.
type state struct {
	now     int64
	timers  timers
	waiting bool
}

type timers struct{}

func find() *state { return nil }

func (*state) alone() bool { return false }

func (timers) wakeTime() int64 { return 0 }
