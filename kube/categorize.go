package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// usable is what one node may do with the endpoints of one Service port: the
// outcome of kube-proxy's CategorizeEndpoints.
type usable struct {
	cluster   []*Endpoint // for the Cluster traffic policy
	local     []*Endpoint // for the Local traffic policy: on this node
	reachable []*Endpoint // union of both, in endpoint order
	anywhere  bool        // there is a usable endpoint somewhere, perhaps out of reach
}

// categorize sorts out the endpoints of a port for a node. Ready endpoints are
// used; where there are none, those that are terminating but still serve
// (KEP-1669), decided separately for the cluster and for the node.
func categorize(p *servicePort, node, zone string) usable {
	usesCluster := !p.internalLocal() || p.external()
	usesLocal := p.internalLocal() || p.externalLocal() && p.external()
	var u usable
	eps := ipv4(p.endpoints)
	if usesCluster {
		inReach := topology(eps, node, zone)
		u.cluster = filter(eps, func(e *Endpoint) bool { return e.Ready && (inReach == nil || inReach(e)) })
		if len(u.cluster) == 0 {
			u.cluster = filter(eps, draining)
		}
		u.anywhere = len(u.cluster) > 0
	}
	if !usesLocal {
		u.reachable = u.cluster
		return u
	}
	here := filter(eps, func(e *Endpoint) bool { return node != "" && e.Node == node })
	u.local = filter(here, func(e *Endpoint) bool { return e.Ready })
	if len(u.local) == 0 {
		u.local = filter(here, draining)
	}
	u.anywhere = u.anywhere || slices.ContainsFunc(eps, func(e *Endpoint) bool { return e.Ready || draining(e) })
	u.reachable = union(eps, u.cluster, u.local)
	return u
}

// topology returns the test that keeps traffic on the node or in the zone, nil
// if the hints do not allow it: every ready endpoint must carry one, and at
// least one must be for this node or zone.
func topology(eps []*Endpoint, node, zone string) func(*Endpoint) bool {
	forNode := func(e *Endpoint) bool { return slices.Contains(e.ForNodes, node) }
	forZone := func(e *Endpoint) bool { return slices.Contains(e.ForZones, zone) }
	ready, nodeHints, zoneHints, nodeHit, zoneHit := false, true, true, false, false
	for _, e := range eps {
		if !e.Ready {
			continue
		}
		ready = true
		nodeHints = nodeHints && len(e.ForNodes) > 0
		zoneHints = zoneHints && len(e.ForZones) > 0
		nodeHit = nodeHit || forNode(e)
		zoneHit = zoneHit || forZone(e)
	}
	switch {
	case ready && nodeHints && nodeHit:
		return forNode
	case ready && zoneHints && zoneHit:
		return forZone
	}
	return nil
}

func draining(e *Endpoint) bool { return !e.Ready && e.Serving && e.Terminating }

// ipv4 returns the endpoints that IPv4 rules can name.
func ipv4(eps []Endpoint) []*Endpoint {
	list := make([]*Endpoint, 0, len(eps))
	for i := range eps {
		if eps[i].Addr.Addr().Is4() {
			list = append(list, &eps[i])
		}
	}
	return list
}

func filter(eps []*Endpoint, keep func(*Endpoint) bool) []*Endpoint {
	list := make([]*Endpoint, 0, len(eps))
	for _, e := range eps {
		if keep(e) {
			list = append(list, e)
		}
	}
	return list
}

// union returns the members of all that are in a or in b. All three are in the
// same order, so one walk does.
func union(all, a, b []*Endpoint) []*Endpoint {
	var list []*Endpoint
	for _, e := range all {
		inA, inB := len(a) > 0 && a[0] == e, len(b) > 0 && b[0] == e
		if inA {
			a = a[1:]
		}
		if inB {
			b = b[1:]
		}
		if inA || inB {
			list = append(list, e)
		}
	}
	return list
}

// internalLocal reports whether the cluster IP leads to this node's endpoints only.
func (p *servicePort) internalLocal() bool {
	t := p.svc.Spec.InternalTrafficPolicy
	return t != nil && *t == corev1.ServiceInternalTrafficPolicyLocal
}

// externalLocal reports whether the other frontends do.
func (p *servicePort) externalLocal() bool {
	return p.svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && externallyAccessible(p.svc)
}

// external reports whether there are other frontends.
func (p *servicePort) external() bool {
	return p.spec.NodePort != 0 || len(p.externalIPs) > 0 || len(p.vips) > 0
}
