package stack

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// TestHeaderBytes compares with a packet that a Linux kernel sent: the outer
// IP and UDP headers of a VXLAN packet. Only the UDP checksum is not from the
// capture, which shows 0xf1bb there: the sum of the pseudo header, because the
// packet was captured before the device completed it (checksum offload).
func TestHeaderBytes(t *testing.T) {
	want := unhex(t, `4500 0056 628a 0000 4011 26a5 c0a8380b c0a8380c
		d811 2118 0042 db4b
		08000000 00000100
		2e1122334402 2e1122334401 0800
		4500 0024 8134 4000 3f01 a1b9 0af40102 0af40202
		0800 ae9e 3d50 0001 0001020304050607`)
	b := bytes.Clone(want)
	clear(b[:ipv4MinHeader+udpHeader])
	putUDP(b[ipv4MinHeader:], 55313, 8472)
	sumUDP(b[ipv4MinHeader:], addr("192.168.56.11"), addr("192.168.56.12"))
	h := between("192.168.56.11", "192.168.56.12", protoUDP)
	h.id, h.ttl = 0x628a, 64
	h.put(b, len(b))
	if !bytes.Equal(b, want) {
		t.Errorf("got\n%x, want\n%x", b, want)
	}
	// The inner packet was an echo request; its TTL was 64 before it was routed.
	inner := bytes.Clone(want[50:])
	inner[8], inner[10], inner[11] = 64, 0xa0, 0xb9
	if ipv4(inner).decrementTTL(); !bytes.Equal(inner, want[50:]) {
		t.Errorf("routed: got\n%x, want\n%x", inner, want[50:])
	}
	msg := bytes.Clone(inner[20:])
	putICMP(msg, icmpEcho, 0, 0x3d500001, msg[icmpHeader:])
	if !bytes.Equal(msg, want[70:]) {
		t.Errorf("echo request: got\n%x, want\n%x", msg, want[70:])
	}
}

// TestChecksumIsMended: every in-place change leaves the checksum that a full
// computation gives.
func TestChecksumIsMended(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := make(ipv4, ipv4MinHeader)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		b[0], b[8] = 0x45, max(1, b[8])
		b.fixChecksum()
		before := bytes.Clone(b)
		b.decrementTTL()
		b.setTOS(byte(rng.Uint32()))
		b.setIDAndFlags(uint16(rng.Uint32()), uint16(rng.Uint32()))
		if checksum.Checksum(b, 0) != 0xffff {
			t.Fatalf("%x became %x: wrong checksum", before, b)
		}
	}
}

func TestUDPChecksumIsNeverZero(t *testing.T) {
	b := make([]byte, udpHeader+2)
	putUDP(b, 1, 2)
	for v := range 1 << 16 {
		binary.BigEndian.PutUint16(b[udpHeader:], uint16(v))
		b[6], b[7] = 0, 0
		sumUDP(b, addr("10.0.0.1"), addr("10.0.0.2"))
		if b[6] == 0 && b[7] == 0 {
			t.Fatalf("payload %#04x: checksum 0, which means none", v)
		}
	}
}

func TestValid(t *testing.T) {
	good := ipPacket(between("10.0.0.1", "10.0.0.2", protoUDP), make([]byte, 12))
	edit := func(f func(b ipv4) ipv4) ipv4 {
		b := f(ipv4(bytes.Clone(good)))
		if len(b) >= ipv4MinHeader && b.headerLen() <= len(b) && b.headerLen() >= ipv4MinHeader {
			b.fixChecksum()
		}
		return b
	}
	tests := []struct {
		name  string
		pkt   ipv4
		total int
		ok    bool
	}{
		{"as made", good, 32, true},
		{"with Ethernet padding", append(bytes.Clone(good), make([]byte, 18)...), 32, true},
		{"empty", nil, 0, false},
		{"19 bytes", good[:19], 0, false},
		{"version 6", edit(func(b ipv4) ipv4 { b[0] = 0x65; return b }), 0, false},
		{"header of 16 bytes", edit(func(b ipv4) ipv4 { b[0] = 0x44; return b }), 0, false},
		{"header longer than the packet", edit(func(b ipv4) ipv4 { b[0] = 0x4f; return b }), 0, false},
		{"total length below the header", edit(func(b ipv4) ipv4 { b[2], b[3] = 0, 19; return b }), 0, false},
		{"cut", edit(func(b ipv4) ipv4 { b[3] = 33; return b }), 0, false},
		{"wrong checksum", append(bytes.Clone(good[:10]), append([]byte{1, 2}, good[12:]...)...), 0, false},
	}
	for _, tt := range tests {
		total, ok := tt.pkt.valid()
		if ok != tt.ok || ok && total != tt.total {
			t.Errorf("%s: got %d, %v, want %d, %v", tt.name, total, ok, tt.total, tt.ok)
		}
	}
}

func TestLastAddr(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1/24": "10.0.0.255", "10.0.0.1/8": "10.255.255.255", "10.0.0.1/32": "10.0.0.1",
		"10.0.0.9/29": "10.0.0.15", "0.0.0.0/0": "255.255.255.255", "fd00::1/120": "fd00::ff",
	} {
		equal(t, "last address of "+in, LastAddr(netip.MustParsePrefix(in)), addr(want))
	}
}
