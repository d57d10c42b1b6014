package faceoff

import (
	"slices"
	"strings"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// topology lists what a lab consists of.
func topology(l *emu.Lab) Topology {
	t := Topology{Segments: []Segment{}, Machines: []Machine{}, Pods: []Pod{}, Links: []Link{}}
	u := l.Config().Underlay
	for _, s := range u.Segments {
		t.Segments = append(t.Segments, Segment{s.Name, s.Subnet.String(), s.MTU})
	}
	for _, n := range l.Nodes() {
		t.add(&n.Machine, "node")
	}
	for _, h := range l.Hosts() {
		kind := "host"
		if slices.ContainsFunc(u.Routers, func(r emu.Router) bool { return r.Name == h.Name() }) {
			kind = "router"
		}
		t.add(&h.Machine, kind)
	}
	for _, p := range l.Pods() {
		t.Pods = append(t.Pods, Pod{short(p.Name()), p.Node().Name()})
	}
	return t
}

// add adds a machine and its cables.
func (t *Topology) add(m *emu.Machine, kind string) {
	t.Machines = append(t.Machines, Machine{m.Name(), kind, m.Addr().String()})
	uplinks := m.Uplinks()
	m.Lab().Driver().Do(func() {
		for _, u := range uplinks {
			out, in := u.Cable.Config()
			text := describeWire(out)
			if back := describeWire(in); back != text {
				text = "out " + text + "; in " + back
			}
			t.Links = append(t.Links, Link{Machine: m.Name(), Segment: u.Segment, Rate: out.Rate, Latency: out.Latency, Loss: out.Loss, Text: text})
		}
	})
}

// describeWire says in words what one direction of a cable is like.
func describeWire(c link.WireConfig) string {
	var words []string
	if c.Rate > 0 {
		words = append(words, Text(float64(c.Rate), BitRate))
	} else {
		words = append(words, "unlimited rate")
	}
	if c.Latency > 0 {
		words = append(words, c.Latency.String())
	}
	if c.Jitter != (link.Jitter{}) {
		words = append(words, "jitter")
	}
	if c.Loss > 0 {
		words = append(words, "loss "+Text(c.Loss, Share))
	}
	if c.LossBurst != (link.GilbertElliott{}) || c.LossTrace != nil {
		words = append(words, "losses in bursts or by a trace")
	}
	if c.AQM.Kind != link.AQMKind(0) {
		words = append(words, c.AQM.Kind.String())
	}
	for _, w := range []struct {
		what  string
		share float64
	}{{"reordered", c.Reorder}, {"duplicated", c.Duplicate}, {"corrupted", c.Corrupt}} {
		if w.share > 0 {
			words = append(words, w.what+" "+Text(w.share, Share))
		}
	}
	return strings.Join(words, ", ")
}
