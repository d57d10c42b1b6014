package overlay

import (
	"errors"
	"fmt"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// FlannelVXLAN is flannel with its default backend: each node's pods hang on
// cni0, and between nodes their packets are routed into flannel.1, a VXLAN
// device whose neighbours and FDB flanneld fills in. Nothing is learned, no
// ARP crosses the underlay.
var FlannelVXLAN = Design{
	Name:     "flannel-vxlan",
	Summary:  "flannel, VXLAN backend: routed per node, VNI 1 over UDP 8472, permanent neighbours and FDB",
	Overhead: VXLANOverhead,
	New:      newFlannel(startVXLAN(false)),
}

// FlannelVXLANDirectRouting is FlannelVXLAN with DirectRouting: nodes on one
// link reach each other's pods by plain routes, only those behind a router are
// tunnelled to. Pods keep the MTU of the tunnel.
var FlannelVXLANDirectRouting = Design{
	Name:     "flannel-vxlan-directrouting",
	Summary:  "flannel, VXLAN backend with DirectRouting: plain routes to nodes on the same link, VXLAN to others",
	Overhead: VXLANOverhead,
	New:      newFlannel(startVXLAN(true)),
}

const (
	flannelVNI  = 1
	flannelPort = 8472 // the kernel's default, from before IANA gave out 4789
)

// flannelVXLAN is flannel's vxlan backend on one node.
type flannelVXLAN struct {
	node   *Node
	vtep   *VXLAN
	direct bool // DirectRouting
}

func startVXLAN(direct bool) func(*Node, Network) (flannelBackend, error) {
	return func(n *Node, _ Network) (flannelBackend, error) {
		vtep, err := NewVXLAN(n.Host, VXLANConfig{
			Name: fmt.Sprintf("flannel.%d", flannelVNI), MAC: link.LocalMAC(n.Host.Rand("flannel.1").Uint64()),
			MTU: n.Uplink.MTU - VXLANOverhead, VNI: flannelVNI, Local: n.Addr, Port: flannelPort,
		})
		if err != nil {
			return nil, err
		}
		return &flannelVXLAN{node: n, vtep: vtep, direct: direct}, vtep.Device.AddAddr(gatewayAddr(n))
	}
}

func (b *flannelVXLAN) mtu() int { return b.vtep.Device.MTU }

func (b *flannelVXLAN) lease() flannelLease {
	l := leaseOf(b.node)
	l.vtepMAC = b.vtep.Device.MAC
	return l
}

// add sets neighbour and FDB, and the route last, so that no packet finds a
// route without the rest. The next hop is the other end's flannel.1.
func (b *flannelVXLAN) add(l flannelLease) error {
	if b.direct && adjacent(b.node, l.publicIP) {
		return b.node.Host.ReplaceRoute(stack.Route{Dst: l.subnet, Via: l.publicIP, Dev: b.node.Uplink})
	}
	dev, next := b.vtep.Device, l.subnet.Addr()
	if err := b.node.Host.SetNeighbour(dev, next, l.vtepMAC); err != nil {
		return err
	}
	b.vtep.AddFDB(l.vtepMAC, l.publicIP)
	return b.node.Host.ReplaceRoute(stack.Route{Dst: l.subnet, Via: next, Dev: dev, Onlink: true})
}

// remove removes all three, whether or not one of them is gone already.
func (b *flannelVXLAN) remove(l flannelLease) error {
	if b.direct && adjacent(b.node, l.publicIP) {
		return removeSubnetRoute(b.node, l.subnet, b.node.Uplink)
	}
	dev, next := b.vtep.Device, l.subnet.Addr()
	var err error
	if !b.node.Host.RemoveNeighbour(dev, next) {
		err = fmt.Errorf("overlay: flannel: %s has no neighbour %v on %s", b.node.Name, next, dev.Name)
	}
	b.vtep.RemoveFDB(l.vtepMAC)
	return errors.Join(err, removeSubnetRoute(b.node, l.subnet, dev))
}
