package bench

import (
	"net"
	"sync"
	"testing"
)

// Peers are other ways to join a client and a server in one process or on one
// machine, measured in the same run: Go's own pipe, the host's loopback, and on
// Linux as root its network namespaces.

// newPipePair joins the two with net.Pipe: no packets, one copy.
func newPipePair(tb testing.TB) pair {
	tb.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	tb.Cleanup(func() { l.Close() })
	return pair{listener: l, dial: l.dial}
}

// pipeListener accepts the other ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (l *pipeListener) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// newLoopbackPair joins the two over the host's loopback: its kernel's TCP, with
// segments of 64 KiB.
func newLoopbackPair(tb testing.TB) pair {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Skip("no loopback: ", err)
	}
	tb.Cleanup(func() { ln.Close() })
	return pair{listener: ln, dial: func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }}
}
