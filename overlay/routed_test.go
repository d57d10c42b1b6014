package overlay

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// racks is node1 and node2 on 192.168.56.0/24, node3 on 192.168.57.0/24, and a
// router with .1 on both, whose second link carries 1400 bytes.
type racks struct {
	cluster
	router   *stack.Host
	warnings []string
}

func newRacks(t *testing.T, drv *link.Driver, design string) *racks {
	t.Helper()
	d, ok := Find(design)
	if !ok {
		t.Fatalf("no design %q", design)
	}
	r := &racks{cluster: cluster{t: t, drv: drv}}
	drv.Do(func() {
		r.cni = d.New(Network{PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), Warn: func(n *Node, err error) {
			r.warnings = append(r.warnings, n.Name+": "+err.Error())
		}})
		r.router = stack.NewHost(drv, stack.Config{Name: "router", Forward: true})
		racks := []*link.Bridge{drv.NewBridge("rack56"), drv.NewBridge("rack57")}
		plug := func(h *stack.Host, name string, rack, mtu int, addr string) *stack.Device {
			w := drv.NewWire(h.Name()+"/"+name, link.WireConfig{Latency: time.Millisecond})
			racks[rack].AddPort(h.Name(), w.B)
			dev, err := h.AddEthernet(name, link.LocalMAC(h.Rand(name).Uint64()), mtu, w.A)
			must(t, err)
			must(t, dev.AddAddr(netip.MustParsePrefix(addr)))
			return dev
		}
		plug(r.router, "eth0", 0, 1500, "192.168.56.1/24")
		plug(r.router, "eth1", 1, 1400, "192.168.57.1/24")
		for i, addr := range []string{"192.168.56.11/24", "192.168.56.12/24", "192.168.57.13/24"} {
			p := netip.MustParsePrefix(addr)
			n := &Node{Name: fmt.Sprint("node", i+1), Addr: p.Addr(), PodCIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(i + 1), 0}), 24)}
			n.Host = stack.NewHost(drv, stack.Config{Name: n.Name, Forward: true, BridgeNetfilter: true})
			n.Uplink = plug(n.Host, "eth0", i/2, 1500, addr)
			must(t, n.Host.AddRoute(stack.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: p.Masked().Addr().Next(), Dev: n.Uplink}))
			must(t, r.cni.AddNode(n))
			r.nodes = append(r.nodes, n)
		}
	})
	return r
}

// try sends one ping and describes what came of it.
func (c *cluster) try(h *stack.Host, to netip.Addr, cfg stack.PingConfig) string {
	c.t.Helper()
	conn, err := h.OpenPing(cfg)
	must(c.t, err)
	defer conn.Close()
	r, err := conn.Ping(to, 1, time.Second)
	switch {
	case err != nil:
		return "timeout"
	case r.Err() != nil:
		return r.Err().Error()
	}
	return fmt.Sprintf("TTL %d", r.TTL)
}

// hops is a traceroute, "*" for silence.
func (c *cluster) hops(h *stack.Host, to netip.Addr) (list []string) {
	for ttl := byte(1); ttl < 9; ttl++ {
		conn, err := h.OpenPing(stack.PingConfig{TTL: ttl})
		must(c.t, err)
		r, err := conn.Ping(to, 1, time.Second)
		conn.Close()
		hop := "*"
		if err == nil {
			hop = r.From.String()
		}
		if list = append(list, hop); err == nil && r.Err() == nil {
			break
		}
	}
	return list
}

// Between racks host-gw has no route, and says so; what the pods send goes to
// the router, which knows nothing of them.
func TestHostGWAcrossARouter(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		r := newRacks(t, drv, "flannel-host-gw")
		want := []string{
			"node3: overlay: flannel-host-gw: node3 cannot reach the pods 10.244.1.0/24: their node 192.168.56.11 is not on the link of eth0 ([192.168.57.13/24]), want all nodes on one link, or a design with a tunnel",
			"node3: overlay: flannel-host-gw: node3 cannot reach the pods 10.244.2.0/24: their node 192.168.56.12 is not on the link of eth0 ([192.168.57.13/24]), want all nodes on one link, or a design with a tunnel",
			"node1: overlay: flannel-host-gw: node1 cannot reach the pods 10.244.3.0/24: their node 192.168.57.13 is not on the link of eth0 ([192.168.56.11/24]), want all nodes on one link, or a design with a tunnel",
			"node2: overlay: flannel-host-gw: node2 cannot reach the pods 10.244.3.0/24: their node 192.168.57.13 is not on the link of eth0 ([192.168.56.12/24]), want all nodes on one link, or a design with a tunnel",
		}
		if !slices.Equal(r.warnings, want) {
			t.Errorf("warnings\n%q\nwant\n%q", r.warnings, want)
		}
		p1, _ := r.pod("p1", 0)
		_, n2 := r.pod("p2", 1)
		_, n3 := r.pod("p3", 2)
		equal(t, "in the rack", r.try(p1, n2.Addr, stack.PingConfig{}), "TTL 62")
		// The router cannot answer either: it has no route to the pod that asked.
		equal(t, "across racks", r.try(p1, n3.Addr, stack.PingConfig{}), "timeout")
		drv.Do(func() { equal(t, "dropped by the router", r.router.Device("eth0").Point().Drops(stack.DropNoRoute), 1) })
		drv.Do(func() {
			must(t, r.cni.SetLease(r.nodes[2], false))
			equal(t, "warnings after a lease that had no route is gone", len(r.warnings), len(want))
		})
	})
}

