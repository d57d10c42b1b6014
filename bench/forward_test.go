package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/netfilter"
)

// BenchmarkForward is one UDP datagram of 1,400 bytes through one node, from
// the frame that comes in to the frame that goes out. rules says what is
// loaded: nothing, or kube-proxy's rules for that many Services. flow=old is a
// flow that conntrack knows; flow=new makes every datagram the first of its
// flow, to a cluster IP, so that it walks the nat table.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		rules    string
		services int
		fresh    bool
	}{
		{rules: "none", services: -1},
		{rules: "kube0"},
		{rules: "kube10", services: 10},
		{rules: "kube1000", services: 1000},
		{rules: "kube10", services: 10, fresh: true},
		{rules: "kube1000", services: 1000, fresh: true},
	} {
		flow := "old"
		if c.fresh {
			flow = "new"
		}
		b.Run(fmt.Sprintf("rules=%s/flow=%s", c.rules, flow), func(b *testing.B) {
			n := newBenchNode(b)
			dst := outsider
			if c.services >= 0 {
				n.loadServices(c.services)
			}
			if c.fresh {
				dst = serviceAddr
			}
			n.forward(b, datagram(podAddr, dst), c.fresh)
		})
	}
}

// BenchmarkTunnel is the same through flannel's VXLAN device: in by a pod's
// side and out to the underlay, and the way back.
func BenchmarkTunnel(b *testing.B) {
	b.Run("step=encapsulate", func(b *testing.B) {
		n := newBenchNode(b)
		n.joinFlannel()
		n.forward(b, datagram(podAddr, remotePod), false)
	})
	b.Run("step=decapsulate", func(b *testing.B) {
		n := newBenchNode(b)
		remote := n.joinFlannel()
		// The inner datagram goes on by the pod's device: what comes out of the
		// other node's tunnel is what comes in here.
		var outer []byte
		n.drv.Do(func() {
			remote.capture = &outer
			remote.in.Receive(n.frame(datagram(remotePod, podAddr), remote.in))
		})
		if len(outer) == 0 {
			b.Fatal("the other node encapsulated nothing")
		}
		n.in = n.out
		n.forward(b, outer[link.EthernetHeader:], false)
	})
}

var (
	podNet      = netip.MustParsePrefix("10.244.1.0/24")
	podAddr     = netip.MustParseAddr("10.244.1.2")
	remotePod   = netip.MustParseAddr("10.244.2.2")
	outsider    = netip.MustParseAddr("192.168.56.99")
	serviceAddr = netip.MustParseAddr("10.96.0.10")
	clusterNet  = netip.MustParsePrefix("10.244.0.0/16")
	serviceNet  = netip.MustParsePrefix("10.96.0.0/12")
)

// benchNode is a node between two devices: in, the pods' side, and out, the
// underlay. Neighbours are known. What leaves is counted and released.
type benchNode struct {
	tb      testing.TB
	drv     *link.Driver
	host    *stack.Host
	in, out *stack.Device
	addr    netip.Addr
	left    int     // frames that have left
	capture *[]byte // if set, gets a copy of the next that leaves
}

func newBenchNode(tb testing.TB) *benchNode {
	drv := link.NewDriver(link.DriverConfig{})
	tb.Cleanup(drv.Close)
	return addBenchNode(tb, drv, "node1", netip.MustParseAddr("192.168.56.11"), podNet, podAddr)
}

// addBenchNode makes a node whose pod network is pods, with one pod.
func addBenchNode(tb testing.TB, drv *link.Driver, name string, addr netip.Addr, pods netip.Prefix, pod netip.Addr) *benchNode {
	n := &benchNode{tb: tb, drv: drv, addr: addr}
	drv.Do(func() {
		n.host = stack.NewHost(drv, stack.Config{Name: name, Forward: true})
		n.in = n.device("pods", netip.PrefixFrom(pods.Addr().Next(), pods.Bits()))
		n.out = n.device("eth0", netip.PrefixFrom(addr, 24))
		n.neighbour(n.in, pod)
		n.neighbour(n.out, outsider)
	})
	return n
}

func (n *benchNode) must(err error) {
	if err != nil {
		n.tb.Helper()
		n.tb.Fatal(err)
	}
}

// device adds a device whose medium counts frames.
func (n *benchNode) device(name string, addr netip.Prefix) *stack.Device {
	port := n.drv.NewPort(n.host.Name()+"/"+name, n.leave)
	d, err := n.host.AddEthernet(name, link.LocalMAC(n.host.Rand(name).Uint64()), 1500, port)
	n.must(err)
	n.must(d.AddAddr(addr))
	return d
}

func (n *benchNode) leave(f *link.Frame) {
	n.left++
	if n.capture != nil {
		*n.capture, n.capture = append([]byte(nil), f.Bytes()...), nil
	}
	f.Release()
}

func (n *benchNode) neighbour(d *stack.Device, a netip.Addr) {
	b := a.As4()
	n.must(n.host.SetNeighbour(d, a, link.MAC{2, 0, b[0], b[1], b[2], b[3]}))
}

// frame returns a new frame to the device d with the packet in it.
func (n *benchNode) frame(pkt []byte, d *stack.Device) *link.Frame {
	f := n.drv.NewFrame(link.EthernetHeader + len(pkt))
	link.PutEthernet(f.Bytes(), d.MAC, link.MAC{2, 0, 0, 0, 0, 1}, 0x0800)
	copy(f.Bytes()[link.EthernetHeader:], pkt)
	return f
}

