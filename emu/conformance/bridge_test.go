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
	macs := []link.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}}
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("p1a", "node1") // cni0 comes with the first pod
		lab.Driver().Do(func() {
			for _, p := range lab.Node("node1").Stack().Device("cni0").Bridge().Ports() {
				p.Hairpin = false
			}
		})
		taps := []*link.Port{newTap(t, lab, "tap1"), newTap(t, lab, "tap2"), newTap(t, lab, "tap3")}
		recapture(t, lab)
		send(lab, taps[0], macs[2], macs[0], 1) // unknown: flooded
		send(lab, taps[2], macs[0], macs[2], 2) // tap1 has spoken, now tap3 does
		send(lab, taps[0], macs[2], macs[0], 3) // known: unicast
	})
	ports := []string{"node1/tap1", "node1/tap2", "node1/tap3"}
	pod := "default/p1a/eth0"
	for _, x := range []struct {
		what, src, dst string
		in             string
		out            []string
		pod            int
	}{
		{"to an unknown address", macs[0].String(), macs[2].String(), ports[0], []string{ports[1], ports[2]}, 1},
		{"to the first speaker", macs[2].String(), macs[0].String(), ports[2], []string{ports[0]}, 0},
		{"to a known address", macs[0].String(), macs[2].String(), ports[0], []string{ports[2]}, 0},
	} {
		sent := s.where("eth.type", rawTypes[x.what])
		sent.on(x.in).in().one(t, x.what+" comes in").want(t, "eth.src", x.src, "eth.dst", x.dst)
		got := sent.on(ports...).out()
		var names []string
		for _, f := range got {
			names = append(names, f.iface)
		}
		if !slices.Equal(names, x.out) {
			t.Errorf("%s: leaves by %v, want %v", x.what, names, x.out)
		}
		if n := len(sent.on(pod).in()); n != x.pod {
			t.Errorf("%s: the pod receives %d copies, want %d", x.what, n, x.pod)
		}
	}
}
