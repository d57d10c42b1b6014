package stack

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestHandshakeLooksLikeLinux is the SYN and SYN-ACK of a Linux host, by MTU.
func TestHandshakeLooksLikeLinux(t *testing.T) {
	tests := []struct{ mtu, mss, syn, synAck int }{
		{1500, 1460, 64240, 65160},
		{1450, 1410, 64860, 64308},
		{1400, 1360, 65280, 64704},
		{9000, 8960, 62720, 62636},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint("MTU ", tt.mtu), func(t *testing.T) {
			inBubble(t, func(n *network) {
				a, b := n.pair(link.WireConfig{MTU: tt.mtu})
				recA, recB := n.record(a.Device("eth0")), n.record(b.Device("eth0"))
				c, s := connect(n, a, b, "10.0.0.2:80")
				defer c.Close()
				defer s.Close()
				syn, synAck := recA.sent()[0], recB.sent()[0]
				wantSYN(t, syn, tcpSYN, tt.mss, tt.syn)
				wantSYN(t, synAck, tcpSYN|tcpACK, tt.mss, tt.synAck)
				equal(t, "identification of the SYN is 0", syn.id() == 0, false)
				equal(t, "identification of the SYN-ACK", synAck.id(), 0)
			})
		})
	}
}

func wantSYN(t *testing.T, ip ipv4, flags byte, mss, window int) {
	t.Helper()
	name := tcpFlags(flags)
	seg := ip.payload()
	equal(t, name+" DF", ip.dontFragment(), true)
	equal(t, name+" TTL", ip.ttl(), 64)
	equal(t, name+" TOS", ip.tos(), 0)
	equal(t, name+" flags", seg[13], flags)
	equal(t, name+" data offset", seg[12]>>4, 10)
	equal(t, name+" window", int(binary.BigEndian.Uint16(seg[14:])), window)
	// MSS, SACK permitted, timestamps, NOP, window scale 7.
	opts := seg[20:]
	equal(t, name+" MSS", fmt.Sprintf("%x", opts[:4]), fmt.Sprintf("0204%04x", mss))
	equal(t, name+" SACK permitted and timestamps", fmt.Sprintf("%x", opts[4:8]), "0402080a")
	echo := binary.BigEndian.Uint32(opts[12:])
	equal(t, name+" echoes a timestamp", echo != 0, flags&tcpACK != 0)
	equal(t, name+" window scale", fmt.Sprintf("%x", opts[16:20]), "01030307")
	wantTCPSum(t, ip)
}

// wantTCPSum checks the checksum of a segment.
func wantTCPSum(t *testing.T, ip ipv4) {
	t.Helper()
	seg := append([]byte(nil), ip.payload()...)
	if sumTCP(seg, ip) != binary.BigEndian.Uint16(ip.payload()[16:]) {
		t.Errorf("%s: wrong checksum", describeIP(ip))
	}
	if _, ok := ip.valid(); !ok {
		t.Errorf("%s: invalid header", describeIP(ip))
	}
}

func sumTCP(seg []byte, ip ipv4) uint16 {
	seg[16], seg[17] = 0, 0
	sum := uint32(pseudoSum(ip.src(), ip.dst(), protoTCP, len(seg)))
	for i, b := range seg {
		sum += uint32(b) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func TestIdentificationCountsPerSocket(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		rec := n.record(a.Device("eth0"))
		c, s := connect(n, a, b, "10.0.0.2:80")
		defer s.Close()
		for range 5 {
			c.Write([]byte("x"))
			n.wait(0)
		}
		c.Close()
		n.wait(0)
		sent := rec.sent()
		for i, ip := range sent {
			equal(t, "identification of "+describeIP(ip), ip.id(), sent[0].id()+uint16(i))
			equal(t, "DF of "+describeIP(ip), ip.dontFragment(), true)
			wantTCPSum(t, ip)
			if seg := ip.payload(); seg[13]&tcpSYN == 0 {
				equal(t, "options of "+describeIP(ip), fmt.Sprintf("%x", seg[20:24]), "0101080a")
			}
		}
		if len(sent) < 8 {
			t.Errorf("%d packets, want SYN, ACK, 5 of data and FIN", len(sent))
		}
	})
}

// TestIdentificationIsNeverZero: 0 is for SYN-ACK and RST alone.
func TestIdentificationIsNeverZero(t *testing.T) {
	var f flow
	f.id = 0xfffd
	for _, want := range []uint16{0xfffe, 0xffff, 1, 2} {
		equal(t, "next identification", f.next(), want)
	}
	inBubble(t, func(n *network) {
		h := n.host(Config{Name: "h"})
		seen := make(map[uint16]int)
		for range 3 << 16 {
			id := h.nextID(addr("10.0.0.1"), addr("10.0.0.2"), protoICMP)
			seen[id]++
		}
		equal(t, "zeros", seen[0], 0)
		if len(seen) != 1<<16-1 {
			t.Errorf("%d identifications in use, want 65535", len(seen))
		}
	})
}

// TestIdentificationMovesWithTime: by one within a clock tick, and by less than
// the ticks that have passed besides.
func TestIdentificationMovesWithTime(t *testing.T) {
	inBubble(t, func(n *network) {
		h := n.host(Config{Name: "h"})
		next := func() (id uint16) {
			n.do(func() { id = h.nextID(addr("10.0.0.1"), addr("10.0.0.2"), protoICMP) })
			return id
		}
		n.wait(time.Hour)
		last, moved := next(), 0
		for range 100 {
			equal(t, "at once", next(), last+1)
			n.wait(400 * time.Millisecond) // 100 ticks
			id := next()
			if step := id - last; step < 2 || step > 101 {
				t.Errorf("step after 100 ticks and one other packet: got %d, want 2 to 101", step)
			}
			moved += int(id - last)
			last = id
		}
		if moved < 100*30 || moved > 100*70 { // about half of the ticks
			t.Errorf("%d in 10000 ticks, want about 5200", moved)
		}
	})
}

