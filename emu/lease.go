package emu

import (
	"fmt"
	"slices"

	"github.com/podwire/podwire/overlay"
)

// SetLease has the other nodes forget the node, or hear of it again. In flannel
// this is its lease, which is deleted and comes back: the others drop what
// they have programmed for it, while the node itself runs on with its pods and
// still knows the others.
func (n *Node) SetLease(held bool) error {
	l := n.lab
	var err error
	l.drv.Do(func() {
		if err = l.checkNode(n); err == nil {
			err = l.cni.SetLease(&n.overlay, held)
		}
	})
	return err
}

// RemoveNode takes a node away for good: its pods end, the other nodes forget
// it, and its machine is unplugged. Neither its name, unless it was given, nor
// its podCIDR is used again by itself.
func (l *Lab) RemoveNode(n *Node) error {
	var err error
	l.drv.Do(func() { err = l.checkNode(n) })
	if err != nil {
		return err
	}
	for _, p := range l.Pods() {
		if p.node == n {
			if err := l.RemovePod(p); err != nil {
				return err
			}
		}
	}
	n.close()
	return l.change(func() error {
		i := slices.Index(l.nodes, n)
		if i < 0 {
			return errGone(n)
		}
		l.nodes = slices.Delete(l.nodes, i, i+1)
		l.leaveRouters(n)
		l.detach(&n.Machine)
		if err := l.cni.RemoveNode(&n.overlay); err != nil {
			return err
		}
		return l.cluster.RemoveNode(n.name)
	})
}

// warn notes what a design's daemon on a node could not do. The caller holds the
// lock.
func (l *Lab) warn(_ *overlay.Node, err error) { l.warnings = append(l.warnings, err.Error()) }

// Warn adds to the lab's warnings.
func (l *Lab) Warn(err error) { l.drv.Do(func() { l.warn(nil, err) }) }

// Warnings returns what the daemons of the design could not do so far and would
// have written to their logs: routes to nodes that are out of reach, such as
// host-gw has across a router. Traffic that needs it will fail.
func (l *Lab) Warnings() []string {
	var list []string
	l.drv.Do(func() { list = slices.Clone(l.warnings) })
	return list
}

// checkNode reports what is wrong with a node that is to be changed. The
// caller holds the lock.
func (l *Lab) checkNode(n *Node) error {
	switch {
	case n == nil:
		return errNil
	case l.closed:
		return errClosed
	case !slices.Contains(l.nodes, n):
		return errGone(n)
	}
	return nil
}

func errGone(n *Node) error { return fmt.Errorf("emu: node %s was removed before", n.name) }

// detach unplugs a machine from the underlay for good and forgets its name and
// address. The caller holds the lock.
func (l *Lab) detach(m *Machine) {
	l.unplug(m)
	delete(l.machines, m.name)
}
