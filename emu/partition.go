package emu

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
)

// DropPartition counts frames that a partition has stopped.
const DropPartition link.Reason = "network is partitioned"

// Partition cuts the underlay between groups of machines: what one of a group
// sends to one of another is lost, in both directions, also over routers. Pods
// are with their nodes. Machines in no group reach everybody. No groups heal
// the network.
func (l *Lab) Partition(groups ...[]*Machine) error {
	p := &partition{lab: l, group: make(map[*Machine]int), mac: make(map[link.MAC]int), port: make(map[*link.BridgePort]int)}
	for i, list := range groups {
		for _, m := range list {
			switch {
			case m == nil || len(m.plugs) == 0:
				return fmt.Errorf("emu: partition: want nodes, hosts and routers")
			case p.group[m] != 0:
				return fmt.Errorf("emu: partition: %s is in two groups", m.name)
			}
			p.group[m] = i + 1
			for _, plug := range m.plugs {
				p.mac[plug.dev.MAC], p.port[plug.port] = i+1, i+1
			}
		}
	}
	l.drv.Do(func() {
		for _, s := range l.segments {
			s.bridge.Filter = nil // the fast path
			if len(groups) > 0 {
				s.bridge.Filter = p
			}
		}
	})
	return nil
}

// partition drops frames between groups, on the switches. It is asked for every
// frame: all that it looks up are maps.
type partition struct {
	lab   *Lab
	group map[*Machine]int // from 1
	mac   map[link.MAC]int
	port  map[*link.BridgePort]int // of the machine whose cable ends there
}

// BridgeIn implements link.BridgeFilter: whom a packet is from and for says its
// IP header, so that a router between them does not matter.
func (p *partition) BridgeIn(f *link.Frame, in *link.BridgePort) *link.Frame {
	b := f.Bytes()
	from, to := p.mac[link.SrcMAC(b)], p.mac[link.DstMAC(b)]
	if ip := b[link.EthernetHeader:]; link.EtherType(b) == 0x0800 && len(ip) >= 20 {
		from, to = p.of(ip[12:16], from), p.of(ip[16:20], to)
	}
	return p.pass(f, in.Bridge(), from, to)
}

// BridgeForward implements link.BridgeFilter: what is for all, such as an ARP
// request, goes to the sender's group only.
func (p *partition) BridgeForward(f *link.Frame, in, out *link.BridgePort) *link.Frame {
	b := f.Bytes()
	if !link.DstMAC(b).IsMulticast() {
		return f
	}
	return p.pass(f, in.Bridge(), p.mac[link.SrcMAC(b)], p.port[out])
}

func (p *partition) pass(f *link.Frame, b *link.Bridge, from, to int) *link.Frame {
	if from != 0 && to != 0 && from != to {
		b.Point().Drop(f, DropPartition)
		return nil
	}
	return f
}

// of returns the group of the machine that has an address: a pod's node. An
// address that nobody has says nothing.
func (p *partition) of(addr []byte, otherwise int) int {
	a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(addr))))
	m := p.lab.addrs[a]
	if m == nil {
		return otherwise
	}
	if m.pod != nil {
		m = &m.pod.node.Machine
	}
	return p.group[m]
}
