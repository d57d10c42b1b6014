package stack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func TestPingPacket(t *testing.T) {
	tests := []struct {
		name   string
		cfg    PingConfig
		length int
		df, id bool
		ttl    byte
	}{
		{"as ping sends it", PingConfig{}, 84, true, true, 64},
		{"-M do", PingConfig{DontFragment: true}, 84, true, false, 64},
		{"-M dont", PingConfig{MayFragment: true}, 84, false, true, 64},
		{"-t 7 -s 100 -Q 0x20", PingConfig{TTL: 7, Size: 100, TOS: 0x20}, 128, true, true, 7},
		{"-s 0", PingConfig{Size: -1}, 28, true, true, 64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a, b := n.pair(link.WireConfig{})
				rec := n.record(a.Device("eth0"))
				c, err := a.OpenPing(tt.cfg)
				n.try(err)
				r, err := c.Ping(addr("10.0.0.2"), 7, time.Second)
				n.try(err)
				equal(t, "answer", r, PingReply{Seq: 7, From: addr("10.0.0.2"), TTL: 64, Size: tt.length - 20})
				ip := rec.sent()[0]
				equal(t, "length", len(ip), tt.length)
				equal(t, "DF", ip.dontFragment(), tt.df)
				equal(t, "has an identification", ip.id() != 0, tt.id)
				equal(t, "TTL", ip.ttl(), tt.ttl)
				equal(t, "TOS", ip.tos(), tt.cfg.TOS)
				_ = b
			})
		})
	}
}

// TestPingToGroups: TTL 1 for multicast, and no identification, as ping asks for
// path MTU discovery then.
func TestPingToGroups(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		n.route(a, "224.0.0.0/4", "", "eth0")
		rec := n.record(a.Device("eth0"))
		for to, ttl := range map[string]byte{"224.0.0.1": 1, "10.0.0.255": 64} {
			c, err := a.OpenPing(PingConfig{})
			n.try(err)
			c.Ping(addr(to), 1, time.Second)
			ip := rec.sent()[0]
			equal(t, "TTL to "+to, ip.ttl(), ttl)
			equal(t, "identification to "+to, ip.id(), 0)
			equal(t, "DF to "+to, ip.dontFragment(), true)
		}
	})
}

// TestPingData is iputils' pattern, with the time of sending if there is room.
func TestPingData(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		rec := n.record(a.Device("eth0"))
		n.wait(3*time.Second + 1234567*time.Nanosecond)
		at := uint64(n.drv.Epoch().Unix()) + 3
		for _, size := range []int{15, 16, 24} {
			c, err := a.OpenPing(PingConfig{Size: size})
			n.try(err)
			_, err = c.Ping(addr("10.0.0.2"), 1, time.Second)
			n.try(err)
			want := []byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17")[:size]
			if size >= 16 {
				binary.LittleEndian.PutUint64(want, at)
				binary.LittleEndian.PutUint64(want[8:], 1234)
			}
			equal(t, fmt.Sprint("data of ", size, " bytes"), fmt.Sprintf("%x", rec.sent()[0].payload()[8:]), fmt.Sprintf("%x", want))
		}
	})
}

