package overlay

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/podwire/podwire/stack"
)

// blockBits is the length of a block: 64 addresses.
const blockBits = 26

// calicoPool is the IP pool, cut into blocks that nodes claim one by one.
type calicoPool struct {
	pool   netip.Prefix
	blocks map[netip.Prefix]*calicoBlock
	order  []*calicoBlock // as they were claimed
}

// calicoBlock is a block with an affinity to a node. Addresses are given in
// order; one that comes back is given last.
type calicoBlock struct {
	prefix netip.Prefix
	owner  *calicoNode // nil for one whose node is gone but not all addresses
	unused []netip.Addr
}

func newCalicoPool(pool netip.Prefix) *calicoPool {
	return &calicoPool{pool: pool.Masked(), blocks: make(map[netip.Prefix]*calicoBlock)}
}

// claim gives a node one more block, nil if the pool has no other. Calico begins
// to look at a place that follows from a hash of the node's name; this begins
// with the node's part of the cluster CIDR, so that addresses tell the node.
func (p *calicoPool) claim(n *calicoNode) *calicoBlock {
	for _, part := range []netip.Prefix{n.PodCIDR, p.pool} {
		if !part.IsValid() {
			continue
		}
		first := netip.PrefixFrom(part.Addr(), blockBits).Masked()
		for b := first; p.pool.Contains(b.Addr()) && b.Overlaps(part); b = netip.PrefixFrom(stack.LastAddr(b).Next(), blockBits) {
			if p.pool.Bits() <= blockBits && p.blocks[b] == nil {
				return p.add(n, b)
			}
		}
	}
	return nil
}

func (p *calicoPool) add(n *calicoNode, prefix netip.Prefix) *calicoBlock {
	b := &calicoBlock{prefix: prefix, owner: n}
	for a := prefix.Addr(); prefix.Contains(a); a = a.Next() {
		b.unused = append(b.unused, a)
	}
	p.blocks[prefix] = b
	p.order = append(p.order, b)
	return b
}

// take returns an address that is not in use.
func (b *calicoBlock) take() (a netip.Addr, ok bool) {
	if len(b.unused) == 0 {
		return a, false
	}
	a, b.unused = b.unused[0], b.unused[1:]
	return a, true
}

// takeThis takes one address out of the block that it is in.
func (p *calicoPool) takeThis(a netip.Addr) (*calicoBlock, error) {
	b := p.blocks[netip.PrefixFrom(a, blockBits).Masked()]
	if b == nil {
		return nil, fmt.Errorf("overlay: calico: address %v is in no block of the pool %v", a, p.pool)
	}
	i := slices.Index(b.unused, a)
	if i < 0 {
		return nil, fmt.Errorf("overlay: calico: address %v is in use", a)
	}
	b.unused = slices.Delete(b.unused, i, i+1)
	return b, nil
}

// free gives an address back. A block without a node goes with its last one.
func (p *calicoPool) free(a netip.Addr) {
	b := p.blocks[netip.PrefixFrom(a, blockBits).Masked()]
	b.unused = append(b.unused, a)
	p.tidy(b)
}

// abandon ends a node's affinity to its blocks. Those that others have borrowed
// from stay until the addresses are back.
func (p *calicoPool) abandon(n *calicoNode) {
	for _, b := range n.blocks {
		b.owner = nil
		p.tidy(b)
	}
}

func (p *calicoPool) tidy(b *calicoBlock) {
	if b.owner != nil || len(b.unused) < 1<<(32-blockBits) {
		return
	}
	delete(p.blocks, b.prefix)
	p.order = slices.DeleteFunc(p.order, func(o *calicoBlock) bool { return o == b })
}
