package topo

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clashes finds addresses and ports that stand for two things: those that the
// API server refuses are errors, those that it lets through and that lead
// somewhere unexpected are warnings.
func (t *linter) clashes() {
	t.clusterIPs()
	t.nodePorts()
	t.frontends()
}

// holder is who has something first.
type holder struct {
	what string // Service a
	pos  Pos
}

func (s *declared) holder(path string) holder {
	pos, _ := s.Position(path)
	return holder{"Service " + s.Name.Value, pos}
}

// clusterIPs finds cluster IPs that were asked for twice, or that belong to the
// cluster itself.
func (t *linter) clusterIPs() {
	taken := map[netip.Addr]holder{}
	first := t.sc.Cluster.ServiceCIDR.Value
	if first.IsValid() {
		taken[nth(first, 1)] = holder{what: "default/kubernetes, the API server's Service"}
	}
	if t.sc.Cluster.DNS.Value && first.IsValid() {
		taken[nth(first, 10)] = holder{what: "kube-dns of this cluster (dns: true)"}
	}
	for _, s := range t.services {
		a, err := netip.ParseAddr(s.spec.ClusterIP)
		if err != nil || s.external() || isAPIServer(s.Namespace, s.Name.Value) {
			continue
		}
		at, exact := s.Position("spec.clusterIP")
		if other, dup := taken[a]; dup && exact {
			refusal := fmt.Sprintf("spec.clusterIPs: Invalid value: [%q]: failed to allocate IP %v: provided IP is already allocated", a, a)
			t.addAt(at, Diagnostic{Rule: "address-clash", Message: fmt.Sprintf("clusterIP %v belongs to %s already", a, other.place()),
				Effect: fmt.Sprintf("API server: Service %q is invalid: %s", s.Name.Value, refusal), Hint: "leave clusterIP out, and one is chosen"})
			continue
		}
		taken[a] = s.holder("spec.clusterIP")
		if p := t.podRange(a); p != "" {
			t.addAt(at, Diagnostic{Rule: "address-clash", Message: fmt.Sprintf("clusterIP %v lies within %s", a, p),
				Effect: fmt.Sprintf("API server: Service %q is invalid: spec.clusterIPs: Invalid value: [%q]: failed to allocate IP %v: the provided network does not match the current range", s.Name.Value, a, a),
				Hint:   fmt.Sprintf("cluster IPs are those of %v", first)})
		}
	}
}

// isAPIServer reports whether a Service is that of the API server, which a cluster
// with DNS has, with an endpoint, whether it is declared or not.
func isAPIServer(namespace, name string) bool {
	return namespace == metav1.NamespaceDefault && name == "kubernetes"
}

// place says who a holder is and where.
func (h holder) place() string {
	if !h.pos.IsValid() {
		return h.what
	}
	return fmt.Sprintf("%s (%v)", h.what, h.pos)
}

// nth is the nth address of a range.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// podRange names the range of pods that an address is in, "" if it is in none.
func (t *linter) podRange(a netip.Addr) string {
	if p := t.sc.Cluster.PodCIDR.Value; p.IsValid() && p.Contains(a) {
		return fmt.Sprintf("the pod CIDR %v", p)
	}
	for _, n := range t.sc.Cluster.Nodes {
		if p := n.PodCIDR.Value; p.IsValid() && p.Contains(a) {
			return fmt.Sprintf("the pod CIDR %v of %s", p, n.Name.Value)
		}
	}
	return ""
}

// nodePorts finds node ports that two Services ask for, the ports of health checks
// among them, and ports of the node that a pod publishes too. A port number is
// one for all protocols.
func (t *linter) nodePorts() {
	taken, owner := map[int32]holder{}, map[int32]*declared{}
	take := func(s *declared, path string, port int32) {
		if port == 0 {
			return
		}
		other, dup := taken[port]
		if !dup || owner[port] == s { // protocols of one Service may share it; the API server checks the rest
			taken[port], owner[port] = s.holder(path), s
			return
		}
		pos, _ := s.Position(path)
		t.addAt(pos, Diagnostic{Rule: "address-clash", Message: fmt.Sprintf("%s: nodePort %d belongs to %s already", path, port, other.place()),
			Effect: fmt.Sprintf("API server: Service %q is invalid: %s: Invalid value: %d: provided port is already allocated", s.Name.Value, path, port),
			Hint:   "a node port is one for the whole cluster; leave it out, and one is chosen"})
	}
	for _, s := range t.services {
		if !s.onNodes() {
			continue
		}
		for i, p := range s.spec.Ports {
			take(s, fmt.Sprintf("spec.ports[%d].nodePort", i), p.NodePort)
		}
		take(s, "spec.healthCheckNodePort", s.spec.HealthCheckNodePort)
	}
	t.publishedNodePorts(taken, owner)
}

