package emu

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// flowGrace is how long a flow waits for what was sent last.
const flowGrace = 2 * time.Second

// drops counts what was dropped so far on the cables at both ends.
func (f *flow) drops() map[FlowDrop]uint64 {
	counts := make(map[FlowDrop]uint64)
	f.lab.drv.Do(func() {
		for _, m := range []*Machine{f.cfg.From, f.cfg.To} {
			if m == nil {
				continue
			}
			for _, p := range m.plugs {
				out, in := p.cable.Points()
				for way, point := range map[string]*link.Point{"out": out, "in": in} {
					point.EachDrop(func(why link.Reason, n uint64) {
						counts[FlowDrop{Place: m.name + " " + way, Reason: string(why)}] = n
					})
				}
			}
		}
	})
	return counts
}

// listen opens a port on the receiving machine, and returns how to reach it.
func (f *flow) listen() (net.Listener, string, error) {
	ln, err := f.cfg.To.Listen("tcp", ":0")
	if err != nil {
		return nil, "", err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	return ln, net.JoinHostPort(f.cfg.To.addr.String(), strconv.Itoa(port)), nil
}

// bulk keeps a connection full until the end. Then the receiver closes it with
// data unread, which resets it: nothing of it lingers.
func (f *flow) bulk() error {
	ln, addr, err := f.listen()
	if err != nil {
		return err
	}
	defer ln.Close()
	all := f.lab.drv.NewWaiter() // woken when nothing more will arrive
	f.lab.serve(func() error {
		f.sink(ln)
		f.lab.drv.Do(all.Wake)
		return nil
	})
	c, err := f.dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(f.lab.Deadline(f.end - f.lab.Now()))
	f.fill(c.(*stack.Conn))
	if f.cfg.Bytes > 0 {
		c.(*stack.Conn).CloseWrite()
		all.Wait()
		f.lab.drv.Do(func() { f.end = min(f.end, f.last) })
		return nil
	}
	f.lab.Sleep(f.endsAt() - f.lab.Now())
	return nil
}

// dial opens a connection and notes how long that took.
func (f *flow) dial(addr string) (net.Conn, error) {
	start := f.lab.Now()
	c, err := f.cfg.From.Dial("tcp", addr)
	if err == nil {
		f.lab.drv.Do(func() { f.opened = append(f.opened, f.lab.drv.Now()-start) })
	}
	return c, err
}

// sink reads what comes until the end.
func (f *flow) sink(ln net.Listener) {
	c, err := ln.Accept()
	if err != nil {
		return // the flow has ended without a connection
	}
	defer c.Close()
	c.SetReadDeadline(f.lab.Deadline(f.end - f.lab.Now()))
	f.drain(c.(*stack.Conn))
}

// requests sends requests over one connection, each when it is due or as soon as
// the one before is answered; it takes as long as the user waits, from when it was due.
func (f *flow) requests() error {
	ln, addr, err := f.listen()
	if err != nil {
		return err
	}
	defer ln.Close()
	f.lab.serve(func() error {
		echoTCP(ln)
		return nil
	})
	c, err := f.dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	f.lab.drv.Do(func() { f.conn = c.(*stack.Conn) })
	buf := make([]byte, f.cfg.Size)
	for due := f.lab.Now(); due < f.end; due += f.cfg.Interval {
		if left := due - f.lab.Now(); left > 0 {
			f.lab.Sleep(left)
		}
		f.lab.drv.Do(func() { f.left(due) })
		c.SetDeadline(f.lab.Deadline(f.end + flowGrace - f.lab.Now()))
		if _, err := c.Write(buf); err != nil {
			break
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			break
		}
		f.lab.drv.Do(func() { f.arrived(len(buf), due, f.lab.drv.Now()) })
	}
	f.lab.Sleep(f.end - f.lab.Now())
	return nil
}

// echoTCP answers one connection, and reports whether there was one.
func echoTCP(ln net.Listener) bool {
	c, err := ln.Accept()
	if err != nil {
		return false // the flow has ended
	}
	defer c.Close()
	io.Copy(c, struct{ io.Reader }{c})
	return true
}

// connects opens a connection whenever one is due and the one before has ended,
// sends a request, reads the answer, and closes it.
func (f *flow) connects() error {
	if err := f.attend(f.answer); err != nil {
		return err
	}
	defer f.dismiss()
	buf := make([]byte, f.cfg.Size)
	for due := f.lab.Now(); due < f.end; due += f.cfg.Interval {
		if left := due - f.lab.Now(); left > 0 {
			f.lab.Sleep(left)
		}
		if f.lab.Now() >= f.end {
			break // connections take longer than they may: the rest is not sent
		}
		f.lab.drv.Do(func() { f.left(due) })
		if f.exchange(buf) == nil {
			f.lab.drv.Do(func() { f.arrived(len(buf), due, f.lab.drv.Now()) })
		}
	}
	f.lab.Sleep(f.end - f.lab.Now())
	return nil
}

// answer is the receiver of short connections.
func (f *flow) answer(m *Machine, port int) (io.Closer, int, error) {
	ln, err := m.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, 0, err
	}
	f.lab.serve(func() error {
		for echoTCP(ln) {
		}
		return nil
	})
	return ln, ln.Addr().(*net.TCPAddr).Port, nil
}

