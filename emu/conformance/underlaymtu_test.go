package conformance

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
)

// underlayWatch looks at every frame that a node sends to the underlay.
type underlayWatch struct {
	largest int  // IP packet, in bytes
	cut     bool // there were fragments
}

// Observe implements link.Observer.
func (w *underlayWatch) Observe(o *link.Observation) {
	b := o.Bytes
	if o.Direction != link.Out || len(b) < link.EthernetHeader+20 || link.EtherType(b) != 0x0800 {
		return
	}
	ip := b[link.EthernetHeader:]
	w.largest = max(w.largest, int(binary.BigEndian.Uint16(ip[2:])))
	w.cut = w.cut || binary.BigEndian.Uint16(ip[6:])&0x3fff != 0
}

// watchUnderlay watches a device of a machine.
func watchUnderlay(lab *emutest.Lab, m *emu.Machine, device string) *underlayWatch {
	w := &underlayWatch{}
	lab.Driver().Do(func() { m.Stack().Device(device).Point().Watch(w) })
	return w
}

// largestPing is what a pod's device carries in one piece, in bytes of payload.
func largestPing(lab *emutest.Lab, p *emutest.Pod) (size int) {
	lab.Driver().Do(func() { size = p.Stack().Device("eth0").MTU - 20 - 8 })
	return size
}

// pingDF sends one ping that must not be cut and says what came of it.
func pingDF(p *emutest.Pod, to string, size int) string {
	r, err := p.PingWith(to, stack.PingConfig{Size: size, DontFragment: true}, 3*time.Second)
	switch {
	case err == nil && r.MTU != 0:
		return fmt.Sprintf("too big, MTU %d", r.MTU)
	case err == nil && r.Err() != nil:
		return r.Err().Error()
	case errors.Is(err, syscall.EMSGSIZE):
		return "refused"
	case err != nil:
		return "lost"
	}
	return "answered"
}

// send100k sends 100 kB over TCP and says what came of it.
func send100k(t *testing.T, lab *emutest.Lab, from, to *emutest.Pod) string {
	t.Helper()
	l, err := to.Listen("tcp", ":9")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan int, 1)
	lab.Go(func() {
		n := int64(0)
		if c, err := l.Accept(); err == nil {
			c.SetDeadline(lab.Deadline(20 * time.Second))
			n, _ = io.Copy(io.Discard, c)
			c.Close()
		}
		got <- int(n)
	})
	c, err := from.Dial("tcp", net.JoinHostPort(to.Addr().String(), "9"))
	if err != nil {
		return "no connection"
	}
	data := bytes.Repeat([]byte{'x'}, 100_000)
	c.SetDeadline(lab.Deadline(20 * time.Second))
	c.Write(data)
	c.Close()
	lab.Sleep(30 * time.Second)
	if n := <-got; n != len(data) {
		return fmt.Sprintf("%d bytes", n)
	}
	return "arrives"
}

// everyCluster runs f for each design that has a cluster.
func everyCluster(t *testing.T, cfg emu.Config, f func(t *testing.T, lab *emutest.Lab)) {
	t.Helper()
	for _, d := range overlay.Designs() {
		if d.Standalone {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			cfg := cfg
			cfg.Design = d.Name
			emutest.Run(t, cfg, f)
		})
	}
}

// On an underlay with jumbo frames pods have all of it but the design's overhead:
// their largest packet just fits, and one byte more is refused where it is sent.
func TestJumboUnderlay(t *testing.T) {
	const mtu = 9000
	everyCluster(t, emu.Config{Nodes: 2, Underlay: emu.Underlay{MTU: mtu}}, func(t *testing.T, lab *emutest.Lab) {
		a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2")
		w := watchUnderlay(lab, &lab.Node("node1").Machine, "eth0")
		design, _ := overlay.Find(lab.Config().Design)
		size := largestPing(lab, a)
		if want := mtu - design.Overhead - 20 - 8; size != want {
			t.Errorf("largest ping: %d bytes, want %d", size, want)
		}
		for size, want := range map[int]string{size: "answered", size + 1: "refused"} {
			if got := pingDF(a, "b", size); got != want {
				t.Errorf("a ping of %d bytes is %s, want %s", size, got, want)
			}
		}
		if got := send100k(t, lab, a, b); got != "arrives" {
			t.Errorf("100 kB over TCP: %s", got)
		}
		least := mtu - overlay.VXLANOverhead // with DirectRouting it is left free
		if w.cut || w.largest > mtu || w.largest < least {
			t.Errorf("on the underlay: packets up to %d bytes, fragments: %v, want up to %d to %d and none", w.largest, w.cut, least, mtu)
		}
	})
}

