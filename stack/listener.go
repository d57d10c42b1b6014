package stack

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// listenBacklog is the default of net.core.somaxconn.
const listenBacklog = 4096

// Listener accepts TCP connections. It implements net.Listener.
type Listener struct {
	endpoint
	addr net.Addr
	cfg  SocketConfig
}

// Listen listens on an IPv4 address and port; an empty host means every
// address, port 0 a free one. Network is tcp or tcp4.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	base, at, err := parseAddress(network, address)
	if err == nil && base != "tcp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	l := &Listener{}
	h.drv.Do(func() { err = h.bind(&l.endpoint, base, at) })
	if err == nil {
		h.drv.Do(func() {
			if terr := l.ep.Listen(cmp.Or(h.cfg.Backlog, listenBacklog)); terr != nil {
				err = sysErr("listen", terr)
				return
			}
			l.watch(nil)
			h.sockets.opened(l)
			l.addr = l.boundTo(at)
		})
	}
	if err != nil {
		return nil, opError("listen", network, nil, netAddr(base, at), err)
	}
	return l, nil
}

// bind makes a gVisor endpoint at an address of the host.
func (h *Host) bind(e *endpoint, base string, at netip.AddrPort) error {
	e.init(h, base)
	if err := h.sockets.start(); err != nil {
		return err
	}
	if a := at.Addr(); !a.IsUnspecified() && !h.isLocal(a) {
		return sysErr("bind", &tcpip.ErrBadLocalAddress{})
	}
	proto := tcp.ProtocolNumber
	if base == "udp" {
		proto = udp.ProtocolNumber
	}
	ep, terr := h.sockets.s.NewEndpoint(proto, header.IPv4ProtocolNumber, &e.wq)
	if terr != nil {
		return sysErr("socket", terr)
	}
	if base == "tcp" {
		ep.SocketOptions().SetReuseAddress(true) // as package net does: old connections do not keep a port
	}
	if terr := ep.Bind(fullAddr(0, at.Addr(), at.Port())); terr != nil {
		ep.Close()
		return sysErr("bind", terr)
	}
	e.ep = ep
	return nil
}

// boundTo returns the address that the endpoint really has.
func (e *endpoint) boundTo(asked netip.AddrPort) net.Addr {
	if a, err := e.ep.GetLocalAddress(); err == nil {
		asked = netip.AddrPortFrom(asked.Addr(), a.Port)
	}
	return netAddr(e.net, asked)
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	c := &Conn{}
	err := l.attempt(&l.read, func() (bool, error) {
		ep, wq, terr := l.ep.Accept(nil)
		if _, block := terr.(*tcpip.ErrWouldBlock); block {
			return true, nil
		}
		if terr != nil {
			return false, sysErr("accept", terr)
		}
		c.acceptFrom(l, ep, wq)
		return false, nil
	})
	if err != nil {
		return nil, opError("accept", l.net, nil, l.addr, err)
	}
	return c, nil
}

