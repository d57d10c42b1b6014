package link

// EthernetHeader is the length of an untagged Ethernet header in bytes.
const EthernetHeader = 14

// Headroom is the space kept free in front of a new frame, so that a tunnel
// can put its headers there without copying. It holds the largest encapsulation
// in use (VXLAN or Geneve inside a second tunnel).
const Headroom = 128

// Buffer classes: one for MTU-size frames, one for anything IPv4 can hold.
const (
	smallBuffer = Headroom + 2048
	largeBuffer = Headroom + 1<<16 + EthernetHeader
)

// A Frame is one link-layer frame on its way, with the bytes it would have on
// the medium. It has exactly one owner; see the package documentation.
type Frame struct {
	// ID names the datagram that the frame carries. It is given when a host
	// makes the datagram and stays through forwarding, NAT and encapsulation.
	ID uint64

	// Hash is the flow hash that the sending socket chose, or 0. Like the
	// kernel's skb->hash it survives virtual devices and is lost on a cable.
	Hash uint32

	// Core is the core of the host's CPU that serves the frame, from 1, or 0 if
	// none was chosen; see CPU. It is lost on a cable.
	Core uint16

	// Note says what the last stage did to the datagram ("DNAT a -> b"). The
	// next capture point that is watched reports it once.
	Note string

	// Intact says that the checksums inside are known to be right: a host of
	// this network has made the datagram and nothing has flipped a bit since.
	// Like the kernel's CHECKSUM_UNNECESSARY it spares the receiver the sum.
	Intact bool

	buf        []byte
	start, end int
	home       *frameList
	next       *Frame // in the free list
	pulls      uint32 // of the cable that it is on, see direction
	loop       loopGuard
}

// frameList is a free list of frames of one buffer class.
type frameList struct {
	size int
	free *Frame
	live int // frames handed out and not yet released
}

func (l *frameList) get() *Frame {
	l.live++
	if f := l.free; f != nil {
		l.free, f.next = f.next, nil
		return f
	}
	return &Frame{buf: make([]byte, l.size), home: l}
}

// NewFrame returns a frame of n bytes with Headroom bytes free in front. The
// bytes are not cleared. It panics if n is negative or beyond 64 KiB plus an
// Ethernet header, which no device accepts. The caller holds the driver's lock.
func (d *Driver) NewFrame(n int) *Frame {
	if n < 0 || n > largeBuffer-Headroom {
		panic("link: no frame has that size")
	}
	list := &d.small
	if Headroom+n > smallBuffer {
		list = &d.large
	}
	f := list.get()
	f.start, f.end = Headroom, Headroom+n
	f.ID, f.Hash, f.Core, f.Note, f.Intact = 0, 0, 0, "", false
	f.loop = loopGuard{}
	return f
}

// LiveFrames returns how many frames are owned by somebody. With no traffic in
// flight it is zero: tests use it to find frames that were never released.
func (d *Driver) LiveFrames() int { return d.small.live + d.large.live }

// Bytes returns the frame's bytes. The slice is valid until the frame is
// handed on, released, pushed or pulled.
func (f *Frame) Bytes() []byte { return f.buf[f.start:f.end] }

// Len returns the number of bytes in the frame.
func (f *Frame) Len() int { return f.end - f.start }

// Push opens n bytes in front of the frame and returns the frame's bytes,
// which now begin with them. They are not cleared.
func (f *Frame) Push(n int) []byte {
	if n > f.start {
		f.grow(n)
	}
	f.start -= n
	return f.Bytes()
}

// grow moves the frame to a new buffer with room for n more bytes in front.
func (f *Frame) grow(n int) {
	buf := make([]byte, Headroom+n+f.Len()+Headroom)
	copy(buf[Headroom+n:], f.Bytes())
	f.start, f.end, f.buf = Headroom+n, Headroom+n+f.Len(), buf
}

// Pull removes n bytes from the front and returns what remains. It panics if
// the frame is shorter: the caller has checked the length.
func (f *Frame) Pull(n int) []byte {
	if n > f.Len() {
		panic("link: pulled past the end of a frame")
	}
	f.start += n
	return f.Bytes()
}

// Truncate keeps the first n bytes. It panics if the frame is shorter.
func (f *Frame) Truncate(n int) {
	if n > f.Len() {
		panic("link: truncated past the end of a frame")
	}
	f.end = f.start + n
}

// Clone returns a copy that has its own bytes and the same ID, hash and note,
// and is as intact.
func (d *Driver) Clone(f *Frame) *Frame {
	c := d.NewFrame(f.Len())
	copy(c.Bytes(), f.Bytes())
	c.Inherit(f)
	return c
}

// Inherit gives f what is known about the datagram of which it is a piece or
// that it has become: ID, hash, note, and whether it is intact.
func (f *Frame) Inherit(from *Frame) {
	f.ID, f.Hash, f.Core, f.Note, f.Intact, f.loop = from.ID, from.Hash, from.Core, from.Note, from.Intact, from.loop
}

// Release ends the frame's life and lets its buffer be used again. Releasing a
// frame twice panics, because by then it may be somebody else's.
func (f *Frame) Release() {
	if f.end < 0 {
		panic("link: frame released twice")
	}
	f.start, f.end, f.Note = 0, -1, ""
	f.home.live--
	if len(f.buf) != f.home.size {
		f.buf = make([]byte, f.home.size) // it was grown; the class keeps one size
	}
	f.next, f.home.free = f.home.free, f
}

// Ethernet header accessors: b is a frame's bytes, at least EthernetHeader long.

// DstMAC returns the destination address of the Ethernet frame b.
func DstMAC(b []byte) MAC { return MAC(b[0:6]) }

// SrcMAC returns the source address of the Ethernet frame b.
func SrcMAC(b []byte) MAC { return MAC(b[6:12]) }

// EtherType returns the type field of the Ethernet frame b.
func EtherType(b []byte) uint16 { return uint16(b[12])<<8 | uint16(b[13]) }

// PutEthernet writes an Ethernet header at the start of b.
func PutEthernet(b []byte, dst, src MAC, etherType uint16) {
	copy(b[0:6], dst[:])
	copy(b[6:12], src[:])
	b[12], b[13] = byte(etherType>>8), byte(etherType)
}
