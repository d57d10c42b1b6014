package conformance

import (
	"bytes"
	"crypto/sha256"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/pcap"
)

// The same seed gives the same file, to the byte, whatever the number of CPUs
// and whatever else the machine is doing; another seed gives another.
func TestSameSeedSameBytes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	want, size := captureSum(t, 1)
	if size < 10_000 {
		t.Fatalf("the capture has %d bytes, want a real one", size)
	}
	for i := range seedRuns {
		procs, loaded := []int{1, 2, 4}[i%3], i%2 == 1
		runtime.GOMAXPROCS(procs)
		stop := func() {}
		if loaded {
			stop = spin(4)
		}
		got, _ := captureSum(t, 1)
		stop()
		if got != want {
			t.Fatalf("run %d, GOMAXPROCS %d, loaded %v: sha256 %x, want %x as in the first run", i+1, procs, loaded, got[:8], want[:8])
		}
	}
	if other, _ := captureSum(t, 2); other == want {
		t.Error("seeds 1 and 2 give the same file")
	}
}

// Encryption is no exception: keys, indices and jitter come from the seed.
func TestSameSeedSameCiphertext(t *testing.T) {
	sum := func(seed uint64) [32]byte {
		cfg := emu.Config{Nodes: 3, Seed: seed, Design: "flannel-wireguard"}
		s, _ := captureSumOf(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2", 80)
			lab.Pod("c", "node3", 80)
			for range 3 {
				a.Get("http://b/hostname")
				b.Get("http://c/hostname")
				lab.Sleep(100 * time.Second) // handshakes again
			}
		})
		return s
	}
	want := sum(1)
	if got := sum(1); got != want {
		t.Errorf("sha256 %x, then %x", want[:8], got[:8])
	}
	if other := sum(2); other == want {
		t.Error("seeds 1 and 2 give the same file")
	}
}

// captureSum plays everything with a seed and returns the hash and the length
// of the capture. The head of the file does not name the seed.
func captureSum(t *testing.T, seed uint64) (sum [32]byte, size int) {
	t.Helper()
	return captureSumOf(t, emu.Config{Nodes: 2, Seed: seed}, everything)
}

// captureSumOf is captureSum for any lab and anything that is played in it.
func captureSumOf(t *testing.T, cfg emu.Config, play func(*testing.T, *emutest.Lab)) (sum [32]byte, size int) {
	t.Helper()
	var file bytes.Buffer
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		w, err := pcap.NewWriter(&file, pcap.Section{Application: "podwire"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := lab.CaptureTo(w, emu.CaptureConfig{})
		if err != nil {
			t.Fatal(err)
		}
		play(t, lab)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return sha256.Sum256(file.Bytes()), file.Len()
}

// spin keeps CPUs busy from outside of the bubble until stop is called.
func spin(n int) (stop func()) {
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
