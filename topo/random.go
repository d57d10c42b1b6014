package topo

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

// RandomFaults is a schedule of faults that is drawn when the scenario is
// played: from a seed, the scenario and nothing else. It does not depend on what
// happens in the lab, nor on the clock.
type RandomFaults struct {
	Count  Field[int]           // how many; if there is no room for all, as many as there is
	Every  Field[time.Duration] // instead: one so often, on average
	Window Field[time.Duration] // all begin within this time
	For    Field[Span]          // how long each lasts; default 100ms..1s
	Kinds  []Field[string]      // among randomKinds; if empty, all that have a target
	Names  []Field[string]      // of machines, pods and segments; if empty, all there are
	Seed   Field[uint64]        // if not set, the seed of the run

	load *load // to read what was drawn as if it stood in the file
	doc  *document
	node *yaml.Node
	path string
}

// Span is a range of durations.
type Span struct{ Min, Max time.Duration }

// parseSpan reads "100ms..2s", or one duration.
func parseSpan(text string) (s Span, err error) {
	low, high, ranged := strings.Cut(text, "..")
	if s.Min, err = ParseDuration(strings.TrimSpace(low)); err != nil {
		return s, err
	}
	s.Max = s.Min
	if ranged {
		s.Max, err = ParseDuration(strings.TrimSpace(high))
	}
	switch {
	case err != nil:
		return s, err
	case s.Max < s.Min:
		return s, hint("the shorter one stands first")
	case s.Min == 0:
		return s, hint("a fault that lasts 0s is none")
	}
	return s, nil
}

// randomKeys are the keys of random.
var randomKeys = []string{"count", "every", "window", "for", "kinds", "targets", "seed"}

// decodeRandom reads the element of faults that has the key random.
func (l *load) decodeRandom(fault mapping, f *TimedFault) {
	m, ok := l.mapping(fault.d, fault.get("random"), fault.path("random"), randomKeys...)
	if !ok {
		return
	}
	kinds := kindWords()
	r := &RandomFaults{
		Count: m.integer("count", 1, 10_000), Every: m.duration("every"), Window: m.duration("window"),
		For:  orDefault(decode(m, "for", `a time, or a range such as "100ms..2s"`, parseSpan), Span{100 * time.Millisecond, time.Second}),
		Seed: decode(m, "seed", "a whole number, not negative", func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }),
		load: l, doc: m.d, node: m.node, path: f.path,
	}
	m.list("kinds", "a list of "+strings.Join(kinds, ", "), func(p string, n *yaml.Node) {
		if w := l.wordAt(m.d, n, p, kinds); w.IsSet() {
			r.Kinds = append(r.Kinds, w)
		}
	})
	m.list("targets", "a list of names of nodes, hosts, pods and segments", func(p string, n *yaml.Node) {
		if s, ok := l.scalar(m.d, n, p, "a name"); ok {
			r.Names = append(r.Names, Field[string]{s, m.d.pos(n)})
		}
	})
	l.checkRandom(fault, m, r)
	f.Random = r
}

// checkRandom finds what is missing or contradicts itself.
func (l *load) checkRandom(fault, m mapping, r *RandomFaults) {
	report := func(at mapping, message string) {
		l.reportAt(at.d, at.node, Diagnostic{Rule: "missing-value", Message: at.what + ": " + message})
	}
	starts := 0
	for _, key := range []string{"at", "after", "with"} {
		if fault.get(key) != nil {
			starts++
		}
	}
	if starts > 1 {
		report(fault, "want one of at, after and with, or none")
	}
	for _, key := range []string{"every", "until", "for"} {
		if fault.get(key) != nil {
			report(fault, key+" belongs under random")
		}
	}
	for _, v := range faultVerbs {
		if mapValue(fault.node, v) != nil {
			report(fault, "random and "+v+", want one of them")
		}
	}
	if (m.get("count") == nil) == (m.get("every") == nil) {
		report(m, "want either count or every")
	}
	if r.Every.IsSet() && r.Every.Value == 0 {
		report(m, "every 0s never ends, want a longer time")
	}
	if m.get("window") == nil {
		report(m, "no window, want the time within which all faults begin")
	}
	if r.Every.Value > 0 && r.Window.Value/r.Every.Value > 10_000 {
		report(m, fmt.Sprintf("some %d faults, want at most 10000", r.Window.Value/r.Every.Value))
	}
}

