package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay/wireguard"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/netfilter"
)

// flannel is what its backends share: a node's pods hang on cni0, every node
// has a lease that the others hear of, and FLANNEL-POSTRTG masquerades what
// leaves the cluster. How packets reach another node is the backend's.
type flannel struct {
	network Network
	start   func(*Node, Network) (flannelBackend, error)
	order   []*flanneld // in the order in which they were added
	foreign []flannelLease
	nodes   map[*Node]*flanneld
}

// flanneld is the daemon on one node.
type flanneld struct {
	node    *Node
	backend flannelBackend
	pods    *bridgeCNI
	ports   *portmap
	held    bool // the others have been told of its lease
}

// A flannelBackend is the backend of one flanneld. Its devices are set up when
// it starts; then it hears of the other nodes' leases.
type flannelBackend interface {
	// mtu is that of the pods, FLANNEL_MTU in subnet.env.
	mtu() int

	// lease is what this node tells the others.
	lease() flannelLease

	// add programs what it takes to reach the holder of a lease.
	add(flannelLease) error

	// remove takes away what add has programmed.
	remove(flannelLease) error
}

// A flannelLease says who has which part of the cluster CIDR: in Kubernetes
// the annotations flannel.alpha.coreos.com/public-ip and backend-data of a
// Node with its podCIDR.
type flannelLease struct {
	subnet   netip.Prefix
	publicIP netip.Addr
	vtepMAC  link.MAC // vxlan: of the other end's flannel.1

	publicKey wireguard.Key // wireguard
}

// leaseOf is a lease without backend data.
func leaseOf(n *Node) flannelLease { return flannelLease{subnet: n.PodCIDR.Masked(), publicIP: n.Addr} }

// newFlannel makes a Design's New out of what starts its backend on a node.
func newFlannel(start func(*Node, Network) (flannelBackend, error)) func(Network) CNI {
	return func(n Network) CNI {
		return &flannel{network: n, start: start, nodes: make(map[*Node]*flanneld)}
	}
}

// AddNode implements CNI: flanneld starts, learns of the leases there are and
// publishes its own.
func (c *flannel) AddNode(n *Node) error {
	if c.nodes[n] != nil {
		return fmt.Errorf("overlay: flannel: node %s was added before", n.Name)
	}
	b, err := c.start(n, c.network)
	if err != nil {
		return err
	}
	d := &flanneld{node: n, backend: b, pods: newBridgeCNI(n, b.mtu(), c.network.PodCIDR), ports: newPortmap(n, "cbr0")}
	leases := slices.Clone(c.foreign)
	for _, o := range c.order {
		if o.held {
			leases = append(leases, o.backend.lease())
		}
	}
	for _, l := range leases {
		if err := c.network.failed(n, b.add(l)); err != nil {
			return err
		}
	}
	c.order = append(c.order, d)
	c.nodes[n] = d
	if err := n.Host.Netfilter().Restore(c.rules(n), netfilter.RestoreOptions{NoFlush: true}); err != nil {
		return err
	}
	n.Host.RulesChanged()
	return c.publish(d, true)
}

// publish tells all other daemons that d has a lease, or has it no more. What
// one of them cannot do does not keep the others from doing it.
func (c *flannel) publish(d *flanneld, held bool) error {
	d.held = held
	lease := d.backend.lease()
	var errs []error
	for _, o := range c.order {
		switch {
		case o == d:
		case held:
			errs = append(errs, c.network.failed(o.node, o.backend.add(lease)))
		default:
			errs = append(errs, c.network.failed(o.node, o.backend.remove(lease)))
		}
	}
	return errors.Join(errs...)
}

// SetLease implements CNI. The daemon whose lease goes is not told, and keeps
// what it knows of the others: it ignores events about itself.
func (c *flannel) SetLease(n *Node, held bool) error {
	d, err := c.daemon(n)
	if err != nil || d.held == held {
		return err
	}
	return c.publish(d, held)
}

