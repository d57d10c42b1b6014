package kube

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Sockets is what a proxy that balances at connect() and sendto() looks up, as
// Cilium's socket load balancer does: an address of a Service in, an endpoint
// out, before there is a packet. It is a picture of the cluster at one moment.
type Sockets struct {
	cluster *Cluster
	fronts  map[socketFront]*servicePort
}

// socketFront is a frontend; a node port has no address.
type socketFront struct {
	addr     netip.Addr
	port     uint16
	protocol corev1.Protocol
}

// Sockets returns the frontends of all Services and their endpoints as of now.
func (c *Cluster) Sockets() *Sockets {
	s := &Sockets{cluster: c, fronts: make(map[socketFront]*servicePort)}
	for _, e := range c.entries() {
		if !proxied(e.obj) {
			continue
		}
		ports := c.servicePorts(e)
		for i := range ports {
			s.add(&ports[i])
		}
	}
	return s
}

func (s *Sockets) add(p *servicePort) {
	for _, ips := range [][]string{{p.svc.Spec.ClusterIP}, p.externalIPs, p.vips} {
		for _, ip := range ips {
			if a, err := netip.ParseAddr(ip); err == nil {
				s.fronts[socketFront{a, uint16(p.spec.Port), p.spec.Protocol}] = p
			}
		}
	}
	if p.spec.NodePort != 0 {
		s.fronts[socketFront{port: uint16(p.spec.NodePort), protocol: p.spec.Protocol}] = p
	}
}

// Choice is what a socket may be connected to in place of a Service.
type Choice struct {
	Service   string           // ServicePortName
	Endpoints []netip.AddrPort // any of them; none if there is nobody to serve
	Affinity  time.Duration    // how long a client keeps its endpoint; 0 for no affinity
}

// Find returns the choice that a socket on a node has which is about to talk to
// an address; false if that is no Service's. nodeAddr says that the address is one
// of a node, any node: node ports answer there. Traffic from within the cluster
// may use all endpoints, whatever externalTrafficPolicy says;
// internalTrafficPolicy and topology hints hold.
func (s *Sockets) Find(node string, to netip.AddrPort, protocol corev1.Protocol, nodeAddr bool) (Choice, bool) {
	p := s.fronts[socketFront{to.Addr(), to.Port(), protocol}]
	clusterIP := p != nil && p.svc.Spec.ClusterIP == to.Addr().String()
	if p == nil && nodeAddr {
		p = s.fronts[socketFront{port: to.Port(), protocol: protocol}]
	}
	if p == nil {
		return Choice{}, false
	}
	u := categorize(p, node, s.cluster.zone(node))
	from := u.cluster
	if clusterIP && p.internalLocal() {
		from = u.local
	}
	c := Choice{Service: p.name, Affinity: time.Duration(p.affinitySeconds()) * time.Second}
	for _, ep := range from {
		c.Endpoints = append(c.Endpoints, ep.Addr)
	}
	return c, true
}
