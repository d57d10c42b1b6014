package topo

import (
	"fmt"
	"net/netip"
	"slices"

	yaml "go.yaml.in/yaml/v3"
)

// Underlay is the network that joins nodes and outside hosts. The Link part is
// the default of every cable.
type Underlay struct {
	Link
	Subnet   Field[netip.Prefix] // of the only segment; default 192.168.56.0/24
	Segments []Segment           // if there is more than one
	Routers  []Router            // default one, "gateway", in every segment
}

// Segment is one Ethernet segment: a switch, a subnet, the machines in it.
type Segment struct {
	Name     Field[string]
	Subnet   Field[netip.Prefix]
	Machines []Field[string] // nodes and hosts; others go by their address, or are in the first segment
	Link     Link            // of its cables; unset fields are the underlay's
}

// Router joins segments.
type Router struct {
	Name    Field[string]
	Ports   []RouterPort
	Routes  []Route
	Sysctls map[string]string // kernel parameters, by name
	AS      Field[int]        // if set, the router speaks BGP; see emu.Router
}

// RouterPort is a router's device on a segment.
type RouterPort struct {
	Segment Field[string]
	Address Field[netip.Addr] // default the first that is free
	Link    Link              // unset fields are the segment's
}

// Route is a static route.
type Route struct {
	Pos Pos
	To  Field[netip.Prefix]
	Via Field[netip.Addr]
}

func (l *load) decodeUnderlay(top mapping) {
	n := top.get("underlay")
	if n == nil {
		return
	}
	m, ok := l.mapping(top.d, n, "underlay", slices.Concat(linkKeys, []string{"subnet", "segments", "routers"})...)
	if !ok {
		return
	}
	u := &l.sc.Underlay
	*u = Underlay{Link: decodeLink(m), Subnet: m.prefix("subnet")}
	m.list("segments", "a list of {name, subnet, machines}", func(p string, n *yaml.Node) { l.decodeSegment(m.d, p, n) })
	m.list("routers", "a list of {name, ports}", func(p string, n *yaml.Node) { l.decodeRouter(m.d, p, n) })
	if u.Subnet.IsSet() && len(u.Segments) > 0 {
		l.addAt(u.Subnet.Pos, Diagnostic{Rule: "ambiguous", Message: "underlay: has subnet and segments, want the subnet in a segment"})
	}
}

func (l *load) decodeSegment(d *document, p string, n *yaml.Node) {
	m, ok := l.mapping(d, n, p, slices.Concat([]string{"name", "subnet", "machines"}, linkKeys)...)
	if !ok {
		return
	}
	s := Segment{Name: l.name(m), Subnet: m.prefix("subnet"), Link: decodeLink(m)}
	if m.get("subnet") == nil {
		l.reportAt(d, n, Diagnostic{Rule: "missing-value", Message: m.what + ": no subnet, want one"})
	}
	m.list("machines", "a list of nodes and hosts", func(p string, n *yaml.Node) {
		if text, ok := l.scalar(d, n, p, "a node or host"); ok {
			s.Machines = append(s.Machines, Field[string]{text, d.pos(n)})
		}
	})
	l.sc.Underlay.Segments = append(l.sc.Underlay.Segments, s)
}

func (l *load) decodeRouter(d *document, p string, n *yaml.Node) {
	m, ok := l.mapping(d, n, p, "name", "ports", "routes", "sysctls", "as")
	if !ok {
		return
	}
	r := Router{Name: l.name(m), Routes: l.routes(m), Sysctls: l.sysctls(m), AS: m.integer("as", 1, 1<<32-1)}
	m.list("ports", "a list of segments, or of {segment, address}", func(p string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			r.Ports = append(r.Ports, RouterPort{Segment: Field[string]{n.Value, d.pos(n)}})
			return
		}
		if pm, ok := l.mapping(d, n, p, slices.Concat([]string{"segment", "address"}, linkKeys)...); ok {
			r.Ports = append(r.Ports, RouterPort{Segment: pm.str("segment"), Address: pm.addr("address"), Link: decodeLink(pm)})
		}
	})
	if len(r.Ports) == 0 {
		l.reportAt(d, n, Diagnostic{Rule: "missing-value", Message: m.what + ": no ports, want the segments that it joins"})
	}
	l.sc.Underlay.Routers = append(l.sc.Underlay.Routers, r)
}

