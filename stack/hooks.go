package stack

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/netfilter"
)

// nfState is the host's side of netfilter: it shows packets to the rules and
// carries out what they say. A host without rules has no hooks at all, as a
// namespace in which nothing was ever loaded, and one whose rules do not ask for
// connections tracks none.
type nfState struct {
	host   *Host
	active bool
	tracks bool             // connections
	plan   *hookPlan        // nil for a host that has nothing but iptables rules
	empty  [5][4]bool       // by hook and table
	view   netfilter.Packet // scratch
	conn   ctView           // scratch, what view.Conn points to

	// What view shows, for the questions of seldom matches. A pointer to the
	// packet itself would move every packet to the heap.
	in    *Device
	frame *link.Frame
}

// RulesChanged tells the host that its rules were changed. Connection tracking
// starts with the first rule that asks for it.
func (h *Host) RulesChanged() {
	h.nf.tracks = h.rules.Tracks() || h.nft != nil && h.nft.Tracks()
	h.nf.active = h.nf.tracks || h.nft != nil && !h.nft.Empty() || h.vs != nil && !h.vs.Empty()
	for hook := range h.nf.empty {
		for table := range h.nf.empty[hook] {
			e := h.rules.Empty(netfilter.Table(table), netfilter.Hook(hook))
			h.nf.empty[hook][table] = e
			h.nf.active = h.nf.active || !e
		}
	}
	if h.nf.tracks && h.track == nil {
		h.track = conntrack.New(h.cfg.Conntrack, h.Rand("conntrack"))
	}
	h.nf.plan = h.planHooks()
}

// hook runs the tables of one hook over p. False means that p has come to its
// end; otherwise it still belongs to the caller.
func (h *Host) hook(at netfilter.Hook, p *packet) bool {
	if !h.nf.active {
		return true
	}
	h.Work(p.frame, WorkNetfilter)
	if h.nf.plan != nil {
		return h.nf.plan.follow(h, at, p)
	}
	tables := netfilter.Tables(at)
	tracking := h.nf.tracks && (at == netfilter.Prerouting || at == netfilter.Output)
	if tracking && !p.tracked && p.ip().fragment() && !h.defragment(p) {
		return false // conntrack wants whole datagrams, before raw sees them
	}
	for _, t := range tables {
		if t == netfilter.Mangle && tracking && !h.trackPacket(p) {
			return false
		}
		if t == netfilter.NAT {
			if !h.nat(at, p) {
				return false
			}
			continue
		}
		if h.nf.empty[at][t] {
			h.rules.Pass(t, at, p.frame.Len())
		} else if !h.filter(t, at, p) {
			return false
		}
	}
	if h.nf.tracks && (at == netfilter.Postrouting || at == netfilter.Input) && !h.track.Confirm(h.now(), p.conn) {
		h.note(p, func() string { return "nf_conntrack: insert failed" })
		h.drop(p, DropConntrack)
		return false
	}
	return true
}

// trackPacket is conntrack's own place in a hook: after raw, before mangle.
func (h *Host) trackPacket(p *packet) bool {
	if p.tracked {
		return true
	}
	if p.tracked = true; p.in != nil && !p.sumOK() { // nf_conntrack_checksum
		p.conn = conntrack.Conn{State: conntrack.StateInvalid}
		return true
	}
	p.conn = h.track.Track(h.now(), p.ip())
	if p.conn.State == conntrack.StateRefused {
		h.note(p, func() string { return "nf_conntrack: table full, dropping packet" }) // what the kernel logs
		h.drop(p, DropConntrack)
		return false
	}
	return true
}

// filter runs a table that can only accept, drop or mark.
func (h *Host) filter(t netfilter.Table, at netfilter.Hook, p *packet) bool {
	h.fillView(at, p)
	v := h.rules.Run(t, at, &h.nf.view, h)
	return h.judge(p, v, v.String)
}

