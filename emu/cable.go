package emu

import (
	"fmt"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// An Uplink is where a machine is plugged into the underlay.
type Uplink struct {
	Segment string
	Device  *stack.Device
	Cable   *link.Wire // A is the machine's end
}

// Uplinks returns the machine's devices in the underlay, none for a pod. What
// they hold is guarded by the driver's lock.
func (m *Machine) Uplinks() (list []Uplink) {
	m.lab.drv.Do(func() {
		for _, p := range m.plugs {
			list = append(list, Uplink{p.segment.Name, p.dev, p.cable})
		}
	})
	return list
}

// SetCable sets what the machine's cable to a segment is like, out of the
// machine and into it, at one instant; an empty segment is the machine's only
// or first one. Traffic may flow. A pod has no cable of this kind: its veth pair
// is ideal.
func (m *Machine) SetCable(segment string, out, in link.WireConfig) error {
	return m.ChangeCable(segment, func(o, i *link.WireConfig) { *o, *i = out, in })
}

// ChangeCable is SetCable for a part of the settings: change is given those
// that hold, and what it leaves alone stays. If the result is not valid,
// nothing changes.
func (m *Machine) ChangeCable(segment string, change func(out, in *link.WireConfig)) error {
	var err error
	m.lab.drv.Do(func() {
		w := m.cable(segment)
		if w == nil {
			err = m.errNoCable(segment)
			return
		}
		err = changeCable(m.name, w, change)
	})
	return err
}

// changeCable changes the settings of a machine's cable. The caller holds the lock.
func changeCable(name string, w *link.Wire, change func(out, in *link.WireConfig)) error {
	out, in := w.Config()
	change(&out, &in)
	for _, c := range []link.WireConfig{out, in} {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("emu: %s: %w", name, err)
		}
	}
	w.SetAB(out)
	w.SetBA(in)
	return nil
}

// cable returns the cable to a segment, or nil. The caller holds the lock.
func (m *Machine) cable(segment string) *link.Wire {
	if segment == "" {
		return m.Cable()
	}
	return m.CableTo(segment)
}

func (m *Machine) errNoCable(segment string) error {
	if len(m.plugs) == 0 {
		return fmt.Errorf("emu: %s has no cable: only nodes, hosts and routers have", m.name)
	}
	return fmt.Errorf("emu: %s has no cable to segment %q", m.name, segment)
}

// SegmentMachines lists the machines that are plugged into a segment, in the
// order in which they were made.
func (l *Lab) SegmentMachines(segment string) (list []*Machine) {
	for _, m := range l.Machines() {
		if m.CableTo(segment) != nil {
			list = append(list, m)
		}
	}
	return list
}
