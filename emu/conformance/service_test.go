package conformance

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack/conntrack"
)

// S1: a pod that talks to a cluster IP sees the cluster IP both ways; between
// the nodes it is the backend's address, and the source port is the client's.
func TestS1ClusterIPRemoteBackend(t *testing.T) {
	inModes(t, s1ClusterIPRemoteBackend, kubeProxyModes...)
}

func s1ClusterIPRemoteBackend(t *testing.T, cfg emu.Config) {
	var p1b *emutest.Pod
	var ip string
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1b = lab.Pod("p1b", "node1")
		lab.Pod("web", "node2", 8080)
		ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		if got := p1b.Get("http://web/clientip"); !strings.HasPrefix(got, "10.244.1.2:") {
			t.Errorf("the backend sees %s, want the client's own address", got)
		}
	})
	sent := s.on(eth0(p1b)).out().having("tcp.flags").some(t, "segments of the client")
	port := sent[0].get("tcp.srcport")
	for _, f := range sent {
		f.want(t, "ip.dst", ip, "tcp.dstport", "80", "ip.ttl", "64")
	}
	for _, f := range s.on(eth0(p1b)).in().having("tcp.flags").some(t, "segments to the client") {
		f.want(t, "ip.src", ip, "tcp.srcport", "80", "ip.ttl", "62")
	}
	for _, f := range s.on("node1/flannel.1").out().having("tcp.flags").some(t, "segments into the tunnel") {
		f.want(t, "ip.src", "10.244.1.2", "tcp.srcport", port, "ip.dst", "10.244.2.2", "tcp.dstport", "8080")
	}
	for _, f := range s.on("node1/flannel.1").in().having("tcp.flags").some(t, "segments out of the tunnel") {
		f.want(t, "ip.src", "10.244.2.2", "tcp.srcport", "8080", "ip.dst", "10.244.1.2", "tcp.dstport", port)
	}
}

// sameNodeService is a GET from client to web's cluster IP, both on node1.
func sameNodeService(t *testing.T, cfg emu.Config) (s *scene, client, web *emutest.Pod, ip string) {
	t.Helper()
	s = record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		web, client = lab.Pod("web", "node1", 8080), lab.Pod("client", "node1")
		ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		client.Get("http://web/")
	})
	return s, client, web, ip
}

// S2: with a backend on the same bridge the request is translated while it is
// bridged: it comes from the client's MAC with its TTL whole.
func TestS2BridgedDNAT(t *testing.T) { inModes(t, s2BridgedDNAT, natModes...) }

func s2BridgedDNAT(t *testing.T, cfg emu.Config) {
	s, client, web, _ := sameNodeService(t, cfg)
	for _, f := range s.on(eth0(web)).in().having("tcp.flags").some(t, "segments at the backend") {
		f.want(t, "eth.src", macOf(client, "eth0"), "eth.dst", macOf(web, "eth0"), "ip.src", "10.244.1.3", "ip.dst", "10.244.1.2",
			"tcp.dstport", "8080", "ip.ttl", "64")
	}
}

// S3: the bridge shows requests as they go to the backend, but replies as the
// client gets them. (With br_netfilter off, S4, the view and the fate of the
// connection are different; kube-proxy's nodes have it on.)
func TestS3AsymmetricView(t *testing.T) { inModes(t, s3AsymmetricView, natModes...) }

func s3AsymmetricView(t *testing.T, cfg emu.Config) {
	var ip string
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Pod("client", "node1")
		lab.Pod("web", "node2", 8080)
		ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		client.Get("http://web/")
	})
	for _, f := range s.on("node1/cni0").in().having("tcp.flags").some(t, "requests on cni0") {
		f.want(t, "ip.dst", "10.244.2.2", "tcp.dstport", "8080")
	}
	for _, f := range s.on("node1/cni0").out().having("tcp.flags").some(t, "replies on cni0") {
		f.want(t, "ip.src", ip, "tcp.srcport", "80")
	}
}

// nodePortGet is a GET from ext to node1's node port 30002 with the backend web
// on node2: what the backend saw as the client, and what node1 tracks.
func nodePortGet(t *testing.T, cfg emu.Config) (s *scene, web *emutest.Pod, ext *emu.Host, seen netip.AddrPort, flows []trackedFlow) {
	t.Helper()
	s = record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p1a", "node1")
		web = lab.Pod("web", "node2", 8080)
		ext = lab.Host("ext")
		lab.Service("web", 80, 8080, 30002)
		seen = netip.MustParseAddrPort(emutest.Get(t, &ext.Machine, "http://192.168.56.11:30002/clientip"))
		flows = tracked(lab, "node1")
	})
	return s, web, ext, seen, flows
}

