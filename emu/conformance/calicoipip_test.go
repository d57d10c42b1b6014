package conformance

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// C10: IP in IP: protocol 4, the TTL that the node has decremented, the inner
// DF, 20 bytes more. tunl0 has no link layer.
func TestC10IPIP(t *testing.T) {
	var p1a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-ipip"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		for _, df := range []bool{true, false} {
			if r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 100, DontFragment: df}, time.Second); err != nil || r.TTL != 62 {
				t.Errorf("ping = %+v, %v, want an answer with TTL 62", r, err)
			}
		}
	})
	asked := s.on(eth0(p1a)).out().where("icmp.type", "8")
	if len(asked) != 2 {
		t.Fatalf("%d requests, want 2", len(asked))
	}
	for _, ask := range asked {
		f := s.id(ask.id).on("node1/eth0").one(t, "request on the cable")
		for field, want := range map[string]string{
			"ip.proto": "4", "ip.ttl": "63", "ip.flags.df": ask.get("ip.flags.df"), "ip.len": "148", "ip.src": "192.168.56.11", "ip.dst": "192.168.56.12", "ip.dsfield": "0x00",
		} {
			if got := f.outer(field); got != want {
				t.Errorf("%v: outer %s = %s, want %s", f, field, got, want)
			}
		}
		f.want(t, "ip.ttl", "63", "ip.src", "10.244.1.1", "ip.dst", "10.244.2.1")
		for _, at := range []string{"node1/tunl0", "node2/tunl0"} {
			s.id(ask.id).on(at).one(t, "request on "+at).want(t, "frame.protocols", "raw:ip:icmp:data", "frame.len", "128", "ip.ttl", "63")
		}
	}
}

// twoSegments is a cluster of two nodes with a router between them.
func twoSegments(design string) emu.Config {
	cfg := calicoNodes(design)
	cfg.Nodes = 0
	cfg.Underlay.Segments = []emu.Segment{
		{Name: "a", Subnet: netip.MustParsePrefix("192.168.56.0/24")}, {Name: "b", Subnet: netip.MustParsePrefix("192.168.57.0/24")},
	}
	return cfg
}

// addNodes adds a node in each segment and a pod on each.
func addNodes(t *testing.T, lab *emutest.Lab) (p1a, p2a *emutest.Pod) {
	t.Helper()
	for _, segment := range []string{"a", "b"} {
		if _, err := lab.AddNode(emu.NodeConfig{Segment: segment}); err != nil {
			t.Fatal(err)
		}
	}
	return lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2")
}

// C11: the outer TTL is the inner one, so a router between the nodes spends it:
// the probe that should have shown the router dies there, and the error about
// it goes to node1, which has nobody to tell; the next one reaches the pod, and
// node2 is never seen.
func TestC11RouterBetweenNodes(t *testing.T) {
	s := calicoScene(t, twoSegments("calico-ipip"), func(t *testing.T, lab *emutest.Lab) {
		p1a, _ := addNodes(t, lab)
		p1a.Ping("p2a")
		wantHops(t, p1a, "p2a", lab.Node("node1").Addr().String()+" * 10.244.2.1")
	})
	s.on("node1/eth0").in().errors().where("icmp.type", "11").one(t, "time exceeded of the router about the tunnel's packet").
		wantQuoted(t, "ip.proto", "4")
}

// A8: a packet with DF that does not fit tunl0 is refused by the node with what
// fits; a router that cannot carry the outer packet tells the node, which passes
// it on with the next packet.
func TestCalicoIPIPPathMTU(t *testing.T) {
	emutest.Run(t, twoSegments("calico-ipip"), func(t *testing.T, lab *emutest.Lab) {
		p1a, _ := addNodes(t, lab)
		p1a.Ping("p2a")
		eth0 := p1a.Stack().Device("eth0")
		var err error
		lab.Driver().Do(func() { err = errors.Join(eth0.SetMTU(1500), p1a.Node().Stack().Device(p1a.Peer()).SetMTU(1500)) })
		if err != nil {
			t.Fatal(err)
		}
		tooBig := func(size, mtu int) {
			t.Helper()
			r, err := p1a.PingWith("p2a", stack.PingConfig{Size: size - 28, DontFragment: true}, time.Second)
			if err != nil || r.Type != 3 || r.Code != 4 || r.MTU != mtu || r.From != p1a.Node().Addr() {
				t.Errorf("ping of %d bytes with DF = %+v, %v, want fragmentation needed from node1, MTU %d", size, r, err, mtu)
			}
		}
		tooBig(1500, 1480)
		far := lab.Machine("gateway").Stack().Device("eth1")
		lab.Driver().Do(func() { err = far.SetMTU(1300) })
		if err != nil {
			t.Fatal(err)
		}
		if r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 1400 - 28, DontFragment: true}, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the first ping that a router refuses = %+v, %v, want a timeout", r, err)
		}
		tooBig(1400, 1280)
		if r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 1280 - 28, DontFragment: true}, time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping of 1280 bytes = %+v, %v, want an answer", r, err)
		}
	})
}

// IP in IP of a host that is no node is dropped in INPUT, without an answer.
func TestCalicoIPIPForeignHost(t *testing.T) {
	emutest.Run(t, calicoNodes("calico-ipip"), func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p1a", "node1")
		node1, ext := lab.Node("node1"), lab.Host("ext")
		if _, err := ext.Ping("node1", time.Second); err != nil {
			t.Fatal(err)
		}
		lab.Driver().Do(func() {
			f := lab.Driver().NewFrame(20)
			copy(f.Bytes(), strings.Repeat("\x45", 20))
			ext.Stack().SendProtocol(stack.Outer{Dst: node1.Addr(), TTL: 64}, stack.ProtoIPIP, f)
		})
		lab.Sleep(time.Second)
		got := make(map[link.Reason]uint64)
		lab.Driver().Do(func() {
			node1.Stack().Device("eth0").Point().EachDrop(func(why link.Reason, n uint64) { got[why] = n })
		})
		if len(got) != 1 || got[stack.DropNetfilter] != 1 {
			t.Errorf("node1/eth0 has dropped %v, want one packet by netfilter", got)
		}
	})
}
