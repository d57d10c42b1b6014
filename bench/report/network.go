package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/podwire/podwire/bench/faceoff"
)

// A network is the topology as it is drawn: machines under their segments. Those
// that join segments stand above them.
type network struct {
	Segments []segment
	Joints   []machine // with a link to more than one segment
	Summary  string
}

type segment struct {
	Name     string
	Detail   string // subnet and MTU
	Machines []machine
	Joints   []string // names of Joints that have a link here
}

// machine is a machine, or several that differ in nothing but name and address.
type machine struct {
	Name   string
	Kind   string
	Addr   string
	Links  []cable
	Pods   []pods
	Hidden int // machines besides the first that this one stands for
}

// cable is a machine's link to a segment.
type cable struct {
	Segment string
	Text    string
}

// pods is a pod, or several of one name and different numbers.
type pods struct {
	Name  string
	Count int
	Role  string // "sends", "receives" or none
}

// Sizes from which on what is alike is drawn once.
const (
	podsApart     = 8  // pods of one node
	machinesApart = 12 // machines of one segment
)

func newNetwork(r *faceoff.Result) *network {
	t := &r.Topology
	n := &network{Summary: strings.Join(counts(t), ", ")}
	all := make([]machine, 0, len(t.Machines))
	for _, m := range t.Machines {
		x := machine{Name: m.Name, Kind: m.Kind, Addr: m.Addr, Pods: podsOf(r, m.Name)}
		for _, l := range t.Links {
			if l.Machine == m.Name {
				x.Links = append(x.Links, cable{l.Segment, linkText(l)})
			}
		}
		if all = append(all, x); len(x.Links) > 1 {
			n.Joints = append(n.Joints, x)
		}
	}
	for _, s := range t.Segments {
		n.Segments = append(n.Segments, newSegment(s, all))
	}
	return n
}

func newSegment(s faceoff.Segment, all []machine) segment {
	seg := segment{Name: s.Name, Detail: s.Subnet}
	if s.MTU > 0 {
		seg.Detail = strings.TrimPrefix(fmt.Sprintf("%s, MTU %d", s.Subnet, s.MTU), ", ")
	}
	for _, m := range all {
		switch {
		case !slices.ContainsFunc(m.Links, func(c cable) bool { return c.Segment == s.Name }):
		case len(m.Links) > 1:
			seg.Joints = append(seg.Joints, m.Name)
		default:
			seg.Machines = append(seg.Machines, m)
		}
	}
	if len(seg.Machines) > machinesApart {
		seg.Machines = fold(seg.Machines)
	}
	return seg
}

// fold puts machines together that look the same: kind, cable, and pods of the
// same names.
func fold(list []machine) []machine {
	var out []machine
	for _, m := range list {
		i := slices.IndexFunc(out, func(o machine) bool {
			return o.Kind == m.Kind && slices.Equal(o.Links, m.Links) && slices.Equal(stems(o.Pods), stems(m.Pods))
		})
		if i < 0 {
			out = append(out, m)
			continue
		}
		out[i].Hidden++
	}
	return out
}

func stems(list []pods) []pods {
	out := slices.Clone(list)
	for i := range out {
		if out[i].Role == "" {
			out[i].Name = stem(out[i].Name)
		}
	}
	return out
}

// podsOf lists a node's pods. From the two that talk on, each has its own place;
// when there are many, the others share one by name: web-1, web-2 are "web ×2".
func podsOf(r *faceoff.Result, node string) []pods {
	var list []pods
	for _, p := range r.Topology.Pods {
		if p.Node != node {
			continue
		}
		x := pods{Name: p.Name, Count: 1}
		switch p.Name {
		case r.Scenario.From:
			x.Role = "sends"
		case r.Scenario.To:
			x.Role = "receives"
		}
		list = append(list, x)
	}
	if len(list) <= podsApart {
		return list
	}
	var out []pods
	for _, p := range list {
		name := stem(p.Name)
		i := slices.IndexFunc(out, func(o pods) bool { return o.Role == "" && o.Name == name })
		switch {
		case p.Role != "":
			out = append(out, p)
		case i >= 0:
			out[i].Count++
		default:
			out = append(out, pods{Name: name, Count: 1})
		}
	}
	return out
}

// stem is a pod's name without the number that tells it from its siblings.
func stem(name string) string {
	s := strings.TrimRight(name, "0123456789")
	if s = strings.TrimRight(s, "-"); s == "" {
		return name
	}
	return s
}

// linkText says what a cable is like.
func linkText(l faceoff.Link) string {
	if l.Text != "" {
		return l.Text
	}
	var parts []string
	if l.Rate > 0 {
		parts = append(parts, quantity(faceoff.BitRate, float64(l.Rate)))
	}
	if l.Latency > 0 {
		parts = append(parts, quantity(faceoff.Seconds, l.Latency.Seconds())+" each way")
	}
	if l.Loss > 0 {
		parts = append(parts, quantity(faceoff.Share, l.Loss)+" loss")
	}
	if parts == nil {
		return "no limit, no delay"
	}
	return strings.Join(parts, ", ")
}

// counts says how many of what there are.
func counts(t *faceoff.Topology) []string {
	kinds := []string{"node", "router", "host"}
	n := map[string]int{}
	for _, m := range t.Machines {
		if !slices.Contains(kinds, m.Kind) {
			kinds = append(kinds, m.Kind)
		}
		n[m.Kind]++
	}
	var list []string
	for _, kind := range kinds {
		if n[kind] > 0 {
			list = append(list, plural(n[kind], kind))
		}
	}
	return append(list, plural(len(t.Pods), "pod"), plural(len(t.Segments), "segment"))
}
