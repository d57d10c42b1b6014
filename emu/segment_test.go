package emu_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// racks is two racks joined by one router.
func racks() emu.Underlay {
	return emu.Underlay{
		Cable: link.WireConfig{Latency: time.Millisecond},
		Segments: []emu.Segment{
			{Name: "rack1", Subnet: netip.MustParsePrefix("10.0.1.0/24")},
			{Name: "rack2", Subnet: netip.MustParsePrefix("10.0.2.0/24")},
		},
	}
}

// addNodes adds a node to each of the segments, in order.
func addNodes(t *testing.T, lab *emutest.Lab, segments ...string) {
	t.Helper()
	for _, s := range segments {
		if _, err := lab.AddNode(emu.NodeConfig{Segment: s}); err != nil {
			t.Fatal(err)
		}
	}
}

// warmPing pings until the machines on the way have asked for each other's MAC.
func warmPing(t *testing.T, m *emu.Machine, to string) stack.PingReply {
	t.Helper()
	var r stack.PingReply
	for range 2 {
		var err error
		if r, err = m.Ping(to, 10*time.Second); err == nil {
			err = r.Err()
		}
		if err != nil {
			t.Fatalf("%s: ping %s: %v", m.Name(), to, err)
		}
	}
	return r
}

func TestNodesOfTwoRacks(t *testing.T) {
	for _, design := range []string{"flannel-vxlan", "flannel-vxlan-directrouting"} {
		t.Run(design, func(t *testing.T) {
			emutest.Run(t, emu.Config{Design: design, Underlay: racks()}, func(t *testing.T, lab *emutest.Lab) {
				addNodes(t, lab, "rack1", "rack1", "rack2")
				if got := lab.Node("node3").Addr(); got != netip.MustParseAddr("10.0.2.13") {
					t.Errorf("node3 has address %v, want 10.0.2.13", got)
				}
				// Two cables within a rack, four from rack to rack, each way.
				for to, want := range map[string]struct {
					rtt time.Duration
					ttl byte
				}{"node2": {4 * time.Millisecond, 64}, "node3": {8 * time.Millisecond, 63}} {
					r := warmPing(t, &lab.Node("node1").Machine, to)
					if r.RTT != want.rtt || r.TTL != want.ttl {
						t.Errorf("node1 to %s: %v with TTL %d, want %v with TTL %d", to, r.RTT, r.TTL, want.rtt, want.ttl)
					}
				}
				client := lab.Pod("client", "node1")
				for i, want := range []time.Duration{4 * time.Millisecond, 8 * time.Millisecond} {
					pod := lab.Pod(fmt.Sprint("web", i), fmt.Sprint("node", i+2), 80)
					if r := warmPing(t, &client.Machine, pod.Name()); r.RTT != want || r.TTL != 62 {
						t.Errorf("pod to pod on node%d: %v with TTL %d, want %v with TTL 62", i+2, r.RTT, r.TTL, want)
					}
					if got := client.Get("http://" + pod.Addr().String() + "/hostname"); got != fmt.Sprint("web", i) {
						t.Errorf("GET /hostname = %q", got)
					}
				}
			})
		})
	}
}

// ring is three sites, each with a router, joined in a ring by slow segments.
func ring() emu.Underlay {
	net := func(s string) netip.Prefix { return netip.MustParsePrefix(s) }
	slow := &link.WireConfig{Latency: 10 * time.Millisecond}
	return emu.Underlay{
		Segments: []emu.Segment{
			{Name: "a", Subnet: net("10.1.0.0/24")}, {Name: "b", Subnet: net("10.2.0.0/24")}, {Name: "c", Subnet: net("10.3.0.0/24")},
			{Name: "ab", Subnet: net("10.12.0.0/30"), Cable: slow}, {Name: "bc", Subnet: net("10.23.0.0/30"), Cable: slow},
			{Name: "ca", Subnet: net("10.31.0.0/30"), Cable: slow},
		},
		Routers: []emu.Router{
			{Name: "ra", Ports: []emu.RouterPort{{Segment: "a"}, {Segment: "ab"}, {Segment: "ca"}}},
			{Name: "rb", Ports: []emu.RouterPort{{Segment: "b"}, {Segment: "ab"}, {Segment: "bc"}}},
			{Name: "rc", Ports: []emu.RouterPort{{Segment: "c"}, {Segment: "bc"}, {Segment: "ca"}}},
		},
	}
}

