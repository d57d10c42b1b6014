package stack

import (
	"encoding/binary"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// A forger sends TCP segments in the attacker's name. It knows where the node's
// sequence numbers are, so that what it forges gets past the first doors: a
// fuzzer alone would guess a window once in years.
type forger struct {
	s     *siege
	next  [4]uint32 // our next sequence number, by connection
	acked [4]uint32 // the node's next one
}

// watch reads what the node sends to the attacker.
func (x *forger) watch(ip ipv4) {
	if ip.proto() != protoTCP || ip.fragment() || len(ip.payload()) < 20 {
		return
	}
	seg := ip.payload()
	conn := int(binary.BigEndian.Uint16(seg[2:])) - forgedPort
	if conn < 0 || conn >= len(x.acked) {
		return
	}
	length := uint32(len(seg) - int(seg[12]>>4)*4)
	if seg[13]&(tcpSYN|tcpFIN) != 0 {
		length++
	}
	x.acked[conn] = binary.BigEndian.Uint32(seg[4:]) + length
}

// forgedPort is the first of the attacker's ports.
const forgedPort = 1000

// forgedTo is where segments go: a listener, one behind REDIRECT, one behind
// DNAT, a port that is rejected.
var forgedTo = [4]struct {
	addr string
	port uint16
}{{"10.0.0.1", 80}, {"10.0.0.1", 81}, {"10.96.0.10", 80}, {"10.0.0.1", 82}}

// forgedSize is the length of the fixed part of a forged segment:
//
//	0  flags
//	1  bits 0-1 connection, 2-3 destination, 4 the data offset is the option byte,
//	   5 wrong checksum, 6 in fragments, 7 afterwards a second passes
//	2  signed distance from the right sequence number
//	3  signed distance from the right acknowledgement
//	4  window divided by 256
//	5  number of option bytes that follow, at most 40
//	6  length of the payload divided by 8
const forgedSize = 7

// forge sends one segment and returns what is left of the script.
func (x *forger) forge(b []byte) []byte {
	c, rest := b[:forgedSize], b[forgedSize:]
	options := rest[:min(int(c[5]), 40, len(rest))]
	rest = rest[len(options):]
	conn, to := c[1]&3, forgedTo[c[1]>>2&3]
	header := 20 + (len(options)+3)&^3
	seg := make([]byte, header+int(c[6])*8)
	copy(seg[20:], options)
	seq := x.next[conn] + uint32(int8(c[2]))
	binary.BigEndian.PutUint16(seg, forgedPort+uint16(conn))
	binary.BigEndian.PutUint16(seg[2:], to.port)
	binary.BigEndian.PutUint32(seg[4:], seq)
	binary.BigEndian.PutUint32(seg[8:], x.acked[conn]+uint32(int8(c[3])))
	seg[12], seg[13] = byte(header/4)<<4, c[0]
	if c[1]&0x10 != 0 && len(options) > 0 {
		seg[12] = options[0]
	}
	binary.BigEndian.PutUint16(seg[14:], uint16(c[4])<<8)
	pkt := ipv4(ipPacket(between(attacker, to.addr, protoTCP), seg))
	seg = pkt.payload()
	binary.BigEndian.PutUint16(seg[16:], ^checksum.Checksum(seg, pseudoSum(pkt.src(), pkt.dst(), protoTCP, len(seg))))
	if c[1]&0x20 != 0 {
		seg[16]++
	}
	if c[2] == 0 { // in order: the next one follows
		x.next[conn] += uint32(c[6]) * 8
		if c[0]&(tcpSYN|tcpFIN) != 0 {
			x.next[conn]++
		}
	}
	x.send(pkt, c[1])
	return rest
}

func (x *forger) send(pkt ipv4, control byte) {
	list := [][]byte{pkt}
	if control&0x40 != 0 {
		list = pieces(pkt, 68)
	}
	for _, p := range list {
		x.s.attack(x.s.doors[0], x.s.doors[0].wrap(0, etherIPv4, p))
	}
	x.s.wait(time.Duration(control>>7) * time.Second)
}

// FuzzTCP: segments into listeners and connections, in and out of order.
func FuzzTCP(f *testing.F) {
	const (
		window    = 0xff
		noOptions = 0
		redirect  = 1 << 2
		dnat      = 2 << 2
		reject    = 3 << 2
		cut       = 1 << 6
		wait      = 1 << 7
	)
	mss := []byte{2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7} // as Linux' SYN has them
	syn := func(control byte) []byte {
		return append([]byte{tcpSYN, control, 0, 0, window, byte(len(mss)), 0}, mss...)
	}
	plain := func(flags, control byte, seq, ack int8, payload byte) []byte {
		return []byte{flags, control, byte(seq), byte(ack), window, noOptions, payload}
	}
	join := func(list ...[]byte) (all []byte) {
		for _, b := range list {
			all = append(all, b...)
		}
		return all
	}
	for _, control := range []byte{0, redirect, dnat, reject, cut, wait} {
		f.Add(join(syn(control), plain(tcpACK, control, 0, 0, 0), // a handshake, data, its echo acknowledged, the end
			plain(tcpACK, control, 0, 0, 10), plain(tcpACK|tcpFIN, control, 0, 0, 0), plain(tcpACK, control, 0, 0, 0)))
	}
	f.Add(join(syn(0), syn(1), syn(2), syn(3), plain(tcpRST, 0, 0, 0, 0), plain(tcpRST, 1, 1, 0, 0))) // half-open ones, and resets
	f.Add(join(syn(0), plain(tcpACK, 0, 0, 0, 0), plain(tcpACK, 0, 80, 0, 10),                        // a hole in the data
		plain(tcpACK, 0, 40, 0, 10), plain(tcpACK, 0, -40, 0, 10), plain(tcpACK, 0, 0, 0, 10))) // overlaps, then the hole is filled
	f.Add(join(syn(0), plain(tcpACK, 0, 0, 100, 0), plain(tcpACK, 0, 0, -100, 0)))          // acknowledges what was not sent
	f.Add(join(syn(0), plain(tcpACK, 0, 0, 0, 0), syn(0), plain(tcpSYN|tcpFIN, 0, 0, 0, 0), // a SYN on a connection, both flags
		plain(0, 0, 0, 0, 0), plain(0xff, 0, 0, 0, 0))) // no flags, all flags
	f.Add(join([]byte{tcpSYN, 0x10, 0, 0, window, 4, 0, 0x40, 0, 0, 0}, // data offset 16 bytes
		[]byte{tcpSYN, 0x10, 0, 0, window, 4, 0, 0xf0, 0, 0, 0},           // beyond the segment
		[]byte{tcpSYN, 0, 0, 0, window, 4, 0, 2, 40, 5, 0xb4},             // an option beyond the header
		[]byte{tcpSYN, 0, 0, 0, window, 4, 0, 2, 0, 5, 0xb4},              // an option of length 0
		[]byte{tcpSYN, 0, 0, 0, 0, 4, 0, 2, 4, 0, 0},                      // MSS 0 and a closed window
		[]byte{tcpACK, 0, 0, 0, 0, 12, 0, 1, 1, 5, 10, 0, 0, 0, 9, 0, 0})) // SACK of nothing
	f.Add(join(syn(0x20), plain(tcpACK|tcpRST, 0x20, 0, 0, 0))) // wrong checksums
	f.Fuzz(func(t *testing.T, script []byte) {
		besiege(t, func(s *siege) {
			x := &forger{s: s}
			for i := range x.next {
				x.next[i] = 1 << 31
			}
			s.doors[0].sent = x.watch
			for n := 0; len(script) >= forgedSize && n < maxPlot; n++ {
				script = x.forge(script)
			}
		})
	})
}

// TestForgerGetsThrough: the sequence numbers of the fuzz target are right, so
// that what it sends reaches connections and is not only refused at the door.
func TestForgerGetsThrough(t *testing.T) {
	for to, name := range []string{"listener", "redirected", "translated"} {
		t.Run(name, func(t *testing.T) {
			besiege(t, func(s *siege) {
				x, echoed := &forger{s: s}, 0
				s.doors[0].sent = func(ip ipv4) {
					x.watch(ip)
					if seg := ip.payload(); ip.proto() == protoTCP {
						echoed += len(seg) - int(seg[12]>>4)*4
					}
				}
				control := byte(to << 2)
				x.forge([]byte{tcpSYN, control, 0, 0, 255, 0, 0})
				x.forge([]byte{tcpACK, control, 0, 0, 255, 0, 0})
				x.forge([]byte{tcpACK, control, 0, 0, 255, 0, 10})
				s.wait(time.Second)
				equal(t, "bytes that the server echoed, at least", min(echoed, 80), 80)
			})
		})
	}
}
