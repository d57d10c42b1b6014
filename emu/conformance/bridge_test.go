package conformance

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// B1: between pods of one node the frame is the same at both ends, byte for
// byte: a bridge is no hop.
func TestB1SameNode(t *testing.T) {
	var p1a, p1b *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p1b = lab.Pod("p1a", "node1"), lab.Pod("p1b", "node1")
		p1a.Ping("p1b")
		if hops, err := p1a.Traceroute("p1b", 5, time.Second); err != nil || len(hops) != 1 {
			t.Errorf("traceroute = %v, %v, want one hop", hops, err)
		}
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	answer := s.on(eth0(p1b)).out().where("icmp.type", "0")[0]
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > p1b/eth0, 10.244.1.2 > 10.244.1.3, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > p1b/eth0, 10.244.1.2 > 10.244.1.3, ttl 64",
		"node1/cni0 in: p1a/eth0 > p1b/eth0, 10.244.1.2 > 10.244.1.3, ttl 64",
		"node1/veth(p1b) out: p1a/eth0 > p1b/eth0, 10.244.1.2 > 10.244.1.3, ttl 64",
		"p1b/eth0 in: p1a/eth0 > p1b/eth0, 10.244.1.2 > 10.244.1.3, ttl 64",
	)
	for _, id := range []string{ask.id, answer.id} {
		hashes := s.id(id).values("frame.md5_hash")
		if slices.Sort(hashes); len(hashes) != 5 || len(slices.Compact(hashes)) != 1 {
			t.Errorf("datagram %s has hashes %v at its points, want one and the same at all five", id, hashes)
		}
	}
}

// B2: a frame that is larger than the MTU of the port it should leave by is
// dropped in silence, DF or not: a bridge is no router.
func TestB2BridgeDropsOversize(t *testing.T) {
	const small = 1400
	var p1a, p1b *emutest.Pod
	var began time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p1b = lab.Pod("p1a", "node1"), lab.Pod("p1b", "node1")
		p1a.Ping("p1b")
		setMTU(t, lab, p1b.Node().Stack(), p1b.Peer(), small)
		began = lab.Now()
		fits := stack.PingConfig{Size: small - 28, DontFragment: true}
		if r, err := p1a.PingWith("p1b", fits, time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping of %d bytes: %v, %v, want an answer", small, err, r.Err())
		}
		over := stack.PingConfig{Size: small - 27, DontFragment: true}
		if r, err := p1a.PingWith("p1b", over, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ping of %d bytes = %+v, %v, want a timeout", small+1, r, err)
		}
		lab.Sleep(5 * time.Second)
	})
	size := fmt.Sprint(small + 1)
	asked := s.since(began).where("icmp.type", "8", "ip.len", size)
	asked.on(eth0(p1a)).out().one(t, "oversize request leaves the pod").want(t, "ip.flags.df", "1")
	asked.on(veth(p1a)).in().one(t, "oversize request reaches the bridge")
	asked.on(veth(p1b), eth0(p1b)).none(t, "oversize request beyond the bridge")
	s.errors().none(t, "ICMP error at any point")
}

// setMTU is `ip link set dev NAME mtu N`.
func setMTU(t *testing.T, lab *emutest.Lab, h *stack.Host, device string, mtu int) {
	t.Helper()
	var err error
	lab.Driver().Do(func() { err = h.Device(device).SetMTU(mtu) })
	if err != nil {
		t.Fatal(err)
	}
}

// B4: what is sent to an address that the bridge does not know leaves by all
// ports but the one it came from, and once its owner has spoken by that one
// only. The ports are not in hairpin mode: flannel's bridge plugin sets that,
// and on Linux a hairpin port gets its own floods back (should_deliver).
func TestB4UnknownUnicast(t *testing.T) {
	var pod *emutest.Pod
	var unknown, first, known string
	macs := []link.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}}
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p1a", "node1") // cni0 comes with the first pod
		tap1, _, tap3 := newTap(t, lab, "tap1"), newTap(t, lab, "tap2"), newTap(t, lab, "tap3")
		pod = lab.Pod("p1b", "node1") // captures look for new devices when a pod comes
		cni0 := lab.Node("node1").Stack().Device("cni0")
		lab.Driver().Do(func() {
			for _, p := range cni0.Bridge().Ports() {
				p.Hairpin = false
			}
		})
		unknown = send(lab, tap1, macs[2], macs[0])
		first = send(lab, tap3, macs[0], macs[2]) // tap1 has spoken, now tap3 does
		known = send(lab, tap1, macs[2], macs[0])
	})
	s.id(unknown).on("node1/tap1").in().one(t, "first frame").want(t, "eth.src", macs[0].String(), "eth.dst", macs[2].String())
	for _, x := range []struct {
		what, id string
		want     []string
	}{
		{"to an unknown address", unknown, []string{"node1/veth(p1a)", "node1/tap2", "node1/tap3", "node1/veth(p1b)"}},
		{"to tap1, which has spoken", first, []string{"node1/tap1"}},
		{"to tap3, which has spoken", known, []string{"node1/tap3"}},
	} {
		var got []string
		for _, f := range s.id(x.id).out() {
			got = append(got, s.point(f))
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("a frame %s leaves by %v, want %v", x.what, got, x.want)
		}
	}
	s.id(unknown).on(eth0(pod)).in().one(t, "flooded frame at a pod")
	s.id(known).on(eth0(pod)).none(t, "unicast frame at another pod")
}

// newTap plugs a bare port into node1's cni0: whoever holds it speaks Ethernet
// itself.
func newTap(t *testing.T, lab *emutest.Lab, name string) *link.Port {
	t.Helper()
	var mine *link.Port
	var err error
	h := lab.Node("node1").Stack()
	lab.Driver().Do(func() {
		tap, onNode := lab.Driver().NewVeth(name, "node1/"+name)
		tap.Bind((*link.Frame).Release)
		_, _, err = h.AddBridgePort(h.Device("cni0"), name, link.LocalMAC(h.Rand(name).Uint64()), 1450, onNode)
		mine = tap
	})
	if err != nil {
		t.Fatal(err)
	}
	return mine
}

// send puts a small frame of an experimental type (IEEE 802a) on a port
// and returns the id that captures give it.
func send(lab *emutest.Lab, p *link.Port, dst, src link.MAC) (id string) {
	lab.Driver().Do(func() {
		f := lab.Driver().NewFrame(link.EthernetHeader + 46)
		clear(f.Bytes())
		link.PutEthernet(f.Bytes(), dst, src, 0x88b5)
		f.ID = lab.Driver().NewID()
		id = fmt.Sprint(f.ID)
		p.Send(f)
	})
	lab.Sleep(0)
	return id
}
