package stack

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"

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