// RemoveNode implements CNI.
func (c *flannel) RemoveNode(n *Node) error {
	d, err := c.daemon(n)
	if err != nil {
		return err
	}
	delete(c.nodes, n)
	c.order = slices.DeleteFunc(c.order, func(o *flanneld) bool { return o == d })
	if !d.held {
		return nil
	}
	return c.publish(d, false)
}

// AddPod implements CNI.
func (c *flannel) AddPod(n *Node, pod *Pod) (PodNet, error) {
	d, err := c.daemon(n)
	if err != nil {
		return PodNet{}, err
	}
	if err := d.ports.check(pod); err != nil {
		return PodNet{}, err
	}
	net, err := d.pods.add(pod)
	if err != nil {
		return PodNet{}, err
	}
	return net, d.ports.add(pod, net.Device.Addrs()[0])
}

// RemovePod implements CNI.
func (c *flannel) RemovePod(n *Node, pod *Pod) error {
	d, err := c.daemon(n)
	if err != nil {
		return err
	}
	return errors.Join(d.ports.remove(pod), d.pods.remove(pod.Host))
}

func (c *flannel) daemon(n *Node) (*flanneld, error) {
	d := c.nodes[n]
	if d == nil {
		return nil, fmt.Errorf("overlay: flannel: node %s was not added", n.Name)
	}
	return d, nil
}

// gatewayAddr is the address of a tunnel device: the network address of the
// node's podCIDR, as a /32 so that no broadcast route comes with it.
func gatewayAddr(n *Node) netip.Prefix { return netip.PrefixFrom(n.PodCIDR.Masked().Addr(), 32) }

// adjacent reports whether a node reaches an address without a router: what
// flannel asks the kernel when DirectRouting is set (ip.DirectRouting).
func adjacent(n *Node, to netip.Addr) bool {
	r, ok := n.Host.LookupRoute(to)
	return ok && r.Type == stack.Unicast && !r.Via.IsValid()
}

// removeSubnetRoute is `ip route del` of a lease's subnet.
func removeSubnetRoute(n *Node, dst netip.Prefix, dev *stack.Device) error {
	if n.Host.RemoveRoutes(dst, dev) == 0 {
		return fmt.Errorf("overlay: flannel: %s has no route to %v on %s", n.Name, dst, dev.Name)
	}
	return nil
}

// addClusterRoute routes the whole cluster CIDR into a tunnel device. If that is
// the node's own part, cni0 has the route.
func addClusterRoute(n *Node, net Network, dev *stack.Device) error {
	if net.PodCIDR.Masked() == n.PodCIDR.Masked() {
		return nil
	}
	return n.Host.AddRoute(stack.Route{Dst: net.PodCIDR, Dev: dev})
}

// rules are the masquerade and forward chains that flanneld keeps, in its
// order: marked packets are kube-proxy's business; traffic between pods and
// from outside to local pods keeps its source; pods to the world, and the
// world to remote pods, are masqueraded.
func (c *flannel) rules(n *Node) string {
	const masq = `-m comment --comment "flanneld masq"`
	const fwd = `-m comment --comment "flanneld forward"`
	cluster, pods := c.network.PodCIDR, n.PodCIDR
	return fmt.Sprintf(`*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING %[1]s -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 %[1]s -j RETURN
-A FLANNEL-POSTRTG -s %[3]v -d %[2]v %[1]s -j RETURN
-A FLANNEL-POSTRTG -s %[2]v -d %[3]v %[1]s -j RETURN
-A FLANNEL-POSTRTG ! -s %[2]v -d %[3]v %[1]s -j RETURN
-A FLANNEL-POSTRTG -s %[2]v ! -d 224.0.0.0/4 %[1]s -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s %[2]v -d %[2]v %[1]s -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD %[4]s -j FLANNEL-FWD
-A FLANNEL-FWD -s %[2]v %[4]s -j ACCEPT
-A FLANNEL-FWD -d %[2]v %[4]s -j ACCEPT
COMMIT
`, masq, cluster, pods, fwd)
}
