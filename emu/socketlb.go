package emu

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/stack"
)

// Proxy modes, for Config.Proxy.
const (
	// ProxyIPTables is kube-proxy's iptables mode: every packet passes the rules.
	ProxyIPTables = "iptables"
	// ProxyIPVS is kube-proxy's ipvs mode: the kernel's load balancer IPVS chooses
	// the endpoint, by Config.IPVSScheduler. The addresses of Services are the
	// node's own, on its device kube-ipvs0; packets to them pass INPUT, and from
	// there OUTPUT and POSTROUTING.
	ProxyIPVS = "ipvs"
	// ProxyNFTables is kube-proxy's nftables mode: one table, in which maps find the
	// Service whatever their number. Node ports answer at the node's primary address
	// alone, ports that a cluster IP does not have are refused, and addresses of the
	// service CIDR that nobody has lead nowhere.
	ProxyNFTables = "nftables"
	// ProxySocket balances the sockets of pods and nodes when they connect or
	// send, as Cilium does with socketLB.enabled beside kube-proxy: no packet ever
	// carries a cluster IP. What comes from outside the cluster, and what is not TCP
	// or UDP, meets kube-proxy's rules.
	ProxySocket = "socket"
)

// ProxyModes returns the values of Config.Proxy, the default first.
func ProxyModes() []string { return []string{ProxyIPTables, ProxyIPVS, ProxyNFTables, ProxySocket} }

func (c *Config) checkProxy() error {
	if !slices.Contains(ProxyModes(), c.Proxy) {
		return fmt.Errorf("emu: proxy %q is not known, want one of %s", c.Proxy, strings.Join(ProxyModes(), ", "))
	}
	return c.checkScheduler()
}

// socketLB is the load balancer of all sockets in the cluster.
type socketLB struct {
	sockets *kube.Sockets // as of the last sync
	rng     *rand.Rand
	sticky  map[stickyKey]stickyTo
}

// stickyKey is a client, which is a network namespace, and the Service that it
// sticks to.
type stickyKey struct {
	client  *Machine
	service string
}

type stickyTo struct {
	endpoint netip.AddrPort
	last     time.Duration
}

// syncSockets takes a new picture of the Services. The caller holds the lock.
func (l *Lab) syncSockets() {
	if l.cfg.Proxy != ProxySocket {
		return
	}
	if l.sockets == nil {
		l.sockets = &socketLB{rng: rand.New(rand.NewPCG(l.cfg.Seed, 2)), sticky: make(map[stickyKey]stickyTo)}
	}
	l.sockets.sockets = l.cluster.Sockets()
	maps.DeleteFunc(l.sockets.sticky, func(k stickyKey, _ stickyTo) bool { return l.machines[k.client.name] != k.client })
}

// endpointFor returns where a socket of the machine really goes that is to talk to
// an address: an endpoint if the address is a Service's, else the address. With
// nobody behind the Service the error is the one that connect(2) returns.
func (m *Machine) endpointFor(network string, to netip.AddrPort) (netip.AddrPort, error) {
	at := to
	var err error
	m.lab.drv.Do(func() {
		node := m.clusterNode()
		if m.lab.sockets == nil || node == nil {
			return
		}
		protocol := corev1.ProtocolTCP
		if strings.HasPrefix(network, "udp") {
			protocol = corev1.ProtocolUDP
		}
		c, found := m.lab.sockets.sockets.Find(node.name, to, protocol, m.isNodeAddr(to.Addr()))
		switch {
		case !found:
		case len(c.Endpoints) == 0:
			err = os.NewSyscallError("connect", syscall.EHOSTUNREACH)
		default:
			at = m.lab.sockets.choose(m, c, m.lab.drv.Now())
		}
	})
	return at, err
}

// clusterNode returns the node whose sockets are the machine's; nil for a machine
// outside. The caller holds the lock.
func (m *Machine) clusterNode() *Node {
	if m.pod != nil {
		return m.pod.node
	}
	for _, n := range m.lab.nodes {
		if &n.Machine == m {
			return n
		}
	}
	return nil
}

// isNodeAddr reports whether node ports answer at an address: any node's, and for
// a node its own loopback.
func (m *Machine) isNodeAddr(a netip.Addr) bool {
	if a.IsLoopback() {
		return m.pod == nil
	}
	o := m.lab.addrs[a]
	return o != nil && o.clusterNode() != nil && o.pod == nil
}

// choose picks an endpoint at random, or the one that the client had last.
func (b *socketLB) choose(m *Machine, c kube.Choice, now time.Duration) netip.AddrPort {
	if c.Affinity == 0 {
		return c.Endpoints[b.rng.IntN(len(c.Endpoints))]
	}
	key := stickyKey{m, c.Service}
	s, ok := b.sticky[key]
	if !ok || now-s.last > c.Affinity || !slices.Contains(c.Endpoints, s.endpoint) {
		s.endpoint = c.Endpoints[b.rng.IntN(len(c.Endpoints))]
	}
	s.last = now
	b.sticky[key] = s
	return s.endpoint
}

// dial connects to an address, or to an endpoint of the Service that has it.
func (m *Machine) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	m.lab.syncRules()
	at, err := m.endpointFor(network, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: socketAddr(network, to), Err: err}
	}
	c, err := m.stack.DialContext(ctx, network, at.String())
	if conn, ok := c.(*stack.Conn); ok && at != to {
		return balancedConn{conn, socketAddr(network, to)}, err
	}
	return c, err
}

func socketAddr(network string, a netip.AddrPort) net.Addr {
	if strings.HasPrefix(network, "udp") {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// balancedConn is a connection that was sent to an endpoint. To its program it is
// connected to the Service, as getpeername(2) says.
type balancedConn struct {
	*stack.Conn
	remote net.Addr
}

// RemoteAddr implements net.Conn.
func (c balancedConn) RemoteAddr() net.Addr { return c.remote }

// balancedPacketConn is a UDP socket whose datagrams to Services go to endpoints,
// each to one chosen for it, and whose answers seem to come from the Service.
type balancedPacketConn struct {
	net.PacketConn
	m    *Machine
	back map[netip.AddrPort]netip.AddrPort // endpoint to frontend; guarded by the driver's lock
}

// WriteTo implements net.PacketConn.
func (c *balancedPacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if addr == nil {
		return c.PacketConn.WriteTo(b, addr)
	}
	to, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return c.PacketConn.WriteTo(b, addr)
	}
	c.m.lab.syncRules()
	at, err := c.m.endpointFor("udp", to)
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: addr, Err: err}
	}
	if at != to {
		c.m.lab.drv.Do(func() { c.back[at] = to })
	}
	return c.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(at))
}

// ReadFrom implements net.PacketConn.
func (c *balancedPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err != nil {
		return n, from, err
	}
	if at, perr := netip.ParseAddrPort(from.String()); perr == nil {
		c.m.lab.drv.Do(func() {
			if front, ok := c.back[at]; ok {
				from = net.UDPAddrFromAddrPort(front)
			}
		})
	}
	return n, from, nil
}
