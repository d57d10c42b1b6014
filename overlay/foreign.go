package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay/wireguard"
)

// A ForeignNode is a node of the cluster that is not emulated, such as a real
// kernel behind a TAP device. The design knows of it what a node publishes of
// itself, and nothing is set up there.
type ForeignNode struct {
	Name    string
	Addr    netip.Addr   // on the underlay
	PodCIDR netip.Prefix // its part of the cluster CIDR

	// VTEPMAC is the MAC of its VXLAN device: in flannel the VtepMAC of the
	// annotation flannel.alpha.coreos.com/backend-data. Only vxlan wants it.
	VTEPMAC link.MAC

	// PublicKey is that of its WireGuard device. Only wireguard wants it.
	PublicKey wireguard.Key
}

// A ForeignCNI is a [CNI] whose nodes can be told of foreign ones. Its methods
// want the driver's lock.
type ForeignCNI interface {
	CNI

	// AddForeign tells all nodes, also those that are yet to come, of a foreign
	// node.
	AddForeign(ForeignNode) error

	// RemoveForeign has them forget it.
	RemoveForeign(ForeignNode) error
}

// foreignLease is the lease that a foreign node would publish.
func foreignLease(n ForeignNode) flannelLease {
	return flannelLease{subnet: n.PodCIDR.Masked(), publicIP: n.Addr, vtepMAC: n.VTEPMAC, publicKey: n.PublicKey}
}

// AddForeign implements ForeignCNI: flanneld watches leases, and need not know
// who writes them.
func (c *flannel) AddForeign(n ForeignNode) error {
	l := foreignLease(n)
	if slices.ContainsFunc(c.foreign, func(o flannelLease) bool { return o.subnet == l.subnet }) {
		return fmt.Errorf("overlay: flannel: there is a lease of %v already", l.subnet)
	}
	var errs []error
	for _, d := range c.order {
		errs = append(errs, c.network.failed(d.node, d.backend.add(l)))
	}
	c.foreign = append(c.foreign, l)
	return errors.Join(errs...)
}

// RemoveForeign implements ForeignCNI.
func (c *flannel) RemoveForeign(n ForeignNode) error {
	l := foreignLease(n)
	i := slices.Index(c.foreign, l)
	if i < 0 {
		return fmt.Errorf("overlay: flannel: foreign node %s was not added", n.Name)
	}
	c.foreign = slices.Delete(c.foreign, i, i+1)
	var errs []error
	for _, d := range c.order {
		errs = append(errs, c.network.failed(d.node, d.backend.remove(l)))
	}
	return errors.Join(errs...)
}
