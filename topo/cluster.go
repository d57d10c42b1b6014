package topo

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/emu"
)

// What a scenario gets that says nothing. The addresses are those of the
// reference lab; podCIDR and serviceCIDR are what kubeadm and flannel use.
var (
	defaultPodCIDR     = netip.MustParsePrefix("10.244.0.0/16")
	defaultServiceCIDR = netip.MustParsePrefix("10.96.0.0/12")
	defaultSubnet      = netip.MustParsePrefix("192.168.56.0/24")
)

const (
	defaultDesign = "flannel-vxlan"
	defaultNodes  = 2
	defaultMTU    = 1500
	// firstHost is where node addresses begin in the underlay: below it is room
	// for a gateway and the like.
	firstHost = 11
)

// buildCluster fills in what the files left out and checks addresses and names.
func (l *load) buildCluster() {
	sc, c, u := l.sc, &l.sc.Cluster, &l.sc.Underlay
	c.Design = orDefault(c.Design, defaultDesign)
	if l.Design != "" {
		c.Design.Value = l.Design
	}
	c.Proxy = orDefault(c.Proxy, l.Proxies[0])
	c.PodCIDR = orDefault(c.PodCIDR, defaultPodCIDR)
	c.ServiceCIDR = orDefault(c.ServiceCIDR, defaultServiceCIDR)
	u.MTU = orDefault(u.MTU, defaultMTU)
	l.nodesFromManifests()
	if len(c.Nodes) == 0 {
		for i := range defaultNodes {
			c.Nodes = append(c.Nodes, Node{Name: Field[string]{Value: fmt.Sprintf("node%d", i+1)}})
		}
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels["kubernetes.io/hostname"] = n.Name.Value
	}
	l.checkMachineNames(sc)
	l.buildSegments(sc)
	l.giveAddresses(sc)
	if emu.Standalone(c.Design.Value) {
		l.warnStandalone(c)
		return
	}
	l.checkRanges(c, u)
	l.givePodCIDRs(c)
}

// nodesFromManifests takes nodes from Node objects if the scenario lists none,
// and labels from those whose node it lists.
func (l *load) nodesFromManifests() {
	c := &l.sc.Cluster
	listed := len(c.Nodes) > 0
	at := map[string]int{}
	for i, n := range c.Nodes {
		at[n.Name.Value] = i
	}
	for _, o := range l.sc.Objects {
		node, ok := o.Object.(*corev1.Node)
		if !ok {
			continue
		}
		i, known := at[o.Name.Value]
		switch {
		case known:
			c.Nodes[i].Labels = node.Labels
		case listed:
			l.addAt(o.Name.Pos, Diagnostic{Severity: Warning, Rule: "unknown-node",
				Message: fmt.Sprintf("Node %s is not among cluster.nodes and is ignored", quoted(o.Name.Value))})
		default:
			at[o.Name.Value] = len(c.Nodes)
			c.Nodes = append(c.Nodes, l.nodeFrom(o, node))
		}
	}
}

func (l *load) nodeFrom(o *Object, node *corev1.Node) Node {
	n := Node{Name: o.Name, Labels: node.Labels}
	if node.Spec.PodCIDR != "" {
		pos, _ := o.Position("spec.podCIDR")
		p, err := netip.ParsePrefix(node.Spec.PodCIDR)
		if err != nil || p != p.Masked() {
			l.addAt(pos, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("spec.podCIDR: found %s, want a range such as 10.244.1.0/24", quoted(node.Spec.PodCIDR))})
		} else {
			n.PodCIDR = Field[netip.Prefix]{p, pos}
		}
	}
	for i, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP || n.Address.IsSet() {
			continue
		}
		pos, _ := o.Position(fmt.Sprintf("status.addresses[%d].address", i))
		addr, err := netip.ParseAddr(a.Address)
		if err != nil {
			l.addAt(pos, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("status.addresses[%d].address: found %s, want an IP address", i, quoted(a.Address))})
			continue
		}
		n.Address = Field[netip.Addr]{addr, pos}
	}
	return n
}

// checkMachineNames finds nodes and hosts that share a name.
func (l *load) checkMachineNames(sc *Scenario) {
	first := map[string]Pos{}
	check := func(what string, name Field[string]) {
		if name.Value == "" {
			return
		}
		if at, dup := first[name.Value]; dup {
			l.addAt(name.Pos, Diagnostic{Rule: "duplicate-name", Message: fmt.Sprintf("%s %s: the name is taken, first at line %d", what, quoted(name.Value), at.Line)})
			return
		}
		first[name.Value] = name.Pos
	}
	for _, n := range sc.Cluster.Nodes {
		check("node", n.Name)
	}
	for _, h := range sc.Hosts {
		check("host", h.Name)
	}
	for _, r := range sc.Underlay.Routers {
		check("router", r.Name)
	}
}

