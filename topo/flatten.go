package topo

import (
	"fmt"
	"reflect"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// token is a word of a manifest that lost its line ends.
type token struct {
	text   string
	line   int
	column int
}

func (t token) isKey() bool { return len(t.text) > 1 && strings.HasSuffix(t.text, ":") }
func (t token) key() string { return strings.TrimSuffix(t.text, ":") }

// reportFlattened recognises a manifest that was pasted into one line, rebuilds
// it, and goes on with the rebuilt one, so that its other mistakes are found too.
func (l *load) reportFlattened(d *document, err error) bool {
	tokens, only := flatTokens(d)
	if !only {
		return false
	}
	root := unflatten(tokens)
	if root == nil {
		return false
	}
	fixed := root
	if removedByName(text(root, "apiVersion"), text(root, "kind")) != nil {
		fixed = modernise(root)
	}
	line := d.src.line(tokens[0].line)
	diag := Diagnostic{
		Rule:    "flattened-manifest",
		Message: "not YAML: mapping values are not allowed in this context: the whole manifest stands on one line",
		Effect:  kubectlParse(d.src.name, err),
		Hint:    "YAML shows nesting by line ends and indentation; the manifest below was rebuilt from the names of the fields",
		Fix:     render(fixed),
	}
	l.report(d, tokens[0].line, secondColon(line), diag)
	d.root = root
	l.manifest(d, root)
	return true
}

// flatTokens splits a document into words if all of it stands on one line.
func flatTokens(d *document) (tokens []token, ok bool) {
	for i, line := range d.lines {
		t := strings.TrimSpace(line)
		if t == "" || strings.HasPrefix(t, "#") {
			continue
		}
		if tokens != nil {
			return nil, false
		}
		column := 1
		for _, field := range strings.SplitAfter(strings.TrimSuffix(line, "\r"), " ") {
			if text := strings.TrimSpace(field); text != "" {
				tokens = append(tokens, token{text, d.first + i, column})
			}
			column += len([]rune(field))
		}
	}
	const most = 2000 // words; the manifest of a real object has fewer
	return tokens, len(tokens) > 0 && len(tokens) < most
}

// frame is a mapping or list that is still open while a manifest is rebuilt.
type frame struct {
	node *yaml.Node
	typ  reflect.Type // struct, map, slice, or nil for a struct not known
}

// unflatten rebuilds the nesting of a manifest from its words, guided by the Go
// type of its kind: a key belongs to the innermost open mapping that has a field
// of that name and does not hold it yet. It returns nil if that does not work
// out.
func unflatten(tokens []token) *yaml.Node {
	typ := flatType(tokens)
	if typ == nil {
		return nil
	}
	b := &unflattener{stack: []frame{{newNode(yaml.MappingNode, tokens[0]), typ}}}
	root := b.stack[0].node
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t.text == "-":
			if i+1 >= len(tokens) || !tokens[i+1].isKey() || !b.item(t, tokens[i+1].key()) {
				return nil
			}
		case t.isKey():
			end := i + 1
			for end < len(tokens) && !tokens[end].isKey() && tokens[end].text != "-" {
				end++
			}
			if !b.entry(t, tokens[i+1:end]) {
				return nil
			}
			i = end - 1
		default:
			return nil
		}
	}
	return root
}

// flatType finds apiVersion and kind among the words.
func flatType(tokens []token) reflect.Type {
	var apiVersion, name string
	for i := range len(tokens) - 1 {
		switch tokens[i].text {
		case "apiVersion:":
			apiVersion = tokens[i+1].text
		case "kind:":
			name = tokens[i+1].text
		}
	}
	if old := removedByName(apiVersion, name); old != nil && old.typ != nil {
		return old.typ
	}
	if k := kindByName(name); k != nil {
		return k.typ
	}
	return nil
}

type unflattener struct{ stack []frame }

// item opens a new item of the innermost list whose items have the field key.
func (b *unflattener) item(t token, key string) bool {
	for i := len(b.stack) - 1; i >= 0; i-- {
		f := b.stack[i]
		if f.typ.Kind() != reflect.Slice || !hasField(elem(f.typ.Elem()), key) {
			continue
		}
		m := newNode(yaml.MappingNode, t)
		f.node.Content = append(f.node.Content, m)
		b.stack = append(b.stack[:i+1], frame{m, elem(f.typ.Elem())})
		return true
	}
	return false
}

// entry adds a key, with the words behind it as its value, to the mapping it
// belongs to. A key without words opens what its type says.
func (b *unflattener) entry(t token, words []token) bool {
	for i := len(b.stack) - 1; i >= 0; i-- {
		f := b.stack[i]
		vt, ok := b.accepts(i, f, t.key())
		if !ok {
			continue
		}
		b.stack = b.stack[:i+1]
		key := newNode(yaml.ScalarNode, t)
		key.Value = t.key()
		f.node.Content = append(f.node.Content, key, b.open(vt, t, words))
		return true
	}
	return false
}

// accepts reports whether the open mapping f takes key, and the type of its value.
func (b *unflattener) accepts(i int, f frame, key string) (reflect.Type, bool) {
	switch f.typ.Kind() {
	case reflect.Struct:
		t, ok := jsonFields(f.typ).types[key]
		return t, ok && mapValue(f.node, key) == nil
	case reflect.Map:
		if len(f.node.Content) > 0 && b.outerTakes(i, key) || mapValue(f.node, key) != nil {
			return nil, false
		}
		return f.typ.Elem(), true
	}
	return nil, false
}

// outerTakes reports whether a struct around frame i has a free field key. Once a
// map of words holds something, such a name ends it.
func (b *unflattener) outerTakes(i int, key string) bool {
	for _, f := range b.stack[:i] {
		if hasField(f.typ, key) && mapValue(f.node, key) == nil {
			return true
		}
	}
	return false
}

// open makes the value of a key and, if it is a mapping or list, opens it.
func (b *unflattener) open(t reflect.Type, at token, words []token) *yaml.Node {
	if len(words) > 0 {
		n := newNode(yaml.ScalarNode, words[0])
		var texts []string
		for _, w := range words {
			texts = append(texts, w.text)
		}
		n.Value = strings.Join(texts, " ")
		return n
	}
	var n *yaml.Node
	switch t = elem(t); t.Kind() {
	case reflect.Struct, reflect.Map:
		n = newNode(yaml.MappingNode, at)
	case reflect.Slice:
		n = newNode(yaml.SequenceNode, at)
	default:
		return newNode(yaml.ScalarNode, at)
	}
	b.stack = append(b.stack, frame{n, t})
	return n
}

func newNode(k yaml.Kind, t token) *yaml.Node {
	return &yaml.Node{Kind: k, Line: t.line, Column: t.column}
}

// render prints a tree as YAML, indented by two.
func render(n *yaml.Node) string {
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return fmt.Sprintf("# %v\n", err)
	}
	return b.String()
}
