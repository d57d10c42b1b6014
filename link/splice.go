package link

import (
	"errors"
	"io"
	"io/fs"
	"sync"
)

// Reasons for which a splice drops what is on its way out.
const (
	DropSpliceFull    Reason = "the outside does not keep up"
	DropSpliceRefused Reason = "the outside refused it"
)

// spliceQueue is how many frames wait for the outside, as many as in the queue of
// a TAP device on Linux (tx_queue_len).
const spliceQueue = 1000

// A Splice joins a port of this network to something outside of it that reads
// and writes whole Ethernet frames: a TAP device of the kernel, a socket to
// another emulator. Each direction has a goroutine, for the outside keeps its
// own time; they end when the outside does, or with [Splice.Close].
//
// What comes in enters between two events, and its reader waits for that: if
// the network is too slow, the queue of the outside fills up. What goes out
// waits in a queue of the splice; when that is full, frames are dropped.
type Splice struct {
	drv  *Driver
	port *Port
	conn io.ReadWriteCloser
	out  chan []byte // frames for the outside
	free chan []byte // buffers of frames that have left

	closing chan struct{} // closed by the first Close
	once    sync.Once
	running sync.WaitGroup

	done chan struct{} // closed when nothing more comes in
	err  error         // why; set before done is closed
}

// ErrVirtualTime says that something outside of the network cannot be joined to
// it, because it does not live in its time.
var ErrVirtualTime = errors.New("time is virtual, and nothing outside of the network lives in it: want real time")

// NewSplice joins port, one end of a cable, to conn: a Read of conn returns one
// frame, a Write takes one. The splice owns conn and closes it. The caller holds
// the driver's lock.
func (d *Driver) NewSplice(port *Port, conn io.ReadWriteCloser) (*Splice, error) {
	if d.Virtual() {
		return nil, errors.Join(ErrVirtualTime, conn.Close())
	}
	s := &Splice{
		drv: d, port: port, conn: conn,
		out: make(chan []byte, spliceQueue), free: make(chan []byte, spliceQueue),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	port.Bind(s.send)
	s.running.Go(s.read)
	s.running.Go(s.write)
	return s, nil
}

// send takes a frame that the port delivers.
func (s *Splice) send(f *Frame) {
	var buf []byte
	select {
	case buf = <-s.free:
	default:
	}
	select {
	case s.out <- append(buf[:0], f.Bytes()...):
		f.Release()
	default:
		s.port.Lost().Drop(f, DropSpliceFull)
	}
}

// write hands the queue to the outside, a frame at a time.
func (s *Splice) write() {
	for {
		select {
		case b := <-s.out:
			if _, err := s.conn.Write(b); err != nil {
				s.drv.Do(func() { s.port.Lost().Count(DropSpliceRefused) })
			}
			select {
			case s.free <- b:
			default:
			}
		case <-s.closing:
			return
		}
	}
}

// read brings in what the outside sends, until it ends.
func (s *Splice) read() {
	defer close(s.done)
	buf := make([]byte, largeBuffer-Headroom)
	n := 0
	enter := func() {
		if n < EthernetHeader {
			s.port.Lost().Count(DropRunt)
			return
		}
		f := s.drv.NewFrame(n)
		copy(f.Bytes(), buf[:n])
		f.ID = s.drv.NewID()
		s.port.Send(f)
	}
	for {
		var err error
		if n, err = s.conn.Read(buf); err != nil {
			s.err = err
			return
		}
		s.drv.Do(enter)
	}
}

// Done is closed when nothing more comes from the outside: it has ended, or the
// splice was closed.
func (s *Splice) Done() <-chan struct{} { return s.done }

// Err returns why nothing more comes in, once Done is closed; nil before, and
// after Close.
func (s *Splice) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	if errors.Is(s.err, fs.ErrClosed) || errors.Is(s.err, io.ErrClosedPipe) {
		return nil
	}
	return s.err
}

// Close parts the network from the outside and waits for both goroutines. It is
// safe to call twice. The caller does not hold the driver's lock.
func (s *Splice) Close() error {
	var err error
	s.once.Do(func() {
		s.drv.Do(func() { s.port.Bind(nil) })
		close(s.closing)
		err = s.conn.Close()
	})
	s.running.Wait()
	return err
}
