package emu

import (
	"context"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Lookup is LookupContext for one who wants one address and any time it takes.
func (m *Machine) Lookup(name string) (netip.Addr, error) {
	addrs, err := m.LookupContext(context.Background(), name)
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0], nil
}

// LookupContext returns the IPv4 addresses of a name, at least one. In a lab with
// DNS a pod asks as its C library would, with packets; see [Config.DNS]. Without,
// and for nodes and machines outside, it is [Lab.Resolve]. An error is a
// *net.DNSError.
func (m *Machine) LookupContext(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if r, known := m.resolver(name); known.IsValid() {
		return []netip.Addr{known}, nil
	} else if r != nil {
		addrs, err := r.Lookup(ctx, name)
		if err != nil {
			return nil, err
		}
		return onlyIPv4(name, addrs)
	}
	a, err := m.lab.Resolve(name)
	if err != nil {
		return nil, err
	}
	return []netip.Addr{a}, nil
}

// onlyIPv4 leaves out addresses that nothing here can be reached at.
func onlyIPv4(name string, addrs []netip.Addr) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no IPv4 address", Name: name, IsNotFound: true}
	}
	return list, nil
}

// Resolve finds the address of a name: an IP address, a Service ("web",
// "web.prod", "web.prod.svc.cluster.local"), a pod ("web-0", "prod/web-0"), a
// node or a machine outside, in this order.
func (l *Lab) Resolve(name string) (netip.Addr, error) {
	var a netip.Addr
	l.drv.Do(func() { a = l.lookup(name, 0) })
	if !a.IsValid() {
		return a, &net.DNSError{Err: "no Service, pod, node or machine of that name", Name: name, IsNotFound: true}
	}
	return a, nil
}

// lookup finds the address of a name; an ExternalName may lead to another name,
// but not for ever. The caller holds the lock.
func (l *Lab) lookup(name string, depth int) netip.Addr {
	if a, err := netip.ParseAddr(name); err == nil || depth > 8 {
		return a
	}
	if a := l.serviceAddr(name, depth); a.IsValid() {
		return a
	}
	m := l.machines[name]
	if m == nil {
		m = l.machines[podName(name)]
	}
	if t := l.tapNamed(name); m == nil && t != nil {
		return t.plug.addr
	}
	if m == nil {
		return netip.Addr{}
	}
	return m.addr
}

// endpointAddr returns the first ready endpoint of a Service: of that hostname, or
// any if it is empty.
func (l *Lab) endpointAddr(namespace, name, hostname string) netip.Addr {
	for _, port := range l.cluster.Endpoints(namespace, name) {
		for _, e := range port.Endpoints {
			a := e.Addr.Addr()
			if e.Ready && (hostname == "" || hostname == e.Hostname || e.Hostname == "" && hostname == strings.ReplaceAll(a.String(), ".", "-")) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// serviceAddr returns the cluster IP of a Service, or what stands in for it: an
// endpoint of a headless Service, the target of an ExternalName. The name may be
// that of an endpoint too, "db-0.db". The caller holds the lock.
func (l *Lab) serviceAddr(name string, depth int) netip.Addr {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "."), "."+clusterDomain)
	name = strings.TrimSuffix(name, ".svc")
	service, namespace, _ := strings.Cut(name, ".")
	if namespace == "" {
		if ns, n, ok := strings.Cut(service, "/"); ok {
			namespace, service = ns, n
		}
	}
	s := l.cluster.Service(namespace, service)
	switch {
	case s == nil:
		owner, ns, _ := strings.Cut(namespace, ".")
		return l.endpointAddr(ns, owner, service)
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return l.lookup(s.Spec.ExternalName, depth+1)
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		return l.endpointAddr(s.Namespace, s.Name, "")
	}
	a, _ := netip.ParseAddr(s.Spec.ClusterIP)
	return a
}

// Owner returns the machine that has an address on one of its devices, or nil.
// Loopback addresses are nobody's.
func (l *Lab) Owner(a netip.Addr) *Machine {
	var owner *Machine
	l.drv.Do(func() {
		if owner = l.addrs[a]; owner != nil {
			return
		}
		for _, m := range l.sortedMachines() {
			if m.stack.HasAddr(a) {
				owner = m
				return
			}
		}
	})
	return owner
}
