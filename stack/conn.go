package stack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Conn is a TCP connection, or a UDP socket with one peer. It implements
// net.Conn; any number of goroutines may use it.
type Conn struct {
	endpoint
	local, remote net.Addr
	cfg           SocketConfig
	pending       pending           // written by the application, not yet taken by gVisor
	finish        bool              // close when pending is empty
	failed        error             // what became of pending
	taken         tcpip.SliceWriter // scratch of readNow
	hard          atomic.Value      // of a UDP socket: the syscall.Errno to report next, see datagramError
}

// maxPending bounds what Write takes beyond the socket's own buffer in virtual
// time. A goroutine that holds a mutex while it writes (HTTP/2 does) would stop
// the bubble if Write made it wait.
const maxPending = 4 << 20

// DialContext connects to an IPv4 address and port; network is tcp, tcp4, udp
// or udp4. It returns a *Conn. Errors are those of package net; the system
// error inside can be tested with errors.Is(err, syscall.ECONNREFUSED).
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	base, to, err := parseAddress(network, address)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	c := &Conn{remote: netAddr(base, to)}
	h.drv.Do(func() { err = h.connect(c, base, to) })
	if err == nil && base == "tcp" {
		err = c.await(ctx)
	}
	if err != nil {
		c.Close()
		return nil, opError("dial", network, nil, c.remote, err)
	}
	return c, nil
}

// Dial is DialContext without a context.
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// connect starts connecting. The caller holds the lock.
func (h *Host) connect(c *Conn, base string, to netip.AddrPort) error {
	c.init(h, base)
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
	}
	src, dev, err := h.connectSource(to.Addr(), c.cfg.Local)
	if err != nil {
		return err
	}
	if base == "tcp" && (to.Addr().IsMulticast() || isLimitedBroadcast(to.Addr()) || h.broadcast.get(to.Addr()) != nil && h.local.get(to.Addr()) == nil) {
		return os.NewSyscallError("connect", syscall.ENETUNREACH) // a connection has one other end
	}
	if err := h.sockets.start(); err != nil {
		return err
	}
	proto := tcp.ProtocolNumber
	if base == "udp" {
		proto = udp.ProtocolNumber
	}
	ep, terr := h.sockets.s.NewEndpoint(proto, header.IPv4ProtocolNumber, &c.wq)
	if terr != nil {
		return sysErr("socket", terr)
	}
	if base == "udp" {
		ep.SocketOptions().SetBroadcast(true)
	}
	c.adopt(ep)
	if c.cfg != (SocketConfig{}) {
		if err := c.cfg.apply(ep); err != nil {
			return err
		}
	}
	if len(dev.addrs) != 1 || dev.addrs[0].Addr() != src { // gVisor would choose another
		if terr := ep.Bind(fullAddr(dev.Index, src, 0)); terr != nil {
			return sysErr("connect", terr)
		}
	}
	terr = ep.Connect(fullAddr(dev.Index, to.Addr(), to.Port()))
	h.sockets.touched()
	if _, started := terr.(*tcpip.ErrConnectStarted); terr != nil && !started {
		return sysErr("connect", terr)
	}
	c.names()
	return nil
}

// adopt makes ep the connection's endpoint.
func (c *Conn) adopt(ep tcpip.Endpoint) {
	c.ep = ep
	c.watch(func() {
		if c.pending.Len() > 0 {
			c.host.drv.Soon(c.flush)
		}
	})
	c.host.sockets.opened(c)
}

func (c *Conn) names() {
	if a, err := c.ep.GetLocalAddress(); err == nil {
		c.local = netAddr(c.net, addrPort(a))
	}
	if a, err := c.ep.GetRemoteAddress(); err == nil {
		c.remote = netAddr(c.net, addrPort(a))
	}
}

// await waits until the handshake is over.
func (c *Conn) await(ctx context.Context) error {
	stop := afterFunc(ctx, func() { c.host.drv.Do(c.write.wait.Load().Wake) })
	defer stop()
	return c.attempt(&c.write, func() (bool, error) {
		ready := c.ep.Readiness(waiter.EventOut | waiter.EventErr | waiter.EventHUp)
		if err := c.ep.LastError(); err != nil {
			return false, sysErr("connect", err)
		}
		if ready&waiter.EventOut != 0 {
			c.names()
			fill(c.ep)
			return false, nil
		}
		if err := ctx.Err(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = dialTimeout{}
			}
			return false, err
		}
		return true, nil
	})
}

// afterFunc is [context.AfterFunc], without a goroutine for a context that calls f
// itself, as those on the clock of a lab do.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if c, ok := ctx.(interface {
		AfterFunc(func()) func() bool
	}); ok {
		return c.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// dialTimeout is the error of a dial whose context has ended in time. As that
// of package net it is a net.Error that says so.
type dialTimeout struct{}

func (dialTimeout) Error() string   { return "i/o timeout" }
func (dialTimeout) Timeout() bool   { return true }
func (dialTimeout) Temporary() bool { return true }

func (dialTimeout) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	err = c.attempt(&c.read, func() (again bool, err error) {
		n, again, err = c.readNow(b)
		return again, err
	})
	if err == io.EOF {
		return n, err
	}
	return n, opError("read", c.net, c.local, c.remote, err)
}

