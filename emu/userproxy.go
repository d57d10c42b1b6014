package emu

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/podwire/podwire/overlay"
)

// userProxy is a userland proxy of a node, such as docker-proxy: it accepts
// connections on a port of the node and makes one of its own to the pod for
// each, so that the pod sees the node as its client.
type userProxy struct {
	node *Node
	cfg  overlay.Proxy

	mu     sync.Mutex  // guards socks and closed
	socks  []io.Closer // in the order in which they were opened, so that they close in it
	closed bool
}

// startProxies starts what the design wants to run on the node for the pod.
func (p *Pod) startProxies() error {
	for _, cfg := range p.net.Proxies {
		u := &userProxy{node: p.node, cfg: cfg}
		serve := u.listenTCP
		if cfg.Proto == "udp" {
			serve = u.listenUDP
		}
		if err := serve(); err != nil {
			return err
		}
		p.proxies = append(p.proxies, u)
	}
	return nil
}

// keep remembers a socket that ends with the proxy. False means that the proxy
// has ended before; the socket is closed.
func (u *userProxy) keep(c io.Closer) bool {
	u.mu.Lock()
	ended := u.closed
	if !ended {
		u.socks = append(u.socks, c)
	}
	u.mu.Unlock()
	if ended {
		c.Close()
	}
	return !ended
}

// drop closes a socket and forgets it.
func (u *userProxy) drop(c io.Closer) {
	u.mu.Lock()
	u.socks = slices.DeleteFunc(u.socks, func(o io.Closer) bool { return o == c })
	u.mu.Unlock()
	c.Close()
}

// close ends the process: its sockets close.
func (u *userProxy) close() {
	u.mu.Lock()
	socks := u.socks
	u.socks, u.closed = nil, true
	u.mu.Unlock()
	for _, c := range socks {
		c.Close()
	}
}

// spawn starts a goroutine that the lab waits for when it closes.
func (u *userProxy) spawn(f func()) {
	l := u.node.lab
	l.drv.Do(func() {
		l.work(func() error {
			f()
			return nil
		})
	})
}

func (u *userProxy) listenTCP() error {
	ln, err := u.node.Listen("tcp", u.cfg.Listen.String())
	if err != nil {
		return err
	}
	u.keep(ln)
	u.spawn(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return // the listener is closed
			}
			if u.keep(c) {
				u.spawn(func() { u.forward(c.(halfCloser)) })
			}
		}
	})
	return nil
}

// halfCloser is a TCP connection.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// forward joins a connection with one of its own to the pod. A client whose pod
// does not answer is hung up on.
func (u *userProxy) forward(client halfCloser) {
	defer u.drop(client)
	c, err := u.node.Dial("tcp", u.cfg.Dial.String())
	if err != nil || !u.keep(c) {
		return
	}
	defer u.drop(c)
	backend := c.(halfCloser)
	back := u.node.lab.drv.NewGroup()
	back.Go(func() { pass(backend, client) })
	pass(client, backend)
	back.Wait()
}

// pass copies until there is no more, and says so.
func pass(to, from halfCloser) {
	io.Copy(to, from)
	to.CloseWrite()
}

// udpIdle is how long docker-proxy keeps the socket of a client that it hears
// nothing for (UDPConnTrackTimeout).
const udpIdle = 90 * time.Second

// udpClient is the socket to the pod that stands for one client.
type udpClient struct {
	from netip.AddrPort
	conn net.Conn
}

func (u *userProxy) listenUDP() error {
	pc, err := u.node.ListenPacket("udp", u.cfg.Listen.String())
	if err != nil {
		return err
	}
	u.keep(pc)
	u.spawn(func() { u.serveUDP(pc) })
	return nil
}

func (u *userProxy) serveUDP(pc net.PacketConn) {
	var mu sync.Mutex // guards clients
	clients := make(map[netip.AddrPort]*udpClient)
	buf := make([]byte, 65535)
	for {
		n, addr, err := pc.ReadFrom(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // an earlier answer found nobody there
		}
		from, err := netip.ParseAddrPort(addr.String())
		if err != nil {
			continue
		}
		mu.Lock()
		c := clients[from]
		mu.Unlock()
		if c == nil {
			conn, err := u.node.Dial("udp", u.cfg.Dial.String())
			if err != nil || !u.keep(conn) {
				continue
			}
			c = &udpClient{from, conn}
			mu.Lock()
			clients[from] = c
			mu.Unlock()
			u.spawn(func() {
				u.answer(pc, c)
				mu.Lock()
				delete(clients, c.from)
				mu.Unlock()
				u.drop(c.conn)
			})
		}
		c.conn.Write(buf[:n])
	}
}

// answer sends a client what the pod has for it, until there has been nothing
// for a while. An ICMP error is no answer, and no reason to end.
func (u *userProxy) answer(pc net.PacketConn, c *udpClient) {
	buf := make([]byte, 65535)
	c.conn.SetReadDeadline(u.node.lab.Deadline(udpIdle))
	for {
		n, err := c.conn.Read(buf)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			continue
		case err != nil:
			return
		}
		pc.WriteTo(buf[:n], net.UDPAddrFromAddrPort(c.from))
		c.conn.SetReadDeadline(u.node.lab.Deadline(udpIdle))
	}
}
