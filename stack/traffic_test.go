package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/podwire/podwire/link"
)

// ecnFrame is a UDP packet in an Ethernet frame.
func ecnFrame(src, dst string, sport, dport uint16, tos byte) []byte {
	b := make([]byte, link.EthernetHeader+28)
	link.PutEthernet(b, link.LocalMAC(1), link.LocalMAC(2), 0x0800)
	ip := b[link.EthernetHeader:]
	ip[0], ip[1], ip[3], ip[8], ip[9] = 0x45, tos, 28, 64, 17
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(ip[12:], s[:])
	copy(ip[16:], d[:])
	binary.BigEndian.PutUint16(ip[10:], headerSum(ip[:20]))
	binary.BigEndian.PutUint16(ip[20:], sport)
	binary.BigEndian.PutUint16(ip[22:], dport)
	return b
}

// headerSum is the checksum of RFC 791 §3.1, written out.
func headerSum(ip []byte) uint16 {
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func TestTrafficMarksOnlyWhatUnderstandsECN(t *testing.T) {
	for tos, want := range map[byte]struct {
		marked bool
		tos    byte
	}{0x00: {false, 0x00}, 0x01: {true, 0x03}, 0x02: {true, 0x03}, 0x03: {true, 0x03}, 0xb8: {false, 0xb8}, 0xba: {true, 0xbb}} {
		b := ecnFrame("10.0.0.1", "10.0.0.2", 1, 2, tos)
		if got := (Traffic{}).MarkCongestion(b); got != want.marked {
			t.Errorf("TOS %#x: marked %v, want %v", tos, got, want.marked)
		}
		ip := b[link.EthernetHeader:]
		if ip[1] != want.tos || headerSum(ip[:20]) != 0 {
			t.Errorf("TOS %#x: got %#x with checksum off by %#x, want %#x", tos, ip[1], headerSum(ip[:20]), want.tos)
		}
	}
	arp := make([]byte, 42)
	link.PutEthernet(arp, link.LocalMAC(1), link.LocalMAC(2), 0x0806)
	for _, b := range [][]byte{nil, arp, arp[:13]} {
		if (Traffic{}).MarkCongestion(b) {
			t.Errorf("marked %x", b)
		}
	}
}

func TestTrafficTellsFlowsApart(t *testing.T) {
	hash := func(b []byte) uint32 { return Traffic{}.FlowHash(b) }
	base := ecnFrame("10.0.0.1", "10.0.0.2", 1000, 80, 0)
	if again := ecnFrame("10.0.0.1", "10.0.0.2", 1000, 80, 3); hash(again) != hash(base) {
		t.Error("a mark makes another flow")
	}
	for name, other := range map[string][]byte{
		"source":           ecnFrame("10.0.0.3", "10.0.0.2", 1000, 80, 0),
		"destination":      ecnFrame("10.0.0.1", "10.0.0.3", 1000, 80, 0),
		"source port":      ecnFrame("10.0.0.1", "10.0.0.2", 1001, 80, 0),
		"destination port": ecnFrame("10.0.0.1", "10.0.0.2", 1000, 81, 0),
	} {
		if hash(other) == hash(base) {
			t.Errorf("%s: the same flow", name)
		}
	}
	first, second := ecnFrame("10.0.0.1", "10.0.0.2", 1000, 80, 0), ecnFrame("10.0.0.1", "10.0.0.2", 7, 7, 0)
	first[link.EthernetHeader+6] = 0x20  // more fragments follow
	second[link.EthernetHeader+7] = 0xb9 // one of them: no ports
	if hash(first) != hash(second) {
		t.Error("fragments of one datagram are of two flows")
	}
	short := base[:link.EthernetHeader+20]
	hash(short) // and no panic
	if seen := make(map[uint32]bool); true {
		for i := range 1024 {
			seen[hash(ecnFrame("10.0.0.1", "10.0.0.2", uint16(32768+i), 80, 0))>>22] = true
		}
		if len(seen) < 550 { // 1024 balls in 1024 bins fill 647
			t.Errorf("1024 neighbouring ports fill %d of 1024 bins, want about 647", len(seen))
		}
	}
}
