package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Reader reads a capture: pcapng or classic pcap, in either byte order.
// Make one with NewReader.
//
// It holds one block of at most 16 MiB at a time, plus what Interfaces,
// Names, Secrets and Statistics return, which is in proportion to the bytes
// read: a length field alone makes it allocate at most 64 KiB.
type Reader struct {
	r     *bufio.Reader
	next  func() (Packet, error) // of the format
	order binary.ByteOrder
	off   int64 // bytes read so far
	start int64 // where the block being read begins, for errors
	head  [24]byte
	buf   []byte // the body of the block being read
	err   error  // sticky

	section    Section
	ifaces     []Interface
	clocks     []clock // of ifaces
	base       int     // where the current section's interfaces begin in ifaces
	names      []Name
	secrets    []Secrets
	statistics map[int]Statistics
	classic    classicHeader
}

// NewReader begins to read a capture and recognises its format by the first
// bytes. It reads ahead. A failure is an error that wraps
// io.ErrUnexpectedEOF if the input ends too early.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{r: bufio.NewReaderSize(in, 64<<10), statistics: map[int]Statistics{}}
	magic, err := r.r.Peek(4)
	if err != nil {
		return nil, r.fail(unexpected(err))
	}
	if le.Uint32(magic) == blockSection {
		r.next = r.nextEnhanced
		_, body, err := r.block()
		if err == nil {
			err = r.readSection(body)
		}
		if err != nil {
			return nil, r.fail(err)
		}
		return r, nil
	}
	r.next = r.nextClassic
	if err := r.readClassicHeader(); err != nil {
		return nil, r.fail(err)
	}
	return r, nil
}

// Next returns the next packet. At the end of the capture the error is
// io.EOF itself; if the input ends inside a block or record it wraps
// io.ErrUnexpectedEOF and tells the offset. After an error every call
// returns the same.
func (r *Reader) Next() (Packet, error) {
	if r.err != nil {
		return Packet{}, r.err
	}
	p, err := r.next()
	if err != nil {
		return Packet{}, r.fail(err)
	}
	return p, nil
}

// fail keeps err for good, with the place it belongs to.
func (r *Reader) fail(err error) error {
	if err == io.EOF {
		r.err = err
	} else {
		r.err = fmt.Errorf("pcap: offset %d: %w", r.start, err)
	}
	return r.err
}

// Section returns the section that was read last; the first one is there
// before Next. It is empty for classic pcap.
func (r *Reader) Section() Section { return r.section }

// Interfaces returns the interfaces described so far, in the order of
// Packet.Interface. Those of a second section follow those of the first.
// The result must not be modified.
func (r *Reader) Interfaces() []Interface { return slices.Clip(r.ifaces) }

// Names returns the name records read so far. The result must not be
// modified.
func (r *Reader) Names() []Name { return slices.Clip(r.names) }

// Secrets returns the decryption secrets read so far. The result must not
// be modified.
func (r *Reader) Secrets() []Secrets { return slices.Clip(r.secrets) }

// Statistics returns the latest counters of an interface, and false if none
// were read so far.
func (r *Reader) Statistics(iface int) (Statistics, bool) {
	s, ok := r.statistics[iface]
	return s, ok
}

// read fills b. The error is io.EOF only if not one byte was left.
func (r *Reader) read(b []byte) error {
	n, err := io.ReadFull(r.r, b)
	r.off += int64(n)
	return err
}

// readBody returns the next n bytes, valid until the next call. Memory grows
// with the bytes that arrive, never ahead of them by more than a chunk.
func (r *Reader) readBody(n int) ([]byte, error) {
	const chunk = 64 << 10
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		have := len(r.buf)
		want := min(n-have, chunk)
		r.buf = slices.Grow(r.buf, want)[:have+want]
		if err := r.read(r.buf[have:]); err != nil {
			return nil, unexpected(err)
		}
	}
	return r.buf, nil
}

// skip reads n bytes and forgets them.
func (r *Reader) skip(n int64) error {
	done, err := io.CopyN(io.Discard, r.r, n)
	r.off += done
	return unexpected(err)
}

// unexpected is for ends of input that are not clean.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
