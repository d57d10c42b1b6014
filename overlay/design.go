package overlay

import (
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

// A Design is a named way to build a pod network.
type Design struct {
	Name     string // what the field calls it: "flannel-vxlan"
	Summary  string // one line
	Overhead int    // bytes between the underlay's MTU and the pod's

	// Standalone says that the nodes are hosts of their own, without Kubernetes:
	// no kube-proxy, hence no Services, and no part of a cluster CIDR.
	Standalone bool

	// BGP says that the nodes run BGP daemons: the CNI is a [Speaking].
	BGP bool

	// New starts the design on a network without nodes.
	New func(Network) CNI
}

// Network is what all nodes of a cluster share.
type Network struct {
	PodCIDR netip.Prefix // the cluster CIDR, of which each node has a part

	// Warn is told what a daemon on a node could not do and would write to its
	// log before it goes on, such as a route to a node that is out of reach. If
	// nil, it is an error of the call that led to it.
	Warn func(*Node, error)

	// BGP is for designs that speak it.
	BGP BGP

	// Speak runs a BGP daemon on a node: sockets are the lab's business. It completes
	// the configuration with the driver, a random source and Dial. Designs that speak
	// BGP need it.
	Speak func(*Node, bgp.Config) (*bgp.Speaker, error)
}

// failed passes what a node could not do to Warn, or returns it.
func (n Network) failed(node *Node, err error) error {
	if err == nil || n.Warn == nil {
		return err
	}
	n.Warn(node, err)
	return nil
}

// A CNI is a running design. Its methods want the driver's lock.
type CNI interface {
	// AddNode sets a node up and tells the others of it.
	AddNode(*Node) error

	// SetLease has the other nodes forget a node, or hear of it again: in
	// flannel its lease is deleted or comes back. The node itself runs on and
	// keeps what it knows of the others. No change is no error.
	SetLease(n *Node, held bool) error

	// RemoveNode is for a node that is gone: the others forget it for good. Its
	// pods were removed before.
	RemoveNode(*Node) error

	// AddPod plugs a pod's namespace into its node and gives it an address.
	AddPod(*Node, *Pod) (PodNet, error)

	// RemovePod unplugs it again and frees the address.
	RemovePod(*Node, *Pod) error
}

// A Node is a machine of the cluster, as a design sees it.
type Node struct {
	Name    string
	Host    *stack.Host
	Uplink  *stack.Device // the device on the underlay
	Addr    netip.Addr    // the node's address on it
	PodCIDR netip.Prefix  // the node's part of the cluster CIDR
}

// A Pod is a pod as a design sees it: a network namespace, and what the pod's
// object asks of the network.
type Pod struct {
	Namespace, Name string
	Host            *stack.Host
	Annotations     map[string]string // of the object; a design reads those that it knows
	HostPorts       []HostPort        // ports of the node that lead to the pod

	Addr netip.Addr // that the pod must get; if zero, the design's choice
	MAC  link.MAC   // of the pod's eth0; if zero, a random one
}

// mac returns what the pod asks for, or else the random one.
func (p *Pod) mac(random uint64) link.MAC {
	if p.MAC.IsZero() {
		return link.LocalMAC(random)
	}
	return p.MAC
}

// A HostPort is a port of a node that leads to a port of one of its pods:
// hostPort of a container in Kubernetes, `docker run -p`.
type HostPort struct {
	Proto    string     // "tcp" or "udp"
	HostIP   netip.Addr // address of the node; the zero value means all
	HostPort uint16
	PodPort  uint16
}

// PodNet is what a pod got.
type PodNet struct {
	Addr   netip.Addr
	Device *stack.Device // eth0 in the pod
	Peer   *stack.Device // its other end on the node

	// Proxies are the userland proxies that the node should run for the pod.
	Proxies []Proxy
}

// A Proxy is a process on a node that listens on one address and passes what
// comes on to another, as docker-proxy does. Sockets are the lab's business.
type Proxy struct {
	Proto  string // "tcp" or "udp"
	Listen netip.AddrPort
	Dial   netip.AddrPort
}

// designs is the list of all designs. A new one is one more line.
var designs = []Design{
	FlannelVXLAN,
	FlannelVXLANDirectRouting,
	FlannelHostGW,
	FlannelIPIP,
	FlannelIPIPDirectRouting,
	FlannelUDP,
	FlannelWireGuard,
	CalicoBGP,
	CalicoBGPRR,
	CalicoVXLAN,
	CalicoVXLANCrossSubnet,
	CalicoIPIP,
	CalicoIPIPCrossSubnet,
	DockerBridge,
}

// Designs returns all designs, in the order in which they are documented.
func Designs() []Design { return append([]Design(nil), designs...) }

// Find returns the design of that name.
func Find(name string) (Design, bool) {
	for _, d := range designs {
		if d.Name == name {
			return d, true
		}
	}
	return Design{}, false
}
