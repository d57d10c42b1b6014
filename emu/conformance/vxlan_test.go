package conformance

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// crossNodePing is `ping -c 1 -s 8` from p1a on node1 to p2a on node2.
func crossNodePing(t *testing.T) (s *scene, ask, answer *frame) {
	t.Helper()
	var p1a, p2a *emutest.Pod
	s = record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p2a = lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2")
		if r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 8}, time.Second); err != nil || r.Err() != nil || r.TTL != 62 {
			t.Fatalf("ping = %+v, %v, want an answer with TTL 62", r, err)
		}
	})
	ask = s.on(eth0(p1a)).out().where("icmp.type", "8").one(t, "echo request leaves p1a")
	answer = s.on(eth0(p2a)).out().where("icmp.type", "0").one(t, "echo reply leaves p2a")
	return s, ask, answer
}

// A3: the walk of one packet through flannel's VXLAN, six capture points with
// both ends of each veth pair and of the cable, and back.
func TestA3PathTable(t *testing.T) {
	s, ask, answer := crossNodePing(t)
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/cni0 in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/flannel.1 out: node1/flannel.1 > node2/flannel.1, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node1/eth0 out: [node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 64, vni 1] node1/flannel.1 > node2/flannel.1, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/eth0 in: [node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 64, vni 1] node1/flannel.1 > node2/flannel.1, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/flannel.1 in: node1/flannel.1 > node2/flannel.1, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/cni0 out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"node2/veth(p2a) out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"p2a/eth0 in: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
	)
	s.wantPath(t, answer.id, "",
		"p2a/eth0 out: p2a/eth0 > node2/cni0, 10.244.2.2 > 10.244.1.2, ttl 64",
		"node2/veth(p2a) in: p2a/eth0 > node2/cni0, 10.244.2.2 > 10.244.1.2, ttl 64",
		"node2/cni0 in: p2a/eth0 > node2/cni0, 10.244.2.2 > 10.244.1.2, ttl 64",
		"node2/flannel.1 out: node2/flannel.1 > node1/flannel.1, 10.244.2.2 > 10.244.1.2, ttl 63",
		"node2/eth0 out: [node2/eth0 > node1/eth0, 192.168.56.12 > 192.168.56.11, ttl 64, vni 1] node2/flannel.1 > node1/flannel.1, 10.244.2.2 > 10.244.1.2, ttl 63",
		"node1/eth0 in: [node2/eth0 > node1/eth0, 192.168.56.12 > 192.168.56.11, ttl 64, vni 1] node2/flannel.1 > node1/flannel.1, 10.244.2.2 > 10.244.1.2, ttl 63",
		"node1/flannel.1 in: node2/flannel.1 > node1/flannel.1, 10.244.2.2 > 10.244.1.2, ttl 63",
		"node1/cni0 out: node1/cni0 > p1a/eth0, 10.244.2.2 > 10.244.1.2, ttl 62",
		"node1/veth(p1a) out: node1/cni0 > p1a/eth0, 10.244.2.2 > 10.244.1.2, ttl 62",
		"p1a/eth0 in: node1/cni0 > p1a/eth0, 10.244.2.2 > 10.244.1.2, ttl 62",
	)
}

// V1: eight bytes of ping are 100 bytes on the cable.
func TestV1Encapsulation(t *testing.T) {
	s, ask, _ := crossNodePing(t)
	f := s.id(ask.id).on("node1/eth0").one(t, "echo request on the cable")
	f.want(t, "frame.len", "100", "vxlan.vni", "1", "vxlan.flags", "0x0800",
		"eth.src", macIn(s, "node1/flannel.1"), "eth.dst", macIn(s, "node2/flannel.1"))
	if got := f.outer("udp.dstport"); got != "8472" {
		t.Errorf("outer UDP port %s, want 8472", got)
	}
	if got, want := f.outer("udp.payload")[:16], "0800000000000100"; got != want {
		t.Errorf("VXLAN header %s, want %s", got, want)
	}
}

// macIn is the address of a device in a scene that is over.
func macIn(s *scene, device string) string {
	for mac, name := range s.macs {
		if name == device {
			return mac
		}
	}
	return "no " + device
}

// V2: the TTL at every point.
func TestV2TTLs(t *testing.T) {
	s, ask, answer := crossNodePing(t)
	for _, id := range []string{ask.id, answer.id} {
		got := s.id(id).values("ip.ttl")
		if want := []string{"64", "64", "64", "63", "63", "63", "63", "62", "62", "62"}; !slices.Equal(got, want) {
			t.Errorf("datagram %s has TTLs %v, want %v", id, got, want)
		}
	}
}

// V3: the outer header is a new one: TTL 64, no DF, TOS 0, a number, and a UDP
// checksum that is there and right.
func TestV3OuterHeader(t *testing.T) {
	s, ask, answer := crossNodePing(t)
	for _, id := range []string{ask.id, answer.id} {
		for _, f := range s.id(id).on("node1/eth0", "node2/eth0").some(t, "packet on the cable") {
			for _, x := range []struct{ field, want string }{
				{"ip.ttl", "64"}, {"ip.flags.df", "0"}, {"ip.dsfield", "0x00"}, {"ip.frag_offset", "0"},
				{"ip.checksum.status", "1"}, {"udp.checksum.status", "1"},
			} {
				if got := f.outer(x.field); got != x.want {
					t.Errorf("%v: outer %s = %q, want %q", f, x.field, got, x.want)
				}
			}
			if f.outer("ip.id") == "0x0000" || f.outer("udp.checksum") == "0x0000" {
				t.Errorf("%v: outer IP ID %s, UDP checksum %s, want neither 0", f, f.outer("ip.id"), f.outer("udp.checksum"))
			}
		}
	}
}

