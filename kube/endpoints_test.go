package kube

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func wantEndpoints(t *testing.T, why string, c *Cluster, name, want string) {
	t.Helper()
	if got := endpointText(c, name); got != want {
		t.Errorf("%s:\ngot  %q\nwant %q", why, got, want)
	}
}

func TestEndpointsFollowThePods(t *testing.T) {
	c := newCluster(t)
	addService(t, c, service("web"))
	wantEndpoints(t, "no pods", c, "web", "http:")

	addPods(t, c, webPod("b", "10.244.1.3", "node1"), webPod("a", "10.244.1.2", "node1"), webPod("ten", "10.244.1.10", "node1"))
	wantEndpoints(t, "the order is that of the text", c, "web", "http: 10.244.1.10:8080 RS- 10.244.1.2:8080 RS- 10.244.1.3:8080 RS-")

	other := webPod("other", "10.244.1.9", "node1")
	other.Labels = map[string]string{"app": "other"}
	elsewhere := webPod("a", "10.244.1.8", "node1")
	elsewhere.Namespace = "elsewhere"
	addPods(t, c, other, elsewhere, webPod("pending", "", ""))
	wantEndpoints(t, "other labels, another namespace, no address", c, "web", "http: 10.244.1.10:8080 RS- 10.244.1.2:8080 RS- 10.244.1.3:8080 RS-")

	done := webPod("ten", "10.244.1.10", "node1")
	done.Status.Phase = corev1.PodSucceeded
	for _, p := range []*corev1.Pod{notReady(webPod("b", "10.244.1.3", "node1")), terminating(webPod("a", "10.244.1.2", "node1")), done} {
		if err := c.UpdatePod(p); err != nil {
			t.Fatal(err)
		}
	}
	wantEndpoints(t, "terminating still serves, unready does not, done is gone", c, "web", "http: 10.244.1.2:8080 -ST 10.244.1.3:8080 ---")

	relabelled := webPod("a", "10.244.1.2", "node1")
	relabelled.Labels = map[string]string{"app": "other"}
	if err := c.UpdatePod(relabelled); err != nil {
		t.Fatal(err)
	}
	if err := c.RemovePod("", "b"); err != nil {
		t.Fatal(err)
	}
	wantEndpoints(t, "relabelled and removed", c, "web", "http:")
}

func TestPublishNotReadyAddresses(t *testing.T) {
	c := newCluster(t)
	addPods(t, c, notReady(webPod("a", "10.244.1.2", "node1")), terminating(webPod("b", "10.244.1.3", "node1")))
	addService(t, c, service("web", func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }))
	wantEndpoints(t, "all count as ready", c, "web", "http: 10.244.1.2:8080 R-- 10.244.1.3:8080 RST")
}

func TestNamedTargetPortIsLookedUpOnEachPod(t *testing.T) {
	c := newCluster(t)
	odd := webPod("odd", "10.244.1.3", "node1")
	odd.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 9090}}
	sidecar := webPod("sidecar", "10.244.1.4", "node1")
	always := corev1.ContainerRestartPolicyAlways
	sidecar.Spec.InitContainers = []corev1.Container{{Name: "s", RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "proxy", ContainerPort: 7000}}}}
	addPods(t, c, webPod("a", "10.244.1.2", "node1"), odd, sidecar)
	addService(t, c, service("web", func(s *corev1.Service) {
		s.Spec.Ports = []corev1.ServicePort{
			{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
			{Name: "udp", Port: 80, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromString("http")}, // http is TCP on every pod
			{Name: "proxy", Port: 81, TargetPort: intstr.FromString("proxy")},
			{Name: "number", Port: 82, TargetPort: intstr.FromInt32(1234)},
		}
	}))
	wantEndpoints(t, "by name, protocol and number", c, "web", strings.Join([]string{
		"http: 10.244.1.2:8080 RS- 10.244.1.3:9090 RS- 10.244.1.4:8080 RS-",
		"udp:",
		"proxy: 10.244.1.4:7000 RS-",
		"number: 10.244.1.2:1234 RS- 10.244.1.3:1234 RS- 10.244.1.4:1234 RS-",
	}, "\n"))
}

