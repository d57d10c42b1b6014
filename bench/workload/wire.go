package workload

import (
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// A Wire is what the cables of a lab can be made like for a measurement.
type Wire struct {
	Name    string
	Summary string // one line

	rate   int64  // of all cables
	preset string // or a link.Preset, of one end's cable
}

// rackLatency is that of a short cable and a switch.
const rackLatency = 5 * time.Microsecond

var wires = []Wire{
	{Name: "1g", Summary: "all cables 1 Gbit/s, 5 µs each way", rate: 1e9},
	{Name: "10g", Summary: "all cables 10 Gbit/s, 5 µs each way", rate: 10e9},
	{Name: "25g", Summary: "all cables 25 Gbit/s, 5 µs each way", rate: 25e9},
	{Name: "wan", Summary: "the receiver's cable 1 Gbit/s, 22.5 ms each way, 0.01 % loss", preset: "wan"},
}

// Wires lists them all.
func Wires() []Wire { return append([]Wire(nil), wires...) }

// FindWire returns the wire of that name.
func FindWire(name string) (Wire, bool) {
	for _, w := range wires {
		if w.Name == name {
			return w, true
		}
	}
	return Wire{}, false
}

// Rate returns the rate of the cables in bit/s.
func (w Wire) Rate() int64 {
	if p, ok := link.FindPreset(w.preset); ok {
		return p.Down.Rate
	}
	return w.rate
}

// Apply changes the cables of a lab for a measurement towards a node or another
// machine of the underlay. What a cable is like besides, its MTU for example,
// stays.
func (w Wire) Apply(lab *emu.Lab, to *emu.Machine) error {
	if p, ok := link.FindPreset(w.preset); ok {
		return to.ChangeCable("", func(out, in *link.WireConfig) {
			p.Up.MTU, p.Down.MTU = out.MTU, in.MTU
			*out, *in = p.Up, p.Down
		})
	}
	return ChangeCables(lab, func(c *link.WireConfig) { c.Rate, c.Latency = w.rate, rackLatency })
}

// ChangeCables changes both directions of all cables of a lab's underlay.
func ChangeCables(lab *emu.Lab, change func(*link.WireConfig)) error {
	for _, m := range lab.Machines() {
		for _, u := range m.Uplinks() {
			err := m.ChangeCable(u.Segment, func(out, in *link.WireConfig) {
				change(out)
				change(in)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
