package emu_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

func TestTAPWantsRealTime(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		if _, err := lab.AddTAP(emu.TAPConfig{Name: "pw0"}); !errors.Is(err, link.ErrVirtualTime) {
			t.Errorf("a TAP in virtual time: %v, want %v", err, link.ErrVirtualTime)
		}
	})
}

// A lease of a foreign node is programmed as that of any node is, also on nodes
// that come later, and is refused where it clashes.
func TestForeignNode(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		foreign := emu.ForeignNode{
			Name: "kernel", Addr: netip.MustParseAddr("192.168.56.20"), PodCIDR: netip.MustParsePrefix("10.244.9.0/24"), VTEPMAC: link.MAC{2, 0, 0, 0, 9, 1},
		}
		if err := lab.AddForeignNode(foreign); err != nil {
			t.Fatal(err)
		}
		if _, err := lab.AddNode(emu.NodeConfig{}); err != nil {
			t.Fatal(err)
		}
		knows := func() (nodes int) {
			machines := lab.Nodes()
			lab.Driver().Do(func() {
				for _, n := range machines {
					h := n.Stack()
					if r, ok := h.LookupRoute(netip.MustParseAddr("10.244.9.7")); ok && r.Via == netip.MustParseAddr("10.244.9.0") && r.Dev.Name == "flannel.1" {
						nodes++
					}
				}
			})
			return nodes
		}
		if knows() != 2 {
			t.Errorf("%d nodes route to the foreign one, want 2", knows())
		}
		for what, n := range map[string]emu.ForeignNode{
			"the same again":       foreign,
			"its name":             {Name: "kernel", Addr: foreign.Addr, PodCIDR: netip.MustParsePrefix("10.244.10.0/24")},
			"a node's name":        {Name: "node1", Addr: foreign.Addr, PodCIDR: netip.MustParsePrefix("10.244.10.0/24")},
			"its podCIDR":          {Name: "other", Addr: foreign.Addr, PodCIDR: foreign.PodCIDR},
			"a node's podCIDR":     {Name: "other", Addr: foreign.Addr, PodCIDR: netip.MustParsePrefix("10.244.1.0/24")},
			"another cluster CIDR": {Name: "other", Addr: foreign.Addr, PodCIDR: netip.MustParsePrefix("10.9.0.0/24")},
			"no address":           {Name: "other", PodCIDR: netip.MustParsePrefix("10.244.10.0/24")},
		} {
			if err := lab.AddForeignNode(n); err == nil {
				t.Errorf("%s: accepted", what)
			}
		}
		if _, err := lab.AddNode(emu.NodeConfig{PodCIDR: foreign.PodCIDR}); err == nil {
			t.Error("a node with the podCIDR of the foreign one is accepted")
		}
		if err := lab.RemoveForeignNode("kernel"); err != nil {
			t.Error(err)
		}
		if knows() != 0 {
			t.Errorf("%d nodes route to the foreign one that is gone, want none", knows())
		}
		if err := lab.RemoveForeignNode("kernel"); err == nil {
			t.Error("removed twice")
		}
	})
	emutest.Run(t, emu.Config{Design: "calico-vxlan"}, func(t *testing.T, lab *emutest.Lab) {
		if err := lab.AddForeignNode(emu.ForeignNode{Name: "kernel"}); err == nil {
			t.Error("calico-vxlan knows foreign nodes?")
		}
	})
}
