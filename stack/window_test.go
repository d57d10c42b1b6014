package stack

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// windows are the windows in bytes that a host has offered after the handshake.
func windows(sent []ipv4, scale int) (list []int) {
	for _, ip := range sent {
		if seg := ip.payload(); seg[13]&tcpSYN == 0 {
			list = append(list, int(binary.BigEndian.Uint16(seg[14:]))<<scale)
		}
	}
	return list
}

// TestWindowLikeLinux is a short exchange: the window stays what the SYN and
// SYN-ACK offered, rounded up to the scale. With the scale of 10 it is what a
// kernel's captures have.
func TestWindowLikeLinux(t *testing.T) {
	tests := []struct {
		mtu, max, scale, client, server int
	}{
		{1450, 6 << 20, 7, 64896, 64384},
		{1500, 6 << 20, 7, 64256, 65280},
		{1450, 32 << 20, 10, 65536, 64512},
		{1500, 32 << 20, 10, 64512, 65536},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint("MTU ", tt.mtu, ", up to ", tt.max), func(t *testing.T) {
			inBubble(t, func(n *network) {
				cfg := Config{TCPReceive: Buffer{4096, 131072, tt.max}}
				cfg.Name = "a"
				a := n.host(cfg)
				cfg.Name = "b"
				b := n.host(cfg)
				n.join(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24", link.WireConfig{MTU: tt.mtu})
				recA, recB := n.record(a.Device("eth0")), n.record(b.Device("eth0"))
				c, s := connect(n, a, b, "10.0.0.2:80")
				c.Write([]byte("hello"))
				n.wait(time.Millisecond) // acknowledged before it is read
				readAll(n, s, 5)
				s.Write(make([]byte, 40))
				n.wait(time.Millisecond)
				readAll(n, c, 40)
				s.Close()
				c.Close()
				n.wait(time.Second)
				for i, w := range windows(recA.sent(), tt.scale) {
					equal(t, fmt.Sprint("client's window ", i), w, tt.client)
				}
				for i, w := range windows(recB.sent(), tt.scale) {
					equal(t, fmt.Sprint("server's window ", i), w, tt.server)
				}
			})
		})
	}
}

func readAll(n *network, r io.Reader, size int) {
	n.Helper()
	_, err := io.ReadFull(r, make([]byte, size))
	n.try(err)
}

// TestSmallReceiveBuffer: a SYN offers no more than half of the buffer.
func TestSmallReceiveBuffer(t *testing.T) {
	for _, tt := range []struct{ size, syn, synAck int }{
		{4096, 1460, 1448}, // 2048, of which one segment
		{2000, 1000, 1000}, // less than a segment
		{16384, 7300, 7240},
		{1 << 20, 65535, 65535},
	} {
		inBubble(t, func(n *network) {
			cfg := Config{TCPReceive: Buffer{tt.size, tt.size, tt.size}}
			cfg.Name = "a"
			a := n.host(cfg)
			cfg.Name = "b"
			b := n.host(cfg)
			n.join(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24", link.WireConfig{})
			recA, recB := n.record(a.Device("eth0")), n.record(b.Device("eth0"))
			c, s := connect(n, a, b, "10.0.0.2:80")
			name := fmt.Sprint(" with a buffer of ", tt.size)
			equal(t, "window of the SYN"+name, int(binary.BigEndian.Uint16(recA.sent()[0].payload()[14:])), tt.syn)
			equal(t, "window of the SYN-ACK"+name, int(binary.BigEndian.Uint16(recB.sent()[0].payload()[14:])), tt.synAck)
			n.drv.Go(func() { c.Write(make([]byte, 100000)) })
			readAll(n, s, 100000)
			c.Close()
			s.Close()
		})
	}
}

// TestSlowReaderLosesNothing: what a window offers is accepted, so that a sender
// that keeps to it never has to send anything twice, whether the reader comes
// late or reads in bits.
func TestSlowReaderLosesNothing(t *testing.T) {
	for _, tt := range []struct {
		name        string
		write, read int
		pause       time.Duration // before each read
		max         int
	}{
		{"large writes", 1 << 20, 1 << 20, 3 * time.Second, 6 << 20},
		{"large writes, scale 10", 1 << 20, 1 << 20, 3 * time.Second, 32 << 20},
		{"read in bits", 1 << 20, 7000, 10 * time.Millisecond, 6 << 20},
		{"read in bits, scale 10", 1 << 20, 7000, 10 * time.Millisecond, 32 << 20},
		{"written in bits", 1000, 1 << 20, time.Second, 6 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				cfg := Config{TCPReceive: Buffer{4096, 131072, tt.max}}
				cfg.Name = "a"
				a := n.host(cfg)
				cfg.Name = "b"
				b := n.host(cfg)
				n.join(a, "eth0", "10.0.0.1/24", b, "eth0", "10.0.0.2/24", link.WireConfig{Latency: time.Millisecond})
				c, s := connect(n, a, b, "10.0.0.2:80")
				rec := n.record(a.Device("eth0"))
				const total = 1 << 20
				n.drv.Go(func() {
					for left := total; left > 0; left -= tt.write {
						c.Write(make([]byte, min(left, tt.write)))
						n.wait(0)
					}
				})
				for left := total; left > 0; {
					n.wait(tt.pause)
					m, err := s.Read(make([]byte, tt.read))
					n.try(err)
					left -= m
				}
				next, sent := uint32(0), rec.sent()
				for i, ip := range sent {
					seg := ip.payload()
					data := uint32(len(seg)) - uint32(seg[12]>>4)*4
					seq := binary.BigEndian.Uint32(seg[4:])
					if data > 1 && i > 0 && seq != next { // one byte is the probe of a closed window
						t.Errorf("segment %d of %d begins %d bytes from where the one before ended", i, len(sent), int32(seq-next))
						break
					}
					next = seq + data
				}
				c.Close()
				s.Close()
			})
		})
	}
}

