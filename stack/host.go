package stack

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/ipvs"
	"github.com/podwire/podwire/stack/netfilter"
	"github.com/podwire/podwire/stack/nftables"
)

// Config describes a host. The zero value is a host that forwards nothing.
type Config struct {
	// Name is unique in the network; it also seeds the host's random choices.
	Name string

	// Life counts the hosts of this name that were there before: a pod that is
	// started again makes other random choices than the one that has ended.
	Life int

	// Forward is net.ipv4.ip_forward.
	Forward bool

	// BridgeNetfilter is net.bridge.bridge-nf-call-iptables: bridged IP packets
	// pass the host's netfilter rules.
	BridgeNetfilter bool

	// RouteLocalnet is net.ipv4.conf.all.route_localnet: 127.0.0.0/8 is not
	// martian. kube-proxy sets it for node ports on the loopback address.
	RouteLocalnet bool

	// EchoBroadcasts is net.ipv4.icmp_echo_ignore_broadcasts=0: pings to the
	// broadcast address of a subnet are answered. Linux does not by default.
	EchoBroadcasts bool

	// TCPReceive is net.ipv4.tcp_rmem: the receive buffer of a connection, which
	// bounds the window. If zero, 4096, 131072 and 6291456 bytes, as on Linux.
	TCPReceive Buffer

	// CongestionControl is net.ipv4.tcp_congestion_control, one of
	// CongestionControls. If empty, the first of them.
	CongestionControl string

	// Backlog is net.core.somaxconn: how many connections may be half open, or
	// wait for Accept, at a listener. If zero, 4096. Beyond, SYNs are answered
	// with cookies.
	Backlog int

	// OnEcho, if set, is told who asked whenever the host answers a ping. It is
	// called with the driver's lock held.
	OnEcho func(from netip.Addr)

	// OnDevice, if set, is told of every device when it is made, before it has
	// addresses. It is called with the driver's lock held.
	OnDevice func(*Device)

	// CPU is what packets wait for, nil for a host whose packets never do. Hosts of
	// one node share it.
	CPU *CPU

	// Container says that devices with a port are ends of veth pairs, the other
	// ends of which are the node's. Only the CPU model asks.
	Container bool

	// Conntrack sets limits and timeouts of connection tracking.
	Conntrack conntrack.Config

	// Neighbours bounds the ARP table.
	Neighbours NeighbourLimits

	// ip are the parameters that SetSysctl alone sets, see ipParam.
	ip [numIPParams]int

	// conf are the parameters of devices that SetSysctl was told.
	conf map[confKey]int32
}

// A Host is one network namespace: a node, a pod, a machine outside.
type Host struct {
	name   string
	cfg    Config
	drv    *link.Driver
	source uint32
	rng    *rand.Rand

	devices   []*Device
	indexes   int // of devices, given so far
	lo        *Device
	loFirst   int
	loQueue   []packet // from loFirst on: on its way through lo, with what is known about it
	loDrain   func()   // h.drainLoopback, made once
	local     addrTable[*Device]
	broadcast addrTable[*Device] // of the subnets
	routes    fib
	neigh     neighTable
	conf      hostConf

	rules  *netfilter.Ruleset
	nft    *nftables.Ruleset // nil until somebody asks for it
	vs     *ipvs.Table       // as nft
	track  *conntrack.Table
	nf     nfState
	frags  reassembler
	icmp   icmpState
	idents identifiers

	bridging packet // what is known about the frame that a bridge is forwarding
	hashKey  uint64 // per-boot secret of the flow hash

	tunnels   map[uint16]func(Outer, *link.Frame)
	protocols map[byte]func(Outer, *link.Frame) bool
	pathMTUs  pathMTUs
	redirects redirects
	pings     map[uint16]*PingConn
	probes    map[probeKey]func(ipv4) // of traceroute
	sockets   netstack
}

// NewHost returns a host that has only lo, with 127.0.0.1/8. The caller holds
// the driver's lock, here and wherever a method does not say otherwise.
func NewHost(drv *link.Driver, cfg Config) *Host {
	h := &Host{
		name: cfg.Name, cfg: cfg, drv: drv, source: drv.NewSource(),
		tunnels:   make(map[uint16]func(Outer, *link.Frame)),
		protocols: make(map[byte]func(Outer, *link.Frame) bool),
		pings:     make(map[uint16]*PingConn),
		probes:    make(map[probeKey]func(ipv4)),
		rules:     netfilter.New(),
	}
	h.rng = h.Rand("host")
	h.hashKey = h.rng.Uint64()
	h.idents.init(h.rng, h.Rand("identification"))
	h.initConf()
	h.neigh = neighTable{host: h, entries: make(map[neighKey]*neighbour), rng: h.Rand("neigh")}
	h.nf.host = h
	h.rules.Log = h.logged
	h.icmp.init()
	h.sockets.host = h
	h.addLoopback()
	return h
}

// loopbackMTU is the MTU of lo (drivers/net/loopback.c), though no packet has
// more than 65535 bytes.
const loopbackMTU = 64 << 10