// checkRanges finds ranges that overlap: pods, services and underlay must be
// told apart by address.
func (l *load) checkRanges(c *Cluster, u *Underlay) {
	type named struct {
		what string
		f    Field[netip.Prefix]
	}
	ranges := []named{{"cluster.podCIDR", c.PodCIDR}, {"cluster.serviceCIDR", c.ServiceCIDR}}
	for _, s := range u.Segments {
		ranges = append(ranges, named{s.what(), s.Subnet})
	}
	for i, a := range ranges {
		for _, b := range ranges[:i] {
			if !a.f.Value.Overlaps(b.f.Value) {
				continue
			}
			at := a.f.Pos
			if !at.IsValid() {
				at = b.f.Pos
			}
			l.addAt(at, Diagnostic{Rule: "overlapping-ranges", Message: fmt.Sprintf("%s %v overlaps %s %v", a.what, a.f.Value, b.what, b.f.Value),
				Effect: "one address would stand for two things; routes to one of the ranges would never be used"})
		}
	}
}

// giveAddresses checks the underlay addresses that were written and gives the
// others the next free ones of their segment, nodes before hosts.
func (l *load) giveAddresses(sc *Scenario) {
	taken := map[netip.Addr]string{}
	want := map[*Segment][]*Field[netip.Addr]{}
	take := func(what string, name Field[string], segment string, f *Field[netip.Addr]) {
		s := sc.Underlay.segment(segment)
		if !f.IsSet() {
			want[s] = append(want[s], f)
			return
		}
		l.checkAddress(what+" "+quoted(name.Value), s, *f, taken)
		taken[f.Value] = name.Value
	}
	for i := range sc.Cluster.Nodes {
		n := &sc.Cluster.Nodes[i]
		take("node", n.Name, n.Segment, &n.Address)
	}
	for i := range sc.Hosts {
		h := &sc.Hosts[i]
		take("host", h.Name, h.Segment, &h.Address)
	}
	for _, r := range sc.Underlay.Routers {
		for i := range r.Ports {
			if p := &r.Ports[i]; p.Address.IsSet() { // else the lab's choice, from the bottom up
				take("router", r.Name, p.Segment.Value, &p.Address)
			}
		}
	}
	for i := range sc.Underlay.Segments {
		s := &sc.Underlay.Segments[i]
		l.giveSegment(s, want[s], taken)
	}
}

// giveSegment gives out the addresses of one segment.
func (l *load) giveSegment(s *Segment, want []*Field[netip.Addr], taken map[netip.Addr]string) {
	subnet := s.Subnet.Value
	if !subnet.IsValid() {
		return // reported where it is missing
	}
	next := firstAddress(subnet)
	for i, f := range want {
		for ; taken[next] != ""; next = next.Next() {
		}
		if !subnet.Contains(next) || isBroadcast(subnet, next) {
			l.addAt(l.whereNodes(s.Subnet.Pos), Diagnostic{Rule: "too-few-addresses",
				Message: fmt.Sprintf("%s %v has no address left for %d of the nodes and hosts", s.what(), subnet, len(want)-i),
				Hint:    "give it a shorter prefix, such as /16"})
			return
		}
		f.Value = next
		next = next.Next()
	}
}

// whereNodes is the place to point at when there are too many nodes: the range
// that is too small if it was written, else the nodes.
func (l *load) whereNodes(pos Pos) Pos {
	if pos.IsValid() || len(l.sc.Cluster.Nodes) == 0 {
		return pos
	}
	return l.sc.Cluster.Nodes[0].Name.Pos
}

// firstAddress is the 11th address of a subnet, or its first if it is small.
func firstAddress(p netip.Prefix) netip.Addr {
	const roomy = 8 // bits
	a := p.Addr().Next()
	if p.Addr().BitLen()-p.Bits() >= roomy {
		for range firstHost - 1 {
			a = a.Next()
		}
	}
	return a
}

// isBroadcast reports whether a is the last address of an IPv4 subnet.
func isBroadcast(p netip.Prefix, a netip.Addr) bool {
	return a.Is4() && p.Bits() < 31 && !p.Contains(a.Next())
}

func (l *load) checkAddress(what string, s *Segment, f Field[netip.Addr], taken map[netip.Addr]string) {
	subnet := s.Subnet.Value
	problem := ""
	switch {
	case !subnet.Contains(f.Value):
		problem = fmt.Sprintf("lies outside %s %v", s.what(), subnet)
	case f.Value == subnet.Addr() && f.Value.Is4() && subnet.Bits() < 31:
		problem = fmt.Sprintf("is the network address of %v", subnet)
	case isBroadcast(subnet, f.Value):
		problem = fmt.Sprintf("is the broadcast address of %v", subnet)
	case taken[f.Value] != "":
		problem = fmt.Sprintf("belongs to %s already", quoted(taken[f.Value]))
	default:
		return
	}
	l.addAt(f.Pos, Diagnostic{Rule: "bad-address", Message: fmt.Sprintf("%s: address %v %s", what, f.Value, problem)})
}
