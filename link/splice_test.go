package link

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
)

// outside is what a splice is joined to: it says what was written to it, and
// sends what is put into in.
type outside struct {
	in, out chan string
	refuse  error // of Write
	stuck   chan struct{}
	closed  chan struct{}
	once    sync.Once
}

func newOutside() *outside {
	return &outside{in: make(chan string), out: make(chan string, 10), closed: make(chan struct{})}
}

func (o *outside) Read(b []byte) (int, error) {
	select {
	case s, ok := <-o.in:
		if !ok {
			return 0, errors.New("the device is gone")
		}
		return copy(b, s), nil
	case <-o.closed:
		return 0, io.ErrClosedPipe
	}
}

func (o *outside) Write(b []byte) (int, error) {
	if o.stuck != nil {
		<-o.stuck
	}
	o.out <- string(b)
	return len(b), o.refuse
}

func (o *outside) Close() error {
	o.once.Do(func() { close(o.closed) })
	return nil
}

// spliced is a cable in real time with the outside at its end A.
func spliced(t *testing.T, o *outside) (*Driver, *Wire, *Splice) {
	t.Helper()
	d := NewDriver(DriverConfig{})
	t.Cleanup(d.Close)
	var w *Wire
	var s *Splice
	var err error
	d.Do(func() {
		w = d.NewWire("cable", WireConfig{})
		s, err = d.NewSplice(w.A, o)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return d, w, s
}

func TestSplicePassesFramesBothWays(t *testing.T) {
	o := newOutside()
	d, w, _ := spliced(t, o)
	got := make(chan string, 10)
	d.Do(func() {
		w.B.Bind(func(f *Frame) {
			got <- fmt.Sprintf("%s, id known: %v, intact: %v", f.Bytes(), f.ID != 0, f.Intact)
			f.Release()
		})
	})
	const frame = "from the outside, a frame"
	o.in <- "runt"
	o.in <- frame
	equal(t, "what came in", <-got, frame+", id known: true, intact: false")
	d.Do(func() { equal(t, "runts", w.A.Lost().Drops(DropRunt), 1) })

	for i := range 3 {
		d.Do(func() { w.B.Send(d.text(fmt.Sprint("to the outside ", i))) })
	}
	for i := range 3 {
		equal(t, "what went out", <-o.out, fmt.Sprint("to the outside ", i))
	}
	d.Do(func() { equal(t, "frames never released", d.LiveFrames(), 0) })
}

// TestSpliceOutsideIsSlow shows that a network never waits for the outside.
func TestSpliceOutsideIsSlow(t *testing.T) {
	o := newOutside()
	o.stuck = make(chan struct{})
	o.out = make(chan string, 3*spliceQueue)
	d, w, s := spliced(t, o)
	const n = 2 * spliceQueue
	for range n {
		d.Do(func() { w.B.Send(d.text("too many frames for the outside")) })
	}
	var lost uint64
	d.Sleep(0)
	d.Do(func() { lost = w.A.Lost().Drops(DropSpliceFull) })
	if lost < n-spliceQueue-1 || lost > n-spliceQueue { // one may be in the writer's hands
		t.Errorf("%d of %d frames dropped, want all but %d or one more", lost, n, spliceQueue)
	}
	close(o.stuck)
	for range n - lost {
		<-o.out
	}
	s.Close()
	d.Do(func() { equal(t, "frames never released", d.LiveFrames(), 0) })
}

func TestSpliceEnds(t *testing.T) {
	t.Run("by itself", func(t *testing.T) {
		o := newOutside()
		_, _, s := spliced(t, o)
		equal(t, "error before", s.Err(), nil)
		close(o.in)
		<-s.Done()
		equal(t, "error", fmt.Sprint(s.Err()), "the device is gone")
		equal(t, "close", s.Close(), nil)
	})
	t.Run("by Close", func(t *testing.T) {
		o := newOutside()
		d, w, s := spliced(t, o)
		equal(t, "close", s.Close(), nil)
		equal(t, "close again", s.Close(), nil)
		<-s.Done()
		equal(t, "error", s.Err(), nil)
		d.Do(func() { w.B.Send(d.text("nobody is there any more")) })
		d.Sleep(0)
		d.Do(func() { equal(t, "lost", w.A.Lost().Drops(DropNoPeer), 1) })
	})
	t.Run("after the driver", func(t *testing.T) {
		d, _, s := spliced(t, newOutside())
		d.Close()
		equal(t, "close", s.Close(), nil)
	})
	t.Run("refuses", func(t *testing.T) {
		o := newOutside()
		o.refuse = errors.New("it is down")
		d, w, s := spliced(t, o)
		d.Do(func() { w.B.Send(d.text("a frame for one that is down")) })
		<-o.out
		s.Close() // the writer has ended
		d.Do(func() { equal(t, "refused", w.A.Lost().Drops(DropSpliceRefused), 1) })
	})
}

func TestSpliceWantsRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDriver(DriverConfig{Settle: synctest.Wait})
		defer d.Close()
		o := newOutside()
		var err error
		d.Do(func() { _, err = d.NewSplice(d.NewWire("cable", WireConfig{}).A, o) })
		if !errors.Is(err, ErrVirtualTime) {
			t.Errorf("got %v, want %v", err, ErrVirtualTime)
		}
		if !isClosed(o.closed) {
			t.Error("the outside was not closed")
		}
	})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
