package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// connect makes a connection from a to a listener of b at address.
func connect(n *network, a, b *Host, address string) (client, server net.Conn) {
	n.Helper()
	ln, err := b.Listen("tcp", address)
	n.try(err)
	defer ln.Close()
	client, err = a.Dial("tcp", address)
	n.try(err)
	server, err = ln.Accept()
	n.try(err)
	return client, server
}

// took calls f and wants that it takes d of virtual time.
func took(n *network, sentence string, d time.Duration, f func()) {
	n.Helper()
	start := n.now()
	f()
	equal(n, sentence, n.now()-start, d)
}

// isAll wants err to be each of the targets.
func isAll(t testing.TB, sentence string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: got %v, want one that is %v", sentence, err, target)
		}
	}
}

func TestDial(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		ln, err := b.Listen("tcp", ":80")
		n.try(err)
		defer ln.Close()
		var c net.Conn
		took(n, "ARP and handshake", 4*time.Millisecond, func() {
			c, err = a.Dial("tcp", "10.0.0.2:80")
		})
		n.try(err)
		defer c.Close()
		took(n, "the connection is accepted half a round trip later", time.Millisecond, func() {
			s, err := ln.Accept()
			n.try(err)
			defer s.Close()
			equal(t, "server side", fmt.Sprint(s.LocalAddr(), s.RemoteAddr()), "10.0.0.2:80 "+c.LocalAddr().String())
		})
		equal(t, "client side", c.RemoteAddr().String(), "10.0.0.2:80")
		port := c.LocalAddr().(*net.TCPAddr).Port
		if first, last := a.LocalPorts(); port < int(first) || port > int(last) {
			t.Errorf("local port %d, want %d to %d", port, first, last)
		}
		equal(t, "listener", ln.Addr().String(), "0.0.0.0:80")
	})
}

// TestDialErrors: each failure is the system error that Linux gives, after the
// time that Linux takes.
func TestDialErrors(t *testing.T) {
	tests := []struct {
		name, network, to string
		after             time.Duration
		is                error
	}{
		{"closed port", "tcp", "10.0.2.2:9", 8 * time.Millisecond, syscall.ECONNREFUSED},
		{"closed port on lo", "tcp", "127.0.0.1:9", 0, syscall.ECONNREFUSED},
		{"closed port of our own", "tcp", "10.0.1.2:9", 0, syscall.ECONNREFUSED},
		{"nobody on the link", "tcp", "10.0.1.99:9", 3 * time.Second, syscall.EHOSTUNREACH},
		{"nobody behind the router", "tcp", "10.0.2.99:9", 3*time.Second + 4*time.Millisecond, syscall.EHOSTUNREACH},
		{"no route", "tcp", "172.16.0.1:9", 0, syscall.ENETUNREACH},
		{"no route, UDP", "udp", "172.16.0.1:9", 0, syscall.ENETUNREACH},
		{"no route at the router", "tcp", "10.0.77.1:9", 4 * time.Millisecond, syscall.ENETUNREACH},
		{"prohibited at the router", "tcp", "10.0.79.1:9", 4 * time.Millisecond, syscall.EHOSTUNREACH},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a, r, _ := n.routed(link.WireConfig{Latency: time.Millisecond}, link.WireConfig{Latency: time.Millisecond})
				n.do(func() {
					a.RemoveRoutes(prefix("0.0.0.0/0"), nil)
					n.try(a.AddRoute(Route{Dst: prefix("10.0.0.0/16"), Via: addr("10.0.1.1"), Dev: a.Device("eth0")}))
					n.try(r.AddRoute(Route{Dst: prefix("10.0.79.0/24"), Type: Prohibit}))
				})
				took(n, "the error came after", tt.after, func() {
					c, err := a.Dial(tt.network, tt.to)
					isAll(t, "error", err, tt.is)
					var op *net.OpError
					if !errors.As(err, &op) || op.Op != "dial" || op.Net != tt.network || c != nil {
						t.Errorf("got %v, %#v, want a *net.OpError of dial %s", c, err, tt.network)
					}
				})
			})
		})
	}
}

