package stack

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/podwire/podwire/link"
)

// table is a host with three devices and the routes under test.
func table(n *network) *Host {
	h := n.host(Config{Name: "h"})
	for i, name := range []string{"eth0", "eth1", "eth2"} {
		n.station(h, name, "10.0."+string(rune('0'+i))+".1/24")
	}
	pre := netip.MustParsePrefix
	n.do(func() {
		for _, r := range []Route{
			{Dst: pre("0.0.0.0/0"), Via: addr("10.0.0.254"), Dev: h.Device("eth0"), Metric: 100},
			{Dst: pre("0.0.0.0/0"), Via: addr("10.0.1.254"), Dev: h.Device("eth1"), Metric: 50},
			{Dst: pre("10.244.0.0/16"), Via: addr("10.0.1.2"), Dev: h.Device("eth1")},
			{Dst: pre("10.244.7.0/24"), Via: addr("10.0.2.2"), Dev: h.Device("eth2"), Src: addr("10.0.0.1")},
			{Dst: pre("10.244.8.0/24"), Type: Blackhole},
			{Dst: pre("10.244.9.0/24"), Type: Unreachable},
			{Dst: pre("10.244.10.0/24"), Type: Prohibit},
		} {
			n.try(h.AddRoute(r))
		}
	})
	return h
}

func TestLookup(t *testing.T) {
	inBubble(t, func(n *network) {
		h := table(n)
		tests := []struct{ dst, down, want string }{
			{"8.8.8.8", "", "default via 10.0.1.254 dev eth1 metric 50"},
			{"8.8.8.8", "eth1", "default via 10.0.0.254 dev eth0 metric 100"},
			{"10.244.1.1", "", "10.244.0.0/16 via 10.0.1.2 dev eth1"},
			{"10.244.1.1", "eth1", "default via 10.0.0.254 dev eth0 metric 100"},
			{"10.244.7.9", "", "10.244.7.0/24 via 10.0.2.2 dev eth2 src 10.0.0.1"},
			{"10.244.7.9", "eth2", "10.244.0.0/16 via 10.0.1.2 dev eth1"},
			{"10.0.2.77", "", "10.0.2.0/24 dev eth2 proto kernel scope link src 10.0.2.1"},
			{"10.244.8.1", "", "blackhole 10.244.8.0/24"},
			{"10.244.9.1", "", "unreachable 10.244.9.0/24"},
			{"10.244.10.1", "", "prohibit 10.244.10.0/24"},
		}
		for _, tt := range tests {
			n.do(func() {
				if tt.down != "" {
					h.Device(tt.down).SetUp(false)
					defer h.Device(tt.down).SetUp(true)
				}
				r := h.routes.lookup(addr(tt.dst))
				if r == nil || r.String() != tt.want {
					t.Errorf("route to %s with %q down: got %v, want %s", tt.dst, tt.down, r, tt.want)
				}
			})
		}
	})
}

func TestRouteList(t *testing.T) {
	inBubble(t, func(n *network) {
		h := table(n)
		var got []string
		for _, r := range h.Routes() {
			got = append(got, r.String())
		}
		n.want("as ip route prints it", got,
			"default via 10.0.1.254 dev eth1 metric 50",
			"default via 10.0.0.254 dev eth0 metric 100",
			"10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.1",
			"10.0.1.0/24 dev eth1 proto kernel scope link src 10.0.1.1",
			"10.0.2.0/24 dev eth2 proto kernel scope link src 10.0.2.1",
			"10.244.0.0/16 via 10.0.1.2 dev eth1",
			"10.244.7.0/24 via 10.0.2.2 dev eth2 src 10.0.0.1",
			"blackhole 10.244.8.0/24",
			"unreachable 10.244.9.0/24",
			"prohibit 10.244.10.0/24")
		n.do(func() {
			equal(t, "default routes by eth0 removed", h.RemoveRoutes(netip.MustParsePrefix("0.0.0.0/0"), h.Device("eth0")), 1)
			equal(t, "default routes removed", h.RemoveRoutes(netip.MustParsePrefix("0.0.0.0/0"), nil), 1)
			equal(t, "removed again", h.RemoveRoutes(netip.MustParsePrefix("0.0.0.0/0"), nil), 0)
		})
	})
}

func TestBadRoutes(t *testing.T) {
	inBubble(t, func(n *network) {
		h := table(n)
		pre := netip.MustParsePrefix
		tests := []struct {
			r    Route
			want string
		}{
			{Route{}, "without a destination"},
			{Route{Dst: pre("10.1.0.0/16")}, "names no device"},
			{Route{Dst: pre("10.1.0.0/16"), Via: addr("10.77.0.1"), Dev: h.Device("eth0")}, "not on the link"},
			{Route{Dst: pre("10.1.0.0/16"), Via: addr("fe80::1"), Dev: h.Device("eth0"), Onlink: true}, "next hop"},
			{Route{Dst: pre("10.1.0.0/16"), Via: addr("10.77.0.1"), Type: Blackhole}, "next hop"},
			{Route{Dst: pre("10.244.0.0/16"), Via: addr("10.0.0.2"), Dev: h.Device("eth0")}, "already"},
		}
		for _, tt := range tests {
			n.do(func() {
				if err := h.AddRoute(tt.r); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("AddRoute(%v): got %v, want an error with %q", tt.r, err, tt.want)
				}
			})
		}
		n.do(func() {
			n.try(h.AddRoute(Route{Dst: pre("10.1.0.0/16"), Via: addr("10.77.0.1"), Dev: h.Device("eth0"), Onlink: true}))
		})
	})
}

