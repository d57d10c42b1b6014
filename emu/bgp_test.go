package emu_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

// bgpLab is three nodes of a design with a pod on each. A packet takes 1 ms from
// node to node.
func bgpLab(t *testing.T, design string, seed uint64, f func(t *testing.T, lab *emutest.Lab)) {
	t.Helper()
	cfg := emu.Config{Design: design, Nodes: 3, Seed: seed, Underlay: emu.Underlay{Cable: link.WireConfig{Latency: 500 * time.Microsecond}}}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		for i := range 3 {
			lab.Pod(fmt.Sprint("p", i+1), fmt.Sprint("node", i+1))
		}
		f(t, lab)
	})
}

// birdRoutes lists the routes of a node that BIRD has made.
func birdRoutes(lab *emutest.Lab, node string) (list []string) {
	n := lab.Node(node)
	lab.Driver().Do(func() {
		for _, r := range n.Stack().Routes() {
			if r.Proto == "bird" {
				list = append(list, strings.TrimSuffix(r.String(), " proto bird"))
			}
		}
	})
	return list
}

// since returns the state of a session of a node and when that began.
func since(lab *emutest.Lab, node, peer string) string {
	n := lab.Node(node)
	var s bgp.PeerState
	lab.Driver().Do(func() { s = n.Speaker().Peer(peer).State() })
	return strings.TrimSpace(fmt.Sprintf("%v %s %s", s.Since, s.State, s.Message))
}

func wantStrings(t *testing.T, sentence string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", sentence, got, want)
	}
}

func until(lab *emutest.Lab, at time.Duration) { lab.Sleep(at - lab.Now()) }

var threeBlocks = []string{"blackhole 10.244.1.0/26", "10.244.2.0/26 via 192.168.56.12 dev eth0", "10.244.3.0/26 via 192.168.56.13 dev eth0"}

// A node that is added has its sessions two seconds later, and all routes a few
// round trips after that.
func TestBGPNodeIsAdded(t *testing.T) {
	bgpLab(t, "calico-bgp", 1, func(t *testing.T, lab *emutest.Lab) {
		wantStrings(t, "node1's routes", birdRoutes(lab, "node1"), threeBlocks...)
		until(lab, 10*time.Second)
		if _, err := lab.AddNode(emu.NodeConfig{}); err != nil {
			t.Fatal(err)
		}
		p4, err := lab.Lab.AddPod(emu.PodConfig{Name: "p4", Node: "node4"})
		if err != nil {
			t.Fatal(err)
		}
		until(lab, 12*time.Second)
		wantStrings(t, "routes before the connect delay is over", birdRoutes(lab, "node1"), threeBlocks...)
		until(lab, 13*time.Second)
		wantStrings(t, "routes afterwards", birdRoutes(lab, "node1"), append(slices.Clone(threeBlocks), "10.244.4.0/26 via 192.168.56.14 dev eth0")...)
		wantStrings(t, "sessions of the new node", []string{since(lab, "node4", "Mesh_192_168_56_11"), since(lab, "node1", "Mesh_192_168_56_14")},
			"12.006s Established", "12.007s Established")
		if r, err := p4.Ping("p1", time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping from the new node: %+v, %v", r, err)
		}
	})
}

