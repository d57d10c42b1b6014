package kube

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Endpoint is one address a Service port may send to, with the conditions of
// discovery.k8s.io/v1 EndpointConditions.
type Endpoint struct {
	Addr netip.AddrPort
	Node string               // node it runs on, "" if unknown
	Pod  types.NamespacedName // pod behind it, zero if an EndpointSlice does not say
	// Hostname is the name DNS gives the endpoint in place of its address: that
	// of a pod whose spec.subdomain is the Service's name. It may be empty.
	Hostname string
	// Ready means new connections may be sent to it: the pod is ready and not
	// terminating, or the Service publishes addresses that are not ready.
	Ready bool
	// Serving means the pod answers, terminating or not.
	Serving bool
	// Terminating means the pod is being deleted.
	Terminating bool
	// ForNodes and ForZones are the topology hints: where traffic for this
	// endpoint should come from. Empty without spec.trafficDistribution.
	ForNodes, ForZones []string

	text  string // Addr as kube-proxy writes it
	ip    string // Addr.Addr() as text
	chain string // KUBE-SEP-*
}

// ServiceEndpoints is one port of a Service and its endpoints.
type ServiceEndpoints struct {
	Port      corev1.ServicePort
	Endpoints []Endpoint // ordered by the text of address:port, as in kube-proxy
}

// Endpoints returns the endpoints of each port of a Service, in port order. It
// is nil for a Service that does not exist and for type ExternalName. A headless
// Service without ports has one entry with port 0. The result must not be
// modified and is valid until the next change of the cluster.
func (c *Cluster) Endpoints(namespace, name string) []ServiceEndpoints {
	e := c.services[objectName(namespace, name)]
	if e == nil {
		return nil
	}
	ports := c.servicePorts(e)
	if len(ports) == 0 {
		return nil
	}
	list := make([]ServiceEndpoints, len(ports))
	for i := range ports {
		list[i] = ServiceEndpoints{Port: ports[i].spec, Endpoints: ports[i].endpoints}
	}
	return list
}

// servicePort is a port of a Service with everything rules need, computed once
// for all nodes.
type servicePort struct {
	svc       *corev1.Service
	spec      corev1.ServicePort
	name      string // ServicePortName
	protocol  string // "tcp"
	endpoints []Endpoint

	externalIPs []string       // spec.externalIPs, IPv4
	vips        []string       // status.loadBalancer addresses that nodes intercept
	sources     []netip.Prefix // spec.loadBalancerSourceRanges

	clusterChain  string // KUBE-SVC-*: endpoints for the Cluster policy
	localChain    string // KUBE-SVL-*: endpoints for the Local policy
	externalChain string // KUBE-EXT-*: entry for everything but the cluster IP
	firewallChain string // KUBE-FW-*: sources a load balancer address is open to
}

// servicePorts returns what a Service amounts to, from its cache if nothing
// that could change it has happened.
func (c *Cluster) servicePorts(e *serviceEntry) []servicePort {
	if e.ports != nil || e.obj.Spec.Type == corev1.ServiceTypeExternalName {
		return e.ports
	}
	specs := e.obj.Spec.Ports
	if len(specs) == 0 {
		specs = []corev1.ServicePort{{}} // headless without ports: DNS only
	}
	var pods []*corev1.Pod
	if len(e.obj.Spec.Selector) > 0 {
		pods = c.pods.selected(e.name.Namespace, e.obj.Spec.Selector)
	}
	e.ports = make([]servicePort, len(specs))
	for i, spec := range specs {
		name := ServicePortName(e.name.Namespace, e.name.Name, spec.Name)
		p := servicePort{svc: e.obj, spec: spec, name: name, protocol: lower(spec.Protocol)}
		p.nameChains()
		p.frontends()
		if len(e.obj.Spec.Selector) > 0 {
			p.endpoints = c.podEndpoints(e.obj, &spec, pods)
		}
		p.endpoints = append(p.endpoints, c.sliceEndpoints(e.name, &spec)...)
		p.finish()
		e.ports[i] = p
	}
	return e.ports
}

func (p *servicePort) nameChains() {
	suffix := chainSuffix(p.name + p.protocol)
	p.clusterChain, p.localChain = "KUBE-SVC-"+suffix, "KUBE-SVL-"+suffix
	p.externalChain, p.firewallChain = "KUBE-EXT-"+suffix, "KUBE-FW-"+suffix
}

