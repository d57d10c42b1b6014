package overlay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// TestCalicoAddressesComeBackLast: within a block addresses are given in order;
// one that was freed is given when all others have been.
func TestCalicoAddressesComeBackLast(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		c := newCluster(t, drv, "calico-vxlan", 1)
		first := c.publish("p1", 0)
		_, second := c.pod("p2", 0)
		equal(t, "the second pod, after tunnel and first", second.Addr.String(), "10.244.1.2")
		drv.Do(func() { must(t, c.cni.RemovePod(c.nodes[0], first)) })
		var last PodNet
		for i := range 62 {
			_, last = c.pod(fmt.Sprint("q", i), 0)
			if i == 0 {
				equal(t, "the next pod", last.Addr.String(), "10.244.1.3")
			}
		}
		equal(t, "the last of the block", last.Addr.String(), "10.244.1.1")
		_, last = c.pod("r", 0)
		equal(t, "the first of another block", last.Addr.String(), "10.244.1.64")
	})
}

// TestCalicoBlocksOfNodesThatAreGone: a node's blocks can be claimed again when
// all their addresses are back, the borrowed ones too.
func TestCalicoBlocksOfNodesThatAreGone(t *testing.T) {
	p := newCalicoPool(netip.MustParsePrefix("10.0.0.0/26"))
	a, b := &calicoNode{Node: &Node{Name: "a"}}, &calicoNode{Node: &Node{Name: "b"}}
	block := p.claim(a)
	a.blocks = append(a.blocks, block)
	if p.claim(b) != nil {
		t.Error("the only block was claimed twice")
	}
	borrowed, _ := block.take()
	p.abandon(a)
	if p.claim(b) != nil {
		t.Error("a block was claimed of which an address is in use")
	}
	p.free(borrowed)
	if got := p.claim(b); got == nil || got.prefix != block.prefix || len(got.unused) != 64 {
		t.Errorf("the block of a node that is gone: got %+v, want all of it", got)
	}
}

// TestCalicoPoolIsTooSmall: a pool smaller than a block has none.
func TestCalicoPoolIsTooSmall(t *testing.T) {
	drv := link.NewDriver(link.DriverConfig{})
	defer drv.Close()
	drv.Do(func() {
		c := CalicoVXLAN.New(Network{PodCIDR: netip.MustParsePrefix("10.0.0.0/28")})
		err := c.AddNode(&Node{Name: "n", Host: stack.NewHost(drv, stack.Config{Name: "n"}), PodCIDR: netip.MustParsePrefix("10.0.0.0/28")})
		if err == nil || !strings.Contains(err.Error(), "no address left in pool 10.0.0.0/28") {
			t.Errorf("error %v, want one about the pool", err)
		}
	})
}

// TestLimitedChain: iptables takes 28 bytes.
func TestLimitedChain(t *testing.T) {
	equal(t, "a short name", limitedChain("cali-pri-", "kns.default"), "cali-pri-kns.default")
	long, other := limitedChain("cali-pri-", "kns.a-namespace-with-a-long-name"), limitedChain("cali-pri-", "kns.a-namespace-with-another-name")
	if len(long) != 28 || long == other || !strings.HasPrefix(long, "cali-pri-_") {
		t.Errorf("long names are %q and %q, want two of 28 bytes that begin with cali-pri-_", long, other)
	}
}
