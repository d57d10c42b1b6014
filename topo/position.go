package topo

import (
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Position returns where the value at a Kubernetes field path was written, e.g.
// spec.ports[0].nodePort or metadata.annotations[example.com/a]. A path that was
// not written (a missing required field) gives the nearest part of it that was,
// and exact is false.
func (o *Object) Position(path string) (pos Pos, exact bool) {
	n, exact := nodeAt(o.node, path)
	return o.doc.pos(n), exact
}

// nodeAt walks path from root. It returns a scalar itself, and for a mapping or
// list the key that introduces it, which is where a reader looks.
func nodeAt(root *yaml.Node, path string) (n *yaml.Node, exact bool) {
	at, value := root, root
	for path != "" {
		var step string
		var index bool
		step, index, path = nextStep(path)
		var key, next *yaml.Node
		if index && value.Kind == yaml.SequenceNode {
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(value.Content) {
				key, next = value.Content[i], value.Content[i]
			}
		} else if next = mapValue(value, step); next != nil {
			key = keyNode(value, step)
		}
		if next == nil {
			return at, false
		}
		at, value = key, next
		if next.Kind == yaml.ScalarNode && !isNull(next) {
			at = next
		}
	}
	return at, true
}

// nextStep cuts the first step off a path: a name, or the text in brackets.
func nextStep(path string) (step string, index bool, rest string) {
	if path[0] == '[' {
		step, rest, _ = strings.Cut(path[1:], "]")
		return step, true, strings.TrimPrefix(rest, ".")
	}
	i := strings.IndexAny(path, ".[")
	if i < 0 {
		return path, false, ""
	}
	return path[:i], false, strings.TrimPrefix(path[i:], ".")
}

// validate runs the caller's validator over obj and places what it finds in the
// file. What the decoder has said about a place already is not said twice.
func (l *load) validate(obj *Object) {
	check := l.Validators[obj.Kind]
	if check == nil {
		return
	}
	for _, e := range check(obj.Object) {
		pos, _ := obj.Position(e.Field)
		if !l.hasErrorAt(pos) || e.Type == field.ErrorTypeRequired {
			l.addAt(pos, Diagnostic{Rule: "api-validation", Message: e.Error(),
				Effect: "API server: " + obj.Kind + " " + strconv.Quote(obj.Name.Value) + " is invalid: " + e.Error()})
		}
	}
}

// addOnce is addAt unless the API server's validation has said something about
// the place already.
func (l *load) addOnce(pos Pos, d Diagnostic) {
	if !l.hasErrorAt(pos) {
		l.addAt(pos, d)
	}
}

func (l *load) hasErrorAt(pos Pos) bool {
	for _, d := range l.diags {
		if d.Pos == pos && d.Severity == Error {
			return true
		}
	}
	return false
}