// TestWindowRule are the steps of __tcp_select_window, one by one.
func TestWindowRule(t *testing.T) {
	type step struct {
		ack  uint32
		own  uint16 // gVisor's, scaled
		want uint16
	}
	const mss, all = 1410, 1<<32 - 1
	for _, tt := range []struct {
		name  string
		scale uint8
		clamp uint32
		steps []step
	}{
		{"first window, not yet grown", 10, all, []step{{1, 27, 64}, {6, 26, 64}}},
		{"never less than was offered", 7, all, []step{{1, 512, 507}, {41, 400, 507}}},
		{"zero is zero", 7, all, []step{{1, 220, 507}, {20000, 0, 0}, {20000, 100, 100}}},
		{"grows with data", 7, all, []step{{1, 512, 507}, {1 + mss, 600, 529}, {1 + 3*mss, 1000, 573}}},
		{"up to half of the buffer before a large segment", 7, 65536, []step{{1, 512, 507}, {201, 600, 512}, {401, 1000, 512}}},
		{"not with small segments", 7, all, []step{{1, 512, 507}, {101, 600, 507}, {201, 600, 507}}},
		{"after the first flight gVisor has the word", 7, all, []step{{1, 220, 507}, {1 + 10*mss, 110, 110}}},
		{"a step back", 7, all, []step{{1000, 512, 507}, {900, 512, 508}}},
	} {
		w := rcvWindow{on: true, mss: mss, scale: tt.scale, unscaled: 64860, thresh: 64860, clamp: tt.clamp, room: 65536 + 2<<tt.scale}
		for i, s := range tt.steps {
			equal(t, fmt.Sprint(tt.name, ", step ", i+1), w.offer(s.ack, s.own), s.want)
		}
	}
	var none rcvWindow
	equal(t, "no SYN was seen", none.offer(1, 77), 77)
}

// FuzzWindow: whatever a peer and gVisor do, no more is offered than gVisor
// accepts, but for the first flight, and no less than before if gVisor does.
func FuzzWindow(f *testing.F) {
	f.Add(uint8(10), uint16(1410), []byte{0, 0, 27, 0, 5, 26, 5, 130, 64})
	f.Add(uint8(7), uint16(1460), []byte{0xff, 0xff, 0xff, 0, 1, 0, 0x80, 0, 1})
	f.Fuzz(func(t *testing.T, scale uint8, mss uint16, moves []byte) {
		scale %= 15
		w := rcvWindow{on: true, mss: uint32(mss), scale: scale, unscaled: 64000, thresh: 64000, room: 70000}
		ack := uint32(1<<32 - 5)
		edge := ack + 64000
		for ; len(moves) >= 3; moves = moves[3:] {
			ack += uint32(moves[0])<<8 | uint32(moves[1])
			own := uint16(moves[2]) << 4
			early := w.left > 0 || !w.began
			got := w.offer(ack, own)
			offered, limit := uint32(got)<<scale, uint32(own)<<scale
			if offered > limit && !(early && int64(offered) <= int64(w.room)) {
				t.Fatalf("offered %d bytes where gVisor accepts %d", offered, limit)
			}
			if open := int32(edge - ack); open > 0 && int64(limit) >= int64(open)+1<<scale && int64(offered) < int64(open) && got < 65535 {
				t.Fatalf("offered %d bytes, %d were still open, gVisor accepts %d", offered, open, limit)
			}
			if e := ack + offered; int32(e-edge) > 0 {
				edge = e
			}
		}
	})
}