func TestPingErrors(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{}, link.WireConfig{MTU: 1000})
		open := func(cfg PingConfig) *PingConn {
			c, err := a.OpenPing(cfg)
			n.try(err)
			return c
		}
		reply := func(c *PingConn, to string) string {
			r, err := c.Ping(addr(to), 1, time.Second)
			if err != nil {
				return err.Error()
			}
			return r.Err().Error()
		}
		n.do(func() { n.try(r.AddRoute(Route{Dst: prefix("10.9.0.0/16"), Type: Prohibit})) })
		_, err := open(PingConfig{DontFragment: true, Size: 1473}).Ping(addr("10.0.2.2"), 1, time.Second)
		isAll(t, "-M do, larger than the device's MTU", err, syscall.EMSGSIZE)
		_, err = open(PingConfig{Size: 65508}).Ping(addr("10.0.2.2"), 1, time.Second)
		isAll(t, "larger than IP", err, syscall.EMSGSIZE)
		equal(t, "-M do, larger than the path MTU", reply(open(PingConfig{DontFragment: true, Size: 1472}), "10.0.2.2"),
			"message too long, mtu=1000, from 10.0.1.1")
		equal(t, "-t 1", reply(open(PingConfig{TTL: 1}), "10.0.2.2"), "time to live exceeded, from 10.0.1.1")
		equal(t, "no route", reply(open(PingConfig{}), "172.16.0.1"), "destination net unreachable, from 10.0.1.1")
		equal(t, "prohibited", reply(open(PingConfig{}), "10.9.0.1"), "packet filtered, from 10.0.1.1")
		n.do(func() { a.RemoveRoutes(prefix("0.0.0.0/0"), nil) })
		_, err = open(PingConfig{}).Ping(addr("172.16.0.1"), 1, time.Second)
		isAll(t, "no route of our own", err, syscall.ENETUNREACH)
	})
}

func TestLargePingIsCutAndJoined(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		rec := n.record(b.Device("eth0"))
		c, err := a.OpenPing(PingConfig{Size: 4000})
		n.try(err)
		r, err := c.Ping(addr("10.0.0.2"), 1, time.Second)
		n.try(err)
		equal(t, "round trip", r.RTT, 4*time.Millisecond)
		n.want("on the wire", rec.lines()[2:],
			"3ms in 10.0.0.1 > 10.0.0.2 fragment 0+1480",
			"3ms in 10.0.0.1 > 10.0.0.2 fragment 1480+1480",
			"3ms in 10.0.0.1 > 10.0.0.2 fragment 2960+1048",
			"3ms out 10.0.0.2 > 10.0.0.1 fragment 0+1480",
			"3ms out 10.0.0.2 > 10.0.0.1 fragment 1480+1480",
			"3ms out 10.0.0.2 > 10.0.0.1 fragment 2960+1048")
	})
}

func TestPingTimeoutAndClose(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Second})
		n.do(func() {
			n.try(a.SetNeighbour(a.Device("eth0"), addr("10.0.0.2"), b.Device("eth0").MAC))
			n.try(b.SetNeighbour(b.Device("eth0"), addr("10.0.0.1"), a.Device("eth0").MAC))
		})
		c, err := a.OpenPing(PingConfig{})
		n.try(err)
		took(n, "timeout", 1999*time.Millisecond, func() {
			_, err := c.Ping(addr("10.0.0.2"), 1, 1999*time.Millisecond)
			equal(t, "error", err, os.ErrDeadlineExceeded)
		})
		took(n, "the late answer to the first is not one to the second", 2*time.Second, func() {
			r, err := c.Ping(addr("10.0.0.2"), 2, time.Minute)
			n.try(err)
			equal(t, "round trip", r.RTT, 2*time.Second)
		})
		took(n, "close", time.Second, func() {
			n.drv.Go(func() { n.wait(time.Second); c.Close() })
			_, err := c.Ping(addr("10.0.0.2"), 3, time.Minute)
			equal(t, "error", err, net.ErrClosed)
		})
		if _, err := c.Ping(addr("10.0.0.2"), 4, time.Minute); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ping after close: got %v, want net.ErrClosed", err)
		}
	})
}

// TestDriverCloseEndsPing: who waits for a network that has ended is let go.
func TestDriverCloseEndsWaiting(t *testing.T) {
	inBubble(t, func(n *network) {
		c, s, _ := tcpPair(n, link.WireConfig{})
		g, err := n.hosts[0].OpenPing(PingConfig{})
		n.try(err)
		ended := make(chan error, 2)
		go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
		go func() { _, err := g.Ping(addr("10.0.0.9"), 1, time.Hour); ended <- err }()
		n.wait(time.Second)
		s.Close()
		c.Close()
		for _, h := range n.hosts {
			h.Close()
		}
		n.wait(10 * time.Second)
		n.drv.Close()
		isAll(t, "one", <-ended, net.ErrClosed)
		isAll(t, "the other", <-ended, net.ErrClosed)
	})
}
