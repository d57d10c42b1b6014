package conformance

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/overlay/bgp"
)

// bgpFields are what tshark is asked for about BGP. Streams are put together
// here: a message may be in several segments, and a segment hold several.
var bgpFields = []string{
	"frame.time_relative", "ip.src", "ip.dst", "ip.dsfield", "ip.ttl", "tcp.dstport", "bgp.type", "bgp.length",
	"bgp.open.version", "bgp.open.myas", "bgp.open.holdtime", "bgp.open.identifier", "bgp.open.opt.len",
	"bgp.cap.type", "bgp.cap.length", "bgp.cap.mp.afi", "bgp.cap.mp.safi", "bgp.cap.gr.timers", "bgp.cap.gr.timers.restart_time", "bgp.cap.gr.flag", "bgp.cap.4as", "bgp.cap.ap.sendreceive",
	"bgp.update.withdrawn_routes.length", "bgp.update.path_attributes.length",
	"bgp.update.path_attribute.type_code", "bgp.update.path_attribute.flags", "bgp.update.path_attribute.origin", "bgp.update.path_attribute.next_hop", "bgp.update.path_attribute.local_pref",
	"bgp.update.path_attribute.originator_id", "bgp.path_attribute.cluster_id", "bgp.update.path_attribute.as_path_segment.as4",
	"bgp.update.path_attribute.as_path_segment", "bgp.prefix_length", "bgp.nlri_prefix", "bgp.withdrawn_prefix", "bgp.nlri_path_id",
	"bgp.notify.major_error", "bgp.notify.minor_error_cease", "bgp.notify.minor_error_open",
	"_ws.malformed", "_ws.expert.message",
}

