package stack

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/netfilter"
)

// note attaches a remark to the datagram if anybody captures.
func (h *Host) note(p *packet, text func() string) { h.noteFrame(p.frame, text) }

func (h *Host) noteFrame(f *link.Frame, text func() string) {
	if !h.drv.Watching() {
		return
	}
	if f.Note != "" {
		f.Note += "; "
	}
	f.Note += text()
}

// logged notes that a LOG or NFLOG rule wants a packet known.
func (h *Host) logged(r *netfilter.Rule, _ *netfilter.Packet) { h.noteFrame(h.nf.frame, r.Explain) }

// endpoints are the addresses that NAT can change.
type endpoints struct {
	src, dst netip.AddrPort
}

func endpointsOf(ip ipv4) endpoints {
	var s, d uint16
	if p := ip.proto(); p == protoTCP || p == protoUDP {
		s, d, _ = ip.ports()
	}
	return endpoints{netip.AddrPortFrom(ip.src(), s), netip.AddrPortFrom(ip.dst(), d)}
}

// noteNAT says what a translation has changed: the forward direction of a flow
// is DNAT or SNAT, the way back undoes it.
func (h *Host) noteNAT(p *packet, m conntrack.Manip, before endpoints) {
	after := endpointsOf(p.ip())
	if after == before {
		return
	}
	undo := ""
	if p.conn.Dir == conntrack.Reply {
		undo = "un-"
	}
	h.note(p, func() string {
		if m == conntrack.Dst && undo == "" || m == conntrack.Src && undo != "" {
			return natNote(undo+"DNAT", before, after)
		}
		return natNote(undo+"SNAT", before, after)
	})
}

func natNote(what string, before, after endpoints) string {
	from, to := before.dst, after.dst
	if before.src != after.src {
		from, to = before.src, after.src
	}
	if from.Port() == 0 && to.Port() == 0 {
		return fmt.Sprintf("%s %v -> %v", what, from.Addr(), to.Addr())
	}
	return fmt.Sprintf("%s %v -> %v", what, from, to)
}
