package emu

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/stack"
)

// TakeAddr gives the machine one more address, whether or not another machine
// on the same segment has it: two that have one address are a conflict. From
// now on the machine answers ARP requests for it and takes what is sent to it.
// With announce it says so to everybody at once (RFC 5227 §2.3), as a DHCP
// client and ifup do; without, it is silent, as `ip addr add` is, and neighbours
// find it when they ask next.
//
// What comes of a conflict is what comes of it on Linux: who has asked believes
// the first answer, whom an announcement or a request of the other reaches
// believes that one, and connections end at a host that knows nothing of them.
// Neither of the two defends the address.
func (m *Machine) TakeAddr(addr netip.Addr, announce bool) error {
	var err error
	m.lab.drv.Do(func() {
		dev, p, found := m.linkOf(addr)
		switch {
		case !found:
			err = fmt.Errorf("emu: %s is on no segment with %v", m.name, addr)
		case addr == p.Masked().Addr() || addr == stack.LastAddr(p):
			err = fmt.Errorf("emu: %s: %v is no host address of %v", m.name, addr, p.Masked())
		default:
			err = dev.AddAddr(netip.PrefixFrom(addr, p.Bits()))
		}
		if err == nil && announce {
			m.lab.drv.Soon(func() { dev.AnnounceAddr(addr) })
		}
	})
	return err
}

// LeaveAddr takes an address away again that the machine was given by TakeAddr.
// Neighbours are not told: they send to it until they doubt.
func (m *Machine) LeaveAddr(addr netip.Addr) error {
	var err error
	m.lab.drv.Do(func() {
		dev, p, found := m.linkOf(addr)
		if !found || addr == p.Addr() || !dev.RemoveAddr(netip.PrefixFrom(addr, p.Bits())) {
			err = fmt.Errorf("emu: %s has not taken address %v", m.name, addr)
		}
	})
	return err
}

// linkOf returns the device on whose subnet an address is, and the device's own
// address there. The caller holds the lock.
func (m *Machine) linkOf(addr netip.Addr) (dev *stack.Device, own netip.Prefix, found bool) {
	for _, d := range m.stack.Devices() {
		i := slices.IndexFunc(d.Addrs(), func(p netip.Prefix) bool { return !p.Addr().IsLoopback() && !p.IsSingleIP() && p.Contains(addr) })
		if i >= 0 {
			return d, d.Addrs()[i], true
		}
	}
	return nil, netip.Prefix{}, false
}