// readNow reads what is there. The caller holds the lock.
func (c *Conn) readNow(b []byte) (n int, again bool, err error) {
	if err := c.takeHard("read"); err != nil {
		return 0, false, err
	}
	c.taken = b
	res, terr := c.ep.Read(&c.taken, tcpip.ReadOptions{})
	c.taken = nil
	switch terr.(type) {
	case nil:
		c.ep.ModerateRecvBuf(res.Count) // what is read fast may come faster: tcp_rmem, tcp_moderate_rcvbuf
		if c.net == "tcp" && c.host.sockets.held.Load() > 0 {
			c.acknowledge()
		}
		return res.Count, false, nil
	case *tcpip.ErrWouldBlock:
		return 0, true, nil
	case *tcpip.ErrClosedForReceive:
		return 0, false, io.EOF
	}
	return 0, false, sysErr("read", terr)
}

// acknowledge lets an acknowledgement go that has waited for somebody to read. In
// real time the driver is not waited for, and nobody holds its lock.
func (c *Conn) acknowledge() {
	n := &c.host.sockets
	if c.host.drv.Virtual() {
		n.read(c.ep)
	} else {
		c.host.drv.Post(func() { n.read(c.ep) })
	}
}

// Write implements net.Conn. In virtual time it takes up to 4 MiB more than
// the socket's buffer holds before it blocks.
func (c *Conn) Write(b []byte) (n int, err error) {
	if c.net == "udp" {
		return c.writeDatagram(b)
	}
	err = c.attempt(&c.write, func() (bool, error) {
		m, err := c.writeNow(b[n:])
		n += m
		return err == nil && n < len(b), err
	})
	return n, opError("write", c.net, c.local, c.remote, err)
}

// writeNow takes what there is room for. The caller holds the lock.
func (c *Conn) writeNow(b []byte) (n int, err error) {
	if c.failed != nil {
		return 0, c.failed
	}
	if c.finish {
		return 0, net.ErrClosed
	}
	if c.pending.Len() == 0 {
		if n, err = c.push(bytes.NewReader(b)); err != nil {
			return n, err
		}
	}
	if c.host.drv.Virtual() {
		m := min(len(b)-n, maxPending-c.pending.Len())
		c.pending.write(b[n : n+m])
		n += m
	}
	return n, nil
}

// push gives gVisor as much of what r has as it takes. The caller holds the lock.
func (c *Conn) push(r tcpip.Payloader) (n int, err error) {
	for r.Len() > 0 {
		// Atomic: r never blocks, so gVisor need not let go of its locks to read it.
		m, terr := c.ep.Write(r, tcpip.WriteOptions{Atomic: true})
		n += int(m)
		switch terr.(type) {
		case nil:
			if m == 0 {
				return n, nil
			}
		case *tcpip.ErrWouldBlock:
			return n, nil
		default:
			return n, sysErr("write", terr)
		}
	}
	return n, nil
}

// flush moves pending data into the socket when there is room again.
func (c *Conn) flush() {
	r := c.pending.reader()
	n, err := c.push(&r)
	c.pending.discard(n)
	if err != nil {
		c.failed = err
		c.pending.reset()
	}
	if c.pending.Len() == 0 && c.finish {
		c.end()
	}
	c.write.wait.Load().Wake()
	c.host.sockets.touched()
}

// writeDatagram sends one datagram to the peer.
func (c *Conn) writeDatagram(b []byte) (n int, err error) {
	err = c.attempt(&c.write, func() (again bool, err error) {
		n, again, err = c.sendNow(b)
		return again, err
	})
	return n, opError("write", c.net, c.local, c.remote, err)
}

// sendNow sends one datagram to the peer. The caller holds the lock.
func (c *Conn) sendNow(b []byte) (n int, again bool, err error) {
	if err := c.takeHard("write"); err != nil {
		return 0, false, err
	}
	m, terr := c.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{})
	if _, block := terr.(*tcpip.ErrWouldBlock); block {
		return 0, true, nil
	}
	return int(m), false, sysErr("write", terr)
}

// CloseWrite sends a FIN after what was written, and leaves the other
// direction open.
func (c *Conn) CloseWrite() error {
	err := c.attempt(&c.write, func() (bool, error) {
		if c.pending.Len() > 0 {
			return true, nil
		}
		return false, sysErr("shutdown", c.ep.Shutdown(tcpip.ShutdownWrite))
	})
	return opError("close", c.net, c.local, c.remote, err)
}

// Close implements net.Conn. What was written is still sent; unread data makes
// it a reset, as on Linux.
func (c *Conn) Close() error {
	err := error(net.ErrClosed)
	c.host.drv.Do(func() {
		if c.closed.Load() {
			return
		}
		err = nil
		c.shut()
		if c.pending.Len() > 0 && c.failed == nil && !c.host.sockets.closed.Load() {
			c.finish = true
			return
		}
		c.end()
	})
	return opError("close", c.net, c.local, c.remote, err)
}

// end closes the gVisor endpoint.
func (c *Conn) end() {
	if c.ep == nil {
		return
	}
	c.host.sockets.ended(c)
	c.events.EventUnregister(&c.entry)
	if c.net == "tcp" {
		c.host.sockets.leaves(c.ep)
	}
	c.ep.Close()
	c.host.sockets.touched()
}

// abort ends the connection with its host.
func (c *Conn) abort() {
	c.shut()
	c.events.EventUnregister(&c.entry) // first: what it calls looks at pending
	c.pending.reset()
	c.ep.Abort()
}