// forward measures the node with the packet coming in at n.in, again and
// again. With fresh set every one has a source port and identification that
// the node has not seen for long.
func (n *benchNode) forward(b *testing.B, pkt []byte, fresh bool) {
	n.drv.Do(func() {
		n.in.Receive(n.frame(pkt, n.in)) // conntrack now knows the flow
		n.left = 0
		var flows uint32
		b.SetBytes(int64(len(pkt)))
		b.ReportAllocs()
		for b.Loop() {
			if fresh {
				flows = n.newFlow(b, pkt, flows)
			}
			n.in.Receive(n.frame(pkt, n.in))
		}
	})
	if n.left != b.N {
		b.Fatalf("%d of %d datagrams came out of the node", n.left, b.N)
	}
	if live := n.drv.LiveFrames(); live != 0 {
		b.Fatalf("%d frames were never released", live)
	}
}

// flowsBeforeReset keeps the conntrack table at a size that a busy node has,
// well below its limit.
const flowsBeforeReset = 50000

// newFlow gives the datagram the next source port, and empties the table now
// and then, off the clock.
func (n *benchNode) newFlow(b *testing.B, pkt []byte, flows uint32) uint32 {
	if flows++; flows == flowsBeforeReset {
		b.StopTimer()
		n.host.Conntrack().Flush()
		b.StartTimer()
		flows = 1
	}
	binary.BigEndian.PutUint16(pkt[20:], uint16(1024+flows))
	return flows
}

// loadServices loads kube-proxy's rules for that many Services of two
// endpoints each. The last one has the address serviceAddr.
func (n *benchNode) loadServices(services int) {
	proxy, c := n.newProxy(services)
	n.drv.Do(func() {
		n.must(n.host.Netfilter().Restore(proxy.Sync(c), netfilter.RestoreOptions{NoFlush: true}))
		n.must(n.host.Netfilter().Restore(kube.Jumps(), netfilter.RestoreOptions{NoFlush: true}))
		n.host.RulesChanged()
		n.must(n.host.AddRoute(stack.Route{Dst: clusterNet, Via: outsider, Dev: n.out}))
		n.must(n.host.AddRoute(stack.Route{Dst: serviceNet, Via: outsider, Dev: n.out}))
	})
}

// newProxy returns kube-proxy for the node, and a cluster with that many
// Services.
func (n *benchNode) newProxy(services int) (*kube.Proxy, *kube.Cluster) {
	c, err := kube.NewCluster(kube.Config{PodCIDR: clusterNet, ServiceCIDR: serviceNet})
	n.must(err)
	for i := range min(services, maxApps) {
		n.must(addApp(c, i))
	}
	for i := range services {
		n.must(addService(c, i, i == services-1))
	}
	proxy, err := kube.NewProxy(kube.ProxyConfig{NodeName: n.host.Name(), NodeIP: n.addr, ClusterCIDR: clusterNet})
	n.must(err)
	return proxy, c
}

// maxApps bounds how many pods there are: with more Services than that, several
// select the same.
const maxApps = 1000

func appName(i int) string { return fmt.Sprintf("app-%d", i%maxApps) }

// addApp adds the two pods of an app, on another node.
func addApp(c *kube.Cluster, i int) error {
	for j := range 2 {
		k := 2*i + j
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", appName(i), j), Namespace: "default", Labels: map[string]string{"app": appName(i)}},
			Spec:       corev1.PodSpec{NodeName: "node2", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			Status:     corev1.PodStatus{PodIP: netip.AddrFrom4([4]byte{10, 244, byte(2 + k/200), byte(2 + k%200)}).String(), Phase: corev1.PodRunning},
		}
		pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
		if err := c.AddPod(pod); err != nil {
			return err
		}
	}
	return nil
}

// addService adds a UDP Service on port 53 in front of an app.
func addService(c *kube.Cluster, i int, last bool) error {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("service-%d", i), Namespace: "default"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": appName(i)},
			Ports:    []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(5353)}},
		},
	}
	if last {
		s.Spec.ClusterIP = serviceAddr.String()
	}
	return c.AddService(s)
}

// joinFlannel makes the node one of two of a flannel network and returns the
// other.
func (n *benchNode) joinFlannel() *benchNode {
	other := addBenchNode(n.tb, n.drv, "node2", netip.MustParseAddr("192.168.56.12"), netip.MustParsePrefix("10.244.2.0/24"), remotePod)
	n.drv.Do(func() {
		n.neighbour(n.out, other.addr)
		other.neighbour(other.out, n.addr)
		cni := overlay.FlannelVXLAN.New(overlay.Network{PodCIDR: clusterNet})
		for _, x := range []*benchNode{n, other} {
			pods := netip.PrefixFrom(x.in.Addrs()[0].Addr(), 24).Masked()
			n.must(cni.AddNode(&overlay.Node{Name: x.host.Name(), Host: x.host, Uplink: x.out, Addr: x.addr, PodCIDR: pods}))
		}
	})
	return other
}

// datagram returns a UDP datagram of 1,400 bytes from port 1024 to port 53.
func datagram(src, dst netip.Addr) []byte {
	p := make([]byte, 1400)
	p[0], p[8], p[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	s, d := src.As4(), dst.As4()
	copy(p[12:], s[:])
	copy(p[16:], d[:])
	binary.BigEndian.PutUint16(p[10:], ^sum16(p[:20]))
	binary.BigEndian.PutUint16(p[20:], 1024)
	binary.BigEndian.PutUint16(p[22:], 53)
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
	return p // UDP checksum 0: none
}

// sum16 is the ones' complement sum of RFC 1071.
func sum16(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
