package pcap

import (
	"errors"
	"fmt"
	"io"
)

// ErrClosed is returned by a Writer after Close.
var ErrClosed = errors.New("pcap: writer: closed")

// flushAt is how many buffered bytes cause a write. Fewer and larger writes
// gain nothing measurable from here on.
const flushAt = 64 << 10

// A Writer writes one pcapng section. Make one with NewWriter.
//
// Output is buffered until 64 KiB, Flush or Close; with SetSync every block
// is written at once. Either way one call of the underlying Write carries
// whole blocks, so a capture that is cut off between writes is well formed.
//
// When the underlying writer fails, the error is kept and returned by every
// later call. An argument that cannot be represented is refused with an
// error too, but then nothing was written and the Writer stays usable.
type Writer struct {
	w    io.Writer
	buf  []byte   // whole blocks, not yet written
	snap []uint32 // snapshot length of each interface
	sync bool
	err  error // sticky: of the underlying writer, or ErrClosed
}

// NewWriter begins a capture on w by writing the section header.
func NewWriter(w io.Writer, s Section) (*Writer, error) {
	pw := &Writer{w: w}
	start := pw.begin(blockSection)
	pw.uint32(byteOrderMagic)
	pw.uint16(1) // version 1.0
	pw.uint16(0)
	pw.buf = le.AppendUint64(pw.buf, ^uint64(0)) // section length: unknown
	opts := len(pw.buf)
	pw.buf = appendText(pw.buf, optHardware, s.Hardware)
	pw.buf = appendText(pw.buf, optSectionOS, s.OS)
	pw.buf = appendText(pw.buf, optApplication, s.Application)
	pw.buf = appendText(pw.buf, optComment, s.Comment)
	pw.buf = appendEnd(pw.buf, opts)
	if err := pw.end(start); err != nil {
		return nil, err
	}
	// Written now so that an unusable w is known before any packet is.
	if err := pw.Flush(); err != nil {
		return nil, err
	}
	return pw, nil
}

// SetSync chooses between buffering (the default) and writing every block
// the moment it is complete, as a program reading from a pipe needs it.
// Switching it on flushes.
func (w *Writer) SetSync(on bool) error {
	w.sync = on
	if !on {
		return w.err
	}
	return w.Flush()
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	n, err := w.w.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	w.buf = w.buf[:0]
	if err != nil {
		w.err = fmt.Errorf("pcap: write: %w", err)
	}
	return w.err
}

// Close flushes. It does not close the underlying writer. Later calls of
// other methods return ErrClosed, or the error that a write had before;
// closing again returns nil, or that error.
func (w *Writer) Close() error {
	if w.err == ErrClosed {
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w.err = ErrClosed
	return nil
}

// begin starts a block and returns its place in the buffer.
func (w *Writer) begin(kind uint32) int {
	start := len(w.buf)
	w.uint32(kind)
	w.uint32(0) // the total length, set by end
	return start
}

// end completes the block that begin started, or takes it back if no reader
// would accept its length.
func (w *Writer) end(start int) error {
	total := len(w.buf) - start + 4
	if total > maxBlock {
		w.buf = w.buf[:start]
		return fmt.Errorf("pcap: block of %d bytes, want at most %d", total, maxBlock)
	}
	le.PutUint32(w.buf[start+4:], uint32(total))
	w.uint32(uint32(total))
	if w.sync || len(w.buf) >= flushAt {
		return w.Flush()
	}
	return nil
}

func (w *Writer) uint16(v uint16) { w.buf = le.AppendUint16(w.buf, v) }
func (w *Writer) uint32(v uint32) { w.buf = le.AppendUint32(w.buf, v) }
