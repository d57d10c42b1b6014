package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reservation is one address or port a Service holds.
type reservation struct {
	ip   netip.Addr
	port int32
	c    *Cluster
}

func (r reservation) release() {
	if r.ip.IsValid() {
		r.c.ips.release(r.ip)
	} else {
		r.c.nodePorts.release(r.port)
	}
}

// reservations lists what a stored Service holds, each port once.
func (c *Cluster) reservations(s *corev1.Service) []reservation {
	var list []reservation
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		if ip, err := netip.ParseAddr(s.Spec.ClusterIP); err == nil {
			list = append(list, reservation{ip: ip, c: c})
		}
	}
	ports := make([]int32, 0, len(s.Spec.Ports)+1)
	for i := range s.Spec.Ports {
		ports = append(ports, s.Spec.Ports[i].NodePort)
	}
	for _, p := range append(ports, s.Spec.HealthCheckNodePort) {
		r := reservation{port: p, c: c}
		if p != 0 && !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
}

// allocate reserves and chooses what s needs beyond what old, the Service it
// replaces, already holds; afterwards what only old held is free. On an error
// everything is as it was.
func (c *Cluster) allocate(s, old *corev1.Service) error {
	var held []reservation
	if old != nil {
		held = c.reservations(old)
	}
	a := allocation{c: c, s: s, held: held}
	for _, step := range []func() *field.Error{a.clusterIP, a.servicePorts, a.healthCheckPort} {
		if err := step(); err != nil {
			for _, r := range a.taken {
				r.release()
			}
			if err.Type == field.ErrorTypeInternal {
				return apierrors.NewInternalError(errors.New(err.Detail))
			}
			return invalid("Service", s.Name, field.ErrorList{err})
		}
	}
	now := c.reservations(s)
	for _, r := range held {
		if !slices.Contains(now, r) {
			r.release()
		}
	}
	return nil
}

// allocation is one Service being given its addresses and ports.
type allocation struct {
	c     *Cluster
	s     *corev1.Service
	held  []reservation // by the object being replaced
	taken []reservation // by this allocation, to be undone if a later step fails
}

func (a *allocation) clusterIP() *field.Error {
	spec := &a.s.Spec
	if spec.Type == corev1.ServiceTypeExternalName || headless(a.s) {
		return nil
	}
	if spec.ClusterIP == "" {
		ip, err := a.c.ips.next()
		if err != nil {
			return field.InternalError(nil, fmt.Errorf("failed to allocate a serviceIP: %w", err))
		}
		a.taken = append(a.taken, reservation{ip: ip, c: a.c})
		spec.ClusterIP, spec.ClusterIPs = ip.String(), []string{ip.String()}
		return nil
	}
	ip, err := netip.ParseAddr(spec.ClusterIP)
	if err == nil {
		r := reservation{ip: ip, c: a.c}
		if slices.Contains(a.held, r) {
			return nil
		}
		apiServer := a.s.Namespace == corev1.NamespaceDefault && a.s.Name == "kubernetes"
		if err = a.c.ips.take(ip, apiServer); err == nil {
			a.taken = append(a.taken, r)
			return nil
		}
	}
	return field.Invalid(field.NewPath("spec", "clusterIPs"), spec.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: %v", spec.ClusterIP, err))
}

// servicePorts gives every port its node port. Ports of the same number, such
// as 53/TCP and 53/UDP, share one.
func (a *allocation) servicePorts() *field.Error {
	if !needsNodePorts(a.s) && a.s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	shared := make(map[int32]int32) // port number to node port
	for i := range a.s.Spec.Ports {
		p := &a.s.Spec.Ports[i]
		if p.NodePort == 0 {
			p.NodePort = requestedNodePort(shared, a.s.Spec.Ports, p.Port)
		}
		if p.NodePort == 0 && !needsNodePorts(a.s) {
			continue // a load balancer that reaches the pods by itself
		}
		if err := a.port(&p.NodePort, field.NewPath("spec", "ports").Index(i).Child("nodePort")); err != nil {
			return err
		}
		shared[p.Port] = p.NodePort
	}
	return nil
}

// requestedNodePort returns the node port of another protocol on the same port
// number, whether given out already or asked for further down the list.
func requestedNodePort(shared map[int32]int32, ports []corev1.ServicePort, number int32) int32 {
	if np := shared[number]; np != 0 {
		return np
	}
	for i := range ports {
		if ports[i].Port == number && ports[i].NodePort != 0 {
			return ports[i].NodePort
		}
	}
	return 0
}

func (a *allocation) healthCheckPort() *field.Error {
	if !needsHealthCheck(a.s) {
		return nil
	}
	p, path := &a.s.Spec.HealthCheckNodePort, field.NewPath("spec", "healthCheckNodePort")
	for i := range a.s.Spec.Ports {
		if *p != 0 && a.s.Spec.Ports[i].NodePort == *p { // shared between protocols, but not with this
			return field.Invalid(path, *p, errPortAllocated.Error())
		}
	}
	return a.port(p, path)
}

// port reserves *p, or chooses it if it is 0.
func (a *allocation) port(p *int32, path *field.Path) *field.Error {
	if *p == 0 {
		n, err := a.c.nodePorts.next()
		if err != nil {
			return field.InternalError(path, fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		*p = n
		a.taken = append(a.taken, reservation{port: n, c: a.c})
		return nil
	}
	r := reservation{port: *p, c: a.c}
	if slices.Contains(a.held, r) || slices.Contains(a.taken, r) {
		return nil
	}
	if err := a.c.nodePorts.take(*p); err != nil {
		return field.Invalid(path, *p, err.Error())
	}
	a.taken = append(a.taken, r)
	return nil
}
