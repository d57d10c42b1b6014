package emu

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"time"

	"github.com/podwire/podwire/stack"
)

// What moves the data of flows at full rate are functions that the network calls
// and not goroutines: a segment costs no switch between them.

// fill writes until all of the flow's bytes are written, or there is an error:
// the deadline, or the network; then the rest of the time is a gap.
func (f *flow) fill(c *stack.Conn) {
	over := f.lab.drv.NewWaiter()
	f.lab.drv.Do(func() {
		f.conn = c
		buf, at := make([]byte, 64<<10), 0
		left := f.cfg.Bytes
		if left == 0 {
			left = math.MaxInt64
		}
		step := func() {
			for left > 0 {
				n, err := c.TryWrite(buf[at:min(int64(len(buf)), int64(at)+left)])
				at = (at + n) % len(buf)
				left -= int64(n)
				if err == stack.ErrWouldBlock {
					return
				}
				if err != nil {
					left = 0
				}
			}
			over.Wake()
		}
		c.Handle(nil, step)
		step()
	})
	over.Wait()
	f.lab.drv.Do(c.Unhandle) // who closes it waits until all is handed over
}

// drain reads what comes until the deadline or the end of the connection.
func (f *flow) drain(c *stack.Conn) {
	over := f.lab.drv.NewWaiter()
	f.lab.drv.Do(func() {
		buf := make([]byte, 256<<10)
		step := func() {
			for {
				n, err := c.TryRead(buf)
				if n > 0 {
					f.arrived(n, -1, f.lab.drv.Now())
				}
				if err == stack.ErrWouldBlock {
					return
				}
				if err != nil {
					over.Wake()
					return
				}
			}
		}
		c.Handle(step, nil)
		step()
	})
	over.Wait()
}

// transmit sends a datagram whenever one is due, and returns after the last.
func (f *flow) transmit(c *stack.Conn) {
	over := f.lab.drv.NewWaiter()
	f.lab.drv.Do(func() {
		buf, due := make([]byte, f.cfg.Size), f.start
		f.lab.drv.Every(due-f.lab.drv.Now(), func() time.Duration {
			binary.BigEndian.PutUint64(buf, uint64(f.result.Sent))
			binary.BigEndian.PutUint64(buf[8:], uint64(due))
			f.left(due)
			c.TryWrite(buf) // an error is an ICMP error in answer to an earlier one: this one is lost
			if due += f.cfg.Interval; due >= f.end {
				over.Wake()
				return -1
			}
			return max(0, due-f.lab.drv.Now()) // in real time it may be late
		})
	})
	over.Wait()
}

// receive begins to count datagrams, each once, until the socket is closed.
func (f *flow) receive(in *stack.PacketConn) {
	buf := make([]byte, 65535)
	step := func() {
		for {
			n, err := in.TryRead(buf)
			if err == stack.ErrWouldBlock || errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || n < minFlowSize {
				continue
			}
			number, sent := binary.BigEndian.Uint64(buf), time.Duration(binary.BigEndian.Uint64(buf[8:]))
			if number < uint64(f.result.Sent) && f.seen.add(number) {
				f.arrived(n, sent, f.lab.drv.Now())
			}
		}
	}
	f.lab.drv.Do(func() { in.Handle(step) })
}

// bitmap is a set of small numbers. The zero value is empty.
type bitmap []uint64

// add puts n in and reports whether it is new.
func (b *bitmap) add(n uint64) bool {
	for uint64(len(*b)) <= n/64 {
		*b = append(*b, 0)
	}
	bit := uint64(1) << (n % 64)
	had := (*b)[n/64]&bit != 0
	(*b)[n/64] |= bit
	return !had
}
