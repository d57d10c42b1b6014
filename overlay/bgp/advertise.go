package bgp

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// adjOut is the Adj-RIB-Out: what a peer was told of, and what it is to be told.
type adjOut struct {
	sent     map[netip.Prefix]map[uint32]string // the attributes on the wire, by path ID
	dirty    map[netip.Prefix]bool
	queued   bool // send is waiting to run
	owesEnd  bool // End-of-RIB
	repeats  bool // all is sent again, for a ROUTE-REFRESH
	exported int
}

func newAdjOut(s *Session) adjOut {
	return adjOut{sent: make(map[netip.Prefix]map[uint32]string), dirty: make(map[netip.Prefix]bool), owesEnd: s.remote.Restart}
}

// mark notes that the paths to a prefix are others.
func (p *Peer) mark(prefix netip.Prefix) {
	if p.up != nil {
		p.rib.dirty[prefix] = true
		p.schedule()
	}
}

// schedule has the peer told, once for all changes of this instant.
func (p *Peer) schedule() {
	if !p.rib.queued {
		p.rib.queued = true
		s := p.up
		p.speaker.cfg.Driver.Soon(func() {
			if p.up == s && s != nil {
				p.rib.queued = false
				p.advertise()
			}
		})
	}
}

// bucket is the prefixes that go with the same attributes.
type bucket struct {
	attrs []bgp.PathAttributeInterface
	size  int
	nlri  []bgp.PathNLRI
}

// advertise tells the peer what has changed: withdrawals, then one message for
// all prefixes that share attributes.
func (p *Peer) advertise() {
	var gone []bgp.PathNLRI
	var order []*bucket
	buckets := make(map[string]*bucket)
	for _, prefix := range slices.SortedFunc(maps.Keys(p.rib.dirty), comparePrefixes) {
		old, now := p.rib.sent[prefix], make(map[uint32]string)
		for _, path := range p.exports(prefix) {
			attrs := p.outgoing(path).encode(p.internal(), p.up.remote.AS4)
			k := wire(attrs, p.up.options())
			if now[p.number(path)] = k; old[p.number(path)] == k && !p.rib.repeats {
				continue
			}
			b := buckets[k]
			if b == nil {
				b = &bucket{attrs: attrs, size: len(k)}
				buckets[k], order = b, append(order, b)
			}
			b.nlri = append(b.nlri, nlri(prefix, p.number(path)))
		}
		for _, id := range slices.Sorted(maps.Keys(old)) {
			if _, kept := now[id]; !kept {
				gone = append(gone, nlri(prefix, id))
			}
		}
		p.rib.exported += len(now) - len(old)
		if p.rib.sent[prefix] = now; len(now) == 0 {
			delete(p.rib.sent, prefix)
		}
	}
	clear(p.rib.dirty)
	p.deliver(gone, order)
}

// number is how a path is called to the peer.
func (p *Peer) number(path *Path) uint32 {
	if !p.up.sendsPaths() {
		return 0
	}
	return path.ID
}

// deliver sends what advertise has found.
func (p *Peer) deliver(gone []bgp.PathNLRI, order []*bucket) {
	s := p.up
	refreshing := p.rib.repeats && s.remote.EnhancedRefresh
	if refreshing {
		s.send(bgp.NewBGPRouteRefreshMessage(bgp.AFI_IP, beginRefresh, bgp.SAFI_UNICAST))
	}
	for part := range slices.Chunk(gone, (maxBody-4)/nlriSize) {
		s.send(bgp.NewBGPUpdateMessage(part, nil, nil), s.options())
	}
	for _, b := range order {
		for part := range slices.Chunk(b.nlri, max(1, (maxBody-4-b.size)/nlriSize)) {
			s.send(bgp.NewBGPUpdateMessage(nil, b.attrs, part), s.options())
		}
	}
	if refreshing {
		s.send(bgp.NewBGPRouteRefreshMessage(bgp.AFI_IP, endRefresh, bgp.SAFI_UNICAST))
	}
	if p.rib.owesEnd {
		s.send(bgp.NewEndOfRib(bgp.RF_IPv4_UC))
	}
	p.rib.owesEnd, p.rib.repeats = false, false
}

