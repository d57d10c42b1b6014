package stack

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestSocketOptions: TOS and TTL are on every segment from the SYN on. A
// connection has its listener's until it is given others.
func TestSocketOptions(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		n.do(func() { n.try(a.Device("eth0").AddAddr(prefix("10.0.0.77/24"))) })
		rec := n.record(a.Device("eth0"), b.Device("eth0"))
		ln, err := b.ListenWith("tcp", ":179", SocketConfig{TOS: 0xc0, TTL: 255})
		n.try(err)
		defer ln.Close()
		client, err := a.DialWith(context.Background(), "tcp", "10.0.0.2:179", SocketConfig{TOS: 0xc3, TTL: 7, Local: addr("10.0.0.77")})
		n.try(err)
		server, err := ln.Accept()
		n.try(err)
		server.Write([]byte("x"))
		io.ReadFull(client, make([]byte, 1))
		ttls := func() (list []int) {
			for _, ip := range rec.sent() {
				if ip.proto() != protoTCP {
					continue
				}
				if ip.tos() != 0xc0 {
					t.Errorf("%s: TOS %#x, want 0xc0", describeIP(ip), ip.tos())
				}
				want := byte(7)
				if ip.src() == addr("10.0.0.2") {
					list = append(list, int(ip.ttl()))
					continue
				}
				if ip.ttl() != want || ip.src() != addr("10.0.0.77") {
					t.Errorf("%s: want TTL 7 and the source that was asked for", describeIP(ip))
				}
			}
			return list
		}
		for _, ttl := range ttls() {
			equal(t, "TTL of the listening side", ttl, 255)
		}
		n.try(server.(*Conn).SetTTL(0))
		server.Write([]byte("y"))
		n.wait(0)
		list := ttls()
		equal(t, "TTL after it was set", list[len(list)-1], 64)
		client.Close()
		server.Close()
		isAll(t, "options of a closed connection", server.(*Conn).SetTTL(1), net.ErrClosed)
		_, err = a.DialWith(context.Background(), "tcp", "10.0.0.2:179", SocketConfig{Local: addr("10.9.9.9")})
		isAll(t, "a source that is not the host's", err, syscall.EADDRNOTAVAIL)
		if _, err := a.DialWith(context.Background(), "udp", "10.0.0.2:179", SocketConfig{}); err == nil {
			t.Error("UDP was dialled with TCP's options")
		}
	})
}

// TestConnectAndAbort: a connection that is begun can be waited for, and given up
// at any time.
func TestConnectAndAbort(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		ln, err := b.Listen("tcp", ":179")
		n.try(err)
		defer ln.Close()
		begin := func(to string) (c *Conn) {
			n.do(func() { c, err = a.Connect("tcp", to, SocketConfig{TOS: 0xc0}) })
			n.try(err)
			return c
		}
		c := begin("10.0.0.2:179")
		n.try(c.Connected())
		s, err := ln.Accept()
		n.try(err)
		n.do(c.Abort)
		n.do(c.Abort) // again
		_, err = s.Read(make([]byte, 1))
		isAll(t, "the other end of a connection that was aborted", err, syscall.ECONNRESET)
		s.Close()
		isAll(t, "a port where nobody listens", begin("10.0.0.2:1").Connected(), syscall.ECONNREFUSED)
		c = begin("10.0.0.9:179")
		took(n, "an attempt that is given up", 0, func() {
			n.do(c.Abort)
			isAll(t, "its end", c.Connected(), net.ErrClosed)
		})
		n.do(func() {
			_, err = a.Connect("tcp", "192.0.2.1:179", SocketConfig{})
			isAll(t, "no route", err, syscall.ENETUNREACH)
			_, err = a.Connect("udp", "10.0.0.2:179", SocketConfig{})
		})
		if err == nil {
			t.Error("UDP was connected as TCP is")
		}
	})
}
