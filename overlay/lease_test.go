package overlay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// flannels are the designs of flannel.
func flannels() (list []Design) {
	for _, d := range Designs() {
		if strings.HasPrefix(d.Name, "flannel-") {
			list = append(list, d)
		}
	}
	return list
}

// known is what a node knows of others: routes, neighbours, FDB.
func (c *cluster) known(node int) (list []string) {
	list = c.routes(node)
	c.drv.Do(func() {
		h := c.nodes[node].Host
		for _, x := range h.Neighbours() {
			if x.State == stack.NeighPermanent {
				list = append(list, fmt.Sprint(x))
			}
		}
		for _, d := range h.Devices() {
			for _, e := range d.FDB() {
				list = append(list, fmt.Sprint(e))
			}
		}
	})
	slices.Sort(list)
	return list
}

// With every backend a lease that goes takes with it what it had brought, and
// brings it again when it comes back; pods on the node are out of reach
// meanwhile.
func TestEveryFlannelLeaseComesAndGoes(t *testing.T) {
	for _, d := range flannels() {
		inBubble(t, func(t *testing.T, drv *link.Driver) {
			c := newCluster(t, drv, d.Name, 3)
			p1, _ := c.pod("p1", 0)
			_, n2 := c.pod("p2", 1)
			_, n3 := c.pod("p3", 2)
			before := c.known(0)
			want := c.try(p1, n2.Addr, stack.PingConfig{})
			if !strings.HasPrefix(want, "TTL ") {
				t.Errorf("%s: ping: %s", d.Name, want)
			}
			lease := func(held bool) {
				t.Helper()
				drv.Do(func() { must(t, c.cni.SetLease(c.nodes[1], held)) })
			}
			lease(false)
			lease(false) // no change
			if got := c.try(p1, n2.Addr, stack.PingConfig{}); strings.HasPrefix(got, "TTL ") {
				t.Errorf("%s: ping without a lease: %s", d.Name, got)
			}
			equal(t, d.Name+": to the other node", c.try(p1, n3.Addr, stack.PingConfig{}), want)
			lease(true)
			if after := c.known(0); !slices.Equal(after, before) {
				t.Errorf("%s: node1 knows\n%q\nwant as before\n%q", d.Name, after, before)
			}
			equal(t, d.Name+": ping with the lease again", c.try(p1, n2.Addr, stack.PingConfig{}), want)
			drv.Do(func() {
				must(t, c.cni.RemoveNode(c.nodes[1]))
				for what, err := range map[string]error{"lease": c.cni.SetLease(c.nodes[1], true), "again": c.cni.RemoveNode(c.nodes[1]), "twice": c.cni.AddNode(c.nodes[0])} {
					if err == nil {
						t.Errorf("%s: %s: no error", d.Name, what)
					}
				}
			})
		})
	}
}
