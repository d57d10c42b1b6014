package topo

import (
	"net/netip"
	"slices"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// config is the underlay as package emu wants it. What differs by direction is
// set when the machines are there.
func (u *Underlay) config() emu.Underlay {
	out, _ := u.cable(nil, nil)
	c := emu.Underlay{MTU: u.MTU.Value, Cable: out}
	for i := range u.Segments {
		s := &u.Segments[i]
		cable, _ := u.cable(s, nil)
		c.Segments = append(c.Segments, emu.Segment{Name: s.Name.Value, Subnet: s.Subnet.Value, MTU: s.Link.MTU.Value, Cable: &cable})
	}
	for _, r := range u.Routers {
		er := emu.Router{Name: r.Name.Value, Routes: staticRoutes(r.Routes), Sysctls: r.Sysctls, AS: uint32(r.AS.Value)}
		for _, p := range r.Ports {
			cable, _ := u.cable(u.segment(p.Segment.Value), &p.Link)
			er.Ports = append(er.Ports, emu.RouterPort{Segment: p.Segment.Value, Addr: p.Address.Value, Cable: &cable})
		}
		c.Routers = append(c.Routers, er)
	}
	return c
}

// cable puts the settings of a cable together: the underlay's, the segment's,
// its own. The MTU of a link is that of the cable: larger packets are lost on
// it.
func (u *Underlay) cable(s *Segment, own *Link) (out, in link.WireConfig) {
	u.Link.apply(&out, &in)
	out.MTU, in.MTU = u.MTU.Value, u.MTU.Value
	if s != nil {
		s.Link.apply(&out, &in)
	}
	if own != nil {
		own.apply(&out, &in)
	}
	return out, in
}

func staticRoutes(list []Route) (routes []emu.Route) {
	for _, r := range list {
		routes = append(routes, emu.Route{Dst: r.To.Value.Masked(), Via: r.Via.Value})
	}
	return routes
}

// addMachines adds nodes and hosts, and sets all cables.
func (sc *Scenario) addMachines(lab *emu.Lab, cfg RunConfig) error {
	u := &sc.Underlay
	for _, n := range sc.Cluster.Nodes {
		out, in := u.cable(u.segment(n.Segment), &n.Link)
		podCIDR := n.PodCIDR.Value
		if emu.Standalone(lab.Config().Design) {
			podCIDR = netip.Prefix{} // one was warned of
		}
		node, err := lab.AddNode(emu.NodeConfig{
			Name: n.Name.Value, Segment: n.Segment, Addr: n.Address.Value, PodCIDR: podCIDR,
			Cable: &out, Routes: staticRoutes(n.Routes), Labels: n.Labels,
		})
		if err == nil {
			err = node.SetCable("", out, in)
		}
		if err == nil {
			err = n.Rules.load(&node.Machine)
		}
		if err != nil {
			return at(n.Name.Pos, err)
		}
	}
	for _, h := range sc.Hosts {
		if h.TAP.IsSet() {
			if err := sc.addTAP(lab, &h, cfg); err != nil {
				return at(h.TAP.Pos, err)
			}
			continue
		}
		out, in := u.cable(u.segment(h.Segment), &h.Link)
		host, err := lab.AddHost(emu.HostConfig{
			Name: h.Name.Value, Segment: h.Segment, Addr: h.Address.Value, Cable: &out, Routes: staticRoutes(h.Routes), Sysctls: h.Sysctls,
		})
		if err == nil {
			err = host.SetCable("", out, in)
		}
		if err == nil {
			err = h.Rules.load(&host.Machine)
		}
		for _, p := range h.Ports {
			if err == nil {
				err = host.Serve(p.object())
			}
		}
		if err != nil {
			return at(h.Name.Pos, err)
		}
	}
	for _, r := range u.Routers {
		for i := range r.Ports {
			p := &r.Ports[i]
			out, in := u.cable(u.segment(p.Segment.Value), &p.Link)
			if err := lab.Machine(r.Name.Value).SetCable(p.Segment.Value, out, in); err != nil {
				return at(p.Segment.Pos, err)
			}
		}
	}
	return nil
}

// withMTU returns the scenario with another MTU of the underlay: what a segment,
// a port or a machine says about its own does not hold.
func (sc *Scenario) withMTU(mtu int) *Scenario {
	other := *sc
	u := &other.Underlay
	u.Segments, u.Routers = slices.Clone(u.Segments), slices.Clone(u.Routers)
	other.Cluster.Nodes, other.Hosts = slices.Clone(other.Cluster.Nodes), slices.Clone(other.Hosts)
	links := []*Link{&u.Link}
	for i := range u.Segments {
		links = append(links, &u.Segments[i].Link)
	}
	for i := range u.Routers {
		ports := slices.Clone(u.Routers[i].Ports)
		u.Routers[i].Ports = ports
		for j := range ports {
			links = append(links, &ports[j].Link)
		}
	}
	for i := range other.Cluster.Nodes {
		links = append(links, &other.Cluster.Nodes[i].Link)
	}
	for i := range other.Hosts {
		links = append(links, &other.Hosts[i].Link)
	}
	for _, l := range links {
		l.MTU = Field[int]{}
		for _, way := range []**Link{&l.Out, &l.In} {
			if *way != nil {
				w := **way
				w.MTU = Field[int]{}
				*way = &w
			}
		}
	}
	u.MTU = Field[int]{Value: mtu}
	return &other
}
