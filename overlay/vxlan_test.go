package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// reference is a VXLAN packet that a Linux kernel sent: flannel.1 on node1, an
// echo request from 10.244.1.2 to 10.244.2.2.
var reference = unhex(`4a1f7ff4868a 6a2b4a46b417 0800
	4500 0056 628a 0000 4011 26a5 c0a8380b c0a8380c
	d811 2118 0042 f1bb
	08000000 00000100
	2e1122334402 2e1122334401 0800
	4500 0024 8134 4000 3f01 a1b9 0af40102 0af40202
	0800 ae9e 3d50 0001 0001020304050607`)

// TestVXLANBytes: all but what hosts choose for themselves is as on Linux:
// identification (and with it the header checksum), source port and, because
// the capture was made before the device completed it, the UDP checksum.
func TestVXLANBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n := newNode1(t, drv, "node1")
		sent := n.transmit(reference[50:])
		if len(sent) != 1 {
			t.Fatalf("%d frames on the underlay, want 1", len(sent))
		}
		got, want := sent[0], bytes.Clone(reference)
		ip, udp := got[14:34], got[34:]
		if binary.BigEndian.Uint16(ip[4:]) == 0 {
			t.Error("outer identification is 0")
		}
		equal(t, "sum of the outer header", onesSum(ip, 0), 0xffff)
		pseudo := append(append([]byte(nil), ip[12:20]...), 0, 17, udp[4], udp[5])
		equal(t, "sum of the datagram", onesSum(udp, onesSum(pseudo, 0)), 0xffff)
		for _, at := range []int{18, 19, 24, 25, 34, 35, 40, 41} {
			want[at] = got[at]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got\n%x, want\n%x", got, want)
		}
		equal(t, "overhead", len(got)-14-(len(reference)-64), VXLANOverhead)
	})
}

func TestParseVXLAN(t *testing.T) {
	tests := []struct {
		in  string
		vni uint32
		ok  bool
	}{
		{"08000000 00000100", 1, true},
		{"08000000 ffffff00", 1<<24 - 1, true},
		{"00000000 00000100", 1, false}, // no I flag
		{"88000000 00000100", 1, false}, // GBP, which this device does not speak
		{"08000001 00000100", 1, false},
		{"08000000 00000101", 1, false},
		{"08000000 000001", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		vni, ok := parseVXLAN(unhex(tt.in))
		if ok != tt.ok || ok && vni != tt.vni {
			t.Errorf("%s: got %d, %v, want %d, %v", tt.in, vni, ok, tt.vni, tt.ok)
		}
	}
	for vni := uint32(0); vni < 1<<24; vni += 4099 {
		var b [8]byte
		putVXLAN(b[:], vni)
		if got, ok := parseVXLAN(b[:]); got != vni || !ok {
			t.Errorf("VNI %d became %d, %v", vni, got, ok)
		}
	}
}

// TestSourcePort: in range, one per flow, the same for both directions on one
// host, spread over flows, and other on another host.
func TestSourcePort(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		a, b := newNode1(t, drv, "a"), newNode1(t, drv, "b")
		port := func(n *node1, frame []byte) (p uint16) {
			drv.Do(func() { f := n.frame(frame); p = n.vtep.sourcePort(f); f.Release() })
			return p
		}
		seen := make(map[uint16]int)
		same := 0
		for i := range 5000 {
			src, dst := fmt.Sprintf("10.244.1.2:%d", 1024+i), "10.244.2.2:53"
			p := port(a, inner(src, dst, 0, 10))
			if p < 32768 || p > 60998 {
				t.Fatalf("port %d, want 32768 to 60998", p)
			}
			equal(t, "a longer packet of the flow", port(a, inner(src, dst, 0, 900)), p)
			equal(t, "the other direction", port(a, inner(dst, src, 0, 10)), p)
			if port(b, inner(src, dst, 0, 10)) == p {
				same++
			}
			seen[p]++
		}
		if len(seen) < 4000 {
			t.Errorf("5000 flows use %d ports, want most of them different", len(seen))
		}
		if same > 10 {
			t.Errorf("%d of 5000 ports are the same on another host", same)
		}
		echo := bytes.Clone(reference[50:])
		p := port(a, echo)
		echo[38]++ // identifier
		equal(t, "ICMP: addresses alone count", port(a, echo), p)
		drv.Do(func() {
			f := a.frame(echo)
			f.Hash = 0xffffffff // what the sending socket chose
			p := a.vtep.sourcePort(f)
			f.Hash = 0
			f.Release()
			equal(t, "of the socket's hash", p, 32768+uint16(uint64(0x0000ffff)*28231>>32))
		})
	})
}

