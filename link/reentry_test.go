package link

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestNestedDoPanics: what would wait for itself says so, in both kinds of time.
func TestNestedDoPanics(t *testing.T) {
	nested := map[string]func(*Driver){
		"Do":    func(d *Driver) { d.Do(func() {}) },
		"Sleep": func(d *Driver) { d.Sleep(time.Second) },
		"Close": func(d *Driver) { d.Close() },
	}
	check := func(t *testing.T, settle func()) {
		for name, f := range nested {
			for _, within := range []string{"Do", "event"} {
				d := NewDriver(DriverConfig{Settle: settle})
				said := ""
				try := func() {
					defer func() { said, _ = recover().(string) }()
					f(d)
				}
				if within == "Do" {
					d.Do(try)
				} else {
					d.Do(func() { d.AfterFunc(d.NewSource(), 0, try) })
					d.Sleep(0)
					d.Sleep(time.Millisecond)
				}
				d.Do(func() {}) // the lock is not lost
				d.Close()
				if !strings.HasPrefix(said, "link: "+name+" called from within the driver") {
					t.Errorf("%s in %s: panic %q, want one that says so", name, within, said)
				}
			}
		}
	}
	t.Run("real", func(t *testing.T) { check(t, nil) })
	t.Run("virtual", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { check(t, synctest.Wait) })
	})
}

// TestDriversNest: the lock of one driver may be waited for with that of another
// held.
func TestDriversNest(t *testing.T) {
	a, b := NewDriver(DriverConfig{}), NewDriver(DriverConfig{})
	defer a.Close()
	defer b.Close()
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		b.Do(func() {
			close(held)
			<-release
		})
	})
	<-held
	ran := false
	a.Do(func() {
		wg.Go(func() { close(release) })
		b.Do(func() { ran = true })
	})
	wg.Wait()
	if !ran {
		t.Error("Do of another driver did not run")
	}
}
