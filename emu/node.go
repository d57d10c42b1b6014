package emu

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/conntrack"
)

// A Node is a machine of the cluster: it forwards, runs kube-proxy, and holds
// pods.
type Node struct {
	Machine
	overlay overlay.Node
	proxy   *kube.Proxy
	index   int
	rules   uint64 // hash of what kube-proxy loaded last
	health  healthServer
	ipvs    *nodeIPVS     // nil unless kube-proxy is in ipvs mode
	lost    time.Duration // when it was cut off last
	cpu     *stack.CPU    // nil without a CPU model

	controlPlane bool // by its label: the API server's endpoints are here
}

// NodeConfig describes a node. The zero value is the next node of the lab.
type NodeConfig struct {
	Name    string           // if empty, "node" and its number
	Segment string           // of the underlay; if empty, the one of Addr, else the first
	Addr    netip.Addr       // on the segment; if zero, .10 plus its number
	PodCIDR netip.Prefix     // if zero, the /24 of its number in the cluster CIDR; docker-bridge has none
	Cable   *link.WireConfig // nil for the segment's own kind
	Routes  []Route          // besides the default route to the segment's gateway

	// Labels of the Node object. topology.kubernetes.io/zone is the zone that
	// spec.trafficDistribution of Services prefers; the nodes that have
	// node-role.kubernetes.io/control-plane are the endpoints of default/kubernetes.
	Labels map[string]string
}

// PodCIDR returns the node's part of the cluster CIDR.
func (n *Node) PodCIDR() netip.Prefix { return n.overlay.PodCIDR }

// AddNode adds a node and lets the design set it up.
func (l *Lab) AddNode(cfg NodeConfig) (*Node, error) {
	n := &Node{}
	var err error
	l.drv.Do(func() { err = l.addNode(n, cfg) })
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (l *Lab) addNode(n *Node, cfg NodeConfig) error {
	n.index = l.numbered + 1
	s, err := l.segmentFor(cfg.Segment, cfg.Addr)
	if err != nil {
		return fmt.Errorf("emu: node %d: %w", n.index, err)
	}
	if err := l.nodeDefaults(n, s, &cfg); err != nil {
		return err
	}
	machine, err := withSysctls(l.nodeKernel(), l.cfg.Sysctls)
	if err != nil {
		return err
	}
	_, n.controlPlane = cfg.Labels[labelControlPlane]
	n.cpu = l.newCPU()
	machine.CPU = n.cpu
	if err := l.attach(&n.Machine, cfg.Name, s, cfg.Addr, cfg.Cable, machine); err != nil {
		return err
	}
	if err := l.machineRoutes(&n.Machine, cfg.Routes); err != nil {
		return err
	}
	n.overlay = overlay.Node{Name: cfg.Name, Host: n.stack, Uplink: n.stack.Device("eth0"), Addr: cfg.Addr, PodCIDR: cfg.PodCIDR}
	if !l.design.Standalone {
		if err := l.startProxy(n); err != nil {
			return err
		}
	}
	if err := l.cni.AddNode(&n.overlay); err != nil {
		return err
	}
	if err := l.peerWithRouters(n); err != nil {
		return err
	}
	l.numbered++
	l.nodes = append(l.nodes, n)
	l.setUp(n.stack)
	if len(l.cluster.Services()) > 0 {
		l.objectsChanged() // its zone is news to all, and it may have ports to open
	}
	return l.cluster.AddNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: cfg.Name, Labels: cfg.Labels}})
}

// races are the values of Config.ConntrackRace.
var races = map[string]conntrack.Race{"": conntrack.NoRace, "drop": conntrack.RaceDrop, "resolve": conntrack.RaceResolve}

// nodeKernel is the kernel of a node as kubelet and kube-proxy set it, or, on a
// host without Kubernetes, as dockerd does.
func (l *Lab) nodeKernel() stack.Config {
	if l.design.Standalone {
		return stack.Config{Forward: true}
	}
	timeouts := conntrack.Timeouts{TCPEstablished: kubeEstablished, TCPCloseWait: kubeCloseWait}
	return stack.Config{
		Forward: true, BridgeNetfilter: true,
		RouteLocalnet: l.cfg.Proxy == ProxyIPTables || l.cfg.Proxy == ProxySocket, // for node ports on 127.0.0.1
		Conntrack:     conntrack.Config{Timeouts: timeouts, Race: races[l.cfg.ConntrackRace]},
	}
}

// nodeDefaults fills in what cfg leaves open and refuses what clashes.
func (l *Lab) nodeDefaults(n *Node, s *segment, cfg *NodeConfig) error {
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("node%d", n.index)
	}
	if !cfg.Addr.IsValid() {
		cfg.Addr = addTo(s.Subnet.Addr(), uint32(10+n.index))
	}
	if l.design.Standalone {
		if cfg.PodCIDR.IsValid() {
			return fmt.Errorf("emu: %s: podCIDR %v: nodes of %s have none", cfg.Name, cfg.PodCIDR, l.design.Name)
		}
		return nil
	}
	if !cfg.PodCIDR.IsValid() {
		cfg.PodCIDR = netip.PrefixFrom(addTo(l.cfg.PodCIDR.Addr(), uint32(n.index)<<8), 24)
	}
	cfg.PodCIDR = cfg.PodCIDR.Masked()
	return l.checkPodCIDR(cfg.Name, cfg.PodCIDR)
}

// addTo returns the IPv4 address n after a.
func addTo(a netip.Addr, n uint32) netip.Addr {
	b := a.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += n
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}
