package topo

import (
	"math/rand/v2"
	"slices"
	"strconv"

	yaml "go.yaml.in/yaml/v3"
)

// A randomKind is one kind of fault that can be drawn.
type randomKind struct {
	word    string
	targets func(*randomTargets) []string
	// draw fills in the verb of a fault of a target. Two that overlap in time must
	// not hold the same thing: undoing one would undo the other.
	draw func(rng *rand.Rand, t *randomTargets, target string) (verb string, value *yaml.Node)
	hold string // what it holds of its target: "cable", "pod" ...
	once bool   // it is not undone
}

// randomKinds lists them all, in the order in which scenarios list them.
var randomKinds = []randomKind{
	{word: "link", targets: func(t *randomTargets) []string { return append(t.machines(), t.pods...) }, draw: downOf("link"), hold: "link"},
	{word: "node", targets: nodeTargets, draw: downOf("node"), hold: "node"},
	{word: "segment", targets: func(t *randomTargets) []string { return t.segments }, draw: downOf("segment"), hold: "segment"},
	{word: "lease", targets: clusterNodes, draw: downOf("lease"), hold: "lease"},
	{word: "endpoint", targets: clusterPods, draw: downOf("endpoint"), hold: "pod"},
	{word: "ready", targets: clusterPods, draw: downOf("ready"), hold: "pod"},
	{word: "partition", targets: func(t *randomTargets) []string {
		if len(t.machines()) < 2 {
			return nil
		}
		return []string{""}
	}, draw: drawPartition, hold: "partition"},
	{word: "crash", targets: nodeTargets, draw: func(_ *rand.Rand, _ *randomTargets, x string) (string, *yaml.Node) {
		return "crash", flowMap("node", scalarNode(x))
	}, hold: "node"},
	{word: "kill", targets: podTargets, draw: podVerb("kill"), hold: "pod"},
	{word: "restart", targets: podTargets, draw: podVerb("restart"), hold: "pod", once: true},
	{word: "move", targets: func(t *randomTargets) []string {
		if len(t.to) < 2 {
			return nil
		}
		return t.pods
	}, draw: drawMove, hold: "pod"},
	{word: "conflict", targets: func(t *randomTargets) []string {
		if len(t.segments) > 1 || len(t.machines()) < 2 {
			return nil // they need not share a segment
		}
		return t.machines()
	}, draw: drawConflict, hold: "conflict"},
	{word: "loss", targets: (*randomTargets).machines, draw: setOf("loss", "5%", "10%", "20%", "30%", "50%", "80%"), hold: "cable"},
	{word: "latency", targets: (*randomTargets).machines, draw: setOf("latency", "5ms", "20ms", "50ms", "100ms", "250ms", "500ms"), hold: "cable"},
	{word: "rate", targets: (*randomTargets).machines, draw: setOf("rate", "256kbit", "1Mbit", "10Mbit"), hold: "cable"},
	{word: "mtu", targets: (*randomTargets).machines, draw: func(rng *rand.Rand, _ *randomTargets, x string) (string, *yaml.Node) {
		return "set", flowMap("link", scalarNode(x), "mtu", scalarNode(strconv.Itoa(1280+10*rng.IntN(18))))
	}, hold: "cable"},
	// Without the CPU model there is nothing to draw it for, and a seed draws what it
	// always drew.
	{word: "slow", targets: func(t *randomTargets) []string {
		if !t.cpu {
			return nil
		}
		return t.nodes
	}, draw: func(rng *rand.Rand, _ *randomTargets, x string) (string, *yaml.Node) {
		return "slow", flowMap("node", scalarNode(x), "factor", scalarNode(pick(rng, []string{"2", "5", "10", "20", "50", "100"})))
	}, hold: "cpu"},
}

// kindWords are the words of randomKinds.
func kindWords() (words []string) {
	for _, k := range randomKinds {
		words = append(words, k.word)
	}
	return words
}

func nodeTargets(t *randomTargets) []string { return t.nodes }
func podTargets(t *randomTargets) []string  { return t.pods }

// clusterNodes and clusterPods are those of designs with Kubernetes.
func clusterNodes(t *randomTargets) []string {
	if t.standalone {
		return nil
	}
	return t.nodes
}

func clusterPods(t *randomTargets) []string {
	if t.standalone {
		return nil
	}
	return t.pods
}

func downOf(key string) func(*rand.Rand, *randomTargets, string) (string, *yaml.Node) {
	return func(_ *rand.Rand, _ *randomTargets, x string) (string, *yaml.Node) {
		return "down", flowMap(key, scalarNode(x))
	}
}

func podVerb(verb string) func(*rand.Rand, *randomTargets, string) (string, *yaml.Node) {
	return func(_ *rand.Rand, _ *randomTargets, x string) (string, *yaml.Node) {
		return verb, flowMap("pod", scalarNode(x))
	}
}

func setOf(key string, values ...string) func(*rand.Rand, *randomTargets, string) (string, *yaml.Node) {
	return func(rng *rand.Rand, _ *randomTargets, x string) (string, *yaml.Node) {
		return "set", flowMap("link", scalarNode(x), key, scalarNode(pick(rng, values)))
	}
}

// drawPartition cuts the machines into two groups, neither of them empty.
func drawPartition(rng *rand.Rand, t *randomTargets, _ string) (string, *yaml.Node) {
	all := t.machines()
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	cut := 1 + rng.IntN(len(all)-1)
	groups := flowList()
	for _, g := range [][]string{all[:cut], all[cut:]} {
		slices.Sort(g)
		list := flowList()
		for _, name := range g {
			list.Content = append(list.Content, scalarNode(name))
		}
		groups.Content = append(groups.Content, list)
	}
	return "partition", groups
}

// drawMove moves a pod to another node than the one it began on.
func drawMove(rng *rand.Rand, t *randomTargets, x string) (string, *yaml.Node) {
	others := slices.DeleteFunc(slices.Clone(t.to), func(n string) bool { return n == t.home[x] })
	return "move", flowMap("pod", scalarNode(x), "to", scalarNode(pick(rng, others)))
}

func drawConflict(rng *rand.Rand, t *randomTargets, x string) (string, *yaml.Node) {
	others := slices.DeleteFunc(t.machines(), func(n string) bool { return n == x })
	return "conflict", flowMap("on", scalarNode(x), "address", scalarNode(pick(rng, others)))
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// scalarNode, flowMap and flowList make YAML that is written in one line.
func scalarNode(s string) *yaml.Node {
	n := new(yaml.Node)
	n.SetString(s)
	if s != "" && s[0] >= '0' && s[0] <= '9' { // a number, or a time, need not be quoted
		n.Tag = ""
	}
	return n
}

func flowMap(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, p := range pairs {
		if s, ok := p.(string); ok {
			p = scalarNode(s)
		}
		n.Content = append(n.Content, p.(*yaml.Node))
	}
	return n
}

func flowList() *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle} }

// oneLine is a copy of a tree without comments, to be written in one line.
func oneLine(n *yaml.Node) *yaml.Node {
	c := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style}
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		c.Style |= yaml.FlowStyle
	}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		c.Style = yaml.DoubleQuotedStyle
	}
	for _, e := range n.Content {
		c.Content = append(c.Content, oneLine(e))
	}
	return c
}