// judge carries out a verdict of a chain that can only accept, drop or mark.
func (h *Host) judge(p *packet, v netfilter.Verdict, why func() string) bool {
	if !h.obey(p) {
		return false
	}
	switch v.Kind {
	case netfilter.Drop:
		h.note(p, why)
		h.drop(p, DropNetfilter)
		return false
	case netfilter.Reject:
		h.note(p, why)
		h.reject(p, v.Reject)
		return false
	}
	return true
}

// obey carries out what rules have written into the view. False means that p
// has come to its end.
func (h *Host) obey(p *packet) bool {
	v := &h.nf.view
	p.mark = v.Mark
	if v.State == netfilter.StateUntracked {
		p.tracked = true
	}
	if ip := p.ip(); v.TOS != ip.tos() {
		ip.setTOS(v.TOS)
	}
	if ip := p.ip(); v.TTL != ip.ttl() {
		ip.setTTL(v.TTL)
	}
	if v.MSS != (netfilter.MSSAction{}) && !h.setMSS(p, v.MSS) {
		h.drop(p, DropNetfilter)
		return false
	}
	return true
}

// reject answers as REJECT --reject-with says and drops. Nobody is answered for
// a packet whose checksum is wrong.
func (h *Host) reject(p *packet, with netfilter.RejectWith) {
	if !p.sumOK() {
		h.drop(p, DropChecksum)
		return
	}
	if code, ok := with.ICMPCode(); ok {
		h.sendError(p, icmpUnreachable, code, 0)
	} else {
		h.sendReset(p)
	}
	h.drop(p, DropReject)
}

// nat decides about a new flow, once, and translates every packet.
func (h *Host) nat(at netfilter.Hook, p *packet) bool {
	if p.conn.Entry == nil {
		return true
	}
	m := conntrack.Src
	if at == netfilter.Prerouting || at == netfilter.Output {
		m = conntrack.Dst
	}
	if p.conn.NeedsNAT(m) {
		if err := h.setupNAT(at, m, p); err != nil {
			h.drop(p, DropConntrack)
			return false
		}
	}
	if !p.conn.Translates(m) {
		return true
	}
	watched := h.drv.Watching()
	var before endpoints
	if watched {
		before = endpointsOf(p.ip())
	}
	if err := h.track.Translate(p.conn, m, p.ip()); err != nil {
		h.drop(p, DropConntrack)
		return false
	}
	if watched {
		h.noteNAT(p, m, before)
	}
	return true
}

// setupNAT asks the nat table where the flow should go. The null binding, for
// flows that no rule translates, still keeps the reply's tuple unique.
func (h *Host) setupNAT(at netfilter.Hook, m conntrack.Manip, p *packet) error {
	if h.nf.plan != nil {
		return h.nf.plan.setupNAT(h, at, m, p)
	}
	if h.nf.empty[at][netfilter.NAT] {
		h.rules.Pass(netfilter.NAT, at, p.frame.Len())
		return h.track.Setup(p.conn.Entry, m, conntrack.Range{})
	}
	h.fillView(at, p)
	v := h.rules.Run(netfilter.NAT, at, &h.nf.view, h)
	if !h.obey(p) {
		return errDropped
	}
	if v.Kind == netfilter.Drop {
		h.note(p, v.String)
		return errDropped
	}
	return h.track.Setup(p.conn.Entry, m, h.natRange(v, at, p))
}

// errDropped says that a rule in the nat table wants the packet dropped.
var errDropped = fmt.Errorf("stack: dropped by a rule in nat")

