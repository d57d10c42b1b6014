package stack

import "errors"

// ErrWouldBlock is what a call returns that does not wait and would have to, as
// EAGAIN of a socket with O_NONBLOCK.
var ErrWouldBlock = errors.New("stack: operation would block")

// Handle has functions called where goroutines would wake up that wait in Read
// and Write: when there may be something to read, or room to write, when the
// deadline has passed and when the connection has ended. They are called with
// the driver's lock held and use TryRead and TryWrite; nobody may be in Read or
// Write from then on. Nil leaves a direction to goroutines. The caller holds the
// lock, and begins with a try of its own.
func (c *Conn) Handle(readable, writable func()) { c.handle(readable, writable) }

// Unhandle gives both directions back to goroutines: from now on they may be in
// Read, Write and CloseWrite again. The caller holds the lock.
func (c *Conn) Unhandle() {
	c.read.wait.Store(c.host.drv.NewWaiter())
	c.write.wait.Store(c.host.drv.NewWaiter())
}

// Handle is [Conn.Handle] for datagrams that arrive.
func (c *PacketConn) Handle(readable func()) { c.handle(readable, nil) }

func (e *endpoint) handle(readable, writable func()) {
	if readable != nil {
		e.read.wait.Store(e.host.drv.NewHandler(readable))
	}
	if writable != nil {
		e.write.wait.Store(e.host.drv.NewHandler(writable))
	}
}

// TryRead is Read that does not wait: it returns [ErrWouldBlock] if there is
// nothing. The caller holds the driver's lock.
func (c *Conn) TryRead(b []byte) (n int, err error) {
	if err = c.ended(&c.read); err != nil {
		return 0, err
	}
	n, again, err := c.readNow(b)
	return n, blocked(again, err)
}

// TryWrite is Write that does not wait: it returns [ErrWouldBlock] if not all of
// b was taken. The caller holds the driver's lock.
func (c *Conn) TryWrite(b []byte) (n int, err error) {
	if err = c.ended(&c.write); err != nil {
		return 0, err
	}
	if c.net == "udp" {
		n, again, err := c.sendNow(b)
		return n, blocked(again, err)
	}
	n, err = c.writeNow(b)
	return n, blocked(n < len(b), err)
}

// TryRead reads a datagram without waiting: it returns [ErrWouldBlock] if there
// is none. One longer than b is cut. The caller holds the driver's lock.
func (c *PacketConn) TryRead(b []byte) (n int, err error) {
	if err = c.ended(&c.read); err != nil {
		return 0, err
	}
	res, again, err := c.receiveNow(b, false)
	return res.Count, blocked(again, err)
}

func blocked(again bool, err error) error {
	if err == nil && again {
		return ErrWouldBlock
	}
	return err
}
