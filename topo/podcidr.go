package topo

import (
	"fmt"
	"net/netip"
)

// nodeBits is the length of a node's range within the cluster's (kube-controller-
// manager --node-cidr-mask-size: 24 for IPv4, 64 for IPv6).
func nodeBits(cluster netip.Prefix) int {
	if cluster.Addr().Is4() {
		return max(24, cluster.Bits())
	}
	return max(64, cluster.Bits())
}

// givePodCIDRs checks the ranges that were written and gives the other nodes the
// next free ones. The first range of the cluster is kept for last, so that
// node1 has 10.244.1.0/24, as readers expect.
func (l *load) givePodCIDRs(c *Cluster) {
	var taken []Field[netip.Prefix]
	for _, n := range c.Nodes {
		if n.PodCIDR.IsSet() {
			l.checkPodCIDR(n, c, taken)
			taken = append(taken, n.PodCIDR)
		}
	}
	cluster := c.PodCIDR.Value
	bits := nodeBits(cluster)
	first := netip.PrefixFrom(cluster.Addr(), bits)
	next := first
	if after := nextPrefix(first); cluster.Overlaps(after) {
		next = after
	}
	usedFirst := next == first
	for i := range c.Nodes {
		n := &c.Nodes[i]
		if n.PodCIDR.IsSet() {
			continue
		}
		for cluster.Overlaps(next) && overlapsAny(next, taken) {
			next = nextPrefix(next)
		}
		if !cluster.Overlaps(next) && !usedFirst && !overlapsAny(first, taken) {
			usedFirst = true
			n.PodCIDR.Value = first
			continue
		}
		if !cluster.Overlaps(next) {
			l.addAt(l.whereNodes(c.PodCIDR.Pos), Diagnostic{Rule: "too-few-addresses",
				Message: fmt.Sprintf("cluster.podCIDR %v has no /%d left for node %s and those after it", cluster, bits, quoted(n.Name.Value)),
				Hint:    "give cluster.podCIDR a shorter prefix, such as /8"})
			return
		}
		n.PodCIDR.Value = next
		next = nextPrefix(next)
	}
}

func overlapsAny(p netip.Prefix, taken []Field[netip.Prefix]) bool {
	for _, t := range taken {
		if p.Overlaps(t.Value) {
			return true
		}
	}
	return false
}

// nextPrefix is the range of equal size behind p; behind the last one, an
// invalid Prefix, which overlaps nothing.
func nextPrefix(p netip.Prefix) netip.Prefix {
	raw := p.Addr().AsSlice()
	if p.Bits() == 0 {
		return netip.Prefix{}
	}
	i, step := (p.Bits()-1)/8, byte(1)<<(7-(p.Bits()-1)%8)
	for carry := step; i >= 0; i-- {
		raw[i] += carry
		if raw[i] >= carry {
			addr, _ := netip.AddrFromSlice(raw)
			return netip.PrefixFrom(addr, p.Bits())
		}
		carry = 1
	}
	return netip.Prefix{}
}

func (l *load) checkPodCIDR(n Node, c *Cluster, taken []Field[netip.Prefix]) {
	p, cluster := n.PodCIDR.Value, c.PodCIDR.Value
	if p.Bits() < cluster.Bits() || !cluster.Contains(p.Addr()) {
		l.addAt(n.PodCIDR.Pos, Diagnostic{Rule: "podcidr-outside",
			Message: fmt.Sprintf("node %s: podCIDR %v lies outside cluster.podCIDR %v", quoted(n.Name.Value), p, cluster),
			Effect:  "kube-proxy would take its pods for clients outside the cluster and masquerade what they send to Services"})
	}
	for _, t := range taken {
		if p.Overlaps(t.Value) {
			l.addAt(n.PodCIDR.Pos, Diagnostic{Rule: "overlapping-podcidr",
				Message: fmt.Sprintf("node %s: podCIDR %v overlaps %v on line %d", quoted(n.Name.Value), p, t.Value, t.Pos.Line),
				Effect:  "two nodes would give out the same pod addresses"})
			return
		}
	}
}
