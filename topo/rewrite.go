package topo

import (
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// A Rewrite says what is different in a scenario that is written anew.
type Rewrite struct {
	Comment string   // lines at its head, without the #; the old head goes
	Faults  []string // elements of faults, one line each
	Seed    *uint64  // if not nil
	Design  string   // if not empty
	Dir     string   // where it will stand: names of files are relative to it
}

// errNoScenario is for a file of manifests alone.
var errNoScenario = errors.New("topo: there is no scenario in it, want one with steps")

// Apply returns the text of a scenario with the changes. Manifests behind it in
// the same file stay as they are.
func (r Rewrite) Apply(path string, data []byte) ([]byte, error) {
	src, bad := checkText(path, data)
	if bad != nil {
		return nil, errors.New(bad.Message)
	}
	var out strings.Builder
	found := false
	for _, d := range split(src) {
		root, err := parseYAML(strings.Join(d.lines, "\n"))
		if err != nil || root == nil {
			continue
		}
		if out.Len() > 0 {
			out.WriteString("---\n")
		}
		if found || isManifest(root) || root.Kind != yaml.MappingNode {
			out.WriteString(strings.Trim(strings.TrimPrefix(d.original(), "---"), "\n") + "\n")
			continue
		}
		found = true
		if err := r.change(root, filepath.Dir(path)); err != nil {
			return nil, err
		}
		out.WriteString(render(root))
	}
	if !found {
		return nil, errNoScenario
	}
	return []byte(out.String()), nil
}

// change changes the scenario.
func (r Rewrite) change(root *yaml.Node, from string) error {
	root.HeadComment = ""
	if len(root.Content) > 0 {
		var lines []string
		for line := range strings.SplitSeq(r.Comment, "\n") {
			lines = append(lines, strings.TrimRight("# "+line, " "))
		}
		root.Content[0].HeadComment = strings.Join(lines, "\n")
	}
	if r.Seed != nil {
		setValue(root, "seed", scalarNode(strconv.FormatUint(*r.Seed, 10)))
	}
	if r.Design != "" {
		cluster := mapValue(root, "cluster")
		if cluster == nil || cluster.Kind != yaml.MappingNode {
			cluster = flowMap()
			setValue(root, "cluster", cluster)
		}
		setValue(cluster, "design", scalarNode(r.Design))
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, text := range r.Faults {
		e, err := parseYAML(text)
		if err != nil || e == nil || len(e.Content) != 1 {
			return errors.New("topo: " + quoted(text) + " is no element of a list")
		}
		list.Content = append(list.Content, e.Content[0])
	}
	if setValue(root, "faults", list); len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	}
	return r.movePaths(root, from)
}

// setValue sets the value of a key, which it adds if need be.
func setValue(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
	m.Content = append(m.Content, scalarNode(key), v)
}

// fileKeys are keys whose values name files, wherever they stand.
var fileKeys = []string{"manifests", "iptables", "ipset", "nftables", "trace"}

// movePaths makes names of files relative to where the scenario will stand.
func (r Rewrite) movePaths(n *yaml.Node, from string) error {
	for i, v := range n.Content {
		named := n.Kind == yaml.MappingNode && i%2 == 1 && slices.Contains(fileKeys, n.Content[i-1].Value)
		files := []*yaml.Node{v}
		if named && v.Kind == yaml.SequenceNode {
			files = v.Content
		}
		for _, f := range files {
			if !named || f.Kind != yaml.ScalarNode || filepath.IsAbs(f.Value) {
				continue
			}
			abs, err := filepath.Abs(filepath.Join(from, f.Value))
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(r.Dir)
			if err != nil {
				return err
			}
			if rel, err := filepath.Rel(dir, abs); err == nil { // else it is on another volume
				abs = rel
			}
			f.Value = filepath.ToSlash(abs)
		}
		if !named {
			if err := r.movePaths(v, from); err != nil {
				return err
			}
		}
	}
	return nil
}