func TestAddresses(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		_, d := n.station(a, "eth0", "10.0.0.1/24")
		pre := netip.MustParsePrefix
		n.do(func() {
			n.try(d.AddAddr(pre("10.0.0.7/24"))) // a secondary address: no second route
			n.try(d.AddAddr(pre("10.1.0.0/31"))) // RFC 3021: a route, no broadcast
			n.try(d.AddAddr(pre("10.2.0.1/32"))) // neither
			for _, bad := range []string{"10.0.0.1/24", "fe80::1/64"} {
				if err := d.AddAddr(pre(bad)); err == nil {
					t.Errorf("AddAddr(%s): no error", bad)
				}
			}
			if err := d.AddAddr(netip.Prefix{}); err == nil {
				t.Error("AddAddr of nothing: no error")
			}
		})
		var got []string
		for _, r := range a.Routes() {
			got = append(got, r.String())
		}
		n.want("link routes", got,
			"10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.1",
			"10.1.0.0/31 dev eth0 proto kernel scope link src 10.1.0.0")
		equal(t, "10.0.0.255 is a broadcast address", a.broadcast.get(addr("10.0.0.255")), d)
		equal(t, "10.1.0.1 is not", a.broadcast.get(addr("10.1.0.1")), nil)
	})
}

func TestSourceAddress(t *testing.T) {
	inBubble(t, func(n *network) {
		h := table(n)
		n.do(func() { n.try(h.Device("eth1").AddAddr(netip.MustParsePrefix("172.16.0.1/16"))) })
		tests := []struct{ dst, src, dev string }{
			{"127.0.0.1", "127.0.0.1", "lo"},
			{"127.0.0.2", "127.0.0.1", "lo"},
			{"10.0.2.1", "10.0.2.1", "lo"},   // one of ours
			{"10.0.1.9", "10.0.1.1", "eth1"}, // on the link
			{"172.16.3.4", "172.16.0.1", "eth1"},
			{"10.244.1.1", "10.0.1.1", "eth1"}, // the one in the next hop's subnet
			{"10.244.7.1", "10.0.0.1", "eth2"}, // the route says so
			{"10.0.2.255", "10.0.2.1", "eth2"}, // broadcast
		}
		for _, tt := range tests {
			src, dev, ok := h.Source(addr(tt.dst))
			if !ok || src != addr(tt.src) || dev.Name != tt.dev {
				t.Errorf("source towards %s: got %v, %v, want %s by %s", tt.dst, src, dev, tt.src, tt.dev)
			}
		}
		for _, dst := range []string{"10.244.8.1", "10.244.9.1", "10.244.10.1"} {
			if src, _, ok := h.Source(addr(dst)); ok {
				t.Errorf("source towards %s: got %v, want none", dst, src)
			}
		}
	})
}

func TestRemoveDevice(t *testing.T) {
	inBubble(t, func(n *network) {
		h := table(n)
		d := h.Device("eth1")
		n.do(func() {
			n.try(h.SetNeighbour(d, addr("10.0.1.2"), link.MAC{2, 1}))
			n.try(h.RemoveDevice(d))
			if err := h.RemoveDevice(d); err == nil {
				t.Error("removed twice without an error")
			}
			if err := h.RemoveDevice(h.Device("lo")); err == nil {
				t.Error("removed lo without an error")
			}
		})
		equal(t, "its address is local", h.isLocal(addr("10.0.1.1")), false)
		equal(t, "neighbours", len(h.Neighbours()), 0)
		for _, r := range h.Routes() {
			if r.Dev == d {
				t.Errorf("route %v survived its device", r)
			}
		}
	})
}

func TestBadDevices(t *testing.T) {
	inBubble(t, func(n *network) {
		h := n.host(Config{Name: "h"})
		for _, cfg := range []DeviceConfig{
			{Name: "", MTU: 1500}, {Name: "sixteen-bytes-xx", MTU: 1500}, {Name: "lo", MTU: 1500},
			{Name: "eth0", MTU: 67}, {Name: "eth0", MTU: 65536},
		} {
			n.do(func() {
				if _, err := h.AddDevice(cfg); err == nil {
					t.Errorf("AddDevice(%+v): no error", cfg)
				}
			})
		}
	})
}

// TestLookupBesideADeviceThatIsDown: the next best route is found among those
// that hold the address, however many there are, without allocating.
func TestLookupBesideADeviceThatIsDown(t *testing.T) {
	inBubble(t, func(n *network) {
		h := table(n)
		n.do(func() {
			for i := range 20_000 {
				n.try(h.AddRoute(Route{Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32), Dev: h.Device("eth2")}))
			}
			h.Device("eth2").SetUp(false)
			var r *Route
			if a := testing.AllocsPerRun(1000, func() { r = h.routes.lookup(addr("10.244.7.9")) }); a != 0 {
				t.Errorf("%v allocations, want 0", a)
			}
			equal(t, "route", r.String(), "10.244.0.0/16 via 10.0.1.2 dev eth1")
			if r := h.routes.lookup(addr("172.16.1.1")); r == nil || r.Dst.Bits() != 0 {
				t.Errorf("route to 172.16.1.1: got %v, want the default route", r)
			}
		})
	})
}
