package stack

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// tcpPair is a connection between two hosts on one cable.
func tcpPair(n *network, cfg link.WireConfig) (c, s *Conn, w *link.Wire) {
	n.Helper()
	a, b := n.host(Config{Name: "a"}), n.host(Config{Name: "b"})
	w = n.join(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24", cfg)
	x, y := connect(n, a, b, "10.0.0.2:80")
	return x.(*Conn), y.(*Conn), w
}

func TestDeadlinesAreExact(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{Latency: time.Millisecond})
		defer s.Close()
		defer c.Close()
		at := func(d time.Duration) time.Time { return n.drv.Epoch().Add(n.now() + d) }
		buf := make([]byte, 1)
		took(n, "read deadline", 1234567*time.Nanosecond, func() {
			c.SetReadDeadline(at(1234567 * time.Nanosecond))
			_, err := c.Read(buf)
			isAll(t, "error", err, os.ErrDeadlineExceeded)
		})
		took(n, "a deadline that has passed", 0, func() {
			_, err := c.Read(buf)
			isAll(t, "error", err, os.ErrDeadlineExceeded)
			c.SetDeadline(at(-time.Second))
			_, err = c.Write(buf)
			isAll(t, "error", err, os.ErrDeadlineExceeded)
		})
		took(n, "a deadline that is moved while a read waits", 5*time.Second, func() {
			c.SetDeadline(at(time.Second))
			n.drv.Go(func() { c.SetReadDeadline(at(5 * time.Second)) })
			_, err := c.Read(buf)
			isAll(t, "error", err, os.ErrDeadlineExceeded)
		})
		took(n, "a deadline that is lifted", 7*time.Second, func() {
			c.SetDeadline(time.Time{})
			n.drv.Go(func() { n.wait(7*time.Second - time.Millisecond); s.Write(buf) })
			_, err := c.Read(buf)
			n.try(err)
		})
	})
}

func TestCloseFlushesWhatWasWritten(t *testing.T) {
	inBubble(t, func(n *network) {
		// 10 Mbit/s: 3 MiB take seconds, and Write and Close take no time.
		c, s, _ := tcpPair(n, link.WireConfig{Latency: time.Millisecond, Rate: 10e6})
		defer s.Close()
		data := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
		took(n, "write and close", 0, func() {
			m, err := c.Write(data)
			if m != len(data) || err != nil {
				n.Fatalf("write: got %d, %v, want %d", m, err, len(data))
			}
			n.try(c.Close())
		})
		_, err := c.Write(data)
		isAll(t, "write after close", err, net.ErrClosed)
		isAll(t, "close after close", c.Close(), net.ErrClosed)
		got, err := io.ReadAll(s)
		n.try(err)
		if !bytes.Equal(got, data) {
			t.Errorf("received %d bytes, want all %d unharmed", len(got), len(data))
		}
	})
}

func TestCloseWithUnreadDataResets(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{Latency: time.Millisecond})
		defer c.Close()
		c.Write([]byte("never read"))
		n.wait(time.Second)
		n.try(s.Close())
		_, err := c.Read(make([]byte, 1))
		isAll(t, "read", err, syscall.ECONNRESET)
		_, err = c.Write([]byte("x"))
		isAll(t, "write", err, syscall.EPIPE)
	})
}

func TestHalfClose(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{Latency: time.Millisecond})
		defer c.Close()
		defer s.Close()
		c.Write([]byte("question"))
		n.try(c.CloseWrite())
		_, err := c.Write([]byte("x"))
		isAll(t, "write afterwards", err, syscall.EPIPE)
		q, err := io.ReadAll(s)
		n.try(err)
		n.wait(time.Minute)
		s.Write(append([]byte("answer to "), q...))
		n.try(s.CloseWrite())
		got, err := io.ReadAll(c)
		n.try(err)
		equal(t, "answer", string(got), "answer to question")
		_, err = c.Read(make([]byte, 1))
		equal(t, "read at the end", err, io.EOF)
	})
}

