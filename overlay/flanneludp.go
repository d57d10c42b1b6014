package overlay

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// FlannelUDP is flannel with the udp backend, its first: a process on every
// node reads packets from a TUN device and sends them to the other nodes'
// processes in UDP, without any header of its own.
var FlannelUDP = Design{
	Name:     "flannel-udp",
	Summary:  "flannel, udp backend: a process carries packets between a TUN device and UDP 8285, spending TTL twice",
	Overhead: udpOverhead,
	New:      newFlannel(startUDP),
}

const (
	flannelUDPPort = 8285
	udpOverhead    = ipv4Header + 8

	// DropProxyTTL is why flanneld drops what has come to the end of its TTL.
	// It tells nobody.
	DropProxyTTL link.Reason = "flannel-udp: TTL expired in flanneld"

	// DropProxyRoute is why it drops what no lease is for.
	DropProxyRoute link.Reason = "flannel-udp: no lease for the destination"

	// DropProxyShort is why it drops what is shorter than an IP header.
	DropProxyShort link.Reason = "flannel-udp: shorter than an IP header"
)

// flannelUDP is flannel's udp backend on one node: the daemon's proxy
// (proxy_amd64.c) with flannel0 on one side and a socket on the other.
type flannelUDP struct {
	node   *Node
	tun    *stack.Device
	routes []flannelLease
}

// startUDP makes flannel0. The whole cluster CIDR is routed into it: which node
// a packet is for, the proxy decides.
func startUDP(n *Node, net Network) (flannelBackend, error) {
	b := &flannelUDP{node: n}
	var err error
	b.tun, err = n.Host.AddDevice(stack.DeviceConfig{Name: "flannel0", Kind: "tun", MTU: n.Uplink.MTU - udpOverhead, TransmitIP: b.fromTUN})
	if err != nil {
		return nil, err
	}
	return b, errors.Join(
		b.tun.AddAddr(gatewayAddr(n)),
		addClusterRoute(n, net, b.tun),
		n.Host.BindTunnel(flannelUDPPort, b.fromSocket),
	)
}

func (b *flannelUDP) mtu() int            { return b.tun.MTU }
func (b *flannelUDP) lease() flannelLease { return leaseOf(b.node) }

// add tells the proxy of a route; the kernel's table stays as it is.
func (b *flannelUDP) add(l flannelLease) error {
	b.remove(l)
	b.routes = append(b.routes, l)
	return nil
}

func (b *flannelUDP) remove(l flannelLease) error {
	for i, r := range b.routes {
		if r.subnet == l.subnet {
			b.routes = append(b.routes[:i], b.routes[i+1:]...)
			break
		}
	}
	return nil
}

// fromTUN is tun_to_udp: what the kernel has routed into flannel0. The socket
// is an ordinary one: DF is set as long as the datagram fits.
func (b *flannelUDP) fromTUN(f *link.Frame, _ netip.Addr) {
	ip := f.Bytes()
	to, ok := b.route(netip.AddrFrom4([4]byte(ip[16:20])))
	if !ok {
		b.unreachable(f)
		b.tun.Point().Drop(f, DropProxyRoute)
		return
	}
	b.node.Host.Work(f, stack.WorkUserTunnel)
	if !b.spendTTL(f) {
		return
	}
	b.node.Host.SendTunnel(stack.Outer{
		Src: b.node.Addr, Dst: to, SrcPort: flannelUDPPort, DstPort: flannelUDPPort,
		DF: len(ip)+udpOverhead <= b.node.Host.PathMTU(to),
	}, f)
}

// route finds the node that has the pod.
func (b *flannelUDP) route(pod netip.Addr) (netip.Addr, bool) {
	for i, r := range b.routes {
		if r.subnet.Contains(pod) {
			// The proxy does the same: packets to one subnet come in bursts.
			b.routes[0], b.routes[i] = b.routes[i], b.routes[0]
			return r.publicIP, true
		}
	}
	return netip.Addr{}, false
}

// fromSocket is udp_to_tun: what another node's proxy has sent.
func (b *flannelUDP) fromSocket(_ stack.Outer, f *link.Frame) {
	if f.Len() < ipv4Header {
		b.tun.Point().Drop(f, DropProxyShort)
		return
	}
	b.node.Host.Work(f, stack.WorkUserTunnel)
	if b.spendTTL(f) {
		b.tun.Receive(f)
	}
}

// spendTTL takes one from the TTL. It reports false if nothing is left; the
// packet is then gone without a word.
func (b *flannelUDP) spendTTL(f *link.Frame) bool {
	ip := f.Bytes()
	old := binary.BigEndian.Uint16(ip[8:])
	if ip[8]--; ip[8] == 0 {
		b.tun.Point().Drop(f, DropProxyTTL)
		return false
	}
	stack.MendChecksum(ip[10:12], old, binary.BigEndian.Uint16(ip[8:]))
	return true
}

// unreachable is send_net_unreachable: "net unreachable" with a TTL of 8, written
// into flannel0 as if it had come from there. Its source is flannel0's own
// address, which the kernel does not accept from outside: it ends as a martian,
// and the pod never hears of it. There is none about ICMP and later fragments.
func (b *flannelUDP) unreachable(about *link.Frame) {
	const header, ttl = ipv4Header + 8, 8
	ip := about.Bytes()
	quote := int(ip[0]&15)*4 + 8
	if ip[9] == 1 || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 || quote > len(ip) {
		return
	}
	drv := b.node.Host.Driver()
	f := drv.NewFrame(header + quote)
	f.ID = drv.NewID()
	m := f.Bytes()
	clear(m[:header])
	m[0], m[8], m[9] = 0x45, ttl, 1
	binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
	src := gatewayAddr(b.node).Addr().As4()
	copy(m[12:], src[:])
	copy(m[16:], ip[12:16])
	binary.BigEndian.PutUint16(m[10:], ^stack.Checksum(m[:ipv4Header]))
	m[20] = icmpUnreachable // code 0: net
	copy(m[header:], ip[:quote])
	binary.BigEndian.PutUint16(m[22:], ^stack.Checksum(m[ipv4Header:]))
	b.tun.Receive(f)
}