// V4: of 100 connections, each keeps one outer source port per direction, and
// they differ from connection to connection.
func TestV4SourcePortPerConnection(t *testing.T) {
	const conns = 100
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a := lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2", 8080)
		for range conns {
			c, err := p1a.Dial("tcp", "10.244.2.2:8080")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		lab.Sleep(time.Second)
	})
	for _, node := range []string{"node1", "node2"} {
		ports := make(map[string][]string) // by connection: outer ports seen, each once
		distinct := make(map[string]bool)
		for _, f := range s.on(node+"/eth0").out().having("tcp.srcport").some(t, "segments on the cable") {
			key, port := f.get("tcp.srcport")+">"+f.get("tcp.dstport"), f.outer("udp.srcport")
			if !slices.Contains(ports[key], port) {
				ports[key] = append(ports[key], port)
			}
			distinct[port] = true
			wantSourcePort(t, f)
		}
		for key, list := range ports {
			if len(list) != 1 {
				t.Errorf("%s: connection %s uses outer source ports %v, want one", node, key, list)
			}
		}
		if len(ports) != conns || len(distinct) < 90 {
			t.Errorf("%s: %d connections with %d outer source ports, want %d with 90 or more", node, len(ports), len(distinct), conns)
		}
	}
}

// wantSourcePort checks that the outer source port is one that Linux picks.
func wantSourcePort(t *testing.T, f *frame) {
	t.Helper()
	var n int
	if fmt.Sscan(f.outer("udp.srcport"), &n); n < 32768 || n > 60998 {
		t.Errorf("%v: outer source port %s, want 32768 to 60998", f, f.outer("udp.srcport"))
	}
}

// V5: the identifier of a ping is not part of the flow hash: ten processes
// have one outer source port in each direction, which each node chooses alone.
func TestV5PingsShareASourcePort(t *testing.T) {
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a := lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		for range 10 {
			p1a.Ping("p2a")
		}
	})
	idents := make(map[string]bool)
	port := make(map[string]string)
	for _, node := range []string{"node1", "node2"} {
		sent := s.on(node + "/eth0").out().having("vxlan.vni")
		if len(sent) != 10 {
			t.Fatalf("%s sent %d VXLAN packets, want 10", node, len(sent))
		}
		for _, f := range sent {
			wantSourcePort(t, f)
			idents[f.get("icmp.ident")] = true
			if first := sent[0].outer("udp.srcport"); f.outer("udp.srcport") != first {
				t.Errorf("%v: outer source port %s, want %s as before", f, f.outer("udp.srcport"), first)
			}
		}
		port[node] = sent[0].outer("udp.srcport")
	}
	if len(idents) != 10 {
		t.Errorf("%d ICMP identifiers, want 10: every ping is a process of its own", len(idents))
	}
	if port["node1"] == port["node2"] {
		t.Errorf("both nodes chose %s, want a secret of its own on each", port["node1"])
	}
}

// V7: traceroute shows flannel.1 of the other node, not its node address.
func TestV7Traceroute(t *testing.T) {
	var p1a *emutest.Pod
	var hops []emu.Hop
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		var err error
		if hops, err = p1a.Traceroute("p2a", 10, time.Second); err != nil {
			t.Fatal(err)
		}
	})
	var got []string
	for _, h := range hops {
		got = append(got, h.Addr.String())
	}
	if want := []string{"10.244.1.1", "10.244.2.0", "10.244.2.2"}; !slices.Equal(got, want) {
		t.Errorf("traceroute shows %v, want %v", got, want)
	}
	errs := s.on(eth0(p1a)).in().errors()
	if got, want := errs.values("ip.src"), []string{"10.244.1.1", "10.244.2.0"}; !slices.Equal(got, want) {
		t.Errorf("time exceeded from %v, want %v", got, want)
	}
	for _, f := range errs {
		f.want(t, "icmp.type", "11", "icmp.code", "0", "ip.dsfield", "0xc0", "icmp.checksum.status", "1")
		f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", "10.244.2.2", "ip.ttl", "1")
	}
}

// V9: a node's own address is outside of the overlay: a pod's packet to it is
// masqueraded and travels bare.
func TestV9PodToNode(t *testing.T) {
	var p1a *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		p1a.Ping("192.168.56.12")
		hops, err := p1a.Traceroute("192.168.56.12", 5, time.Second)
		if err != nil || len(hops) != 2 || hops[0].Addr.String() != "10.244.1.1" || hops[1].Addr.String() != "192.168.56.12" {
			t.Errorf("traceroute = %v, %v, want 10.244.1.1 and 192.168.56.12", hops, err)
		}
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > node1/cni0, 10.244.1.2 > 192.168.56.12, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > node1/cni0, 10.244.1.2 > 192.168.56.12, ttl 64",
		"node1/cni0 in: p1a/eth0 > node1/cni0, 10.244.1.2 > 192.168.56.12, ttl 64",
		"node1/eth0 out: node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 63",
		"node2/eth0 in: node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 63",
	)
	s.having("vxlan.vni").none(t, "VXLAN on the way to a node")
}
