package overlay

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/netfilter"
)

// FlannelVXLAN is flannel with its default backend: each node's pods hang on
// cni0, and between nodes their packets are routed into flannel.1, a VXLAN
// device whose neighbours and FDB flanneld fills in. Nothing is learned, no
// ARP crosses the underlay.
var FlannelVXLAN = Design{
	Name:     "flannel-vxlan",
	Summary:  "flannel, VXLAN backend: routed per node, VNI 1 over UDP 8472, permanent neighbours and FDB",
	Overhead: VXLANOverhead,
	New: func(n Network) CNI {
		return &flannelVXLAN{network: n, nodes: make(map[*Node]*flannelNode)}
	},
}

const (
	flannelVNI  = 1
	flannelPort = 8472 // the kernel's default, from before IANA gave out 4789
)

type flannelVXLAN struct {
	network Network
	order   []*flannelNode
	nodes   map[*Node]*flannelNode
}

// flannelNode is one flanneld with its lease: podCIDR, public IP, VTEP MAC.
type flannelNode struct {
	*Node
	vtep *VXLAN
	pods *bridgeCNI
}

// vtepAddr is flannel.1's address: the network address of the podCIDR.
func (n *flannelNode) vtepAddr() netip.Addr { return n.PodCIDR.Masked().Addr() }

// AddNode implements CNI.
func (c *flannelVXLAN) AddNode(n *Node) error {
	mtu := n.Uplink.MTU - VXLANOverhead
	vtep, err := NewVXLAN(n.Host, VXLANConfig{
		Name: fmt.Sprintf("flannel.%d", flannelVNI), MAC: link.LocalMAC(n.Host.Rand("flannel.1").Uint64()),
		MTU: mtu, VNI: flannelVNI, Local: n.Addr, Port: flannelPort,
	})
	if err != nil {
		return err
	}
	f := &flannelNode{Node: n, vtep: vtep, pods: newBridgeCNI(n, mtu, c.network.PodCIDR)}
	if err := vtep.Device.AddAddr(netip.PrefixFrom(f.vtepAddr(), 32)); err != nil {
		return err
	}
	for _, o := range c.order {
		if err := o.addLease(f); err != nil {
			return err
		}
		if err := f.addLease(o); err != nil {
			return err
		}
	}
	c.order = append(c.order, f)
	c.nodes[n] = f
	if err := n.Host.Netfilter().Restore(c.rules(n), netfilter.RestoreOptions{NoFlush: true}); err != nil {
		return err
	}
	n.Host.RulesChanged()
	return nil
}

// addLease is what flanneld does when it hears of another node: neighbour,
// FDB, and the route last, so that no packet finds a route without the rest.
func (n *flannelNode) addLease(o *flannelNode) error {
	if err := n.Host.SetNeighbour(n.vtep.Device, o.vtepAddr(), o.vtep.Device.MAC); err != nil {
		return err
	}
	n.vtep.AddFDB(o.vtep.Device.MAC, o.Addr)
	return n.Host.AddRoute(stack.Route{Dst: o.PodCIDR, Via: o.vtepAddr(), Dev: n.vtep.Device, Onlink: true})
}

// AddPod implements CNI.
func (c *flannelVXLAN) AddPod(n *Node, pod *Pod) (PodNet, error) {
	f := c.nodes[n]
	if f == nil {
		return PodNet{}, fmt.Errorf("overlay: flannel: node %s was not added", n.Name)
	}
	return f.pods.add(pod.Host)
}

// RemovePod implements CNI.
func (c *flannelVXLAN) RemovePod(n *Node, pod *Pod) error {
	f := c.nodes[n]
	if f == nil {
		return fmt.Errorf("overlay: flannel: node %s was not added", n.Name)
	}
	return f.pods.remove(pod.Host)
}

// rules are the masquerade and forward chains that flanneld keeps, in its
// order: marked packets are kube-proxy's business; traffic between pods and
// from outside to local pods keeps its source; pods to the world, and the
// world to remote pods, are masqueraded.
func (c *flannelVXLAN) rules(n *Node) string {
	const masq = `-m comment --comment "flanneld masq"`
	const fwd = `-m comment --comment "flanneld forward"`
	cluster, pods := c.network.PodCIDR, n.PodCIDR
	return fmt.Sprintf(`*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING %[1]s -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 %[1]s -j RETURN
-A FLANNEL-POSTRTG -s %[3]v -d %[2]v %[1]s -j RETURN
-A FLANNEL-POSTRTG -s %[2]v -d %[3]v %[1]s -j RETURN
-A FLANNEL-POSTRTG ! -s %[2]v -d %[3]v %[1]s -j RETURN
-A FLANNEL-POSTRTG -s %[2]v ! -d 224.0.0.0/4 %[1]s -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s %[2]v -d %[2]v %[1]s -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD %[4]s -j FLANNEL-FWD
-A FLANNEL-FWD -s %[2]v %[4]s -j ACCEPT
-A FLANNEL-FWD -d %[2]v %[4]s -j ACCEPT
COMMIT
`, masq, cluster, pods, fwd)
}
