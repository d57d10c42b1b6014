package emu

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

// BGPConfig is a BGP speaker on a machine that is not a node: a router of the
// underlay, or any host that takes part.
type BGPConfig struct {
	AS       uint32
	RouterID netip.Addr // if zero, the machine's address
	Peers    []bgp.PeerConfig

	// Announce are prefixes that the speaker makes known.
	Announce []netip.Prefix
}

// RunBGP starts a BGP speaker on the machine, in the way of BIRD. What it learns
// becomes routes of the machine; what it knows it tells all its peers, by the rules
// of BGP alone. A node of a design that speaks BGP has one already.
func (m *Machine) RunBGP(cfg BGPConfig) (s *bgp.Speaker, err error) {
	m.lab.drv.Do(func() { s, err = m.runBGP(cfg) })
	return s, err
}

func (m *Machine) runBGP(cfg BGPConfig) (*bgp.Speaker, error) {
	switch {
	case m.lab.closed:
		return nil, errClosed
	case m.Speaker() != nil:
		return nil, fmt.Errorf("emu: %s runs a BGP speaker already", m.name)
	}
	if !cfg.RouterID.IsValid() {
		cfg.RouterID = m.addr
	}
	s, err := m.speak(bgp.Config{AS: cfg.AS, RouterID: cfg.RouterID, Best: m.installBGP})
	if err != nil {
		return nil, err
	}
	for _, p := range cfg.Peers {
		if _, err := s.AddPeer(p); err != nil {
			m.endBirds()
			return nil, fmt.Errorf("emu: %s: %w", m.name, err)
		}
	}
	for _, a := range cfg.Announce {
		s.Announce(a)
	}
	return s, nil
}

// routersSpeak starts BGP on the routers that have an AS number. Those that share
// a segment are peers. The caller holds the lock.
func (l *Lab) routersSpeak(routers []*Machine) error {
	as := func(i int) uint32 { return l.cfg.Underlay.Routers[i].AS }
	for i, m := range routers {
		if as(i) == 0 {
			continue
		}
		cfg := BGPConfig{AS: as(i)}
		for j, o := range routers {
			addr, joined := o.AddrBeside(m)
			if i == j || as(j) == 0 || !joined {
				continue
			}
			own, _ := m.AddrBeside(o)
			cfg.Peers = append(cfg.Peers, bgp.PeerConfig{Name: o.name, Addr: addr, Local: own, AS: as(j), KeepNextHop: true, Passive: addr.String() > own.String()})
		}
		if _, err := m.runBGP(cfg); err != nil {
			return err
		}
	}
	return nil
}

// peerWithRouters makes a new node the peer of the routers in its segment that
// speak BGP, if the design does too. The caller holds the lock.
func (l *Lab) peerWithRouters(n *Node) error {
	s, err := l.speaking()
	if err != nil {
		return nil
	}
	for _, h := range l.hosts {
		addr, joined := h.AddrBeside(&n.Machine)
		r := h.Speaker()
		if !joined || r == nil || !l.isRouter(&h.Machine) {
			continue
		}
		if _, err := r.AddPeer(bgp.PeerConfig{Name: n.name, Addr: n.addr, Local: addr, AS: l.cfg.BGP.NodeAS(), KeepNextHop: true, Passive: true}); err != nil {
			return fmt.Errorf("emu: %s: %w", h.name, err)
		}
		if err := s.AddPeer(overlay.BGPPeer{Node: n.name, Addr: addr, AS: r.AS(), AllowLocalAS: 1}); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) isRouter(m *Machine) bool {
	return slices.ContainsFunc(l.cfg.Underlay.Routers, func(r Router) bool { return r.Name == m.name })
}

// leaveRouters ends that for a node that is gone.
func (l *Lab) leaveRouters(n *Node) {
	for _, h := range l.hosts {
		if r := h.Speaker(); r != nil && l.isRouter(&h.Machine) {
			r.RemovePeer(n.name)
		}
	}
}

// birdRoutes is the protocol of the routes that come from BGP.
const birdRoutes = "bird"

// installBGP makes the best path to a prefix the machine's route. A next hop that
// is not on a link is looked up; one that cannot be reached makes the prefix
// unreachable.
func (m *Machine) installBGP(dst netip.Prefix, p *bgp.Path) {
	m.stack.RemoveRoute(dst, func(r stack.Route) bool { return r.Proto == birdRoutes })
	if p == nil || p.Peer == nil {
		return // its own prefixes are where they are
	}
	r := stack.Route{Dst: dst, Proto: birdRoutes}
	switch way, ok := m.stack.LookupRoute(p.Attrs.NextHop); {
	case !ok || way.Type != stack.Unicast || way.Proto == birdRoutes:
		r.Type = stack.Unreachable
	case way.Via.IsValid():
		r.Via, r.Dev = way.Via, way.Dev
	default:
		r.Via, r.Dev = p.Attrs.NextHop, way.Dev
	}
	for _, o := range m.stack.Routes() {
		if o.Dst == dst && o.Metric == r.Metric {
			return // a connected or static route is preferred
		}
	}
	if err := m.stack.AddRoute(r); err != nil {
		m.lab.warn(nil, fmt.Errorf("emu: %s: bird: %w", m.name, err))
	}
}
