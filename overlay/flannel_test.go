package overlay

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

// cluster is nodes on one underlay bridge, with a design.
type cluster struct {
	t     *testing.T
	drv   *link.Driver
	cni   CNI
	nodes []*Node
}

func newCluster(t *testing.T, drv *link.Driver, design string, nodes int) *cluster {
	t.Helper()
	d, ok := Find(design)
	if !ok {
		t.Fatalf("no design %q", design)
	}
	c := &cluster{t: t, drv: drv}
	drv.Do(func() {
		board := bgp.Switchboard{Driver: drv, Latency: time.Millisecond}
		c.cni = d.New(Network{
			PodCIDR: netip.MustParsePrefix("10.244.0.0/16"),
			Speak: func(n *Node, cfg bgp.Config) (*bgp.Speaker, error) {
				cfg.Rand = n.Host.Rand("bgp")
				return board.Start(cfg)
			},
		})
		under := drv.NewBridge("underlay")
		for i := range nodes {
			n := &Node{
				Name: fmt.Sprint("node", i+1), Addr: netip.AddrFrom4([4]byte{192, 168, 56, byte(11 + i)}),
				PodCIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(i + 1), 0}), 24),
			}
			n.Host = stack.NewHost(drv, stack.Config{Name: n.Name, Forward: true, BridgeNetfilter: true})
			w := drv.NewWire(n.Name, link.WireConfig{Latency: time.Millisecond})
			under.AddPort(n.Name, w.B)
			var err error
			n.Uplink, err = n.Host.AddEthernet("eth0", link.MAC{2, 0, 0, 0, 1, byte(i)}, 1500, w.A)
			must(t, err)
			must(t, n.Uplink.AddAddr(netip.PrefixFrom(n.Addr, 24)))
			must(t, c.cni.AddNode(n))
			c.nodes = append(c.nodes, n)
		}
	})
	return c
}

func (c *cluster) pod(name string, node int) (*stack.Host, PodNet) {
	c.t.Helper()
	var h *stack.Host
	var p PodNet
	c.drv.Do(func() {
		h = stack.NewHost(c.drv, stack.Config{Name: name})
		var err error
		p, err = c.cni.AddPod(c.nodes[node], &Pod{Name: name, Host: h})
		must(c.t, err)
	})
	return h, p
}

func ping(t *testing.T, h *stack.Host, to netip.Addr) stack.PingReply {
	t.Helper()
	c, err := h.OpenPing(stack.PingConfig{})
	must(t, err)
	defer c.Close()
	r, err := c.Ping(to, 1, time.Minute)
	must(t, err)
	return r
}

func TestFlannelPing(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		c := newCluster(t, drv, "flannel-vxlan", 2)
		p1, n1 := c.pod("p1", 0)
		_, n2 := c.pod("p2", 1)
		_, n3 := c.pod("p3", 0)
		equal(t, "addresses", fmt.Sprint(n1.Addr, n2.Addr, n3.Addr), "10.244.1.2 10.244.2.2 10.244.1.3")
		equal(t, "MTU", n1.Device.MTU, 1500-VXLANOverhead)
		// ARP and packet on the underlay, each way 2 ms.
		r := ping(t, p1, n2.Addr)
		must(t, r.Err())
		equal(t, "to another node", fmt.Sprint(r.RTT, " TTL ", r.TTL), "8ms TTL 62")
		r = ping(t, p1, n2.Addr)
		equal(t, "again", r.RTT, 4*time.Millisecond)
		r = ping(t, p1, n3.Addr)
		equal(t, "on the same node", fmt.Sprint(r.RTT, " TTL ", r.TTL), "0s TTL 64")
	})
}

func TestFlannelNoARPOverTheTunnel(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		c := newCluster(t, drv, "flannel-vxlan", 3)
		for i, n := range c.nodes {
			var got []string
			drv.Do(func() {
				for _, x := range n.Host.Neighbours() {
					if x.Dev == "flannel.1" {
						got = append(got, fmt.Sprint(x.Addr, " ", x.State))
					}
				}
			})
			want := []string{"10.244.1.0 PERMANENT", "10.244.2.0 PERMANENT", "10.244.3.0 PERMANENT"}
			want = append(want[:i:i], want[i+1:]...)
			equal(t, "neighbours of "+n.Name, fmt.Sprint(got), fmt.Sprint(want))
		}
	})
}

// TestMoreNodesThanNeighbours: the neighbours that flanneld sets are permanent
// and do not count against the table's limit.
func TestMoreNodesThanNeighbours(t *testing.T) {
	drv := link.NewDriver(link.DriverConfig{})
	defer drv.Close()
	drv.Do(func() {
		eth0, err := stack.NewHost(drv, stack.Config{Name: "node1"}).AddDevice(stack.DeviceConfig{Name: "eth0", MTU: 1500})
		must(t, err)
		n := &Node{Name: "node1", Host: eth0.Host(), Uplink: eth0, PodCIDR: netip.MustParsePrefix("10.255.0.0/24")}
		b, err := startVXLAN(false)(n, Network{})
		must(t, err)
		for i := range 5000 {
			must(t, b.add(flannelLease{
				subnet:   netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
				publicIP: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), vtepMAC: link.LocalMAC(uint64(i)),
			}))
		}
	})
}

func TestRemovePod(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		c := newCluster(t, drv, "flannel-vxlan", 1)
		p1, _ := c.pod("p1", 0)
		p2, n2 := c.pod("p2", 0)
		must(t, ping(t, p1, n2.Addr).Err())
		drv.Do(func() {
			must(t, c.cni.RemovePod(c.nodes[0], &Pod{Name: "p2", Host: p2}))
			if c.cni.RemovePod(c.nodes[0], &Pod{Name: "p2", Host: p2}) == nil {
				t.Error("removed twice without an error")
			}
			if _, err := c.cni.AddPod(&Node{Name: "stranger"}, &Pod{Name: "p2", Host: p2}); err == nil {
				t.Error("pod on a node that was not added: no error")
			}
			equal(t, "veth on the node", c.nodes[0].Host.Device(n2.Peer.Name), nil)
		})
		cc, err := p1.OpenPing(stack.PingConfig{})
		must(t, err)
		if r, err := cc.Ping(n2.Addr, 1, time.Second); err == nil {
			t.Errorf("ping of a pod that is gone: got %+v", r)
		}
	})
}

func TestDesigns(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range Designs() {
		if f, ok := Find(d.Name); !ok || f.Name != d.Name || d.Summary == "" || d.New == nil || seen[d.Name] {
			t.Errorf("design %+v is incomplete or not unique", d)
		}
		seen[d.Name] = true
	}
	if _, ok := Find("no such design"); ok {
		t.Error("found a design that does not exist")
	}
}
