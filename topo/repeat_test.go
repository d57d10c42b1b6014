package topo

import (
	"os"
	"runtime"
	"sync"
	"testing"
)

// The same scenario and seed give the same packets, however many CPUs there are
// and whatever else they do. `make repeat` does this 200 times, with the race
// detector too.
func TestRepeat(t *testing.T) {
	text, err := os.ReadFile("testdata/repeat.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	sum, v := digest(t, string(text), 4)
	want(t, v)
	if v.Pods < 50 || len(v.Drawn) < 15 {
		t.Fatalf("%d pods, %d random faults, want at least 50 and 15", v.Pods, len(v.Drawn))
	}
	for _, procs := range []int{1, 4} {
		runtime.GOMAXPROCS(procs)
		stop := busy(procs / 2)
		again, _ := digest(t, string(text), 4)
		stop()
		if again != sum {
			t.Errorf("GOMAXPROCS %d: digest %x, want %x as in the first run", procs, again[:8], sum[:8])
		}
	}
}

// busy keeps CPUs busy from outside of any bubble until stop is called.
func busy(n int) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for x := uint64(1); ; x = x*6364136223846793005 + 1442695040888963407 {
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	return func() {
		close(done)
		wg.Wait()
	}
}
