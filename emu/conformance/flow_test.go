package conformance

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// Flow 1, point by point: a Service whose backend is on the same bridge. Node1
// has not asked for the backend itself yet, so that its bridge device sees the
// packet with its own MAC too.
func TestFlow1SameNodeBackend(t *testing.T) {
	s, client, web, ip := sameNodeService(t, twoNodes)
	ask := s.on(eth0(client)).out().where("tcp.flags", syn).one(t, "SYN")
	answer := s.on(eth0(web)).out().where("tcp.flags", synAck).one(t, "SYN-ACK")
	s.wantPath(t, ask.id, ask.get("tcp.srcport"),
		"client/eth0 out: client/eth0 > node1/cni0, 10.244.1.3:PORT > "+ip+":80, ttl 64",
		"node1/veth(client) in: client/eth0 > node1/cni0, 10.244.1.3:PORT > "+ip+":80, ttl 64",
		"node1/cni0 out: node1/cni0 > web/eth0, 10.244.1.3:PORT > 10.244.1.2:8080, ttl 64",
		"node1/cni0 in: client/eth0 > web/eth0, 10.244.1.3:PORT > 10.244.1.2:8080, ttl 64",
		"node1/veth(web) out: client/eth0 > web/eth0, 10.244.1.3:PORT > 10.244.1.2:8080, ttl 64",
		"web/eth0 in: client/eth0 > web/eth0, 10.244.1.3:PORT > 10.244.1.2:8080, ttl 64",
	)
	// On the way back the source is translated in POSTROUTING, which the bridge
	// runs after it has shown the frame to its own device.
	s.wantPath(t, answer.id, ask.get("tcp.srcport"),
		"web/eth0 out: web/eth0 > client/eth0, 10.244.1.2:8080 > 10.244.1.3:PORT, ttl 64",
		"node1/veth(web) in: web/eth0 > client/eth0, 10.244.1.2:8080 > 10.244.1.3:PORT, ttl 64",
		"node1/cni0 in: web/eth0 > client/eth0, 10.244.1.2:8080 > 10.244.1.3:PORT, ttl 64",
		"node1/veth(client) out: web/eth0 > client/eth0, "+ip+":80 > 10.244.1.3:PORT, ttl 64",
		"client/eth0 in: web/eth0 > client/eth0, "+ip+":80 > 10.244.1.3:PORT, ttl 64",
	)
}

// Flow 3: a pod that reaches itself through its Service. The request comes back
// by the port it left by, from the bridge's address and the pod's own MAC.
func TestFlow3Hairpin(t *testing.T) {
	var web *emutest.Pod
	var ip, seen string
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		web = lab.Pod("web", "node1", 8080)
		ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		seen = web.Get("http://web/clientip")
	})
	if !strings.HasPrefix(seen, "10.244.1.1:") {
		t.Errorf("the pod sees %s, want 10.244.1.1", seen)
	}
	ask := s.on(eth0(web)).out().where("tcp.flags", syn).one(t, "SYN")
	s.wantPath(t, ask.id, ask.get("tcp.srcport"),
		"web/eth0 out: web/eth0 > node1/cni0, 10.244.1.2:PORT > "+ip+":80, ttl 64",
		"node1/veth(web) in: web/eth0 > node1/cni0, 10.244.1.2:PORT > "+ip+":80, ttl 64",
		"node1/cni0 out: node1/cni0 > web/eth0, 10.244.1.2:PORT > 10.244.1.2:8080, ttl 64",
		"node1/cni0 in: web/eth0 > web/eth0, 10.244.1.2:PORT > 10.244.1.2:8080, ttl 64",
		"node1/veth(web) out: web/eth0 > web/eth0, "+seen+" > 10.244.1.2:8080, ttl 64",
		"web/eth0 in: web/eth0 > web/eth0, "+seen+" > 10.244.1.2:8080, ttl 64",
	)
	if p := netip.MustParseAddrPort(seen).Port(); p < 1024 || strings.HasSuffix(seen, ":"+ask.get("tcp.srcport")) {
		t.Errorf("masqueraded from port %s to %d, want a random one", ask.get("tcp.srcport"), p)
	}
}

