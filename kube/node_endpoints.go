package kube

import "slices"

// NodeEndpoints is what one node does with a port of a Service.
type NodeEndpoints struct {
	ServiceEndpoints

	// Internal is what the node spreads traffic for the cluster IP over, External
	// what comes to the node port, an external IP or a load balancer's address.
	Internal, External []Endpoint

	// DropsInternal and DropsExternal say that there is no endpoint that the node
	// may use, but one elsewhere, so that it drops what comes (traffic policy
	// Local). Without any, it answers with an ICMP port unreachable.
	DropsInternal, DropsExternal bool
}

// EndpointsOn returns what a node does with each port of a Service, in port order:
// the outcome of readiness, traffic policies and topology hints. It is nil where
// Endpoints is.
func (c *Cluster) EndpointsOn(node, namespace, name string) []NodeEndpoints {
	e := c.services[objectName(namespace, name)]
	if e == nil {
		return nil
	}
	var list []NodeEndpoints
	for i := range c.servicePorts(e) {
		p := &e.ports[i]
		u := categorize(p, node, c.zone(node))
		n := NodeEndpoints{ServiceEndpoints: ServiceEndpoints{Port: p.spec, Endpoints: slices.Clone(p.endpoints)}}
		internal, external := u.cluster, u.cluster
		if p.internalLocal() {
			internal = u.local
		}
		if p.externalLocal() {
			external = u.local
		}
		n.Internal, n.External = copied(internal), copied(external)
		n.DropsInternal = len(internal) == 0 && u.anywhere
		n.DropsExternal = len(external) == 0 && u.anywhere
		list = append(list, n)
	}
	return list
}

func copied(list []*Endpoint) []Endpoint {
	var out []Endpoint
	for _, e := range list {
		out = append(out, *e)
	}
	return out
}
