package stack

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// SocketConfig is what a program sets on a TCP socket before it connects or
// listens. The zero value is a socket as it comes.
type SocketConfig struct {
	Local netip.Addr // of Dial: the source address; if zero, the host chooses
	TOS   byte       // IP_TOS; the ECN bits are not the program's
	TTL   byte       // IP_TTL; if zero, net.ipv4.ip_default_ttl
}

// ecnBits are the bits of the TOS octet that belong to ECN.
const ecnBits = 3

// apply sets the options on an endpoint.
func (c SocketConfig) apply(ep tcpip.Endpoint) error {
	if terr := ep.SetSockOptInt(tcpip.IPv4TOSOption, int(c.TOS&^ecnBits)); terr != nil {
		return sysErr("setsockopt", terr)
	}
	if terr := ep.SetSockOptInt(tcpip.IPv4TTLOption, int(c.TTL)); terr != nil {
		return sysErr("setsockopt", terr)
	}
	return nil
}

// DialWith is [Host.DialContext] of a TCP socket with options.
func (h *Host) DialWith(ctx context.Context, network, address string, cfg SocketConfig) (net.Conn, error) {
	var c *Conn
	var err error
	h.drv.Do(func() { c, err = h.Connect(network, address, cfg) })
	if err != nil {
		return nil, err
	}
	return c, c.finishDial(ctx)
}

// Connect begins to connect a TCP socket with options, for a program that does
// other things meanwhile; [Conn.Connected] waits for what comes of it. The caller
// holds the driver's lock.
func (h *Host) Connect(network, address string, cfg SocketConfig) (*Conn, error) {
	base, to, err := parseAddress(network, address)
	if err == nil && base != "tcp" {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	c := &Conn{remote: netAddr(base, to), cfg: cfg}
	if err := h.connect(c, base, to); err != nil {
		c.abandon()
		return nil, opError("dial", network, nil, c.remote, err)
	}
	return c, nil
}

// Connected waits until the connection that [Host.Connect] has begun is made, or
// cannot be made and is closed.
func (c *Conn) Connected() error { return c.finishDial(context.Background()) }

func (c *Conn) finishDial(ctx context.Context) error {
	if err := c.await(ctx); err != nil {
		c.Close()
		return opError("dial", c.net, nil, c.remote, err)
	}
	return nil
}

// Abort ends the connection at once: what was written and not sent is lost, and
// the other end is sent a reset (SO_LINGER with a time of 0). The caller holds the
// driver's lock.
func (c *Conn) Abort() {
	if !c.closed.Load() {
		c.abandon()
	}
}

func (c *Conn) abandon() {
	c.host.sockets.ended(c)
	if c.ep == nil {
		c.shut()
		return
	}
	c.abort()
	c.host.sockets.touched()
}

// ListenWith is [Host.Listen] with options. As on Linux, connections have the
// listener's until they are given others.
func (h *Host) ListenWith(network, address string, cfg SocketConfig) (net.Listener, error) {
	ln, err := h.Listen(network, address)
	if err != nil {
		return nil, err
	}
	l := ln.(*Listener)
	h.drv.Do(func() {
		l.cfg = cfg
		if err = cfg.apply(l.ep); err == nil {
			h.sockets.inherit(l, cfg)
		}
	})
	if err != nil {
		l.Close()
		return nil, opError("listen", network, nil, l.addr, err)
	}
	return l, nil
}

// SetTTL sets IP_TTL of a connection; zero is net.ipv4.ip_default_ttl.
func (c *Conn) SetTTL(ttl byte) error {
	err := error(net.ErrClosed)
	c.host.drv.Do(func() {
		if c.closed.Load() || c.ep == nil {
			return
		}
		c.cfg.TTL = ttl
		if err = c.cfg.apply(c.ep); err == nil {
			c.host.sockets.ownOptions(c)
		}
	})
	return opError("set", c.net, c.local, c.remote, err)
}

// connectSource is the address that a connection to dst has, and its device.
func (h *Host) connectSource(dst, local netip.Addr) (netip.Addr, *Device, error) {
	src, dev, ok := h.Source(dst)
	switch {
	case !ok:
		return src, dev, os.NewSyscallError("connect", syscall.ENETUNREACH)
	case !local.IsValid() || local == src:
		return src, dev, nil
	case !h.isLocal(local):
		return src, dev, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	return local, dev, nil
}

// inherited are the options that connections have from their listener until the
// program that accepts them sets others: gVisor does not pass them on.
type inherited map[uint16]SocketConfig

// inherit has connections to a listener begin with its options.
func (n *netstack) inherit(l *Listener, cfg SocketConfig) {
	if a, err := l.ep.GetLocalAddress(); err == nil {
		if n.options == nil {
			n.options = make(inherited)
		}
		n.options[a.Port] = cfg
	}
}

// disinherit ends what inherit began.
func (n *netstack) disinherit(l *Listener) {
	if l.cfg == (SocketConfig{}) {
		return
	}
	if a, err := l.ep.GetLocalAddress(); err == nil {
		delete(n.options, a.Port)
	}
}

// ownOptions ends what a connection has inherited.
func (n *netstack) ownOptions(c *Conn) {
	l, lerr := c.ep.GetLocalAddress()
	r, rerr := c.ep.GetRemoteAddress()
	if lerr != nil || rerr != nil || l.Addr.Len() != 4 || r.Addr.Len() != 4 {
		return
	}
	k := flowKey{src: l.Addr.As4(), dst: r.Addr.As4(), sport: l.Port, dport: r.Port, proto: protoTCP}
	if f := n.flows[k]; f != nil {
		f.options = SocketConfig{}
	}
}

// mark gives a packet the options that its connection has inherited.
func (fl *flow) mark(ip ipv4) {
	if fl.options == (SocketConfig{}) {
		return
	}
	ip.setTOS(fl.options.TOS&^ecnBits | ip.tos()&ecnBits)
	if fl.options.TTL != 0 {
		ip.setTTL(fl.options.TTL)
	}
}
