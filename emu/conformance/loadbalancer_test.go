package conformance

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// withPool is three nodes and sixteen addresses for load balancers.
var withPool = emu.Config{Nodes: 3, Seed: 1, LoadBalancers: netip.MustParsePrefix("192.168.56.240/28")}

func loadBalancer(name string, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": name}, ExternalTrafficPolicy: policy,
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// One node answers ARP for the address of a load balancer, from its own MAC, and
// announces it when it takes it on: a request and a reply, five times in five
// seconds.
func TestLoadBalancerIsAnnouncedByOneNode(t *testing.T) {
	var ext *emu.Host
	var web *emutest.Pod
	var node *emu.Node
	const vip = "192.168.56.240"
	s := record(t, withPool, func(t *testing.T, lab *emutest.Lab) {
		web, ext = lab.Pod("web", "node2", 8080), lab.Host("ext")
		svc, err := lab.AddService(loadBalancer("web", corev1.ServiceExternalTrafficPolicyCluster))
		if err != nil {
			t.Fatal(err)
		}
		if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != vip || *in[0].IPMode != corev1.LoadBalancerIPModeVIP {
			t.Errorf("status %+v, want %s, the pool's first address, as a VIP", in, vip)
		}
		lab.Sleep(10 * time.Second)
		if got := emutest.Get(t, &ext.Machine, "http://"+vip+"/hostname"); got != "web" {
			t.Errorf("GET = %q, want web", got)
		}
		node = lab.Announcer(netip.MustParseAddr(vip))
	})
	mac := macIn(s, node.Name()+"/eth0")
	var sent []string
	for _, f := range s.on(node.Name()+"/eth0").out().where("arp.src.proto_ipv4", vip, "arp.dst.proto_ipv4", vip) {
		f.want(t, "eth.dst", "ff:ff:ff:ff:ff:ff", "arp.src.hw_mac", mac, "arp.dst.hw_mac", "ff:ff:ff:ff:ff:ff")
		sent = append(sent, f.get("arp.opcode")+" at "+f.at.Round(time.Millisecond).String())
	}
	first := sent[0][len("1 at "):]
	began, err := time.ParseDuration(first)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 5 {
		at := (began + time.Duration(i)*1100*time.Millisecond).String()
		want = append(want, "1 at "+at, "2 at "+at)
	}
	if !slices.Equal(sent, want) {
		t.Errorf("announced %q, want %q", sent, want)
	}
	asked := s.on(eth0(ext)).out().where("arp.opcode", "1", "arp.dst.proto_ipv4", vip).one(t, "request for the address")
	answers := s.on(eth0(ext)).in().since(asked.at).where("arp.opcode", "2", "arp.src.proto_ipv4", vip)
	answers.one(t, "answer").want(t, "eth.src", mac, "eth.dst", macOf(ext, "eth0"), "arp.src.hw_mac", mac)
	ask := s.on(eth0(ext)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	ask.want(t, "ip.dst", vip, "tcp.dstport", "80", "eth.dst", mac)
	s.id(ask.id).on(eth0(web)).one(t, "SYN at the backend").want(t, "tcp.dstport", "8080")
	for _, f := range s.on(eth0(ext)).in().having("tcp.flags").some(t, "replies at the client") {
		f.want(t, "ip.src", vip, "tcp.srcport", "80", "eth.src", mac)
	}
}

// When the node that announces fails, another takes over after ten seconds, and
// clients go to the new MAC at once.
func TestLoadBalancerMovesWithGratuitousARP(t *testing.T) {
	vip := netip.MustParseAddr("192.168.56.240")
	emutest.Run(t, withPool, func(t *testing.T, lab *emutest.Lab) {
		for _, n := range lab.Nodes() {
			lab.AddPod(emu.PodConfig{Name: "web-" + n.Name(), Node: n.Name(), Labels: map[string]string{"app": "web"}, Ports: []corev1.ContainerPort{{ContainerPort: 8080}}})
		}
		ext := lab.Host("ext")
		if _, err := lab.AddService(loadBalancer("web", corev1.ServiceExternalTrafficPolicyLocal)); err != nil {
			t.Fatal(err)
		}
		get := func() string {
			defer ext.HTTPClient().CloseIdleConnections()
			return emutest.Get(t, &ext.Machine, "http://"+vip.String()+"/hostname")
		}
		lab.Sleep(0)
		first := lab.Announcer(vip)
		if got := get(); got != "web-"+first.Name() { // policy Local: the node's own pod
			t.Errorf("GET = %q, want web-%s", got, first.Name())
		}
		first.SetUp(false)
		lab.Sleep(10*time.Second - 1)
		if n := lab.Announcer(vip); n != first {
			t.Errorf("%s announces before the others can know that %s has failed", n.Name(), first.Name())
		}
		lab.Sleep(1)
		second := lab.Announcer(vip)
		if second == first || second == nil {
			t.Fatalf("%v announces after 10s, want another than %s", second, first.Name())
		}
		if got := get(); got != "web-"+second.Name() {
			t.Errorf("GET = %q, want web-%s", got, second.Name())
		}
		first.SetUp(true)
		lab.Sleep(0)
		if n := lab.Announcer(vip); n != first {
			t.Errorf("%s announces although %s is back", n.Name(), first.Name())
		}
		for _, p := range lab.Pods() {
			if err := lab.RemovePod(p); err != nil {
				t.Fatal(err)
			}
		}
		lab.Sleep(0)
		if n := lab.Announcer(vip); n != nil {
			t.Errorf("%s announces a Service without endpoints", n.Name())
		}
	})
}

func TestLoadBalancerPool(t *testing.T) {
	cfg := withPool
	cfg.LoadBalancers = netip.MustParsePrefix("192.168.56.254/31") // 254, and the broadcast address
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		ips := func(name string) string {
			var list []string
			for _, in := range lab.Lab.Service("default", name).Status.LoadBalancer.Ingress {
				list = append(list, in.IP)
			}
			return strings.Join(list, " ")
		}
		for _, name := range []string{"a", "b"} {
			if _, err := lab.AddService(loadBalancer(name, "")); err != nil {
				t.Fatal(err)
			}
		}
		if ips("a") != "192.168.56.254" || ips("b") != "" {
			t.Errorf("addresses %q and %q, want the only one and none", ips("a"), ips("b"))
		}
		if err := lab.RemoveService("default", "a"); err != nil {
			t.Fatal(err)
		}
		if ips("b") != "192.168.56.254" {
			t.Errorf("b waits still, with %q", ips("b"))
		}
		_, err := lab.AddHost(emu.HostConfig{Name: "x", Addr: netip.MustParseAddr("192.168.56.254")})
		if want := "emu: x: address 192.168.56.254 is in the load balancer pool 192.168.56.254/31"; err == nil || err.Error() != want {
			t.Errorf("host in the pool: %v, want %s", err, want)
		}
		svc := loadBalancer("sctp", "")
		svc.Spec.Ports[0].Protocol = corev1.ProtocolSCTP
		_, err = lab.AddService(svc)
		if want := "emu: service default/sctp: spec.ports[0].protocol: SCTP is not emulated, want TCP or UDP"; err == nil || err.Error() != want {
			t.Errorf("SCTP: %v, want %s", err, want)
		}
	})
	for _, x := range []struct {
		pool, want string
		noGateway  bool
	}{
		{"10.244.9.0/24", "overlaps the pod CIDR 10.244.0.0/16", false},
		{"192.168.0.0/16", "is larger than segment underlay 192.168.56.0/24", false},
		{"203.0.113.0/24", "there is no router to give a route to", true},
	} {
		cfg.LoadBalancers, cfg.Underlay.NoGateway = netip.MustParsePrefix(x.pool), x.noGateway
		if _, err := emu.New(cfg); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("pool %s: %v, want %s", x.pool, err, x.want)
		}
	}
}

