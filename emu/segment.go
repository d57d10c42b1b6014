package emu

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// A Segment is one Ethernet segment of the underlay: a switch and the machines
// whose cables end there, all of one subnet. A rack, a VLAN, a WAN link between
// two routers.
type Segment struct {
	Name   string           // unique among the lab's segments
	Subnet netip.Prefix     // IPv4, at most 30 bits
	MTU    int              // of its machines' devices; 0 means the underlay's
	Cable  *link.WireConfig // of its machines; nil means the underlay's
}

// segment is a Segment that was built.
type segment struct {
	Segment
	bridge  *link.Bridge
	gateway netip.Addr // of the first router that is plugged in
	off     bool
}

// A plug is where a machine is plugged into a segment.
type plug struct {
	segment *segment
	cable   *link.Wire // A is the machine's end
	port    *link.BridgePort
	dev     *stack.Device
	addr    netip.Addr
}

// setDefaults completes the underlay: without segments there is one, of Subnet;
// without routers there is one, "gateway", that joins all segments.
func (u *Underlay) setDefaults() {
	if u.MTU == 0 {
		u.MTU = 1500
	}
	if !u.Subnet.IsValid() {
		u.Subnet = netip.MustParsePrefix("192.168.56.0/24")
		if len(u.Segments) > 0 {
			u.Subnet = u.Segments[0].Subnet
		}
	}
	u.Subnet = u.Subnet.Masked()
	if len(u.Segments) == 0 {
		u.Segments = []Segment{{Name: "underlay", Subnet: u.Subnet}}
	}
	u.Segments = slices.Clone(u.Segments)
	for i := range u.Segments {
		s := &u.Segments[i]
		s.Subnet = s.Subnet.Masked()
		if s.MTU == 0 {
			s.MTU = u.MTU
		}
		if s.Cable == nil {
			s.Cable = &u.Cable
		}
	}
	if len(u.Routers) == 0 && !u.NoGateway {
		all := Router{Name: "gateway"}
		for _, s := range u.Segments {
			all.Ports = append(all.Ports, RouterPort{Segment: s.Name})
		}
		u.Routers = []Router{all}
	}
}

// check finds what cannot work; overhead is what the design takes of each
// packet.
func (u *Underlay) check(design string, overhead int, others map[string]netip.Prefix) error {
	names := make(map[string]bool)
	for i, s := range u.Segments {
		switch {
		case s.Name == "" || names[s.Name]:
			return fmt.Errorf("emu: underlay segment %d: name %q, want one that no other has", i+1, s.Name)
		case !s.Subnet.Addr().Is4() || s.Subnet.Bits() > 30:
			return fmt.Errorf("emu: %s subnet %v: want an IPv4 prefix of at most 30 bits", s.label(), s.Subnet)
		case s.MTU < 576+overhead || s.MTU > 65535:
			return fmt.Errorf("emu: %s MTU %d, want %d to 65535 (%s takes %d bytes of it)", s.label(), s.MTU, 576+overhead, design, overhead)
		}
		names[s.Name] = true
		for _, what := range slices.Sorted(maps.Keys(others)) {
			if p := others[what]; p.Overlaps(s.Subnet) {
				return fmt.Errorf("emu: %s %v overlaps %s subnet %v", what, p, s.label(), s.Subnet)
			}
		}
		for _, o := range u.Segments[:i] {
			if o.Subnet.Overlaps(s.Subnet) {
				return fmt.Errorf("emu: segment %s: subnet %v overlaps %v of segment %s", s.Name, s.Subnet, o.Subnet, o.Name)
			}
		}
		if err := s.Cable.Validate(); err != nil {
			return fmt.Errorf("emu: segment %s: %w", s.Name, err)
		}
	}
	return nil
}

// label names a segment in errors.
func (s *Segment) label() string {
	if s.Name == "underlay" {
		return s.Name
	}
	return "segment " + s.Name
}

// segmentFor finds the segment that a machine is to be plugged into: by name,
// else by address, else the first. The caller holds the lock.
func (l *Lab) segmentFor(name string, addr netip.Addr) (*segment, error) {
	if name != "" {
		for _, s := range l.segments {
			if s.Name == name {
				return s, nil
			}
		}
		return nil, fmt.Errorf("there is no segment %q", name)
	}
	for _, s := range l.segments {
		if addr.IsValid() && s.Subnet.Contains(addr) {
			return s, nil
		}
	}
	return l.segments[0], nil
}

// plugIn gives a machine another device, with a cable to s. The caller holds
// the lock.
func (l *Lab) plugIn(m *Machine, s *segment, addr netip.Addr, cable *link.WireConfig) error {
	if err := l.checkAddr(m.name, s, addr); err != nil {
		return err
	}
	if cable == nil {
		cable = s.Cable
	}
	if err := cable.Validate(); err != nil {
		return fmt.Errorf("emu: %s: %w", m.name, err)
	}
	wire, dev := m.name, fmt.Sprintf("eth%d", len(m.plugs))
	if len(m.plugs) > 0 {
		wire += "/" + dev
	}
	w := l.drv.NewWire(wire, *cable)
	p := plug{segment: s, cable: w, port: s.bridge.AddPort(wire, w.B), addr: addr}
	var err error
	if p.dev, err = m.stack.AddEthernet(dev, link.LocalMAC(m.stack.Rand(dev).Uint64()), s.MTU, w.A); err != nil {
		return err
	}
	if err := p.dev.AddAddr(netip.PrefixFrom(addr, s.Subnet.Bits())); err != nil {
		return err
	}
	m.plugs = append(m.plugs, p)
	l.addrs[addr] = m
	return nil
}

func (l *Lab) checkAddr(name string, s *segment, addr netip.Addr) error {
	switch subnet := s.Subnet; {
	case !subnet.Contains(addr) || addr == subnet.Addr() || addr == stack.LastAddr(subnet):
		return fmt.Errorf("emu: %s: address %v is not a host address of the %s %v", name, addr, s.label(), subnet)
	case l.cfg.LoadBalancers.Contains(addr):
		return fmt.Errorf("emu: %s: address %v is in the load balancer pool %v", name, addr, l.cfg.LoadBalancers)
	case l.addrOwner(addr) != "":
		return fmt.Errorf("emu: %s: address %v is already that of %s", name, addr, l.addrOwner(addr))
	}
	return nil
}

// unplug takes all of a machine's cables away for good. The caller holds the
// lock.
func (l *Lab) unplug(m *Machine) {
	for _, p := range m.plugs {
		p.cable.SetUp(false)
		p.segment.bridge.RemovePort(p.port)
		delete(l.addrs, p.addr)
	}
}

// SetSegment switches the switch of a segment off or on. Off, nothing passes
// between its machines: to each it is as if its cable was pulled.
func (l *Lab) SetSegment(name string, up bool) error {
	var err error
	l.drv.Do(func() {
		var s *segment
		if s, err = l.segmentFor(name, netip.Addr{}); err != nil || name == "" {
			err = fmt.Errorf("emu: there is no segment %q", name)
			return
		}
		s.off = !up
		for _, n := range l.nodes {
			n.applyLink()
		}
		for _, h := range l.hosts {
			h.applyLink()
		}
		for _, t := range l.taps {
			t.applyLink()
		}
	})
	return err
}
