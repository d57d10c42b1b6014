package overlay

import (
	"errors"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay/wireguard"
	"github.com/podwire/podwire/stack"
)

// FlannelWireGuard is flannel with the wireguard backend: the cluster CIDR is
// routed into flannel-wg, whose peers are the other nodes with their podCIDRs as
// allowed IPs. The first packet to a node waits for a handshake; if that node has
// begun one within the latency of the path, both are lost and the packet waits
// five seconds. The keys go into captures, so that Wireshark shows what is inside.
var FlannelWireGuard = Design{
	Name:     "flannel-wireguard",
	Summary:  "flannel, wireguard backend: encrypted between nodes over UDP 51820, a handshake before the first packet",
	Overhead: flannelWGOverhead,
	New:      newFlannel(startWireGuard),
}

const (
	flannelWGPort = 51820

	// flannelWGOverhead is what flannel takes from the MTU: enough for WireGuard
	// over IPv6, 20 more than IPv4 needs.
	flannelWGOverhead = 80
)

// flannelWireGuard is flannel's wireguard backend on one node.
type flannelWireGuard struct {
	node *Node
	dev  *stack.Device
	wg   *wireguard.Device
}

func startWireGuard(n *Node, net Network) (flannelBackend, error) {
	b := &flannelWireGuard{node: n}
	rng := n.Host.Rand("flannel-wg")
	mtu := n.Uplink.MTU - flannelWGOverhead
	var err error
	b.wg, err = wireguard.New(wireguard.Config{
		Driver: n.Host.Driver(), PrivateKey: wireguard.NewPrivateKey(rng), Rand: rng, MTU: mtu,
		Send: b.send, Outer: outerTOS, Deliver: b.deliver, Drop: b.drop,
		KeyLog: func(lines string) { n.Host.Driver().TellSecret(link.Secret{Kind: link.SecretWireGuard, Text: lines}) },
	})
	if err != nil {
		return nil, err
	}
	b.dev, err = n.Host.AddDevice(stack.DeviceConfig{Name: "flannel-wg", Kind: "wireguard", MTU: mtu, TransmitIP: b.transmit})
	if err != nil {
		return nil, err
	}
	return b, errors.Join(
		b.dev.AddAddr(gatewayAddr(n)),
		addClusterRoute(n, net, b.dev),
		n.Host.BindTunnel(flannelWGPort, func(o stack.Outer, f *link.Frame) {
			n.Host.Work(f, stack.WorkWireGuard)
			b.wg.Receive(netip.AddrPortFrom(o.Src, o.SrcPort), o.TOS, f)
		}),
	)
}

func (b *flannelWireGuard) mtu() int { return b.dev.MTU }

func (b *flannelWireGuard) lease() flannelLease {
	l := leaseOf(b.node)
	l.publicKey = b.wg.PublicKey()
	return l
}

// add makes the node a peer. The route to the whole cluster CIDR is there
// already: which peer a packet is for, its allowed IPs say.
func (b *flannelWireGuard) add(l flannelLease) error {
	return b.wg.AddPeer(wireguard.PeerConfig{
		PublicKey: l.publicKey, Endpoint: netip.AddrPortFrom(l.publicIP, flannelWGPort), AllowedIPs: []netip.Prefix{l.subnet},
	})
}

func (b *flannelWireGuard) remove(l flannelLease) error {
	if !b.wg.RemovePeer(l.publicKey) {
		return errors.New("overlay: flannel: " + b.node.Name + " has no peer " + l.publicKey.String())
	}
	return nil
}

// transmit encrypts a packet. To a destination that no peer has the kernel
// answers host unreachable (ENOKEY of wg_xmit).
func (b *flannelWireGuard) transmit(f *link.Frame, _ netip.Addr) {
	b.node.Host.Work(f, stack.WorkWireGuard)
	if !b.wg.Transmit(f) {
		b.node.Host.SendError(f, icmpUnreachable, icmpHostUnreachable, 0)
		b.drop(f, wireguard.DropNoPeer)
	}
}

// send puts a message into UDP. DF is clear: what does not fit is cut outside.
func (b *flannelWireGuard) send(to netip.AddrPort, tos byte, f *link.Frame) {
	b.node.Host.SendTunnel(stack.Outer{
		Dst: to.Addr(), SrcPort: flannelWGPort, DstPort: to.Port(), TOS: tos,
	}, f)
}

// deliver hands a packet to the host. A congestion mark from outside is carried
// in if the packet can have one; unlike other tunnels, WireGuard drops none for
// it.
func (b *flannelWireGuard) deliver(f *link.Frame, tos byte) {
	decapsulateECN(f.Bytes(), tos)
	b.dev.Receive(f)
}

func (b *flannelWireGuard) drop(f *link.Frame, why link.Reason) { b.dev.Point().Drop(f, why) }
