package faceoff

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/link"
)

// A meter counts what leaves the nodes of a lab, and sees what leaves the sending
// pod. Where both pods are on one node, it counts what leaves the pods instead.
type meter struct {
	lab   *emu.Lab
	nodes map[netip.Addr]bool
	wires map[*link.Point]bool // where frames are counted
	pods  map[*link.Point]bool
	from  *link.Point // the sending pod's device
	count counts

	cut    map[uint64]bool   // IDs of fragments that left the pod
	sample bool              // keep the pod's segments
	packet map[uint64][]byte // IP packets that left the pod, by the datagram's ID
	best   []byte            // the largest frame that carries one of them
	bestIP []byte            // the packet in it, as it left the pod
	mss    int               // of the latest SYN
}

// counts is what a meter has counted.
type counts struct {
	frames, bytes        int // bytes with what each frame takes besides its own
	fragments, icmp, arp int
	control              int
}

// measure begins to count in a lab.
func (f *field) measure() *meter {
	m := &meter{lab: f.Lab, nodes: make(map[netip.Addr]bool), wires: make(map[*link.Point]bool), pods: make(map[*link.Point]bool),
		cut: make(map[uint64]bool), packet: make(map[uint64][]byte)}
	for _, n := range f.Nodes() {
		m.nodes[n.Addr()] = true
		for _, u := range n.Uplinks() {
			if f.across() {
				m.wires[u.Device.Point()] = true
			}
		}
	}
	f.Driver().Do(func() {
		for _, p := range []*emu.Pod{f.from, f.to} {
			point := p.Stack().Device("eth0").Point()
			m.pods[point] = true
			if !f.across() {
				m.wires[point] = true
			}
		}
		m.from = f.from.Stack().Device("eth0").Point()
		for p := range m.wires {
			p.Watch(m)
		}
		for p := range m.pods {
			if !m.wires[p] {
				p.Watch(m)
			}
		}
	})
	return m
}

// stop ends the counting.
func (m *meter) stop() {
	m.lab.Driver().Do(func() {
		for p := range m.wires {
			p.Unwatch(m)
		}
		for p := range m.pods {
			if !m.wires[p] {
				p.Unwatch(m)
			}
		}
	})
}

// read returns what was counted so far.
func (m *meter) read() (c counts) {
	m.lab.Driver().Do(func() { c = m.count })
	return c
}

func (c counts) less(o counts) counts {
	return counts{c.frames - o.frames, c.bytes - o.bytes, c.fragments - o.fragments, c.icmp - o.icmp, c.arp - o.arp, c.control - o.control}
}

// Observe implements link.Observer.
func (m *meter) Observe(o *link.Observation) {
	if o.Drop != "" {
		return
	}
	if m.pods[o.Point] && o.Direction == link.In && isICMPError(explain.Layers(o.Point.Type, o.Bytes)) {
		m.count.icmp++
	}
	if o.Direction != link.Out {
		return
	}
	if o.Point == m.from {
		m.leavesPod(o)
	}
	if m.wires[o.Point] {
		m.leavesNode(o)
	}
}

// leavesPod looks at a packet of the sending pod.
func (m *meter) leavesPod(o *link.Observation) {
	layers := explain.Layers(o.Point.Type, o.Bytes)
	if len(layers) != 1 {
		return
	}
	ip := layers[0].IP
	if isFragment(ip) {
		m.cut[o.ID] = true
	}
	if mss, ok := synMSS(ip); ok {
		m.mss = mss
	}
	if m.sample && ip[9] == protoTCP {
		m.packet[o.ID] = append([]byte(nil), ip...)
	}
}

// leavesNode counts a frame of a node.
func (m *meter) leavesNode(o *link.Observation) {
	c := &m.count
	c.frames++
	c.bytes += len(o.Bytes) + link.FrameOverhead
	if link.EtherType(o.Bytes) == 0x0806 {
		c.arp++
		return
	}
	layers := explain.Layers(o.Point.Type, o.Bytes)
	if m.cut[o.ID] || slices.ContainsFunc(layers, func(l explain.Layer) bool { return isFragment(l.IP) }) {
		c.fragments++
	}
	switch {
	case m.isControl(layers):
		c.control++
	case isICMPError(layers):
		c.icmp++
	}
	if ip := m.packet[o.ID]; ip != nil && len(ip) > len(m.bestIP) {
		m.best, m.bestIP = append(m.best[:0], o.Bytes...), ip
	}
}

// isFragment reports whether MF or an offset is set (RFC 791 §3.1).
func isFragment(ip []byte) bool { return binary.BigEndian.Uint16(ip[6:])&0x3fff != 0 }

// isControl reports whether a packet is from node to node and carries nothing of
// a pod: WireGuard's handshakes and keepalives, routing protocols.
func (m *meter) isControl(layers []explain.Layer) bool {
	if len(layers) != 1 || !m.nodes[layers[0].Source()] || !m.nodes[layers[0].Target()] {
		return false
	}
	ip := layers[0].IP
	if !strings.HasPrefix(layers[0].Tunnel, "WireGuard") {
		return layers[0].Tunnel == "" && binary.BigEndian.Uint16(ip[6:])&0x1fff == 0 && !isICMPError(layers)
	}
	const header, keepalive = 28, 28 + 32
	return len(ip) > header && (ip[header] != wireguardData || len(ip) == keepalive)
}

// wireguardData is the type of WireGuard's data messages; 1 to 3 are handshakes.
const wireguardData = 4

const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// isICMPError reports whether the innermost packet is an ICMP error or redirect.
func isICMPError(layers []explain.Layer) bool {
	if len(layers) == 0 {
		return false
	}
	ip := layers[len(layers)-1].IP
	if len(ip) <= 20 || ip[9] != protoICMP {
		return false
	}
	switch ip[20] { // RFC 792
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// synMSS reads the MSS option of a SYN.
func synMSS(ip []byte) (mss int, ok bool) {
	const syn, ack = 0x02, 0x10
	if len(ip) < 40 || ip[9] != protoTCP || ip[33]&(syn|ack) != syn {
		return 0, false
	}
	end := min(len(ip), 20+int(ip[32]>>4)*4)
	if end < 40 {
		return 0, false // a data offset within the header
	}
	options := ip[40:end]
	for len(options) >= 2 {
		switch kind := options[0]; {
		case kind == 1:
			options = options[1:]
			continue
		case kind == 2 && len(options) >= 4:
			return int(binary.BigEndian.Uint16(options[2:])), true
		case kind == 0 || options[1] < 2 || int(options[1]) > len(options):
			return 0, false
		}
		options = options[options[1]:]
	}
	return 0, false
}

// seconds is a duration as measures have it.
func seconds(d time.Duration) float64 { return d.Seconds() }