// Flows 4, 5, 7, 12, 13: what the backend sees as its client, and how far away.
// The address is the primary one of the device by which the packet leaves.
func TestFlowSources(t *testing.T) {
	for _, x := range []struct {
		name    string
		backend string // node of web
		get     func(t *testing.T, lab *emutest.Lab, clusterIP string) string
		source  string
		ttl     string
	}{
		{"4 node to clusterIP, remote backend", "node2", fromNode1, "10.244.1.0", "63"},
		{"5 node to clusterIP, local backend", "node1", fromNode1, "10.244.1.1", "64"},
		{"6 outside to nodePort, remote backend", "node2", fromOutside, "10.244.1.0", "62"},
		{"7 outside to nodePort, local backend", "node1", fromOutside, "10.244.1.1", "63"},
		{"10 pod to its node's nodePort, remote backend", "node2", fromPod, "10.244.1.0", "62"},
		{"12 node to 127.0.0.1, remote backend", "node2", fromLoopback, "10.244.1.0", "63"},
		{"12 node to 127.0.0.1, local backend", "node1", fromLoopback, "10.244.1.1", "64"},
		{"13 outside to clusterIP, remote backend", "node2", routedFromOutside, "10.244.1.0", "62"},
		{"13 outside to clusterIP, local backend", "node1", routedFromOutside, "10.244.1.1", "63"},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			var web *emutest.Pod
			var seen string
			var flows []trackedFlow
			s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
				web = lab.Pod("web", x.backend, 8080)
				lab.Pod("p1a", "node1")
				ip := lab.Service("web", 80, 8080, 30002).Spec.ClusterIP
				seen = x.get(t, lab, ip)
				flows = tracked(lab, "node1")
			})
			at := s.on(eth0(web)).in().where("tcp.flags", syn).one(t, "SYN at the backend")
			at.want(t, "ip.src", x.source, "ip.ttl", x.ttl, "tcp.dstport", "8080")
			if got := withPort(at.get("ip.src"), at.get("tcp.srcport")); got != seen {
				t.Errorf("on the wire the client is %s, to the server %s", got, seen)
			}
			if ids := s.where("tcp.flags", syn).ids(); len(ids) != 1 {
				t.Errorf("the SYN has ids %v on its way, want one", ids)
			}
			if len(flows) != 1 || flows[0].replyDst.String() != seen || flows[0].src.Port() == flows[0].replyDst.Port() {
				t.Errorf("node1 tracks %v, want one flow, masqueraded as %s from a port that is not the client's own", flows, seen)
			}
		})
	}
}

func fromNode1(t *testing.T, lab *emutest.Lab, ip string) string {
	return emutest.Get(t, &lab.Node("node1").Machine, "http://"+ip+"/clientip")
}

func fromLoopback(t *testing.T, lab *emutest.Lab, _ string) string {
	return emutest.Get(t, &lab.Node("node1").Machine, "http://127.0.0.1:30002/clientip")
}

func fromPod(t *testing.T, lab *emutest.Lab, _ string) string {
	return emutest.Get(t, &lab.Lab.Pod("p1a").Machine, "http://192.168.56.11:30002/clientip")
}

func fromOutside(t *testing.T, lab *emutest.Lab, _ string) string {
	return emutest.Get(t, &lab.Host("ext").Machine, "http://192.168.56.11:30002/clientip")
}

// routedFromOutside has a static route to the Services by way of node1.
func routedFromOutside(t *testing.T, lab *emutest.Lab, ip string) string {
	ext := lab.Host("ext")
	var err error
	lab.Driver().Do(func() {
		h := ext.Stack()
		err = h.AddRoute(stack.Route{Dst: netip.MustParsePrefix("10.96.0.0/12"), Via: netip.MustParseAddr("192.168.56.11"), Dev: h.Device("eth0")})
	})
	if err != nil {
		t.Fatal(err)
	}
	return emutest.Get(t, &ext.Machine, "http://"+ip+"/clientip")
}
