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

// warnIslands finds steps from a pod to one of another host: on hosts without a
// cluster its address means another pod there, or none.
func (l *load) warnIslands() {
	if !emu.Standalone(l.sc.Cluster.Design.Value) {
		return
	}
	for i, s := range l.sc.Steps {
		var from, to Ref
		switch {
		case s.Ping != nil:
			from, to = s.Ping.From, s.Ping.To
		case s.HTTP != nil:
			from, to = s.HTTP.From, s.HTTP.Host
		case s.TCP != nil:
			from, to = s.TCP.From, s.TCP.To
		case s.UDP != nil:
			from, to = s.UDP.From, s.UDP.To
		}
		if from.Kind != RefPod || to.Kind != RefPod {
			continue
		}
		here, there := l.nodeOf(from), l.nodeOf(to)
		if here != there {
			l.addAt(to.Pos, Diagnostic{Severity: Warning, Rule: "no-route",
				Message: fmt.Sprintf("steps[%d]: pod %s is on %s, pod %s on %s: hosts of %s have no route to each other's pods", i, from.Name, here, to.Name, there, l.sc.Cluster.Design.Value),
				Effect:  fmt.Sprintf("on %s the address of %s belongs to a pod of its own, or to none", here, to.Name),
				Hint:    fmt.Sprintf("publish a port of %s (hostPort) and ask %s for it", to.Name, there)})
		}
	}
}

// nodeOf is the name of the node that a pod of a step is on.
func (l *load) nodeOf(r Ref) string {
	if p := l.names.pods[r.Namespace+"/"+r.Name]; p != nil {
		return p.Node.Value
	}
	return ""
}
