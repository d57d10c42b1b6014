package conformance

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// noBridgeFilter is the reference cluster without br_netfilter.
var noBridgeFilter = emu.Config{Nodes: 2, Seed: 1, Sysctls: map[string]string{"net.bridge.bridge-nf-call-iptables": "0"}}

// S3, the other half: without br_netfilter the bridge hands a request up before
// it is translated, and gets the reply after: the view is symmetric.
func TestS3WithoutBridgeNetfilter(t *testing.T) {
	var ip string
	s := record(t, noBridgeFilter, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		lab.Pod("web", "node2", 8080)
		ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		client.Get("http://web/")
	})
	for _, f := range s.on("node1/cni0").in().having("tcp.flags").some(t, "requests on cni0") {
		f.want(t, "ip.dst", ip, "tcp.dstport", "80")
	}
	for _, f := range s.on("node1/cni0").out().having("tcp.flags").some(t, "replies on cni0") {
		f.want(t, "ip.src", ip, "tcp.srcport", "80")
	}
}

// S4: without br_netfilter the reply of a backend on the client's own bridge
// never meets conntrack. It comes from an address the client has not called, and
// is reset.
func TestS4ReplyBypassesConntrack(t *testing.T) {
	var client, web *emutest.Pod
	s := record(t, noBridgeFilter, func(t *testing.T, lab *emutest.Lab) {
		web, client = lab.Pod("web", "node1", 8080), lab.Pod("client", "node1")
		lab.Service("web", 80, 8080, 0)
		c, err := client.Dial("tcp", "web:80")
		if !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("dial = %v, %v, want a timeout", c, err)
		}
	})
	ask := s.on(eth0(client)).out().where("tcp.flags", syn).some(t, "SYNs of the client")
	if len(ask) < 2 {
		t.Errorf("%d SYN, want retransmissions too", len(ask))
	}
	routed := s.id(ask[0].id).on(eth0(web)).one(t, "SYN at the backend")
	routed.want(t, "eth.src", macIn(s, "node1/cni0"), "ip.ttl", "63", "ip.dst", "10.244.1.2", "tcp.dstport", "8080")
	answer := s.on(eth0(client)).in().where("tcp.flags", synAck).some(t, "SYN-ACKs at the client")[0]
	answer.want(t, "eth.src", macOf(web, "eth0"), "ip.src", "10.244.1.2", "tcp.srcport", "8080", "tcp.dstport", ask[0].get("tcp.srcport"), "ip.ttl", "64")
	reset := s.on(eth0(client)).out().where("tcp.flags", rst).some(t, "RSTs of the client")[0]
	reset.want(t, "ip.dst", "10.244.1.2", "tcp.dstport", "8080", "tcp.window_size_value", "0", "ip.id", "0x0000", "frame.len", "54")
	s.on(eth0(client)).in().where("ip.src", ask[0].get("ip.dst")).none(t, "answer from the cluster IP")
}

// localNodePort is a GET from ext to the node port of a Service with
// externalTrafficPolicy Local, whose only backend is on node2.
func localNodePort(t *testing.T, cfg emu.Config, node string) (s *scene, ext *emu.Host, web *emutest.Pod, got string, err error) {
	t.Helper()
	s = record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		web, ext = lab.Pod("web", "node2", 8080), lab.Host("ext")
		svc := nodePortService("web", 80, 8080, 30002)
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		if _, err := lab.AddService(svc); err != nil {
			t.Fatal(err)
		}
		client := http.Client{Transport: ext.HTTPClient().Transport, Timeout: 20 * time.Second}
		var resp *http.Response
		if resp, err = client.Get("http://" + lab.Node(node).Addr().String() + ":30002/clientip"); err == nil {
			body, _ := io.ReadAll(resp.Body)
			got = string(body)
			resp.Body.Close()
		}
		client.CloseIdleConnections()
	})
	return s, ext, web, got, err
}

func nodePortService(name string, port, target, nodePort int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(target), NodePort: nodePort}},
		},
	}
}

// S8, flow 8: externalTrafficPolicy Local leaves the client's address and port
// as they are.
func TestS8LocalPolicyLocalBackend(t *testing.T) {
	inModes(t, s8LocalPolicyLocalBackend, kubeProxyModes...)
}

