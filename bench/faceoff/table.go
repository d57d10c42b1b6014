package faceoff

import (
	"fmt"
	"slices"
	"strings"
)

// A table is rows of cells, the first row its head.
type table struct {
	title string
	rows  [][]string
}

// groupTitles say what the measures of a group have in common.
var groupTitles = map[string]string{
	GroupHeaders: "Headers: what a packet consists of", GroupGoodput: "Goodput: a stream on the scenario's cables, and pings beside it",
	GroupMixed:   "Mixed: streams both ways, and UDP",
	GroupLatency: "Latency: round trips, requests, connections", GroupPackets: "Packets: frames on the underlay",
	GroupLoss: "Loss: a cable that loses frames", GroupRecovery: "Recovery: after faults", GroupTables: "Tables: what the fullest node remembers",
	GroupGrowth: "Growth: what a node remembers more for each", GroupWires: "Wires: one stream on other cables",
	GroupHost: "Host: what the emulation costs here; depends on this host",
}

// keyTable shows the measures that matter most, a row for each design.
func (r *Result) keyTable() table {
	return r.table("", func(m *Measure) bool { return m.Key })
}

// groupTables shows all measures, a table for each group.
func (r *Result) groupTables() (list []table) {
	for _, g := range Groups {
		t := r.table(groupTitles[g], func(m *Measure) bool { return m.Group == g })
		if len(t.rows[0]) > 1 {
			list = append(list, t)
		}
	}
	return list
}

// table shows some measures. Values that all designs have in common are not worth
// less than others: nothing is left out.
func (r *Result) table(title string, want func(*Measure) bool) table {
	head := []string{"design"}
	rows := make([][]string, len(r.Designs))
	for i, d := range r.Designs {
		rows[i] = []string{d.Name}
	}
	for i := range r.Measures {
		m := &r.Measures[i]
		if !want(m) {
			continue
		}
		head = append(head, m.Short)
		for j, v := range m.Values {
			rows[j] = append(rows[j], v.text(m.Unit))
		}
	}
	return table{title, slices.Concat([][]string{head}, rows)}
}

// text prints a value, and the range of its spread if there is one.
func (v Value) text(u Unit) string {
	if v.Value == nil {
		return "-"
	}
	s := Text(*v.Value, u)
	if v.Spread != nil && v.Spread.Max > v.Spread.Min {
		s += " (" + strings.TrimSpace(Text(v.Spread.Min, u)) + " to " + Text(v.Spread.Max, u) + ")"
	}
	return s
}

// notes lists why values are missing, each reason once, with the designs and
// measures that it holds for.
func (r *Result) notes() (list []string) {
	type reason struct {
		text              string
		designs, measures []string
	}
	var reasons []*reason
	for _, m := range r.Measures {
		for _, v := range m.Values {
			if v.Note == "" {
				continue
			}
			i := slices.IndexFunc(reasons, func(x *reason) bool { return x.text == v.Note })
			if i < 0 {
				i = len(reasons)
				reasons = append(reasons, &reason{text: v.Note})
			}
			for into, name := range map[*[]string]string{&reasons[i].designs: v.Design, &reasons[i].measures: m.Title} {
				if !slices.Contains(*into, name) {
					*into = append(*into, name)
				}
			}
		}
	}
	for _, x := range reasons {
		who := and(x.designs)
		if len(x.designs) == len(r.Designs) {
			who = "all designs"
		}
		list = append(list, fmt.Sprintf("%s: %s (%s)", who, x.text, strings.Join(x.measures, "; ")))
	}
	return list
}
