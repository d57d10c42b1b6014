package stack

import (
	"slices"

	"github.com/podwire/podwire/stack/conntrack"
	"github.com/podwire/podwire/stack/netfilter"
	"github.com/podwire/podwire/stack/nftables"
)

// hookStep is one thing that happens to packets at a hook. It is told apart by
// its kind rather than being a function: a call through one would move every
// packet to the heap.
type hookStep struct {
	priority int
	kind     stepKind
	table    netfilter.Table
	chain    *nftables.Chain
}

type stepKind uint8

const (
	stepTable stepKind = iota // a table of iptables
	stepChain                 // a filter chain of nf_tables
	stepTrack                 // conntrack
	stepNAT
	stepIPVSReply
	stepIPVSRequest
)

// hookPlan is what happens at each hook of a host that has more than iptables
// rules: their order then depends on priorities. A host without a plan takes the
// shorter way in [Host.hook].
type hookPlan struct {
	steps [5][]hookStep
	nat   [5][]natSource
}

// natSource is where a new connection's translation may come from.
type natSource struct {
	priority int
	chain    *nftables.Chain // nil for the iptables table
}

// Priorities of the kernel (NF_IP_PRI_*).
const (
	priConntrack = -200
	priDNAT      = -100
	priSNAT      = 100
)

var tablePriority = [...]int{netfilter.Raw: -300, netfilter.Mangle: -150, netfilter.Filter: 0}

// natPriority is that of translation at a hook: of the destination early, of the
// source late.
func natPriority(at netfilter.Hook) int {
	if at == netfilter.Prerouting || at == netfilter.Output {
		return priDNAT
	}
	return priSNAT
}

// NFTables returns the host's nf_tables ruleset. After a change call
// [Host.RulesChanged].
func (h *Host) NFTables() *nftables.Ruleset {
	if h.nft == nil {
		h.nft = nftables.New()
	}
	return h.nft
}

// planHooks lays out what happens at the hooks, if that takes a plan.
func (h *Host) planHooks() *hookPlan {
	balances := h.vs != nil && !h.vs.Empty()
	if (h.nft == nil || h.nft.Empty()) && !balances {
		return nil
	}
	plan := &hookPlan{}
	for at := range plan.steps {
		hook := netfilter.Hook(at)
		plan.steps[at] = h.stepsAt(hook, balances)
		if hook != netfilter.Forward {
			plan.nat[at] = h.natSources(hook)
		}
	}
	return plan
}

// stepsAt lists the steps of a hook. At equal priority nf_tables comes before
// iptables: kube-proxy registers its chains after kubelet has made its own, and
// the kernel puts the latest first.
func (h *Host) stepsAt(at netfilter.Hook, balances bool) []hookStep {
	var steps []hookStep
	for _, c := range h.nftChains(at) {
		if !c.NAT {
			steps = append(steps, hookStep{priority: c.Priority, kind: stepChain, chain: c})
		}
	}
	for _, t := range netfilter.Tables(at) {
		if t == netfilter.NAT {
			steps = append(steps, hookStep{priority: natPriority(at), kind: stepNAT})
		} else {
			steps = append(steps, hookStep{priority: tablePriority[t], kind: stepTable, table: t})
		}
	}
	if h.nf.tracks && (at == netfilter.Prerouting || at == netfilter.Output) {
		steps = append(steps, hookStep{priority: priConntrack, kind: stepTrack})
	}
	if balances {
		steps = append(steps, ipvsSteps(at)...)
	}
	slices.SortStableFunc(steps, func(a, b hookStep) int { return a.priority - b.priority })
	return steps
}

// nftChains are the chains of nf_tables at a hook.
func (h *Host) nftChains(at netfilter.Hook) []*nftables.Chain {
	if h.nft == nil {
		return nil
	}
	return h.nft.Chains(at)
}

// natSources lists where NAT at a hook may come from, in order.
func (h *Host) natSources(at netfilter.Hook) []natSource {
	var list []natSource
	for _, c := range h.nftChains(at) {
		if c.NAT {
			list = append(list, natSource{priority: c.Priority, chain: c})
		}
	}
	list = append(list, natSource{priority: natPriority(at)})
	slices.SortStableFunc(list, func(a, b natSource) int { return a.priority - b.priority })
	return list
}

// follow is [Host.hook] by the plan.
func (plan *hookPlan) follow(h *Host, at netfilter.Hook, p *packet) bool {
	if h.nf.tracks && (at == netfilter.Prerouting || at == netfilter.Output) && !p.tracked && p.ip().fragment() && !h.defragment(p) {
		return false
	}
	for i := range plan.steps[at] {
		if !h.step(&plan.steps[at][i], at, p) {
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

// step does one step. False means that p has come to its end.
func (h *Host) step(s *hookStep, at netfilter.Hook, p *packet) bool {
	switch s.kind {
	case stepTrack:
		return h.trackPacket(p)
	case stepNAT:
		return h.nat(at, p)
	case stepChain:
		return h.nftFilter(s.chain, at, p)
	case stepIPVSReply:
		return h.ipvsReply(p)
	case stepIPVSRequest:
		return h.ipvsRequest(at, p)
	}
	return h.tableStep(s.table, at, p)
}

// tableStep is a table of iptables.
func (h *Host) tableStep(t netfilter.Table, at netfilter.Hook, p *packet) bool {
	if h.nf.empty[at][t] {
		h.rules.Pass(t, at, p.frame.Len())
		return true
	}
	return h.filter(t, at, p)
}

// nftFilter is a chain of nf_tables that can only accept, drop or mark.
func (h *Host) nftFilter(c *nftables.Chain, at netfilter.Hook, p *packet) bool {
	h.fillView(at, p)
	v := h.nft.Run(c, &h.nf.view, h)
	return h.judge(p, v.Verdict, v.String)
}

// setupNAT asks one source after the other, until one knows what to do.
func (plan *hookPlan) setupNAT(h *Host, at netfilter.Hook, m conntrack.Manip, p *packet) error {
	for _, s := range plan.nat[at] {
		var v netfilter.Verdict
		var why func() string
		switch {
		case s.chain != nil:
			h.fillView(at, p)
			found := h.nft.Run(s.chain, &h.nf.view, h)
			v, why = found.Verdict, found.String
		case h.nf.empty[at][netfilter.NAT]:
			h.rules.Pass(netfilter.NAT, at, p.frame.Len())
			continue
		default:
			h.fillView(at, p)
			v = h.rules.Run(netfilter.NAT, at, &h.nf.view, h)
			why = v.String
		}
		if !h.obey(p) {
			return errDropped
		}
		switch v.Kind {
		case netfilter.Accept:
		case netfilter.Drop:
			h.note(p, why)
			return errDropped
		default:
			return h.track.Setup(p.conn.Entry, m, h.natRange(v, at, p))
		}
	}
	return h.track.Setup(p.conn.Entry, m, conntrack.Range{})
}
