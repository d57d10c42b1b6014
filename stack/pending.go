package stack

import (
	"io"
	"sync"
)

// pendingChunk is how much a piece of pending holds.
const pendingChunk = 64 << 10

// pending is what an application has written and gVisor has not taken yet. It is
// kept in pieces, so that what moves through it is never moved within it. The
// zero value is empty.
type pending struct {
	chunks []chunk // the first begins at start, each but the last is full
	start  int
	size   int
}

type chunk struct {
	buf *[pendingChunk]byte
	n   int // bytes used
}

// chunks that connections are done with.
var spareChunks = sync.Pool{New: func() any { return new([pendingChunk]byte) }}

// Len returns how many bytes wait.
func (p *pending) Len() int { return p.size }

// write puts a copy of b at the end.
func (p *pending) write(b []byte) {
	p.size += len(b)
	for len(b) > 0 {
		if n := len(p.chunks); n == 0 || p.chunks[n-1].n == pendingChunk {
			p.chunks = append(p.chunks, chunk{buf: spareChunks.Get().(*[pendingChunk]byte)})
		}
		c := &p.chunks[len(p.chunks)-1]
		n := copy(c.buf[c.n:], b)
		c.n += n
		b = b[n:]
	}
}

// discard forgets the first n bytes; there are as many.
func (p *pending) discard(n int) {
	p.size -= n
	p.start += n
	gone := 0
	for gone < len(p.chunks) && p.start >= p.chunks[gone].n {
		p.start -= p.chunks[gone].n
		spareChunks.Put(p.chunks[gone].buf)
		gone++
	}
	if gone > 0 {
		kept := copy(p.chunks, p.chunks[gone:])
		clear(p.chunks[kept:])
		p.chunks = p.chunks[:kept]
	}
}

// reset forgets everything.
func (p *pending) reset() { p.discard(p.size) }

// reader returns a reader of what waits, which stays.
func (p *pending) reader() pendingReader {
	return pendingReader{p: p, at: p.start, left: p.size}
}

// pendingReader implements gVisor's Payloader. gVisor sees one run of bytes:
// where it cuts segments does not depend on the pieces.
type pendingReader struct {
	p         *pending
	chunk, at int
	left      int
}

// Len returns how many bytes have not been read.
func (r *pendingReader) Len() int { return r.left }

// Read implements io.Reader.
func (r *pendingReader) Read(b []byte) (n int, err error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	for n < len(b) && r.left > 0 {
		c := r.p.chunks[r.chunk]
		m := copy(b[n:], c.buf[r.at:c.n])
		n, r.at, r.left = n+m, r.at+m, r.left-m
		if r.at == c.n {
			r.chunk, r.at = r.chunk+1, 0
		}
	}
	return n, nil
}