// A node that is lost is noticed when the hold time is over, and not before: its
// peers go on to send to where nobody is. The hold timer is shortened by up to a
// quarter by chance, so seeds differ.
func TestBGPNodeIsLost(t *testing.T) {
	seen := make(map[string]bool)
	for seed := range uint64(3) {
		for range 2 {
			var got string
			bgpLab(t, "calico-bgp", seed, func(t *testing.T, lab *emutest.Lab) {
				until(lab, 100*time.Second)
				lab.Node("node2").Crash()
				until(lab, 250*time.Second)
				wantStrings(t, "routes within the hold time", birdRoutes(lab, "node1")[:2], threeBlocks[:2]...)
				until(lab, 341*time.Second)
				wantStrings(t, "routes when it is over", birdRoutes(lab, "node1"), threeBlocks[0], threeBlocks[2])
				got = since(lab, "node1", "Mesh_192_168_56_12")
				if err := lab.Node("node2").Boot(); err != nil {
					t.Fatal(err)
				}
				booted := lab.Now()
				if err := lab.AwaitReady(30 * time.Second); err != nil {
					t.Fatal(err)
				}
				if took := lab.Now() - booted; took > 10*time.Second {
					t.Errorf("the node is back after %v, want the connect delay and at most two attempts", took)
				}
				wantStrings(t, "routes when it is back", birdRoutes(lab, "node1"), threeBlocks...)
			})
			if seen[got] = true; !strings.HasSuffix(got, " Passive BGP Error: Hold timer expired") {
				t.Errorf("seed %d: %s", seed, got)
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("three seeds, each twice: %v, want three times", seen)
	}
}

// A cable that is pulled and plugged in again within the hold time: nothing is
// forgotten. Longer, and both sides forget, and make the session anew.
func TestBGPLinkIsLost(t *testing.T) {
	bgpLab(t, "calico-bgp", 1, func(t *testing.T, lab *emutest.Lab) {
		until(lab, 100*time.Second)
		n2 := lab.Node("node2")
		n2.SetLink(false)
		until(lab, 160*time.Second)
		n2.SetLink(true)
		until(lab, 300*time.Second)
		wantStrings(t, "routes after a minute without", birdRoutes(lab, "node1"), threeBlocks...)
		if got := since(lab, "node1", "Mesh_192_168_56_12"); got != "2.007s Established" {
			t.Errorf("session %s, want the first one", got)
		}
		n2.SetLink(false)
		until(lab, 560*time.Second)
		wantStrings(t, "routes of the node without a cable", birdRoutes(lab, "node2"), "blackhole 10.244.2.0/26")
		n2.SetLink(true)
		if err := lab.AwaitReady(time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "routes at last", birdRoutes(lab, "node1"), threeBlocks...)
	})
}

// A daemon that ends in order takes its node's routes with it at once; one that is
// killed leaves them for its restart time, and when it comes back within that,
// nothing was ever missing.
func TestBGPDaemonEnds(t *testing.T) {
	bgpLab(t, "calico-bgp", 1, func(t *testing.T, lab *emutest.Lab) {
		n2 := lab.Node("node2")
		stop := func(kill bool) {
			t.Helper()
			if err := n2.StopBGP(kill); err != nil {
				t.Fatal(err)
			}
		}
		start := func() {
			t.Helper()
			if err := n2.StartBGP(); err != nil {
				t.Fatal(err)
			}
			if err := lab.AwaitReady(time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		until(lab, 20*time.Second)
		stop(false)
		until(lab, 20*time.Second+2*time.Millisecond)
		wantStrings(t, "routes 2 ms after a shutdown", birdRoutes(lab, "node1"), threeBlocks[0], threeBlocks[2])
		if got := since(lab, "node1", "Mesh_192_168_56_12"); got != "20.001s Passive Received: Administrative shutdown" {
			t.Errorf("session %s", got)
		}
		wantStrings(t, "the node's own routes, which persist", birdRoutes(lab, "node2"), "10.244.1.0/26 via 192.168.56.11 dev eth0", "blackhole 10.244.2.0/26", "10.244.3.0/26 via 192.168.56.13 dev eth0")
		if err := n2.StopBGP(true); err == nil || !strings.Contains(err.Error(), "node2 runs no BGP daemon") {
			t.Errorf("stopped twice: %v", err)
		}
		start()
		if err := n2.StartBGP(); err == nil || !strings.Contains(err.Error(), "node2 runs its BGP daemon already") {
			t.Errorf("started twice: %v", err)
		}
		wantStrings(t, "routes with the daemon again", birdRoutes(lab, "node1"), threeBlocks...)

		until(lab, 100*time.Second)
		stop(true)
		until(lab, 150*time.Second)
		wantStrings(t, "routes in the restart time", birdRoutes(lab, "node1"), threeBlocks...)
		start()
		wantStrings(t, "routes after the restart", birdRoutes(lab, "node1"), threeBlocks...)
		wantStrings(t, "routes of the node that has restarted", birdRoutes(lab, "node2"), "10.244.1.0/26 via 192.168.56.11 dev eth0", "blackhole 10.244.2.0/26", "10.244.3.0/26 via 192.168.56.13 dev eth0")

		until(lab, 200*time.Second)
		stop(true)
		until(lab, 321*time.Second)
		wantStrings(t, "routes after the restart time", birdRoutes(lab, "node1"), threeBlocks[0], threeBlocks[2])
	})
}

// A Node resource that is deleted ends the sessions with it at once, everywhere but
// on the node itself; when it is there again they are made anew.
func TestBGPNodeIsForgotten(t *testing.T) {
	bgpLab(t, "calico-ipip", 1, func(t *testing.T, lab *emutest.Lab) {
		n2 := lab.Node("node2")
		want := []string{"blackhole 10.244.1.0/26", "10.244.2.0/26 via 192.168.56.12 dev tunl0", "10.244.3.0/26 via 192.168.56.13 dev tunl0"}
		routes := func() (list []string) {
			for _, r := range birdRoutes(lab, "node1") {
				list = append(list, strings.Replace(r, " proto bird onlink", "", 1))
			}
			return list
		}
		wantStrings(t, "routes", routes(), want...)
		until(lab, 20*time.Second)
		if err := n2.SetLease(false); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "routes at once", routes(), want[0], want[2])
		lab.Sleep(time.Second)
		if got := since(lab, "node2", "Mesh_192_168_56_11"); !strings.HasSuffix(got, "Received: Peer de-configured") {
			t.Errorf("the node's session: %s", got)
		}
		if err := n2.SetLease(true); err != nil {
			t.Fatal(err)
		}
		if err := lab.AwaitReady(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "routes again", routes(), want...)
		if err := lab.RemoveNode(n2); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "routes without the node", routes(), want[0], want[2])
	})
}

// When one of two route reflectors is lost no route is; when both are, all are.
func TestBGPReflectorsAreLost(t *testing.T) {
	bgpLab(t, "calico-bgp-rr", 1, func(t *testing.T, lab *emutest.Lab) {
		if _, err := lab.AddNode(emu.NodeConfig{}); err != nil {
			t.Fatal(err)
		}
		lab.Pod("p4", "node4")
		want := []string{"10.244.1.0/26 via 192.168.56.11 dev eth0", "10.244.2.0/26 via 192.168.56.12 dev eth0", "blackhole 10.244.3.0/26", "10.244.4.0/26 via 192.168.56.14 dev eth0"}
		wantStrings(t, "routes", birdRoutes(lab, "node3"), want...)
		for _, n := range []string{"node1", "node2"} {
			if err := lab.Node(n).StopBGP(false); err != nil {
				t.Fatal(err)
			}
			lab.Sleep(time.Second)
			want = want[1:]
			if n == "node2" {
				want = want[:1]
			}
			wantStrings(t, "routes without the daemon of "+n, birdRoutes(lab, "node3"), want...)
		}
	})
}

// The same seed gives the same bytes, whatever happens to the daemons.
func TestBGPIsRepeatable(t *testing.T) {
	for _, design := range []string{"calico-bgp", "calico-bgp-rr"} {
		sums := make(map[string]int)
		for range 4 {
			var file bytes.Buffer
			bgpLab(t, design, 7, func(t *testing.T, lab *emutest.Lab) {
				c, err := lab.Capture(&file, emu.CaptureConfig{})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := lab.AddNode(emu.NodeConfig{}); err != nil {
					t.Fatal(err)
				}
				lab.Sleep(10 * time.Second)
				lab.Node("node2").StopBGP(true)
				lab.Node("node3").Crash()
				lab.Sleep(100 * time.Second)
				lab.Node("node2").StartBGP()
				lab.Sleep(300 * time.Second)
				lab.Node("node3").Boot()
				lab.Sleep(100 * time.Second)
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			})
			sums[fmt.Sprintf("%x of %d bytes", sha256.Sum256(file.Bytes()), file.Len())]++
		}
		if len(sums) != 1 {
			t.Errorf("%s: four runs of one seed: %v, want the same bytes", design, sums)
		}
	}
}

// What cannot work is refused.
func TestBGPErrors(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		n := lab.Node("node1")
		for _, err := range []error{n.StopBGP(false), n.StartBGP()} {
			if err == nil || err.Error() != "emu: design flannel-vxlan speaks no BGP" {
				t.Errorf("error %v", err)
			}
		}
		if err := lab.AwaitReady(0); err != nil {
			t.Errorf("a design without daemons is not ready: %v", err)
		}
		h := lab.Host("h")
		if _, err := h.RunBGP(emu.BGPConfig{}); err == nil || err.Error() != "emu: h: bgp: AS 0, want 1 to 4294967295" {
			t.Errorf("error %v", err)
		}
		if _, err := h.RunBGP(emu.BGPConfig{AS: 1, Peers: []bgp.PeerConfig{{Name: "x"}}}); err == nil || !strings.Contains(err.Error(), "peer x: address") {
			t.Errorf("error %v", err)
		}
		if _, err := h.RunBGP(emu.BGPConfig{AS: 1, Announce: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}); err != nil {
			t.Error(err)
		}
		if _, err := h.RunBGP(emu.BGPConfig{AS: 1}); err == nil || err.Error() != "emu: h runs a BGP speaker already" {
			t.Errorf("error %v", err)
		}
	})
}