// readBGP reads the frames of a capture that hold BGP messages.
func readBGP(t *testing.T, path, filter string) (rows []map[string]string) {
	t.Helper()
	needTshark(t)
	args := []string{"-n", "-r", path, "-Y", filter, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|", "-E", "separator=/t"}
	for _, f := range bgpFields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		row := make(map[string]string)
		for i, cell := range strings.Split(strings.TrimRight(line, "\n"), "\t") {
			row[bgpFields[i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// playBGP plays a scene of a design and returns the BGP messages on the cables:
// each once, where it leaves its sender. None may be malformed.
func playBGP(t *testing.T, cfg emu.Config, play func(t *testing.T, lab *emutest.Lab)) []map[string]string {
	t.Helper()
	needTshark(t)
	t.Parallel()
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	nodes := cfg.Nodes
	cfg.Nodes = 0
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		done := captureTo(t, lab, path)
		for range nodes {
			if _, err := lab.AddNode(emu.NodeConfig{}); err != nil {
				t.Fatal(err)
			}
		}
		play(t, lab)
		lab.Sleep(0)
		done()
	})
	rows := readBGP(t, path, `bgp and frame.packet_flags_direction == 2`)
	for _, r := range rows {
		if r["_ws.malformed"] != "" || r["_ws.expert.message"] != "" {
			t.Errorf("%s > %s at %s: %s %s", r["ip.src"], r["ip.dst"], r["frame.time_relative"], r["_ws.malformed"], r["_ws.expert.message"])
		}
	}
	return rows
}

// of selects messages between two machines by type.
func messages(rows []map[string]string, from, to, kind string) (list []map[string]string) {
	for _, r := range rows {
		if r["ip.src"] == from && r["ip.dst"] == to && slices.Contains(strings.Split(r["bgp.type"], "|"), kind) {
			list = append(list, r)
		}
	}
	return list
}

// fixedNodes are two nodes whose addresses are those of the capture of BIRD.
const node1, node2 = "192.168.56.11", "192.168.56.12"

// C6: the messages are those of a real BIRD between the same two addresses, field
// by field.
func TestC6MessagesOfBIRD(t *testing.T) {
	got := playBGP(t, calicoNodes("calico-bgp"), func(t *testing.T, lab *emutest.Lab) {
		for _, cfg := range []emu.PodConfig{{Name: "p1a", Node: "node1"}, {Name: "p2a", Node: "node2"}} {
			if _, err := lab.Lab.AddPod(cfg); err != nil { // which does not wait: blocks come before sessions
				t.Fatal(err)
			}
		}
		if err := lab.AwaitReady(3 * time.Second); err != nil {
			t.Fatal(err)
		}
	})
	want := readBGP(t, "testdata/bgp-bird2-ibgp.pcap", "bgp")
	// The prefixes and the numbers of paths are the lab's own, and so is when and
	// in which frame.
	own := []string{"frame.time_relative", "bgp.nlri_prefix", "bgp.nlri_path_id", "bgp.prefix_length", "ip.ttl"}
	for _, way := range [][2]string{{node1, node2}, {node2, node1}} {
		for kind, name := range map[string]string{"1": "OPEN", "2": "UPDATE", "4": "KEEPALIVE"} {
			g, w := messages(got, way[0], way[1], kind), messages(want, way[0], way[1], kind)
			if len(g) != len(w) {
				t.Errorf("%s > %s: %d frames with %s, BIRD has %d", way[0], way[1], len(g), name, len(w))
				continue
			}
			for i := range g {
				for _, f := range bgpFields {
					if !slices.Contains(own, f) && f != "tcp.dstport" && g[i][f] != w[i][f] {
						t.Errorf("%s > %s: %s %d: %s is %q, BIRD has %q", way[0], way[1], name, i+1, f, g[i][f], w[i][f])
					}
				}
			}
		}
	}
	open := messages(got, node2, node1, "1")[0]
	if open["bgp.open.myas"] != "64512" || open["bgp.open.holdtime"] != "240" || open["bgp.length"] != "63" || open["ip.dsfield"] != "0xc0" || open["ip.ttl"] != "64" {
		t.Errorf("OPEN %v", open)
	}
	updates := messages(got, node2, node1, "2")
	if end := updates[1]; end["bgp.length"] != "23" || end["bgp.update.path_attributes.length"] != "0" {
		t.Errorf("End-of-RIB %v", end)
	}
	if u := updates[0]; u["bgp.length"] != "53" || u["bgp.nlri_prefix"] != "10.244.2.0" || u["bgp.prefix_length"] != "26" || u["bgp.update.path_attribute.next_hop"] != node2 || u["bgp.nlri_path_id"] != "1" {
		t.Errorf("UPDATE %v", u)
	}
}

// C6: the node connects whose address is higher as a string, which is not the
// higher address: 192.168.56.9 calls 192.168.56.12. TOS is CS6 from the SYN on,
// and the listener's TTL is 255 until the daemon has looked at the connection.
func TestC6Initiator(t *testing.T) {
	cfg := calicoNodes("calico-bgp")
	cfg.Nodes = 0
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		for _, a := range []string{"192.168.56.12", "192.168.56.9"} {
			if _, err := lab.AddNode(emu.NodeConfig{Addr: netip.MustParseAddr(a)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := lab.AwaitReady(3 * time.Second); err != nil {
			t.Fatal(err)
		}
		if now := lab.Now(); now != 2*time.Second {
			t.Errorf("ready at %v, want the connect delay, 2s", now)
		}
	})
	wire := s.on("node1/eth0", "node2/eth0").out().having("tcp.flags")
	syn := wire.where("tcp.flags", "0x0002").one(t, "SYN")
	syn.want(t, "ip.src", "192.168.56.9", "ip.dst", "192.168.56.12", "tcp.dstport", "179", "ip.ttl", "64")
	wire.where("tcp.flags", "0x0012").one(t, "SYN-ACK").want(t, "ip.ttl", "255")
	for _, f := range wire {
		f.want(t, "ip.dsfield", "0xc0")
	}
}

// C6, the route reflectors: both ends connect, one connection stays. What a
// reflector passes on has the originator and the cluster id.
func TestC6RouteReflectors(t *testing.T) {
	cfg := calicoNodes("calico-bgp-rr")
	cfg.Nodes, cfg.Underlay.Cable = 4, link.WireConfig{Latency: 100 * time.Microsecond}
	rows := playBGP(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p3, p4 := lab.Pod("p3", "node3"), lab.Pod("p4", "node4")
		if p3.Ping("p4"); p4.Node().Name() != "node4" {
			t.Error("p4 is not on node4")
		}
		want := "10.244.4.0/26 via 192.168.56.14 dev eth0 proto bird"
		if got := routesOf(lab, &lab.Node("node3").Machine); !slices.Contains(got, want) {
			t.Errorf("routes of node3: %q, want %s", got, want)
		}
	})
	if n := len(messages(rows, "192.168.56.13", "192.168.56.14", "1")); n != 0 {
		t.Errorf("%d OPENs between nodes that are no reflectors", n)
	}
	reflected := 0
	for _, u := range messages(rows, node1, "192.168.56.13", "2") {
		if u["bgp.nlri_prefix"] == "10.244.4.0" {
			reflected++
			for f, want := range map[string]string{
				"bgp.update.path_attribute.originator_id": "192.168.56.14", "bgp.path_attribute.cluster_id": "244.0.0.1",
				"bgp.update.path_attribute.next_hop": "192.168.56.14", "bgp.update.path_attribute.local_pref": "100",
			} {
				if u[f] != want {
					t.Errorf("%s is %q, want %s", f, u[f], want)
				}
			}
		}
	}
	if reflected != 1 {
		t.Errorf("%d UPDATEs about node4's block from node1 to node3, want 1", reflected)
	}
	collisions := 0
	for _, r := range rows {
		if r["bgp.notify.major_error"] == "6" {
			collisions++
			if r["bgp.notify.minor_error_cease"] != "7" {
				t.Errorf("NOTIFICATION %v", r)
			}
		}
	}
	if collisions != 10 { // five sessions, and both ends find out
		t.Errorf("%d collisions, want 10", collisions)
	}
}

// C9: without encapsulation a pod's packets are on the wire as they are.
func TestC9CrossNode(t *testing.T) {
	var p1a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-bgp"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		p1a.Ping("p2a")
		want := []string{
			"default via 192.168.56.1 dev eth0",
			"blackhole 10.244.1.0/26 proto bird",
			"10.244.1.0 dev cali64ff110b497 proto 80 scope link",
			"10.244.2.0/26 via 192.168.56.12 dev eth0 proto bird",
			"192.168.56.0/24 dev eth0 proto kernel scope link src 192.168.56.11",
		}
		if got := routesOf(lab, &lab.Node("node1").Machine); !slices.Equal(got, want) {
			t.Errorf("routes of node1: %q, want %q", got, want)
		}
		wantHops(t, p1a, "p2a", "192.168.56.11 192.168.56.12 10.244.2.0")
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > cali, 10.244.1.0 > 10.244.2.0, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > cali, 10.244.1.0 > 10.244.2.0, ttl 64",
		"node1/eth0 out: node1/eth0 > node2/eth0, 10.244.1.0 > 10.244.2.0, ttl 63",
		"node2/eth0 in: node1/eth0 > node2/eth0, 10.244.1.0 > 10.244.2.0, ttl 63",
		"node2/veth(p2a) out: cali > p2a/eth0, 10.244.1.0 > 10.244.2.0, ttl 62",
		"p2a/eth0 in: cali > p2a/eth0, 10.244.1.0 > 10.244.2.0, ttl 62",
	)
	f := s.id(ask.id).on("node1/eth0").one(t, "request on the cable")
	f.want(t, "ip.proto", "1", "ip.len", "84", "frame.protocols", "eth:ethertype:ip:icmp:data")
}

// The other checks of F4 hold without encapsulation as with it.
func TestC4C5C14WithoutEncapsulation(t *testing.T) {
	var p1a *emutest.Pod
	s := calicoScene(t, calicoNodes("calico-bgp"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		p1b := lab.Pod("p1b", "node1")
		lab.Pod("p2a", "node2")
		ext := lab.Host("ext")
		p1a.Ping("p2a")
		if r, err := p1b.Machine.Ping("10.244.2.33", time.Second); err == nil {
			t.Errorf("ping of an address that no pod has = %+v, want no answer", r)
		}
		for to, want := range map[string]string{"ext": "192.168.56.11", "node2": "192.168.56.11", "p2a": "10.244.1.0"} {
			p1a.Ping(to)
			seen, _ := lab.LastPeer("icmp")
			if got := seen.Addr.Addr().String(); got != want {
				t.Errorf("%s takes the ping to come from %s, want %s", to, got, want)
			}
		}
		_ = ext
	})
	s.errors().none(t, "ICMP errors")
}

// borrowing leaves a node without a block of its own: its pods' addresses are
// announced one by one.
func TestCalicoBGPBorrowedAddress(t *testing.T) {
	cfg := calicoNodes("calico-bgp")
	cfg.Nodes, cfg.PodCIDR = 0, netip.MustParsePrefix("10.244.0.0/26")
	rows := playBGP(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		for i := range 2 {
			if _, err := lab.AddNode(emu.NodeConfig{PodCIDR: netip.MustParsePrefix(fmt.Sprintf("10.244.0.%d/27", i*32))}); err != nil {
				t.Fatal(err)
			}
		}
		p1a, p2a := lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2")
		p1a.Ping("p2a")
		want := []string{
			"default via 192.168.56.1 dev eth0", "blackhole 10.244.0.0/26 proto bird",
			fmt.Sprintf("10.244.0.0 dev %s proto 80 scope link", p1a.Peer()), "10.244.0.1 via 192.168.56.12 dev eth0 proto bird",
			"192.168.56.0/24 dev eth0 proto kernel scope link src 192.168.56.11",
		}
		if got := routesOf(lab, &lab.Node("node1").Machine); !slices.Equal(got, want) {
			t.Errorf("routes of node1: %q, want %q", got, want)
		}
		if err := lab.RemovePod(p2a.Pod); err != nil {
			t.Fatal(err)
		}
		lab.Sleep(time.Second)
		if got := routesOf(lab, &lab.Node("node1").Machine); len(got) != 4 {
			t.Errorf("routes of node1 without the pod: %q", got)
		}
	})
	var said []string
	for _, u := range messages(rows, node2, node1, "2") {
		said = append(said, u["bgp.nlri_prefix"]+"/"+u["bgp.prefix_length"]+" "+u["bgp.withdrawn_prefix"])
	}
	if got, want := strings.Join(said, ", "), "/ , 10.244.0.1/32 , /32 10.244.0.1"; got != want {
		t.Errorf("node2 said %q, want %q", got, want)
	}
}

// A speaker outside of the cluster: nodes peer with it, and it has their blocks,
// with the AS number of the cluster in front of nothing.
func TestCalicoBGPPeerOutside(t *testing.T) {
	emutest.Run(t, calicoNodes("calico-bgp"), func(t *testing.T, lab *emutest.Lab) {
		tor := lab.Host("tor")
		s, err := tor.RunBGP(emu.BGPConfig{AS: 65001, Peers: []bgp.PeerConfig{{Name: "node1", Addr: lab.Node("node1").Addr(), AS: 64512}}, Announce: []netip.Prefix{netip.MustParsePrefix("172.16.0.0/16")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := lab.AddBGPPeer(overlay.BGPPeer{Node: "node1", Addr: tor.Addr(), AS: 65001}); err != nil {
			t.Fatal(err)
		}
		lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		lab.Sleep(time.Second)
		var list []string
		lab.Driver().Do(func() {
			for _, p := range s.Table() {
				list = append(list, fmt.Sprintf("%v by %v, AS path %s", p.Prefix, p.Attrs.NextHop, p.Attrs.PathString()))
			}
		})
		want := []string{
			"10.244.1.0/26 by 192.168.56.11, AS path 64512", "10.244.2.0/26 by 192.168.56.11, AS path 64512",
			"172.16.0.0/16 by invalid IP, AS path ",
		}
		if !slices.Equal(list, want) {
			t.Errorf("the router knows %q, want %q", list, want)
		}
		if got := routesOf(lab, &lab.Node("node1").Machine); !slices.Contains(got, "172.16.0.0/16 via "+tor.Addr().String()+" dev eth0 proto bird") {
			t.Errorf("routes of node1: %q, want the router's network", got)
		}
		if err := lab.AddBGPPeer(overlay.BGPPeer{Node: "node9", Addr: tor.Addr()}); err == nil || !strings.Contains(err.Error(), "there is no node node9") {
			t.Errorf("a peer of a node that does not exist: %v", err)
		}
	})
}
