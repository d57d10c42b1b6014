package overlay

import (
	"net/netip"

	"github.com/podwire/podwire/stack"
)

// A Design is a named way to build a pod network.
type Design struct {
	Name     string // what the field calls it: "flannel-vxlan"
	Summary  string // one line
	Overhead int    // bytes between the underlay's MTU and the pod's

	// New starts the design on a network without nodes.
	New func(Network) CNI
}

// Network is what all nodes of a cluster share.
type Network struct {
	PodCIDR netip.Prefix // the cluster CIDR, of which each node has a part
}

// A CNI is a running design. Its methods want the driver's lock.
type CNI interface {
	// AddNode sets a node up and tells the others of it.
	AddNode(*Node) error

	// AddPod plugs a pod's namespace into its node and gives it an address.
	AddPod(*Node, *stack.Host) (PodNet, error)

	// RemovePod unplugs it again and frees the address.
	RemovePod(*Node, *stack.Host) error
}

// A Node is a machine of the cluster, as a design sees it.
type Node struct {
	Name    string
	Host    *stack.Host
	Uplink  *stack.Device // the device on the underlay
	Addr    netip.Addr    // the node's address on it
	PodCIDR netip.Prefix  // the node's part of the cluster CIDR
}

// PodNet is what a pod got.
type PodNet struct {
	Addr   netip.Addr
	Device *stack.Device // eth0 in the pod
	Peer   *stack.Device // its other end on the node
}

// designs is the list of all designs. A new one is one more line.
var designs = []Design{
	FlannelVXLAN,
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
