package emu

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/stack"
)

// A pool of load balancers that is in no segment is announced by routes, as MetalLB
// does in BGP mode: all nodes that may serve an address announce it, and a router
// without multipath keeps the way over one of them, that with the lowest router id. The
// routes are given to the routers: no BGP is spoken for them. A node that is gone is
// used until the hold time of its session is over.

// bgpHoldTime is MetalLB's default.
const bgpHoldTime = 90 * time.Second

// checkRoutedPool wants a pool that is nobody's, and a router that brings packets for
// it.
func (c *Config) checkRoutedPool() error {
	p := c.LoadBalancers
	for name, r := range map[string]netip.Prefix{"pod CIDR": c.PodCIDR, "service CIDR": c.ServiceCIDR} {
		if r.Overlaps(p) {
			return fmt.Errorf("emu: load balancer pool %v overlaps the %s %v", p, name, r)
		}
	}
	for _, s := range c.Underlay.Segments {
		if s.Subnet.Overlaps(p) {
			return fmt.Errorf("emu: load balancer pool %v is larger than segment %s %v: want a range within it, where ARP announces it, or apart from it, for routes", p, s.Name, s.Subnet)
		}
	}
	if len(c.Underlay.Routers) == 0 {
		return fmt.Errorf("emu: load balancer pool %v: want a range within the underlay, where ARP announces it: there is no router to give a route to", p)
	}
	return nil
}

// routedPool reports whether load balancers are announced by routes.
func (l *Lab) routedPool() bool {
	for _, s := range l.segments {
		if s.Subnet.Contains(l.cfg.LoadBalancers.Addr()) {
			return false
		}
	}
	return true
}

// speakerTimeout is how long a node that was cut off is still held for alive.
func (l *Lab) speakerTimeout() time.Duration {
	if l.routedPool() {
		return bgpHoldTime
	}
	return speakerTimeout
}

// nextHop is the node over which a router sends what is for a Service: of those that
// announce it that with the lowest address (RFC 4271 §9.1.2.2 f). With policy Local
// these are nodes with a ready endpoint, else all.
func (l *Lab) nextHop(s *corev1.Service, ready map[string]bool) *Node {
	var best *Node
	for _, n := range l.nodes {
		local := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
		if n.alive() && (!local || ready[n.name]) && (best == nil || n.addr.Less(best.addr)) {
			best = n
		}
	}
	return best
}

// routeTo gives every router a route to an address by way of a node, nil for none.
func (l *Lab) routeTo(a netip.Addr, n *Node) {
	if n == nil {
		delete(l.speakers, a)
	} else {
		if l.speakers == nil {
			l.speakers = make(map[netip.Addr]*speaker)
		}
		l.speakers[a] = &speaker{node: n}
	}
	dst := netip.PrefixFrom(a, 32)
	for _, r := range l.cfg.Underlay.Routers {
		m := l.machines[r.Name]
		if m == nil {
			continue
		}
		m.stack.RemoveRoute(dst, func(r stack.Route) bool { return r.Proto == "bgp" })
		if n == nil {
			continue
		}
		way, ok := m.stack.LookupRoute(n.addr)
		if !ok || way.Type != stack.Unicast {
			continue // nor could BGP reach it
		}
		via := way.Via
		if !via.IsValid() {
			via = n.addr
		}
		// The way is known to be one: an error could only say the opposite.
		m.stack.AddRoute(stack.Route{Dst: dst, Via: via, Dev: way.Dev, Metric: 20, Proto: "bgp"})
	}
}
