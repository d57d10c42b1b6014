package overlay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

// CalicoBGP is Calico without encapsulation: pods' packets cross the underlay as
// they are, by routes that every node's BIRD has learned from all others
// (nodeToNodeMesh). The nodes have to share a link, or the routers between them
// to take part.
var CalicoBGP = Design{
	Name:    "calico-bgp",
	Summary: "Calico without encapsulation: routed pods without a bridge, blocks announced by BGP, every node with every other",
	BGP:     true,
	New:     newCalico(calicoMode{bgp: true}),
}

// CalicoBGPRR is CalicoBGP with route reflectors in place of the mesh: two of the
// nodes, with which all others peer.
var CalicoBGPRR = Design{
	Name:    "calico-bgp-rr",
	Summary: "Calico without encapsulation: blocks announced by BGP through two nodes that are route reflectors",
	BGP:     true,
	New:     newCalico(calicoMode{bgp: true, reflect: true}),
}

// bird is the protocol of the routes that BIRD programs (12 in the kernel's list).
const bird = "bird"

// clusterID is the cluster id of the route reflectors, that of Calico's manual.
var clusterID = netip.AddrFrom4([4]byte{244, 0, 0, 1})

// calicoBGP is BIRD on a node, as confd configures it.
type calicoBGP struct {
	speaker   *bgp.Speaker
	reflector bool
	killed    bool // it ended without a word, and has to begin with a restart
}

// startBGP starts the node's BIRD.
func (c *calico) startBGP(n *calicoNode) error {
	if c.network.Speak == nil {
		return fmt.Errorf("overlay: calico: %s: nobody runs its BGP daemon", n.Name)
	}
	cfg := bgp.Config{
		AS: c.network.BGP.NodeAS(), RouterID: n.Addr, Restarting: n.bgp.killed,
		Best:      func(dst netip.Prefix, p *bgp.Path) { c.program(n, dst, p) },
		Recovered: func() { n.sweep() },
		Export:    func(_ *bgp.Peer, p *bgp.Path) bool { return n.exports(c.network.PodCIDR, p) },
	}
	if n.bgp.reflector {
		cfg.ClusterID = clusterID
	}
	var err error
	if n.bgp.speaker, err = c.network.Speak(n.Node, cfg); err != nil {
		return err
	}
	if n.bgp.killed = false; !cfg.Restarting {
		n.sweep()
	}
	for _, b := range n.blocks {
		n.bgp.speaker.Announce(b.prefix)
	}
	for _, a := range n.borrowed {
		n.bgp.speaker.Learn(netip.PrefixFrom(a, 32))
	}
	for _, p := range c.network.BGP.Peers {
		if err := c.peerOutside(n, p); err != nil {
			return err
		}
	}
	return nil
}

// isReflector reports whether the next node of that name becomes one.
func (c *calico) isReflector(name string) bool {
	list := c.network.BGP.Reflectors
	return c.mode.reflect && (slices.Contains(list, name) || len(list) == 0 && c.reflectors() < 2)
}

func (c *calico) reflectors() (n int) {
	for _, o := range c.order {
		if o.bgp.reflector {
			n++
		}
	}
	return n
}

// peersWith reports whether two nodes have a session.
func (c *calico) peersWith(n, o *calicoNode) bool {
	if c.network.BGP.Routed {
		return false
	}
	if c.mode.reflect {
		return n.bgp.reflector || o.bgp.reflector
	}
	return !c.network.BGP.NoMesh
}

// peerName is the name of a session in BIRD's configuration.
func peerName(kind string, a netip.Addr) string {
	return kind + "_" + strings.ReplaceAll(a.String(), ".", "_")
}

// peer has n peer with another node. In the mesh the one whose address is the
// higher string connects; with BGPPeer resources, such as route reflectors have,
// both do, and one of the connections is given up.
func (c *calico) peer(n, o *calicoNode) error {
	if n.bgp.speaker == nil || n.bgp.speaker.Down() || !c.peersWith(n, o) {
		return nil
	}
	cfg := bgp.PeerConfig{Name: c.nodePeerName(o), Addr: o.Addr, Local: n.Addr, AS: c.network.BGP.NodeAS()}
	if c.mode.reflect {
		cfg.Client = n.bgp.reflector && !o.bgp.reflector
	} else {
		cfg.Passive = o.Addr.String() > n.Addr.String()
	}
	_, err := n.bgp.speaker.AddPeer(cfg)
	return err
}

func (c *calico) nodePeerName(o *calicoNode) string {
	if c.mode.reflect {
		return peerName("Node", o.Addr)
	}
	return peerName("Mesh", o.Addr)
}

// unpeer ends that.
func (c *calico) unpeer(n, o *calicoNode) {
	if n.bgp.speaker != nil {
		n.bgp.speaker.RemovePeer(c.nodePeerName(o))
	}
}

// peerOutside has n peer with a speaker outside of the cluster.
func (c *calico) peerOutside(n *calicoNode, p BGPPeer) error {
	if n.bgp.speaker == nil || n.bgp.speaker.Down() || p.Node != "" && p.Node != n.Name {
		return nil
	}
	cfg := bgp.PeerConfig{Name: peerName("Global", p.Addr), Addr: p.Addr, Port: p.Port, Local: n.Addr, AS: p.AS, AllowLocalAS: p.AllowLocalAS}
	if p.Node != "" {
		cfg.Name = peerName("Node", p.Addr)
	}
	if cfg.AS == 0 {
		cfg.AS = c.network.BGP.NodeAS()
	}
	_, err := n.bgp.speaker.AddPeer(cfg)
	return err
}

