package topo

import (
	"fmt"
	"net/netip"

	"github.com/podwire/podwire/emu"
)

// Conflict gives a machine an address that another has: a duplicate IP address.
type Conflict struct {
	On       Ref         // who takes it
	Address  Ref         // whose it is, or the address itself
	Announce Field[bool] // says so to everybody on the segment; default true
}

func (l *load) decodeConflict(step mapping, s *Step) {
	c := &Conflict{}
	s.Action = c
	if m, ok := l.verb(step, "conflict", []string{"on", "address"}, "announce"); ok {
		c.On, c.Address, c.Announce = m.ref("on"), m.ref("address"), orDefault(m.boolean("announce"), true)
	}
}

// Verb implements Action.
func (c *Conflict) Verb() string { return "conflict" }

func (c *Conflict) title() string {
	return fmt.Sprintf("conflict: %s has the address of %s too", c.On.Text, c.Address.Text)
}

func (c *Conflict) resolve(l *load, at string) {
	l.resolve(&c.On, at+".on", RefNode, RefHost, RefPod)
	l.resolve(&c.Address, at+".address", RefNode, RefHost, RefPod, RefIP)
	if c.On.Kind != RefNone && c.On.Kind == c.Address.Kind && c.On.Namespace == c.Address.Namespace && c.On.Name == c.Address.Name {
		l.addAt(c.On.Pos, Diagnostic{Rule: "bad-value", Message: at + ": " + c.On.Text + " has its own address, want another machine"})
	}
}

func (c *Conflict) play(p *player) {
	_, p.err = c.disrupt(p.lab)
	p.result.Outcome = fmt.Sprintf("%s has address %s too", c.On.Text, c.Address.Text)
}

// disrupt implements Disruption. The address is the one that its owner has now.
func (c *Conflict) disrupt(lab *emu.Lab) (undo func() error, err error) {
	on, addr := machineOf(lab, c.On), c.Address.Addr
	if on == nil {
		return nil, errGone(c.On)
	}
	if c.Address.Kind != RefIP {
		owner := machineOf(lab, c.Address)
		if owner == nil {
			return nil, errGone(c.Address)
		}
		addr = sharedAddr(on, owner)
	}
	return func() error {
		if m := machineOf(lab, c.On); m == on {
			return on.LeaveAddr(addr)
		}
		return nil // it has ended, and the address with it
	}, on.TakeAddr(addr, c.Announce.Value)
}

// sharedAddr is the address of a machine on a segment of the other one's: a
// router has several. If there is none, it is the machine's first.
func sharedAddr(on, owner *emu.Machine) netip.Addr {
	if a, ok := owner.AddrBeside(on); ok {
		return a
	}
	return owner.Addr()
}
