package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// options are how messages of the session are written and read.
func (s *Session) options() *bgp.MarshallingOption {
	mode := bgp.BGPAddPathMode(0)
	if s.sendsPaths() {
		mode |= bgp.BGP_ADD_PATH_SEND
	}
	if !s.peer.cfg.NoAddPath && s.remote.AddPathTx {
		mode |= bgp.BGP_ADD_PATH_RECEIVE
	}
	return &bgp.MarshallingOption{
		AddPath:    map[bgp.Family]bgp.BGPAddPathMode{bgp.RF_IPv4_UC: mode},
		Use2ByteAS: !s.remote.AS4,
	}
}

// sendsPaths reports whether all paths are sent, not the best alone.
func (s *Session) sendsPaths() bool { return !s.peer.cfg.NoAddPath && s.remote.AddPathRx }

// update is an UPDATE. What is wrong with its attributes takes the paths back,
// without an end to the session, where RFC 7606 says so.
func (s *Session) update(body []byte) *notification {
	m := &bgp.BGPUpdate{}
	verdict := m.DecodeFromBytes(body, s.options())
	if n := fatal(verdict); n != nil {
		return n
	}
	m.PathAttributes = slices.DeleteFunc(m.PathAttributes, func(a bgp.PathAttributeInterface) bool {
		t := a.GetType() // of families that were not agreed on
		return t == bgp.BGP_ATTR_TYPE_MP_REACH_NLRI || t == bgp.BGP_ATTR_TYPE_MP_UNREACH_NLRI
	})
	if len(m.NLRI) > 0 && !withdraws(verdict) { // the validator wants attributes that could be read
		families := map[bgp.Family]bgp.BGPAddPathMode{bgp.RF_IPv4_UC: 0}
		if _, err := bgp.ValidateUpdateMsg(m, families, !s.peer.internal(), false, false); err != nil {
			if n := fatal(err); n != nil {
				return n
			}
			verdict = errors.Join(verdict, err)
		}
	}
	if len(m.WithdrawnRoutes) == 0 && len(m.NLRI) == 0 {
		if len(body) == 4 {
			s.endOfRIB()
		}
		return nil
	}
	for _, w := range m.WithdrawnRoutes {
		s.peer.withdraw(key(w))
	}
	if len(m.NLRI) == 0 {
		return nil
	}
	attrs := decodeAttrs(m.PathAttributes)
	why := s.peer.refuses(attrs)
	if withdraws(verdict) {
		why = "Malformed attributes: " + verdict.Error()
	}
	if why != "" {
		s.peer.speaker.log(s.peer, why)
	}
	for _, n := range m.NLRI {
		if why != "" {
			s.peer.withdraw(key(n))
		} else {
			s.peer.learn(key(n), attrs)
		}
	}
	return nil
}

// fatal is the notification for an error that ends the session, nil for others.
func fatal(err error) *notification {
	var m *bgp.MessageError
	if errors.As(err, &m) && m.ErrorHandling < bgp.ERROR_HANDLING_AFISAFI_DISABLE {
		return nil
	}
	if err == nil {
		return nil
	}
	return notificationOf(err, updateError)
}

// withdraws reports whether one of the errors takes paths back.
func withdraws(err error) bool {
	if err == nil {
		return false
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(list.Unwrap(), withdraws)
	}
	var m *bgp.MessageError
	return errors.As(err, &m) && m.ErrorHandling == bgp.ERROR_HANDLING_TREAT_AS_WITHDRAW
}

func key(n bgp.PathNLRI) pathKey {
	return pathKey{n.NLRI.(*bgp.IPAddrPrefix).Prefix, n.ID}
}

// refuses says why paths with such attributes are not used, empty if they are.
// It drops what an external peer has no say in.
func (p *Peer) refuses(a *Attrs) string {
	cfg := &p.speaker.cfg
	if !p.internal() {
		a.LocalPref, a.Originator, a.ClusterList = 100, netip.Addr{}, nil
	}
	switch {
	case a.count(cfg.AS) > p.cfg.AllowLocalAS:
		return fmt.Sprintf("AS path %s: loop", a.PathString())
	case a.Originator == cfg.RouterID:
		return fmt.Sprintf("ORIGINATOR_ID %v: loop", a.Originator)
	case p.cfg.Client && slices.Contains(a.ClusterList, cfg.ClusterID):
		return fmt.Sprintf("CLUSTER_LIST %v: loop", a.ClusterList)
	case !a.NextHop.Is4():
		return fmt.Sprintf("NEXT_HOP %v: want an IPv4 address", a.NextHop)
	case p.up != nil && a.NextHop == p.up.conn.LocalAddr():
		return fmt.Sprintf("NEXT_HOP %v is our own", a.NextHop)
	}
	return ""
}

// learn takes a path from the peer into the table.
func (p *Peer) learn(k pathKey, attrs *Attrs) {
	if p.paths == nil {
		p.paths, p.ids = make(map[pathKey]*Path), make(map[uint32]uint32)
	}
	id := p.id
	if k.number != 0 {
		if p.ids[k.number] == 0 {
			p.ids[k.number] = p.speaker.nextPathID()
		}
		id = p.ids[k.number]
	}
	path := &Path{Prefix: k.prefix, Peer: p, Number: k.number, ID: id, Attrs: attrs, Since: p.speaker.now()}
	p.paths[k] = path
	p.speaker.table.put(p.speaker, path)
}

// withdraw takes it out again.
func (p *Peer) withdraw(k pathKey) {
	if path := p.paths[k]; path != nil {
		delete(p.paths, k)
		p.speaker.table.remove(p.speaker, k.prefix, path.ID)
	}
}

// sortedPaths is the Adj-RIB-In in order.
func (p *Peer) sortedPaths() []*Path {
	return slices.SortedFunc(maps.Values(p.paths), func(a, b *Path) int {
		return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.Number, b.Number))
	})
}

// forget withdraws those of the peer's paths that match.
func (p *Peer) forget(match func(*Path) bool) {
	for _, path := range p.sortedPaths() {
		if match(path) {
			p.withdraw(pathKey{path.Prefix, path.Number})
		}
	}
}

// endOfRIB is the peer's word that it has sent all it has (RFC 4724 §2).
func (s *Session) endOfRIB() {
	s.peer.endRestart()
	s.peer.speaker.heard(s.peer)
}

// heard notes that a peer has sent all its paths, or will not. After a restart
// of our own, the machine's routes stay as they are until all have (RFC 4724 §4.1).
func (s *Speaker) heard(p *Peer) {
	if !s.waiting[p] {
		return
	}
	if delete(s.waiting, p); len(s.waiting) == 0 {
		s.recovered()
	}
}

// recovered ends the speaker's own restart.
func (s *Speaker) recovered() {
	if s.down || !s.cfg.Restarting {
		return
	}
	s.waiting, s.cfg.Restarting = nil, false
	for _, prefix := range s.table.sorted() {
		if s.cfg.Best != nil {
			s.cfg.Best(prefix, first(s.table.prefixes[prefix]))
		}
	}
	if s.cfg.Recovered != nil {
		s.cfg.Recovered()
	}
}

// recovering reports whether the speaker has restarted and is not done with it.
func (s *Speaker) recovering() bool { return s.cfg.Restarting }
