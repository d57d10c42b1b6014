package conformance

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// calicoNodes is the reference cluster with one of Calico's designs.
func calicoNodes(design string) emu.Config {
	return emu.Config{Nodes: 2, Seed: 1, Design: design}
}

// calicoScene is record for Calico, where the node's ends of all pods have one
// address, here called cali.
func calicoScene(t *testing.T, cfg emu.Config, play func(t *testing.T, lab *emutest.Lab)) *scene {
	t.Helper()
	s := record(t, cfg, play)
	s.macs["ee:ee:ee:ee:ee:ee"] = "cali"
	return s
}

// routesOf lists a machine's routes as `ip route` does.
func routesOf(lab *emutest.Lab, m *emu.Machine) (list []string) {
	lab.Driver().Do(func() {
		for _, r := range m.Stack().Routes() {
			list = append(list, r.String())
		}
	})
	return list
}

// wantHops compares the addresses that a traceroute shows.
func wantHops(t *testing.T, from *emutest.Pod, to, want string) {
	t.Helper()
	if got := strings.Join(hops(t, from, to), " "); got != want {
		t.Errorf("traceroute from %s to %s: %s, want %s", from.Name(), to, got, want)
	}
}

// C1: a pod knows nobody but 169.254.1.1, for which its node answers.
func TestC1FirstPacket(t *testing.T) {
	var p1a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		if p1a.Peer() != "cali64ff110b497" { // sha1 of default.p1a
			t.Errorf("the node's end of the veth pair is %s, want cali64ff110b497", p1a.Peer())
		}
		want := []string{"default via 169.254.1.1 dev eth0", "169.254.1.1 dev eth0 scope link"}
		if got := routesOf(lab, &p1a.Machine); !slices.Equal(got, want) {
			t.Errorf("routes of the pod: %q, want %q", got, want)
		}
		want = []string{
			"default via 192.168.56.1 dev eth0",
			"blackhole 10.244.1.0/26 proto 80",
			"10.244.1.1 dev cali64ff110b497 proto 80 scope link",
			"10.244.2.0/26 via 10.244.2.0 dev vxlan.calico proto 80 onlink",
			"192.168.56.0/24 dev eth0 proto kernel scope link src 192.168.56.11",
		}
		if got := routesOf(lab, &lab.Node("node1").Machine); !slices.Equal(got, want) {
			t.Errorf("routes of node1: %q, want %q", got, want)
		}
		p1a.Ping("p2a")
	})
	arp := s.on(eth0(p1a)).having("arp.opcode")
	if len(arp) != 2 {
		t.Fatalf("%d ARP frames at the pod, want 2: %v", len(arp), arp)
	}
	arp[0].want(t, "arp.opcode", "1", "arp.src.proto_ipv4", "10.244.1.1", "arp.dst.proto_ipv4", "169.254.1.1", "eth.dst", "ff:ff:ff:ff:ff:ff")
	arp[1].want(t, "arp.opcode", "2", "arp.src.hw_mac", "ee:ee:ee:ee:ee:ee", "arp.src.proto_ipv4", "169.254.1.1", "eth.src", "ee:ee:ee:ee:ee:ee")
	if arp[0].at != arp[1].at {
		t.Errorf("asked at %v, answered at %v, want at once (proxy_delay 0)", arp[0].at, arp[1].at)
	}
}

// C1, the other way: the node asks for the pod with its own address, because
// its end of the pair has none.
func TestC1NodeAsksForPod(t *testing.T) {
	var p2a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p2a = lab.Pod("p2a", "node2")
		lab.Pod("p1a", "node1").Ping("p2a")
	})
	s.on(eth0(p2a)).in().where("arp.opcode", "1").one(t, "ARP request at the pod").
		want(t, "arp.src.proto_ipv4", "192.168.56.12", "arp.src.hw_mac", "ee:ee:ee:ee:ee:ee", "arp.dst.proto_ipv4", "10.244.2.1")
}

// C2: pods of one node are routed to each other.
func TestC2SameNode(t *testing.T) {
	var p1a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p1b", "node1")
		if r, err := p1a.Machine.Ping("p1b", time.Second); err != nil || r.TTL != 63 {
			t.Errorf("ping = %+v, %v, want an answer with TTL 63", r, err)
		}
		wantHops(t, p1a, "p1b", "192.168.56.11 10.244.1.2")
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > cali, 10.244.1.1 > 10.244.1.2, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > cali, 10.244.1.1 > 10.244.1.2, ttl 64",
		"node1/veth(p1b) out: cali > p1b/eth0, 10.244.1.1 > 10.244.1.2, ttl 63",
		"p1b/eth0 in: cali > p1b/eth0, 10.244.1.1 > 10.244.1.2, ttl 63",
	)
}

