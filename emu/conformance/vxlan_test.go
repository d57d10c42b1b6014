package conformance

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
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

// V10: a pod whose MTU is wrongly 1500 learns 1450 from its own node, and
// nothing reaches the cable.
func TestV10FragmentationNeeded(t *testing.T) {
	var p1a *emutest.Pod
	var began time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		p1a.Ping("p2a")
		setMTU(t, lab, p1a.Stack(), "eth0", 1500)
		setMTU(t, lab, p1a.Node().Stack(), p1a.Peer(), 1500)
		lab.Sleep(time.Second)
		began = lab.Now()
		r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 1472, DontFragment: true}, time.Second)
		if err != nil || r.Type != 3 || r.Code != 4 || r.MTU != 1450 {
			t.Errorf("ping = %+v, %v, want fragmentation needed with MTU 1450", r, err)
		}
		lab.Sleep(time.Second)
	})
	sent := s.on(eth0(p1a)).out().since(began).where("icmp.type", "8").one(t, "request")
	sent.want(t, "ip.len", "1500", "ip.flags.df", "1", "ip.id", "0x0000")
	f := s.on(eth0(p1a)).in().errors().one(t, "error at the pod")
	f.want(t, "icmp.type", "3", "icmp.code", "4", "icmp.mtu", "1450", "ip.src", "10.244.1.1", "ip.dst", "10.244.1.2",
		"ip.len", "576", "ip.dsfield", "0xc0", "icmp.checksum.status", "1")
	f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", "10.244.2.2", "ip.len", "1500", "ip.ttl", "64")
	s.on("node1/eth0", "node1/flannel.1").since(began).none(t, "beyond the node's bridge")
}

// V10, the other side of it: a pod whose MTU is right is told by its own
// socket, and nothing is sent at all.
func TestV10RightMTURefusesLocally(t *testing.T) {
	var p1a *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		_, err := p1a.PingWith("p2a", stack.PingConfig{Size: 1472, DontFragment: true}, time.Second)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ping of 1500 bytes: %v, want message too long at once", err)
		}
	})
	s.having("icmp.type").none(t, "ICMP")
}

// V12: with connection tracking, fragments of a pod are one datagram at the
// bridge, larger than any MTU, and are cut again for the tunnel.
func TestV12FragmentsAreJoinedAtTheBridge(t *testing.T) {
	var p1a *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		if r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 4000}, time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping of 4000 bytes: %v, %v, want an answer", err, r.Err())
		}
	})
	id := s.on(eth0(p1a)).out().where("icmp.type", "8").some(t, "echo request")[0].id
	pieces := []string{"1444", "1444", "1180"}
	for _, x := range []struct {
		point string
		want  []string
	}{
		{eth0(p1a), pieces}, {"node1/cni0", []string{"4028"}}, {"node1/flannel.1", pieces}, {"default/p2a/eth0", pieces},
	} {
		if got := s.id(id).on(x.point).values("ip.len"); !slices.Equal(got, x.want) {
			t.Errorf("%s shows IP lengths %v, want %v", x.point, got, x.want)
		}
	}
	s.id(id).on("node1/cni0").one(t, "request on cni0").want(t, "frame.len", "4042", "icmp.checksum.status", "1", "ip.flags.mf", "0")
	for _, f := range s.id(id).on("node1/eth0").some(t, "pieces on the cable") {
		if f.outer("ip.flags.mf") != "0" || f.outer("ip.frag_offset") != "0" {
			t.Errorf("%v: the outer packet is a fragment, want the inner one to be", f)
		}
	}
}

// V13: on a cable that is too small for the tunnel the outer packet is cut,
// whatever DF says inside, and nobody is told.
func TestV13OuterFragments(t *testing.T) {
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a := lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		for _, n := range lab.Nodes() {
			setMTU(t, lab, n.Stack(), "eth0", 1400)
		}
		full := stack.PingConfig{Size: 1422, DontFragment: true}
		if r, err := p1a.PingWith("p2a", full, time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping of 1450 bytes: %v, %v, want an answer", err, r.Err())
		}
	})
	for _, node := range []string{"node1", "node2"} {
		sent := s.on(node+"/eth0").out().filter(func(f *frame) bool { return f.outer("ip.proto") == "17" }).some(t, "packets of "+node)
		var lengths, more, ids []string
		for _, f := range sent {
			lengths, more = append(lengths, f.outer("ip.len")), append(more, f.outer("ip.flags.mf"))
			ids = append(ids, f.outer("ip.id"))
		}
		wantList(t, node+": IP lengths on the cable", lengths, "1396", "124")
		wantList(t, node+": more fragments", more, "1", "0")
		if slices.Sort(ids); len(slices.Compact(ids)) != 1 {
			t.Errorf("%s: the pieces have IP IDs %v, want one", node, ids)
		}
	}
	s.errors().none(t, "ICMP error")
}

// V15: VXLAN with a VNI that the node does not have, without the I flag, or with
// a bit that means something to nobody is dropped without a word; a UDP port that nobody has is answered as any other.
func TestV15ForeignVXLAN(t *testing.T) {
	payload := func(header string) string {
		b, err := hex.DecodeString(header +
			"ffffffffffff" + "020000000001" + "0806" + // a broadcast ARP request inside
			"0001080006040001" + "020000000001" + "0af40109" + "000000000000" + "0af40102")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var ext *emu.Host
	var started time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p1a", "node1")
		ext = lab.Host("ext")
		c, err := ext.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		lab.Sleep(time.Second) // the pod has announced itself
		started = lab.Now()
		writeTo(t, c, "192.168.56.11:8472", payload("0800000000000200")) // VNI 2
		writeTo(t, c, "192.168.56.11:8472", payload("0000000000000100")) // no I flag
		writeTo(t, c, "192.168.56.11:8472", payload("0800000000000101")) // a reserved bit
		writeTo(t, c, "192.168.56.11:4789", payload("0800000000000100")) // nobody listens
		lab.Sleep(5 * time.Second)
		wantDrops(t, lab, "node1", map[link.Reason]uint64{overlay.DropVNI: 1, overlay.DropBadVXLAN: 2})
	})
	got := s.on("node1/eth0").in().filter(func(f *frame) bool { return f.outer("udp.dstport") != "" && !f.isError() })
	if len(got) != 4 {
		t.Fatalf("node1 received %d datagrams, want 4: %v", len(got), got)
	}
	f := s.on(eth0(ext)).in().errors().one(t, "ICMP error at the sender")
	f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.src", "192.168.56.11", "ip.dst", ext.Addr().String())
	if got := f.fields["udp.dstport"]; !slices.Equal(got, []string{"4789"}) {
		t.Errorf("error about UDP ports %v, want 4789 alone", got)
	}
	s.since(started).on("node1/flannel.1", "node1/cni0", "default/p1a/eth0").none(t, "packet let in")
	s.since(started).on("node1/eth0").out().having("ip.src").one(t, "answer of the node")
}

// wantDrops compares what a node's VXLAN device has counted.
func wantDrops(t *testing.T, lab *emutest.Lab, node string, want map[link.Reason]uint64) {
	t.Helper()
	got := make(map[link.Reason]uint64)
	vtep := lab.Node(node).Stack().Device("flannel.1").Point()
	lab.Driver().Do(func() {
		vtep.EachDrop(func(why link.Reason, n uint64) { got[why] = n })
	})
	if !maps.Equal(got, want) {
		t.Errorf("%s/flannel.1 has dropped %v, want %v", node, got, want)
	}
}
