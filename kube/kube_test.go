package kube

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// newCluster returns a cluster with the default plan and a known seed.
func newCluster(t testing.TB) *Cluster {
	t.Helper()
	c, err := NewCluster(Config{Rand: rand.New(rand.NewPCG(7, 7))})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newProxy(t testing.TB, cfg ProxyConfig) *Proxy {
	t.Helper()
	p, err := NewProxy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onNode1 is the usual proxy of these tests.
func onNode1(t testing.TB) *Proxy {
	t.Helper()
	return newProxy(t, ProxyConfig{NodeName: "node1", ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16")})
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: "default"} }

// webPod is a ready pod with label app=web and the ports http 8080 and dns 53/UDP.
func webPod(name, ip, node string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta(name)}
	p.Labels = map[string]string{"app": "web"}
	p.Spec.NodeName = node
	p.Spec.Containers = []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{
		{Name: "http", ContainerPort: 8080},
		{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
	}}}
	p.Status.PodIP = ip
	return p
}

// notReady, terminating and gone change a pod's condition.
func notReady(p *corev1.Pod) *corev1.Pod {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	return p
}

func terminating(p *corev1.Pod) *corev1.Pod {
	p.DeletionTimestamp = &metav1.Time{}
	return p
}

// service is a valid Service web for app=web with one port, 80 to the pods' http.
func service(name string, changes ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: meta(name)}
	s.Spec.Selector = map[string]string{"app": "web"}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}}
	for _, f := range changes {
		f(s)
	}
	return s
}

func clusterIP(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.ClusterIP = ip }
}

func nodePort(np int32) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports[0].NodePort = np
	}
}

func externalLocal(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func internalLocal(s *corev1.Service) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	s.Spec.InternalTrafficPolicy = &local
}

func loadBalancer(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
	}
}

func addPods(t testing.TB, c *Cluster, pods ...*corev1.Pod) {
	t.Helper()
	for _, p := range pods {
		if err := c.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
}

func addService(t testing.TB, c *Cluster, s *corev1.Service) *corev1.Service {
	t.Helper()
	if err := c.AddService(s); err != nil {
		t.Fatal(err)
	}
	return c.Service(s.Namespace, s.Name)
}

// endpointText is a readable form of a Service's endpoints:
// "http: 10.244.1.2:8080 RS-" with R ready, S serving, T terminating.
func endpointText(c *Cluster, name string) string {
	var b strings.Builder
	for _, p := range c.Endpoints("", name) {
		fmt.Fprintf(&b, "%s:", p.Port.Name)
		for _, e := range p.Endpoints {
			flags := []byte("---")
			for i, on := range []bool{e.Ready, e.Serving, e.Terminating} {
				if on {
					flags[i] = "RST"[i]
				}
			}
			fmt.Fprintf(&b, " %s %s", e.Addr, flags)
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func endpointSlice(name, svc string, port int32, ips ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta(name), AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: svc}
	portName := "http"
	s.Ports = []discoveryv1.EndpointPort{{Name: &portName, Port: &port}}
	for _, ip := range ips {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip}})
	}
	return s
}

func TestChainNamesAreKubernetesOwn(t *testing.T) {
	// Seen in the rules of any kubeadm cluster.
	for _, tt := range []struct {
		namespace, name, port string
		protocol              corev1.Protocol
		want                  string
	}{
		{"default", "kubernetes", "https", corev1.ProtocolTCP, "KUBE-SVC-NPX46M4PTMTKRN6Y"},
		{"kube-system", "kube-dns", "dns", corev1.ProtocolUDP, "KUBE-SVC-TCOU7JCQXEZGVUNU"},
		{"kube-system", "kube-dns", "dns-tcp", corev1.ProtocolTCP, "KUBE-SVC-ERIFXISQEP7F7OF4"},
		{"kube-system", "kube-dns", "metrics", corev1.ProtocolTCP, "KUBE-SVC-JD5MR3NA4I4DYORP"},
		{"default", "nginx", "", corev1.ProtocolTCP, "KUBE-SVC-2CMXP7HKUVJN7L6M"},
	} {
		name := ServicePortName(tt.namespace, tt.name, tt.port)
		if got := ServiceChain(name, tt.protocol); got != tt.want {
			t.Errorf("ServiceChain(%q, %s) = %s, want %s", name, tt.protocol, got, tt.want)
		}
	}
	if got, want := ServicePortName("default", "nginx", ""), "default/nginx"; got != want {
		t.Errorf("unnamed port: %q, want %q", got, want)
	}
}

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func addrs(list ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func sortedLines(s string) string {
	return strings.Join(slices.Sorted(strings.Lines(s)), "")
}

// rulesOnly leaves out the declarations of chains.
func rulesOnly(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		if !strings.HasPrefix(l, ":") {
			b.WriteString(l)
		}
	}
	return b.String()
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
