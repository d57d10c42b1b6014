package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// calico is what Calico's modes share: no bridge, a route per pod, blocks of
// addresses that nodes claim from the pool, and Felix' rules. How packets reach
// another node is the tunnel's; with crossSubnet, nodes on one link do without.
// Network policies are not enforced, and there are no host endpoints and floating
// IPs.
type calico struct {
	network     Network
	start       func(*Node) (calicoTunnel, error)
	crossSubnet bool
	pool        *calicoPool
	order       []*calicoNode // in the order in which they were added
	nodes       map[*Node]*calicoNode
}

// calicoNode is Felix and the IPAM plugin on one node.
type calicoNode struct {
	*Node
	tunnel     calicoTunnel
	tunnelAddr netip.Addr // of the tunnel device, from the pool
	blocks     []*calicoBlock
	borrowed   []netip.Addr // addresses of its pods from blocks of others
	pods       map[*Pod]calicoPod
	profiles   map[string]bool // chains of namespaces that there are
	ports      *portmap
	held       bool // the others know of the node
}

// A calicoTunnel is the encapsulation of one node. It hears of other nodes.
type calicoTunnel interface {
	device() *stack.Device

	// nextHop is the next hop of routes into the tunnel to another node.
	nextHop(*calicoNode) netip.Addr

	// meet programs what it takes to reach another node, and part removes it.
	meet(*calicoNode) error
	part(*calicoNode) error

	// rules are those that the kind of tunnel wants, and the set of hosts that
	// may send to it.
	rules() calicoTunnelRules
}

// felix is the protocol of the routes that Felix programs
// (DefaultNodeRouteProtocol in Calico's source: 80).
const felix = "80"

// newCalico makes a Design's New out of what starts its tunnel on a node.
func newCalico(start func(*Node) (calicoTunnel, error), crossSubnet bool) func(Network) CNI {
	return func(n Network) CNI {
		return &calico{
			network: n, start: start, crossSubnet: crossSubnet, pool: newCalicoPool(n.PodCIDR), nodes: make(map[*Node]*calicoNode),
		}
	}
}

// AddNode implements CNI: the node claims a block, whose first address is that
// of the tunnel device, and the nodes hear of each other.
func (c *calico) AddNode(n *Node) error {
	if c.nodes[n] != nil {
		return fmt.Errorf("overlay: calico: node %s was added before", n.Name)
	}
	f := &calicoNode{
		Node: n, pods: make(map[*Pod]calicoPod), profiles: make(map[string]bool), ports: newPortmap(n, "k8s-pod-network"),
	}
	var err error
	if f.tunnelAddr, err = c.assign(f); err != nil {
		return err
	}
	if f.tunnel, err = c.start(n); err != nil {
		return err
	}
	if err := f.tunnel.device().AddAddr(netip.PrefixFrom(f.tunnelAddr, 32)); err != nil {
		return err
	}
	if err := f.loadBase(c.network.PodCIDR); err != nil {
		return err
	}
	for _, o := range c.order {
		if o.held {
			if err := c.introduce(f, o); err != nil {
				return err
			}
		}
	}
	c.order = append(c.order, f)
	c.nodes[n] = f
	return c.publish(f, true)
}

// publish tells all other nodes that f is there, or is gone.
func (c *calico) publish(f *calicoNode, held bool) error {
	f.held = held
	var errs []error
	for _, o := range c.order {
		switch {
		case o == f:
		case held:
			errs = append(errs, c.introduce(o, f))
		default:
			errs = append(errs, c.dismiss(o, f))
		}
	}
	return errors.Join(errs...)
}

// introduce has n program all that leads to o, routes last.
func (c *calico) introduce(n, o *calicoNode) error {
	if err := n.tunnel.meet(o); err != nil {
		return err
	}
	if err := n.allow(o, "add"); err != nil {
		return err
	}
	for _, dst := range o.prefixes() {
		if err := n.Host.ReplaceRoute(c.route(n, o, dst)); err != nil {
			return err
		}
	}
	return nil
}

// dismiss is the opposite of introduce.
func (c *calico) dismiss(n, o *calicoNode) error {
	for _, dst := range o.prefixes() {
		n.Host.RemoveRoutes(dst, nil)
	}
	return errors.Join(n.allow(o, "del"), n.tunnel.part(o))
}

