package bench

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// flight is datagrams from one pod to another through a whole lab, without the
// sockets at its ends: pods, bridges with br_netfilter, kube-proxy's rules,
// tunnels and cables are what is measured.
type flight struct {
	tb      testing.TB
	drv     *link.Driver
	from    *stack.Host
	outer   stack.Outer
	arrived int
	done    chan struct{}
	send    func() // a batch, as a function value made once
}

const (
	flightBatch = 64
	flightPort  = 5353
)

// newFlight returns datagrams from a pod of node1 to a pod of the given node, or
// if service is set to a Service in front of it, in a lab in real time. The
// first is answered, so that connections are established.
func newFlight(tb testing.TB, lab *emu.Lab, serverNode string, service bool) *flight {
	tb.Helper()
	client, err := lab.AddPod(emu.PodConfig{Name: "client", Node: "node1"})
	fatal(tb, err)
	server, err := lab.AddPod(emu.PodConfig{Name: "server", Node: serverNode, Labels: map[string]string{"app": "server"}})
	fatal(tb, err)
	to := netip.AddrPortFrom(server.Addr(), flightPort)
	if service {
		s, err := lab.AddService(udpService("server"))
		fatal(tb, err)
		to = netip.AddrPortFrom(netip.MustParseAddr(s.Spec.ClusterIP), 53)
	}
	_, err = client.Ping(server.Addr().String(), 10*time.Second)
	fatal(tb, err)
	x := &flight{tb: tb, drv: lab.Driver(), from: client.Stack(), done: make(chan struct{}, 1)}
	x.outer = stack.Outer{Dst: to.Addr(), SrcPort: 4000, DstPort: to.Port()}
	x.drv.Do(func() {
		fatal(tb, server.Stack().BindTunnel(flightPort, func(o stack.Outer, f *link.Frame) {
			if x.arrived++; x.arrived == 1 {
				server.Stack().SendTunnel(stack.Outer{Dst: o.Src, SrcPort: o.DstPort, DstPort: o.SrcPort}, f)
				return
			}
			f.Release()
		}))
	})
	landed := func() { x.done <- struct{}{} }
	x.send = func() {
		for range flightBatch {
			x.from.SendTunnel(x.outer, x.drv.NewFrame(1372))
		}
		x.drv.WhenIdle(landed)
	}
	x.batch() // neighbours, flows and free lists are warm
	return x
}

// batch sends some datagrams and waits until they have arrived.
func (x *flight) batch() {
	x.drv.Do(x.send)
	<-x.done
}

func fatal(tb testing.TB, err error) {
	if err != nil {
		tb.Helper()
		tb.Fatal(err)
	}
}

func udpService(app string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app, Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app},
			Ports:    []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(flightPort)}},
		},
	}
}

// newFlightLab returns a lab in real time with that many nodes and other
// Services.
func newFlightLab(tb testing.TB, nodes, services int) *emu.Lab {
	tb.Helper()
	lab, err := emu.New(emu.Config{Nodes: nodes})
	fatal(tb, err)
	tb.Cleanup(func() { fatal(tb, lab.Close()) })
	for i := range services {
		s := udpService(fmt.Sprintf("other-%d", i))
		s.Spec.Selector = map[string]string{"app": "server"} // with endpoints: chains of its own
		_, err := lab.AddService(s)
		fatal(tb, err)
	}
	return lab
}

// TestPathsAllocateNothing: a datagram of a flow that is known costs no
// allocation, from the pod's own output to the other pod's door: routed by the
// pod, bridged under br_netfilter, translated, encapsulated, sent, decapsulated.
func TestPathsAllocateNothing(t *testing.T) {
	for _, tt := range []struct {
		name, node string
		service    bool
	}{
		{"bridged", "node1", false},
		{"bridged, to a Service", "node1", true},
		{"through VXLAN", "node2", false},
		{"through VXLAN, to a Service", "node2", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newFlight(t, newFlightLab(t, 2, 50), tt.node, tt.service)
			const batches = 150
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as testing.AllocsPerRun does
			best := uint64(1 << 63)
			for range 3 { // something else in the process may allocate now and then
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range batches {
					x.batch()
				}
				runtime.ReadMemStats(&after)
				best = min(best, after.Mallocs-before.Mallocs)
			}
			if best > batches*flightBatch/100 {
				t.Errorf("%d allocations for %d datagrams, want none", best, batches*flightBatch)
			}
			if want := (3*batches + 1) * flightBatch; x.arrived != want {
				t.Errorf("%d datagrams arrived, want %d", x.arrived, want)
			}
		})
	}
}
