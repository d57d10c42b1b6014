package explain_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
)

// run makes the lab of the tests: client and near on node1, web on node2, a laptop
// outside, cables of 100 µs.
func run(t *testing.T, f func(t *testing.T, lab *emutest.Lab)) {
	t.Helper()
	cfg := emu.Config{Nodes: 2, Underlay: emu.Underlay{Cable: link.WireConfig{Latency: 100 * time.Microsecond}}}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("client", "node1")
		lab.Pod("near", "node1", 80)
		lab.Pod("web", "node2", 80)
		lab.Host("laptop")
		f(t, lab)
	})
}

// trace sends a packet and checks what the verdict says of it.
func trace(t *testing.T, lab *emutest.Lab, from string, p explain.Probe, verdict string) *explain.Report {
	t.Helper()
	p.From = lab.Machine(from)
	r, err := explain.Trace(lab.Lab, p)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != verdict {
		var b bytes.Buffer
		r.WriteText(&b)
		t.Errorf("verdict is\n\t%s, want\n\t%s\n%s", r.Verdict, verdict, &b)
	}
	return r
}

// way lists the devices of the request or of the answer, without those of ARP.
func way(r *explain.Report, of string) string {
	var list []string
	for _, h := range r.Hops {
		if h.Of == of && h.Drop == "" {
			list = append(list, h.Machine+"/"+h.Device)
		}
	}
	return strings.Join(list, " ")
}

func notes(r *explain.Report) string {
	var list []string
	for _, h := range r.Hops {
		if h.Note != "" {
			list = append(list, h.Note)
		}
	}
	return strings.Join(list, "; ")
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n\t%s, want\n\t%s", what, got, want)
	}
}

func TestSameNode(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		r := trace(t, lab, "client", explain.Probe{To: "near"}, "client's ping to near was delivered, and near answered with an echo reply")
		want(t, "request", way(r, "request"), "client/eth0 node1/veth(client) node1/cni0 node1/veth(near) near/eth0")
		want(t, "answer", way(r, "answer"), "near/eth0 node1/veth(near) node1/cni0 node1/veth(client) client/eth0")
		if h := r.Hops[0]; h.Of != "arp" || h.Packet != "ARP: who has near? answered at once" {
			t.Errorf("first line is %+v, want the ARP request for near", h)
		}
		if !r.Answered {
			t.Error("not answered")
		}
	})
}

func TestAcrossNodes(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		lab.Machine("client").Ping("web", time.Second) // from here on neighbours are known
		r := trace(t, lab, "client", explain.Probe{To: "web"}, "client's ping to web was delivered, and web answered with an echo reply")
		want(t, "request", way(r, "request"), "client/eth0 node1/veth(client) node1/cni0 node1/flannel.1 node1/eth0 "+
			"node2/eth0 node2/flannel.1 node2/cni0 node2/veth(web) web/eth0")
		h := r.Hops[4]
		if len(h.TTL) != 2 || h.TTL[0] != 64 || h.TTL[1] != 63 || !strings.Contains(h.Packet, "VXLAN") || !strings.Contains(h.Packet, "| IP client > web: ICMP echo request") {
			t.Errorf("on node1/eth0: %+v, want VXLAN of TTL 64 around the packet of TTL 63", h)
		}
		if last := r.Hops[len(r.Hops)-1]; last.Time != 400*time.Microsecond || last.TTL[0] != 62 {
			t.Errorf("the answer came in after %v with TTL %v, want 400µs and 62", last.Time, last.TTL)
		}
	})
}

func TestClusterIP(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		service(t, lab, "web", 0, "")
		r := trace(t, lab, "client", explain.Probe{To: "web.default", Port: 8080}, "client's TCP SYN to web.default:8080 was delivered, and web answered with a TCP SYN-ACK")
		if got := notes(r); !strings.HasPrefix(got, "DNAT svc/web:8080 -> web:80") || !strings.Contains(got, "un-DNAT web:80 -> svc/web:8080") {
			t.Errorf("notes are %q, want DNAT to the pod and back", got)
		}
	})
}

func TestNodePort(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		service(t, lab, "web", 30080, "")
		r := trace(t, lab, "laptop", explain.Probe{To: "node1", Port: 30080}, "laptop's TCP SYN to node1:30080 was delivered, and web answered with a TCP SYN-ACK")
		got := notes(r)
		for _, s := range []string{"DNAT node1:30080 -> web:80", "SNAT laptop:", "-> node1(10.244.1.0):"} {
			if !strings.Contains(got, s) {
				t.Errorf("notes are %q, want %q among them", got, s)
			}
		}
	})
}

