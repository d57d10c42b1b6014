package topo

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/podwire/podwire/emu"
)

// warnStandalone says what of a scenario has no meaning on hosts without
// Kubernetes. The same file may be meant for other designs, so these are no
// errors: what needs the missing parts fails as it would there.
func (l *load) warnStandalone(c *Cluster) {
	warn := func(pos Pos, what, effect string) {
		if pos.IsValid() {
			l.addAt(pos, Diagnostic{Severity: Warning, Rule: "no-kubernetes",
				Message: fmt.Sprintf("%s is ignored: hosts of %s run no Kubernetes", what, c.Design.Value), Effect: effect})
		}
	}
	const own = "each host gives out addresses of its own, the same as the others"
	warn(c.PodCIDR.Pos, "cluster.podCIDR", own)
	warn(c.ServiceCIDR.Pos, "cluster.serviceCIDR", "")
	warn(c.Proxy.Pos, "cluster.proxy", "")
	for _, n := range c.Nodes {
		warn(n.PodCIDR.Pos, fmt.Sprintf("podCIDR of node %s", n.Name.Value), own)
	}
	for _, o := range l.sc.Objects {
		switch o.Object.(type) {
		case *corev1.Service:
			warn(o.Name.Pos, fmt.Sprintf("Service %s", quoted(o.Name.Value)),
				"nothing answers to its name or address; publish a port of the pod instead (hostPort)")
		case *discoveryv1.EndpointSlice:
			warn(o.Name.Pos, fmt.Sprintf("EndpointSlice %s", quoted(o.Name.Value)), "")
		}
	}
}

// warnNetworks finds pods that ask for a network of docker where there is none.
func (l *load) warnNetworks() {
	if emu.Standalone(l.sc.Cluster.Design.Value) {
		return
	}
	for _, p := range l.sc.Pods {
		if name, ok := p.Annotations[emu.NetworkAnnotation]; ok {
			l.addAt(p.Name.Pos, Diagnostic{Severity: Warning, Rule: "no-docker",
				Message: fmt.Sprintf("pod %s: annotation %s: %s is ignored: %s has one pod network", p.Name.Value, emu.NetworkAnnotation, quoted(name), l.sc.Cluster.Design.Value)})
		}
	}
}