// A trackedFlow is one line of `conntrack -L`: a flow as it began, and as its
// replies come in.
type trackedFlow struct {
	src, dst, replySrc, replyDst netip.AddrPort
	assured                      bool
}

// tracked lists the TCP flows that a node has in its connection table.
func tracked(lab *emutest.Lab, node string) []trackedFlow {
	var out []trackedFlow
	h := lab.Node(node).Stack()
	lab.Driver().Do(func() {
		for _, e := range h.Conntrack().Entries(lab.Driver().Now()) {
			if o, r := e.Tuple(conntrack.Original), e.Tuple(conntrack.Reply); o.Proto == 6 {
				out = append(out, trackedFlow{
					netip.AddrPortFrom(o.Src, o.SrcPort), netip.AddrPortFrom(o.Dst, o.DstPort),
					netip.AddrPortFrom(r.Src, r.SrcPort), netip.AddrPortFrom(r.Dst, r.DstPort),
					e.Status()&conntrack.Assured != 0,
				})
			}
		}
	})
	return out
}

// S6, flow 6: behind a node port of another node the backend sees flannel.1 of
// that node with a random port; to the client it is two hops away.
func TestS6NodePortRemoteBackend(t *testing.T) {
	inModes(t, s6NodePortRemoteBackend, kubeProxyModes...)
}

func s6NodePortRemoteBackend(t *testing.T, cfg emu.Config) {
	s, web, ext, seen, _ := nodePortGet(t, cfg)
	if seen.Addr().String() != "10.244.1.0" {
		t.Errorf("the backend sees %v, want 10.244.1.0", seen)
	}
	ask := s.on(eth0(ext)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	at := s.id(ask.id).on(eth0(web)).one(t, "SYN at the backend")
	at.want(t, "ip.src", "10.244.1.0", "ip.ttl", "62", "tcp.dstport", "8080")
	if got := at.number(t, "tcp.srcport"); got < 1024 || at.get("tcp.srcport") == ask.get("tcp.srcport") {
		t.Errorf("masqueraded from port %s to %d, want a random one of 1024 or more", ask.get("tcp.srcport"), got)
	}
	for _, f := range s.on(eth0(ext)).in().having("tcp.flags").some(t, "replies at the client") {
		f.want(t, "ip.src", "192.168.56.11", "tcp.srcport", "30002", "ip.ttl", "62")
	}
}

// S9, flow 11: a pod that uses the node port of another node is masqueraded
// twice, and travels bare.
func TestS9PodToOtherNodesNodePort(t *testing.T) {
	inModes(t, s9PodToOtherNodesNodePort, kubeProxyModes...)
}

func s9PodToOtherNodesNodePort(t *testing.T, cfg emu.Config) {
	var p1a, web *emutest.Pod
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a, web = lab.Pod("p1a", "node1"), lab.Pod("web", "node2", 8080)
		lab.Service("web", 80, 8080, 30002)
		if got := p1a.Get("http://192.168.56.12:30002/clientip"); !strings.HasPrefix(got, "10.244.2.1:") {
			t.Errorf("the backend sees %s, want 10.244.2.1", got)
		}
	})
	ask := s.on(eth0(p1a)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	wire := s.id(ask.id).on("node2/eth0").one(t, "SYN between the nodes")
	wire.want(t, "ip.src", "192.168.56.11", "ip.dst", "192.168.56.12", "tcp.dstport", "30002", "ip.ttl", "63")
	if wire.get("tcp.srcport") == ask.get("tcp.srcport") {
		t.Errorf("source port %s on the wire is the pod's own, want a random one", wire.get("tcp.srcport"))
	}
	at := s.id(ask.id).on(eth0(web)).one(t, "SYN at the backend")
	at.want(t, "ip.src", "10.244.2.1", "ip.dst", "10.244.2.2", "tcp.dstport", "8080", "ip.ttl", "62")
	s.having("vxlan.vni").none(t, "VXLAN between the nodes")
}

// S10: a Service without endpoints refuses with an ICMP error of the node, made
// in FORWARD: the TTL that it quotes is spent.
func TestS10NoEndpoints(t *testing.T) { inModes(t, s10NoEndpoints, natModes...) }

