package stack

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// TestPendingIsAQueueOfBytes holds pending against the plainest queue there is.
func TestPendingIsAQueueOfBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var p pending
	var want []byte
	for step := range 3000 {
		if rng.IntN(2) == 0 && len(want) < 4*pendingChunk {
			b := make([]byte, rng.IntN(3*pendingChunk/2))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			p.write(b)
			want = append(want, b...)
		} else {
			n := rng.IntN(len(want) + 1)
			p.discard(n)
			want = want[n:]
		}
		r := p.reader()
		if p.Len() != len(want) || r.Len() != len(want) {
			t.Fatalf("step %d: %d bytes, reader has %d, want %d", step, p.Len(), r.Len(), len(want))
		}
		n := rng.IntN(len(want) + 1)
		got := make([]byte, n)
		if _, err := io.ReadFull(&r, got); err != nil || !bytes.Equal(got, want[:n]) || r.Len() != len(want)-n {
			t.Fatalf("step %d: read %d bytes wrongly, error %v", step, n, err)
		}
		if most := len(want)/pendingChunk + 2; len(p.chunks) > most {
			t.Fatalf("step %d: %d pieces for %d bytes, want at most %d", step, len(p.chunks), len(want), most)
		}
	}
	p.reset()
	r := p.reader()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF || p.Len() != 0 {
		t.Errorf("after reset: read %d bytes, %v", n, err)
	}
}