// resolve settles the names, and finds kinds without a target.
func (r *RandomFaults) resolve(l *load) {
	t := r.targets(l)
	for _, n := range r.Names {
		if !t.known[n.Value] {
			l.addAt(n.Pos, Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("%s.random.targets: unknown name %s, want a node, host, pod or segment", r.path, quoted(n.Value)),
				Hint: didYouMean(n.Value, "known names", append(slices.Clone(l.names.all), t.segments...))})
		}
	}
	for _, k := range r.Kinds {
		if i := slices.IndexFunc(randomKinds, func(o randomKind) bool { return o.word == k.Value }); len(randomKinds[i].targets(t)) == 0 {
			d := Diagnostic{Rule: "missing-value", Message: fmt.Sprintf("%s.random.kinds: nothing here that %s could happen to", r.path, k.Value)}
			if k.Value == "slow" && !t.cpu {
				d.Hint = hintCPU
			}
			l.addAt(k.Pos, d)
		}
	}
	if len(r.Kinds) == 0 && len(r.possible(t)) == 0 {
		l.reportAt(r.doc, r.node, Diagnostic{Rule: "missing-value", Message: r.path + ".random: nothing here that could fail"})
	}
}

// randomTargets are what faults may be drawn for, as scenarios name them, in
// the order of the scenario.
type randomTargets struct {
	nodes, hosts, pods, segments []string
	to                           []string          // nodes that a pod may move to
	home                         map[string]string // of a pod: its node, if that is known
	standalone                   bool
	cpu                          bool            // nodes have the CPU model
	known                        map[string]bool // everything that has a name, chosen or not
}

// machines are the nodes and hosts.
func (t *randomTargets) machines() []string { return slices.Concat(t.nodes, t.hosts) }

// targets lists what there is, or what of it was chosen.
func (r *RandomFaults) targets(l *load) *randomTargets {
	sc := l.sc
	t := &randomTargets{home: make(map[string]string), known: make(map[string]bool), standalone: emu.Standalone(sc.Cluster.Design.Value), cpu: sc.Cluster.CPU.On}
	add := func(list *[]string, name string) {
		t.known[name] = true
		if len(r.Names) == 0 || slices.ContainsFunc(r.Names, func(f Field[string]) bool { return f.Value == name }) {
			*list = append(*list, name)
		}
	}
	for _, n := range sc.Cluster.Nodes {
		add(&t.nodes, n.Name.Value)
		t.to = append(t.to, n.Name.Value)
	}
	for _, h := range sc.Hosts {
		if !h.TAP.IsSet() {
			add(&t.hosts, h.Name.Value)
		}
	}
	for _, p := range sc.Pods {
		name := p.Name.Value
		switch {
		case p.Namespace != "default":
			name = p.Key()
		case l.names.nodes[name] || l.names.hosts[name]:
			name = "pod/" + name
		}
		add(&t.pods, name)
		t.home[name] = p.Node.Value
	}
	for _, s := range sc.Underlay.Segments {
		add(&t.segments, s.Name.Value)
	}
	return t
}

// drawn reads the faults that were drawn as if they stood in the file.
func (r *RandomFaults) drawn(nodes []*yaml.Node) ([]TimedFault, error) {
	l := r.load
	sc := *l.sc
	sc.Faults = nil
	sub := &load{Loader: l.Loader, sc: &sc, names: l.names, order: l.order, sources: l.sources, declared: l.declared}
	for _, n := range nodes {
		locate(n, r.node)
		sub.decodeFault(r.doc, r.path+".random", n)
	}
	sub.resolveFaults()
	if err := sub.diags.Err(); err != nil {
		return nil, errors.Join(errors.New("topo: random faults"), err)
	}
	return sc.Faults, nil
}

// locate says that a tree stands where another one does.
func locate(n, at *yaml.Node) {
	n.Line, n.Column = at.Line, at.Column
	for _, c := range n.Content {
		locate(c, at)
	}
}
