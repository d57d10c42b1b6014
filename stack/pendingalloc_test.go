//go:build !race

// The race detector makes a sync.Pool forget at random.

package stack

import "testing"

// TestPendingAllocatesNothing: a connection that is kept full goes round in the
// same pieces.
func TestPendingAllocatesNothing(t *testing.T) {
	var p pending
	b := make([]byte, 8*pendingChunk+1)
	p.write(make([]byte, maxPending))
	n := testing.AllocsPerRun(10, func() {
		for range 100 {
			p.discard(len(b))
			p.write(b)
		}
	})
	if n > 100 { // 800 pieces; the pool may be emptied meanwhile
		t.Errorf("%v allocations for 100 writes of 8 pieces, want next to none", n)
	}
}
