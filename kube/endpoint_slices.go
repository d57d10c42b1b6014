package kube

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var supportedAddressTypes = sets.New(discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN)

// maxEndpointsPerSlice and maxPortsPerSlice are the API's limits.
const (
	maxEndpointsPerSlice = 1000
	maxPortsPerSlice     = 20000
)

// SetEndpointSlice stores a copy of an EndpointSlice written by hand, replacing
// one of the same name: the way to give endpoints to a Service that has no
// selector. The label kubernetes.io/service-name says which Service it is of;
// its ports are matched to the Service's by name and protocol. Slices for
// selectors are not stored: Endpoints computes their content from the pods.
func (c *Cluster) SetEndpointSlice(s *discoveryv1.EndpointSlice) error {
	s = s.DeepCopy()
	if s.Namespace == "" {
		s.Namespace = corev1.NamespaceDefault
	}
	defaultSlicePorts(s.Ports)
	if errs := validateEndpointSlice(s); len(errs) > 0 {
		return invalid("EndpointSlice.discovery.k8s.io", s.Name, errs)
	}
	name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	c.dropSlice(name)
	svc := types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
	if c.endpoints[svc] == nil {
		c.endpoints[svc] = make(map[string]*discoveryv1.EndpointSlice)
	}
	c.endpoints[svc][s.Name] = s
	c.slices[name] = svc
	c.invalidate(svc)
	return nil
}

// RemoveEndpointSlice deletes an EndpointSlice.
func (c *Cluster) RemoveEndpointSlice(namespace, name string) error {
	if !c.dropSlice(objectName(namespace, name)) {
		return notFound("endpointslices.discovery.k8s.io", name)
	}
	return nil
}

func (c *Cluster) dropSlice(name types.NamespacedName) bool {
	svc, ok := c.slices[name]
	if !ok {
		return false
	}
	delete(c.slices, name)
	if delete(c.endpoints[svc], name.Name); len(c.endpoints[svc]) == 0 {
		delete(c.endpoints, svc)
	}
	c.invalidate(svc)
	return true
}

func (c *Cluster) invalidate(svc types.NamespacedName) {
	if e := c.services[svc]; e != nil {
		e.ports = nil
	}
}

func defaultSlicePorts(ports []discoveryv1.EndpointPort) {
	for i := range ports {
		if ports[i].Name == nil {
			ports[i].Name = new(string)
		}
		if ports[i].Protocol == nil {
			tcp := corev1.ProtocolTCP
			ports[i].Protocol = &tcp
		}
	}
}

// sliceEndpoints returns what the slices of a Service hold for one of its ports.
func (c *Cluster) sliceEndpoints(svc types.NamespacedName, port *corev1.ServicePort) []Endpoint {
	var list []Endpoint
	for _, name := range slices.Sorted(maps.Keys(c.endpoints[svc])) {
		s := c.endpoints[svc][name]
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			continue // kube-proxy does not resolve names
		}
		for i := range s.Ports {
			p := &s.Ports[i]
			if *p.Name != port.Name || *p.Protocol != port.Protocol || p.Port == nil {
				continue
			}
			for j := range s.Endpoints {
				if t := s.Endpoints[j].TargetRef; t == nil || t.Kind != "Pod" || !c.withheld[types.NamespacedName{Namespace: t.Namespace, Name: t.Name}] {
					list = appendSliceEndpoint(list, &s.Endpoints[j], uint16(*p.Port))
				}
			}
		}
	}
	return list
}

