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
	network Network
	mode    calicoMode
	pool    *calicoPool
	order   []*calicoNode // in the order in which they were added
	nodes   map[*Node]*calicoNode
}

// calicoMode is in what Calico's modes differ.
type calicoMode struct {
	tunnel      func(*Node) (calicoTunnel, error) // nil: no encapsulation
	crossSubnet bool
	bgp         bool // routes between nodes are BIRD's, not Felix'
	reflect     bool // route reflectors in place of the full mesh
}

// calicoNode is Felix, the IPAM plugin and BIRD on one node.
type calicoNode struct {
	*Node
	tunnel     calicoTunnel // nil without encapsulation
	tunnelAddr netip.Addr   // of the tunnel device, from the pool
	bgp        calicoBGP
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

// newCalico makes a Design's New out of its mode.
func newCalico(mode calicoMode) func(Network) CNI {
	return func(n Network) CNI {
		return &calico{network: n, mode: mode, pool: newCalicoPool(n.PodCIDR), nodes: make(map[*Node]*calicoNode)}
	}
}

// AddNode implements CNI: with a tunnel the node claims a block, whose first
// address is the device's; the nodes hear of each other.
func (c *calico) AddNode(n *Node) error {
	if c.nodes[n] != nil {
		return fmt.Errorf("overlay: calico: node %s was added before", n.Name)
	}
	f := &calicoNode{
		Node: n, pods: make(map[*Pod]calicoPod), profiles: make(map[string]bool), ports: newPortmap(n, "k8s-pod-network"),
	}
	if err := c.startTunnel(f); err != nil {
		return err
	}
	if err := f.loadBase(c.network.PodCIDR); err != nil {
		return err
	}
	if c.mode.bgp {
		f.bgp.reflector = c.isReflector(f.Name)
		if err := c.startBGP(f); err != nil {
			return err
		}
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

// startTunnel makes the tunnel device, if the mode has one.
func (c *calico) startTunnel(f *calicoNode) (err error) {
	if c.mode.tunnel == nil {
		return nil
	}
	if f.tunnelAddr, err = c.assign(f); err != nil {
		return err
	}
	if f.tunnel, err = c.mode.tunnel(f.Node); err != nil {
		return err
	}
	return f.tunnel.device().AddAddr(netip.PrefixFrom(f.tunnelAddr, 32))
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
	if n.tunnel != nil {
		if err := errors.Join(n.tunnel.meet(o), n.allow(o, "add")); err != nil {
			return err
		}
	} else if !n.sameSubnet(o.Addr) && !c.network.BGP.Routed && len(c.network.BGP.Peers) == 0 {
		err := fmt.Errorf("overlay: calico: %s cannot reach the pods of %s (%v), which is behind a router: "+
			"want all nodes on one link, routers that speak BGP with the nodes, or a design with a tunnel", n.Name, o.Name, o.Addr)
		if err := c.network.failed(n.Node, err); err != nil {
			return err
		}
	}
	if c.mode.bgp {
		return c.peer(n, o)
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
	if c.mode.bgp {
		c.unpeer(n, o)
	} else {
		for _, dst := range o.prefixes() {
			n.Host.RemoveRoutes(dst, nil)
		}
	}
	if n.tunnel == nil {
		return nil
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

// route is how n reaches what is at o, by Felix.
func (c *calico) route(n, o *calicoNode, dst netip.Prefix) stack.Route {
	if c.mode.crossSubnet && adjacent(n.Node, o.Addr) {
		return stack.Route{Dst: dst, Via: o.Addr, Dev: n.Uplink, Onlink: true, Proto: felix}
	}
	return stack.Route{Dst: dst, Via: n.tunnel.nextHop(o), Dev: n.tunnel.device(), Onlink: true, Proto: felix}
}

// tell has the other nodes route dst to f, or no more.
func (c *calico) tell(f *calicoNode, dst netip.Prefix, add bool) error {
	if c.mode.bgp {
		f.announce(dst, add)
		return nil
	}
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
		if err := c.blackhole(f, b); err != nil {
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

// blackhole ends packets to addresses of a block that no pod has: without it the
// default route would carry them away. With BGP the route is BIRD's, a path of its
// own like any other.
func (c *calico) blackhole(f *calicoNode, b *calicoBlock) error {
	if c.mode.bgp {
		return nil
	}
	return f.Host.AddRoute(stack.Route{Dst: b.prefix, Type: stack.Blackhole, Proto: felix})
}

// announce has BIRD tell of a block or of a borrowed address, or no more.
func (n *calicoNode) announce(dst netip.Prefix, add bool) {
	switch s := n.bgp.speaker; {
	case s == nil || s.Down(): // it is told when it starts
	case !add:
		s.Withdraw(dst)
	case dst.IsSingleIP():
		s.Learn(dst)
	default:
		s.Announce(dst)
	}
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
	if f.tunnel != nil {
		c.pool.free(f.tunnelAddr)
	}
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
