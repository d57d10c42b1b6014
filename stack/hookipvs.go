package stack

import (
	"net/netip"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/ipvs"
	"github.com/podwire/podwire/stack/netfilter"
)

// DropIPVS is for packets of connections whose server is gone.
const DropIPVS link.Reason = "IPVS: the server is gone"

// Priorities of the kernel's IPVS hooks (ip_vs_ops).
const (
	priIPVSReply   = priSNAT - 2 // at INPUT; at FORWARD it is that of source NAT
	priIPVSRequest = priSNAT - 1 // at INPUT
	priLocalReply  = priDNAT + 1 // at OUTPUT
	priLocalAsk    = priDNAT + 2
)

// IPVS returns the host's IPVS table. After the first service, and after the
// last is gone, call [Host.RulesChanged].
func (h *Host) IPVS() *ipvs.Table {
	if h.vs == nil {
		h.vs = ipvs.New(ipvs.Config{})
		h.vs.OnExpire = h.forgetIPVS
	}
	return h.vs
}

// forgetIPVS deletes the conntrack entry of a connection that IPVS has
// forgotten (ip_vs_conn_drop_conntrack).
func (h *Host) forgetIPVS(c *ipvs.Conn) {
	if h.track == nil {
		return
	}
	e, _ := h.track.Lookup(h.now(), conntrack.Tuple{
		Src: c.Client.Addr(), SrcPort: c.Client.Port(), Dst: c.Service.Addr(), DstPort: c.Service.Port(), Proto: c.Proto,
	})
	if e != nil {
		h.track.Remove(e)
	}
}

// ipvsSteps are what IPVS does at a hook.
func ipvsSteps(at netfilter.Hook) []hookStep {
	switch at {
	case netfilter.Input:
		return []hookStep{{priority: priIPVSReply, kind: stepIPVSReply}, {priority: priIPVSRequest, kind: stepIPVSRequest}}
	case netfilter.Forward:
		return []hookStep{{priority: priSNAT, kind: stepIPVSReply}}
	case netfilter.Output:
		return []hookStep{{priority: priLocalReply, kind: stepIPVSReply}, {priority: priLocalAsk, kind: stepIPVSRequest}}
	}
	return nil
}

// ipvsRequest is ip_vs_in: what a client sends to a service, whose address is
// local, goes to a server. False means that p has gone, or come to its end.
func (h *Host) ipvsRequest(at netfilter.Hook, p *packet) bool {
	if p.ipvs || p.group {
		return true
	}
	ip := p.ip()
	if ip.proto() == protoICMP {
		c := h.vs.InError(h.now(), ip)
		return c == nil || h.ipvsSend(at, p, c, true)
	}
	c, v := h.vs.In(h.now(), ip)
	switch v {
	case ipvs.Refuse:
		h.note(p, func() string { return "IPVS: no server for " + endpointsOf(p.ip()).dst.String() })
		h.sendError(p, icmpUnreachable, codePort, 0)
		h.drop(p, DropReject)
		return false
	case ipvs.Drop:
		h.drop(p, DropIPVS)
		return false
	case ipvs.Forward:
		return h.ipvsSend(at, p, c, false)
	}
	return true
}

// ipvsSend is ip_vs_nat_xmit: to the server as a router would, with one hop
// less to live, and through OUTPUT. A server on this host has the packet on its
// way to the sockets.
func (h *Host) ipvsSend(at netfilter.Hook, p *packet, c *ipvs.Conn, isError bool) bool {
	to := c.Server
	local := h.isLocal(to.Addr())
	if !local {
		if !h.routeOutput(p, to.Addr()) {
			return false
		}
		ip := p.ip()
		if ip.ttl() <= 1 {
			h.sendError(p, icmpTimeExceeded, 0, 0)
			h.drop(p, DropTTL)
			return false
		}
		if mtu := h.forwardMTU(to.Addr(), p.out); len(ip) > mtu && ip.dontFragment() && !isError {
			h.sendError(p, icmpUnreachable, codeFragNeeded, uint32(mtu))
			h.drop(p, DropTooBig)
			return false
		}
		ip.decrementTTL()
	}
	if !h.ipvsRewrite(p, conntrack.Dst, to, isError, "IPVS") {
		return false
	}
	if h.track != nil && !isError {
		h.track.AlterReply(p.conn, to)
	}
	if local {
		return true
	}
	if h.hook(netfilter.Output, p) {
		h.output(p)
	}
	return false
}

// ipvsReply is ip_vs_out: what a server sends to a client comes from the
// service.
func (h *Host) ipvsReply(p *packet) bool {
	if p.ipvs {
		return true
	}
	ip := p.ip()
	isError := ip.proto() == protoICMP
	var c *ipvs.Conn
	if isError {
		c = h.vs.OutError(h.now(), ip)
	} else {
		c = h.vs.Out(h.now(), ip)
	}
	return c == nil || h.ipvsRewrite(p, conntrack.Src, c.Service, isError, "un-IPVS")
}

// ipvsRewrite changes one end of a packet. What a socket of this host has made
// has a right checksum of its own.
func (h *Host) ipvsRewrite(p *packet, m conntrack.Manip, end netip.AddrPort, isError bool, what string) bool {
	before := endpointsOf(p.ip())
	var err error
	if isError {
		err = conntrack.RewriteError(p.ip(), m, end)
	} else {
		err = conntrack.Rewrite(p.ip(), m, end)
	}
	if err != nil {
		h.drop(p, DropBadHeader)
		return false
	}
	p.ipvs = true
	if after := endpointsOf(p.ip()); after != before {
		h.note(p, func() string { return natNote(what, before, after) })
	}
	return true
}
