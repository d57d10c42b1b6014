package emu

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// The lab's load balancer works as MetalLB does in L2 mode: a controller gives a
// Service of type LoadBalancer an address of the pool, and the speaker of one node
// answers ARP requests for it. Traffic for the address so comes to that node, and
// its kube-proxy does the rest. A pool that is in no segment is announced by routes
// instead: see loadbalancer_routed.go.

// Times of MetalLB: how long until the other speakers hold a node for dead
// (memberlist), and how often and for how long a new address is announced.
const (
	speakerTimeout   = 10 * time.Second
	announceInterval = 1100 * time.Millisecond
	announceFor      = 5 * time.Second
)

// speaker is the announcement of one address.
type speaker struct {
	node  *Node
	dev   *stack.Device // nil if it is announced by routes
	timer *link.Timer
	until time.Duration
}

// checkPool wants the pool of load balancers within a segment.
func (c *Config) checkPool() error {
	p := c.LoadBalancers
	if !p.IsValid() {
		return nil
	}
	for _, s := range c.Underlay.Segments {
		if s.Subnet.Bits() <= p.Bits() && s.Subnet.Contains(p.Addr()) {
			return nil
		}
	}
	return c.checkRoutedPool()
}

// balance gives a Service its address, and Services that waited for one the
// addresses that have become free. The caller holds the lock.
func (l *Lab) balance() error {
	if !l.cfg.LoadBalancers.IsValid() {
		return nil
	}
	used := make(map[netip.Addr]bool)
	var waiting []*corev1.Service
	for _, s := range l.cluster.Services() {
		switch {
		case s.Spec.Type != corev1.ServiceTypeLoadBalancer || s.Spec.LoadBalancerClass != nil: // another controller's
		case len(s.Status.LoadBalancer.Ingress) == 0:
			waiting = append(waiting, s)
		default:
			for _, a := range vips(s) {
				used[a] = true
			}
		}
	}
	for _, s := range waiting {
		a := l.poolAddr(s, used)
		if !a.IsValid() {
			continue // as on a real cluster, the Service stays <pending>
		}
		used[a] = true
		s = s.DeepCopy()
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: a.String()}}
		if err := l.cluster.UpdateService(s); err != nil {
			return err
		}
	}
	return nil
}