// C4: what nobody has of the node's own block ends in silence.
func TestC4UnassignedAddress(t *testing.T) {
	var p1a *emutest.Pod
	var began time.Duration
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		p2a := lab.Pod("p2a", "node2")
		p2a.Ping("p1a")
		lab.Sleep(time.Second)
		began = lab.Now()
		for _, from := range []*emutest.Pod{p1a, p2a} {
			if r, err := from.Machine.Ping("10.244.1.33", 10*time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ping of an unassigned address from %s = %+v, %v, want a timeout", from.Name(), r, err)
			}
		}
	})
	after := s.since(began)
	after.on("node1/vxlan.calico").in().where("ip.dst", "10.244.1.33").one(t, "request of the other node's pod")
	after.where("ip.dst", "10.244.1.33").on(eth0(p1a)).out().one(t, "request of the node's own pod")
	after.where("arp.dst.proto_ipv4", "10.244.1.33").none(t, "ARP request for the address")
	after.errors().none(t, "ICMP error")
}

// C5: there is no link that pods share: broadcast and multicast end at the node.
func TestC5Broadcast(t *testing.T) {
	var p1a, p1b *emutest.Pod
	var sent, got []string
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a, p1b = lab.Pod("p1a", "node1"), lab.Pod("p1b", "node1")
		c, err := p1a.ListenPacket("udp", ":7000")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, to := range []string{"255.255.255.255:7000", "224.0.0.251:7000", "10.244.255.255:7000"} {
			sent = append(sent, to)
			writeTo(t, c, to, "hello")
		}
		lab.Sleep(5 * time.Second)
	})
	for _, f := range s.on(eth0(p1a)).out().where("udp.dstport", "7000") {
		got = append(got, f.get("ip.dst")+":7000")
	}
	if !slices.Equal(got, sent) {
		t.Errorf("the pod has sent to %v, want %v", got, sent)
	}
	s.on(eth0(p1b), veth(p1b), "node1/eth0", "node2/eth0").where("udp.dstport", "7000", "udp.payload", "68656c6c6f").
		filter(func(f *frame) bool { return f.get("ip.dst") != "10.244.255.255" }).none(t, "broadcast or multicast beyond the node")
}

// C13 and A9: the walk of one packet between nodes.
func TestC13VXLAN(t *testing.T) {
	var p1a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		if r, err := p1a.Machine.Ping("p2a", time.Second); err != nil || r.TTL != 62 {
			t.Errorf("ping = %+v, %v, want an answer with TTL 62", r, err)
		}
		wantHops(t, p1a, "p2a", "192.168.56.11 10.244.2.0 10.244.2.1")
		vtep := p1a.Node().Stack().Device("vxlan.calico")
		if mtu := p1a.Stack().Device("eth0").MTU; mtu != 1450 || vtep.MTU != 1450 {
			t.Errorf("MTU of the pod %d, of vxlan.calico %d, want 1450", mtu, vtep.MTU)
		}
		if vtep.MAC.String() != "66:f9:37:c3:7e:94" { // sha1 of node1
			t.Errorf("MAC of vxlan.calico is %v, want 66:f9:37:c3:7e:94", vtep.MAC)
		}
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > cali, 10.244.1.1 > 10.244.2.1, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > cali, 10.244.1.1 > 10.244.2.1, ttl 64",
		"node1/vxlan.calico out: node1/vxlan.calico > node2/vxlan.calico, 10.244.1.1 > 10.244.2.1, ttl 63",
		"node1/eth0 out: [node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 64, vni 4096] node1/vxlan.calico > node2/vxlan.calico, 10.244.1.1 > 10.244.2.1, ttl 63",
		"node2/eth0 in: [node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 64, vni 4096] node1/vxlan.calico > node2/vxlan.calico, 10.244.1.1 > 10.244.2.1, ttl 63",
		"node2/vxlan.calico in: node1/vxlan.calico > node2/vxlan.calico, 10.244.1.1 > 10.244.2.1, ttl 63",
		"node2/veth(p2a) out: cali > p2a/eth0, 10.244.1.1 > 10.244.2.1, ttl 62",
		"p2a/eth0 in: cali > p2a/eth0, 10.244.1.1 > 10.244.2.1, ttl 62",
	)
	f := s.id(ask.id).on("node1/eth0").one(t, "packet on the cable")
	if got := f.outer("udp.dstport"); got != "4789" {
		t.Errorf("outer destination port %s, want 4789", got)
	}
	if df, sum := f.outer("ip.flags.df"), f.outer("udp.checksum"); df != "0" || sum == "0x0000" {
		t.Errorf("outer DF %s, UDP checksum %s, want DF 0 and a checksum", df, sum)
	}
}

