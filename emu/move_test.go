package emu_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/overlay"
)

// eth0 is the MAC of a pod.
func eth0(lab *emutest.Lab, p *emu.Pod) (mac link.MAC) {
	lab.Driver().Do(func() { mac = p.Stack().Device("eth0").MAC })
	return mac
}

// Under every design a pod that starts again on its node can keep its address, and
// its MAC; without, the MAC is another one.
func TestMovePodKeeps(t *testing.T) {
	for _, d := range overlay.Designs() {
		t.Run(d.Name, func(t *testing.T) {
			emutest.Run(t, emu.Config{Nodes: 2, Design: d.Name}, func(t *testing.T, lab *emutest.Lab) {
				client := lab.Pod("client", "node1")
				first := lab.Pod("web", "node1", 80).Pod
				addr, mac := first.Addr(), eth0(lab, first)
				client.Get("http://" + addr.String() + "/")

				second, err := lab.MovePod(first, emu.MoveConfig{KeepAddr: true})
				if err != nil {
					t.Fatal(err)
				}
				if second.Addr() != addr || eth0(lab, second) == mac {
					t.Errorf("second has %v and %v, want %v and another MAC than %v", second.Addr(), eth0(lab, second), addr, mac)
				}
				client.Get("http://" + addr.String() + "/")
				mac = eth0(lab, second)
				third, err := lab.MovePod(second, emu.MoveConfig{KeepAddr: true, KeepMAC: true})
				if err != nil {
					t.Fatal(err)
				}
				if third.Addr() != addr || eth0(lab, third) != mac {
					t.Errorf("third has %v and %v, want %v and %v", third.Addr(), eth0(lab, third), addr, mac)
				}
				client.Get("http://" + addr.String() + "/")
				if err := lab.RemovePod(third); err != nil {
					t.Fatal(err)
				}
				again, err := lab.StartAgain(third)
				if err != nil {
					t.Fatal(err)
				}
				client.Get("http://" + again.Addr().String() + "/")
			})
		})
	}
}

func TestTakeAddr(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2, Design: "calico-vxlan"}, func(t *testing.T, lab *emutest.Lab) {
		pod := lab.Pod("a", "node1")
		node1, node2 := lab.Node("node1"), lab.Node("node2")
		for _, c := range []struct {
			m          *emu.Machine
			addr, want string
		}{
			{&node1.Machine, "10.9.9.9", "emu: node1 is on no segment with 10.9.9.9"},
			{&node1.Machine, "192.168.56.255", "emu: node1: 192.168.56.255 is no host address of 192.168.56.0/24"},
			{&node1.Machine, node1.Addr().String(), "address 192.168.56.11 is already on eth0"},
			{&pod.Machine, "10.244.1.9", "emu: default/a is on no segment with 10.244.1.9"}, // its link is to the node alone
			{&node1.Machine, node2.Addr().String(), ""},
		} {
			err := c.m.TakeAddr(netip.MustParseAddr(c.addr), true)
			if (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("%s takes %s: %v, want %q", c.m.Name(), c.addr, err, c.want)
			}
		}
		if err := node1.LeaveAddr(node1.Addr()); err == nil {
			t.Error("node1 left its own address")
		}
		if err := node1.LeaveAddr(node2.Addr()); err != nil {
			t.Error(err)
		}
		if err := node1.LeaveAddr(node2.Addr()); err == nil {
			t.Error("node1 left the same address twice")
		}
		if r, err := node1.Ping("node2", time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping: %v, %v", err, r.Err())
		}
	})
}

// A node that crashes forgets its neighbours, but not what its design pins.
func TestCrashForgetsNeighbours(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		a := lab.Pod("a", "node1")
		lab.Pod("b", "node2")
		a.Ping("b")
		node := lab.Node("node1")
		count := func() (pinned, learned int) {
			lab.Driver().Do(func() {
				for _, n := range node.Stack().Neighbours() {
					if n.State == "PERMANENT" {
						pinned++
					} else {
						learned++
					}
				}
			})
			return pinned, learned
		}
		if pinned, learned := count(); pinned != 1 || learned != 2 {
			t.Fatalf("%d pinned and %d learned neighbours, want flannel's one, and the pod and node2", pinned, learned)
		}
		node.Crash()
		if pinned, learned := count(); pinned != 1 || learned != 0 {
			t.Errorf("%d pinned and %d learned neighbours after the crash, want 1 and 0", pinned, learned)
		}
		if err := node.Boot(); err != nil {
			t.Fatal(err)
		}
		if r, err := lab.Machine("a").Ping("b", time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping: %v, %v", err, r.Err())
		}
	})
}
