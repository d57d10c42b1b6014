package bench

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
)

// BenchmarkBuild is the time to build a cluster of 10 nodes with 30 pods each,
// in both kinds of time, and to close it.
func BenchmarkBuild(b *testing.B) {
	const nodes, podsPerNode = 10, 30
	b.Run("time=real", func(b *testing.B) {
		for b.Loop() {
			if err := buildAndClose(emu.Config{Nodes: nodes}, nodes*podsPerNode); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("time=virtual", func(b *testing.B) {
		for b.Loop() {
			err := virtual.Run(func(settle func()) error {
				return buildAndClose(emu.Config{Nodes: nodes, Settle: settle}, nodes*podsPerNode)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func buildAndClose(cfg emu.Config, pods int) error {
	lab, err := emu.New(cfg)
	if err != nil {
		return err
	}
	if err := addPods(lab, pods); err != nil {
		lab.Close()
		return err
	}
	return lab.Close()
}

// addPods adds idle pods, spread over the nodes.
func addPods(lab *emu.Lab, n int) error {
	for i := range n {
		if _, err := lab.AddPod(emu.PodConfig{Name: fmt.Sprintf("pod-%d", i)}); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkIdlePods is what a pod that does nothing costs: bytes of live heap
// and goroutines, averaged over 1,000 pods on 10 nodes.
func BenchmarkIdlePods(b *testing.B) {
	const nodes, pods = 10, 1000
	var bytes, goroutines float64
	for b.Loop() {
		lab, err := emu.New(emu.Config{Nodes: nodes})
		if err != nil {
			b.Fatal(err)
		}
		heap, gs := liveHeap(), runtime.NumGoroutine()
		if err := addPods(lab, pods); err != nil {
			b.Fatal(err)
		}
		bytes += liveHeap() - heap
		goroutines += float64(runtime.NumGoroutine() - gs)
		if err := lab.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(bytes/pods/float64(b.N), "heap-B/pod")
	b.ReportMetric(goroutines/pods/float64(b.N), "goroutines/pod")
}

// liveHeap returns the bytes of reachable heap. Two collections: the first
// moves what is in a sync.Pool to its victim cache, the second frees that.
func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
