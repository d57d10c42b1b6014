package bench

import (
	"fmt"
	"runtime"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
)

// BenchmarkBuild is the time to build a cluster of 10 nodes with 30 pods each,
// in both kinds of time, and to close it.
func BenchmarkBuild(b *testing.B) {
	const nodes, podsPerNode = 10, 30
	b.Run("path=bare", func(b *testing.B) {
		for b.Loop() {
			closeAll(bareStacks(b, nodes+nodes*podsPerNode))
		}
	})
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
	b.Run("path=bare", func(b *testing.B) { idleBare(b, pods) })
	b.Run("path=pod", func(b *testing.B) { idlePods(b, nodes, pods) })
}

// bareStacks makes stacks that nobody uses.
func bareStacks(b *testing.B, n int) []*stack.Stack {
	list := make([]*stack.Stack, n)
	for i := range list {
		list[i], _ = newBareStack(b, bareClient)
	}
	return list
}

func closeAll(list []*stack.Stack) {
	for _, s := range list {
		s.Close()
		s.Wait()
	}
}

func idleBare(b *testing.B, n int) {
	var bytes, goroutines float64
	for b.Loop() {
		heap, gs := liveHeap(), runtime.NumGoroutine()
		list := bareStacks(b, n)
		bytes += liveHeap() - heap
		goroutines += float64(runtime.NumGoroutine() - gs)
		closeAll(list)
	}
	reportIdle(b, bytes, goroutines, n)
}

func reportIdle(b *testing.B, bytes, goroutines float64, n int) {
	b.ReportMetric(bytes/float64(n)/float64(b.N), "heap-B/pod")
	b.ReportMetric(goroutines/float64(n)/float64(b.N), "goroutines/pod")
}

func idlePods(b *testing.B, nodes, pods int) {
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
	reportIdle(b, bytes, goroutines, pods)
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