// appendSliceEndpoint takes the first address only, as kube-proxy does: the
// API calls the addresses of one endpoint interchangeable.
func appendSliceEndpoint(list []Endpoint, e *discoveryv1.Endpoint, port uint16) []Endpoint {
	ip, err := netip.ParseAddr(e.Addresses[0])
	if err != nil {
		return list // validation lets none through
	}
	isTrue := func(b *bool) bool { return b == nil || *b } // unknown counts as true
	ep := Endpoint{
		Addr: netip.AddrPortFrom(ip, port), Ready: isTrue(e.Conditions.Ready), Serving: isTrue(e.Conditions.Serving),
		Terminating: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
	}
	if e.Hostname != nil {
		ep.Hostname = *e.Hostname
	}
	if e.NodeName != nil {
		ep.Node = *e.NodeName
	}
	if t := e.TargetRef; t != nil && t.Kind == "Pod" {
		ep.Pod = types.NamespacedName{Namespace: t.Namespace, Name: t.Name}
	}
	if e.Hints != nil {
		for _, z := range e.Hints.ForZones {
			ep.ForZones = append(ep.ForZones, z.Name)
		}
		for _, n := range e.Hints.ForNodes {
			ep.ForNodes = append(ep.ForNodes, n.Name)
		}
	}
	return append(list, ep)
}

// ValidateEndpointSlice checks an EndpointSlice as the API server does on create,
// after filling in defaults on a copy: its addresses against its type, its ports.
func ValidateEndpointSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	s = s.DeepCopy()
	if s.Namespace == "" {
		s.Namespace = corev1.NamespaceDefault
	}
	defaultSlicePorts(s.Ports)
	return validateEndpointSlice(s)
}

// validateEndpointSlice checks what the API server checks of the fields used here.
func validateEndpointSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&s.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	if s.AddressType == "" {
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	} else if !supportedAddressTypes.Has(s.AddressType) {
		errs = append(errs, field.NotSupported(field.NewPath("addressType"), s.AddressType, sets.List(supportedAddressTypes)))
	}
	if n := len(s.Endpoints); n > maxEndpointsPerSlice {
		return append(errs, field.TooMany(field.NewPath("endpoints"), n, maxEndpointsPerSlice))
	}
	for i := range s.Endpoints {
		errs = append(errs, validateSliceAddresses(&s.Endpoints[i], s.AddressType, field.NewPath("endpoints").Index(i).Child("addresses"))...)
	}
	return append(errs, validateSlicePorts(s.Ports, field.NewPath("ports"))...)
}

func validateSliceAddresses(e *discoveryv1.Endpoint, kind discoveryv1.AddressType, path *field.Path) field.ErrorList {
	if len(e.Addresses) == 0 {
		return field.ErrorList{field.Required(path, "must contain at least 1 address")}
	}
	var errs field.ErrorList
	for i, a := range e.Addresses {
		at := path.Index(i)
		switch kind {
		case discoveryv1.AddressTypeFQDN:
			errs = append(errs, validation.IsFullyQualifiedDomainName(at, a)...)
		default:
			errs = append(errs, validateSliceAddress(a, kind, at)...)
		}
	}
	return errs
}

func validateSliceAddress(a string, kind discoveryv1.AddressType, path *field.Path) field.ErrorList {
	if errs := validateExternalIP(a, path); len(errs) > 0 { // the same addresses are out of the question
		return errs
	}
	ip, err := netip.ParseAddr(a)
	if err == nil && ip.Is4() != (kind == discoveryv1.AddressTypeIPv4) {
		return field.ErrorList{field.Invalid(path, a, "must be an "+string(kind)+" address")}
	}
	return nil
}

func validateSlicePorts(ports []discoveryv1.EndpointPort, path *field.Path) field.ErrorList {
	if n := len(ports); n > maxPortsPerSlice {
		return field.ErrorList{field.TooMany(path, n, maxPortsPerSlice)}
	}
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		p, at := &ports[i], path.Index(i)
		if *p.Name != "" {
			errs = append(errs, invalids(at.Child("name"), *p.Name, validation.IsDNS1123Label(*p.Name))...)
		}
		if names.Has(*p.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), *p.Name))
		}
		names.Insert(*p.Name)
		if !supportedProtocols.Has(*p.Protocol) {
			errs = append(errs, field.NotSupported(at.Child("protocol"), *p.Protocol, sets.List(supportedProtocols)))
		}
		if p.Port != nil {
			errs = append(errs, invalids(at.Child("port"), *p.Port, validation.IsValidPortNum(int(*p.Port)))...)
		}
	}
	return errs
}
