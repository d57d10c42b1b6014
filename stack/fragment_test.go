package stack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestFragmentSizes: what a router makes of a packet that is too large.
func TestFragmentSizes(t *testing.T) {
	tests := []struct {
		total, mtu int
		want       string // total length, offset and MF of each piece
	}{
		{1500, 1450, "1444@0+ 76@1424"},
		{4028, 1450, "1444@0+ 1444@1424+ 1180@2848"},
		{1450, 1450, "1450@0"},
		{1451, 1450, "1444@0+ 27@1424"},
		{1500, 1480, "1476@0+ 44@1456"},
		{100, 68, "68@0+ 52@48"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.total, " over ", tt.mtu), func(t *testing.T) {
			inBubble(t, func(n *network) {
				r, left, right := router(n, tt.mtu)
				n.do(func() { r.Device("eth0").MTU = 9000 })
				h := between("10.0.1.2", "10.0.2.2", 0)
				h.id, h.tos = 0x4711, 0x20
				pkt := ipv4(echoPacket(h, 1, tt.total-28))
				left.sendIP(r.Device("eth0"), pkt)
				var got string
				var body []byte
				for _, s := range right.take() {
					ip := s.ip()
					if total, ok := ip.valid(); !ok || total != len(ip) {
						t.Errorf("piece %x is not valid", ip)
					}
					got += fmt.Sprintf(" %d@%d", len(ip), ip.flags()&fragOffset*8)
					if ip.flags()&flagMF != 0 {
						got += "+"
					}
					equal(t, "identification", ip.id(), 0x4711)
					equal(t, "TTL", ip.ttl(), 63)
					equal(t, "TOS", ip.tos(), 0x20)
					body = append(body, ip.payload()...)
				}
				equal(t, "pieces", got, " "+tt.want)
				if !bytes.Equal(body, pkt.payload()) {
					t.Error("the pieces do not add up to the packet")
				}
			})
		})
	}
}

// TestFragmentOfFragment: a piece that is cut again keeps its place, and only
// the last piece of the last one ends the datagram.
func TestFragmentOfFragment(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, right := router(n, 600)
		pkt := ipv4(echoPacket(between("10.0.1.2", "10.0.2.2", 0), 1, 2000))
		for _, p := range pieces(pkt, 1450) {
			left.sendIP(r.Device("eth0"), p)
		}
		var got []string
		for _, s := range right.take() {
			ip := s.ip()
			got = append(got, fmt.Sprintf("%d@%d %v", len(ip), ip.flags()&fragOffset*8, ip.flags()&flagMF != 0))
		}
		n.want("pieces", got, "596@0 true", "596@576 true", "292@1152 true", "596@1424 true", "28@2000 false")
	})
}

// TestReassembly: whatever the order, the whole datagram arrives once.
func TestReassembly(t *testing.T) {
	orders := map[string]func(p [][]byte){
		"in order":  func([][]byte) {},
		"reversed":  func(p [][]byte) { slices.Reverse(p) },
		"last twin": func(p [][]byte) { p[0], p[len(p)-1] = p[len(p)-1], p[0] },
		"shuffled": func(p [][]byte) {
			rand.New(rand.NewPCG(3, 4)).Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				h, d, s := host1(n, Config{Name: "a"})
				n.do(func() { d.MTU = 9000 })
				req := ipv4(echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 7001))
				list := pieces(req, 1500)
				order(list)
				for i, p := range list {
					equal(t, "answers before the last piece", len(s.take()), 0)
					s.sendIP(d, p)
					if i < len(list)-1 {
						s.sendIP(d, p) // a duplicate does no harm
					}
				}
				got := s.take()
				if len(got) != 1 || !bytes.Equal(got[0].ip().payload()[4:], req.payload()[4:]) {
					n.Fatalf("answers: got %v, want one with all 7001 bytes", got)
				}
				equal(t, "memory still charged", h.frags.bytes, 0)
				equal(t, "datagrams still waiting", len(h.frags.queues), 0)
			})
		})
	}
}

