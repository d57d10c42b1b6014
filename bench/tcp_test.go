package bench

import (
	"errors"
	"io"
	"net"
	"testing"
)

// chunk is what one operation of a bulk benchmark transfers.
const chunk = 1 << 20

// segment is the payload of a full TCP segment on the bare pair: the MSS of MTU
// 1500, 1460, less 40: gVisor keeps room for all TCP options, four SACK blocks
// among them. Linux takes off the 12 bytes of timestamps and sends 1448.
const segment = 1420

// BenchmarkTCP is one TCP stream in real time, as fast as it goes. One
// operation is a mebibyte at the receiver; the sender never pauses.
func BenchmarkTCP(b *testing.B) {
	for _, path := range paths {
		b.Run("path="+path.name, func(b *testing.B) { bulk(b, path.make(b)) })
	}
}

func bulk(b *testing.B, p pair) {
	from, to := connect(b, p)
	sent := make(chan error, 1)
	go func() { sent <- sendUntilClosed(from) }()
	buf := make([]byte, chunk)
	receive := func() {
		if _, err := io.ReadFull(to, buf); err != nil {
			b.Fatal(err)
		}
	}
	for range 16 { // past slow start, and the pools are filled
		receive()
	}
	b.SetBytes(chunk)
	for b.Loop() {
		receive()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)*segment/chunk, "ns/segment")
	from.Close()
	to.Close()
	if err := <-sent; err != nil {
		b.Fatal(err)
	}
}

// sendUntilClosed writes until the connection is closed under it.
func sendUntilClosed(c net.Conn) error {
	buf := make([]byte, 256<<10)
	var sent int64
	for {
		n, err := c.Write(buf)
		sent += int64(n)
		switch {
		case err == nil:
		case sent == 0:
			return err
		default:
			return nil // how a closed connection says so depends on the stack
		}
	}
}

// connect dials and accepts. It returns the client's end and the server's.
func connect(b *testing.B, p pair) (client, server net.Conn) {
	b.Helper()
	type accepted struct {
		conn net.Conn
		err  error
	}
	ch := make(chan accepted, 1)
	go func() {
		c, err := p.listener.Accept()
		ch <- accepted{c, err}
	}()
	client, err := p.dial()
	if err != nil {
		p.listener.Close()
		b.Fatal(err)
	}
	a := <-ch
	if a.err != nil {
		b.Fatal(a.err)
	}
	return client, a.conn
}

// BenchmarkConnect is the life of a connection without data: handshake, and a
// close from the server's side that the client answers. One after another, in
// real time.
func BenchmarkConnect(b *testing.B) {
	for _, path := range paths {
		b.Run("path="+path.name, func(b *testing.B) { connects(b, path.make(b)) })
	}
}

func connects(b *testing.B, p pair) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := p.listener.Accept()
			if err != nil {
				return
			}
			// The side that closes first keeps the port for a minute (TIME-WAIT);
			// the client's are the scarce ones.
			c.Close()
		}
	}()
	buf := make([]byte, 1)
	for b.Loop() {
		c, err := p.dial()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); !errors.Is(err, io.EOF) {
			b.Fatalf("read from a connection that the server closes: %v, want EOF", err)
		}
		c.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conn/s")
	p.listener.Close()
	<-ended
}
