package emu

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// Host is a machine on the underlay that is not part of the cluster.
type Host struct {
	Machine
}

// HostConfig describes a machine outside the cluster.
type HostConfig struct {
	Name  string           // unique in the lab
	Addr  netip.Addr       // on the underlay; if zero, a free one from the upper end
	Cable *link.WireConfig // nil for the underlay's own kind

	// Sysctls are kernel parameters of the machine, by name; see stack.Sysctls.
	Sysctls map[string]string
}

// AddHost adds a machine outside the cluster.
func (l *Lab) AddHost(cfg HostConfig) (*Host, error) {
	h := &Host{}
	var err error
	l.drv.Do(func() {
		if !cfg.Addr.IsValid() {
			cfg.Addr = l.freeAddr()
		}
		var machine stack.Config
		if machine, err = withSysctls(machine, cfg.Sysctls); err != nil {
			err = fmt.Errorf("emu: %s: %w", cfg.Name, err)
			return
		}
		if err = l.attach(&h.Machine, cfg.Name, cfg.Addr, cfg.Cable, machine); err == nil {
			err = l.defaultRoute(&h.Machine)
			l.hosts = append(l.hosts, h)
		}
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// freeAddr picks an underlay address that nobody has, from the top down.
func (l *Lab) freeAddr() netip.Addr {
	subnet := l.cfg.Underlay.Subnet
	a := stack.LastAddr(subnet).Prev()
	for subnet.Contains(a) && l.addrs[a] != nil {
		a = a.Prev()
	}
	return a
}

// attach makes a machine with a cable to the underlay. The caller holds the
// lock.
func (l *Lab) attach(m *Machine, name string, addr netip.Addr, cable *link.WireConfig, cfg stack.Config) error {
	subnet := l.cfg.Underlay.Subnet
	switch {
	case l.closed:
		return errClosed
	case name == "" || strings.Contains(name, "/"):
		return fmt.Errorf("emu: machine name %q, want one or more characters and no slash", name)
	case l.machines[name] != nil:
		return fmt.Errorf("emu: there is already a machine %q", name)
	case !subnet.Contains(addr) || addr == subnet.Addr() || addr == stack.LastAddr(subnet):
		return fmt.Errorf("emu: %s: address %v is not a host address of the underlay %v", name, addr, subnet)
	case l.addrs[addr] != nil:
		return fmt.Errorf("emu: %s: address %v is already that of %s", name, addr, l.addrs[addr].name)
	}
	wire := l.cfg.Underlay.Cable
	if cable != nil {
		wire = *cable
	}
	if err := wire.Validate(); err != nil {
		return fmt.Errorf("emu: %s: %w", name, err)
	}
	cfg.Name = name
	cfg.OnEcho = func(from netip.Addr) { m.notePeer("icmp", netip.AddrPortFrom(from, 0)) }
	cfg.OnDevice = l.newDevice
	s := stack.NewHost(l.drv, cfg)
	w := l.drv.NewWire(name, wire)
	plug := l.underlay.AddPort(name, w.B)
	eth0, err := s.AddEthernet("eth0", link.LocalMAC(s.Rand("eth0").Uint64()), l.cfg.Underlay.MTU, w.A)
	if err != nil {
		return err
	}
	if err := eth0.AddAddr(netip.PrefixFrom(addr, subnet.Bits())); err != nil {
		return err
	}
	*m = Machine{lab: l, name: name, stack: s, addr: addr, cable: w, plug: plug}
	l.machines[name], l.addrs[addr] = m, m
	l.setUp(s)
	return nil
}

// addGateway adds the underlay's router. It leads nowhere: what the cluster
// sends to the world ends there.
func (l *Lab) addGateway() error {
	var err error
	g := &Host{}
	l.drv.Do(func() {
		l.gateway = l.cfg.Underlay.Subnet.Addr().Next()
		if err = l.attach(&g.Machine, "gateway", l.gateway, nil, stack.Config{Forward: true}); err != nil {
			return
		}
		l.hosts = append(l.hosts, g)
		err = g.stack.AddRoute(stack.Route{Dst: everywhere, Type: stack.Blackhole})
	})
	return err
}

var everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// defaultRoute points a machine at the gateway, if there is one.
func (l *Lab) defaultRoute(m *Machine) error {
	if !l.gateway.IsValid() {
		return nil
	}
	return m.stack.AddRoute(stack.Route{Dst: everywhere, Via: l.gateway, Dev: m.stack.Device("eth0")})
}