// prefixes are what is routed to a node.
func (n *calicoNode) prefixes() (list []netip.Prefix) {
	for _, b := range n.blocks {
		list = append(list, b.prefix)
	}
	for _, a := range n.borrowed {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	return list
}

// route is how n reaches what is at o.
func (c *calico) route(n, o *calicoNode, dst netip.Prefix) stack.Route {
	if c.crossSubnet && adjacent(n.Node, o.Addr) {
		return stack.Route{Dst: dst, Via: o.Addr, Dev: n.Uplink, Onlink: true, Proto: felix}
	}
	return stack.Route{Dst: dst, Via: n.tunnel.nextHop(o), Dev: n.tunnel.device(), Onlink: true, Proto: felix}
}

// tell has the other nodes route dst to f, or no more.
func (c *calico) tell(f *calicoNode, dst netip.Prefix, add bool) error {
	if !f.held {
		return nil
	}
	for _, o := range c.order {
		switch {
		case o == f:
		case !add:
			o.Host.RemoveRoutes(dst, nil)
		default:
			if err := o.Host.ReplaceRoute(c.route(o, f, dst)); err != nil {
				return err
			}
		}
	}
	return nil
}

// assign takes an address for a node, claiming a block or borrowing from one of
// another node if need be.
func (c *calico) assign(f *calicoNode) (netip.Addr, error) {
	for _, b := range f.blocks {
		if a, ok := b.take(); ok {
			return a, nil
		}
	}
	if b := c.pool.claim(f); b != nil {
		// What no pod has is nobody's: without this the default route would
		// carry it away.
		if err := f.Host.AddRoute(stack.Route{Dst: b.prefix, Type: stack.Blackhole, Proto: felix}); err != nil {
			return netip.Addr{}, err
		}
		f.blocks = append(f.blocks, b)
		a, _ := b.take()
		return a, c.tell(f, b.prefix, true)
	}
	for _, b := range c.pool.order {
		if a, ok := b.take(); ok {
			f.borrowed = append(f.borrowed, a)
			return a, c.tell(f, netip.PrefixFrom(a, 32), true)
		}
	}
	return netip.Addr{}, fmt.Errorf("overlay: calico: %s: no address left in pool %v: %d blocks of /%d are in use", f.Name, c.network.PodCIDR, len(c.pool.order), blockBits)
}

// assignFor is assign for a pod, which may ask for an address of the pool, as
// with the annotation cni.projectcalico.org/ipAddrs. One from a block of another
// node gets a route of its own.
func (c *calico) assignFor(f *calicoNode, pod *Pod) (netip.Addr, error) {
	if !pod.Addr.IsValid() {
		return c.assign(f)
	}
	b, err := c.pool.takeThis(pod.Addr)
	if err != nil || b.owner == f {
		return pod.Addr, err
	}
	f.borrowed = append(f.borrowed, pod.Addr)
	return pod.Addr, c.tell(f, netip.PrefixFrom(pod.Addr, 32), true)
}

// release gives an address back.
func (c *calico) release(f *calicoNode, a netip.Addr) error {
	c.pool.free(a)
	i := slices.Index(f.borrowed, a)
	if i < 0 {
		return nil
	}
	f.borrowed = slices.Delete(f.borrowed, i, i+1)
	return c.tell(f, netip.PrefixFrom(a, 32), false)
}

// SetLease implements CNI: the Node resource is deleted, or is there again. The
// node itself is not told.
func (c *calico) SetLease(n *Node, held bool) error {
	f, err := c.node(n)
	if err != nil || f.held == held {
		return err
	}
	return c.publish(f, held)
}

// RemoveNode implements CNI. The node's blocks are there for others to claim.
func (c *calico) RemoveNode(n *Node) error {
	f, err := c.node(n)
	if err != nil {
		return err
	}
	delete(c.nodes, n)
	c.order = slices.DeleteFunc(c.order, func(o *calicoNode) bool { return o == f })
	if f.held {
		err = c.publish(f, false)
	}
	c.pool.free(f.tunnelAddr)
	c.pool.abandon(f)
	return err
}

func (c *calico) node(n *Node) (*calicoNode, error) {
	f := c.nodes[n]
	if f == nil {
		return nil, fmt.Errorf("overlay: calico: node %s was not added", n.Name)
	}
	return f, nil
}

// AddPod implements CNI.
func (c *calico) AddPod(n *Node, pod *Pod) (PodNet, error) {
	f, err := c.node(n)
	if err != nil {
		return PodNet{}, err
	}
	if err := f.ports.check(pod); err != nil {
		return PodNet{}, err
	}
	addr, err := c.assignFor(f, pod)
	if err != nil {
		return PodNet{}, err
	}
	p, err := f.plug(pod, addr)
	if err != nil {
		return PodNet{}, errors.Join(err, c.release(f, addr))
	}
	f.pods[pod] = p
	return p.net, errors.Join(f.loadPod(pod, p), f.ports.add(pod, netip.PrefixFrom(addr, 32)))
}

// RemovePod implements CNI.
func (c *calico) RemovePod(n *Node, pod *Pod) error {
	f, err := c.node(n)
	if err != nil {
		return err
	}
	p, ok := f.pods[pod]
	if !ok {
		return fmt.Errorf("overlay: calico: %s has no pod %s", n.Name, pod.Name)
	}
	delete(f.pods, pod)
	p.net.Device.SetUp(false)
	return errors.Join(
		f.ports.remove(pod), f.unloadPod(p), f.Host.RemoveDevice(p.net.Peer), c.release(f, p.net.Addr))
}

// workloadMAC is that of the node's end of every pod's veth pair: pods never
// see another.
var workloadMAC = link.MAC{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}

// gatewayOfPods is the next hop of every pod. No device has it: the node
// answers for it with proxy ARP.
var gatewayOfPods = netip.AddrFrom4([4]byte{169, 254, 1, 1})
