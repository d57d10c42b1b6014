package emu

import (
	"fmt"
	"net/netip"

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