// vips returns the addresses that a load balancer has given to a Service.
func vips(s *corev1.Service) []netip.Addr {
	var list []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// poolAddr picks an address of the pool: the one asked for, or the lowest that
// nobody has.
func (l *Lab) poolAddr(s *corev1.Service, used map[netip.Addr]bool) netip.Addr {
	pool := l.cfg.LoadBalancers
	free := func(a netip.Addr) bool { return pool.Contains(a) && !used[a] && l.addrOwner(a) == "" }
	if want, err := netip.ParseAddr(s.Spec.LoadBalancerIP); err == nil {
		if free(want) {
			return want
		}
		return netip.Addr{}
	}
	for a := pool.Addr(); pool.Contains(a); a = a.Next() {
		if free(a) && !l.isEdge(a) {
			return a
		}
	}
	return netip.Addr{}
}

// isEdge reports whether a is the network or the broadcast address of a segment.
func (l *Lab) isEdge(a netip.Addr) bool {
	return slices.ContainsFunc(l.segments, func(s *segment) bool { return a == s.Subnet.Addr() || a == stack.LastAddr(s.Subnet) })
}

// elect has the right node announce each address. The caller holds the lock.
func (l *Lab) elect() {
	if l.closed || !l.cfg.LoadBalancers.IsValid() {
		return
	}
	wanted := make(map[netip.Addr]bool)
	for _, s := range l.cluster.Services() {
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for _, a := range vips(s) {
			wanted[a] = l.cfg.LoadBalancers.Contains(a)
			if wanted[a] {
				l.announce(a, l.winner(s, a))
			}
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(l.speakers), netip.Addr.Compare) {
		if !wanted[a] {
			l.announce(a, nil)
		}
	}
}

// winner is the node that announces an address: of those that may, the first by a
// hash of node and address, so that addresses spread over nodes and stay where
// they are when another node goes. A Service without a ready endpoint is not
// announced; with externalTrafficPolicy Local only nodes that have one may.
func (l *Lab) winner(s *corev1.Service, a netip.Addr) *Node {
	ready := make(map[string]bool) // nodes
	for _, port := range l.cluster.Endpoints(s.Namespace, s.Name) {
		for _, ep := range port.Endpoints {
			if ep.Ready {
				ready[ep.Node] = true
			}
		}
	}
	if len(ready) == 0 {
		return nil
	}
	if l.routedPool() {
		return l.nextHop(s, ready)
	}
	var may []*Node
	for _, n := range l.nodes {
		local := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
		if n.alive() && n.plugFor(a) != nil && (!local || ready[n.name]) {
			may = append(may, n)
		}
	}
	if len(may) == 0 {
		return nil
	}
	hash := func(n *Node) []byte {
		sum := sha256.Sum256([]byte(n.name + "#" + a.String()))
		return sum[:]
	}
	return slices.MinFunc(may, func(x, y *Node) int { return cmp.Or(bytes.Compare(hash(x), hash(y)), cmp.Compare(x.index, y.index)) })
}

// plugFor returns the device of a machine in the segment that an address is in.
func (m *Machine) plugFor(a netip.Addr) *stack.Device {
	for _, p := range m.plugs {
		if p.segment.Subnet.Contains(a) {
			return p.dev
		}
	}
	return nil
}

// alive reports whether the other speakers hear of a node, or have not yet given
// it up.
func (n *Node) alive() bool {
	return !n.off && !n.unplugged || n.lab.drv.Now()-n.lost < n.lab.speakerTimeout()
}

// announce moves an address to a node, nil for none, which tells the segment at
// once and again for five seconds.
func (l *Lab) announce(a netip.Addr, n *Node) {
	old := l.speakers[a]
	if old != nil && old.node == n || old == nil && n == nil {
		return
	}
	if l.routedPool() {
		l.routeTo(a, n)
		return
	}
	if old != nil {
		old.dev.UnclaimARP(a)
		old.timer.Stop()
		delete(l.speakers, a)
	}
	if n == nil {
		return
	}
	s := &speaker{node: n, dev: n.plugFor(a), until: l.drv.Now() + announceFor}
	s.dev.ClaimARP(a)
	s.timer = l.drv.AfterFunc(l.source, 0, func() {
		s.dev.AnnounceARP(a)
		if l.drv.Now()+announceInterval < s.until {
			s.timer.Reset(announceInterval)
		}
	})
	if l.speakers == nil {
		l.speakers = make(map[netip.Addr]*speaker)
	}
	l.speakers[a] = s
}

// Announcer returns the node that answers for the address of a load balancer, nil
// if none does.
func (l *Lab) Announcer(a netip.Addr) *Node {
	var n *Node
	l.drv.Do(func() {
		if s := l.speakers[a]; s != nil {
			n = s.node
		}
	})
	return n
}

// reachabilityChanged notes that a machine was cut off or has come back. Speakers
// notice the one after a while and the other at once. The caller holds the lock.
func (m *Machine) reachabilityChanged() {
	i := slices.IndexFunc(m.lab.nodes, func(n *Node) bool { return &n.Machine == m })
	if i < 0 || !m.lab.cfg.LoadBalancers.IsValid() {
		return
	}
	n := m.lab.nodes[i]
	if !n.off && !n.unplugged {
		m.lab.elect()
		return
	}
	n.lost = m.lab.drv.Now()
	m.lab.drv.AfterFunc(m.lab.source, m.lab.speakerTimeout(), m.lab.elect)
}

// checkServiceProtocols refuses what no packet could be made for.
func checkServiceProtocols(s *corev1.Service) error {
	for i, p := range s.Spec.Ports {
		if p.Protocol == corev1.ProtocolSCTP {
			return fmt.Errorf("emu: service %s: spec.ports[%d].protocol: SCTP is not emulated, want TCP or UDP",
				path.Join(cmp.Or(s.Namespace, corev1.NamespaceDefault), s.Name), i)
		}
	}
	return nil
}
