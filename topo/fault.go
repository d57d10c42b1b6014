package topo

// Fault takes one thing down, or up again: a cable, a node, what the others
// know of a node, a segment's switch.
type Fault struct {
	Up      bool
	Link    Ref           // a node, host, router or pod: its cables
	Node    Ref           // a node as a whole
	Lease   Ref           // a node: what the others know of it
	Segment Field[string] // a segment's switch
}

func (l *load) decodeDown(step mapping, s *Step) { s.Action = l.fault(step, "down") }
func (l *load) decodeUp(step mapping, s *Step)   { s.Action = l.fault(step, "up") }

func (l *load) fault(step mapping, word string) *Fault {
	f := &Fault{Up: word == "up"}
	m, ok := l.verb(step, word, nil, "link", "node", "lease", "segment")
	if !ok {
		return f
	}
	f.Link, f.Node, f.Lease, f.Segment = m.ref("link"), m.ref("node"), m.ref("lease"), m.str("segment")
	targets := 0
	for _, set := range []bool{f.Link.IsSet(), f.Node.IsSet(), f.Lease.IsSet(), f.Segment.IsSet()} {
		if set {
			targets++
		}
	}
	if targets != 1 {
		l.reportAt(m.d, m.node, Diagnostic{Rule: "missing-value", Message: m.what + ": want one of link, node, lease and segment"})
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
	case f.Segment.IsSet():
		return "segment " + f.Segment.Value
	}
	return f.Node.Text
}

func (f *Fault) resolve(l *load, at string) {
	l.resolve(&f.Link, at+".link", RefNode, RefHost, RefPod)
	l.resolve(&f.Node, at+".node", RefNode)
	l.resolve(&f.Lease, at+".lease", RefNode)
	l.checkSegmentName(f.Segment)
}

func (f *Fault) play(p *player) {
	switch {
	case f.Link.IsSet():
		if m := p.machine(f.Link); m != nil {
			m.SetLink(f.Up)
		}
		p.result.Outcome = "the cable of " + f.Link.Text + " is " + f.Verb()
	case f.Lease.IsSet():
		if n := p.lab.Node(f.Lease.Name); n != nil {
			p.err = n.SetLease(f.Up)
		}
		p.result.Outcome = "the other nodes " + map[bool]string{true: "know ", false: "have forgotten "}[f.Up] + f.Lease.Text
	case f.Segment.IsSet():
		p.err = p.lab.SetSegment(f.Segment.Value, f.Up)
		p.result.Outcome = "the switch of segment " + f.Segment.Value + " is " + f.Verb()
	default:
		if n := p.lab.Node(f.Node.Name); n != nil {
			n.SetUp(f.Up)
		}
		p.result.Outcome = f.Node.Text + " is " + f.Verb()
	}
}
