package emu

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// A Router joins segments. It forwards, translates nothing, and knows a way to
// every segment that can be reached: the one over the fewest routers, among
// equals the one over the router that was listed first. What it has no route
// for ends there. In a lab it is a [Host] of its name.
type Router struct {
	Name   string // unique in the lab
	Ports  []RouterPort
	Routes []Route // besides, or instead of, those that it finds itself

	// Sysctls are kernel parameters of the router, by name; see stack.Sysctls.
	Sysctls map[string]string

	// AS, if not 0, has the router speak BGP with that number: with the nodes in its
	// segments if the design does, and with routers beside it that have one. It
	// passes on what it learns, with next hops that are nodes as they are. Nodes then
	// have no sessions with each other.
	AS uint32
}

// A RouterPort is a router's device on a segment: the first is eth0.
type RouterPort struct {
	Segment string
	Addr    netip.Addr       // if zero, the first that is free; the first router of a segment is its machines' gateway
	Cable   *link.WireConfig // nil for the segment's own kind
}

// A Route is a static route over a router of the machine's own segment. It
// takes the place of one to the same destination that the lab would set.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr
}

// addRouters makes the routers, and then the routes between them.
func (l *Lab) addRouters() error {
	routers := make([]*Machine, 0, len(l.cfg.Underlay.Routers))
	for _, cfg := range l.cfg.Underlay.Routers {
		h := &Host{}
		if err := l.addRouter(h, cfg); err != nil {
			return err
		}
		routers = append(routers, &h.Machine)
		l.hosts = append(l.hosts, h)
	}
	for i, m := range routers {
		if err := l.routeRouter(m, routers, l.cfg.Underlay.Routers[i].Routes); err != nil {
			return err
		}
	}
	return l.routersSpeak(routers)
}

// addRouter makes one router with all its ports. The caller holds the lock.
func (l *Lab) addRouter(h *Host, cfg Router) error {
	if len(cfg.Ports) == 0 {
		return fmt.Errorf("emu: router %s is in no segment, want one or more", cfg.Name)
	}
	machine, err := withSysctls(stack.Config{Forward: true}, cfg.Sysctls)
	if err != nil {
		return fmt.Errorf("emu: %s: %w", cfg.Name, err)
	}
	for i, p := range cfg.Ports {
		s, err := l.segmentFor(p.Segment, p.Addr)
		if err != nil {
			return fmt.Errorf("emu: router %s: %w", cfg.Name, err)
		}
		if !p.Addr.IsValid() {
			p.Addr = l.lowestFree(s)
		}
		if i == 0 {
			err = l.attach(&h.Machine, cfg.Name, s, p.Addr, p.Cable, machine)
		} else {
			err = l.plugIn(&h.Machine, s, p.Addr, p.Cable)
		}
		if err != nil {
			return err
		}
		if !s.gateway.IsValid() {
			s.gateway = p.Addr
		}
	}
	return nil
}

// lowestFree picks an address that nobody has, from the bottom up.
func (l *Lab) lowestFree(s *segment) netip.Addr {
	a := s.Subnet.Addr().Next()
	for l.addrs[a] != nil {
		a = a.Next()
	}
	return a
}

// routeRouter gives a router its own routes, then a way to each segment that
// it is not in, then one that ends the rest.
func (l *Lab) routeRouter(m *Machine, routers []*Machine, own []Route) error {
	if err := m.addRoutes(own); err != nil {
		return err
	}
	has := func(dst netip.Prefix) bool {
		for _, r := range own {
			if r.Dst.Masked() == dst {
				return true
			}
		}
		return false
	}
	ways := l.waysFrom(m, routers)
	for _, s := range l.segments {
		via, known := ways[s]
		if !known || has(s.Subnet) {
			continue
		}
		if err := m.addRoutes([]Route{{Dst: s.Subnet, Via: via}}); err != nil {
			return err
		}
	}
	if has(everywhere) {
		return nil
	}
	return m.stack.AddRoute(stack.Route{Dst: everywhere, Type: stack.Blackhole})
}

// waysFrom returns the next hop to each segment that m is not in itself, by a
// search that goes outwards one router at a time.
func (l *Lab) waysFrom(m *Machine, routers []*Machine) map[*segment]netip.Addr {
	ways := make(map[*segment]netip.Addr)
	known := make(map[*segment]bool)
	for _, p := range m.plugs {
		known[p.segment] = true
	}
	via := map[*Machine]netip.Addr{m: {}} // next hop towards each router that was reached
	for frontier := []*Machine{m}; len(frontier) > 0; {
		var next []*Machine
		for _, near := range frontier {
			for _, far := range routers {
				addr, joined := far.AddrBeside(near)
				if _, seen := via[far]; seen || !joined {
					continue
				}
				if hop := via[near]; hop.IsValid() {
					addr = hop
				}
				via[far] = addr
				next = append(next, far)
			}
		}
		for _, far := range next {
			for _, p := range far.plugs {
				if !known[p.segment] {
					known[p.segment], ways[p.segment] = true, via[far]
				}
			}
		}
		frontier = next
	}
	return ways
}

// AddrBeside returns m's address in a segment of the underlay that o is in too.
func (m *Machine) AddrBeside(o *Machine) (netip.Addr, bool) {
	for _, q := range o.plugs {
		for _, p := range m.plugs {
			if p.segment == q.segment {
				return p.addr, true
			}
		}
	}
	return netip.Addr{}, false
}

// addRoutes adds static routes by the device whose segment the next hop is in.
func (m *Machine) addRoutes(routes []Route) error {
	for _, r := range routes {
		dev := m.plugs[0].dev
		for _, p := range m.plugs {
			if p.segment.Subnet.Contains(r.Via) {
				dev = p.dev
			}
		}
		if err := m.stack.AddRoute(stack.Route{Dst: r.Dst, Via: r.Via, Dev: dev}); err != nil {
			return fmt.Errorf("emu: %s: %w", m.name, err)
		}
	}
	return nil
}

var everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// machineRoutes gives a machine that is no router its own routes, and unless
// one of them is a default route, one to the gateway of its segment.
func (l *Lab) machineRoutes(m *Machine, own []Route) error {
	if err := m.addRoutes(own); err != nil {
		return err
	}
	for _, r := range own {
		if r.Dst.Masked() == everywhere {
			return nil
		}
	}
	p := m.plugs[0]
	if !p.segment.gateway.IsValid() {
		return nil
	}
	return m.stack.AddRoute(stack.Route{Dst: everywhere, Via: p.segment.gateway, Dev: p.dev})
}
