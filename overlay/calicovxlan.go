package overlay

import (
	"crypto/sha1"
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// CalicoVXLAN is Calico with vxlanMode Always. Pods have no bridge: every node
// routes to each of its own pods, and to the blocks of the others through
// vxlan.calico, whose neighbours and FDB Felix fills in. No BGP is spoken.
var CalicoVXLAN = Design{
	Name:     "calico-vxlan",
	Summary:  "Calico, vxlanMode Always: routed pods without a bridge, VNI 4096 over UDP 4789, blocks routed by Felix",
	Overhead: VXLANOverhead,
	New:      newCalico(calicoMode{tunnel: startCalicoVXLAN}),
}

// CalicoVXLANCrossSubnet is CalicoVXLAN with vxlanMode CrossSubnet: nodes in one
// subnet reach each other's pods by plain routes, only those of others are
// tunnelled to. Pods keep the MTU of the tunnel.
var CalicoVXLANCrossSubnet = Design{
	Name:     "calico-vxlan-crosssubnet",
	Summary:  "Calico, vxlanMode CrossSubnet: plain routes within a subnet, VXLAN between subnets",
	Overhead: VXLANOverhead,
	New:      newCalico(calicoMode{tunnel: startCalicoVXLAN, crossSubnet: true}),
}

const (
	calicoVNI  = 4096
	calicoPort = 4789
)

type calicoVXLAN struct {
	node *Node
	vtep *VXLAN
}

func startCalicoVXLAN(n *Node) (calicoTunnel, error) {
	vtep, err := NewVXLAN(n.Host, VXLANConfig{
		Name: "vxlan.calico", MAC: vtepMAC(n.Name), MTU: n.Uplink.MTU - VXLANOverhead, VNI: calicoVNI, Local: n.Addr, Port: calicoPort,
	})
	if err != nil {
		return nil, err
	}
	return &calicoVXLAN{n, vtep}, nil
}

// vtepMAC is the address of a node's VTEP: 66: and five bytes of the SHA-1 of
// the node's name, so that it is known to all.
func vtepMAC(node string) link.MAC {
	sum := sha1.Sum([]byte(node))
	return link.MAC{0x66, sum[0], sum[1], sum[2], sum[3], sum[4]}
}

func (t *calicoVXLAN) device() *stack.Device { return t.vtep.Device }

func (t *calicoVXLAN) nextHop(o *calicoNode) netip.Addr { return o.tunnelAddr }

func (t *calicoVXLAN) meet(o *calicoNode) error {
	mac := o.tunnel.device().MAC
	t.vtep.AddFDB(mac, o.Addr)
	return t.node.Host.SetNeighbour(t.vtep.Device, o.tunnelAddr, mac)
}

func (t *calicoVXLAN) part(o *calicoNode) error {
	t.vtep.RemoveFDB(o.tunnel.device().MAC)
	if !t.node.Host.RemoveNeighbour(t.vtep.Device, o.tunnelAddr) {
		return fmt.Errorf("overlay: calico: %s has no neighbour %v on %s", t.node.Name, o.tunnelAddr, t.vtep.Device.Name)
	}
	return nil
}

func (t *calicoVXLAN) rules() calicoTunnelRules {
	return calicoTunnelRules{
		set: "cali40all-vxlan-net", setType: "hash:net", device: t.vtep.Device.Name,
		input: `-A cali-INPUT -p udp -m comment --comment "Allow IPv4 VXLAN packets from allowed hosts" -m multiport --dports 4789 -m set --match-set cali40all-vxlan-net src -m addrtype --dst-type LOCAL -j ACCEPT
-A cali-INPUT -p udp -m comment --comment "Drop IPv4 VXLAN packets from non-allowed hosts" -m multiport --dports 4789 -m addrtype --dst-type LOCAL -j DROP
`,
		output: `-A cali-OUTPUT -p udp -m comment --comment "Allow IPv4 VXLAN packets to other allowed hosts" -m multiport --dports 4789 -m addrtype --src-type LOCAL -m set --match-set cali40all-vxlan-net dst -j ACCEPT
`,
	}
}