func (h *Host) addLoopback() {
	lo, err := h.AddDevice(DeviceConfig{Name: "lo", MTU: maxPacket, Transmit: h.loopback})
	if err != nil {
		panic(err) // lo is the first device and its name is good
	}
	lo.loopback, lo.MTU = true, loopbackMTU
	h.lo, h.loDrain = lo, h.drainLoopback
	if err := lo.AddAddr(netip.MustParsePrefix("127.0.0.1/8")); err != nil {
		panic(err)
	}
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Driver returns the driver whose lock guards the host.
func (h *Host) Driver() *link.Driver { return h.drv }

// Rand returns a random source for one purpose, seeded by the lab's seed, the
// host's name, its life and the purpose alone, so that a choice made elsewhere
// does not shift it.
func (h *Host) Rand(purpose string) *rand.Rand {
	f := fnv.New64a()
	fmt.Fprintf(f, "%s\x00%s", h.name, purpose)
	if h.cfg.Life > 0 {
		fmt.Fprintf(f, "\x00%d", h.cfg.Life)
	}
	return rand.New(rand.NewPCG(h.drv.Seed(), f.Sum64()))
}

// newFrame returns a frame that carries a new datagram.
func (h *Host) newFrame(n int) *link.Frame {
	f := h.drv.NewFrame(n)
	f.ID, f.Intact = h.drv.NewID(), true
	return f
}

// isLocal reports whether a is an address of this host.
func (h *Host) isLocal(a netip.Addr) bool {
	return h.local.get(a) != nil || a.IsLoopback()
}

// AddRoute adds a route to the main table.
func (h *Host) AddRoute(r Route) error {
	switch {
	case !r.Dst.IsValid():
		return fmt.Errorf("stack: %s: route without a destination", h.name)
	case r.Type == Unicast && r.Dev == nil:
		return fmt.Errorf("stack: %s: route to %v names no device", h.name, r.Dst)
	case r.Via.IsValid() && (r.Type != Unicast || !r.Via.Is4()):
		return fmt.Errorf("stack: %s: route to %v: next hop %v, want an IPv4 address, and that of a unicast route", h.name, r.Dst, r.Via)
	case r.Via.IsValid() && !r.Onlink && !r.Dev.reaches(r.Via):
		return fmt.Errorf("stack: %s: route to %v: next hop %v is not on the link of %s (onlink says that it is)", h.name, r.Dst, r.Via, r.Dev.Name)
	}
	return h.routes.add(r)
}

// reaches reports whether a is in a subnet of the device or has a link route.
func (d *Device) reaches(a netip.Addr) bool {
	if slices.ContainsFunc(d.addrs, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	r := d.host.routes.lookup(a)
	return r != nil && r.Dev == d && !r.Via.IsValid()
}

// ReplaceRoute is `ip route replace`: AddRoute, after a route to the same prefix
// with the same metric is gone.
func (h *Host) ReplaceRoute(r Route) error {
	var old []Route
	h.routes.remove(r.Dst, func(o *Route) bool {
		same := o.Metric == r.Metric
		if same {
			old = append(old, *o)
		}
		return same
	})
	err := h.AddRoute(r)
	if err != nil {
		for _, o := range old {
			h.routes.add(o)
		}
	}
	return err
}

// RemoveRoute is `ip route del`: it removes the first route to dst that match
// accepts, nil for any, and reports whether there was one.
func (h *Host) RemoveRoute(dst netip.Prefix, match func(Route) bool) bool {
	done := false
	h.routes.remove(dst, func(o *Route) bool {
		if done || match != nil && !match(*o) {
			return false
		}
		done = true
		return true
	})
	return done
}

// LookupRoute is `ip route get`: the route that a packet to dst takes. ok is
// false if there is none. Local and broadcast addresses have none in the main
// table.
func (h *Host) LookupRoute(dst netip.Addr) (r Route, ok bool) {
	if p := h.routes.lookup(dst); p != nil {
		return *p, true
	}
	return Route{}, false
}

// RemoveRoutes removes the routes to dst, through dev unless it is nil, and
// returns how many there were.
func (h *Host) RemoveRoutes(dst netip.Prefix, dev *Device) int {
	return h.routes.remove(dst, func(r *Route) bool { return dev == nil || r.Dev == dev })
}

// Routes lists the main table.
func (h *Host) Routes() []Route { return h.routes.all() }

// SetNeighbour is `ip neigh replace ADDR lladdr MAC dev DEV nud permanent`.
func (h *Host) SetNeighbour(d *Device, addr netip.Addr, mac link.MAC) error {
	if !addr.Is4() {
		return fmt.Errorf("stack: %s: neighbour %v, want an IPv4 address", h.name, addr)
	}
	h.neigh.pin(d, addr, mac)
	return nil
}

// RemoveNeighbour is `ip neigh del`. It reports whether there was an entry.
func (h *Host) RemoveNeighbour(d *Device, addr netip.Addr) bool {
	n := h.neigh.entries[neighKey{d, addr}]
	if n != nil {
		h.neigh.remove(n)
	}
	return n != nil
}

// Neighbours lists the ARP table by device and address.
func (h *Host) Neighbours() []Neighbour {
	list := h.neigh.of(nil)
	out := make([]Neighbour, len(list))
	for i, n := range list {
		out[i] = Neighbour{Addr: n.addr, Dev: n.dev.Name, MAC: n.mac, State: n.stateAt(h.drv.Now())}
	}
	return out
}

func (n *neighbour) stateAt(now time.Duration) NeighState {
	if n.state == NeighReachable && now >= n.expires() {
		return NeighStale
	}
	return n.state
}

// Netfilter returns the host's rules. After a change call [Host.RulesChanged].
func (h *Host) Netfilter() *netfilter.Ruleset { return h.rules }

// Conntrack returns the host's connection table, or nil if no rule that asks for
// connections was ever loaded: without one nothing is tracked.
func (h *Host) Conntrack() *conntrack.Table { return h.track }

// Close ends the host: its sockets, timers of its own and goroutines. What is
// still in flight towards it is dropped. The caller does not hold the lock.
func (h *Host) Close() {
	h.drv.Do(func() {
		h.sockets.close()
		for _, id := range slices.Sorted(maps.Keys(h.pings)) {
			h.pings[id].wait.Wake()
		}
	})
}