// natRange turns a verdict into the range that conntrack picks from.
func (h *Host) natRange(v netfilter.Verdict, at netfilter.Hook, p *packet) conntrack.Range {
	if v.Kind == netfilter.Accept {
		return conntrack.Range{}
	}
	r := conntrack.Range{
		MinAddr: v.Range.MinAddr, MaxAddr: v.Range.MaxAddr,
		MinPort: v.Range.MinPort, MaxPort: v.Range.MaxPort,
		Random: v.Range.Random, RandomFully: v.Range.RandomFully, Persistent: v.Range.Persistent,
	}
	switch v.Kind {
	case netfilter.DNAT:
		if v.Range.HasBase { // each port to the one at its place in the range
			_, dst, _ := p.ip().ports()
			r.MinPort += (dst - v.Range.Base) % (r.MaxPort - r.MinPort + 1)
			r.MaxPort = r.MinPort
		}
	case netfilter.Netmap:
		a := p.ip().src()
		if at == netfilter.Prerouting || at == netfilter.Output {
			a = p.ip().dst()
		}
		r.MinAddr = v.Range.Map(a)
		r.MaxAddr = r.MinAddr
	case netfilter.Masquerade:
		r.MinAddr = h.sourceFor(p.out, p.via)
		r.MaxAddr = r.MinAddr
	case netfilter.Redirect:
		r.MinAddr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if at == netfilter.Prerouting && p.in.primary().IsValid() {
			r.MinAddr = p.in.primary()
		}
		r.MaxAddr = r.MinAddr
	}
	return r
}

// fillView shows p to the rules.
func (h *Host) fillView(at netfilter.Hook, p *packet) {
	ip := p.ip()
	v := &h.nf.view
	*v = netfilter.Packet{
		Src: ip.src(), Dst: ip.dst(), Proto: ip.proto(), TOS: ip.tos(), TTL: ip.ttl(),
		Length: len(ip), Fragment: ip.later(), Mark: p.mark,
		State: ctStates[p.conn.State], Bytes: ip, Socket: p.socket, IPVS: p.ipvs,
	}
	h.nf.in, h.nf.frame = p.in, p.frame
	if !p.tracked {
		v.State = netfilter.StateInvalid // raw runs before conntrack
	}
	if e := p.conn.Entry; e != nil {
		h.nf.conn = ctView{h, p.conn}
		v.ConnMark, v.Conn = &e.Mark, &h.nf.conn
		if s := e.Status(); s&conntrack.SrcNAT != 0 {
			v.Status |= netfilter.StatusSNAT
		}
		if s := e.Status(); s&conntrack.DstNAT != 0 {
			v.Status |= netfilter.StatusDNAT
		}
	}
	h.fillDevices(at, p)
	l4 := ip.payload()
	switch v.Proto {
	case protoTCP, protoUDP, 132, 136, 33:
		v.SrcPort, v.DstPort, _ = ip.ports()
		if v.Proto == protoTCP && len(l4) > 13 && !v.Fragment {
			v.TCPFlags = l4[13]
		}
	case protoICMP:
		if len(l4) >= 2 && !v.Fragment {
			v.ICMPType, v.ICMPCode = l4[0], l4[1]
		}
	}
}

func (h *Host) fillDevices(at netfilter.Hook, p *packet) {
	v := &h.nf.view
	if p.in != nil && at != netfilter.Postrouting && at != netfilter.Output {
		v.In = p.in.Name
	}
	if p.out != nil && at != netfilter.Prerouting && at != netfilter.Input {
		v.Out = p.out.Name
	}
	if p.bridged != nil {
		v.PhysIn = p.bridged.Name
	}
	if p.physOut != nil {
		v.PhysOut = p.physOut.Name
	}
	if p.group {
		v.LinkType = netfilter.PktMulticast
		if !v.Dst.IsMulticast() {
			v.LinkType = netfilter.PktBroadcast
		}
	}
}

var ctStates = [...]netfilter.CTState{
	conntrack.StateUntracked:   netfilter.StateUntracked,
	conntrack.StateInvalid:     netfilter.StateInvalid,
	conntrack.StateNew:         netfilter.StateNew,
	conntrack.StateEstablished: netfilter.StateEstablished,
	conntrack.StateRelated:     netfilter.StateRelated,
	conntrack.StateRefused:     netfilter.StateInvalid,
}

