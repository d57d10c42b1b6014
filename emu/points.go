package emu

import "github.com/podwire/podwire/link"

// Points returns every place of the lab where a frame can be seen or can end,
// by machine: devices, bridges, ports, both directions of cables; last the
// cables of TAPs and the switches of the segments. Watch them inside Lab.Driver().Do. What is added to
// the lab later has points of its own.
func (l *Lab) Points() []MachinePoint {
	var list []MachinePoint
	l.drv.Do(func() {
		for _, m := range l.sortedMachines() {
			for _, d := range m.stack.Devices() {
				for i, p := range d.Points() {
					list = append(list, MachinePoint{Point: p, Machine: m, Device: d.Name, Own: i == 0})
				}
			}
			for _, p := range m.plugs {
				out, in := p.cable.Points()
				for _, point := range []*link.Point{out, in, p.cable.B.Lost()} { // A.Lost is the device's
					list = append(list, MachinePoint{Point: point, Machine: m, Device: p.dev.Name})
				}
			}
		}
		for _, t := range l.taps {
			out, in := t.plug.cable.Points()
			for _, point := range []*link.Point{out, in, t.plug.cable.A.Lost(), t.plug.cable.B.Lost()} {
				list = append(list, MachinePoint{Point: point, Device: t.name})
			}
		}
		for _, s := range l.segments {
			list = append(list, MachinePoint{Point: s.bridge.Point(), Device: s.Name})
		}
	})
	return list
}

// A MachinePoint is a point and where in the lab it is.
type MachinePoint struct {
	*link.Point
	Machine *Machine // nil for a TAP and for the switch of a segment
	Device  string   // whose frames they are; the name of the TAP or of the segment
	Own     bool     // the point of the device itself: every frame that it sends or receives passes
}