func TestBadFragments(t *testing.T) {
	piece := func(off, size int, more bool) []byte {
		h := between("10.0.0.2", "10.0.0.1", protoICMP)
		h.flags = uint16(off / 8)
		if more {
			h.flags |= flagMF
		}
		return ipPacket(h, make([]byte, size))
	}
	tests := []struct {
		name   string
		pieces [][]byte
		left   int // datagrams that wait afterwards
	}{
		{"overlap", [][]byte{piece(0, 16, true), piece(8, 16, true)}, 0},
		{"overlap from below", [][]byte{piece(8, 16, true), piece(0, 16, true)}, 0},
		{"two ends", [][]byte{piece(16, 8, false), piece(24, 8, false)}, 0},
		{"beyond the end", [][]byte{piece(16, 8, false), piece(24, 8, true)}, 0},
		{"end before what has come", [][]byte{piece(24, 8, true), piece(8, 8, false)}, 0},
		{"length not a multiple of 8", [][]byte{piece(0, 15, true)}, 0},
		{"empty", [][]byte{piece(8, 0, false)}, 0},
		{"beyond 65535", [][]byte{piece(65528, 16, false)}, 0},
		{"duplicate", [][]byte{piece(0, 16, true), piece(0, 16, true)}, 1},
		{"part of what has come", [][]byte{piece(0, 32, true), piece(8, 8, true)}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				h, d, s := host1(n, Config{Name: "a"})
				for _, p := range tt.pieces {
					s.sendIP(d, p)
				}
				equal(t, "dropped", d.Point().Drops(DropFragment), 1)
				equal(t, "waiting", len(h.frags.queues), tt.left)
				n.wait(time.Minute)
				equal(t, "memory charged afterwards", h.frags.bytes, 0)
			})
		})
	}
}

// TestReassemblyTooLong: the first piece has options, the last has not, and
// the whole would be longer than IPv4 allows.
func TestReassemblyTooLong(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := host1(n, Config{Name: "a"})
		n.do(func() { d.MTU = 65535 })
		first := make(ipv4, 60+32)
		hdr := between("10.0.0.2", "10.0.0.1", protoUDP)
		hdr.id, hdr.ttl, hdr.flags = 1, 64, flagMF
		hdr.put(first, len(first))
		first[0] = 0x4f
		first.fixChecksum()
		s.sendIP(d, first)
		at := 32
		for at < 65500 {
			size := min(1480, 65512-at)
			hdr.flags = uint16(at/8) | flagMF
			if at += size; at == 65512 {
				hdr.flags &^= flagMF
			}
			s.sendIP(d, ipPacket(hdr, make([]byte, size)))
		}
		equal(t, "dropped", d.Point().Drops(DropFragment), 1)
		equal(t, "waiting", len(h.frags.queues), 0)
	})
}

func TestReassemblyTimesOut(t *testing.T) {
	inBubble(t, func(n *network) {
		h, d, s := host1(n, Config{Name: "a"})
		list := pieces(echoPacket(between("10.0.0.2", "10.0.0.1", 0), 1, 4000), 1500)
		s.sendIP(d, list[1])
		n.wait(29 * time.Second)
		s.sendIP(d, list[0])
		equal(t, "answers", len(s.take()), 0)
		n.wait(time.Second)
		got := s.take()
		if len(got) != 1 {
			n.Fatalf("after 30 s: got %v, want one error", got)
		}
		equal(t, "time", got[0].at, 30*time.Second)
		typ, code, _, quoted := quoteOf(t, got[0].ip())
		equal(t, "error", fmt.Sprint(typ, code), "11 1")
		if !bytes.Equal(quoted, list[0][:548]) {
			t.Errorf("quoted %x, want the first piece", quoted[:40])
		}
		equal(t, "memory charged", h.frags.bytes, 0)
		s.sendIP(d, list[1]) // without the first piece nobody is told
		n.wait(time.Minute)
		equal(t, "errors without the first piece", len(s.take()), 0)
	})
}