// A switch that carries less than the nodes believe is a black hole for every
// design: small packets pass, large ones are gone, and nobody is told.
func TestUnderlaySwitchTooSmall(t *testing.T) {
	everyCluster(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2")
		small := link.WireConfig{MTU: 1400}
		if err := lab.Node("node2").SetCable("", small, small); err != nil {
			t.Fatal(err)
		}
		size := largestPing(lab, a)
		for i, want := range []string{"answered", "lost", "lost"} {
			if got := pingDF(a, "b", []int{56, size, size}[i]); got != want {
				t.Errorf("ping %d is %s, want %s", i+1, got, want)
			}
		}
		if got := send100k(t, lab, a, b); got != "0 bytes" {
			t.Errorf("100 kB over TCP: %s, want a connection and not one segment", got)
		}
		cable := lab.Node("node2").Cable()
		lab.Driver().Do(func() {
			_, in := cable.Points()
			if in.Drops(link.DropMTU) == 0 {
				t.Errorf("the cable counts no frame that was %q", link.DropMTU)
			}
		})
	})
}

// crossing is what becomes of three large pings in turn, none of which may be cut,
// and of a TCP connection, where a router on the way has a smaller MTU.
type crossing struct {
	pings [3]string
	cut   bool // there are fragments behind the router
	tcp   string
	warns bool // the lab says that it cannot work
}

// crossings are the ways in which designs take it, which their outer headers
// decide.
var crossings = map[string]crossing{
	// The outer DF is clear: the router cuts, the far node puts together.
	"cut": {pings: [3]string{"answered", "answered", "answered"}, cut: true, tcp: "arrives"},
	// The outer DF is that of the packet inside: the router tells the node, which
	// tells the pod when it sends the next one, which refuses the one after that
	// itself. TCP sends smaller segments.
	"told": {pings: [3]string{"lost", "too big, MTU 1380", "refused"}, tcp: "arrives"},
	// The proxy's socket has DF set until the kernel knows a smaller path MTU, on
	// one node and then on the other.
	"learned": {pings: [3]string{"lost", "lost", "answered"}, cut: true, tcp: "arrives"},
	// Pods' addresses are nothing to a router.
	"cannot": {pings: [3]string{"lost", "lost", "lost"}, tcp: "no connection", warns: true},
}

var crossingOf = map[string]string{
	"flannel-vxlan": "cut", "flannel-vxlan-directrouting": "cut", "flannel-wireguard": "cut", "calico-vxlan": "cut", "calico-vxlan-crosssubnet": "cut",
	"flannel-ipip": "told", "flannel-ipip-directrouting": "told", "calico-ipip": "told", "calico-ipip-crosssubnet": "told",
	"flannel-udp":     "learned",
	"flannel-host-gw": "cannot", "calico-bgp": "cannot", "calico-bgp-rr": "cannot",
}

// Between two racks is a link of 1400 bytes, and the nodes know nothing of it.
func TestUnderlayRouterTooSmall(t *testing.T) {
	segment := func(name, subnet string, mtu int) emu.Segment {
		return emu.Segment{Name: name, Subnet: netip.MustParsePrefix(subnet), MTU: mtu}
	}
	cfg := emu.Config{Underlay: emu.Underlay{
		Segments: []emu.Segment{segment("rack1", "192.168.56.0/24", 0), segment("transit", "192.168.99.0/24", 1400), segment("rack2", "192.168.57.0/24", 0)},
		Routers: []emu.Router{
			{Name: "r1", Ports: []emu.RouterPort{{Segment: "rack1"}, {Segment: "transit"}}},
			{Name: "r2", Ports: []emu.RouterPort{{Segment: "rack2"}, {Segment: "transit"}}},
		},
	}}
	everyCluster(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		for _, s := range []string{"rack1", "rack2"} {
			if _, err := lab.AddNode(emu.NodeConfig{Segment: s}); err != nil {
				t.Fatal(err)
			}
		}
		a, b := lab.Pod("a", "node1"), lab.Pod("b", "node2")
		w := watchUnderlay(lab, lab.Machine("r1"), "eth1")
		way := crossingOf[lab.Config().Design]
		got := crossing{warns: len(lab.Warnings()) > 0}
		for i := range got.pings {
			got.pings[i] = pingDF(a, "b", largestPing(lab, a))
		}
		got.tcp = send100k(t, lab, a, b)
		got.cut = w.cut
		if want := crossings[way]; got != want {
			t.Errorf("%+v, want %+v (%s)", got, want, way)
		}
	})
}
