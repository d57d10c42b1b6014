package topo

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/emu"
)

// Fault takes one thing down, or up again: a cable, a node, what the others
// know of a node, a segment's switch, a pod as an endpoint of Services.
type Fault struct {
	Up       bool
	Link     Ref           // a node, host, router or pod: its cables
	Node     Ref           // a node as a whole
	Lease    Ref           // a node: what the others know of it
	BGP      Ref           // a node: its BGP daemon, which ends and starts in good order
	Endpoint Ref           // a pod that runs on: its address in all EndpointSlices
	Ready    Ref           // a pod that runs on: its readiness probe
	Segment  Field[string] // a segment's switch
}

// targets are the words for what a Fault takes down.
var targets = []string{"link", "node", "lease", "bgp", "endpoint", "ready", "segment"}

func (l *load) decodeDown(step mapping, s *Step) { s.Action = l.fault(step, "down") }
func (l *load) decodeUp(step mapping, s *Step)   { s.Action = l.fault(step, "up") }

func (l *load) fault(step mapping, word string) *Fault {
	f := &Fault{Up: word == "up"}
	m, ok := l.verb(step, word, nil, targets...)
	if !ok {
		return f
	}
	f.Link, f.Node, f.Lease, f.Segment = m.ref("link"), m.ref("node"), m.ref("lease"), m.str("segment")
	f.Endpoint, f.Ready, f.BGP = m.ref("endpoint"), m.ref("ready"), m.ref("bgp")
	set := 0
	for _, key := range targets {
		if m.get(key) != nil {
			set++
		}
	}
	if set != 1 {
		l.reportAt(m.d, m.node, Diagnostic{Rule: "missing-value", Message: m.what + ": want one of " + strings.Join(targets, ", ")})
	}
	return f
}

// Verb implements Action.
func (f *Fault) Verb() string {
	if f.Up {
		return "up"
	}
	return "down"
}

func (f *Fault) title() string { return f.Verb() + " " + f.what() }

// what names the thing that is taken down or up.
func (f *Fault) what() string {
	switch {
	case f.Link.IsSet():
		return f.Link.Text
	case f.Lease.IsSet():
		return "lease of " + f.Lease.Text
	case f.BGP.IsSet():
		return "BGP daemon of " + f.BGP.Text
	case f.Segment.IsSet():
		return "segment " + f.Segment.Value
	case f.Endpoint.IsSet():
		return "endpoint " + f.Endpoint.Text
	case f.Ready.IsSet():
		return "readiness of " + f.Ready.Text
	}
	return f.Node.Text
}

func (f *Fault) resolve(l *load, at string) {
	l.resolve(&f.Link, at+".link", RefNode, RefHost, RefTAP, RefPod)
	l.resolve(&f.Node, at+".node", RefNode)
	l.resolve(&f.Lease, at+".lease", RefNode)
	l.resolve(&f.BGP, at+".bgp", RefNode)
	l.checkBGP(f.BGP, at)
	l.resolve(&f.Endpoint, at+".endpoint", RefPod)
	l.resolve(&f.Ready, at+".ready", RefPod)
	l.checkSegmentName(f.Segment)
}

// checkBGP finds a fault of daemons that nodes of the design do not run.
func (l *load) checkBGP(node Ref, at string) {
	design := l.sc.Cluster.Design.Value
	if !node.IsSet() || emu.SpeaksBGP(design) {
		return
	}
	l.addAt(node.Pos, Diagnostic{Rule: "no-bgp", Message: fmt.Sprintf("%s.bgp: nodes of design %s run no BGP daemon", at, design),
		Hint: "designs whose nodes do: " + strings.Join(emu.BGPDesigns(), ", ")})
}

func (f *Fault) play(p *player) {
	_, p.err = f.disrupt(p.lab)
	switch {
	case f.Link.IsSet():
		p.result.Outcome = "the cable of " + f.Link.Text + " is " + f.Verb()
	case f.Lease.IsSet():
		p.result.Outcome = "the other nodes " + map[bool]string{true: "know ", false: "have forgotten "}[f.Up] + f.Lease.Text
	case f.BGP.IsSet():
		p.result.Outcome = "the BGP daemon of " + f.BGP.Text + map[bool]string{true: " runs", false: " has told its peers that it ends"}[f.Up]
	case f.Endpoint.IsSet():
		p.result.Outcome = f.Endpoint.Text + map[bool]string{true: " is an endpoint", false: " runs, and is no endpoint any more"}[f.Up]
	case f.Ready.IsSet():
		p.result.Outcome = f.Ready.Text + map[bool]string{true: " is ready", false: " runs, and is not ready"}[f.Up]
	case f.Segment.IsSet():
		p.result.Outcome = "the switch of segment " + f.Segment.Value + " is " + f.Verb()
	default:
		p.result.Outcome = f.Node.Text + " is " + f.Verb()
	}
}

// disrupt implements Disruption.
func (f *Fault) disrupt(lab *emu.Lab) (undo func() error, err error) {
	return func() error { return f.turn(lab, !f.Up) }, f.turn(lab, f.Up)
}

// turn takes the thing up or down.
func (f *Fault) turn(lab *emu.Lab, up bool) error {
	switch {
	case f.Link.IsSet():
		if f.Link.Kind == RefTAP {
			lab.TAP(f.Link.Name).SetLink(up)
			return nil
		}
		m := machineOf(lab, f.Link)
		if m == nil {
			return errGone(f.Link)
		}
		m.SetLink(up)
	case f.Segment.IsSet():
		return lab.SetSegment(f.Segment.Value, up)
	case f.Endpoint.IsSet():
		return turnPod(lab, f.Endpoint, up, lab.SetEndpoint)
	case f.Ready.IsSet():
		return turnPod(lab, f.Ready, up, lab.SetReady)
	case f.Lease.IsSet():
		n := lab.Node(f.Lease.Name)
		if n == nil {
			return errGone(f.Lease)
		}
		return n.SetLease(up)
	case f.BGP.IsSet():
		n := lab.Node(f.BGP.Name)
		switch {
		case n == nil:
			return errGone(f.BGP)
		case up:
			return n.StartBGP()
		}
		return n.StopBGP(false)
	default:
		n := lab.Node(f.Node.Name)
		if n == nil {
			return errGone(f.Node)
		}
		n.SetUp(up)
	}
	return nil
}

func turnPod(lab *emu.Lab, r Ref, up bool, turn func(*emu.Pod, bool) error) error {
	pod := lab.Pod(r.Namespace + "/" + r.Name)
	if pod == nil {
		return errGone(r)
	}
	return turn(pod, up)
}

// errGone is for something that a fault has removed before.
func errGone(r Ref) error { return fmt.Errorf("%s is not there any more", r.Text) }