// Routers that speak BGP join racks without a tunnel; a tunnel's next hops are
// nodes, not routers. When a router is lost, so is what it has told.
func TestBGPRouters(t *testing.T) {
	for _, design := range []string{"calico-bgp", "calico-bgp-rr", "calico-ipip", "calico-ipip-crosssubnet"} {
		segment := func(i int) emu.Segment {
			return emu.Segment{Name: fmt.Sprint("s", i), Subnet: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i))}
		}
		cfg := emu.Config{Design: design, Seed: 1, Underlay: emu.Underlay{
			Segments: []emu.Segment{segment(1), segment(2), segment(0)},
			Routers: []emu.Router{
				{Name: "tor1", AS: 65001, Ports: []emu.RouterPort{{Segment: "s1"}, {Segment: "s0"}}},
				{Name: "tor2", AS: 65002, Ports: []emu.RouterPort{{Segment: "s2"}, {Segment: "s0"}}},
			},
		}}
		emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			for _, s := range []string{"s1", "s1", "s2"} {
				if _, err := lab.AddNode(emu.NodeConfig{Segment: s}); err != nil {
					t.Fatal(err)
				}
			}
			p1, p3 := lab.Pod("p1", "node1"), lab.Pod("p3", "node3")
			lab.Pod("p2", "node2").Ping("p3")
			p1.Ping("p3")
			p3.Ping("p1")
			p1.Ping("p2")
			if w := lab.Warnings(); len(w) > 0 {
				t.Errorf("%s: warnings %q", design, w)
			}
			want := map[string]string{
				"calico-bgp": "10.244.3.0/26 via 10.0.1.1 dev eth0", "calico-bgp-rr": "10.244.3.0/26 via 10.0.1.1 dev eth0",
				"calico-ipip": "10.244.3.0/26 via 10.0.2.13 dev tunl0 proto bird onlink", "calico-ipip-crosssubnet": "10.244.3.0/26 via 10.0.2.13 dev tunl0 proto bird onlink",
			}[design]
			if got := birdRoutes(lab, "node1"); !slices.Contains(got, want) {
				t.Errorf("%s: routes of node1 %q, want %s", design, got, want)
			}
			n3 := lab.Node("node3")
			if err := lab.RemoveNode(n3); err != nil {
				t.Fatal(err)
			}
			lab.Sleep(time.Second)
			if got := birdRoutes(lab, "node1"); slices.Contains(got, want) {
				t.Errorf("%s: routes of node1 without node3: %q", design, got)
			}
		})
	}
}

