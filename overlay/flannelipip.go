package overlay

import "github.com/podwire/podwire/stack"

// FlannelIPIP is flannel with the ipip backend: packets to other nodes' pods are
// routed into flannel.ipip by way of the other node's address, which becomes
// the outer destination. 20 bytes of overhead, but only IPv4 unicast, and TTL
// and DF of the pods show outside.
var FlannelIPIP = Design{
	Name:     "flannel-ipip",
	Summary:  "flannel, ipip backend: IP in IP (protocol 4) between nodes, TTL and DF inherited",
	Overhead: IPIPOverhead,
	New:      newFlannel(startIPIP(false)),
}

// FlannelIPIPDirectRouting is FlannelIPIP with DirectRouting: nodes on one link
// use plain routes.
var FlannelIPIPDirectRouting = Design{
	Name:     "flannel-ipip-directrouting",
	Summary:  "flannel, ipip backend with DirectRouting: plain routes to nodes on the same link, IP in IP to others",
	Overhead: IPIPOverhead,
	New:      newFlannel(startIPIP(true)),
}

// flannelIPIP is flannel's ipip backend on one node.
type flannelIPIP struct {
	node   *Node
	tunnel *IPIP
	direct bool // DirectRouting
}

func startIPIP(direct bool) func(*Node, Network) (flannelBackend, error) {
	return func(n *Node, _ Network) (flannelBackend, error) {
		t, err := NewIPIP(n.Host, IPIPConfig{Name: "flannel.ipip", MTU: n.Uplink.MTU - IPIPOverhead, Local: n.Addr})
		if err != nil {
			return nil, err
		}
		return &flannelIPIP{node: n, tunnel: t, direct: direct}, t.Device.AddAddr(gatewayAddr(n))
	}
}

func (b *flannelIPIP) mtu() int            { return b.tunnel.Device.MTU }
func (b *flannelIPIP) lease() flannelLease { return leaseOf(b.node) }

// add routes a node's pods by way of the node. DirectRouting changes nothing
// but the device.
func (b *flannelIPIP) add(l flannelLease) error {
	return b.node.Host.ReplaceRoute(stack.Route{Dst: l.subnet, Via: l.publicIP, Dev: b.dev(l), Onlink: true})
}

func (b *flannelIPIP) remove(l flannelLease) error {
	return removeSubnetRoute(b.node, l.subnet, b.dev(l))
}

func (b *flannelIPIP) dev(l flannelLease) *stack.Device {
	if b.direct && adjacent(b.node, l.publicIP) {
		return b.node.Uplink
	}
	return b.tunnel.Device
}
