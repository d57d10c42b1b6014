package overlay

import (
	"net/netip"

	"github.com/podwire/podwire/overlay/bgp"
)

// BGP is what a cluster's operator sets for designs that speak it: Calico's
// BGPConfiguration and BGPPeer resources. The zero value is what Calico has
// without any.
type BGP struct {
	// AS is the number of the nodes. If 0, 64512.
	AS uint32

	// NoMesh leaves the sessions between all nodes away, for nodes that peer with
	// routers alone (nodeToNodeMeshEnabled: false).
	NoMesh bool

	// Routed says that routers of the underlay peer with the nodes of their segments
	// and pass on what they learn, so that nodes need no sessions with each other.
	Routed bool

	// Reflectors are the names of the nodes that are route reflectors, in designs
	// that have some. If empty, the first two nodes.
	Reflectors []string

	// Peers are speakers outside of the cluster.
	Peers []BGPPeer
}

// BGPPeer is a speaker outside of the cluster with which nodes have sessions, as
// of Calico's resource of that name.
type BGPPeer struct {
	Node string     // that peers with it; if empty, all do
	Addr netip.Addr // peerIP
	Port uint16     // if zero, 179
	AS   uint32     // asNumber; if zero, the nodes'

	// AllowLocalAS is how often the nodes' own AS may be in paths that come from the
	// peer (numAllowedLocalASNumbers): once if it passes on what other nodes say.
	AllowLocalAS int
}

// NodeAS returns the AS number of the nodes.
func (b BGP) NodeAS() uint32 {
	if b.AS == 0 {
		return 64512
	}
	return b.AS
}

// A Speaking is a design whose nodes speak BGP, if Design.BGP is true. Its methods
// want the driver's lock.
type Speaking interface {
	// Speaker returns the node's speaker, nil if it has none now.
	Speaker(*Node) *bgp.Speaker

	// StopSpeaker ends the node's BGP daemon: in good order, or, with kill, without
	// a word to anybody. The node's routes stay. LoseSpeaker ends it with the node,
	// whose memory is lost. StartSpeaker starts it again.
	StopSpeaker(n *Node, kill bool) error
	LoseSpeaker(*Node)
	StartSpeaker(*Node) error

	// AddPeer has nodes peer with one more speaker outside of the cluster.
	AddPeer(BGPPeer) error

	// Unsettled says what is missing until all that is known somewhere has reached
	// everybody, empty if nothing is: a session, a route.
	Unsettled() string
}