func TestDatagramFromSocket(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		rec := n.record(a.Device("eth0"))
		s, err := b.ListenPacket("udp", ":53")
		n.try(err)
		c, err := a.Dial("udp", "10.0.0.2:53")
		n.try(err)
		for range 3 {
			c.Write([]byte("q"))
		}
		c.Write(make([]byte, 3000))
		n.wait(0)
		sent := rec.sent()
		equal(t, "packets", len(sent), 6)
		for i, ip := range sent[:3] {
			equal(t, "identification", ip.id(), sent[0].id()+uint16(i))
			equal(t, "DF", ip.dontFragment(), true)
		}
		for _, ip := range sent[3:] {
			equal(t, "fragments share an identification", ip.id(), sent[3].id())
			equal(t, "DF of a fragment", ip.dontFragment(), false)
			equal(t, "is a fragment", ip.fragment(), true)
		}
		equal(t, "identification is 0", sent[3].id() == 0, false)
		buf := make([]byte, 4000)
		for _, want := range []int{1, 1, 1, 3000} {
			got, _, err := s.ReadFrom(buf)
			if err != nil || got != want {
				t.Errorf("received %d bytes, %v, want %d", got, err, want)
			}
		}
	})
}

// TestReset is tcp_v4_send_reset: what it answers, and with what.
func TestReset(t *testing.T) {
	tests := []struct {
		name     string
		flags    byte
		seq, ack uint32
		payload  int
		want     string // flags, sequence, acknowledgement
	}{
		{"SYN", tcpSYN, 1000, 0, 0, "RA 0 1001"},
		{"SYN with data", tcpSYN, 1000, 0, 10, "RA 0 1011"},
		{"FIN", tcpFIN, 1000, 0, 0, "RA 0 1001"},
		{"SYN and FIN", tcpSYN | tcpFIN, 1000, 0, 0, "RA 0 1002"},
		{"nothing", 0, 1000, 0, 5, "RA 0 1005"},
		{"ACK", tcpACK, 1000, 77, 0, "R 77 0"},
		{"SYN-ACK", tcpSYN | tcpACK, 1000, 77, 0, "R 77 0"},
		{"wrapped", tcpSYN, 1<<32 - 1, 0, 0, "RA 0 0"},
		{"RST", tcpRST, 1000, 0, 0, ""},
		{"RST and ACK", tcpRST | tcpACK, 1000, 77, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				_, d, s := host1(n, Config{Name: "a"})
				pkt := tcpPacket("10.0.0.2:1234", "10.0.0.1:80", tt.flags, tt.seq, tt.ack, make([]byte, tt.payload))
				pkt[1] = 0x10
				ipv4(pkt).fixChecksum()
				s.sendIP(d, pkt)
				got := s.take()
				if tt.want == "" {
					equal(t, "answers", len(got), 0)
					return
				}
				if len(got) != 1 {
					n.Fatalf("answers: got %v, want one", got)
				}
				ip := got[0].ip()
				seg := ip.payload()
				equal(t, "reset", fmt.Sprintf("%s %d %d", tcpFlags(seg[13]), binary.BigEndian.Uint32(seg[4:]), binary.BigEndian.Uint32(seg[8:])), tt.want)
				equal(t, "frame length", len(got[0].b), 54)
				equal(t, "identification", ip.id(), 0)
				equal(t, "DF", ip.dontFragment(), true)
				equal(t, "TOS", ip.tos(), 0)
				equal(t, "window", binary.BigEndian.Uint16(seg[14:]), 0)
				sp, dp, _ := ip.ports()
				equal(t, "ports", fmt.Sprint(sp, dp), "80 1234")
				wantTCPSum(t, ip)
			})
		})
	}
}

func TestMSSOption(t *testing.T) {
	seg := func(opts ...byte) []byte {
		for len(opts)%4 != 0 {
			opts = append(opts, 0)
		}
		b := append(make([]byte, 20), opts...)
		b[12] = byte(len(b)/4) << 4
		return b
	}
	cut := seg(2, 4, 5, 180)[:22]
	tests := []struct {
		name string
		seg  []byte
		want int
	}{
		{"none", seg(), 0},
		{"first", seg(2, 4, 5, 180), 1460},
		{"after others", seg(4, 2, 1, 1, 2, 4, 5, 180), 1460},
		{"after the end", seg(0, 2, 4, 5, 180), 0},
		{"wrong length", seg(2, 3, 5, 1), 0},
		{"length 0", seg(8, 0, 2, 4), 0},
		{"length beyond the end", seg(8, 10, 2, 4), 0},
		{"kind alone", seg(1, 1, 1, 2), 0},
		{"segment cut", cut, 0},
	}
	for _, tt := range tests {
		equal(t, tt.name, mssOption(tt.seg), tt.want)
	}
}

func FuzzMSSOption(f *testing.F) {
	f.Add(append(make([]byte, 12), 0x60, 2, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180))
	f.Add(append(make([]byte, 12), 0xf0, 2, 0, 0, 0, 0, 0, 0, 8, 0))
	f.Fuzz(func(t *testing.T, seg []byte) {
		if len(seg) < 20 || int(seg[12]>>4) < 5 {
			return // what receiveTCP and gVisor do not let through
		}
		if mss := mssOption(seg); mss < 0 || mss > 65535 {
			t.Errorf("%x: MSS %d", seg, mss)
		}
	})
}
