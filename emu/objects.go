package emu

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/podwire/podwire/kube"
)

// AddService adds a Service. Cluster IP and node ports are allocated as the
// API server does; the result is what was stored. Rules are in place before
// the next packet. A design without Kubernetes has no Services.
func (l *Lab) AddService(s *corev1.Service) (*corev1.Service, error) {
	if s == nil {
		return nil, errNil
	}
	if err := l.needKubernetes("Service", s.Name); err != nil {
		return nil, err
	}
	var stored *corev1.Service
	err := l.change(func() error {
		if err := checkServiceProtocols(s); err != nil {
			return err
		}
		if err := l.storeService(s); err != nil {
			return err
		}
		if err := l.balance(); err != nil {
			return err
		}
		stored = l.cluster.Service(s.Namespace, s.Name).DeepCopy()
		return nil
	})
	return stored, err
}

// AddNamespace makes a namespace. One that is only used need not be made.
func (l *Lab) AddNamespace(n *corev1.Namespace) error {
	if n == nil {
		return errNil
	}
	return l.change(func() error { return l.cluster.AddNamespace(n) })
}

// RemoveService removes a Service and its rules.
func (l *Lab) RemoveService(namespace, name string) error {
	return l.change(func() error {
		if err := l.cluster.RemoveService(namespace, name); err != nil {
			return err
		}
		return l.balance()
	})
}

// SetEndpointSlice adds or replaces endpoints by hand, for a Service without a
// selector.
func (l *Lab) SetEndpointSlice(s *discoveryv1.EndpointSlice) error {
	if s == nil {
		return errNil
	}
	if err := l.needKubernetes("EndpointSlice", s.Name); err != nil {
		return err
	}
	return l.change(func() error { return l.cluster.SetEndpointSlice(s) })
}

// needKubernetes refuses an object that no node would act upon.
func (l *Lab) needKubernetes(kind, name string) error {
	if !l.design.Standalone {
		return nil
	}
	return fmt.Errorf("emu: %s %q: hosts of %s run no kube-proxy; publish a port of the pod instead (hostPort)", kind, name, l.design.Name)
}

// Service returns the stored Service, or nil.
func (l *Lab) Service(namespace, name string) *corev1.Service {
	var s *corev1.Service
	l.drv.Do(func() {
		if s = l.cluster.Service(namespace, name); s != nil {
			s = s.DeepCopy()
		}
	})
	return s
}

// Services returns all Services by namespace and name.
func (l *Lab) Services() []*corev1.Service {
	var out []*corev1.Service
	l.drv.Do(func() {
		for _, s := range l.cluster.Services() {
			out = append(out, s.DeepCopy())
		}
	})
	return out
}

// change runs f on the object store and, if it succeeds, has every kube-proxy
// look again.
func (l *Lab) change(f func() error) (err error) {
	l.drv.Do(func() {
		if l.closed {
			err = errClosed
			return
		}
		if err = f(); err == nil {
			l.objectsChanged()
		}
	})
	return err
}

// Endpoint is one address that a Service port may send to, NodeEndpoints what one
// node does with such a port.
type (
	Endpoint      = kube.Endpoint
	NodeEndpoints = kube.NodeEndpoints
)

// Endpoints returns what a node does with each port of a Service, in port order;
// nil for a Service that does not exist, and for type ExternalName.
func (l *Lab) Endpoints(n *Node, namespace, name string) []NodeEndpoints {
	var list []NodeEndpoints
	l.drv.Do(func() { list = l.cluster.EndpointsOn(n.name, namespace, name) })
	return list
}