// A pool that is in no segment is announced by routes: every router has one, to one
// node. A node that fails is used until the hold time is over.
func TestLoadBalancerByRoutes(t *testing.T) {
	cfg := withPool
	cfg.LoadBalancers = netip.MustParsePrefix("203.0.113.0/28")
	cfg.Underlay = emu.Underlay{
		Segments: []emu.Segment{
			{Name: "rack", Subnet: netip.MustParsePrefix("192.168.56.0/24")},
			{Name: "office", Subnet: netip.MustParsePrefix("10.1.0.0/24")},
			{Name: "wan", Subnet: netip.MustParsePrefix("10.2.0.0/24")},
		},
		Routers: []emu.Router{
			{Name: "tor", Ports: []emu.RouterPort{{Segment: "rack"}, {Segment: "wan"}}},
			{Name: "edge", Ports: []emu.RouterPort{{Segment: "office"}, {Segment: "wan"}}},
		},
	}
	vip := netip.MustParseAddr("203.0.113.0")
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node2", 8080)
		ext, err := lab.AddHost(emu.HostConfig{Name: "ext", Segment: "office"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lab.AddService(loadBalancer("web", corev1.ServiceExternalTrafficPolicyCluster)); err != nil {
			t.Fatal(err)
		}
		wantRoutes := func(when, tor, edge string) {
			t.Helper()
			lab.Sleep(0)
			for router, want := range map[string]string{"tor": tor, "edge": edge} {
				got, h := "", lab.Machine(router).Stack()
				lab.Driver().Do(func() {
					for _, r := range h.Routes() {
						if r.Dst.Addr() == vip {
							got += r.String()
						}
					}
				})
				if got != want {
					t.Errorf("%s, %s: route %q, want %q", when, router, got, want)
				}
			}
		}
		const edge = "203.0.113.0 via 10.2.0.1 dev eth1 proto bgp metric 20"
		wantRoutes("policy Cluster: the lowest of all nodes", "203.0.113.0 via 192.168.56.11 dev eth0 proto bgp metric 20", edge)
		if got := emutest.Get(t, &ext.Machine, "http://203.0.113.0/hostname"); got != "web" {
			t.Errorf("GET = %q, want web", got)
		}
		lab.Node("node1").SetUp(false)
		lab.Sleep(89 * time.Second)
		wantRoutes("a second before the hold time is over", "203.0.113.0 via 192.168.56.11 dev eth0 proto bgp metric 20", edge)
		lab.Sleep(time.Second)
		wantRoutes("after the hold time", "203.0.113.0 via 192.168.56.12 dev eth0 proto bgp metric 20", edge)
		if got := emutest.Get(t, &ext.Machine, "http://203.0.113.0/hostname"); got != "web" {
			t.Errorf("GET = %q, want web", got)
		}
		if err := lab.RemoveService("default", "web"); err != nil {
			t.Fatal(err)
		}
		wantRoutes("without the Service", "", "")
		lab.Pod("far", "node3", 8080)
		if _, err := lab.AddService(loadBalancer("far", corev1.ServiceExternalTrafficPolicyLocal)); err != nil {
			t.Fatal(err)
		}
		wantRoutes("policy Local: the node of the pod", "203.0.113.0 via 192.168.56.13 dev eth0 proto bgp metric 20", edge)
		if got := emutest.Get(t, &ext.Machine, "http://203.0.113.0/clientip"); !strings.HasPrefix(got, ext.Addr().String()+":") {
			t.Errorf("the pod saw %s, want the client %v", got, ext.Addr())
		}
	})
}