// C14: what leaves the pool is masqueraded, nodes included; what stays is not.
func TestC14NATOutgoing(t *testing.T) {
	emutest.Run(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a, laptop := lab.Pod("p1a", "node1"), lab.Host("laptop")
		lab.Pod("p2a", "node2")
		for _, x := range []struct{ to, want string }{
			{laptop.Addr().String(), "192.168.56.11"}, {"node2", "192.168.56.11"}, {"p2a", "10.244.1.1"}, {"node1", "10.244.1.1"},
		} {
			p1a.Ping(x.to)
			if peer, _ := lab.LastPeer("icmp"); peer.Addr.Addr().String() != x.want {
				t.Errorf("%s is pinged by %v, want %s", x.to, peer.Addr.Addr(), x.want)
			}
		}
		r, err := lab.Node("node1").Ping("p2a", time.Second)
		if peer, _ := lab.LastPeer("icmp"); err != nil || r.TTL != 63 || peer.Addr.Addr().String() != "10.244.1.0" {
			t.Errorf("ping from node1 = %+v, %v, from %v; want TTL 63 and node1's vxlan.calico, 10.244.1.0", r, err, peer.Addr.Addr())
		}
	})
}

// Services on Calico: the pod's node translates while it routes, and what comes
// in by a node port leaves by the tunnel with the tunnel's address.
func TestCalicoServices(t *testing.T) {
	emutest.Run(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a, laptop := lab.Pod("p1a", "node1"), lab.Host("laptop")
		lab.Pod("web", "node2", 8080)
		lab.Service("web", 80, 8080, 30002)
		lab.Pod("same", "node1", 8080)
		lab.Service("same", 80, 8080, 0)
		for _, x := range []struct {
			from      *emu.Machine
			url, want string
		}{
			{&p1a.Machine, "http://web/clientip", "10.244.1.1"},
			{&p1a.Machine, "http://same/clientip", "10.244.1.1"},
			{&laptop.Machine, "http://node1:30002/clientip", "10.244.1.0"},
			{&laptop.Machine, "http://node2:30002/clientip", "192.168.56.12"},
		} {
			if got := emutest.Get(t, x.from, x.url); !strings.HasPrefix(got, x.want+":") {
				t.Errorf("GET %s from %s: the backend sees %s, want %s", x.url, x.from.Name(), got, x.want)
			}
		}
	})
}

// A pod that sends from another address than its own is not heard, be it that
// of another pod; and hosts that are no nodes cannot send into the tunnel.
func TestCalicoSpoofing(t *testing.T) {
	var liar *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		liar = lab.Pod("liar", "node1")
		victim := lab.Pod("victim", "node1")
		ext := lab.Host("ext")
		liar.Ping("victim")
		var err error
		lab.Driver().Do(func() { err = liar.Stack().Device("eth0").AddAddr(netip.MustParsePrefix("10.244.1.9/32")) })
		if err != nil {
			t.Fatal(err)
		}
		c, err := liar.ListenPacket("udp", "10.244.1.9:7000")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		writeTo(t, c, victim.Addr().String()+":7000", "hello")
		e, err := ext.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		writeTo(t, e, "192.168.56.11:4789", "\x08\x00\x00\x00\x00\x10\x00\x00"+strings.Repeat("\xff", 12)+"\x08\x06"+strings.Repeat("\x00", 28))
		lab.Sleep(time.Second)
		var drops uint64
		node1 := lab.Node("node1")
		lab.Driver().Do(func() { drops = node1.Stack().Device("eth0").Point().Drops(stack.DropNetfilter) })
		if drops != 1 {
			t.Errorf("node1 has dropped %d packets by rules at eth0, want 1: VXLAN of a host that is no node", drops)
		}
	})
	s.on(eth0(liar)).out().where("ip.src", "10.244.1.9").one(t, "packet with a forged source")
	s.on("default/victim/eth0").where("ip.src", "10.244.1.9").none(t, "packet with a forged source at another pod")
}

// CrossSubnet: nodes of one subnet use plain routes, others the tunnel.
func TestCalicoCrossSubnet(t *testing.T) {
	for design, far := range map[string]string{"calico-vxlan-crosssubnet": "10.244.3.0", "calico-ipip-crosssubnet": "*"} { // see C11
		t.Run(design, func(t *testing.T) {
			s := calicoScene(t, twoSegments(design), func(t *testing.T, lab *emutest.Lab) {
				var p1a *emutest.Pod
				for i, segment := range []string{"a", "a", "b"} {
					if _, err := lab.AddNode(emu.NodeConfig{Segment: segment}); err != nil {
						t.Fatal(err)
					}
					pod := lab.Pod(fmt.Sprintf("p%da", i+1), fmt.Sprintf("node%d", i+1))
					if i == 0 {
						p1a = pod
					}
				}
				wantHops(t, p1a, "p2a", "192.168.56.11 192.168.56.12 10.244.2.1")
				wantHops(t, p1a, "p3a", "192.168.56.11 "+far+" 10.244.3.1")
			})
			near := s.on("node1/eth0").out().where("ip.dst", "10.244.2.1").some(t, "packets to the neighbour")
			for _, f := range near {
				f.want(t, "frame.protocols", "eth:ethertype:ip:icmp:data")
			}
			for _, f := range s.on("node1/eth0").out().where("ip.dst", "10.244.3.1").some(t, "packets to the other subnet") {
				if got := f.outer("ip.dst"); got != "192.168.57.13" {
					t.Errorf("%v: outer destination %s, want node3", f, got)
				}
			}
		})
	}
}

