package overlay

import (
	"crypto/sha1"
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/stack"
)

// calicoPod is a pod that is plugged in.
type calicoPod struct {
	net       PodNet
	namespace string
}

// workloadName is the name of the node's end of a pod's veth pair.
func workloadName(pod *Pod) string {
	return fmt.Sprintf("cali%x", sha1.Sum([]byte(pod.Namespace+"."+pod.Name)))[:15]
}

// workloadSysctls are what Felix sets on the node's end. The node answers ARP
// for whatever it has a route to, at once.
var workloadSysctls = []struct{ name, value string }{
	{"net.ipv4.conf.%s.route_localnet", "1"},
	{"net.ipv4.neigh.%s.proxy_delay", "0"},
	{"net.ipv4.conf.%s.proxy_arp", "1"},
	{"net.ipv4.conf.%s.forwarding", "1"},
}

// podMTU is that of the tunnel, or of the underlay if there is none.
func (n *calicoNode) podMTU() int {
	if n.tunnel == nil {
		return n.Uplink.MTU
	}
	return n.tunnel.device().MTU
}

// plug makes the veth pair. The pod has a /32 and nobody on its link but the
// node, whose end has no address; the node has a route for the pod alone.
func (n *calicoNode) plug(pod *Pod, addr netip.Addr) (calicoPod, error) {
	p := calicoPod{net: PodNet{Addr: addr}, namespace: pod.Namespace}
	name, mtu := workloadName(pod), n.podMTU()
	inPod, onNode := n.Host.Driver().NewVeth(pod.Host.Name()+"/eth0", n.Host.Name()+"/"+name)
	var err error
	if p.net.Peer, err = n.Host.AddEthernet(name, workloadMAC, mtu, onNode); err != nil {
		return p, err
	}
	for _, s := range workloadSysctls {
		if err := n.Host.SetSysctl(fmt.Sprintf(s.name, name), s.value); err != nil {
			return p, err
		}
	}
	if p.net.Device, err = pod.Host.AddEthernet("eth0", pod.mac(pod.Host.Rand("veth").Uint64()), mtu, inPod); err != nil {
		return p, err
	}
	if err := p.net.Device.AddAddr(netip.PrefixFrom(addr, 32)); err != nil {
		return p, err
	}
	for _, r := range []stack.Route{
		{Dst: netip.PrefixFrom(gatewayOfPods, 32), Dev: p.net.Device},
		{Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: gatewayOfPods, Dev: p.net.Device},
	} {
		if err := pod.Host.AddRoute(r); err != nil {
			return p, err
		}
	}
	return p, n.Host.AddRoute(stack.Route{Dst: netip.PrefixFrom(addr, 32), Dev: p.net.Peer, Proto: felix})
}
