package topo

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// Set changes what cables are like, all settings at one instant. Fields that are
// not set stay as they are.
type Set struct {
	Target  LinkTarget
	Change  Link
	changed []string // the settings as written, for the title
}

// A LinkTarget names one cable, or all those of a segment.
type LinkTarget struct {
	Link    Ref           // a node, host or router
	To      Field[string] // the segment that the cable leads to; not set: the machine's only or first one
	Segment Field[string] // instead: all cables of a segment
}

// targetKeys are the keys of a LinkTarget.
var targetKeys = []string{"link", "to", "segment"}

// linkTarget decodes the keys of a LinkTarget.
func (l *load) linkTarget(m mapping) LinkTarget {
	t := LinkTarget{Link: m.ref("link"), To: m.str("to"), Segment: m.str("segment")}
	if t.Link.IsSet() == t.Segment.IsSet() {
		l.reportAt(m.d, m.node, Diagnostic{Rule: "missing-value", Message: m.what + ": want either link or segment"})
	}
	return t
}

func (t *LinkTarget) resolve(l *load, at string) {
	l.resolve(&t.Link, at+".link", RefNode, RefHost, RefTAP)
	for _, f := range []Field[string]{t.To, t.Segment} {
		l.checkSegmentName(f)
	}
}

// checkSegmentName reports a segment that does not exist.
func (l *load) checkSegmentName(f Field[string]) {
	var known []string
	for _, s := range l.sc.Underlay.Segments {
		known = append(known, s.Name.Value)
	}
	if f.IsSet() && !slices.Contains(known, f.Value) {
		l.addAt(f.Pos, Diagnostic{Rule: "unknown-name", Message: "unknown segment " + quoted(f.Value), Hint: didYouMean(f.Value, "segments", known)})
	}
}

func (t *LinkTarget) String() string {
	switch {
	case t.Segment.IsSet():
		return "segment " + t.Segment.Value
	case t.To.IsSet():
		return t.Link.Text + "/" + t.To.Value
	}
	return t.Link.Text
}

// cabled is what has a cable to a segment: a machine, a TAP.
type cabled interface {
	ChangeCable(segment string, change func(out, in *link.WireConfig)) error
}

// machines returns those whose cables are meant, and the segment that they lead to.
func (t *LinkTarget) machines(lab *emu.Lab) (list []cabled, segment string) {
	switch {
	case t.Segment.IsSet():
		for _, m := range lab.SegmentMachines(t.Segment.Value) {
			list = append(list, m)
		}
		for _, tap := range lab.TAPs() {
			if tap.Segment() == t.Segment.Value {
				list = append(list, tap)
			}
		}
		return list, t.Segment.Value
	case t.Link.Kind == RefTAP:
		return []cabled{lab.TAP(t.Link.Name)}, t.To.Value
	}
	if m := machineOf(lab, t.Link); m != nil {
		list = append(list, m)
	}
	return list, t.To.Value
}

// change changes every cable of the target at one instant, and returns what
// gives them back the settings that they had.
func (t *LinkTarget) change(lab *emu.Lab, change func(out, in *link.WireConfig)) (undo func() error, err error) {
	machines, segment := t.machines(lab)
	if len(machines) == 0 && t.Link.IsSet() {
		return nil, errGone(t.Link)
	}
	var undos []func() error
	for _, m := range machines {
		var out, in link.WireConfig
		if err := m.ChangeCable(segment, func(o, i *link.WireConfig) {
			out, in = *o, *i
			change(o, i)
		}); err != nil {
			return nil, err
		}
		undos = append(undos, func() error {
			return m.ChangeCable(segment, func(o, i *link.WireConfig) { *o, *i = out, in })
		})
	}
	return func() (err error) {
		for _, u := range undos {
			err = errors.Join(err, u())
		}
		return err
	}, nil
}

func (l *load) decodeSet(step mapping, s *Step) {
	set := &Set{}
	s.Action = set
	m, ok := l.verb(step, "set", nil, slices.Concat(targetKeys, linkKeys)...)
	if !ok {
		return
	}
	set.Target, set.Change = l.linkTarget(m), decodeLink(m)
	for i := 0; i+1 < len(m.node.Content); i += 2 {
		if k, v := m.node.Content[i], m.node.Content[i+1]; slices.Contains(linkKeys, k.Value) {
			set.changed = append(set.changed, k.Value+" "+inline(v))
		}
	}
	if len(set.changed) == 0 {
		l.reportAt(m.d, m.node, Diagnostic{Rule: "missing-value", Message: m.what + ": nothing to change, want one or more of " + strings.Join(linkKeys, ", ")})
	}
}

// inline writes a value in one line, for titles.
func inline(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return n.Value
	}
	var parts []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		parts = append(parts, n.Content[i].Value+" "+inline(n.Content[i+1]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Verb implements Action.
func (s *Set) Verb() string { return "set" }

func (s *Set) title() string {
	return fmt.Sprintf("set %s: %s", s.Target.String(), strings.Join(s.changed, ", "))
}

func (s *Set) resolve(l *load, at string) { s.Target.resolve(l, at) }

func (s *Set) play(p *player) {
	_, p.err = s.disrupt(p.lab)
	p.result.Outcome = fmt.Sprintf("%s: %s", s.Target.String(), strings.Join(s.changed, ", "))
}

// disrupt implements Disruption.
func (s *Set) disrupt(lab *emu.Lab) (undo func() error, err error) {
	return s.Target.change(lab, s.Change.apply)
}

// machineOf returns the machine that a reference of a step names, or nil.
func machineOf(lab *emu.Lab, r Ref) *emu.Machine {
	switch r.Kind {
	case RefPod:
		return lab.Machine(r.Namespace + "/" + r.Name)
	case RefNode, RefHost:
		return lab.Machine(r.Name)
	}
	return nil
}