// TestReassemblyMemory: a flood of first or of far-away pieces is bounded by
// what it really costs.
func TestReassemblyMemory(t *testing.T) {
	for _, off := range []int{0, 65000} {
		t.Run(fmt.Sprint("offset ", off), func(t *testing.T) {
			inBubble(t, func(n *network) {
				h, d, s := host1(n, Config{Name: "a"})
				hdr := between("10.0.0.2", "10.0.0.1", protoUDP)
				hdr.flags = uint16(off/8) | flagMF
				for id := range 12000 {
					hdr.id = uint16(id + 1)
					pkt := ipPacket(hdr, make([]byte, 8))
					n.do(func() {
						f := n.drv.NewFrame(link.EthernetHeader + len(pkt))
						copy(f.Bytes(), frame(d.MAC, s.mac, etherIPv4, pkt))
						d.Receive(f)
					})
				}
				held := 0
				for _, q := range h.frags.queues {
					held += cap(q.data) + cap(q.have)
				}
				if held > maxFragBytes*3/2 || len(h.frags.queues)*fragCost > maxFragBytes {
					t.Errorf("%d datagrams hold %d bytes, want no more than %d", len(h.frags.queues), held, maxFragBytes)
				}
				if d.Point().Drops(DropFragment) == 0 {
					t.Error("nothing was refused")
				}
			})
		})
	}
}

// FuzzReassembly: sequences of pieces, of one datagram or several, to the node
// and through it. Six bytes make a piece:
//
//	0  offset in steps of 8 bytes, low byte
//	1  bits 0-4 the rest of it, bit 5 more follow, bit 6 40 bytes of options,
//	   bit 7 it comes by the bridge
//	2  length of the payload divided by 8
//	3  bits 0-1 to whom, see plotAddrs, 2-3 identification, 4 UDP, 5-7 bytes more
//	4  the byte that the payload is made of
//	5  how long to wait afterwards, in eighths of a second, if above 0x80
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{0, 0x20, 2, 0, 8, 0, 2, 0, 2, 0, 0, 0})                       // two pieces, in order
	f.Add([]byte{2, 0, 2, 0, 0, 0, 0, 0x20, 2, 0, 8, 0})                       // reversed
	f.Add([]byte{0, 0x20, 4, 0, 8, 0, 2, 0x20, 4, 0, 1, 0, 6, 0, 1, 0, 0, 0})  // overlap
	f.Add([]byte{0, 0x20, 2, 1, 8, 0, 2, 0, 2, 1, 0, 0})                       // through the node
	f.Add([]byte{0, 0xa0, 2, 2, 8, 0, 2, 0x80, 2, 2, 0, 0})                    // over the bridge
	f.Add([]byte{0, 0x60, 2, 0, 8, 0, 0xfe, 0x1f, 1, 0, 0, 0, 2, 0, 2, 0, 0})  // options, and beyond 65535 bytes
	f.Add([]byte{0, 0x20, 2, 0, 8, 0xff, 0, 0x20, 2, 4, 8, 0xff, 2, 0, 2, 0})  // two of them, 16 s apart
	f.Add([]byte{0, 0x20, 1, 0x10, 53, 0, 1, 0x20, 1, 0x14, 1, 0, 1, 0, 1, 0}) // never complete
	f.Fuzz(func(t *testing.T, script []byte) {
		besiege(t, func(s *siege) {
			for n := 0; len(script) >= 6 && n < 4*maxPlot; n, script = n+1, script[6:] {
				s.attack(s.doors[script[1]>>7], s.doors[script[1]>>7].wrap(0, etherIPv4, scriptedPiece([6]byte(script))))
				s.wait(time.Duration(max(0, int(script[5])-0x80)) * time.Second / 8)
			}
			for _, q := range s.node.frags.queues {
				if q.got > len(q.data) || q.total >= 0 && len(q.data) > q.total {
					t.Errorf("datagram of %d bytes, %d came, %d kept", q.total, q.got, len(q.data))
				}
			}
		})
	})
}

// scriptedPiece is the piece of a datagram that six bytes describe.
func scriptedPiece(c [6]byte) []byte {
	ends := plotAddrs[c[3]&3]
	hdr := between(ends.src, ends.dst, protoICMP)
	if c[3]&0x10 != 0 {
		hdr.proto = protoUDP
	}
	hdr.id = 1 + uint16(c[3]>>2&3)
	hdr.flags = uint16(c[1]&0x1f)<<8 | uint16(c[0])
	if c[1]&0x20 != 0 {
		hdr.flags |= flagMF
	}
	body := bytes.Repeat([]byte{c[4]}, min(int(c[2])*8+int(c[3]>>5), 1400))
	pkt := ipPacket(hdr, body)
	if c[1]&0x40 != 0 {
		pkt = append(pkt[:20:20], append(make([]byte, 40), body...)...)
		pkt[0] = 0x4f
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
		ipv4(pkt).fixChecksum()
	}
	return pkt
}