func TestVXLANDrops(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n := newNode1(t, drv, "node1")
		good := bytes.Clone(reference[42:]) // from node1; here it comes from node2
		copy(good[14:], vtep2MAC[:])
		copy(good[8:], vtep1MAC[:])
		edit := func(at int, v ...byte) []byte {
			b := bytes.Clone(good)
			copy(b[at:], v)
			return b
		}
		tests := []struct {
			name string
			b    []byte
			tos  byte
			why  link.Reason
		}{
			{"good", good, 0, ""},
			{"no I flag", edit(0, 0), 0, DropBadVXLAN},
			{"cut in the header", good[:7], 0, DropBadVXLAN},
			{"empty", nil, 0, DropBadVXLAN},
			{"another VNI", edit(6, 2), 0, DropVNI},
			{"no Ethernet header", good[:21], 0, link.DropRunt},
			{"from this device", edit(14, vtep1MAC[:]...), 0, DropOwnSource},
			{"congestion on Not-ECT", good, 3, DropECN},
		}
		for _, tt := range tests {
			before := n.vtep.Device.Point().Drops(tt.why)
			seen := n.receive(stack.Outer{TOS: tt.tos}, tt.b)
			equal(t, tt.name+": let through", len(seen) == 1, tt.why == "")
			if tt.why != "" {
				equal(t, tt.name+": counted", n.vtep.Device.Point().Drops(tt.why)-before, 1)
			}
		}
	})
}

func TestFDB(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n := newNode1(t, drv, "node1")
		if a, ok := n.vtep.FDB(vtep2MAC); !ok || a != netip.MustParseAddr("192.168.56.12") {
			t.Errorf("FDB: got %v, %v", a, ok)
		}
		stranger := bytes.Clone(reference[50:])
		stranger[5] = 9
		equal(t, "sent to a stranger", len(n.transmit(stranger)), 0)
		drv.Do(func() { n.vtep.RemoveFDB(vtep2MAC) })
		equal(t, "sent to one that was removed", len(n.transmit(reference[50:])), 0)
		equal(t, "counted", n.vtep.Device.Point().Drops(DropNoFDB), 2)
	})
}

func TestNewVXLANErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n := newNode1(t, drv, "node1")
		for _, cfg := range []VXLANConfig{
			{Name: "vxlan1", MTU: 1450, VNI: 1 << 24, Port: 4789}, {Name: "", MTU: 1450, Port: 4789}, {Name: "vxlan1", MTU: 1450, Port: 8472},
		} {
			drv.Do(func() {
				if v, err := NewVXLAN(n.host, cfg); err == nil || v != nil {
					t.Errorf("%+v: got %v, %v, want an error", cfg, v, err)
				}
				if n.host.Device("vxlan1") != nil {
					t.Errorf("%+v: left a device behind", cfg)
				}
			})
		}
	})
}

func FuzzVXLANReceive(f *testing.F) {
	f.Add(reference[42:], byte(0))
	f.Add(reference[42:], byte(3)) // outer congestion mark
	f.Add(reference[42:64], byte(1))
	f.Add([]byte{8, 0, 0, 0, 0, 0, 1, 0}, byte(3))
	drv := link.NewDriver(link.DriverConfig{})
	f.Cleanup(drv.Close)
	n := newNode1(f, drv, "node1")
	f.Fuzz(func(t *testing.T, b []byte, tos byte) {
		if len(b) > 1<<16 {
			return
		}
		in := bytes.Clone(b)
		done := make(chan struct{})
		for _, out := range n.receive(stack.Outer{TOS: tos}, b) {
			if vni, ok := parseVXLAN(in); !ok || vni != 1 || len(out) != len(in)-8 {
				t.Errorf("%x came through as %x", in, out)
			}
		}
		drv.Do(func() { drv.WhenIdle(func() { drv.AfterFunc(0, 1, func() { close(done) }) }) })
		<-done
		drv.Do(func() {
			n.sent = nil
			if live := drv.LiveFrames(); live > 101 { // those that wait for a neighbour
				t.Errorf("%d frames are held", live)
			}
		})
	})
}

func TestVXLANAllocatesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		n := newNode1(t, drv, "node1")
		n.quiet = true
		pkt := inner("10.244.1.2:1000", "10.244.2.2:53", 0, 1400)
		drv.Do(func() {
			if got := testing.AllocsPerRun(100, func() { n.vtep.transmit(n.frame(pkt)) }); got != 0 {
				t.Errorf("%v allocations per packet into the tunnel, want 0", got)
			}
			equal(t, "frames held", drv.LiveFrames(), 0)
		})
	})
}

func BenchmarkVXLAN(b *testing.B) {
	drv := link.NewDriver(link.DriverConfig{})
	defer drv.Close()
	n := newNode1(b, drv, "node1")
	n.quiet = true
	pkt := inner("10.244.1.2:1000", "10.244.2.2:53", 0, 1400)
	b.ReportAllocs()
	drv.Do(func() {
		for b.Loop() {
			n.vtep.transmit(n.frame(pkt))
		}
	})
}