func TestNoEndpoints(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		service(t, lab, "nobody", 0, "")
		r := trace(t, lab, "client", explain.Probe{To: "nobody", Port: 8080},
			"client's TCP SYN to nobody:8080 died at node1/cni0: netfilter REJECT (filter KUBE-SERVICES: REJECT with icmp-port-unreachable); node1 answered with an ICMP port unreachable")
		want(t, "error", r.Error, "connection refused")
	})
}

func TestTrafficPolicyLocal(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		service(t, lab, "web", 30080, corev1.ServiceExternalTrafficPolicyLocal)
		r := trace(t, lab, "laptop", explain.Probe{To: "node1", Port: 30080},
			"laptop's TCP SYN to node1:30080 died at node1/eth0: netfilter DROP (filter KUBE-EXTERNAL-SERVICES: DROP)")
		want(t, "error", r.Error, "no answer in time")
		trace(t, lab, "laptop", explain.Probe{To: "node2", Port: 30080}, "laptop's TCP SYN to node2:30080 was delivered, and web answered with a TCP SYN-ACK")
	})
}

func TestNoSuchPod(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		lab.Machine("client").Ping("web", time.Second)
		r := trace(t, lab, "client", explain.Probe{To: "10.244.2.99"},
			"client's ping to 10.244.2.99 died at node2/flannel.1: neighbour does not answer; node2 answered with an ICMP host unreachable")
		if last := r.Hops[len(r.Hops)-1]; last.Time != 3*time.Second+400*time.Microsecond {
			t.Errorf("the error came after %v, want 3 s and the way", last.Time)
		}
		var asked []string
		for _, h := range r.Hops {
			if h.Of == "arp" {
				asked = append(asked, h.Packet)
			}
		}
		want(t, "ARP", strings.Join(asked, "; "), "ARP: who has 10.244.2.99, 3 times? nobody answers")
	})
}

func TestCablePulled(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		lab.Machine("client").Ping("web", time.Second)
		lab.Machine("node2").SetLink(false)
		trace(t, lab, "client", explain.Probe{To: "web", Timeout: time.Second}, "client's ping to web died at node2/eth0: link is down")
	})
}

func TestOwnCablePulled(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		lab.Machine("client").Ping("web", time.Second)
		lab.Machine("node1").SetLink(false)
		trace(t, lab, "client", explain.Probe{To: "web", Timeout: time.Second}, "client's ping to web died at node1/eth0: link is down")
		lab.Machine("client").SetLink(false)
		trace(t, lab, "client", explain.Probe{To: "web", Timeout: time.Second}, "client's ping to web died at node1/veth(client): link is down")
	})
}

// TestLoopback: nobody but the machine itself sees the packet.
func TestLoopback(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		r := trace(t, lab, "web", explain.Probe{To: "127.0.0.1", Port: 80}, "web's TCP SYN to 127.0.0.1:80 was delivered, and web answered with a TCP SYN-ACK")
		want(t, "request", way(r, "request"), "web/lo")
		r = trace(t, lab, "node1", explain.Probe{To: "node1"}, "node1's ping to node1 was delivered, and node1 answered with an echo reply")
		want(t, "answer", way(r, "answer"), "node1/lo")
	})
}

// TestFromNode: a node translates before any device sees the packet.
func TestFromNode(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		service(t, lab, "web", 0, "")
		service(t, lab, "nobody", 0, "")
		r := trace(t, lab, "node1", explain.Probe{To: "web.default", Port: 8080}, "node1's TCP SYN to web.default:8080 was delivered, and web answered with a TCP SYN-ACK")
		if got := notes(r); !strings.Contains(got, ":8080 -> web:80") {
			t.Errorf("notes are %q, want the DNAT to web", got)
		}
		trace(t, lab, "node1", explain.Probe{To: "nobody", Port: 8080}, "node1's TCP SYN to nobody:8080 died at node1/lo: netfilter REJECT (filter KUBE-SERVICES: REJECT with icmp-port-unreachable); node1 answered with an ICMP port unreachable")
	})
}

// TestEveryDesign: the way of a ping is whole in every design, tunnel or not.
func TestEveryDesign(t *testing.T) {
	for _, design := range overlay.Designs() {
		if emu.Standalone(design.Name) {
			continue // its containers have no way to those of another host
		}
		emutest.Run(t, emu.Config{Nodes: 2, Design: design.Name}, func(t *testing.T, lab *emutest.Lab) {
			lab.Pod("client", "node1")
			lab.Pod("web", "node2", 80)
			for _, p := range []explain.Probe{{To: "web"}, {To: "web", Port: 80}} {
				p.From = lab.Machine("client")
				r, err := explain.Trace(lab.Lab, p)
				if err != nil {
					t.Fatal(err)
				}
				for of, ends := range map[string][2]string{"request": {"client/eth0", "web/eth0"}, "answer": {"web/eth0", "client/eth0"}} {
					if got := way(r, of); !strings.HasPrefix(got, ends[0]+" ") || !strings.HasSuffix(got, " "+ends[1]) || !r.Answered {
						t.Errorf("%s: %s of %s: %s, want from %s to %s", design.Name, of, r.Network, got, ends[0], ends[1])
					}
				}
			}
		})
	}
}

