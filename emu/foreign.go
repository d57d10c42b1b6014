package emu

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/overlay/wireguard"
)

// A ForeignNode is a node of the cluster that the lab does not emulate: a real
// kernel behind a [TAP], say. The emulated nodes reach its pods as the design has
// it; what it takes to reach theirs is its own business.
type ForeignNode struct {
	Name    string        // of the node, for errors; unique among nodes
	Addr    netip.Addr    // on the underlay
	PodCIDR netip.Prefix  // of the cluster CIDR, no other node's
	VTEPMAC link.MAC      // of its VXLAN device, in a design with VXLAN
	Key     wireguard.Key // the public one of its WireGuard device, in a design with WireGuard
}

// AddForeignNode tells the nodes of a foreign one, as its lease would. The designs
// of flannel can be told.
func (l *Lab) AddForeignNode(n ForeignNode) error {
	return l.foreign(n, func(c overlay.ForeignCNI) error {
		if err := l.checkForeign(n); err != nil {
			return err
		}
		if err := c.AddForeign(n.overlay()); err != nil {
			return err
		}
		l.foreigners = append(l.foreigners, n)
		return nil
	})
}

// RemoveForeignNode has the nodes forget a foreign one: its lease is gone.
func (l *Lab) RemoveForeignNode(name string) error {
	i := -1
	find := func(n ForeignNode) bool { return n.Name == name }
	return l.foreign(ForeignNode{Name: name}, func(c overlay.ForeignCNI) error {
		if i = slices.IndexFunc(l.foreigners, find); i < 0 {
			return fmt.Errorf("emu: there is no foreign node %q", name)
		}
		n := l.foreigners[i]
		l.foreigners = slices.Delete(l.foreigners, i, i+1)
		return c.RemoveForeign(n.overlay())
	})
}

// foreign calls f with the lab's lock and a design that can be told of n.
func (l *Lab) foreign(n ForeignNode, f func(overlay.ForeignCNI) error) (err error) {
	l.drv.Do(func() {
		c, ok := l.cni.(overlay.ForeignCNI)
		switch {
		case l.closed:
			err = errClosed
		case !ok:
			err = fmt.Errorf("emu: foreign node %s: %s knows only nodes that are emulated, want a design of flannel", n.Name, l.design.Name)
		default:
			err = f(c)
		}
	})
	return err
}

func (n ForeignNode) overlay() overlay.ForeignNode {
	return overlay.ForeignNode{Name: n.Name, Addr: n.Addr, PodCIDR: n.PodCIDR, VTEPMAC: n.VTEPMAC, PublicKey: n.Key}
}

// checkForeign refuses what clashes. The caller holds the lock.
func (l *Lab) checkForeign(n ForeignNode) error {
	same := func(o ForeignNode) bool { return o.Name == n.Name }
	switch {
	case n.Name == "" || l.machines[n.Name] != nil || slices.ContainsFunc(l.foreigners, same):
		return fmt.Errorf("emu: foreign node: name %q, want one that no other node has", n.Name)
	case !n.Addr.Is4():
		return fmt.Errorf("emu: foreign node %s: address %v, want an IPv4 address", n.Name, n.Addr)
	}
	return l.checkPodCIDR(n.Name, n.PodCIDR)
}

// checkPodCIDR wants a part of the cluster CIDR that no node has. The caller holds
// the lock.
func (l *Lab) checkPodCIDR(name string, p netip.Prefix) error {
	all := l.cfg.PodCIDR
	switch {
	case !p.Addr().Is4() || p.Bits() > 30:
		return fmt.Errorf("emu: %s: podCIDR %v: want an IPv4 prefix of at most 30 bits", name, p)
	case p.Bits() < all.Bits() || !all.Contains(p.Addr()):
		return fmt.Errorf("emu: %s: podCIDR %v is not within the cluster CIDR %v", name, p, all)
	}
	for _, o := range l.nodes {
		if o.PodCIDR().Overlaps(p) {
			return fmt.Errorf("emu: %s: podCIDR %v overlaps %v of %s", name, p, o.PodCIDR(), o.name)
		}
	}
	for _, o := range l.foreigners {
		if o.PodCIDR.Overlaps(p) {
			return fmt.Errorf("emu: %s: podCIDR %v overlaps %v of %s", name, p, o.PodCIDR, o.Name)
		}
	}
	return nil
}