// routes decodes static routes under the key routes.
func (l *load) routes(m mapping) (list []Route) {
	m.list("routes", "a list of {to, via}", func(p string, n *yaml.Node) {
		rm, ok := l.mapping(m.d, n, p, "to", "via")
		if !ok {
			return
		}
		r := Route{Pos: m.d.pos(n), Via: rm.addr("via")}
		r.To = decode(rm, "to", "a range such as 10.1.0.0/16, or default", func(s string) (netip.Prefix, error) {
			if s == "default" {
				return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
			}
			return netip.ParsePrefix(s)
		})
		for _, key := range []string{"to", "via"} {
			if rm.get(key) == nil {
				l.reportAt(m.d, n, Diagnostic{Rule: "missing-value", Message: fmt.Sprintf("%s: no %s, want one", rm.what, key)})
			}
		}
		list = append(list, r)
	})
	return list
}

// buildSegments completes the underlay and finds the segment of every machine.
func (l *load) buildSegments(sc *Scenario) {
	u := &sc.Underlay
	if len(u.Segments) == 0 {
		u.Subnet = orDefault(u.Subnet, defaultSubnet)
		u.Segments = []Segment{{Name: Field[string]{Value: "underlay"}, Subnet: u.Subnet}}
	} else {
		u.Subnet = u.Segments[0].Subnet
		if len(u.Routers) == 0 {
			all := Router{Name: Field[string]{Value: "gateway"}}
			for _, s := range u.Segments {
				all.Ports = append(all.Ports, RouterPort{Segment: s.Name})
			}
			u.Routers = []Router{all}
		}
	}
	l.checkSegments(u)
	l.placeMachines(sc)
}

// checkSegments finds names that are taken or unknown.
func (l *load) checkSegments(u *Underlay) {
	first := map[string]Pos{}
	var known []string
	for _, s := range u.Segments {
		if at, dup := first[s.Name.Value]; dup {
			l.addAt(s.Name.Pos, Diagnostic{Rule: "duplicate-name", Message: fmt.Sprintf("segment %s: the name is taken, first at line %d", quoted(s.Name.Value), at.Line)})
		}
		first[s.Name.Value] = s.Name.Pos
		known = append(known, s.Name.Value)
	}
	for _, r := range u.Routers {
		for _, p := range r.Ports {
			if !slices.Contains(known, p.Segment.Value) {
				l.addAt(p.Segment.Pos, Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("router %s: unknown segment %s", r.Name.Value, quoted(p.Segment.Value)),
					Hint: didYouMean(p.Segment.Value, "segments", known)})
			}
		}
	}
}

// placeMachines finds each machine's segment: the one that lists it, else the
// one of its address, else the first.
func (l *load) placeMachines(sc *Scenario) {
	listed := map[string]Field[string]{} // segment by machine
	var known []string
	for _, n := range sc.Cluster.Nodes {
		known = append(known, n.Name.Value)
	}
	for _, h := range sc.Hosts {
		known = append(known, h.Name.Value)
	}
	for _, s := range sc.Underlay.Segments {
		for _, m := range s.Machines {
			switch at, twice := listed[m.Value]; {
			case !slices.Contains(known, m.Value):
				l.addAt(m.Pos, Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("segment %s: unknown machine %s", s.Name.Value, quoted(m.Value)),
					Hint: didYouMean(m.Value, "nodes and hosts", known)})
			case twice:
				l.addAt(m.Pos, Diagnostic{Rule: "duplicate-name", Message: fmt.Sprintf("segment %s: %s is in segment %s already", s.Name.Value, m.Value, at.Value)})
			}
			listed[m.Value] = s.Name
		}
	}
	place := func(name string, addr Field[netip.Addr]) string {
		if s, ok := listed[name]; ok {
			return s.Value
		}
		for _, s := range sc.Underlay.Segments {
			if addr.IsSet() && s.Subnet.Value.Contains(addr.Value) {
				return s.Name.Value
			}
		}
		return sc.Underlay.Segments[0].Name.Value
	}
	for i := range sc.Cluster.Nodes {
		n := &sc.Cluster.Nodes[i]
		n.Segment = place(n.Name.Value, n.Address)
	}
	for i := range sc.Hosts {
		h := &sc.Hosts[i]
		h.Segment = place(h.Name.Value, h.Address)
	}
}

// segment returns the segment of that name; there is one.
func (u *Underlay) segment(name string) *Segment {
	i := slices.IndexFunc(u.Segments, func(s Segment) bool { return s.Name.Value == name })
	return &u.Segments[max(i, 0)]
}

// what names the range of a segment in messages.
func (s *Segment) what() string {
	if s.Name.IsSet() {
		return "segment " + s.Name.Value + " subnet"
	}
	return "underlay.subnet"
}
