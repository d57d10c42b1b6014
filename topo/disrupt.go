package topo

import (
	"fmt"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

// Partition cuts the underlay between groups of machines.
type Partition struct{ Groups [][]Ref }

func (l *load) decodePartition(step mapping, s *Step) {
	p := &Partition{}
	s.Action = p
	step.list("partition", "a list of groups, each a list of nodes and hosts", func(path string, n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			l.wrongType(step.d, n, path, "a list of nodes and hosts")
			return
		}
		var group []Ref
		for i, e := range n.Content {
			if text, ok := l.scalar(step.d, e, fmt.Sprintf("%s[%d]", path, i), "a node or host"); ok {
				group = append(group, Ref{Pos: step.d.pos(e), Text: text})
			}
		}
		p.Groups = append(p.Groups, group)
	})
	if n := step.get("partition"); n != nil && n.Kind == yaml.SequenceNode && len(p.Groups) == 1 {
		l.reportAt(step.d, n, Diagnostic{Rule: "missing-value", Message: step.path("partition") + ": one group, want two or more, or [] to heal"})
	}
}

// Verb implements Action.
func (p *Partition) Verb() string { return "partition" }

func (p *Partition) title() string {
	if len(p.Groups) == 0 {
		return "no partition"
	}
	var groups []string
	for _, g := range p.Groups {
		var names []string
		for _, r := range g {
			names = append(names, r.Text)
		}
		groups = append(groups, strings.Join(names, ", "))
	}
	return "partition " + strings.Join(groups, " | ")
}

func (p *Partition) resolve(l *load, at string) {
	seen := map[string]bool{}
	for i, g := range p.Groups {
		for j := range g {
			r := &g[j]
			l.resolve(r, fmt.Sprintf("%s[%d][%d]", at, i, j), RefNode, RefHost)
			if r.Kind != RefNone && seen[r.Name] {
				l.addAt(r.Pos, Diagnostic{Rule: "duplicate-name", Message: fmt.Sprintf("%s: %s is in two groups", at, r.Name)})
			}
			seen[r.Name] = true
		}
	}
}

func (p *Partition) play(pl *player) {
	_, pl.err = p.disrupt(pl.lab)
	pl.result.Outcome = p.title()
}

func (p *Partition) disrupt(lab *emu.Lab) (undo func() error, err error) {
	var groups [][]*emu.Machine
	for _, g := range p.Groups {
		var list []*emu.Machine
		for _, r := range g {
			list = append(list, machineOf(lab, r))
		}
		groups = append(groups, list)
	}
	return func() error { return lab.Partition() }, lab.Partition(groups...)
}

// Crash is a node that crashes; undone, it boots.
type Crash struct{ Node Ref }

func (l *load) decodeCrash(step mapping, s *Step) {
	c := &Crash{}
	s.Action = c
	if m, ok := l.verb(step, "crash", []string{"node"}); ok {
		c.Node = m.ref("node")
	}
}

// Verb implements Action.
func (c *Crash) Verb() string               { return "crash" }
func (c *Crash) title() string              { return "crash " + c.Node.Text }
func (c *Crash) resolve(l *load, at string) { l.resolve(&c.Node, at+".node", RefNode) }

func (c *Crash) play(p *player) {
	_, p.err = c.disrupt(p.lab)
	p.result.Outcome = c.Node.Text + " has crashed"
}

// disrupt implements Disruption.
func (c *Crash) disrupt(lab *emu.Lab) (undo func() error, err error) {
	n := lab.Node(c.Node.Name)
	if n == nil {
		return nil, errGone(c.Node)
	}
	n.Crash()
	return n.Boot, nil
}