const (
	maxBody  = bgp.BGP_MAX_MESSAGE_LENGTH - headerSize
	nlriSize = 9 // at most: number, length, four bytes
)

func nlri(prefix netip.Prefix, id uint32) bgp.PathNLRI {
	n, _ := bgp.NewIPAddrPrefix(prefix)
	return bgp.PathNLRI{NLRI: n, ID: id}
}

// wire is the attributes as they are sent.
func wire(attrs []bgp.PathAttributeInterface, o *bgp.MarshallingOption) string {
	var b []byte
	for _, a := range attrs {
		w, _ := a.Serialize(o)
		b = append(b, w...)
	}
	return string(b)
}

// exports are the paths to a prefix that the peer may know of: all that there are
// if it takes them, else the best.
func (p *Peer) exports(prefix netip.Prefix) (list []*Path) {
	for _, path := range p.speaker.table.prefixes[prefix] {
		if p.may(path) {
			list = append(list, path)
		}
		if !p.up.sendsPaths() {
			break
		}
	}
	return list
}

// Well-known communities (RFC 1997).
const (
	noExport    = 0xffffff01
	noAdvertise = 0xffffff02
)

// may reports whether the peer may know of a path (bgp_import_control).
func (p *Peer) may(path *Path) bool {
	s := p.speaker
	if from := path.Peer; from != nil {
		switch {
		case from == p, slices.Contains(path.Attrs.Communities, noAdvertise):
			return false
		case from.internal() && p.internal() && !from.cfg.Client && !p.cfg.Client:
			return false
		case p.cfg.Client && slices.Contains(path.Attrs.ClusterList, s.cfg.ClusterID):
			return false
		case !p.internal() && slices.Contains(path.Attrs.Communities, noExport):
			return false
		}
	}
	return p.cfg.DefaultPolicy || s.cfg.Export == nil || s.cfg.Export(p, path)
}

// outgoing is the attributes of a path as this peer sees them (bgp_update_attrs,
// RFC 4456 §8).
func (p *Peer) outgoing(path *Path) *Attrs {
	s, a := p.speaker, *path.Attrs
	if path.Peer == nil || p.cfg.NextHopSelf || !p.internal() && !p.cfg.KeepNextHop {
		a.NextHop = p.up.conn.LocalAddr()
	}
	if !p.internal() {
		a.ASPath = a.prepended(s.cfg.AS)
		if path.Peer != nil {
			a.MED, a.HasMED = 0, false
		}
		return &a
	}
	if path.Peer != nil && path.Peer.internal() {
		if !a.Originator.IsValid() {
			a.Originator = path.Peer.remoteID
		}
		a.ClusterList = append([]netip.Addr{s.cfg.ClusterID}, a.ClusterList...)
	}
	return &a
}

// Subtypes of ROUTE-REFRESH (RFC 7313 §3.2).
const (
	askRefresh   = 0
	beginRefresh = 1
	endRefresh   = 2
)

// refresh is a ROUTE-REFRESH: the peer wants all again, or says where that
// begins and ends.
func (s *Session) refresh(body []byte) *notification {
	m := &bgp.BGPRouteRefresh{}
	if err := m.DecodeFromBytes(body); err != nil || len(body) != 4 {
		return &notification{code: refreshError, sub: bgp.BGP_ERROR_SUB_INVALID_MESSAGE_LENGTH, why: "length"}
	}
	if m.AFI != bgp.AFI_IP || m.SAFI != bgp.SAFI_UNICAST {
		return nil // RFC 2918 §4: of a family that was not agreed on
	}
	p := s.peer
	switch m.Demarcation {
	case askRefresh:
		p.rib.repeats = true
		for prefix := range p.speaker.table.prefixes {
			p.mark(prefix)
		}
		p.schedule()
	case beginRefresh:
		p.markStale()
	case endRefresh:
		p.endRestart()
	}
	return nil
}

// Refresh asks the peer to send all again (RFC 2918). It reports whether it can.
func (p *Peer) Refresh() bool {
	if p.up == nil || !p.up.remote.Refresh {
		return false
	}
	p.up.send(bgp.NewBGPRouteRefreshMessage(bgp.AFI_IP, askRefresh, bgp.SAFI_UNICAST))
	return true
}