func TestAnswerDies(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		lab.Machine("client").Ping("web", time.Second)
		if err := lab.Machine("node2").ChangeCable("", func(out, _ *link.WireConfig) { out.Loss = 1 }); err != nil {
			t.Fatal(err)
		}
		trace(t, lab, "client", explain.Probe{To: "web", Timeout: time.Second},
			"client's ping to web was delivered, and web answered with an echo reply, which died at node2/eth0: lost on the cable")
	})
}

func TestTTL(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		trace(t, lab, "client", explain.Probe{To: "web", TTL: 2}, "client's ping to web died at node2/flannel.1: TTL expired; node2 answered with an ICMP time to live exceeded")
	})
}

func TestBlackhole(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		r := trace(t, lab, "client", explain.Probe{To: "10.244.9.1", Timeout: time.Second}, "client's ping to 10.244.9.1 died at gateway/eth0: blackhole route")
		if r.Answered || r.Answer != "" {
			t.Errorf("answered with %q, want silence", r.Answer)
		}
	})
}

func TestUDP(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		trace(t, lab, "client", explain.Probe{To: "web", Network: "udp", Port: 9}, "client's UDP datagram to web:9 died at web/eth0: no socket; web answered with an ICMP port unreachable")
		c, err := lab.Machine("web").ListenPacket("udp", ":9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := trace(t, lab, "client", explain.Probe{To: "web", Network: "udp", Port: 9, Timeout: time.Second}, "client's UDP datagram to web:9 was delivered to web, which did not answer")
		want(t, "error", r.Error, "no answer in time")
	})
}

// TestTooBig: the pod's own host refuses what does not fit its device; what does
// not fit a link on the way dies at the router before it.
func TestTooBig(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		trace(t, lab, "client", explain.Probe{To: "web", Size: 1472, DontFragment: true}, "no packet left client: message too long")
		// A host has the underlay's 1,500 bytes, flannel.1 has 1,450.
		to := emu.Route{Dst: netip.MustParsePrefix("10.244.0.0/16"), Via: lab.Machine("node1").Addr()}
		if _, err := lab.AddHost(emu.HostConfig{Name: "desk", Routes: []emu.Route{to}}); err != nil {
			t.Fatal(err)
		}
		trace(t, lab, "desk", explain.Probe{To: "web", Size: 1472, DontFragment: true},
			"desk's ping to web died at node1/eth0: larger than the path MTU, DF set; node1 answered with an ICMP fragmentation needed, MTU 1450")
	})
}

func TestWrongProbe(t *testing.T) {
	run(t, func(t *testing.T, lab *emutest.Lab) {
		client := lab.Machine("client")
		for want, p := range map[string]explain.Probe{
			"explain: nobody sends, want a machine":                         {To: "web"},
			`explain: network "sctp", want icmp, tcp or udp`:                {From: client, To: "web", Network: "sctp", Port: 1},
			"explain: udp without a port, want one":                         {From: client, To: "web", Network: "udp"},
			"explain: a ping with port 1, want tcp or udp":                  {From: client, To: "web", Network: "icmp", Port: 1},
			"explain: ping of 65508 bytes, want 0 to 65507":                 {From: client, To: "web", Size: 65508},
			"explain: tcp with a size, a TTL or DF, which only a ping has":  {From: client, To: "web", Port: 80, TTL: 3},
			"explain: lookup wbe: no Service, pod, node or machine of that": {From: client, To: "wbe"},
		} {
			if _, err := explain.Trace(lab.Lab, p); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%+v: error %v, want %q", p, err, want)
			}
		}
	})
}

// service makes a Service of port 8080 for the pods of its name.
func service(t *testing.T, lab *emutest.Lab, name string, nodePort int32, policy corev1.ServiceExternalTrafficPolicy) {
	t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
	s.Spec.Selector = map[string]string{"app": name}
	s.Spec.Ports = []corev1.ServicePort{{Port: 8080, NodePort: nodePort}}
	s.Spec.Ports[0].TargetPort.IntVal = 80
	if nodePort != 0 {
		s.Spec.Type, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, policy
	}
	if _, err := lab.AddService(s); err != nil {
		t.Fatal(err)
	}
}