// Without Warn what a daemon cannot do is an error of AddNode.
func TestHostGWErrorWithoutWarn(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		drv.Do(func() {
			cni := FlannelHostGW.New(Network{PodCIDR: netip.MustParsePrefix("10.244.0.0/16")})
			var err error
			for i, addr := range []string{"192.168.56.11/24", "192.168.57.12/24"} {
				p := netip.MustParsePrefix(addr)
				h := stack.NewHost(drv, stack.Config{Name: fmt.Sprint("node", i+1)})
				dev, derr := h.AddDevice(stack.DeviceConfig{Name: "eth0", MTU: 1500})
				must(t, derr)
				must(t, dev.AddAddr(p))
				err = cni.AddNode(&Node{Name: h.Name(), Host: h, Uplink: dev, Addr: p.Addr(), PodCIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(i), 0}), 24)})
			}
			if err == nil {
				t.Error("no error")
			}
		})
	})
}

// DirectRouting tunnels to the other rack only.
func TestDirectRoutingAcrossARouter(t *testing.T) {
	for design, far := range map[string]string{
		"flannel-vxlan-directrouting": "10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink",
		"flannel-ipip-directrouting":  "10.244.3.0/24 via 192.168.57.13 dev flannel.ipip onlink",
	} {
		inBubble(t, func(t *testing.T, drv *link.Driver) {
			r := newRacks(t, drv, design)
			got := r.routes(0)
			if !slices.Contains(got, far) || !slices.ContainsFunc(got, func(s string) bool {
				return s == "10.244.2.0/24 via 192.168.56.12 dev eth0" || s == "10.244.2.0/24 via 192.168.56.12 dev eth0 onlink"
			}) {
				t.Errorf("%s: node1 has %q", design, got)
			}
			p1, _ := r.pod("p1", 0)
			_, n2 := r.pod("p2", 1)
			_, n3 := r.pod("p3", 2)
			equal(t, design+": in the rack", r.try(p1, n2.Addr, stack.PingConfig{}), "TTL 62")
			equal(t, design+": across racks", r.try(p1, n3.Addr, stack.PingConfig{}), "TTL 62")
			drv.Do(func() {
				before := len(r.routes0())
				must(t, r.cni.SetLease(r.nodes[1], false))
				must(t, r.cni.SetLease(r.nodes[2], false))
				equal(t, design+": routes without two leases", len(r.routes0()), before-2)
			})
		})
	}
}

func (c *cluster) routes(node int) (list []string) {
	c.drv.Do(func() {
		for _, r := range c.nodes[node].Host.Routes() {
			list = append(list, r.String())
		}
	})
	return list
}

func (c *cluster) routes0() []stack.Route { return c.nodes[0].Host.Routes() }

// The outer TTL of IPIP is the inner one, so a router on the way takes what
// should have expired at the other node: that never shows.
func TestIPIPTraceroute(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		r := newRacks(t, drv, "flannel-ipip")
		p1, _ := r.pod("p1", 0)
		_, n3 := r.pod("p3", 2)
		equal(t, "across a router", fmt.Sprint(r.hops(p1, n3.Addr)), "[10.244.1.1 * 10.244.3.2]")
	})
}

// IPIP believes what routers say of the path: the packet that did not fit is
// lost, the next one of that size is answered to the pod with what does fit.
func TestIPIPPathMTU(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		r := newRacks(t, drv, "flannel-ipip")
		p1, _ := r.pod("p1", 0)
		_, n3 := r.pod("p3", 2)
		full := stack.PingConfig{Size: 1480 - 28, DontFragment: true}
		equal(t, "small", r.try(p1, n3.Addr, stack.PingConfig{}), "TTL 62")
		equal(t, "MTU of the device, first", r.try(p1, n3.Addr, full), "timeout")
		drv.Do(func() { equal(t, "path MTU of node1", r.nodes[0].Host.PathMTU(r.nodes[2].Addr), 1400) })
		equal(t, "MTU of the device, then", r.try(p1, n3.Addr, full), "message too long, mtu=1380, from 10.244.1.1")
		equal(t, "what fits", r.try(p1, n3.Addr, stack.PingConfig{Size: 1380 - 28, DontFragment: true}), "TTL 62")
		// Without DF the outer packet has none either, and is cut on the way.
		drv.Do(func() { must(t, r.nodes[2].Uplink.SetMTU(1400)) })
		equal(t, "without DF", r.try(p1, n3.Addr, stack.PingConfig{Size: 1480 - 28, MayFragment: true}), "TTL 62")
		drv.Sleep(11 * time.Minute)
		drv.Do(func() { equal(t, "path MTU after ten minutes", r.nodes[0].Host.PathMTU(r.nodes[2].Addr), 1500) })
	})
}
