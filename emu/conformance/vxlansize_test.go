package conformance

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

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
