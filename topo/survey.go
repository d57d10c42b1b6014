package topo

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/podwire/podwire/emu"
)

// AnnotationExpect is an annotation of a Pod or a Service that says what a survey
// must find when it asks it: one of StepErrors, where it is there to fail.
const AnnotationExpect = "podwire/expect"

// Who asks in a survey.
const (
	surveyNamespace = "podwire"
	surveyOutside   = "outside"
	surveyPods      = 3 // on the first nodes; more would ask the same again
)

// surveyPool is where load balancers of a survey get their addresses.
var surveyPool = netip.MustParsePrefix("192.168.56.240/28")

// Plain reports whether the files are Kubernetes manifests alone, without a
// scenario that says what to do with them.
func (sc *Scenario) Plain() bool { return sc.plain && len(sc.Objects) > 0 }

// surveyLatency is that of each cable, so that what crosses the wire can be told from
// what does not by its time.
const surveyLatency = 200 * time.Microsecond

// Survey makes a scenario of plain manifests: a cluster of the default size, or of
// the Nodes among them, with DNS and a load balancer, a pod on each of the first
// nodes that asks, and a machine outside. When it runs, every port of every pod is
// asked, every port of every Service from each of these pods, every node port, load
// balancer and external IP from outside. What Kubernetes would refuse or drop there
// is expected to fail, with one exception: a Service without endpoints is taken for a
// mistake, unless the annotation podwire/expect says otherwise.
func (sc *Scenario) Survey() {
	sc.survey = true
	sc.surveyCluster()
	outside := Host{Name: Field[string]{Value: surveyOutside}}
	for _, a := range sc.externalIPs() {
		outside.Routes = append(outside.Routes, Route{To: Field[netip.Prefix]{Value: netip.PrefixFrom(a, 32)}, Via: sc.Cluster.Nodes[0].Address})
	}
	outside.Address.Value = sc.freeAddress()
	sc.Hosts = append(sc.Hosts, outside)
	sc.Hosts = append(sc.Hosts, sc.strangers()...)
	if emu.Standalone(sc.Cluster.Design.Value) {
		return
	}
	for _, n := range sc.Cluster.Nodes[:min(len(sc.Cluster.Nodes), surveyPods)] {
		sc.Pods = append(sc.Pods, &Pod{
			Namespace: surveyNamespace, Name: Field[string]{Value: "on-" + n.Name.Value}, Node: n.Name,
			Containers: []Container{{Name: Field[string]{Value: "main"}}},
		})
	}
}

// surveyCluster gives the cluster what a manifest takes for granted.
func (sc *Scenario) surveyCluster() {
	c := &sc.Cluster
	if emu.Standalone(c.Design.Value) {
		return
	}
	c.DNS.Value = true
	sc.Underlay.Latency = Field[time.Duration]{surveyLatency, sc.Objects[0].Pos} // it counts as written
	for _, s := range Objects[*corev1.Service](sc) {
		if s.Name == "kube-dns" || s.Spec.ClusterIP == nth(c.ServiceCIDR.Value, 10).String() {
			c.DNS.Value = false // the manifests bring their own
		}
		for _, seg := range sc.Underlay.Segments {
			if s.Spec.Type == corev1.ServiceTypeLoadBalancer && seg.Subnet.Value.Contains(surveyPool.Addr()) {
				c.LoadBalancers.Value = surveyPool
			}
		}
	}
}

// externalIPs are the addresses for which a machine outside needs a route: those
// that no machine has.
func (sc *Scenario) externalIPs() []netip.Addr {
	var list []netip.Addr
	for _, s := range Objects[*corev1.Service](sc) {
		for _, text := range s.Spec.ExternalIPs {
			a, err := netip.ParseAddr(text)
			ofNode := slices.ContainsFunc(sc.Cluster.Nodes, func(n Node) bool { return n.Address.Value == a })
			if err == nil && a.Is4() && !ofNode && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

// freeAddress is the first address behind the nodes.
func (sc *Scenario) freeAddress() netip.Addr {
	taken := map[netip.Addr]bool{}
	last := sc.Cluster.Nodes[0].Address.Value
	for _, n := range sc.Cluster.Nodes {
		if taken[n.Address.Value] = true; last.Less(n.Address.Value) {
			last = n.Address.Value
		}
	}
	for _, h := range sc.Hosts {
		taken[h.Address.Value] = true
	}
	for taken[last] {
		last = last.Next()
	}
	return last
}

// strangers are machines outside for the endpoints of slices written by hand that
// are addresses of the underlay: a database, say. They answer on the slice's ports.
func (sc *Scenario) strangers() []Host {
	var list []Host
	for _, slice := range Objects[*discoveryv1.EndpointSlice](sc) {
		for _, e := range slice.Endpoints {
			if len(e.Addresses) == 0 {
				continue
			}
			a, err := netip.ParseAddr(e.Addresses[0])
			if err != nil || !sc.isFree(a, list) {
				continue
			}
			h := Host{Name: Field[string]{Value: "machine-" + strings.ReplaceAll(a.String(), ".", "-")}, Address: Field[netip.Addr]{Value: a}}
			for _, p := range slice.Ports {
				port := ContainerPort{Protocol: "TCP"}
				if p.Protocol != nil {
					port.Protocol = string(*p.Protocol)
				}
				if p.Port != nil {
					port.Number.Value = int(*p.Port)
					h.Ports = append(h.Ports, port)
				}
			}
			list = append(list, h)
		}
	}
	return list
}

// isFree reports whether an address of the underlay is nobody's.
func (sc *Scenario) isFree(a netip.Addr, more []Host) bool {
	inside := slices.ContainsFunc(sc.Underlay.Segments, func(s Segment) bool { return s.Subnet.Value.Contains(a) })
	has := func(h Host) bool { return h.Address.Value == a }
	return inside && !slices.ContainsFunc(sc.Cluster.Nodes, func(n Node) bool { return n.Address.Value == a }) &&
		!slices.ContainsFunc(sc.Hosts, has) && !slices.ContainsFunc(more, has)
}
