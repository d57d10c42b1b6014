package overlay

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// bridgeCNI is the bridge plugin with isDefaultGateway and hairpinMode, and
// host-local IPAM: what flannel delegates a node's own pods to.
type bridgeCNI struct {
	node *Node
	mtu  int
	ipam *hostLocal
	br   *stack.Device // cni0; made with the first pod
	pods map[*stack.Host]bridgedPod

	// extra are routes that pods get via the gateway besides the default.
	extra []netip.Prefix
}

type bridgedPod struct {
	net  PodNet
	port *link.BridgePort
}

func newBridgeCNI(n *Node, mtu int, extra ...netip.Prefix) *bridgeCNI {
	return &bridgeCNI{node: n, mtu: mtu, ipam: newHostLocal(n.PodCIDR), pods: make(map[*stack.Host]bridgedPod), extra: extra}
}

// bridge returns cni0, making it if this is the first pod: the gateway of the
// node's range.
func (c *bridgeCNI) bridge() (*stack.Device, error) {
	if c.br != nil {
		return c.br, nil
	}
	h := c.node.Host
	br, err := h.AddBridge("cni0", link.LocalMAC(h.Rand("cni0").Uint64()), c.mtu)
	if err != nil {
		return nil, err
	}
	c.br = br
	return br, br.AddAddr(netip.PrefixFrom(c.ipam.gateway, c.node.PodCIDR.Bits()))
}

// add plugs pod in.
func (c *bridgeCNI) add(pod *Pod) (PodNet, error) {
	br, err := c.bridge()
	if err != nil {
		return PodNet{}, err
	}
	addr := pod.Addr
	if addr.IsValid() {
		err = c.ipam.take(addr)
	} else {
		addr, err = c.ipam.next()
	}
	if err != nil {
		return PodNet{}, err
	}
	p, err := c.plug(br, pod, addr)
	if err != nil {
		c.ipam.free(addr)
		return PodNet{}, err
	}
	c.pods[pod.Host] = p
	return p.net, nil
}

// plug makes the veth pair and sets up both ends. The pod announces its
// address when its end comes up, as the plugin has it do with arp_notify.
func (c *bridgeCNI) plug(br *stack.Device, of *Pod, addr netip.Addr) (bridgedPod, error) {
	h, pod := c.node.Host, of.Host
	rng := pod.Rand("veth")
	name := fmt.Sprintf("veth%08x", rng.Uint32())
	inPod, onNode := h.Driver().NewVeth(pod.Name()+"/eth0", h.Name()+"/"+name)
	peer, port, err := h.AddBridgePort(br, name, link.LocalMAC(rng.Uint64()), c.mtu, onNode)
	if err != nil {
		return bridgedPod{}, err
	}
	port.Hairpin = true
	eth0, err := pod.AddEthernet("eth0", of.mac(rng.Uint64()), c.mtu, inPod)
	if err != nil {
		return bridgedPod{}, err
	}
	if err := eth0.AddAddr(netip.PrefixFrom(addr, c.node.PodCIDR.Bits())); err != nil {
		return bridgedPod{}, err
	}
	connected := netip.PrefixFrom(addr, c.node.PodCIDR.Bits()).Masked()
	for _, dst := range append([]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, c.extra...) {
		if dst == connected {
			continue // one node has the whole cluster CIDR
		}
		if err := pod.AddRoute(stack.Route{Dst: dst, Via: c.ipam.gateway, Dev: eth0}); err != nil {
			return bridgedPod{}, err
		}
	}
	h.Driver().Soon(eth0.Announce)
	return bridgedPod{PodNet{Addr: addr, Device: eth0, Peer: peer}, port}, nil
}

// remove unplugs pod and frees its address.
func (c *bridgeCNI) remove(pod *stack.Host) error {
	p, ok := c.pods[pod]
	if !ok {
		return fmt.Errorf("overlay: %s has no pod %s", c.node.Name, pod.Name())
	}
	delete(c.pods, pod)
	c.br.Bridge().RemovePort(p.port)
	p.net.Device.SetUp(false)
	c.ipam.free(p.net.Addr)
	return c.node.Host.RemoveDevice(p.net.Peer)
}
