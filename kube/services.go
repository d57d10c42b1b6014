package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// serviceEntry is a stored Service and what has been derived from it.
type serviceEntry struct {
	name  types.NamespacedName
	obj   *corev1.Service
	ports []servicePort // nil until somebody asks, and again after a change
}

// AddService stores a copy of a Service as the API server would: defaults are
// filled in, the object is validated, and a cluster IP, node ports and a health
// check port are reserved or chosen. Read the result with Service. On an error
// nothing is stored or reserved.
func (c *Cluster) AddService(s *corev1.Service) error {
	s = s.DeepCopy()
	DefaultService(s)
	name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	if errs := validateService(s, c.cfg.DNS1035Names); len(errs) > 0 {
		return invalid("Service", s.Name, errs)
	}
	if c.services[name] != nil {
		return alreadyExists("services", s.Name)
	}
	if err := c.allocate(s, nil); err != nil {
		return err
	}
	c.storeService(name, s)
	return nil
}

// UpdateService replaces a Service, status included. Allocated fields that the
// new object leaves empty are kept; a cluster IP cannot be changed. On an error
// the old object stays.
func (c *Cluster) UpdateService(s *corev1.Service) error {
	s = s.DeepCopy()
	DefaultService(s)
	name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	e := c.services[name]
	if e == nil {
		return notFound("services", s.Name)
	}
	keepAllocated(e.obj, s)
	errs := validateClusterIPUpdate(e.obj, s)
	if errs = append(errs, validateService(s, c.cfg.DNS1035Names)...); len(errs) > 0 {
		return invalid("Service", s.Name, errs)
	}
	if err := c.allocate(s, e.obj); err != nil {
		return err
	}
	c.forgetService(e)
	c.storeService(name, s)
	return nil
}

// RemoveService deletes a Service and frees its addresses and ports. An empty
// namespace is "default".
func (c *Cluster) RemoveService(namespace, name string) error {
	e := c.services[objectName(namespace, name)]
	if e == nil {
		return notFound("services", name)
	}
	c.forgetService(e)
	for _, r := range c.reservations(e.obj) {
		r.release()
	}
	return nil
}

// Service returns a stored Service, nil if there is none. It must not be modified.
func (c *Cluster) Service(namespace, name string) *corev1.Service {
	if e := c.services[objectName(namespace, name)]; e != nil {
		return e.obj
	}
	return nil
}

// Services returns all Services in namespace and name order. They must not be
// modified.
func (c *Cluster) Services() []*corev1.Service {
	entries := c.entries()
	list := make([]*corev1.Service, len(entries))
	for i, e := range entries {
		list[i] = e.obj
	}
	return list
}

func (c *Cluster) entries() []*serviceEntry {
	if c.sorted == nil {
		c.sorted = make([]*serviceEntry, 0, len(c.services))
		for _, e := range c.services {
			c.sorted = append(c.sorted, e)
		}
		slices.SortFunc(c.sorted, func(a, b *serviceEntry) int { return compareNames(a.name, b.name) })
	}
	return c.sorted
}

func (c *Cluster) storeService(name types.NamespacedName, s *corev1.Service) {
	e := &serviceEntry{name: name, obj: s}
	c.services[name] = e
	c.spaces[name.Namespace] = true
	c.sorted = nil
	if pair, ok := watchedLabel(s); ok {
		if c.selectors[pair] == nil {
			c.selectors[pair] = make(map[types.NamespacedName]*serviceEntry)
		}
		c.selectors[pair][name] = e
	}
}

func (c *Cluster) forgetService(e *serviceEntry) {
	delete(c.services, e.name)
	c.sorted = nil
	if pair, ok := watchedLabel(e.obj); ok {
		if delete(c.selectors[pair], e.name); len(c.selectors[pair]) == 0 {
			delete(c.selectors, pair)
		}
	}
}

// watchedLabel is the label of the selector under which a Service hears of pod
// changes. One is enough, as a selected pod has them all; the smallest is taken
// so that the choice does not depend on map order.
func watchedLabel(s *corev1.Service) (labelPair, bool) {
	var best labelPair
	found := false
	for k, v := range s.Spec.Selector {
		if !found || k < best.key {
			best, found = labelPair{s.Namespace, k, v}, true
		}
	}
	return best, found
}

// keepAllocated copies allocated values an update leaves empty, as the API
// server does for clients that send back an older manifest.
func keepAllocated(old, s *corev1.Service) {
	hasIP := func(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeExternalName }
	if hasIP(old) && hasIP(s) && s.Spec.ClusterIP == "" {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = old.Spec.ClusterIP, slices.Clone(old.Spec.ClusterIPs)
	}
	if needsNodePorts(old) && needsNodePorts(s) {
		keepNodePorts(old.Spec.Ports, s.Spec.Ports)
	}
	if needsHealthCheck(old) && needsHealthCheck(s) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

// keepNodePorts matches ports by name: the other properties may be what changed.
func keepNodePorts(old, ports []corev1.ServicePort) {
	byName := make(map[string]int32, len(old))
	for i := range old {
		byName[old[i].Name] = old[i].NodePort
	}
	for i := range ports {
		np := byName[ports[i].Name]
		taken := slices.ContainsFunc(ports, func(p corev1.ServicePort) bool { return p.NodePort == np && p.Protocol == ports[i].Protocol })
		if ports[i].NodePort == 0 && !taken {
			ports[i].NodePort = np
		}
	}
}
