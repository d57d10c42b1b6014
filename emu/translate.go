package emu

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/stack/conntrack"
)

// A Translation is what the NAT of one machine does to the packets of a flow, as
// its connection table has it. The answer is translated back. Its JSON form is
// stable.
type Translation struct {
	Machine string         `json:"machine"`
	Kind    string         `json:"kind"` // DNAT: another destination; SNAT: another source
	From    netip.AddrPort `json:"from"`
	To      netip.AddrPort `json:"to"`
}

// String is the translation in one line: "node1: DNAT 10.96.0.20:80 -> 10.244.2.2:8080".
func (t Translation) String() string {
	return fmt.Sprintf("%s: %s %v -> %v", t.Machine, t.Kind, t.From, t.To)
}

// Translations follows a flow through the connection tables of the lab: what
// was done to its destination and its source, machine by machine, in the order in
// which its first packet met them. Network is tcp or udp; from and to are the two
// ends as the one that began sees them. Flows that no table knows any more, and
// those that nobody has translated, have none.
func (l *Lab) Translations(network string, from, to netip.AddrPort) []Translation {
	proto := map[string]uint8{"tcp": 6, "udp": 17}[network]
	var list []Translation
	l.drv.Do(func() {
		visited := make(map[*Machine]bool)
		machines := l.translators()
		for again := true; again; {
			again = false
			for _, m := range machines {
				if visited[m] {
					continue
				}
				nextFrom, nextTo, ok := m.translate(proto, from, to)
				if !ok || nextFrom == from && nextTo == to {
					continue
				}
				if nextTo != to {
					list = append(list, Translation{m.name, "DNAT", to, nextTo})
				}
				if nextFrom != from {
					list = append(list, Translation{m.name, "SNAT", from, nextFrom})
				}
				visited[m], again = true, true
				from, to = nextFrom, nextTo
			}
		}
	})
	return list
}

// translators are the machines that may translate: nodes and those outside. The
// caller holds the lock.
func (l *Lab) translators() []*Machine {
	var list []*Machine
	for _, n := range l.nodes {
		list = append(list, &n.Machine)
	}
	for _, h := range l.hosts {
		list = append(list, &h.Machine)
	}
	return list
}

// translate returns the ends of a flow after the NAT of a machine, if its table
// knows the flow. The caller holds the lock.
func (m *Machine) translate(proto uint8, from, to netip.AddrPort) (nextFrom, nextTo netip.AddrPort, ok bool) {
	ct := m.stack.Conntrack()
	if ct == nil {
		return from, to, false
	}
	e, dir := ct.Lookup(m.lab.drv.Now(), conntrack.Tuple{Src: from.Addr(), SrcPort: from.Port(), Dst: to.Addr(), DstPort: to.Port(), Proto: proto})
	if e == nil || dir != conntrack.Original {
		return from, to, false
	}
	r := e.Tuple(conntrack.Reply)
	return netip.AddrPortFrom(r.Dst, r.DstPort), netip.AddrPortFrom(r.Src, r.SrcPort), true
}