func TestHeadlessAndExternalName(t *testing.T) {
	c := newCluster(t)
	threePods(t, c)
	addService(t, c, service("bare", clusterIP("None"), func(s *corev1.Service) { s.Spec.Ports = nil }))
	wantEndpoints(t, "headless without ports", c, "bare", ": 10.244.1.2:0 RS- 10.244.1.3:0 RS- 10.244.2.2:0 RS-")
	ext := addService(t, c, service("ext", func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalName, s.Spec.Selector = corev1.ServiceTypeExternalName, "db.example.com.", nil
	}))
	if ext.Spec.ClusterIP != "" || c.Endpoints("", "ext") != nil {
		t.Errorf("ExternalName: clusterIP %q, endpoints %v, want neither", ext.Spec.ClusterIP, c.Endpoints("", "ext"))
	}
	if got, want := onNode1(t).IPTables(c), onNode1(t).IPTables(newCluster(t)); got != want {
		t.Errorf("headless and ExternalName Services make rules:\n%s", lineDiff(got, want))
	}
}

func TestEndpointSlicesServeAServiceWithoutSelector(t *testing.T) {
	c := newCluster(t)
	addService(t, c, service("db", func(s *corev1.Service) { s.Spec.Selector = nil }))
	if err := c.SetEndpointSlice(endpointSlice("db-1", "db", 5432, "192.168.56.50", "192.168.56.51")); err != nil {
		t.Fatal(err)
	}
	off := endpointSlice("db-2", "db", 5432, "192.168.56.52")
	no := false
	off.Endpoints[0].Conditions.Ready, off.Endpoints[0].Conditions.Serving = &no, &no
	if err := c.SetEndpointSlice(off); err != nil {
		t.Fatal(err)
	}
	wantEndpoints(t, "two slices", c, "db", "http: 192.168.56.50:5432 RS- 192.168.56.51:5432 RS- 192.168.56.52:5432 ---")
	if err := c.SetEndpointSlice(endpointSlice("db-1", "db", 5433, "192.168.56.50")); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveEndpointSlice("", "db-2"); err != nil {
		t.Fatal(err)
	}
	wantEndpoints(t, "one replaced, one removed", c, "db", "http: 192.168.56.50:5433 RS-")

	for change, want := range map[string]string{
		"127.0.0.1": `endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`,
		"fd00::1":   `endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address`,
	} {
		want = `EndpointSlice.discovery.k8s.io "x" is invalid: ` + want
		if err := c.SetEndpointSlice(endpointSlice("x", "db", 1, change)); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	empty := endpointSlice("x", "db", 1)
	empty.Endpoints = []discoveryv1.Endpoint{{}}
	if err := c.SetEndpointSlice(empty); err == nil {
		t.Error("endpoint without address: no error")
	}
}

// What one node may use, as "cluster | local | anywhere", endpoints by pod name.
func TestEndpointsAreUsedByReadinessAndPolicy(t *testing.T) {
	ready1, ready2 := webPod("r1", "10.244.1.2", "node1"), webPod("r2", "10.244.2.2", "node2")
	drain1, drain2 := terminating(webPod("t1", "10.244.1.3", "node1")), terminating(webPod("t2", "10.244.2.3", "node2"))
	dead := notReady(webPod("d", "10.244.1.4", "node1"))
	for _, tt := range []struct {
		name   string
		pods   []*corev1.Pod
		change []func(*corev1.Service)
		want   string
	}{
		{"none", nil, nil, " |  | false"},
		{"not ready", []*corev1.Pod{dead}, nil, " |  | false"},
		{"ready before terminating", []*corev1.Pod{ready1, drain1, dead}, nil, "r1 |  | true"},
		{"terminating if none is ready", []*corev1.Pod{drain1, drain2, dead}, nil, "t1 t2 |  | true"},
		{"external Local", []*corev1.Pod{ready1, ready2}, []func(*corev1.Service){nodePort(0), externalLocal}, "r1 r2 | r1 | true"},
		{"external Local, elsewhere", []*corev1.Pod{ready2}, []func(*corev1.Service){nodePort(0), externalLocal}, "r2 |  | true"},
		{"external Local, here only terminating", []*corev1.Pod{drain1, ready2}, []func(*corev1.Service){nodePort(0), externalLocal}, "r2 | t1 | true"},
		{"internal Local", []*corev1.Pod{ready1, ready2}, []func(*corev1.Service){internalLocal}, " | r1 | true"},
		{"internal Local, elsewhere", []*corev1.Pod{ready2}, []func(*corev1.Service){internalLocal}, " |  | true"},
		{"internal Local with a node port", []*corev1.Pod{ready1, ready2}, []func(*corev1.Service){nodePort(0), internalLocal}, "r1 r2 | r1 | true"},
	} {
		c := newCluster(t)
		addPods(t, c, tt.pods...)
		addService(t, c, service("web", tt.change...))
		sp := &c.servicePorts(c.services[objectName("", "web")])[0]
		u := categorize(sp, "node1", "")
		if got := fmt.Sprintf("%s | %s | %t", podNames(u.cluster), podNames(u.local), u.anywhere); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func podNames(eps []*Endpoint) string {
	var names []string
	for _, e := range eps {
		names = append(names, e.Pod.Name)
	}
	return strings.Join(names, " ")
}

func TestTrafficDistributionKeepsTrafficNear(t *testing.T) {
	c := newCluster(t)
	for i, zone := range []string{"z1", "z1", "z2"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node%d", i+1), Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
		if err := c.AddNode(n); err != nil {
			t.Fatal(err)
		}
	}
	addPods(t, c, webPod("p1", "10.244.1.2", "node1"), webPod("p2", "10.244.2.2", "node2"), webPod("p3", "10.244.3.2", "node3"))
	near := func(d string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.TrafficDistribution = &d }
	}
	addService(t, c, service("all"))
	addService(t, c, service("zone", near("PreferClose")))
	addService(t, c, service("node", near("PreferSameNode")))
	for _, tt := range []struct{ service, node, zone, want string }{
		{"all", "node1", "z1", "p1 p2 p3"},
		{"zone", "node1", "z1", "p1 p2"},
		{"zone", "node3", "z2", "p3"},
		{"zone", "node9", "z9", "p1 p2 p3"}, // nothing is near: the hints do not count
		{"node", "node1", "z1", "p1"},
		{"node", "node9", "z2", "p3"}, // no endpoint on the node: the zone
	} {
		sp := &c.servicePorts(c.services[objectName("", tt.service)])[0]
		if got := podNames(categorize(sp, tt.node, tt.zone).cluster); got != tt.want {
			t.Errorf("%s from %s in %s: %q, want %q", tt.service, tt.node, tt.zone, got, tt.want)
		}
	}
	addPods(t, c, webPod("p4", "10.244.4.2", "nowhere")) // has no zone, hence no hint
	sp := &c.servicePorts(c.services[objectName("", "zone")])[0]
	if got, want := podNames(categorize(sp, "node1", "z1").cluster), "p1 p2 p3 p4"; got != want {
		t.Errorf("one endpoint without a hint: %q, want %q", got, want)
	}
}

func TestStaleUDPEntries(t *testing.T) {
	c := newCluster(t)
	addPods(t, c, webPod("a", "10.244.1.2", "node1"), terminating(webPod("b", "10.244.1.3", "node1")), notReady(webPod("c", "10.244.1.4", "node1")))
	addService(t, c, service("dns", clusterIP("10.96.0.10"), func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.ExternalIPs = []string{"203.0.113.7"}
		s.Spec.Ports = []corev1.ServicePort{
			{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP, NodePort: 30053},
			{Name: "tcp", Port: 54, NodePort: 30054},
		}
	}))
	addService(t, c, service("idle", clusterIP("10.96.0.11"), func(s *corev1.Service) {
		s.Spec.Selector = map[string]string{"app": "nobody"}
		s.Spec.Ports[0].Protocol = corev1.ProtocolUDP
	}))
	var got []string
	for _, f := range c.UDPFrontends() {
		got = append(got, fmt.Sprint(f.Addr, " ", f.Port, " ", f.Serving))
	}
	want := []string{
		"10.96.0.10 53 [10.244.1.2 10.244.1.3]",
		"203.0.113.7 53 [10.244.1.2 10.244.1.3]",
		"invalid IP 30053 [10.244.1.2 10.244.1.3]",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("frontends\ngot  %q\nwant %q", got, want)
	}
	for _, tt := range []struct {
		dst, reply string
		want       bool
	}{
		{"10.96.0.10:53", "10.244.1.2", false},
		{"10.96.0.10:53", "10.244.1.3", false},      // terminating, but it serves
		{"10.96.0.10:53", "10.244.1.4", true},       // not ready any more
		{"10.96.0.10:53", "10.244.9.9", true},       // gone
		{"192.168.56.11:30053", "10.244.9.9", true}, // node port, at any address
		{"203.0.113.7:53", "10.244.9.9", true},
		{"10.96.0.10:54", "10.244.9.9", false}, // TCP
		{"10.96.0.11:80", "10.244.9.9", false}, // no endpoint left: entries age
		{"8.8.8.8:53", "8.8.8.8", false},       // no Service
	} {
		if got := StaleUDP(c.UDPFrontends(), addrPort(tt.dst), addrs(tt.reply)[0]); got != tt.want {
			t.Errorf("entry to %s answered by %s: stale %t, want %t", tt.dst, tt.reply, got, tt.want)
		}
	}
}
