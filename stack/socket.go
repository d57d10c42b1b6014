package stack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/podwire/podwire/link"
)

// endpoint is what connections, listeners and packet sockets share: a gVisor
// endpoint, and for each direction the place where a goroutine waits for it.
// Calls come from any goroutine and take the driver's lock.
type endpoint struct {
	host        *Host
	net         string // "tcp" or "udp", for errors
	ep          tcpip.Endpoint
	wq          waiter.Queue  // of an endpoint that was made here
	events      *waiter.Queue // wq, or the queue of an accepted endpoint
	entry       waiter.Entry
	read, write side
	closed      atomic.Bool
}

// side is one direction of a socket.
type side struct {
	turn    chan struct{} // holds one token; who has it may wait
	wait    atomic.Pointer[link.Waiter]
	timer   *link.Timer
	expired atomic.Bool
}

func (s *side) init(d *link.Driver) {
	s.turn = make(chan struct{}, 1)
	s.wait.Store(d.NewWaiter())
	s.turn <- struct{}{}
}

// take waits for the caller's turn. A channel and not a mutex: in a bubble, a
// goroutine that waits for a mutex would hold up time.
func (s *side) take() { <-s.turn }
func (s *side) give() { s.turn <- struct{}{} }

// init sets up the endpoint around a gVisor one. The caller holds the lock.
func (e *endpoint) init(h *Host, network string) {
	e.host, e.net, e.events = h, network, &e.wq
	e.read.init(h.drv)
	e.write.init(h.drv)
}

// watch lets waiting goroutines go when gVisor says that something happened.
func (e *endpoint) watch(writable func()) {
	e.entry = waiter.NewFunctionEntry(waiter.EventIn|waiter.EventOut|waiter.EventErr|waiter.EventHUp, func(m waiter.EventMask) {
		if m&(waiter.EventIn|waiter.EventErr|waiter.EventHUp) != 0 {
			e.read.wait.Load().Wake()
		}
		if m&(waiter.EventOut|waiter.EventErr|waiter.EventHUp) != 0 {
			e.write.wait.Load().Wake()
			if writable != nil {
				writable()
			}
		}
	})
	e.events.EventRegister(&e.entry)
}

// attempt calls try under the driver's lock until it no longer wants to wait
// for s, and returns its error.
func (e *endpoint) attempt(s *side, try func() (again bool, err error)) error {
	s.take()
	defer s.give()
	for {
		var again bool
		var err error
		e.serialized(func() {
			if err = e.ended(s); err == nil {
				// Nothing to drain for: what a call finds waiting has come in with a
				// packet, and that has seen to it.
				again, err = try()
			}
		})
		if !again {
			return err
		}
		s.wait.Load().Wait()
	}
}

// ended returns why nothing can be tried any more, or nil.
func (e *endpoint) ended(s *side) error {
	switch {
	case e.closed.Load() || e.host.sockets.closed.Load() || e.host.drv.Closed():
		return net.ErrClosed
	case s.expired.Load():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// serialized calls f under the driver's lock in virtual time. In real time
// gVisor looks after itself, and a socket does not wait for the driver.
func (e *endpoint) serialized(f func()) {
	if e.host.drv.Virtual() {
		e.host.drv.Do(f)
		return
	}
	f()
}

// setDeadline arms a side; the zero time disarms it.
func (e *endpoint) setDeadline(s *side, t time.Time) {
	e.host.drv.Do(func() {
		if s.timer != nil {
			s.timer.Stop()
		}
		s.expired.Store(false)
		if t.IsZero() {
			return
		}
		left := t.Sub(e.host.drv.Epoch()) - e.host.now()
		if left <= 0 {
			s.expired.Store(true)
			s.wait.Load().WakeNow()
			return
		}
		s.timer = e.host.drv.AfterFunc(e.host.source, left, func() {
			s.expired.Store(true)
			s.wait.Load().Wake()
		})
	})
}

// SetDeadline implements net.Conn. Deadlines run on the lab's clock.
func (e *endpoint) SetDeadline(t time.Time) error {
	e.setDeadline(&e.read, t)
	e.setDeadline(&e.write, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (e *endpoint) SetReadDeadline(t time.Time) error {
	e.setDeadline(&e.read, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (e *endpoint) SetWriteDeadline(t time.Time) error {
	e.setDeadline(&e.write, t)
	return nil
}

// shut marks the endpoint closed and wakes who waits for it.
func (e *endpoint) shut() {
	e.closed.Store(true)
	for _, s := range []*side{&e.read, &e.write} {
		if s.timer != nil {
			s.timer.Stop()
		}
		s.wait.Load().WakeNow()
	}
	e.host.sockets.touched()
}

// opError wraps err as package net does. A nil err stays nil.
func opError(op, network string, source, addr net.Addr, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}

// errnos maps gVisor's errors to the system errors that a Linux socket returns.
func errno(err tcpip.Error) error {
	switch err.(type) {
	case nil:
		return nil
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable, *tcpip.ErrNoNet:
		return syscall.ENETUNREACH
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrNoPortAvailable, *tcpip.ErrBadLocalAddress:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrUnknownProtocolOption:
		return syscall.ENOPROTOOPT
	}
	return fmt.Errorf("%s", err)
}

// sysErr names the system call, as package net's errors do.
func sysErr(call string, err tcpip.Error) error {
	e := errno(err)
	if n, ok := e.(syscall.Errno); ok {
		return os.NewSyscallError(call, n)
	}
	return e
}

// fullAddr is gVisor's form of an address and port, on one NIC or any (0).
func fullAddr(nic int, a netip.Addr, port uint16) tcpip.FullAddress {
	f := tcpip.FullAddress{NIC: tcpip.NICID(nic), Port: port}
	if a.Is4() && !a.IsUnspecified() {
		f.Addr = tcpip.AddrFrom4(a.As4())
	}
	return f
}

func addrPort(f tcpip.FullAddress) netip.AddrPort {
	if f.Addr.Len() != 4 {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), f.Port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(f.Addr.As4()), f.Port)
}

// netAddr is the net.Addr of an address on a network.
func netAddr(network string, a netip.AddrPort) net.Addr {
	if network == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// parseAddress reads "host:port" for a network. The host is an IPv4 address or
// empty; names are resolved a layer above.
func parseAddress(network, address string) (base string, a netip.AddrPort, err error) {
	switch network {
	case "tcp", "tcp4":
		base = "tcp"
	case "udp", "udp4":
		base = "udp"
	default:
		return "", a, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", a, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", a, &net.AddrError{Err: "invalid port", Addr: address}
	}
	ip := netip.IPv4Unspecified()
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil || !ip.Is4() {
			return "", a, &net.AddrError{Err: "not an IPv4 address", Addr: address}
		}
	}
	return base, netip.AddrPortFrom(ip, uint16(n)), nil
}
