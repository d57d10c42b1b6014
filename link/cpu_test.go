package link

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Packets leave a core one after another, each when all work before it and its
// own is done, to the picosecond's sum.
func TestCPUServesInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		var got []string
		var c *CPU
		d.Do(func() {
			c = d.NewCPU(CPUConfig{})
			for i, ps := range []int64{1_000_000, 500_500, 500_500, 0} {
				f := d.NewFrame(1)
				c.Spend(f, ps)
				c.After(f, func(f *Frame) {
					got = append(got, fmt.Sprintf("%d at %v", i, d.now))
					f.Release()
				})
			}
		})
		d.Sleep(time.Millisecond)
		want := []string{"0 at 1µs", "1 at 1.501µs", "2 at 2.001µs", "3 at 2.001µs"}
		if !slices.Equal(got, want) {
			t.Errorf("left: %q, want %q", got, want)
		}
		d.Do(func() {
			f := d.NewFrame(1)
			at := time.Duration(-1)
			c.Spend(f, 0)
			c.After(f, func(*Frame) { at = d.now })
			f.Release()
			if at != d.now {
				t.Error("an idle CPU keeps a packet that costs nothing waiting")
			}
			if s := c.Stats()[0]; s.Busy != 2001*time.Nanosecond || s.Most != 4 || s.Waiting != 0 {
				t.Errorf("stats %+v, want 2.001µs of work and 4 waiting at most", s)
			}
		})
	})
}

func TestCPUBacklogAndSlowness(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		d.Do(func() {
			c := d.NewCPU(CPUConfig{Backlog: 2})
			c.SetSlow(10)
			admitted := 0
			for range 5 {
				f := d.NewFrame(1)
				if !c.Admit(f) {
					f.Release()
					continue
				}
				admitted++
				c.Spend(f, 1000)
				c.After(f, (*Frame).Release)
			}
			if s := c.Stats()[0]; admitted != 2 || s.Dropped != 3 || s.Busy != 20*time.Nanosecond {
				t.Errorf("%d admitted, stats %+v, want 2, 3 dropped and 20ns of work", admitted, s)
			}
		})
	})
}

// A flow stays on its core, and cores do not wait for each other.
func TestCPUCores(t *testing.T) {
	inBubble(t, func(t *testing.T, d *Driver) {
		d.Do(func() {
			c := d.NewCPU(CPUConfig{Cores: 4})
			for i := range uint32(8) {
				f := d.NewFrame(1)
				c.Choose(f, i<<29)
				if want := uint16(i/2) + 1; f.Core != want {
					t.Errorf("hash %#x: core %d, want %d", i<<29, f.Core, want)
				}
				c.Spend(f, int64(1000*(i+1)))
				f.Release()
			}
			for i, s := range c.Stats() {
				if want := time.Duration(4*i+3) * time.Nanosecond; s.Busy != want {
					t.Errorf("core %d: %v, want %v", i, s.Busy, want)
				}
			}
		})
	})
}