// publishedNodePorts finds pods whose hostPort is a nodePort too.
func (t *linter) publishedNodePorts(taken map[int32]holder, owner map[int32]*declared) {
	said := map[Pos]bool{} // replicas share a place
	for _, p := range t.sc.Pods {
		for _, c := range p.Containers {
			for _, port := range c.Ports {
				h, dup := taken[int32(port.HostPort.Value)]
				if !dup || said[port.HostPort.Pos] || !hasProtocol(owner[int32(port.HostPort.Value)], port) {
					continue
				}
				said[port.HostPort.Pos] = true
				t.addAt(port.HostPort.Pos, Diagnostic{Severity: Warning, Rule: "address-clash",
					Message: fmt.Sprintf("hostPort %d of pod %s is the nodePort of %s too", port.HostPort.Value, p.Name.Value, h.place()),
					Effect:  "the rules of one hide the other on the pod's node: which, depends on who wrote them first"})
			}
		}
	}
}

func hasProtocol(s *declared, port ContainerPort) bool {
	for _, p := range s.spec.Ports {
		if p.NodePort == int32(port.HostPort.Value) && protocolOf(p) == port.Protocol {
			return true
		}
	}
	return false
}

// frontends finds addresses outside the cluster, external IPs and those of load
// balancers, that two Services have with one port, or that are somebody's.
func (t *linter) frontends() {
	type front struct {
		addr  netip.Addr
		proto string
		port  int32
	}
	taken := map[front]holder{}
	for _, s := range t.services {
		each := func(path, text string) {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return
			}
			for _, p := range s.spec.Ports {
				f := front{a, protocolOf(p), p.Port}
				if other, dup := taken[f]; dup && other.what != "Service "+s.Name.Value {
					t.warn(s.Object, path, "address-clash", fmt.Sprintf("%s: %v port %d/%s belongs to %s already", path, a, p.Port, f.proto, other.place()),
						"the API server lets it pass; the rules of one of the two are never reached", "")
					continue
				}
				taken[f] = s.holder(path)
			}
			t.frontendOf(s, path, a)
		}
		for i, text := range s.spec.ExternalIPs {
			each(fmt.Sprintf("spec.externalIPs[%d]", i), text)
		}
		if s.spec.Type == corev1.ServiceTypeLoadBalancer {
			each("spec.loadBalancerIP", s.spec.LoadBalancerIP)
			for i, in := range s.status.LoadBalancer.Ingress {
				each(fmt.Sprintf("status.loadBalancer.ingress[%d].ip", i), in.IP)
			}
		}
	}
}

// frontendOf says whose address an external one is, if that spoils it.
func (t *linter) frontendOf(s *declared, path string, a netip.Addr) {
	whose := t.podRange(a)
	if p := t.sc.Cluster.ServiceCIDR.Value; whose == "" && p.IsValid() && p.Contains(a) {
		whose = fmt.Sprintf("the service CIDR %v", p)
	}
	if whose != "" {
		t.warn(s.Object, path, "address-clash", fmt.Sprintf("%s: %v lies within %s", path, a, whose),
			"nobody outside the cluster has a route to it, and inside it may be given to something else", "")
		return
	}
	for _, h := range t.sc.Hosts {
		if h.Address.Value == a {
			t.warn(s.Object, path, "address-clash", fmt.Sprintf("%s: %v is the address of %s, outside the cluster", path, a, h.Name.Value),
				fmt.Sprintf("nodes send what pods have for %s to the Service", h.Name.Value), "")
		}
	}
	for _, n := range t.sc.Cluster.Nodes {
		if n.Address.Value == a && path == "spec.loadBalancerIP" {
			t.warn(s.Object, path, "address-clash", fmt.Sprintf("%s: %v is the address of node %s", path, a, n.Name.Value), "no load balancer gives it to a Service", "")
		}
	}
}
