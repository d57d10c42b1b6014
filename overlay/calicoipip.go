package overlay

import (
	"net/netip"

	"github.com/podwire/podwire/stack"
)

// CalicoIPIP is Calico with ipipMode Always: packets to other nodes' blocks are
// routed into tunl0 by way of the other node's address, which becomes the outer
// destination. The routes are BIRD's, as in a full mesh of BGP sessions; newer
// releases of Calico can have Felix program them (programClusterRoutes).
var CalicoIPIP = Design{
	Name:     "calico-ipip",
	Summary:  "Calico, ipipMode Always: routed pods without a bridge, IP in IP by tunl0, blocks announced by BGP",
	Overhead: IPIPOverhead,
	BGP:      true,
	New:      newCalico(calicoMode{tunnel: startCalicoIPIP, bgp: true}),
}

// CalicoIPIPCrossSubnet is CalicoIPIP with ipipMode CrossSubnet: nodes in one
// subnet reach each other's pods by plain routes, only those of others are
// tunnelled to. Pods keep the MTU of the tunnel.
var CalicoIPIPCrossSubnet = Design{
	Name:     "calico-ipip-crosssubnet",
	Summary:  "Calico, ipipMode CrossSubnet: plain routes within a subnet, IP in IP between subnets",
	Overhead: IPIPOverhead,
	BGP:      true,
	New:      newCalico(calicoMode{tunnel: startCalicoIPIP, crossSubnet: true, bgp: true}),
}

// calicoIPIP is tunl0, the device that the kernel has of itself: no local and no
// remote end, so that a route's next hop is all there is to know of a node.
type calicoIPIP struct {
	tunnel *IPIP
}

func startCalicoIPIP(n *Node) (calicoTunnel, error) {
	t, err := NewIPIP(n.Host, IPIPConfig{Name: "tunl0", MTU: n.Uplink.MTU - IPIPOverhead})
	if err != nil {
		return nil, err
	}
	return &calicoIPIP{t}, nil
}

func (t *calicoIPIP) device() *stack.Device            { return t.tunnel.Device }
func (t *calicoIPIP) nextHop(o *calicoNode) netip.Addr { return o.Addr }
func (t *calicoIPIP) meet(*calicoNode) error           { return nil }
func (t *calicoIPIP) part(*calicoNode) error           { return nil }

func (t *calicoIPIP) rules() calicoTunnelRules {
	return calicoTunnelRules{
		set: "cali40all-hosts-net", setType: "hash:net", device: t.tunnel.Device.Name,
		input: `-A cali-INPUT -p ipencap -m comment --comment "Allow IPIP packets from Calico hosts" -m set --match-set cali40all-hosts-net src -m addrtype --dst-type LOCAL -j ACCEPT
-A cali-INPUT -p ipencap -m comment --comment "Drop IPIP packets from non-Calico hosts" -j DROP
`,
		output: `-A cali-OUTPUT -p ipencap -m comment --comment "Allow IPIP packets to other Calico hosts" -m set --match-set cali40all-hosts-net dst -m addrtype --src-type LOCAL -j ACCEPT
`,
	}
}