// acceptFrom makes c the connection that gVisor has accepted. The endpoint has
// a queue of its own, to which c listens.
func (c *Conn) acceptFrom(l *Listener, ep tcpip.Endpoint, wq *waiter.Queue) {
	c.init(l.host, l.net)
	c.events = wq
	c.adopt(ep)
	c.names()
	fill(ep)
	if c.cfg = l.cfg; c.cfg != (SocketConfig{}) {
		c.cfg.apply(ep)
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

// Close implements net.Listener. Connections that were accepted stay open.
func (l *Listener) Close() error {
	err := error(net.ErrClosed)
	l.host.drv.Do(func() {
		if l.closed.Load() {
			return
		}
		err = nil
		l.shut()
		l.host.sockets.ended(l)
		l.host.sockets.disinherit(l)
		l.events.EventUnregister(&l.entry)
		l.ep.Close()
	})
	return opError("close", l.net, nil, l.addr, err)
}

func (l *Listener) abort() {
	l.shut()
	l.events.EventUnregister(&l.entry)
	l.ep.Close()
}

// PacketConn is a UDP socket. It implements net.PacketConn.
type PacketConn struct {
	endpoint
	addr net.Addr
}

// ListenPacket opens a UDP socket at an IPv4 address and port; an empty host
// means every address, port 0 a free one. Network is udp or udp4. As package net
// does, it sets SO_BROADCAST; there is no socket without, which Linux would
// refuse broadcasts with EACCES.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	base, at, err := parseAddress(network, address)
	if err == nil && base != "udp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c := &PacketConn{}
	h.drv.Do(func() {
		if err = h.bind(&c.endpoint, base, at); err != nil {
			return
		}
		c.ep.SocketOptions().SetBroadcast(true)
		c.watch(nil)
		h.sockets.opened(c)
		c.addr = c.boundTo(at)
	})
	if err != nil {
		return nil, opError("listen", network, nil, netAddr(base, at), err)
	}
	return c, nil
}

// ReadFrom implements net.PacketConn. A datagram longer than b is cut.
func (c *PacketConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	err = c.attempt(&c.read, func() (bool, error) {
		res, again, err := c.receiveNow(b, true)
		if n = res.Count; err == nil && !again {
			from = net.UDPAddrFromAddrPort(addrPort(res.RemoteAddr))
		}
		return again, err
	})
	return n, from, opError("read", c.net, c.addr, nil, err)
}

// receiveNow reads a datagram that is there. The caller holds the lock.
func (c *PacketConn) receiveNow(b []byte, who bool) (res tcpip.ReadResult, again bool, err error) {
	w := tcpip.SliceWriter(b)
	res, terr := c.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: who})
	switch terr.(type) {
	case nil:
		return res, false, nil
	case *tcpip.ErrWouldBlock:
		return res, true, nil
	}
	return res, false, sysErr("recvfrom", terr)
}

// WriteTo implements net.PacketConn. The address is a *net.UDPAddr or one that
// prints as address and port.
func (c *PacketConn) WriteTo(b []byte, to net.Addr) (n int, err error) {
	if to == nil {
		return 0, opError("write", c.net, c.addr, nil, os.NewSyscallError("sendto", syscall.EDESTADDRREQ))
	}
	_, dst, err := parseAddress("udp", to.String())
	if err != nil {
		return 0, opError("write", c.net, c.addr, to, err)
	}
	err = c.attempt(&c.write, func() (bool, error) {
		dev := c.deviceTo(dst.Addr())
		if dev == nil {
			return false, sysErr("sendto", &tcpip.ErrNetworkUnreachable{})
		}
		full := fullAddr(dev.Index, dst.Addr(), dst.Port())
		m, terr := c.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{To: &full})
		if _, block := terr.(*tcpip.ErrWouldBlock); block {
			return true, nil
		}
		n = int(m)
		return false, sysErr("sendto", terr)
	})
	return n, opError("write", c.net, c.addr, to, err)
}

// deviceTo returns the device whose address a datagram to dst should have: gVisor
// takes the source from the device it is given. Nil means that there is no
// route. It is called from within attempt, in real time without the lock.
func (c *PacketConn) deviceTo(dst netip.Addr) (dev *Device) {
	find := func() {
		src, out, ok := c.host.Source(dst)
		if !ok {
			return
		}
		if dev = c.host.local.get(src); dev == nil {
			dev = out
		}
	}
	if c.host.drv.Virtual() {
		find()
	} else {
		c.host.drv.Do(find)
	}
	return dev
}

// LocalAddr implements net.PacketConn.
func (c *PacketConn) LocalAddr() net.Addr { return c.addr }

// Close implements net.PacketConn.
func (c *PacketConn) Close() error {
	err := error(net.ErrClosed)
	c.host.drv.Do(func() {
		if c.closed.Load() {
			return
		}
		err = nil
		c.host.sockets.ended(c)
		c.abort()
	})
	return opError("close", c.net, c.addr, nil, err)
}

func (c *PacketConn) abort() {
	c.shut()
	c.events.EventUnregister(&c.entry)
	c.ep.Close()
}
