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

// PodFault is what happens to a pod: it is killed, started again, or moved.
type PodFault struct {
	verb string
	Pod  Ref
	To   Ref // of a move: the node
}

func (l *load) decodeKill(step mapping, s *Step)    { s.Action = l.podFault(step, "kill") }
func (l *load) decodeRestart(step mapping, s *Step) { s.Action = l.podFault(step, "restart") }
func (l *load) decodeMove(step mapping, s *Step)    { s.Action = l.podFault(step, "move", "to") }

func (l *load) podFault(step mapping, verb string, more ...string) *PodFault {
	f := &PodFault{verb: verb}
	if m, ok := l.verb(step, verb, append([]string{"pod"}, more...)); ok {
		f.Pod = m.ref("pod")
		if len(more) > 0 {
			f.To = m.ref("to")
		}
	}
	return f
}

// Verb implements Action.
func (f *PodFault) Verb() string { return f.verb }

func (f *PodFault) title() string {
	if f.To.IsSet() {
		return fmt.Sprintf("move %s to %s", f.Pod.Text, f.To.Text)
	}
	return f.verb + " " + f.Pod.Text
}

func (f *PodFault) resolve(l *load, at string) {
	l.resolve(&f.Pod, at+".pod", RefPod)
	l.resolve(&f.To, at+".to", RefNode)
}

func (f *PodFault) play(p *player) {
	_, p.err = f.disrupt(p.lab)
	if pod := p.lab.Pod(f.Pod.Namespace + "/" + f.Pod.Name); pod != nil {
		p.result.Outcome = fmt.Sprintf("%s runs on %s with address %v", f.Pod.Text, pod.Node().Name(), pod.Addr())
		return
	}
	p.result.Outcome = f.Pod.Text + " is gone"
}

// disrupt implements Disruption. A pod that was killed comes back on its node,
// one that was moved goes back; a restart is not undone.
func (f *PodFault) disrupt(lab *emu.Lab) (undo func() error, err error) {
	pod := lab.Pod(f.Pod.Namespace + "/" + f.Pod.Name)
	if pod == nil {
		return nil, errGone(f.Pod)
	}
	was := pod.Node()
	switch f.verb {
	case "kill":
		spec := pod.Spec()
		spec.ResourceVersion = ""
		return func() error { _, err := lab.AddPodObject(spec); return err }, lab.RemovePod(pod)
	case "restart":
		_, err := lab.RestartPod(pod, nil)
		return nil, err
	}
	node := lab.Node(f.To.Name)
	if node == nil {
		return nil, errGone(f.To)
	}
	moved, err := lab.RestartPod(pod, node)
	return func() error { _, err := lab.RestartPod(moved, was); return err }, err
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