// Blocks: a node that has none left claims another, and when the pool is used
// up it borrows from a block of another node, whose address the others then
// route to it alone.
func TestCalicoBlocks(t *testing.T) {
	cfg := calicoNodes("calico-vxlan")
	cfg.PodCIDR = netip.MustParsePrefix("10.244.0.0/24")
	cfg.Nodes = 0
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		for i := range 2 {
			podCIDR := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, 0, byte(128 * i)}), 25)
			if _, err := lab.AddNode(emu.NodeConfig{PodCIDR: podCIDR}); err != nil {
				t.Fatal(err)
			}
		}
		n2 := &lab.Node("node2").Machine
		var last *emutest.Pod
		for i := range 3 * 64 {
			last = lab.Pod(fmt.Sprint("p", i), "node1")
		}
		// Three blocks of 64 but one address for the tunnel: the last is borrowed.
		if last.Addr().String() != "10.244.0.129" {
			t.Errorf("the last pod has %v, want 10.244.0.129 out of node2's block", last.Addr())
		}
		want := []string{
			"10.244.0.0/26 via 10.244.0.0 dev vxlan.calico proto 80 onlink",
			"10.244.0.64/26 via 10.244.0.0 dev vxlan.calico proto 80 onlink",
			"blackhole 10.244.0.128/26 proto 80",
			"10.244.0.129 via 10.244.0.0 dev vxlan.calico proto 80 onlink",
			"10.244.0.192/26 via 10.244.0.0 dev vxlan.calico proto 80 onlink",
		}
		pods := func() []string {
			return slices.DeleteFunc(routesOf(lab, n2), func(r string) bool { return !strings.Contains(r, "10.244.") })
		}
		if got := pods(); !slices.Equal(got, want) {
			t.Errorf("node2 routes %q, want %q", got, want)
		}
		on2 := lab.Pod("on2", "node2")
		if on2.Addr().String() != "10.244.0.130" {
			t.Errorf("node2's pod has %v, want 10.244.0.130", on2.Addr())
		}
		on2.Ping(last.Addr().String())
		if err := lab.RemovePod(last.Pod); err != nil {
			t.Fatal(err)
		}
		if got := pods(); slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, "10.244.0.129 ") }) {
			t.Errorf("node2 still routes the borrowed address: %q", got)
		}
		for i := range 62 {
			lab.Pod(fmt.Sprint("q", i), "node2")
		}
		_, err := lab.Lab.AddPod(emu.PodConfig{Name: "x", Node: "node2"})
		if err == nil || !strings.Contains(err.Error(), "no address left in pool 10.244.0.0/24: 4 blocks of /26 are in use") {
			t.Errorf("one pod too many: %v", err)
		}
	})
}

// A node that the others forget is reached no more, and is again when they hear
// of it; so is one that is removed.
func TestCalicoNodeComesAndGoes(t *testing.T) {
	emutest.Run(t, calicoNodes("calico-vxlan"), func(t *testing.T, lab *emutest.Lab) {
		p1a := lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		node1, node2 := lab.Node("node1"), lab.Node("node2")
		p1a.Ping("p2a")
		before := strings.Join(routesOf(lab, &node1.Machine), "\n")
		if err := node2.SetLease(false); err != nil {
			t.Fatal(err)
		}
		if r, err := p1a.Machine.Ping("p2a", time.Second); err == nil && r.Err() == nil {
			t.Errorf("ping without the node = %+v, want none", r)
		}
		if err := node2.SetLease(true); err != nil {
			t.Fatal(err)
		}
		p1a.Ping("p2a")
		if got := strings.Join(routesOf(lab, &node1.Machine), "\n"); got != before {
			t.Errorf("routes after it came back:\n%s\nwant\n%s", got, before)
		}
		if err := lab.RemoveNode(node2); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(routesOf(lab, &node1.Machine), "\n"); strings.Contains(got, "vxlan.calico") {
			t.Errorf("routes after it was removed:\n%s", got)
		}
		lab.Driver().Do(func() {
			for _, n := range node1.Stack().Neighbours() {
				if n.Dev == "vxlan.calico" {
					t.Errorf("neighbour %v after the node was removed", n)
				}
			}
		})
	})
}