func s10NoEndpoints(t *testing.T, cfg emu.Config) {
	var p1a *emutest.Pod
	var ip string
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		ip = lab.Service("nobody", 80, 8080, 0).Spec.ClusterIP
		began := lab.Now()
		if c, err := p1a.Dial("tcp", "nobody:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial = %v, %v, want connection refused", c, err)
		}
		if took := lab.Now() - began; took != 0 {
			t.Errorf("refused after %v, want at once", took)
		}
	})
	f := s.on(eth0(p1a)).in().errors().one(t, "error at the client")
	f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.src", "10.244.1.1", "ip.dst", "10.244.1.2", "ip.dsfield", "0xc0", "ip.ttl", "64")
	f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", ip, "ip.ttl", "63", "tcp.dstport", "80")
	s.on(eth0(p1a)).in().having("tcp.flags").filter(func(f *frame) bool { return !f.isError() }).none(t, "TCP answer")
	s.on("node1/eth0", "node1/flannel.1").having("tcp.flags").none(t, "SYN beyond the node")
}

// S12: in iptables mode nothing answers a ping of a cluster IP: the request
// leaves by the default route, masqueraded.
func TestS12PingClusterIP(t *testing.T) {
	var p1a *emutest.Pod
	var ip string
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("web", "node2", 8080)
		ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		if r, err := p1a.Machine.Ping(ip, 5*time.Second); err == nil {
			t.Errorf("ping of the cluster IP = %+v, want a timeout", r)
		}
	})
	s.on("node1/eth0").out().where("icmp.type", "8").one(t, "request on the cable").
		want(t, "ip.src", "192.168.56.11", "ip.dst", ip, "eth.dst", macIn(s, "gateway/eth0"), "ip.ttl", "63")
	s.where("icmp.type", "0").none(t, "echo reply")
	s.errors().none(t, "ICMP error")
}

// dnsQuery asks for the address of "web" (RFC 1035 §4.1): whatever goes to a DNS
// port should be DNS to a decoder.
const dnsQuery = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + "\x03web\x00" + "\x00\x01\x00\x01"

// S19: when the backend's port is closed, the error is the cluster IP's,
// outside and inside.
func TestS19ClosedUDPBackend(t *testing.T) { inModes(t, s19ClosedUDPBackend, kubeProxyModes...) }

func s19ClosedUDPBackend(t *testing.T, cfg emu.Config) {
	var p1a, p2a *emutest.Pod
	var ip string
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a, p2a = lab.Pod("p1a", "node1"), lab.Pod("dns", "node2")
		svc, err := lab.AddService(udpService("dns", 53, 5353))
		if err != nil {
			t.Fatal(err)
		}
		ip = svc.Spec.ClusterIP
		c, err := p1a.Dial("udp", "dns:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte(dnsQuery)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(make([]byte, 64)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("read = %d, %v, want connection refused", n, err)
		}
	})
	ask := s.on(eth0(p1a)).out().where("udp.dstport", "53").one(t, "datagram")
	told := s.on(eth0(p2a)).out().errors().one(t, "error leaves the backend")
	told.want(t, "ip.src", "10.244.2.2", "ip.dst", "10.244.1.2", "icmp.type", "3", "icmp.code", "3")
	told.wantQuoted(t, "ip.dst", "10.244.2.2", "udp.dstport", "5353")
	f := s.on(eth0(p1a)).in().errors().one(t, "error at the client")
	f.want(t, "ip.src", ip, "ip.dst", "10.244.1.2", "icmp.type", "3", "icmp.code", "3", "icmp.checksum.status", "1", "ip.checksum.status", "1")
	f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", ip, "udp.dstport", "53", "udp.srcport", ask.get("udp.srcport"))
	if f.id != told.id {
		t.Errorf("the error has id %s at the backend and %s at the client, want one", told.id, f.id)
	}
}

func udpService(name string, port, target int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: port, TargetPort: intstr.FromInt32(target), Protocol: corev1.ProtocolUDP}},
		},
	}
}

// S25: the node's connection table holds the flow as it came in and as its
// replies come back, with the port that the backend saw.
func TestS25ConnectionTable(t *testing.T) { inModes(t, s25ConnectionTable, kubeProxyModes...) }

func s25ConnectionTable(t *testing.T, cfg emu.Config) {
	s, _, ext, seen, flows := nodePortGet(t, cfg)
	ask := s.on(eth0(ext)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	want := trackedFlow{
		src: netip.AddrPortFrom(ext.Addr(), uint16(ask.number(t, "tcp.srcport"))), dst: netip.MustParseAddrPort("192.168.56.11:30002"),
		replySrc: netip.MustParseAddrPort("10.244.2.2:8080"), replyDst: seen, assured: true,
	}
	if !slices.Equal(flows, []trackedFlow{want}) {
		t.Errorf("node1 tracks %v, want %v alone", flows, want)
	}
}
