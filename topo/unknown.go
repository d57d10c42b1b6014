package topo

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/podwire/podwire/internal/typo"
	yaml "go.yaml.in/yaml/v3"
)

// reportUnknown makes a finding for each unknown field. The API server names all
// of them in one answer, in the order of its JSON, whose keys kubectl sorted.
func (dc *strictDecoder) reportUnknown() {
	if len(dc.unknown) == 0 {
		return
	}
	var paths []string
	for _, u := range dc.unknown {
		paths = append(paths, fmt.Sprintf("unknown field %q", u.path))
	}
	slices.Sort(paths)
	const most = 8 // of a file of junk; the rest adds nothing
	if len(paths) > most {
		paths = append(paths[:most:most], "...")
	}
	effect := dc.badRequest("strict decoding error: " + strings.Join(paths, ", "))
	for _, u := range dc.unknown {
		diag := Diagnostic{Rule: "unknown-field", Message: fmt.Sprintf("unknown field %q", u.path), Effect: effect}
		dc.explain(u, &diag)
		dc.l.reportAt(dc.d, u.key, diag)
	}
}

// explain says where an unknown field belongs: under the sibling it was meant to
// be indented below, elsewhere in the object, or under a similar name.
func (dc *strictDecoder) explain(u unknownField, diag *Diagnostic) {
	if dc.explainIndent(u, diag) {
		return
	}
	if now, ok := renamed[u.key.Value]; ok && dc.obj.Kind == "Ingress" {
		diag.Hint = "in networking.k8s.io/v1 this is " + now
		return
	}
	if k := kindByName(dc.obj.Kind); k != nil {
		if where := findField(k.typ, u.key.Value, 6, nil); where != "" {
			diag.Hint = fmt.Sprintf("%s has it at %s", withArticle(dc.obj.Kind), where)
			return
		}
	}
	fields := jsonFields(u.in)
	if near := typo.Nearest(u.key.Value, fields.names); near != "" {
		diag.Hint = fmt.Sprintf("did you mean %q?", near)
		diag.Fix = dc.replaceKey(u.key, near)
		return
	}
	diag.Hint = didYouMean(u.key.Value, "known fields", fields.names)
}

// renamed lists Ingress fields of v1beta1 by their name in v1.
var renamed = map[string]string{
	"serviceName": "service.name",
	"servicePort": "service.port.number (or service.port.name)",
	"backend":     "defaultBackend",
}

// replaceKey is the line of key with another word in its place, or "" if the key
// does not stand alone on its line.
func (dc *strictDecoder) replaceKey(key *yaml.Node, word string) string {
	runes := []rune(dc.d.src.line(key.Line))
	i, j := key.Column-1, key.Column-1+len([]rune(key.Value))
	if i < 0 || j > len(runes) || string(runes[i:j]) != key.Value {
		return ""
	}
	return string(runes[:i]) + word + string(runes[j:])
}

// explainIndent recognises a field that is one level too high: an earlier
// sibling, at the same indentation, is a list or an empty key whose type has
// that field.
func (dc *strictDecoder) explainIndent(u unknownField, diag *Diagnostic) bool {
	fields := jsonFields(u.in)
	var sibling, below *yaml.Node
	for i := 0; i+1 < len(u.around.Content); i += 2 {
		k, v := u.around.Content[i], u.around.Content[i+1]
		if k == u.key {
			break
		}
		if t, ok := fields.types[k.Value]; ok && k.Column == u.key.Column && k.Line < u.key.Line && holds(t, v, u) {
			sibling, below = k, v
		}
	}
	if sibling == nil {
		return false
	}
	diag.Rule = "misplaced-field"
	column := sibling.Column + 2
	if isJSONNull(below) {
		diag.Hint = fmt.Sprintf("%s was meant to stand under %s: indent it further than %s", u.key.Value, sibling.Value, sibling.Value)
		diag.Effect += fmt.Sprintf("; and %s, with nothing indented below it, is null", sibling.Value)
	} else {
		column = below.Content[len(below.Content)-1].Column
		diag.Hint = fmt.Sprintf("%s belongs to the item of %s above it: indent it to column %d", u.key.Value, sibling.Value, column)
	}
	diag.Fix = dc.reindent(u.key, column)
	dc.explainService(u, sibling, diag)
	return true
}

// holds reports whether the value v of type t, as written, is one below which
// the unknown field could have been meant to stand.
func holds(t reflect.Type, v *yaml.Node, u unknownField) bool {
	t = elem(t)
	switch {
	case t.Kind() == reflect.Slice && v.Kind == yaml.SequenceNode && len(v.Content) > 0:
		item := v.Content[len(v.Content)-1]
		return item.Kind == yaml.MappingNode && item.Column > u.key.Column && hasField(elem(t.Elem()), u.key.Value)
	case !isJSONNull(v):
		return false
	case t.Kind() == reflect.Map:
		return u.value.Kind == yaml.ScalarNode
	}
	return hasField(t, u.key.Value)
}

func hasField(t reflect.Type, name string) bool {
	return t.Kind() == reflect.Struct && jsonFields(t).index[name] != nil
}

// reindent is the line of key moved to column.
func (dc *strictDecoder) reindent(key *yaml.Node, column int) string {
	return strings.Repeat(" ", max(column-1, 0)) + strings.TrimLeft(dc.d.src.line(key.Line), " ")
}

// explainService adds what the two classic slips cost a Service.
func (dc *strictDecoder) explainService(u unknownField, sibling *yaml.Node, diag *Diagnostic) {
	if dc.obj.Kind != "Service" {
		return
	}
	switch {
	case u.key.Value == "nodePort":
		diag.Effect += "; with validation off (--validate=false) the field is dropped and a NodePort Service gets a random port instead, from 30086-32767 first"
		diag.Hint += "; outside clients then reach the pods' targetPort (by default the port itself) through it"
	case sibling.Value == "selector":
		diag.Effect += "; with validation off the Service selects no pods: it gets no EndpointSlices and refuses every connection"
	}
}

// findField looks for a field name below t and returns its path, nearest first.
func findField(t reflect.Type, name string, depth int, seen []reflect.Type) string {
	t = elem(t)
	suffix := ""
	for t.Kind() == reflect.Slice {
		t, suffix = elem(t.Elem()), "[]"
	}
	if t.Kind() != reflect.Struct || depth == 0 || slices.Contains(seen, t) {
		return ""
	}
	fields := jsonFields(t)
	if fields.index[name] != nil {
		return strings.TrimPrefix(suffix+"."+name, ".")
	}
	best := ""
	for _, f := range fields.names {
		if f == "status" || f == "metadata" {
			continue
		}
		if sub := findField(fields.types[f], name, depth-1, append(seen[:len(seen):len(seen)], t)); sub != "" {
			p := strings.TrimPrefix(suffix+"."+f+dot(sub), ".")
			if d := strings.Count(p, ".") - strings.Count(best, "."); best == "" || d < 0 || d == 0 && len(p) < len(best) {
				best = p
			}
		}
	}
	return best
}

// dot joins a path to what follows it: "[]" needs no dot.
func dot(sub string) string {
	if strings.HasPrefix(sub, "[]") {
		return sub
	}
	return "." + sub
}
