package link

import (
	"slices"
	"strings"
	"testing"
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
		"waits, and it belongs to goroutine":   func() { d.Sleep(time.Second) },
		"Go would start a second goroutine":    func() { d.Go(func() {}) },
		"no event is left that could end this": func() { other := NewDriver(DriverConfig{ByHand: true}); other.NewWaiter().Wait() },
	} {
		if got := said(f); !strings.Contains(got, want) {
			t.Errorf("panic %q, want one with %q", got, want)
		}
	}
}
