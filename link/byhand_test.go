package link

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestByHandIsExact: one goroutine that sleeps, and functions that are called.
func TestByHandIsExact(t *testing.T) {
	d := NewDriver(DriverConfig{ByHand: true})
	var at []time.Duration
	d.Do(func() {
		left := 3
		d.Every(time.Second, func() time.Duration {
			at = append(at, d.Now())
			if left--; left == 0 {
				return -1
			}
			return 7 * time.Nanosecond
		})
	})
	d.Sleep(1000 * time.Hour)
	d.Do(func() { at = append(at, d.Now()) })
	want := []time.Duration{time.Second, time.Second + 7, time.Second + 14, 1000 * time.Hour}
	if !slices.Equal(at, want) {
		t.Errorf("events at %v, want %v", at, want)
	}
	d.Close()
	d.Close()
	d.Sleep(time.Hour) // returns at once
}

// TestByHandRefuses: what it cannot do, it says.
func TestByHandRefuses(t *testing.T) {
	d := NewDriver(DriverConfig{ByHand: true})
	defer d.Close()
	d.Sleep(0)
	said := func(f func()) string {
		c := make(chan string)
		go func() {
			defer func() { s, _ := recover().(string); c <- s }()
			f()
		}()
		return <-c
	}
	for want, f := range map[string]func(){
		"waits, and it is the turn of goroutine": func() { d.Sleep(time.Second) },
		"no event is left that could end this":   func() { other := NewDriver(DriverConfig{ByHand: true}); other.NewWaiter().Wait() },
	} {
		if got := said(f); !strings.Contains(got, want) {
			t.Errorf("panic %q, want one with %q", got, want)
		}
	}
}

// TestByHandTakesTurns: goroutines act in the order in which they do in a bubble.
func TestByHandTakesTurns(t *testing.T) {
	want := []string{
		"0s main has started all", "0s a", "0s b", "0s c",
		"1s main", "1s a", "1s b", "1s main hears of both",
		"1s c", "1s main is told",
		"2s c", "2s its child", "2s all have ended", "3s end",
	}
	byHand := turns(NewDriver(DriverConfig{ByHand: true}))
	if !slices.Equal(byHand, want) {
		t.Errorf("by hand\n%s\nwant\n%s", strings.Join(byHand, "\n"), strings.Join(want, "\n"))
	}
	var bubble []string
	synctest.Test(t, func(t *testing.T) { bubble = turns(NewDriver(DriverConfig{Settle: synctest.Wait})) })
	if !slices.Equal(bubble, want) {
		t.Errorf("in a bubble\n%s\nwant\n%s", strings.Join(bubble, "\n"), strings.Join(want, "\n"))
	}
}

// turns has goroutines sleep, wait for each other and start others, and returns
// what they do in order.
func turns(d *Driver) (log []string) {
	defer d.Close()
	note := func(what string) { d.Do(func() { log = append(log, fmt.Sprintf("%v %s", d.Now(), what)) }) }
	all, both := d.NewGroup(), d.NewGroup()
	told := d.NewWaiter()
	for _, name := range []string{"a", "b"} {
		both.Go(func() {
			note(name)
			d.Sleep(time.Second)
			note(name)
		})
	}
	all.Go(func() {
		note("c")
		d.Sleep(time.Second)
		note("c")
		d.Do(told.WakeNow) // from here, main goes on beside it in a bubble
		d.Sleep(time.Second)
		note("c")
		all.Go(func() { note("its child") })
	})
	note("main has started all")
	d.Sleep(time.Second)
	note("main")
	both.Wait()
	note("main hears of both")
	told.Wait()
	note("main is told")
	all.Wait()
	note("all have ended")
	d.Sleep(time.Second)
	note("end")
	return log
}
