package topo

import (
	"fmt"

	yaml "go.yaml.in/yaml/v3"
)

// maxAliasNodes bounds the nodes that aliases may add to one document. Nine
// levels of nine aliases, the classic bomb, would make 400 million.
const maxAliasNodes = 100_000

type aliasError struct {
	node    *yaml.Node
	problem string
}

func (e *aliasError) Error() string { return e.problem }

// expand returns the tree with each alias replaced by what it stands for and
// each merge key (<<) by the keys it brings in. Values that came through an
// alias keep the position of their anchor.
func expand(n *yaml.Node, budget *int, open map[*yaml.Node]bool) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		return expandAlias(n, budget, open)
	}
	if len(open) > 0 {
		if *budget--; *budget < 0 {
			return nil, &aliasError{n, fmt.Sprintf("aliases expand to more than %d values", maxAliasNodes)}
		}
	}
	if len(n.Content) == 0 {
		return n, nil
	}
	out := *n
	out.Content = make([]*yaml.Node, 0, len(n.Content))
	for _, c := range n.Content {
		e, err := expand(c, budget, open)
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, e)
	}
	if n.Kind == yaml.MappingNode {
		return merge(&out), nil
	}
	return &out, nil
}

func expandAlias(n *yaml.Node, budget *int, open map[*yaml.Node]bool) (*yaml.Node, error) {
	target := n.Alias
	if target == nil || open[target] {
		return nil, &aliasError{n, fmt.Sprintf("the alias *%s stands for a value that contains it", n.Value)}
	}
	open[target] = true
	defer delete(open, target)
	return expand(target, budget, open)
}

// merge applies the YAML 1.1 merge key: the merged keys yield to those written
// in the mapping itself, and an earlier source to none that comes before it.
func merge(m *yaml.Node) *yaml.Node {
	var merged []*yaml.Node
	own := m.Content[:0:0]
	for i := 0; i+1 < len(m.Content); i += 2 {
		k, v := m.Content[i], m.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag != "!!merge" {
			own = append(own, k, v)
			continue
		}
		switch v.Kind {
		case yaml.MappingNode:
			merged = append(merged, v)
		case yaml.SequenceNode:
			merged = append(merged, v.Content...)
		}
	}
	if len(merged) == 0 {
		return m
	}
	out := *m
	out.Content = own
	have := map[string]bool{}
	for i := 0; i < len(own); i += 2 {
		have[own[i].Value] = true
	}
	for _, src := range merged {
		for i := 0; src.Kind == yaml.MappingNode && i+1 < len(src.Content); i += 2 {
			if key := src.Content[i]; !have[key.Value] {
				have[key.Value] = true
				out.Content = append(out.Content, key, src.Content[i+1])
			}
		}
	}
	return &out
}

// mapValue returns the value under key in a mapping, or nil.
func mapValue(m *yaml.Node, key string) *yaml.Node {
	if m == nil || m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Kind == yaml.ScalarNode && m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// kindName says in a word what a node is.
func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "mapping"
	case n.Kind == yaml.SequenceNode:
		return "list"
	case n.Kind == yaml.ScalarNode && isNull(n):
		return "nothing"
	}
	return "single value"
}

// isNull reports whether n is a null: "key:" with nothing behind it.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
