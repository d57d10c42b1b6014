package stack

import (
	"bytes"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func TestUDP(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		s, err := b.ListenPacket("udp", ":53")
		n.try(err)
		c, err := a.Dial("udp", "10.0.0.2:53")
		n.try(err)
		for _, size := range []int{0, 1, 1472, 1473, 9000, 65507} {
			want := bytes.Repeat([]byte{byte(size)}, size)
			m, err := c.Write(want)
			if err != nil || m != size {
				t.Errorf("write of %d bytes: got %d, %v", size, m, err)
			}
			buf := make([]byte, 65536)
			m, from, err := s.ReadFrom(buf)
			if err != nil || !bytes.Equal(buf[:m], want) || from.String() != c.LocalAddr().String() {
				t.Errorf("got %d bytes from %v, %v, want %d from %v", m, from, err, size, c.LocalAddr())
			}
			m, err = s.WriteTo(want, from)
			if err != nil || m != size {
				t.Errorf("answer of %d bytes: got %d, %v", size, m, err)
			}
			if m, err = c.Read(buf); err != nil || !bytes.Equal(buf[:m], want) {
				t.Errorf("got %d bytes, %v, want the answer of %d", m, err, size)
			}
		}
		_, err = c.Write(make([]byte, 65508))
		isAll(t, "write of 65508 bytes", err, syscall.EMSGSIZE)
		_, err = s.WriteTo(make([]byte, 65508), c.LocalAddr())
		isAll(t, "answer of 65508 bytes", err, syscall.EMSGSIZE)
	})
}

func TestReadFromCutsLongDatagrams(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		s, err := b.ListenPacket("udp", ":53")
		n.try(err)
		c, err := a.Dial("udp", "10.0.0.2:53")
		n.try(err)
		c.Write([]byte("long"))
		c.Write([]byte("next"))
		buf := make([]byte, 2)
		for _, want := range []string{"lo", "ne"} {
			m, _, err := s.ReadFrom(buf)
			n.try(err)
			equal(t, "received", string(buf[:m]), want)
		}
	})
}

func TestConnectedSocketHearsOfClosedPort(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{Latency: time.Millisecond})
		c, err := a.Dial("udp", "10.0.0.2:9")
		n.try(err)
		c.Write([]byte("x"))
		took(n, "ARP and the answer", 4*time.Millisecond, func() {
			_, err := c.Read(make([]byte, 1))
			isAll(t, "read", err, syscall.ECONNREFUSED)
		})
		c.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
		_, err = c.Read(make([]byte, 1))
		isAll(t, "the error is reported once", err, os.ErrDeadlineExceeded)
	})
}

func TestBroadcast(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		s, err := b.ListenPacket("udp", ":67")
		n.try(err)
		c, err := a.ListenPacket("udp", ":68")
		n.try(err)
		rec := n.record(b.Device("eth0"))
		m, err := c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 255), Port: 67})
		if m != 1 || err != nil {
			n.Fatalf("write: got %d, %v", m, err)
		}
		s.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
		_, from, err := s.ReadFrom(make([]byte, 9))
		n.try(err)
		equal(t, "sender", from.String(), "10.0.0.1:68")
		equal(t, "destination MAC", link.DstMAC(rec.seen[0].b), link.Broadcast)
	})
}

func TestUDPErrors(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		s, err := a.ListenPacket("udp", "10.0.0.1:53")
		n.try(err)
		_, err = a.ListenPacket("udp", "10.0.0.1:53")
		isAll(t, "port in use", err, syscall.EADDRINUSE)
		_, err = a.ListenPacket("udp", "10.9.9.9:53")
		isAll(t, "address of nobody", err, syscall.EADDRNOTAVAIL)
		_, err = s.WriteTo(nil, &net.UDPAddr{IP: net.IPv4(172, 16, 0, 1), Port: 9})
		isAll(t, "no route", err, syscall.ENETUNREACH)
		_, err = s.WriteTo(nil, nil)
		isAll(t, "no address", err, syscall.EDESTADDRREQ)
		if _, err = s.WriteTo(nil, &net.UnixAddr{Name: "x"}); err == nil || !strings.Contains(err.Error(), "write") {
			t.Errorf("address of another network: got %v", err)
		}
		took(n, "deadline", time.Second, func() {
			s.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
			_, _, err := s.ReadFrom(make([]byte, 1))
			isAll(t, "error", err, os.ErrDeadlineExceeded)
		})
		s.SetReadDeadline(time.Time{})
		took(n, "close", time.Second, func() {
			n.drv.Go(func() { n.wait(time.Second); s.Close() })
			_, _, err := s.ReadFrom(make([]byte, 1))
			isAll(t, "error", err, net.ErrClosed)
		})
		isAll(t, "closed twice", s.Close(), net.ErrClosed)
		s, err = a.ListenPacket("udp", "10.0.0.1:53")
		n.try(err) // the port is free again
		s.Close()
	})
}

func TestLoopback(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		st, _ := n.station(a, "eth0", "10.0.0.1/24")
		lo := n.record(a.Device("lo"))
		for to, from := range map[string]string{"127.0.0.1:80": "127.0.0.1", "127.0.0.2:80": "127.0.0.1", "10.0.0.1:80": "10.0.0.1"} {
			ln, err := a.Listen("tcp", ":80")
			n.try(err)
			c, err := a.Dial("tcp", to)
			n.try(err)
			s, err := ln.Accept()
			n.try(err)
			equal(t, "peer of a connection to "+to, s.RemoteAddr().(*net.TCPAddr).IP.String(), from)
			c.Close()
			s.Close()
			ln.Close()
		}
		equal(t, "MSS on lo", mssOption(lo.sent()[0].payload()), 65495)
		ping(n, a, "127.0.0.1", 0)
		ping(n, a, "10.0.0.1", 0)
		equal(t, "frames on eth0", len(st.take()), 0)
		n.do(func() { a.Device("lo").SetUp(false) })
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		_, err = c.Ping(addr("127.0.0.1"), 1, time.Second)
		equal(t, "ping with lo down", err, os.ErrDeadlineExceeded)
	})
}
