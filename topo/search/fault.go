package search

import (
	"fmt"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// fault is one element of a schedule: a mapping of YAML that is not changed.
type fault struct{ node *yaml.Node }

// parse reads an element, "- {at: 1s, ...}".
func parse(text string) (fault, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return fault{}, fmt.Errorf("search: %q: %w", text, err)
	}
	if len(doc.Content) != 1 || len(doc.Content[0].Content) != 1 || doc.Content[0].Content[0].Kind != yaml.MappingNode {
		return fault{}, fmt.Errorf("search: %q is no list of one mapping", text)
	}
	return fault{doc.Content[0].Content[0]}, nil
}

// String writes it in one line.
func (f fault) String() string {
	b, err := yaml.Marshal(f.node)
	if err != nil {
		panic(err) // what was read can be written
	}
	return "- " + strings.TrimSpace(string(b))
}

// get returns the value of a key, or nil.
func (f fault) get(key string) *yaml.Node {
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		if f.node.Content[i].Value == key {
			return f.node.Content[i+1]
		}
	}
	return nil
}

// with returns a copy in which a key has another value, perhaps under another
// name.
func (f fault) with(key, name string, v *yaml.Node) fault {
	n := *f.node
	n.Content = slices.Clone(n.Content)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i], n.Content[i+1] = scalar(name), v
		}
	}
	return fault{&n}
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

func mapping(key string, v *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{scalar(key), v}}
}

// value returns the value of a key of a mapping, or nil.
func value(n *yaml.Node, key string) *yaml.Node {
	if n == nil {
		return nil
	}
	return fault{n}.get(key)
}

// simpler returns faults of less effect: a crash that is only a node switched
// off, a node that is only a cable, a partition of fewer machines.
func (f fault) simpler() (list []fault) {
	if node := value(f.get("crash"), "node"); node != nil {
		list = append(list, f.with("crash", "down", mapping("node", node)))
	}
	if node := value(f.get("down"), "node"); node != nil {
		list = append(list, f.with("down", "down", mapping("link", node)))
	}
	if groups := f.get("partition"); groups != nil && groups.Kind == yaml.SequenceNode {
		for g, group := range groups.Content {
			for i := range group.Content {
				if len(group.Content) == 1 {
					continue
				}
				fewer, all := *group, *groups
				fewer.Content = slices.Delete(slices.Clone(group.Content), i, i+1)
				all.Content = slices.Clone(groups.Content)
				all.Content[g] = &fewer
				list = append(list, f.with("partition", "partition", &all))
			}
		}
	}
	return list
}

// shorter returns faults that last the next three round times that are shorter,
// the longest first: one by one is fewer steps than from the shortest up.
func (f fault) shorter() (list []fault) {
	d, err := f.lasts()
	if err != nil {
		return nil
	}
	for unit := 100 * time.Second; unit >= time.Millisecond; unit /= 10 {
		for _, n := range []time.Duration{5, 2, 1} {
			if n*unit < d && len(list) < 3 {
				list = append(list, f.with("for", "for", scalar((n*unit).String())))
			}
		}
	}
	return list
}

func (f fault) lasts() (time.Duration, error) {
	n := f.get("for")
	if n == nil {
		return 0, fmt.Errorf("search: no for")
	}
	return time.ParseDuration(n.Value)
}

// units are what times are rounded to, the coarsest first.
var units = []time.Duration{time.Second, 500 * time.Millisecond, 100 * time.Millisecond, 50 * time.Millisecond, 10 * time.Millisecond, time.Millisecond}

// beginning returns the key that says when a fault begins, what it is relative
// to, and how much later it is.
func (f fault) beginning() (key, base string, d time.Duration, ok bool) {
	for _, key := range []string{"at", "with", "after"} {
		n := f.get(key)
		if n == nil {
			continue
		}
		offset := n.Value
		if key != "at" {
			i := strings.LastIndex(n.Value, "+")
			if i < 0 {
				return key, base, 0, false
			}
			base, offset = strings.TrimSpace(n.Value[:i]), strings.TrimSpace(n.Value[i+1:])
		}
		d, err := time.ParseDuration(offset)
		return key, base, d, err == nil
	}
	return "", "", 0, false
}

// begins returns the fault with a beginning that is rounded to the nearest unit;
// false if that is no rounder.
func (f fault) begins(unit time.Duration) (fault, bool) {
	key, base, d, ok := f.beginning()
	r := d.Round(unit)
	switch {
	case !ok || digits(r) >= digits(d) && (d > 0 || base == ""):
		return f, false
	case base == "":
		return f.with(key, key, scalar(r.String())), true
	case r == 0:
		return f.with(key, key, scalar(base)), true
	}
	return f.with(key, key, scalar(base+" + "+r.String())), true
}

// rounder returns faults with times of fewer digits: when they begin, to the
// nearest; how long they last, upwards.
func (f fault) rounder() (list []fault) {
	for _, u := range units {
		if r, ok := f.begins(u); ok {
			list = append(list, r)
		}
	}
	if d, err := f.lasts(); err == nil {
		for _, u := range slices.Backward(units) {
			if r := (d + u - 1) / u * u; digits(r) < digits(d) && digits(r) <= 2 {
				list = append(list, f.with("for", "for", scalar(r.String())))
			}
		}
	}
	return list
}

// digits counts the digits of a time without the zeros at its end.
func digits(d time.Duration) (n int) {
	for d > 0 && d%10 == 0 {
		d /= 10
	}
	for ; d > 0; d /= 10 {
		n++
	}
	return n
}
