package overlay

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// node1 is 192.168.56.11 with a VXLAN device whose underlay the test holds.
type node1 struct {
	drv  *link.Driver
	host *stack.Host
	vtep *VXLAN

	quiet bool     // keep nothing
	sent  [][]byte // frames on the underlay
	seen  [][]byte // frames that came out of the tunnel
}

var (
	node1MAC = link.MAC{0x6a, 0x2b, 0x4a, 0x46, 0xb4, 0x17}
	node2MAC = link.MAC{0x4a, 0x1f, 0x7f, 0xf4, 0x86, 0x8a}
	vtep1MAC = link.MAC{0x2e, 0x11, 0x22, 0x33, 0x44, 0x01}
	vtep2MAC = link.MAC{0x2e, 0x11, 0x22, 0x33, 0x44, 0x02}
)

func newNode1(t testing.TB, drv *link.Driver, name string) *node1 {
	t.Helper()
	n := &node1{drv: drv}
	drv.Do(func() {
		n.host = stack.NewHost(drv, stack.Config{Name: name, Forward: true})
		eth := drv.NewPort(name+"/eth0", func(f *link.Frame) {
			if !n.quiet {
				n.sent = append(n.sent, append([]byte(nil), f.Bytes()...))
			}
			f.Release()
		})
		eth0, err := n.host.AddEthernet("eth0", node1MAC, 1500, eth)
		must(t, err)
		must(t, eth0.AddAddr(netip.MustParsePrefix("192.168.56.11/24")))
		must(t, n.host.SetNeighbour(eth0, netip.MustParseAddr("192.168.56.12"), node2MAC))
		n.vtep, err = NewVXLAN(n.host, VXLANConfig{
			Name: "flannel.1", MAC: vtep1MAC, MTU: 1450, VNI: 1, Local: netip.MustParseAddr("192.168.56.11"), Port: 8472,
		})
		must(t, err)
		n.vtep.AddFDB(vtep2MAC, netip.MustParseAddr("192.168.56.12"))
		n.vtep.Device.Point().Watch(n)
	})
	return n
}

// Observe implements link.Observer: what the tunnel lets through.
func (n *node1) Observe(o *link.Observation) {
	if o.Direction == link.In {
		n.seen = append(n.seen, append([]byte(nil), o.Bytes...))
	}
}

// transmit sends a frame into the tunnel and returns what the underlay got.
func (n *node1) transmit(b []byte) (sent [][]byte) {
	n.drv.Do(func() { n.vtep.transmit(n.frame(b)) })
	n.drv.Sleep(0)
	sent, n.sent = n.sent, nil
	return sent
}

// receive hands a VXLAN payload to the device and returns what came out.
func (n *node1) receive(o stack.Outer, b []byte) (seen [][]byte) {
	n.drv.Do(func() {
		n.vtep.receive(o, n.frame(b))
		seen, n.seen = n.seen, nil
	})
	return seen
}

func (n *node1) frame(b []byte) *link.Frame {
	f := n.drv.NewFrame(len(b))
	copy(f.Bytes(), b)
	return f
}

// inBubble calls f with a driver in virtual time, and wants every frame
// released afterwards.
func inBubble(t *testing.T, f func(t *testing.T, drv *link.Driver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		drv := link.NewDriver(link.DriverConfig{Settle: synctest.Wait, Seed: 1})
		defer drv.Close()
		f(t, drv)
		drv.Sleep(1e10)
		drv.Do(func() { equal(t, "frames never released", drv.LiveFrames(), 0) })
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, sentence string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", sentence, got, want)
	}
}

// unhex reads bytes as they are written in a dump.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// inner is a UDP datagram between pods in the frame that flannel.1 carries.
func inner(src, dst string, tos byte, size int) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := make([]byte, 14+28+size)
	link.PutEthernet(b, vtep2MAC, vtep1MAC, 0x0800)
	ip := b[14:]
	ip[0], ip[1], ip[8], ip[9] = 0x45, tos, 63, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	s4, d4 := s.Addr().As4(), d.Addr().As4()
	copy(ip[12:], s4[:])
	copy(ip[16:], d4[:])
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:20], 0))
	binary.BigEndian.PutUint16(ip[20:], s.Port())
	binary.BigEndian.PutUint16(ip[22:], d.Port())
	binary.BigEndian.PutUint16(ip[24:], uint16(len(ip)-20))
	return b
}

// onesSum is the Internet checksum's sum of b, on top of initial (RFC 1071).
func onesSum(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for i, v := range b {
		sum += uint32(v) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
