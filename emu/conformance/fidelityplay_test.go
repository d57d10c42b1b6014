package conformance

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/stack"
)

// An exchange is what the two programs on the kernel did: the client says
// hello, the server answers with whom it sees, and both close. The pauses are
// the time that the programs take between two calls.
type exchange struct {
	client, server             *emu.Machine
	address                    string
	answer                     string
	serverCloses, clientCloses time.Duration
}

func (l *kernelLab) exchange(x exchange) {
	l.t.Helper()
	ln, err := x.server.Listen("tcp", ":8080")
	if err != nil {
		l.t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	l.Go(func() { done <- l.serve(ln, x) })
	c, err := x.client.Dial("tcp", x.address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.Sleep(90 * time.Microsecond)
	io.WriteString(c, "hello")
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != x.answer {
		l.t.Errorf("read %q, %v, want %q", buf[:n], err, x.answer)
	}
	l.Sleep(x.clientCloses)
	c.Close()
	if err := <-done; err != nil {
		l.t.Error(err)
	}
	l.Sleep(10 * time.Millisecond)
}

// serve is the server's side.
func (l *kernelLab) serve(ln net.Listener, x exchange) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	buf := make([]byte, 100)
	if _, err := c.Read(buf); err != nil {
		return err
	}
	l.Sleep(80 * time.Microsecond)
	if _, err := io.WriteString(c, x.answer); err != nil {
		return err
	}
	l.Sleep(x.serverCloses)
	return c.Close()
}

// refused is a connection that must be refused at once.
func (l *kernelLab) refused(from *emu.Machine, address string) {
	l.t.Helper()
	if c, err := from.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		l.t.Errorf("dial %s = %v, %v, want connection refused", address, c, err)
	}
}

// ignored is a connection that nobody answers within two seconds.
func (l *kernelLab) ignored(from *emu.Machine, address string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c, err := from.DialContext(ctx, "tcp", address); !errors.Is(err, context.DeadlineExceeded) {
		l.t.Errorf("dial %s = %v, %v, want a time-out", address, c, err)
	}
}

// datagram sends five bytes and does not wait for an answer.
func (l *kernelLab) datagram(from *emu.Machine, address string) {
	l.t.Helper()
	c, err := from.Dial("udp", address)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "xxxxx"); err != nil {
		l.t.Error(err)
	}
	l.Sleep(time.Millisecond)
}

// ask sends five bytes to a UDP server that answers with whom it sees.
func (l *kernelLab) ask(client, server *emu.Machine, answer string) {
	l.t.Helper()
	s, err := server.ListenPacket("udp", ":8080")
	if err != nil {
		l.t.Fatal(err)
	}
	defer s.Close()
	c, err := client.Dial("udp", server.Addr().String()+":8080")
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "xxxxx")
	buf := make([]byte, 100)
	_, from, err := s.ReadFrom(buf)
	if err != nil {
		l.t.Fatal(err)
	}
	s.WriteTo([]byte(answer), from)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != answer {
		l.t.Errorf("read %q, %v, want %q", buf[:n], err, answer)
	}
}

// ping is one run of `ping -c 1 -W 1`: whether there is an answer, and when it
// ends, is as the kernel had it.
func (l *kernelLab) ping(from *emu.Machine, to string, cfg stack.PingConfig, answered bool) {
	l.t.Helper()
	r, err := from.PingWith(to, cfg, time.Second)
	if err == nil {
		err = r.Err()
	}
	if (err == nil) != answered {
		l.t.Errorf("ping %s from %s: %v, answered should be %t", to, from.Name(), err, answered)
	}
}

// ping2 is `ping -c 2` to where no answer comes from.
func (l *kernelLab) ping2(from *emu.Machine, to string) {
	l.t.Helper()
	c, err := from.Stack().OpenPing(stack.PingConfig{})
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	a, err := l.Resolve(to)
	if err != nil {
		l.t.Fatal(err)
	}
	for seq := range uint16(2) {
		if r, err := c.Ping(a, seq+1, time.Second); err == nil {
			l.t.Errorf("ping %s: %v, want no answer", to, r)
		}
	}
}