// exports is calico_export_to_bgp_peers: what is in the pool, and of the node's
// own blocks nothing but the whole.
func (n *calicoNode) exports(pool netip.Prefix, p *bgp.Path) bool {
	for _, b := range n.blocks {
		if b.prefix == p.Prefix {
			return true
		}
		if b.prefix.Overlaps(p.Prefix) {
			return false
		}
	}
	return pool.Overlaps(p.Prefix) && pool.Bits() <= p.Prefix.Bits()
}

// program is BIRD's kernel protocol: the node's route to dst is what the best path
// says.
func (c *calico) program(n *calicoNode, dst netip.Prefix, p *bgp.Path) {
	n.Host.RemoveRoute(dst, func(r stack.Route) bool { return r.Proto == bird })
	if p == nil || p.Protocol == bgp.Kernel {
		return
	}
	err := n.Host.ReplaceRoute(c.kernelRoute(n, dst, p))
	if err = c.network.failed(n.Node, err); err != nil {
		panic(err) // only a design's own test has nobody to warn
	}
}

func (c *calico) kernelRoute(n *calicoNode, dst netip.Prefix, p *bgp.Path) stack.Route {
	r := stack.Route{Dst: dst, Proto: bird}
	if p.Protocol == bgp.Static {
		r.Type = stack.Blackhole
		return r
	}
	via := p.Attrs.NextHop
	inPool := c.network.PodCIDR.Overlaps(dst)
	if n.tunnel != nil && inPool && !(c.mode.crossSubnet && n.sameSubnet(via)) {
		r.Via, r.Dev, r.Onlink = via, n.tunnel.device(), true
		return r
	}
	way, ok := n.Host.LookupRoute(via)
	switch { // "gateway recursive"
	case !ok || way.Type != stack.Unicast || way.Proto == bird:
		r.Type = stack.Unreachable
	case way.Via.IsValid():
		r.Via, r.Dev = way.Via, way.Dev
	default:
		r.Via, r.Dev = via, way.Dev
	}
	return r
}

// sameSubnet reports whether an address is in the subnet of the node's own.
func (n *calicoNode) sameSubnet(a netip.Addr) bool {
	for _, p := range n.Uplink.Addrs() {
		if p.Addr() == n.Addr {
			return p.Masked().Contains(a)
		}
	}
	return false
}

// sweep removes routes that BIRD has left in the kernel and does not know of: it
// starts with "persist" and learns what is there.
func (n *calicoNode) sweep() {
	for _, r := range n.Host.Routes() {
		if r.Proto == bird && (n.bgp.speaker == nil || len(n.bgp.speaker.Lookup(r.Dst)) == 0) {
			n.Host.RemoveRoute(r.Dst, func(o stack.Route) bool { return o.Proto == bird })
		}
	}
}

// Speaker implements Speaking.
func (c *calico) Speaker(n *Node) *bgp.Speaker {
	f := c.nodes[n]
	if f == nil || f.bgp.speaker == nil || f.bgp.speaker.Down() {
		return nil
	}
	return f.bgp.speaker
}

// StopSpeaker implements Speaking.
func (c *calico) StopSpeaker(n *Node, kill bool) error {
	s := c.Speaker(n)
	if s == nil {
		return fmt.Errorf("overlay: calico: %s runs no BGP daemon", n.Name)
	}
	if kill {
		s.Kill()
	} else {
		s.Shutdown()
	}
	c.nodes[n].bgp.killed = kill
	return nil
}

// LoseSpeaker implements Speaking.
func (c *calico) LoseSpeaker(n *Node) {
	if s := c.Speaker(n); s != nil {
		s.Abort()
		c.nodes[n].bgp.killed = false
		c.nodes[n].bgp.speaker = nil
		c.nodes[n].sweep()
	}
}

// StartSpeaker implements Speaking.
func (c *calico) StartSpeaker(n *Node) error {
	f, err := c.node(n)
	switch {
	case err != nil:
		return err
	case c.Speaker(n) != nil:
		return fmt.Errorf("overlay: calico: %s runs its BGP daemon already", n.Name)
	}
	if err := c.startBGP(f); err != nil {
		return err
	}
	for _, o := range c.order {
		if o != f && o.held {
			if err := c.peer(f, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// AddPeer implements Speaking.
func (c *calico) AddPeer(p BGPPeer) error {
	found := p.Node == ""
	for _, n := range c.order {
		found = found || n.Name == p.Node
		if err := c.peerOutside(n, p); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("overlay: calico: BGP peer %v: there is no node %s", p.Addr, p.Node)
	}
	c.network.BGP.Peers = append(slices.Clone(c.network.BGP.Peers), p)
	return nil
}

// Unsettled implements Speaking.
func (c *calico) Unsettled() string {
	for _, n := range c.order {
		s := c.Speaker(n.Node)
		if s == nil || !n.held {
			continue
		}
		for _, p := range s.Peers() {
			if !p.Established() {
				return fmt.Sprintf("%s: BGP session %s is in state %s", n.Name, p.Name(), p.State().State)
			}
		}
		if c.network.BGP.NoMesh && !c.mode.reflect && !c.network.BGP.Routed {
			continue
		}
		for _, o := range c.order {
			for _, dst := range o.prefixes() {
				if o.held && c.Speaker(o.Node) != nil && len(s.Lookup(dst)) == 0 {
					return fmt.Sprintf("%s has learned no route to %v of %s", n.Name, dst, o.Name)
				}
			}
		}
	}
	return ""
}
