package link

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble calls f with a driver in virtual time, and wants every frame
// released afterwards.
func inBubble(t *testing.T, f func(t *testing.T, d *Driver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := NewDriver(DriverConfig{Settle: synctest.Wait, Seed: 1})
		defer d.Close()
		f(t, d)
		d.Sleep(time.Hour)
		d.Do(func() { equal(t, "frames never released", d.LiveFrames(), 0) })
	})
}

// sink receives frames and keeps when and what.
type sink struct {
	d   *Driver
	got []string
}

func (d *Driver) sink(p *Port) *sink {
	s := &sink{d: d}
	p.Bind(func(f *Frame) {
		s.got = append(s.got, fmt.Sprintf("%v %s", d.now, f.Bytes()))
		f.Release()
	})
	return s
}

// text is a frame with a string in it.
func (d *Driver) text(s string) *Frame {
	f := d.NewFrame(len(s))
	copy(f.Bytes(), s)
	return f
}

func want(t testing.TB, sentence string, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n\t"), strings.Join(want, "\n\t"); g != w {
		t.Errorf("%s:\ngot\n\t%s\nwant\n\t%s", sentence, g, w)
	}
}

func equal[T comparable](t testing.TB, sentence string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", sentence, got, want)
	}
}
