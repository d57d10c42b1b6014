package bgp

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Origin is the protocol that a path comes from.
type Origin uint8

// Protocols, in BIRD's words.
const (
	BGP    Origin = iota
	Static        // announced by the speaker's user
	Kernel        // learned from the machine's routes
)

// preference of protocols, the higher the better (BIRD's defaults).
var preference = [...]int{BGP: 100, Static: 200, Kernel: 10}

// A Path is a way to a prefix. It must not be changed.
type Path struct {
	Prefix   netip.Prefix
	Protocol Origin
	Peer     *Peer  // it came from; nil if it is the machine's own
	Number   uint32 // that the peer gave it (RFC 7911), 0 for none
	ID       uint32 // that we give it
	Attrs    *Attrs
	Since    time.Duration // when it was learned, on the driver's clock

	stale  bool // from before the peer's restart
	serial uint32
}

// Stale reports whether the path is from before a graceful restart of the peer
// that has not been completed.
func (p *Path) Stale() bool { return p.stale }

// table is the Loc-RIB with all paths, not the best alone.
type table struct {
	prefixes map[netip.Prefix][]*Path // the best first
}

func newTable() table { return table{prefixes: make(map[netip.Prefix][]*Path)} }

// sorted returns the prefixes in order.
func (t *table) sorted() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(t.prefixes), comparePrefixes)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// put adds a path in place of the one that had its ID.
func (t *table) put(s *Speaker, p *Path) {
	s.paths++
	p.serial = s.paths
	old := t.prefixes[p.Prefix]
	list := slices.DeleteFunc(slices.Clone(old), func(o *Path) bool { return o.ID == p.ID })
	at := slices.IndexFunc(list, func(o *Path) bool { return better(p, o) < 0 })
	if at < 0 {
		at = len(list)
	}
	t.prefixes[p.Prefix] = slices.Insert(list, at, p)
	s.changed(p.Prefix, first(old))
}

// remove takes the path with an ID away.
func (t *table) remove(s *Speaker, prefix netip.Prefix, id uint32) {
	old := t.prefixes[prefix]
	list := slices.DeleteFunc(slices.Clone(old), func(o *Path) bool { return o.ID == id })
	if len(list) == len(old) {
		return
	}
	if t.prefixes[prefix] = list; len(list) == 0 {
		delete(t.prefixes, prefix)
	}
	s.changed(prefix, first(old))
}

func first(list []*Path) *Path {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// changed tells all who want to know that the paths to a prefix are others.
func (s *Speaker) changed(prefix netip.Prefix, old *Path) {
	if best := first(s.table.prefixes[prefix]); best != old && !s.down && len(s.waiting) == 0 && s.cfg.Best != nil {
		s.cfg.Best(prefix, best)
	}
	for _, p := range s.peers {
		p.mark(prefix)
	}
}

// better is the decision process (RFC 4271 §9.1.2, RFC 4456 §9): negative if a is
// preferred. Next hops are all as far away: the underlay has no metrics.
func better(a, b *Path) int {
	if c := cmp.Compare(preference[b.Protocol], preference[a.Protocol]); c != 0 || a.Peer == nil || b.Peer == nil {
		return cmp.Or(c, cmp.Compare(a.serial, b.serial))
	}
	x, y := a.Attrs, b.Attrs
	med := 0
	if x.neighbourAS() == y.neighbourAS() {
		med = cmp.Compare(x.MED, y.MED)
	}
	return cmp.Or(
		compareBool(a.stale, b.stale),
		cmp.Compare(y.LocalPref, x.LocalPref),
		cmp.Compare(x.pathLength(), y.pathLength()),
		cmp.Compare(x.Origin, y.Origin),
		med,
		compareBool(a.Peer.internal(), b.Peer.internal()),
		a.originator().Compare(b.originator()),
		cmp.Compare(len(x.ClusterList), len(y.ClusterList)),
		a.Peer.cfg.Addr.Compare(b.Peer.cfg.Addr),
		cmp.Compare(a.ID, b.ID),
	)
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// originator is the router that decides between equals.
func (p *Path) originator() netip.Addr {
	if p.Attrs.Originator.IsValid() {
		return p.Attrs.Originator
	}
	return p.Peer.remoteID
}

// Table returns all paths by prefix, the best of each first.
func (s *Speaker) Table() []*Path {
	var list []*Path
	for _, prefix := range s.table.sorted() {
		list = append(list, s.table.prefixes[prefix]...)
	}
	return list
}

// Lookup returns the paths to a prefix, the best first.
func (s *Speaker) Lookup(prefix netip.Prefix) []*Path {
	return slices.Clone(s.table.prefixes[prefix.Masked()])
}