// finish names the endpoints, orders them and drops repetitions.
func (p *servicePort) finish() {
	for i := range p.endpoints {
		ep := &p.endpoints[i]
		ep.text, ep.ip = ep.Addr.String(), ep.Addr.Addr().String()
	}
	slices.SortStableFunc(p.endpoints, func(a, b Endpoint) int { return cmp.Compare(a.text, b.text) })
	p.endpoints = slices.CompactFunc(p.endpoints, func(a, b Endpoint) bool { return a.text == b.text })
	for i := range p.endpoints {
		p.endpoints[i].chain = "KUBE-SEP-" + chainSuffix(p.name+p.protocol+p.endpoints[i].text)
	}
}

// podEndpoints does the endpoint slice controller's work for one port. Pods
// arrive in no order; ties, two pods that claim one address, go to the first by
// name.
func (c *Cluster) podEndpoints(s *corev1.Service, port *corev1.ServicePort, pods []*corev1.Pod) []Endpoint {
	list := make([]Endpoint, 0, len(pods))
	for _, p := range pods {
		ip, ok := podIP(p)
		if !ok || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed ||
			c.withheld[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] {
			continue
		}
		number, ok := targetPort(p, port)
		if !ok {
			continue // this pod has no port of that name
		}
		serving, terminating := podReady(p), p.DeletionTimestamp != nil
		ep := Endpoint{
			Addr: netip.AddrPortFrom(ip, number), Node: p.Spec.NodeName,
			Pod:   types.NamespacedName{Namespace: p.Namespace, Name: p.Name},
			Ready: serving && !terminating || s.Spec.PublishNotReadyAddresses, Serving: serving, Terminating: terminating,
		}
		if p.Spec.Subdomain == s.Name {
			ep.Hostname = p.Spec.Hostname
		}
		c.addHints(s, &ep)
		list = append(list, ep)
	}
	slices.SortFunc(list, func(a, b Endpoint) int { return compareNames(a.Pod, b.Pod) })
	return list
}

// addHints writes the hints the controller writes for spec.trafficDistribution
// (KEP-4444, KEP-3015).
func (c *Cluster) addHints(s *corev1.Service, ep *Endpoint) {
	if s.Spec.TrafficDistribution == nil || !ep.Ready {
		return
	}
	if zone := c.zone(ep.Node); zone != "" {
		ep.ForZones = []string{zone}
	}
	if *s.Spec.TrafficDistribution == corev1.ServiceTrafficDistributionPreferSameNode && ep.Node != "" {
		ep.ForNodes = []string{ep.Node}
	}
}

// podIP returns the pod's IPv4 address, or its only one.
func podIP(p *corev1.Pod) (netip.Addr, bool) {
	first, err := netip.ParseAddr(p.Status.PodIP)
	if err == nil && first.Is4() {
		return first, true
	}
	for i := range p.Status.PodIPs {
		if ip, err := netip.ParseAddr(p.Status.PodIPs[i].IP); err == nil && ip.Is4() {
			return ip, true
		}
	}
	return first, err == nil
}

// podReady reads the Ready condition. A pod written by hand has none and is
// ready as soon as it has an address.
func podReady(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == corev1.PodReady {
			return p.Status.Conditions[i].Status == corev1.ConditionTrue
		}
	}
	return true
}

// targetPort resolves the target of a service port on one pod. A name may mean
// different numbers on different pods. Sidecars, which are restartable init
// containers, count.
func targetPort(p *corev1.Pod, port *corev1.ServicePort) (uint16, bool) {
	if port.TargetPort.Type == intstr.Int {
		return uint16(port.TargetPort.IntVal), true
	}
	find := func(c *corev1.Container) (uint16, bool) {
		for _, cp := range c.Ports {
			if cp.Name == port.TargetPort.StrVal && cp.Protocol == port.Protocol {
				return uint16(cp.ContainerPort), true
			}
		}
		return 0, false
	}
	for i := range p.Spec.Containers {
		if n, ok := find(&p.Spec.Containers[i]); ok {
			return n, true
		}
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			if n, ok := find(c); ok {
				return n, true
			}
		}
	}
	return 0, false
}

// portText is a port number in a rule.
func portText(n int32) string { return strconv.Itoa(int(n)) }