// AddrType implements netfilter.Env: what the routing tables make of an address.
// One without a route is unicast (inet_addr_type).
func (h *Host) AddrType(a netip.Addr, dev string) netfilter.AddrType {
	switch {
	case a.IsMulticast():
		return netfilter.TypeMulticast
	case isLimitedBroadcast(a), isZeroNet(a):
		return netfilter.TypeBroadcast
	case h.isLocal(a):
		if d := h.local.get(a); dev != "" && (d == nil || d.Name != dev) {
			return netfilter.TypeUnicast
		}
		return netfilter.TypeLocal
	case h.broadcast.get(a) != nil:
		return netfilter.TypeBroadcast
	}
	r := h.routes.lookup(a)
	if r == nil {
		return netfilter.TypeUnicast
	}
	return [...]netfilter.AddrType{
		Unicast: netfilter.TypeUnicast, Blackhole: netfilter.TypeBlackhole,
		Unreachable: netfilter.TypeUnreachable, Prohibit: netfilter.TypeProhibit,
	}[r.Type]
}

// ReversePath implements netfilter.Env (xt_rpfilter).
func (h *Host) ReversePath(p *netfilter.Packet, loose, acceptLocal bool) bool {
	in := h.nf.in
	switch {
	case in == nil || in.loopback:
		return true
	case p.Src.IsUnspecified() && (isLimitedBroadcast(p.Dst) || p.Dst.IsLinkLocalMulticast()):
		return true
	case h.isLocal(p.Src):
		return acceptLocal && (loose || h.local.get(p.Src) == in)
	}
	r := h.routes.lookup(p.Src)
	return r != nil && r.Type == Unicast && (loose || r.Dev == in)
}

// SourceMAC implements netfilter.Env.
func (h *Host) SourceMAC(*netfilter.Packet) (mac [6]byte, ok bool) {
	in := h.nf.in
	if in == nil || in.loopback || in.point.Type != link.LinkEthernet {
		return mac, false
	}
	mac = link.SrcMAC(h.nf.frame.Push(link.EthernetHeader))
	h.nf.frame.Pull(link.EthernetHeader)
	return mac, true
}

// Alive implements netfilter.Env.
func (h *Host) Alive(handle any) bool {
	e, ok := handle.(*conntrack.Entry)
	if !ok || e.Status()&conntrack.Dying != 0 {
		return false
	}
	state := e.ProtoState()
	return state != "TIME_WAIT" && state != "CLOSE"
}

// ctView shows a packet's connection to the rules.
type ctView struct {
	host *Host
	conn conntrack.Conn
}

// Tuples implements netfilter.Connection.
func (c *ctView) Tuples() (original, reply netfilter.Tuple) {
	return tupleOf(c.conn.Entry.Tuple(conntrack.Original)), tupleOf(c.conn.Entry.Tuple(conntrack.Reply))
}

func tupleOf(t conntrack.Tuple) netfilter.Tuple {
	return netfilter.Tuple{Src: t.Src, Dst: t.Dst, SrcPort: t.SrcPort, DstPort: t.DstPort, Proto: t.Proto}
}

// Reply implements netfilter.Connection.
func (c *ctView) Reply() bool { return c.conn.Dir == conntrack.Reply }

func (c *ctView) has(s conntrack.Status) bool { return c.conn.Entry.Status()&s != 0 }

// Seen implements netfilter.Connection.
func (c *ctView) Seen() bool { return c.has(conntrack.SeenReply) }

// Assured implements netfilter.Connection.
func (c *ctView) Assured() bool { return c.has(conntrack.Assured) }

// Confirmed implements netfilter.Connection.
func (c *ctView) Confirmed() bool { return c.has(conntrack.Confirmed) }

// Left implements netfilter.Connection.
func (c *ctView) Left() time.Duration { return c.conn.Entry.Deadline() - c.host.now() }

// Handle implements netfilter.Connection.
func (c *ctView) Handle() any { return c.conn.Entry }

// Now implements netfilter.Env.
func (h *Host) Now() time.Duration { return h.now() }

// Uint32 implements netfilter.Env.
func (h *Host) Uint32() uint32 { return h.rng.Uint32() }
