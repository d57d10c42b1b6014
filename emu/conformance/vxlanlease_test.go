package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// tables lists what a node knows about others: routes, neighbours and FDB
// entries that contain one of the words.
func tables(lab *emutest.Lab, node string, words ...string) []string {
	var out []string
	n := lab.Node(node)
	lab.Driver().Do(func() {
		for _, r := range n.Stack().Routes() {
			out = append(out, "route "+r.String())
		}
		for _, x := range n.Stack().Neighbours() {
			out = append(out, "neigh "+x.Addr.String()+" dev "+x.Dev+" "+string(x.State))
		}
		for _, d := range n.Stack().Devices() {
			for _, e := range d.FDB() {
				out = append(out, "fdb "+e.MAC.String()+" dev "+d.Name+" dst "+e.Dst.String())
			}
		}
	})
	var match []string
	for _, line := range out {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			match = append(match, line)
		}
	}
	return match
}

// V17: with DirectRouting nodes on one link use plain routes; nothing is
// encapsulated, and traceroute shows the node itself. The MTU stays.
func TestV17DirectRouting(t *testing.T) {
	cfg := twoNodes
	cfg.Design = "flannel-vxlan-directrouting"
	var p1a *emutest.Pod
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		r, err := p1a.Machine.Ping("p2a", time.Second)
		if err != nil || r.Err() != nil || r.TTL != 62 {
			t.Fatalf("ping = %+v, %v, want an answer with TTL 62", r, err)
		}
		wantList(t, "traceroute", hops(t, p1a, "p2a"), "10.244.1.1", "192.168.56.12", "10.244.2.2")
		wantList(t, "node1's table", tables(lab, "node1", "10.244.2."), "route 10.244.2.0/24 via 192.168.56.12 dev eth0")
		if mtu := p1a.Stack().Device("eth0").MTU; mtu != 1450 {
			t.Errorf("the pod has MTU %d, want 1450", mtu)
		}
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/cni0 in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/eth0 out: node1/eth0 > node2/eth0, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/eth0 in: node1/eth0 > node2/eth0, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/cni0 out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"node2/veth(p2a) out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"p2a/eth0 in: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
	)
	s.where("udp.dstport", "8472").none(t, "VXLAN between nodes on one link")
}

// hops are the addresses that a traceroute shows, "*" for silence.
func hops(t *testing.T, from *emutest.Pod, to string) []string {
	t.Helper()
	list, err := from.Traceroute(to, 10, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, h := range list {
		if h.Addr.IsValid() {
			out = append(out, h.Addr.String())
		} else {
			out = append(out, "*")
		}
	}
	return out
}

// V18: when the lease of node2 is deleted, everything that node1 has
// programmed for it disappears. A ping then follows the default route: bare,
// to the gateway, and with the pod's own source, because FLANNEL-POSTRTG
// returns for -s podCIDR -d clusterCIDR. When the lease comes back, so does
// everything.
func TestV18LeaseDeleted(t *testing.T) {
	var p1a *emutest.Pod
	var gone, back time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		vtep := macOf(lab.Node("node2"), "flannel.1")
		before := tables(lab, "node1", "10.244.2.", vtep)
		wantList(t, "node1's tables with the lease", before,
			"route 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink", "neigh 10.244.2.0 dev flannel.1 PERMANENT",
			"fdb "+vtep+" dev flannel.1 dst 192.168.56.12")
		p1a.Ping("p2a")
		lab.Sleep(time.Second)
		if err := lab.Node("node2").SetLease(false); err != nil {
			t.Fatal(err)
		}
		gone = lab.Now()
		wantList(t, "node1's tables without the lease", tables(lab, "node1", "10.244.2.", vtep))
		if r, err := p1a.Machine.Ping("p2a", time.Second); err == nil {
			t.Errorf("ping without a lease: %+v, want no answer", r)
		}
		if got := tables(lab, "node2", "10.244.1."); len(got) != 2 { // route and neighbour
			t.Errorf("node2 has %q, want that it still knows node1", got)
		}
		if err := lab.Node("node2").SetLease(true); err != nil {
			t.Fatal(err)
		}
		lab.Sleep(time.Second)
		back = lab.Now()
		wantList(t, "node1's tables with the lease again", tables(lab, "node1", "10.244.2.", vtep), before...)
		p1a.Ping("p2a")
	})
	lost := s.on("node1/eth0").out().since(gone).filter(func(f *frame) bool { return f.at < back }).where("icmp.type", "8").one(t, "request on the cable")
	lost.want(t, "eth.dst", macIn(s, "gateway/eth0"), "ip.src", "10.244.1.2", "ip.dst", "10.244.2.2", "ip.ttl", "63")
	if lost.has("vxlan.vni") || lost.note != "" {
		t.Errorf("%v: vni %q, note %q, want neither a tunnel nor SNAT", lost, lost.first("vxlan.vni"), lost.note)
	}
	if f := s.on("node1/eth0").out().since(back).where("icmp.type", "8").one(t, "request after the lease came back"); f.first("vxlan.vni") != "1" {
		t.Errorf("%v: not in the tunnel", f)
	}
}

// V18, for good: a node that is removed is forgotten by the others, and the
// next node takes neither its name nor its podCIDR.
func TestV18NodeRemoved(t *testing.T) {
	emutest.Run(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a := lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2", 80)
		lab.Service("p2a", 80, 80, 0)
		if got := p1a.Get("http://p2a/hostname"); got != "p2a" {
			t.Fatalf("hostname %q", got)
		}
		old := lab.Node("node2")
		if err := lab.RemoveNode(old); err != nil {
			t.Fatal(err)
		}
		wantList(t, "node1's tables", tables(lab, "node1", "10.244.2."))
		if lab.Node("node2") != nil || lab.Machine("p2a") != nil || lab.Machine("node2") != nil {
			t.Error("the lab still has node2 or its pod")
		}
		for what, err := range map[string]error{"again": lab.RemoveNode(old), "lease": old.SetLease(true), "nil": lab.RemoveNode(nil)} {
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		n, err := lab.AddNode(emu.NodeConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if n.Name() != "node3" || n.PodCIDR().String() != "10.244.3.0/24" || n.Addr().String() != "192.168.56.13" {
			t.Errorf("the next node is %s %v %v, want node3 with what is its own", n.Name(), n.PodCIDR(), n.Addr())
		}
		lab.Pod("p2a", "node3", 80)
		if got := p1a.Get("http://p2a/hostname"); got != "p2a" {
			t.Errorf("hostname %q through the Service after the node was replaced", got)
		}
	})
}
