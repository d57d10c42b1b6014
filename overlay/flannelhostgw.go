package overlay

import (
	"fmt"

	"github.com/podwire/podwire/stack"
)

// FlannelHostGW is flannel with the host-gw backend: every node has a plain
// route to every other node's pods, with that node as the next hop. There is no
// tunnel and no overhead, but all nodes must be on one link: a router between
// them knows nothing of pods.
var FlannelHostGW = Design{
	Name:    "flannel-host-gw",
	Summary: "flannel, host-gw backend: plain routes by way of the other nodes, which must be on one link",
	New:     newFlannel(startHostGW),
}

// flannelHostGW is flannel's host-gw backend on one node. The daemon also looks
// every ten seconds whether its routes are still there; nobody removes them
// here.
type flannelHostGW struct{ node *Node }

func startHostGW(n *Node, _ Network) (flannelBackend, error) { return &flannelHostGW{n}, nil }

func (b *flannelHostGW) mtu() int            { return b.node.Uplink.MTU }
func (b *flannelHostGW) lease() flannelLease { return leaseOf(b.node) }

// add adds the route. To a node behind a router there is none, as the kernel
// says too ("Nexthop has invalid gateway"): its pods stay out of reach.
func (b *flannelHostGW) add(l flannelLease) error {
	n := b.node
	if !adjacent(n, l.publicIP) {
		return fmt.Errorf("overlay: flannel-host-gw: %s cannot reach the pods %v: their node %v is not on the link of %s (%v), "+
			"want all nodes on one link, or a design with a tunnel", n.Name, l.subnet, l.publicIP, n.Uplink.Name, n.Uplink.Addrs())
	}
	return n.Host.ReplaceRoute(stack.Route{Dst: l.subnet, Via: l.publicIP, Dev: n.Uplink})
}

func (b *flannelHostGW) remove(l flannelLease) error {
	if !adjacent(b.node, l.publicIP) {
		return nil // there was no route
	}
	return removeSubnetRoute(b.node, l.subnet, b.node.Uplink)
}
