package emu

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// Host is a machine on the underlay that is not part of the cluster.
type Host struct {
	Machine
}

// HostConfig describes a machine outside the cluster.
type HostConfig struct {
	Name    string           // unique in the lab
	Segment string           // of the underlay; if empty, the one of Addr, else the first
	Addr    netip.Addr       // on the segment; if zero, a free one from the upper end
	Cable   *link.WireConfig // nil for the segment's own kind
	Routes  []Route          // besides the default route to the segment's gateway

	// Sysctls are kernel parameters of the machine, by name; see stack.Sysctls.
	Sysctls map[string]string
}

// AddHost adds a machine outside the cluster.
func (l *Lab) AddHost(cfg HostConfig) (*Host, error) {
	h := &Host{}
	var err error
	l.drv.Do(func() { err = l.addHost(h, cfg) })
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (l *Lab) addHost(h *Host, cfg HostConfig) error {
	s, err := l.segmentFor(cfg.Segment, cfg.Addr)
	if err != nil {
		return fmt.Errorf("emu: %s: %w", cfg.Name, err)
	}
	if !cfg.Addr.IsValid() {
		cfg.Addr = l.freeAddr(s)
	}
	machine, err := withSysctls(stack.Config{}, cfg.Sysctls)
	if err != nil {
		return fmt.Errorf("emu: %s: %w", cfg.Name, err)
	}
	if err := l.attach(&h.Machine, cfg.Name, s, cfg.Addr, cfg.Cable, machine); err != nil {
		return err
	}
	l.hosts = append(l.hosts, h)
	return l.machineRoutes(&h.Machine, cfg.Routes)
}

// freeAddr picks an address of a segment that nobody has, from the top down.
func (l *Lab) freeAddr(s *segment) netip.Addr {
	a := stack.LastAddr(s.Subnet).Prev()
	for s.Subnet.Contains(a) && (l.addrOwner(a) != "" || l.cfg.LoadBalancers.Contains(a)) {
		a = a.Prev()
	}
	return a
}

// attach makes a machine with a cable to a segment. The caller holds the lock.
func (l *Lab) attach(m *Machine, name string, s *segment, addr netip.Addr, cable *link.WireConfig, cfg stack.Config) error {
	if err := l.checkMachineName(name); err != nil {
		return err
	}
	if err := l.checkAddr(name, s, addr); err != nil {
		return err
	}
	cfg.Name = name
	cfg.OnEcho = func(from netip.Addr) { m.notePeer("icmp", netip.AddrPortFrom(from, 0)) }
	cfg.OnDevice = l.newDevice
	*m = Machine{lab: l, name: name, stack: stack.NewHost(l.drv, cfg), addr: addr}
	if err := l.plugIn(m, s, addr, cable); err != nil {
		return err
	}
	l.machines[name] = m
	m.applyLink() // its segment may be off
	l.setUp(m.stack)
	return nil
}
