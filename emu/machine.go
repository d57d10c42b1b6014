package emu

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

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
	ownProxy  bool   // rules of a real kube-proxy were loaded
	unplugged bool   // the cable was pulled
	client    sync.Once
	http      *http.Client
	pod       *Pod       // nil for a node or a machine outside
	birds     []*bird    // BGP speakers, of which one runs
	queries   *rand.Rand // numbers of DNS queries, made when first used
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
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "invalid port", Addr: address}}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	addrs, err := m.LookupContext(ctx, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for _, a := range addrs {
		c, err := m.dial(ctx, network, netip.AddrPortFrom(a, uint16(number)))
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// Listen listens like net.Listen. Network is tcp or tcp4; the host part is one
// of the machine's addresses, or empty for all.
func (m *Machine) Listen(network, address string) (net.Listener, error) {
	return m.stack.Listen(network, address)
}

// ListenPacket opens a UDP socket like net.ListenPacket.
func (m *Machine) ListenPacket(network, address string) (net.PacketConn, error) {
	m.lab.syncRules()
	c, err := m.stack.ListenPacket(network, address)
	if err == nil && m.lab.cfg.Proxy == ProxySocket {
		return &balancedPacketConn{c, m, make(map[netip.AddrPort]netip.AddrPort)}, nil
	}
	return c, err
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
	m.lab.drv.Do(m.endBirds)
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
	a, err := m.Lookup(to)
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
	a, err := m.Lookup(to)
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

// TCPSettings names the settings of every TCP connection of a lab, for reports. In
// real time congestion avoidance is gVisor's own, and grows less than RFC 9438's.
func TCPSettings(virtual bool) string {
	cubic := "CUBIC"
	if !virtual {
		cubic = "its own CUBIC"
	}
	return "gVisor " + stack.GVisorVersion + ", " + cubic + ", SACK, no RACK, receive buffer up to 6 MiB, send buffer 1 MiB"
}
