package topo

import (
	"fmt"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

// PodFault is what happens to a pod: it is killed, started again, or moved.
type PodFault struct {
	verb string
	Pod  Ref
	To   Ref // of a move: the node

	KeepAddr, KeepMAC bool // of a restart or move: it comes back with what it had
}

// podKeeps are the words for what a pod can keep.
var podKeeps = []string{"address", "mac"}

func (l *load) decodeKill(step mapping, s *Step)    { s.Action = l.podFault(step, "kill") }
func (l *load) decodeRestart(step mapping, s *Step) { s.Action = l.podFault(step, "restart") }
func (l *load) decodeMove(step mapping, s *Step)    { s.Action = l.podFault(step, "move", "to") }

func (l *load) podFault(step mapping, verb string, more ...string) *PodFault {
	f := &PodFault{verb: verb}
	var keep []string
	if verb != "kill" {
		keep = []string{"keep"}
	}
	m, ok := l.verb(step, verb, append([]string{"pod"}, more...), keep...)
	if !ok {
		return f
	}
	f.Pod = m.ref("pod")
	if len(more) > 0 {
		f.To = m.ref("to")
	}
	words := []Field[string]{}
	if n := m.get("keep"); n != nil && n.Kind == yaml.SequenceNode {
		for i, e := range n.Content {
			words = append(words, l.wordAt(m.d, e, fmt.Sprintf("%s[%d]", m.path("keep"), i), podKeeps))
		}
	} else {
		words = append(words, m.word("keep", podKeeps))
	}
	for _, w := range words {
		f.KeepAddr, f.KeepMAC = f.KeepAddr || w.Value == "address", f.KeepMAC || w.Value == "mac"
	}
	return f
}

// Verb implements Action.
func (f *PodFault) Verb() string { return f.verb }

func (f *PodFault) title() string {
	text := f.verb + " " + f.Pod.Text
	if f.To.IsSet() {
		text += " to " + f.To.Text
	}
	var kept []string
	if f.KeepAddr {
		kept = append(kept, "address")
	}
	if f.KeepMAC {
		kept = append(kept, "MAC")
	}
	if len(kept) > 0 {
		text += " with its " + strings.Join(kept, " and ")
	}
	return text
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
		return func() error { _, err := lab.StartAgain(pod); return err }, lab.RemovePod(pod)
	case "restart":
		return nil, f.move(lab, nil)
	}
	node := lab.Node(f.To.Name)
	if node == nil {
		return nil, errGone(f.To)
	}
	return func() error { return f.move(lab, was) }, f.move(lab, node)
}

// move starts the pod again, which another fault may have done meanwhile.
func (f *PodFault) move(lab *emu.Lab, node *emu.Node) error {
	pod := lab.Pod(f.Pod.Namespace + "/" + f.Pod.Name)
	if pod == nil {
		return errGone(f.Pod)
	}
	_, err := lab.MovePod(pod, emu.MoveConfig{Node: node, KeepAddr: f.KeepAddr, KeepMAC: f.KeepMAC})
	return err
}