// TestWriteBlocksAtItsBound: in virtual time Write takes 4 MiB more than the
// socket, then waits for the reader.
func TestWriteBlocksAtItsBound(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{Latency: time.Millisecond})
		defer s.Close()
		defer c.Close()
		c.SetWriteDeadline(n.drv.Epoch().Add(n.now() + time.Minute))
		total, err := c.Write(make([]byte, 64<<20))
		isAll(t, "write that nobody reads", err, os.ErrDeadlineExceeded)
		if total < maxPending || total > maxPending+16<<20 {
			t.Errorf("took %d bytes, want a little more than %d", total, maxPending)
		}
		c.SetWriteDeadline(time.Time{})
		n.drv.Go(func() { c.Write([]byte("end")); c.CloseWrite() })
		got, err := io.Copy(io.Discard, s)
		n.try(err)
		equal(t, "bytes received", got, int64(total)+3)
	})
}

func TestPulledCable(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, w := tcpPair(n, link.WireConfig{Latency: time.Millisecond})
		defer s.Close()
		defer c.Close()
		n.do(func() { w.SetUp(false) })
		c.Write([]byte("late"))
		n.wait(10 * time.Second)
		n.do(func() { w.SetUp(true) })
		buf := make([]byte, 8)
		m, err := s.Read(buf)
		n.try(err)
		equal(t, "data sent while the cable was out", string(buf[:m]), "late")
	})
}

// TestLossyTransfer: what arrives is what was sent, whatever is lost, and a
// second run is the same to the nanosecond.
func TestLossyTransfer(t *testing.T) {
	data := make([]byte, 2<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	run := func() (end time.Duration) {
		inBubble(t, func(n *network) {
			c, s, _ := tcpPair(n, link.WireConfig{Latency: 5 * time.Millisecond, Rate: 100e6, Loss: 0.01})
			n.drv.Go(func() { c.Write(data); c.Close() })
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, data) {
				n.Errorf("received %d bytes, %v, want all %d unharmed", len(got), err, len(data))
			}
			end = n.now()
			s.Close()
		})
		return end
	}
	first := run()
	equal(t, "end of a second run", run(), first)
}

func TestManyConnections(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		ln, err := b.Listen("tcp", ":80")
		n.try(err)
		n.echo(ln)
		const count = 300
		var wg sync.WaitGroup
		for i := range count {
			wg.Add(1)
			n.drv.Go(func() {
				defer wg.Done()
				c, err := a.Dial("tcp", "10.0.0.2:80")
				if err != nil {
					n.Error(err)
					return
				}
				want := fmt.Sprint("message ", i)
				io.WriteString(c, want)
				c.(*Conn).CloseWrite()
				got, err := io.ReadAll(c)
				if string(got) != want || err != nil {
					n.Errorf("echo: got %q, %v, want %q", got, err, want)
				}
				c.Close()
			})
		}
		wg.Wait()
		ln.Close()
		n.wait(2 * time.Minute) // TIME_WAIT
		n.do(func() {
			equal(t, "sockets left", len(a.sockets.open)+len(b.sockets.open), 0)
		})
	})
}

// TestOneByteReaders: goroutines that read one connection take turns.
func TestOneByteReaders(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{})
		defer c.Close()
		var mu sync.Mutex
		seen := make(map[byte]int)
		var wg sync.WaitGroup
		for range 8 {
			wg.Add(1)
			n.drv.Go(func() {
				defer wg.Done()
				b := make([]byte, 1)
				for {
					if _, err := s.Read(b); err != nil {
						return
					}
					mu.Lock()
					seen[b[0]]++
					mu.Unlock()
				}
			})
		}
		for i := range 256 {
			c.Write([]byte{byte(i)})
		}
		n.wait(time.Second)
		s.Close()
		wg.Wait()
		equal(t, "bytes read", len(seen), 256)
	})
}
