package topo

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// slices looks at EndpointSlices together with the Services that they are of.
func (t *linter) slices() {
	for _, o := range t.sc.Objects {
		slice, ok := o.Object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		i := slices.IndexFunc(t.services, func(s *declared) bool { return slices.Contains(s.slices, o) })
		if i < 0 {
			t.orphan(o, slice)
			continue
		}
		s := t.services[i]
		if len(s.spec.Selector) > 0 {
			t.note(o, "metadata.labels", "slice-beside-selector", fmt.Sprintf("Service %s has a selector: these endpoints come on top of the selected pods", s.Name.Value),
				"connections are spread over both", "")
		}
		t.slicePorts(s, o, slice)
		t.sliceAddresses(s, o, slice)
	}
}

// orphan is a slice that no Service of the files has.
func (t *linter) orphan(o *Object, slice *discoveryv1.EndpointSlice) {
	name := slice.Labels[discoveryv1.LabelServiceName]
	var known []string
	for _, s := range t.services {
		if s.Namespace == o.Namespace {
			known = append(known, s.Name.Value)
		}
	}
	const effect = "nothing uses these endpoints"
	switch {
	case name == "":
		t.warn(o, "metadata.name", "orphan-slice", fmt.Sprintf("EndpointSlice %s has no label %s", o.Name.Value, discoveryv1.LabelServiceName), effect,
			"the label says whose endpoints they are; its name does not")
	case len(t.services) > 0 && !(t.sc.Cluster.DNS.Value && isAPIServer(o.Namespace, name)):
		t.warn(o, "metadata.labels["+discoveryv1.LabelServiceName+"]", "orphan-slice", fmt.Sprintf("EndpointSlice %s is of Service %s, which is not declared in namespace %s", o.Name.Value, quoted(name), o.Namespace),
			effect, didYouMean(name, "Services", known))
	}
}

// slicePorts finds ports of a slice that its Service does not have, and the other
// way round. They are matched by name and protocol, never by number.
func (t *linter) slicePorts(s *declared, o *Object, slice *discoveryv1.EndpointSlice) {
	key := func(name string, proto corev1.Protocol) string {
		if proto == "" {
			proto = corev1.ProtocolTCP
		}
		return fmt.Sprintf("%s/%s", cmp.Or(name, "unnamed"), proto)
	}
	var ofService, ofSlice []string
	for _, p := range s.spec.Ports {
		ofService = append(ofService, key(p.Name, p.Protocol))
	}
	for i, p := range slice.Ports {
		var name string
		var proto corev1.Protocol
		if p.Name != nil {
			name = *p.Name
		}
		if p.Protocol != nil {
			proto = *p.Protocol
		}
		k := key(name, proto)
		ofSlice = append(ofSlice, k)
		if !slices.Contains(ofService, k) {
			t.warn(o, fmt.Sprintf("ports[%d]", i), "unmatched-port", fmt.Sprintf("ports[%d]: Service %s has no port %s", i, s.Name.Value, k),
				"ports are matched by name and protocol: nothing is sent to this one", didYouMean(k, "ports of the Service", ofService))
		}
	}
	if len(slice.Ports) == 0 {
		t.warn(o, "metadata.name", "unmatched-port", fmt.Sprintf("EndpointSlice %s has no ports", o.Name.Value), "an endpoint without a port gets no traffic from kube-proxy", "")
	}
	for i, k := range ofService {
		if len(s.slices) == 1 && len(s.spec.Selector) == 0 && len(slice.Ports) > 0 && !slices.Contains(ofSlice, k) {
			t.warn(s.Object, fmt.Sprintf("spec.ports[%d]", i), "no-endpoints", fmt.Sprintf("spec.ports[%d]: EndpointSlice %s has no port %s", i, o.Name.Value, k),
				"connections to this port of the Service are refused", didYouMean(k, "ports of the slice", ofSlice))
		}
	}
}

// sliceAddresses finds endpoints that cannot be reached, or that are Services
// themselves.
func (t *linter) sliceAddresses(s *declared, o *Object, slice *discoveryv1.EndpointSlice) {
	var nodes []string
	for _, n := range t.sc.Cluster.Nodes {
		nodes = append(nodes, n.Name.Value)
	}
	usable := 0
	for i, e := range slice.Endpoints {
		if c := e.Conditions; c.Ready == nil || *c.Ready || c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating {
			usable++
		}
		for j, text := range e.Addresses {
			path := fmt.Sprintf("endpoints[%d].addresses[%d]", i, j)
			a, err := netip.ParseAddr(text)
			if cidr := t.sc.Cluster.ServiceCIDR.Value; err == nil && cidr.IsValid() && cidr.Contains(a) {
				t.warn(o, path, "endpoint-is-service", fmt.Sprintf("%s: %v lies within the service CIDR %v", path, a, cidr),
					"kube-proxy translates a packet once: what is sent to the cluster IP of a Service this way arrives nowhere", "name the pods, or use type ExternalName")
			}
			if j > 0 {
				t.note(o, path, "no-effect", path+": only the first address of an endpoint is used", "", "write an endpoint for each")
			}
		}
		if e.NodeName != nil && !slices.Contains(nodes, *e.NodeName) {
			t.warn(o, fmt.Sprintf("endpoints[%d].nodeName", i), "unknown-node", fmt.Sprintf("endpoints[%d].nodeName: no node is called %s", i, quoted(*e.NodeName)),
				"traffic policies Local find it on no node", didYouMean(*e.NodeName, "nodes", nodes))
		}
	}
	if usable == 0 && len(s.slices) == 1 && len(s.spec.Selector) == 0 {
		t.warn(o, "endpoints", "no-ready-endpoints", fmt.Sprintf("EndpointSlice %s has no endpoint that is ready", o.Name.Value), refusedEffect, "")
	}
}
