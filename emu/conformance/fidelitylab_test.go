package conformance

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/pcap"
)

// The captures in testdata/kernel come from a cluster of Linux network
// namespaces with flannel's VXLAN and kube-proxy's iptables rules: pods p1a
// 10.244.1.2 and p1b 10.244.1.3 on node1, p2a 10.244.2.2 and p2b 10.244.2.3 on
// node2, and ext 192.168.56.13 outside. The same is emulated here and compared,
// packet by packet.

// kernelScene says how captures came about and where they were taken.
type kernelScene struct {
	name    string
	sysctls map[string]string
	before  func(l *kernelLab) // not captured; nil: everybody knows everybody
	play    func(l *kernelLab)
	points  [][2]string // capture, interface; "node1/veth(p1a)" is the other end of p1a's eth0
}

// kernelLab is that cluster.
type kernelLab struct {
	*emutest.Lab
	t                  *testing.T
	p1a, p1b, p2a, p2b *emutest.Pod
	ext                *emu.Host
}

// kernelSysctls are what the reference machine had and Linux has not by default:
// with more memory than usual, the kernel gives sockets more.
var kernelSysctls = map[string]string{"net.ipv4.tcp_rmem": "4096 131072 33554432"}

// run plays the scene, captured, and returns the packets of an interface.
func (s *kernelScene) run(t *testing.T) (on func(iface string) []pcap.Packet) {
	t.Helper()
	cfg := emu.Config{Nodes: 2, Seed: 1, VethLatency: 5 * time.Microsecond, Sysctls: map[string]string{}}
	cfg.Underlay.Cable.Latency = 10 * time.Microsecond
	for _, m := range []map[string]string{kernelSysctls, s.sysctls} {
		for k, v := range m {
			cfg.Sysctls[k] = v
		}
	}
	veths := map[string]string{}
	var file bytes.Buffer
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		l := newKernelLab(t, lab)
		if s.before == nil {
			l.meet()
		} else {
			s.before(l)
		}
		for _, p := range lab.Pods() {
			veths[p.Node().Name()+"/veth("+short(p.Name())+")"] = p.Node().Name() + "/" + p.Peer()
		}
		c, err := lab.Capture(&file, emu.CaptureConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s.play(l)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
	c, err := pcap.ReadAll(&file)
	if err != nil {
		t.Fatal(err)
	}
	return func(iface string) []pcap.Packet {
		if v, ok := veths[iface]; ok {
			iface = v
		}
		return c.On(iface)
	}
}

func newKernelLab(t *testing.T, lab *emutest.Lab) *kernelLab {
	t.Helper()
	l := &kernelLab{Lab: lab, t: t}
	var err error
	if l.ext, err = lab.AddHost(emu.HostConfig{Name: "ext", Addr: netip.MustParseAddr("192.168.56.13"), Sysctls: kernelSysctls}); err != nil {
		t.Fatal(err)
	}
	l.p1a, l.p1b = lab.Pod("p1a", "node1"), lab.Pod("p1b", "node1")
	l.p2a, l.p2b = lab.Pod("p2a", "node2"), lab.Pod("p2b", "node2")
	l.service("same", "10.96.0.101", "p1a", servicePort(corev1.ProtocolTCP, 80, 8080, 0))
	l.service("cross", "10.96.0.102", "p2a", servicePort(corev1.ProtocolTCP, 80, 8080, 30002))
	l.service("closed", "10.96.0.11", "p2a", servicePort(corev1.ProtocolTCP, 54, 9999, 0), servicePort(corev1.ProtocolUDP, 54, 9999, 0))
	l.service("none", "10.96.0.200", "nobody", servicePort(corev1.ProtocolTCP, 80, 8080, 30009), servicePort(corev1.ProtocolUDP, 53, 53, 0))
	l.service("away", "10.96.0.100", "p2a", servicePort(corev1.ProtocolTCP, 80, 8080, 30010))
	return l
}

func servicePort(proto corev1.Protocol, port, target, node int32) corev1.ServicePort {
	return corev1.ServicePort{
		Name: strings.ToLower(string(proto)), Protocol: proto, Port: port, TargetPort: intstr.FromInt32(target), NodePort: node,
	}
}

// service adds a Service, of type NodePort if it has one. "away" keeps traffic
// from outside on the node where it comes in.
func (l *kernelLab) service(name, ip, app string, ports ...corev1.ServicePort) {
	l.t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Selector: map[string]string{"app": app}, Ports: ports},
	}
	if ports[0].NodePort != 0 {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
	if name == "away" {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if _, err := l.AddService(s); err != nil {
		l.t.Fatal(err)
	}
}

// meet lets those who will talk to each other know each other's MACs.
func (l *kernelLab) meet() {
	l.t.Helper()
	for _, from := range []*emutest.Pod{l.p1a, l.p1b, l.p2a} {
		for _, to := range []string{"10.244.1.1", "10.244.1.2", "10.244.1.3", "10.244.2.2"} {
			if to != from.Addr().String() {
				from.Ping(to)
			}
		}
	}
	for _, n := range l.Nodes() {
		if _, err := l.ext.Ping(n.Addr().String(), time.Second); err != nil {
			l.t.Fatal(err)
		}
	}
}

// node1 is the node of p1a and p1b.
func (l *kernelLab) node1() *emu.Machine { return &l.Node("node1").Machine }

// kernelCapture reads one of the kernel's captures.
func kernelCapture(t *testing.T, name string) *pcap.Capture {
	t.Helper()
	c, err := pcap.ReadFile(filepath.Join("testdata", "kernel", name+".pcap"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answers are what the servers in a capture have said: their texts have the
// client's port in words, so they cannot be made up.
func (l *kernelLab) answers(capture, prefix string) []string {
	l.t.Helper()
	var out []string
	for _, p := range kernelCapture(l.t, capture).Packets {
		if i := bytes.Index(p.Data, []byte(prefix)); i >= 0 {
			out = append(out, string(p.Data[i:]))
		}
	}
	if len(out) == 0 {
		l.t.Fatalf("%s: nobody says %q", capture, prefix)
	}
	return out
}
