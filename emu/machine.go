package emu

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// A Machine is anything with sockets: a node, a pod, a machine outside. Its
// methods take names where package net does: of Services, pods, nodes and
// machines, as the cluster's DNS and the lab know them.
type Machine struct {
	lab       *Lab
	name      string
	stack     *stack.Host
	addr      netip.Addr
	plugs     []plug // into segments of the underlay; none for a pod
	off       bool   // a node that is switched off
	unplugged bool   // the cable was pulled
	client    sync.Once
	http      *http.Client
}

// Name returns the machine's name; a pod's begins with its namespace.
func (m *Machine) Name() string { return m.name }

// Lab returns the lab that the machine is part of.
func (m *Machine) Lab() *Lab { return m.lab }

// Addr returns the machine's own address: a node's on the underlay, a pod's IP.
func (m *Machine) Addr() netip.Addr { return m.addr }

// Stack returns the machine's network namespace, for looking at its tables.
// They are guarded by the driver's lock: use them inside Lab.Driver().Do.
func (m *Machine) Stack() *stack.Host { return m.stack }

// Cable returns the cable to the underlay's switch, a router's first, nil for a
// pod. A is the machine's end. It is guarded by the driver's lock.
func (m *Machine) Cable() *link.Wire {
	if len(m.plugs) == 0 {
		return nil
	}
	return m.plugs[0].cable
}

// CableTo returns the cable to a segment, or nil.
func (m *Machine) CableTo(segment string) *link.Wire {
	for _, p := range m.plugs {
		if p.segment.Name == segment {
			return p.cable
		}
	}
	return nil
}

// Dial connects like net.Dial. Network is tcp, tcp4, udp or udp4.
func (m *Machine) Dial(network, address string) (net.Conn, error) {
	return m.DialContext(context.Background(), network, address)
}

// DialContext connects like net.Dialer.DialContext.
func (m *Machine) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if host != "" {
		a, err := m.lab.Resolve(host)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		address = net.JoinHostPort(a.String(), port)
	}
	m.lab.syncRules()
	return m.stack.DialContext(ctx, network, address)
}

// Listen listens like net.Listen. Network is tcp or tcp4; the host part is one
// of the machine's addresses, or empty for all.
func (m *Machine) Listen(network, address string) (net.Listener, error) {
	return m.stack.Listen(network, address)
}

// ListenPacket opens a UDP socket like net.ListenPacket.
func (m *Machine) ListenPacket(network, address string) (net.PacketConn, error) {
	m.lab.syncRules()
	return m.stack.ListenPacket(network, address)
}

// HTTPClient returns the machine's HTTP client: connections and names are the
// lab's. It keeps connections open between requests, as http.DefaultClient does.
func (m *Machine) HTTPClient() *http.Client {
	m.client.Do(func() {
		m.http = &http.Client{Transport: &http.Transport{DialContext: m.DialContext}}
	})
	return m.http
}

// close ends the machine's sockets.
func (m *Machine) close() {
	m.HTTPClient().CloseIdleConnections()
	m.stack.Close()
}

// Ping sends one echo request of 56 bytes and waits for the answer, at most
// for the timeout. The reply may be an ICMP error: see stack.PingReply.Err.
func (m *Machine) Ping(to string, timeout time.Duration) (stack.PingReply, error) {
	return m.PingWith(to, stack.PingConfig{}, timeout)
}

// PingWith is Ping with settings.
func (m *Machine) PingWith(to string, cfg stack.PingConfig, timeout time.Duration) (stack.PingReply, error) {
	a, err := m.lab.Resolve(to)
	if err != nil {
		return stack.PingReply{}, &net.OpError{Op: "ping", Net: "ip", Err: err}
	}
	m.lab.syncRules()
	c, err := m.stack.OpenPing(cfg)
	if err != nil {
		return stack.PingReply{}, err
	}
	defer c.Close()
	return c.Ping(a, 1, timeout)
}

// A Hop is one line of a traceroute: who answered, the zero value for nobody.
type Hop struct {
	Addr netip.Addr
	RTT  time.Duration
}

// Traceroute sends echo requests with growing TTL until the destination
// answers, at most maxHops, waiting for each as long as the timeout says. It is
// `traceroute -I -q 1 -N 1`.
func (m *Machine) Traceroute(to string, maxHops int, timeout time.Duration) ([]Hop, error) {
	list, err := m.TracerouteWith(to, stack.TraceConfig{Method: stack.TraceICMP, MaxHops: maxHops, Wait: timeout, Queries: 1, Parallel: 1, Size: 84})
	var hops []Hop
	for _, h := range list {
		hops = append(hops, Hop{Addr: h.Probes[0].From, RTT: h.Probes[0].RTT})
	}
	return hops, err
}

// TracerouteWith is a traceroute as the configuration says.
func (m *Machine) TracerouteWith(to string, cfg stack.TraceConfig) ([]stack.TraceHop, error) {
	a, err := m.lab.Resolve(to)
	if err != nil {
		return nil, &net.OpError{Op: "traceroute", Net: "ip", Err: err}
	}
	m.lab.syncRules()
	return m.stack.Traceroute(a, cfg)
}

// OpenPing returns a socket for echo requests.
func (m *Machine) OpenPing(cfg stack.PingConfig) (*stack.PingConn, error) {
	m.lab.syncRules()
	return m.stack.OpenPing(cfg)
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
	if m == nil {
		return netip.Addr{}
	}
	return m.addr
}

// firstReady returns the first ready endpoint of a headless Service.
func (l *Lab) firstReady(namespace, name string) netip.Addr {
	for _, port := range l.cluster.Endpoints(namespace, name) {
		for _, e := range port.Endpoints {
			if e.Ready {
				return e.Addr.Addr()
			}
		}
	}
	return netip.Addr{}
}

// serviceAddr returns the cluster IP of a Service, or what stands in for it.
// The caller holds the lock.
func (l *Lab) serviceAddr(name string, depth int) netip.Addr {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "."), ".svc.cluster.local")
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
		return netip.Addr{}
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return l.lookup(s.Spec.ExternalName, depth+1)
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		return l.firstReady(s.Namespace, s.Name)
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

// TCPSettings names the settings of every TCP connection of a lab, for reports.
const TCPSettings = "gVisor " + stack.GVisorVersion + ", CUBIC, SACK, no RACK, receive buffer up to 6 MiB, send buffer 1 MiB"