func s8LocalPolicyLocalBackend(t *testing.T, cfg emu.Config) {
	s, ext, web, got, err := localNodePort(t, cfg, "node2")
	if err != nil || !strings.HasPrefix(got, ext.Addr().String()+":") {
		t.Errorf("the backend sees %q, %v, want %v", got, err, ext.Addr())
	}
	ask := s.on(eth0(ext)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	s.id(ask.id).on(eth0(web)).one(t, "SYN at the backend").
		want(t, "ip.src", ext.Addr().String(), "tcp.srcport", ask.get("tcp.srcport"), "tcp.dstport", "8080", "ip.ttl", "63")
	for _, f := range s.on(eth0(ext)).in().having("tcp.flags").some(t, "replies at the client") {
		f.want(t, "ip.src", "192.168.56.12", "tcp.srcport", "30002", "ip.ttl", "63")
	}
	s.having("vxlan.vni").none(t, "VXLAN between the nodes")
}

// S8, flow 9: on a node without a backend the packet ends, without a word, for a
// load balancer to try elsewhere.
func TestS8LocalPolicyNoLocalBackend(t *testing.T) {
	inModes(t, s8LocalPolicyNoLocalBackend, natModes...)
}

func s8LocalPolicyNoLocalBackend(t *testing.T, cfg emu.Config) {
	s, ext, web, got, err := localNodePort(t, cfg, "node1")
	var timeout interface{ Timeout() bool }
	if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("GET = %q, %v, want a timeout", got, err)
	}
	if n := len(s.on(eth0(ext)).out().where("tcp.flags", syn)); n < 2 {
		t.Errorf("%d SYN, want retransmissions too", n)
	}
	s.on(eth0(ext)).in().having("tcp.flags").none(t, "answer at the client")
	s.errors().none(t, "ICMP error")
	s.on("node1/flannel.1", eth0(web)).having("tcp.flags").none(t, "SYN beyond the node")
}

// S8, flow 9 in ipvs mode: kube-proxy falls back on all endpoints, for the sake of
// pods of the node, and does not mark the packet. flannel's own rule masquerades what
// comes from outside and goes to another node's pods, so that the client is answered,
// and the backend does not see who asks.
func TestS8LocalPolicyNoLocalBackendIPVS(t *testing.T) {
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	s, ext, web, got, err := localNodePort(t, cfg, "node1")
	if err != nil || !strings.HasPrefix(got, "10.244.1.0:") {
		t.Errorf("the backend sees %q, %v, want node1's flannel.1", got, err)
	}
	ask := s.on(eth0(ext)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	s.id(ask.id).on(eth0(web)).one(t, "SYN at the backend").want(t, "ip.src", "10.244.1.0", "tcp.dstport", "8080", "ip.ttl", "62")
	for _, f := range s.on(eth0(ext)).in().having("tcp.flags").some(t, "replies at the client") {
		f.want(t, "ip.src", "192.168.56.11", "tcp.srcport", "30002")
	}
}

// S21: in iptables mode a node port answers on the node's own loopback address,
// thanks to route_localnet.
func TestS21NodePortOnLoopback(t *testing.T) {
	var web *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		web = lab.Pod("web", "node2", 8080)
		lab.Service("web", 80, 8080, 30002)
		if got := emutest.Get(t, &lab.Node("node1").Machine, "http://127.0.0.1:30002/hostname"); got != "web" {
			t.Errorf("GET on 127.0.0.1 = %q, want web", got)
		}
	})
	s.on(eth0(web)).in().where("tcp.flags", syn).one(t, "SYN at the backend").want(t, "ip.src", "10.244.1.0", "tcp.dstport", "8080")
	s.on("node1/eth0", "node1/flannel.1").where("ip.src", "127.0.0.1").none(t, "loopback address on the wire")
}

// S22: every node answers the health check of its load balancer, as kube-proxy
// does to the byte, for as long as the Service is there.
func TestS22HealthCheckNodePort(t *testing.T) { inModes(t, s22HealthCheckNodePort, kubeProxyModes...) }

func s22HealthCheckNodePort(t *testing.T, cfg emu.Config) {
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		web, ext := lab.Pod("web", "node2", 8080), lab.Host("ext")
		svc := nodePortService("web", 80, 8080, 30002)
		svc.Spec.Type, svc.Spec.ExternalTrafficPolicy = corev1.ServiceTypeLoadBalancer, corev1.ServiceExternalTrafficPolicyLocal
		svc.Spec.HealthCheckNodePort = 32000
		if _, err := lab.AddService(svc); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, ext, "192.168.56.11", 503, "0")
		wantHealth(t, ext, "192.168.56.12", 200, "1")
		if err := lab.RemovePod(web.Pod); err != nil {
			t.Fatal(err)
		}
		wantHealth(t, ext, "192.168.56.12", 503, "0")
		if err := lab.RemoveService("default", "web"); err != nil {
			t.Fatal(err)
		}
		lab.Sleep(0)
		ext.HTTPClient().CloseIdleConnections()
		if c, err := ext.Dial("tcp", "192.168.56.12:32000"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial without the Service = %v, %v, want connection refused", c, err)
		}
	})
}

func wantHealth(t *testing.T, from *emu.Host, node string, status int, endpoints string) {
	t.Helper()
	resp, err := from.HTTPClient().Get("http://" + node + ":32000/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	want := "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": " + endpoints + ",\n\t\"serviceProxyHealthy\": true\n}"
	if err != nil || resp.StatusCode != status || string(body) != want {
		t.Errorf("%s: status %d, %v, body\n%s\nwant %d,\n%s", node, resp.StatusCode, err, body, status, want)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": endpoints} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %s: %q, want %q", node, name, got, want)
		}
	}
}
