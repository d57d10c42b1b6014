package kube

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podStore holds pods and finds the pods of a selector without looking at the
// others: a cluster has 150,000 pods and 10,000 selectors.
type podStore struct {
	byName  map[types.NamespacedName]*corev1.Pod
	byLabel map[labelPair]map[types.NamespacedName]*corev1.Pod
}

func newPodStore() podStore {
	return podStore{
		byName:  make(map[types.NamespacedName]*corev1.Pod),
		byLabel: make(map[labelPair]map[types.NamespacedName]*corev1.Pod),
	}
}

func (s *podStore) put(name types.NamespacedName, p *corev1.Pod) {
	s.byName[name] = p
	for k, v := range p.Labels {
		pair := labelPair{name.Namespace, k, v}
		if s.byLabel[pair] == nil {
			s.byLabel[pair] = make(map[types.NamespacedName]*corev1.Pod)
		}
		s.byLabel[pair][name] = p
	}
}

func (s *podStore) remove(name types.NamespacedName) {
	p := s.byName[name]
	delete(s.byName, name)
	for k, v := range p.Labels {
		pair := labelPair{name.Namespace, k, v}
		if delete(s.byLabel[pair], name); len(s.byLabel[pair]) == 0 {
			delete(s.byLabel, pair)
		}
	}
}

// selected returns the pods of a namespace that carry every label of the
// selector, in no particular order. The walk is over the rarest label's pods.
func (s *podStore) selected(namespace string, selector map[string]string) []*corev1.Pod {
	var rarest map[types.NamespacedName]*corev1.Pod
	for k, v := range selector {
		set := s.byLabel[labelPair{namespace, k, v}]
		if len(set) == 0 {
			return nil
		}
		if rarest == nil || len(set) < len(rarest) {
			rarest = set
		}
	}
	pods := make([]*corev1.Pod, 0, len(rarest))
	for _, p := range rarest {
		if matches(selector, p.Labels) {
			pods = append(pods, p)
		}
	}
	return pods
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// AddPod stores a copy of a pod with the API server's defaults. The pod's
// address and readiness are what its status says: it can be an endpoint once
// status.podIP is set, and counts as Ready unless a Ready condition says no.
// A metadata.deletionTimestamp makes it terminating. The errors are those of
// ValidatePod, or `pods "x" already exists`.
func (c *Cluster) AddPod(p *corev1.Pod) error {
	p = p.DeepCopy()
	DefaultPod(p)
	name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
	if errs := validatePod(p); len(errs) > 0 {
		return invalid("Pod", p.Name, errs)
	}
	if c.pods.byName[name] != nil {
		return alreadyExists("pods", p.Name)
	}
	c.pods.put(name, p)
	c.spaces[p.Namespace] = true
	c.podChanged(p)
	return nil
}

// UpdatePod replaces a stored pod, status included. It is an error if there is
// none of that name.
func (c *Cluster) UpdatePod(p *corev1.Pod) error {
	p = p.DeepCopy()
	DefaultPod(p)
	name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
	old := c.pods.byName[name]
	if old == nil {
		return notFound("pods", p.Name)
	}
	if errs := validatePod(p); len(errs) > 0 {
		return invalid("Pod", p.Name, errs)
	}
	c.pods.remove(name)
	c.pods.put(name, p)
	c.podChanged(old)
	c.podChanged(p)
	return nil
}

// RemovePod deletes a pod. An empty namespace is "default".
func (c *Cluster) RemovePod(namespace, name string) error {
	key := objectName(namespace, name)
	p := c.pods.byName[key]
	if p == nil {
		return notFound("pods", name)
	}
	c.pods.remove(key)
	delete(c.withheld, key)
	c.podChanged(p)
	return nil
}

// Withhold takes a pod's address out of all EndpointSlices, or lists it again,
// while the pod runs on: as when its labels are changed so that no selector
// finds it, or its target is taken out of a slice that was written by hand. It is
// an error if there is no such pod.
func (c *Cluster) Withhold(namespace, name string, on bool) error {
	key := objectName(namespace, name)
	p := c.pods.byName[key]
	if p == nil {
		return notFound("pods", name)
	}
	if on {
		c.withheld[key] = true
	} else {
		delete(c.withheld, key)
	}
	c.invalidateAll() // slices may name pods that no selector finds
	return nil
}

// Pod returns a stored pod, nil if there is none. It must not be modified.
func (c *Cluster) Pod(namespace, name string) *corev1.Pod {
	return c.pods.byName[objectName(namespace, name)]
}

// Pods returns all pods in namespace and name order. They must not be modified.
func (c *Cluster) Pods() []*corev1.Pod {
	pods := slices.Collect(maps.Values(c.pods.byName))
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		return compareNames(types.NamespacedName{Namespace: a.Namespace, Name: a.Name}, types.NamespacedName{Namespace: b.Namespace, Name: b.Name})
	})
	return pods
}

// podChanged makes the services that select the pod compute their endpoints anew.
func (c *Cluster) podChanged(p *corev1.Pod) {
	for k, v := range p.Labels {
		for _, e := range c.selectors[labelPair{p.Namespace, k, v}] {
			e.ports = nil
		}
	}
}

// objectName is the key of a namespaced object; kubectl's default namespace
// stands in for an empty one.
func objectName(namespace, name string) types.NamespacedName {
	if namespace == "" {
		namespace = corev1.NamespaceDefault
	}
	return types.NamespacedName{Namespace: namespace, Name: name}
}