// exchange is the life of one short connection.
func (f *flow) exchange(buf []byte) error {
	addr, err := f.lookup(strconv.Itoa(f.port))
	if err != nil {
		return err
	}
	ctx, cancel := f.lab.WithTimeout(context.Background(), f.end+flowGrace-f.lab.Now())
	defer cancel()
	start := f.lab.Now()
	c, err := f.cfg.From.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	f.lab.drv.Do(func() { f.opened = append(f.opened, f.lab.drv.Now()-start) })
	c.SetDeadline(f.lab.Deadline(f.end + flowGrace - f.lab.Now()))
	if _, err = c.Write(buf); err == nil {
		_, err = io.ReadFull(c, buf)
	}
	return err
}

// datagrams sends numbered datagrams that say when they left.
func (f *flow) datagrams() error {
	f.lab.syncRules()
	if err := f.attend(f.count); err != nil {
		return err
	}
	defer f.dismiss()
	c, err := f.cfg.From.Dial("udp", net.JoinHostPort(f.cfg.To.addr.String(), strconv.Itoa(f.port)))
	if err != nil {
		return err
	}
	defer c.Close()
	f.transmit(c.(*stack.Conn))
	f.lab.Sleep(f.end + flowGrace - f.lab.Now())
	return nil
}

// count is the receiver of datagrams.
func (f *flow) count(m *Machine, port int) (io.Closer, int, error) {
	in, err := m.stack.ListenPacket("udp", ":"+strconv.Itoa(port)) // it only receives: no Service to balance
	if err != nil {
		return nil, 0, err
	}
	f.receive(in.(*stack.PacketConn))
	return in, in.LocalAddr().(*net.UDPAddr).Port, nil
}

// pings sends echo requests, each with a socket of its own.
func (f *flow) pings() error {
	return f.each(func() (int, error) {
		r, err := f.cfg.From.PingWith(f.cfg.To.addr.String(), stack.PingConfig{Size: f.cfg.Size}, flowGrace)
		if err == nil {
			err = r.Err()
		}
		return f.cfg.Size, err
	})
}

// dialURL connects to where a URL leads now.
func (f *flow) dialURL(ctx context.Context, u *url.URL) (net.Conn, error) {
	addr := f.cfg.Connect
	if addr == "" {
		var err error
		if addr, err = f.lookup(cmp.Or(u.Port(), "80")); err != nil {
			return nil, err
		}
	}
	return f.cfg.From.DialContext(ctx, "tcp", addr)
}

// gets asks for a URL. Only what succeeds has arrived.
func (f *flow) gets() error {
	req, err := http.NewRequest(http.MethodGet, f.cfg.URL, nil)
	if err != nil {
		return err
	}
	req.Close = true
	return f.each(func() (int, error) {
		ctx, cancel := f.lab.WithTimeout(context.Background(), flowGrace)
		defer cancel()
		c, err := f.dialURL(ctx, req.URL)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		c.SetDeadline(f.lab.Deadline(flowGrace))
		if err := req.Write(c); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), req)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil && resp.StatusCode >= 400 {
			err = errors.New(resp.Status)
		}
		return int(n), err
	})
}

// each asks at a rate, each time in a goroutine of its own, so that no question
// waits for the answer to another. Ask returns how many bytes came back.
func (f *flow) each(ask func() (int, error)) error {
	asking := f.lab.drv.NewGroup()
	for due := f.start; due < f.end; due += f.cfg.Interval {
		f.lab.Sleep(due - f.lab.Now())
		f.lab.drv.Do(func() { f.left(due) })
		asking.Go(func() {
			if n, err := ask(); err == nil {
				f.lab.drv.Do(func() { f.arrived(n, due, f.lab.drv.Now()) })
			}
		})
	}
	asking.Wait()
	return nil
}
