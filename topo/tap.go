package topo

import (
	"fmt"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// checkTAP finds what a host cannot have if it is real, and what it can have only
// then.
func (l *load) checkTAP(m mapping, h Host) {
	if !h.TAP.IsSet() {
		if h.Netns.IsSet() {
			l.addAt(h.Netns.Pos, Diagnostic{Rule: "missing-value", Message: m.path("netns") + ": the host has no tap, want one: netns is where the device is made"})
		}
		return
	}
	for _, key := range []string{"ports", "sysctls", "iptables", "ipset", "nftables"} {
		if n := m.get(key); n != nil {
			l.reportAt(m.d, n, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("%s: the host is real (tap: %s), want no %s: its kernel has its own", m.path(key), h.TAP.Value, key)})
		}
	}
}

// needTAP finds the first of some steps and faults that names a host which is real.
func (sc *Scenario) needTAP(steps int, faults []TimedFault) error {
	need := func(pos Pos, what string, host Ref) error {
		return at(pos, fmt.Errorf("%s: %s is a real host, which is left away here", what, host.Name))
	}
	for i := range sc.Steps {
		if s := &sc.Steps[i]; s.real.IsSet() && (i < steps || steps == allSteps) {
			return fmt.Errorf("%w; hint: --after %d ends before", need(s.Pos, fmt.Sprintf("steps[%d]", i), s.real), i)
		}
	}
	for i := range faults {
		if f := &faults[i]; f.real.IsSet() {
			return need(f.Pos, f.path, f.real)
		}
	}
	return nil
}

// addTAP joins this machine's kernel to the lab as a host. Unless the scenario
// says which routes it gets, they are those to the other segments, pods and
// Services.
func (sc *Scenario) addTAP(lab *emu.Lab, h *Host, cfg RunConfig) error {
	switch {
	case cfg.NoTAPs:
		return nil
	case lab.Driver().Virtual():
		return fmt.Errorf("host %s: tap %s: %w; hint: podwire up FILE, or run --real-time", h.Name.Value, h.TAP.Value, link.ErrVirtualTime)
	}
	u := &sc.Underlay
	out, in := u.cable(u.segment(h.Segment), &h.Link)
	routes := staticRoutes(h.Routes)
	if !h.routesSet {
		var err error
		if routes, err = lab.TAPRoutes(h.Segment); err != nil {
			return err
		}
	}
	tap, err := lab.AddTAP(emu.TAPConfig{
		Name: h.Name.Value, Device: h.TAP.Value, Segment: h.Segment, Addr: h.Address.Value, Cable: &out, Routes: routes, Netns: h.Netns.Value,
	})
	if err != nil {
		return err
	}
	return tap.ChangeCable("", func(o, i *link.WireConfig) { *o, *i = out, in })
}