// Anybody may connect to port 179: who is no peer is hung up on, a peer that talks
// nonsense is told so, and whoever is in a hurry does no harm.
func TestBGPHostilePort(t *testing.T) {
	bgpLab(t, "calico-bgp", 1, func(t *testing.T, lab *emutest.Lab) {
		h, n1, n2 := lab.Host("h"), lab.Node("node1"), lab.Node("node2")
		until(lab, 10*time.Second)
		if err := n2.StopBGP(false); err != nil {
			t.Fatal(err)
		}
		lab.Sleep(time.Second)
		talk := func(m *emu.Machine, say []byte) (heard []byte) {
			t.Helper()
			c, err := m.Dial("tcp", n1.Addr().String()+":179")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(lab.Deadline(10 * time.Second))
			c.Write(say)
			heard, _ = io.ReadAll(c)
			return heard
		}
		if got := talk(&h.Machine, []byte("GET / HTTP/1.1\r\n\r\n")); len(got) != 0 {
			t.Errorf("a stranger hears % x, want nothing", got)
		}
		notification := []byte{0, 21, 3, 1, 1}
		if got := talk(&n2.Machine, []byte("GET / HTTP/1.1\r\n\r\n and more")); !bytes.HasSuffix(got, notification) {
			t.Errorf("a peer that speaks HTTP hears % x, want connection not synchronized", got)
		}
		for range 20 {
			lab.Driver().Do(func() {
				c, err := n2.Stack().Connect("tcp", n1.Addr().String()+":179", stack.SocketConfig{})
				if err != nil {
					t.Error(err)
					return
				}
				lab.Driver().AfterFunc(1, 2*time.Millisecond, c.Abort)
			})
			lab.Sleep(10 * time.Millisecond)
		}
		if err := n2.StartBGP(); err != nil {
			t.Fatal(err)
		}
		if err := lab.AwaitReady(time.Minute); err != nil {
			t.Fatal(err)
		}
		wantStrings(t, "routes", birdRoutes(lab, "node1"), threeBlocks...)
	})
}

// A design says of itself what its nodes do.
func TestDesignsThatSpeakBGP(t *testing.T) {
	for _, d := range overlay.Designs() {
		emutest.Run(t, emu.Config{Design: d.Name, Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
			if got := lab.Node("node1").SpeaksBGP(); got != d.BGP {
				t.Errorf("%s: node1 speaks BGP: %t, the design says %t", d.Name, got, d.BGP)
			}
		})
	}
}
