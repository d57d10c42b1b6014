package kube

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
)

// HealthCheck is what kube-proxy of one node answers to a load balancer that
// asks on the healthCheckNodePort of a Service whether to send traffic here.
type HealthCheck struct {
	Service        types.NamespacedName
	Port           int32 // the node port to answer on
	LocalEndpoints int   // ready endpoints on this node, by address
}

// HealthChecks returns the health checks that a node answers: one for each
// Service of type LoadBalancer with externalTrafficPolicy Local, in namespace and
// name order, whether the node has endpoints or not.
func (c *Cluster) HealthChecks(node string) []HealthCheck {
	var list []HealthCheck
	for _, e := range c.entries() {
		if !proxied(e.obj) || !needsHealthCheck(e.obj) {
			continue
		}
		list = append(list, HealthCheck{Service: e.name, Port: e.obj.Spec.HealthCheckNodePort, LocalEndpoints: c.localReady(e, node)})
	}
	return list
}

// localReady counts the addresses of a Service's ready endpoints on a node, over
// all ports.
func (c *Cluster) localReady(e *serviceEntry, node string) int {
	seen := make(map[netip.Addr]bool)
	for _, p := range c.servicePorts(e) {
		for i := range p.endpoints {
			if ep := &p.endpoints[i]; ep.Ready && ep.Node == node {
				seen[ep.Addr.Addr()] = true
			}
		}
	}
	return len(seen)
}

// ServeHTTP answers any request: 200 if there is an endpoint on the node, else
// 503, with the headers and the body of kube-proxy (pkg/proxy/healthcheck).
func (h HealthCheck) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(h.LocalEndpoints))
	status := http.StatusOK
	if h.LocalEndpoints == 0 {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, healthBody, h.Service.Namespace, h.Service.Name, h.LocalEndpoints)
}

// healthBody ends without a newline. The proxy itself is always well here.
const healthBody = `{
	"service": {
		"namespace": %q,
		"name": %q
	},
	"localEndpoints": %d,
	"serviceProxyHealthy": true
}`