func TestRoutersFindTheShortestWay(t *testing.T) {
	emutest.Run(t, emu.Config{Underlay: ring()}, func(t *testing.T, lab *emutest.Lab) {
		addNodes(t, lab, "a", "b", "c")
		for _, to := range []string{"node2", "node3"} {
			if r := warmPing(t, &lab.Node("node1").Machine, to); r.RTT != 40*time.Millisecond || r.TTL != 62 {
				t.Errorf("node1 to %s: %v with TTL %d, want 40ms with TTL 62", to, r.RTT, r.TTL)
			}
		}
		hops, err := lab.Node("node2").Traceroute("node3", 5, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range hops {
			got = append(got, h.Addr.String())
		}
		if want := []string{"10.2.0.1", "10.23.0.2", "10.3.0.13"}; !slices.Equal(got, want) {
			t.Errorf("traceroute node2 to node3: %v, want %v", got, want)
		}
	})
}

// TestAsymmetricPath: one static route sends one direction the long way round.
func TestAsymmetricPath(t *testing.T) {
	u := ring()
	u.Routers[0].Routes = []emu.Route{{Dst: netip.MustParsePrefix("10.2.0.0/24"), Via: netip.MustParseAddr("10.31.0.2")}}
	emutest.Run(t, emu.Config{Underlay: u}, func(t *testing.T, lab *emutest.Lab) {
		addNodes(t, lab, "a", "b")
		// There over c, 40 ms; back 20 ms. The TTL is that of the way back.
		if r := warmPing(t, &lab.Node("node1").Machine, "node2"); r.RTT != 60*time.Millisecond || r.TTL != 62 {
			t.Errorf("%v with TTL %d, want 60ms with TTL 62", r.RTT, r.TTL)
		}
	})
}

// TestSegmentFails: all of its machines are cut off, and no other.
func TestSegmentFails(t *testing.T) {
	emutest.Run(t, emu.Config{Underlay: racks()}, func(t *testing.T, lab *emutest.Lab) {
		addNodes(t, lab, "rack1", "rack1", "rack2", "rack2")
		reach := func(from, to string) bool {
			_, err := lab.Node(from).Ping(to, time.Second)
			return err == nil
		}
		check := func(when string, want bool) {
			t.Helper()
			for _, pair := range [][2]string{{"node1", "node3"}, {"node3", "node4"}} {
				if got := reach(pair[0], pair[1]); got != want {
					t.Errorf("%s: %v reachable: %v, want %v", when, pair, got, want)
				}
			}
			if !reach("node1", "node2") {
				t.Errorf("%s: rack1 does not work", when)
			}
		}
		check("before", true)
		if err := lab.SetSegment("rack2", false); err != nil {
			t.Fatal(err)
		}
		check("off", false)
		lab.Node("node4").SetLink(false)
		lab.Node("node4").SetLink(true) // its own cable changes nothing
		addNodes(t, lab, "rack2")
		if reach("node5", "node3") {
			t.Error("a node added to a segment that is off can reach it")
		}
		if err := lab.SetSegment("rack2", true); err != nil {
			t.Fatal(err)
		}
		lab.Sleep(10 * time.Second) // failed neighbours are forgotten
		check("on", true)
		if err := lab.SetSegment("rack3", true); err == nil || !strings.Contains(err.Error(), `no segment "rack3"`) {
			t.Errorf("an unknown segment: %v", err)
		}
	})
}

// TestHostBehindAGateway reaches a nodePort from another network.
func TestHostBehindAGateway(t *testing.T) {
	u := racks()
	u.Segments[1].Name = "internet"
	emutest.Run(t, emu.Config{Underlay: u}, func(t *testing.T, lab *emutest.Lab) {
		addNodes(t, lab, "rack1")
		lab.Pod("web", "node1", 80)
		lab.Service("web", 80, 80, 30080)
		laptop, err := lab.AddHost(emu.HostConfig{Name: "laptop", Segment: "internet"})
		if err != nil {
			t.Fatal(err)
		}
		if got := emutest.Get(t, &laptop.Machine, "http://node1:30080/hostname"); got != "web" {
			t.Errorf("GET = %q, want web", got)
		}
	})
}

func TestUnderlayMistakes(t *testing.T) {
	net := netip.MustParsePrefix
	for want, u := range map[string]emu.Underlay{
		"overlaps 10.0.1.0/24 of segment a":          {Segments: []emu.Segment{{Name: "a", Subnet: net("10.0.1.0/24")}, {Name: "b", Subnet: net("10.0.0.0/16")}}},
		`segment 2: name "a"`:                        {Segments: []emu.Segment{{Name: "a", Subnet: net("10.0.1.0/24")}, {Name: "a", Subnet: net("10.0.2.0/24")}}},
		"pod CIDR 10.244.0.0/16 overlaps segment a":  {Segments: []emu.Segment{{Name: "a", Subnet: net("10.244.3.0/24")}}},
		"segment a subnet 10.0.0.0/31: want":         {Segments: []emu.Segment{{Name: "a", Subnet: net("10.0.0.0/31")}}},
		"segment a MTU 100, want":                    {Segments: []emu.Segment{{Name: "a", Subnet: net("10.0.0.0/24"), MTU: 100}}},
		`router r: there is no segment "b"`:          {Routers: []emu.Router{{Name: "r", Ports: []emu.RouterPort{{Segment: "b"}}}}},
		"router r is in no segment":                  {Routers: []emu.Router{{Name: "r"}}},
		"next hop 1.2.3.4 is not on the link":        {Routers: []emu.Router{{Name: "r", Ports: []emu.RouterPort{{}}, Routes: []emu.Route{{Dst: net("0.0.0.0/0"), Via: netip.MustParseAddr("1.2.3.4")}}}}},
		"address 192.168.56.0 is not a host address": {Routers: []emu.Router{{Name: "r", Ports: []emu.RouterPort{{Addr: netip.MustParseAddr("192.168.56.0")}}}}},
		"loss 2, want 0 to 1":                        {Segments: []emu.Segment{{Name: "a", Subnet: net("10.0.0.0/24"), Cable: &link.WireConfig{Loss: 2}}}},
		`there is already a machine "r"`:             {Routers: []emu.Router{{Name: "r", Ports: []emu.RouterPort{{}}}, {Name: "r", Ports: []emu.RouterPort{{}}}}},
	} {
		_, err := emu.New(emu.Config{Underlay: u})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