// TestDialTimesOut: nobody answers a SYN.
func TestDialTimesOut(t *testing.T) {
	inBubble(t, func(n *network) {
		h, _, s := host1(n, Config{Name: "a"})
		took(n, "deadline of the context", 2500*time.Millisecond, func() {
			ctx, cancel := context.WithTimeout(n.Context(), 2500*time.Millisecond)
			defer cancel()
			_, err := h.DialContext(ctx, "tcp", "10.0.0.2:80")
			isAll(t, "error", err, context.DeadlineExceeded, os.ErrDeadlineExceeded)
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%v: not a timeout", err)
			}
		})
		took(n, "cancelled context", time.Second, func() {
			ctx, cancel := context.WithCancel(n.Context())
			time.AfterFunc(time.Second, cancel)
			_, err := h.DialContext(ctx, "tcp", "10.0.0.2:80")
			isAll(t, "error", err, context.Canceled)
		})
		took(n, "context that is over", 0, func() {
			ctx, cancel := context.WithCancel(n.Context())
			cancel()
			_, err := h.DialContext(ctx, "tcp", "10.0.0.2:80")
			isAll(t, "error", err, context.Canceled)
		})
		s.take()
		_, err := h.Dial("tcp", "10.0.0.2:80")
		isAll(t, "error without a context", err, syscall.ETIMEDOUT)
		for _, f := range s.take() {
			equal(t, "the network sees", describeIP(f.ip()), "10.0.0.1 > 10.0.0.2 tcp S")
		}
	})
}

func TestBadAddresses(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		for _, tt := range [][2]string{
			{"tcp", "10.0.0.2"}, {"tcp", "10.0.0.2:x"}, {"tcp", "10.0.0.2:65536"}, {"tcp", "web:80"},
			{"tcp", "[::1]:80"}, {"tcp6", "10.0.0.2:80"}, {"unix", "/x"}, {"", ""},
		} {
			if _, err := a.Dial(tt[0], tt[1]); err == nil {
				t.Errorf("Dial(%q, %q): no error", tt[0], tt[1])
			}
			if _, err := a.Listen(tt[0], tt[1]); err == nil {
				t.Errorf("Listen(%q, %q): no error", tt[0], tt[1])
			}
			if _, err := a.ListenPacket(tt[0], tt[1]); err == nil {
				t.Errorf("ListenPacket(%q, %q): no error", tt[0], tt[1])
			}
		}
		if _, err := a.Listen("udp", ":80"); err == nil {
			t.Error("Listen on udp: no error")
		}
		if _, err := a.ListenPacket("tcp", ":80"); err == nil {
			t.Error("ListenPacket on tcp: no error")
		}
	})
}

func TestListenErrors(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		_, err := a.Listen("tcp", "10.0.0.2:80")
		isAll(t, "another host's address", err, syscall.EADDRNOTAVAIL)
		ln, err := a.Listen("tcp", "10.0.0.1:80")
		n.try(err)
		_, err = a.Listen("tcp", "10.0.0.1:80")
		isAll(t, "port in use", err, syscall.EADDRINUSE)
		took(n, "Accept returns when the listener is closed", time.Second, func() {
			n.drv.Go(func() { n.wait(time.Second); ln.Close() })
			_, err := ln.Accept()
			isAll(t, "error of Accept", err, net.ErrClosed)
		})
		isAll(t, "closed twice", ln.Close(), net.ErrClosed)
		_, err = ln.Accept()
		isAll(t, "Accept afterwards", err, net.ErrClosed)
		_, err = b.Dial("tcp", "10.0.0.1:80")
		isAll(t, "dialled afterwards", err, syscall.ECONNREFUSED)
		ln, err = a.Listen("tcp", "10.0.0.1:80")
		n.try(err)
		ln.Close()
	})
}

// TestClosedListenerResetsWhatNobodyAccepted is what Linux does with the
// accept queue.
func TestClosedListenerResetsWhatNobodyAccepted(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		ln, err := b.Listen("tcp", ":80")
		n.try(err)
		c, err := a.Dial("tcp", "10.0.0.2:80")
		n.try(err)
		defer c.Close()
		n.wait(time.Second)
		ln.Close()
		_, err = c.Read(make([]byte, 1))
		isAll(t, "read of a connection that was never accepted", err, syscall.ECONNRESET)
	})
}

func TestHostClose(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		c, s := connect(n, a, b, "10.0.0.2:80")
		p, err := a.ListenPacket("udp", ":0")
		n.try(err)
		g, err := a.OpenPing(PingConfig{})
		n.try(err)
		ended := make(chan error, 3)
		n.drv.Go(func() { _, err := c.Read(make([]byte, 1)); ended <- err })
		n.drv.Go(func() { _, _, err := p.ReadFrom(make([]byte, 1)); ended <- err })
		n.drv.Go(func() { _, err := g.Ping(addr("10.0.0.77"), 1, time.Hour); ended <- err })
		n.wait(time.Second)
		a.Close()
		for range 3 {
			isAll(t, "who waited", <-ended, net.ErrClosed)
		}
		_, err = s.Read(make([]byte, 1))
		isAll(t, "the peer is told", err, syscall.ECONNRESET)
		if _, err := a.Dial("tcp", "10.0.0.2:80"); err == nil {
			t.Error("dial from a closed host: no error")
		}
		if _, err := a.ListenPacket("udp", ":0"); err == nil {
			t.Error("socket of a closed host: no error")
		}
		c.Close()
		s.Close()
	})
}
