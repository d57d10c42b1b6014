package topo

import (
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Kubernetes turns YAML into JSON before it decodes, with the scalar rules of
// YAML 1.1 (those of go.yaml.in/yaml/v2): yes and off are booleans, 010 is 8.
var yaml11Words = map[string]any{
	"": nil, "~": nil, "null": nil, "Null": nil, "NULL": nil,
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true,
	"true": true, "True": true, "TRUE": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false,
	"false": false, "False": false, "FALSE": false, "off": false, "Off": false, "OFF": false,
}

var yaml11Float = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

// jsonScalar returns what a scalar becomes in JSON: nil, bool, json.Number or
// string.
func jsonScalar(n *yaml.Node) any {
	const quotedStyles = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quotedStyles != 0 || n.Style&yaml.TaggedStyle != 0 && n.Tag == "!!str" {
		return n.Value
	}
	if w, ok := yaml11Words[n.Value]; ok {
		return w
	}
	if !strings.ContainsRune("+-.0123456789", rune(n.Value[0])) {
		return n.Value // as _1, which ParseInt would take once its _ are gone
	}
	if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
		return json.Number(strconv.FormatInt(i, 10))
	}
	if yaml11Float.MatchString(n.Value) {
		f, err := strconv.ParseFloat(n.Value, 64)
		if err == nil && !math.IsInf(f, 0) {
			return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
		}
	}
	return n.Value
}

func isJSONNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && jsonScalar(n) == nil }

// jsonKind names the JSON type of n as encoding/json does in its errors.
func jsonKind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "object"
	case yaml.SequenceNode:
		return "array"
	}
	switch x := jsonScalar(n).(type) {
	case bool:
		return "bool"
	case json.Number:
		if _, err := strconv.ParseInt(string(x), 10, 32); err != nil {
			return "number " + string(x)
		}
		return "number"
	}
	return "string"
}

// describe says what n is, with its value if that is short.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch jsonScalar(n).(type) {
	case bool:
		return "the boolean " + n.Value
	case json.Number:
		return "the number " + n.Value
	case nil:
		return "nothing"
	}
	return "the string " + quoted(n.Value)
}

// wantOf says what a Go type takes, in the words of somebody who writes YAML.
func wantOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[intstr.IntOrString]():
		return "a number or a name"
	case reflect.PointerTo(t).Implements(unmarshaler):
		return "a " + t.Name()
	case t.Kind() == reflect.Struct:
		return "a mapping (" + t.Name() + ")"
	case t.Kind() == reflect.Map:
		return "a mapping"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a string"
	}
	return "a number (" + t.Kind().String() + ")"
}

// jsonValue returns the JSON form of a tree.
func jsonValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = jsonValue(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		s := []any{}
		for _, c := range n.Content {
			s = append(s, jsonValue(c))
		}
		return s
	}
	return jsonScalar(n)
}

// structFields are the JSON names of a struct, embedded ones included.
type structFields struct {
	names []string // in order of declaration
	index map[string][]int
	types map[string]reflect.Type
}

// fieldCache remembers jsonFields by type: a pure function of the type, worth
// keeping because a large manifest asks for the same few thousands of times.
var fieldCache sync.Map // reflect.Type -> structFields

// jsonFields lists the JSON names of a struct type.
func jsonFields(t reflect.Type) structFields {
	if fs, ok := fieldCache.Load(t); ok {
		return fs.(structFields)
	}
	fs := structFields{index: map[string][]int{}, types: map[string]reflect.Type{}}
	fs.add(t, nil)
	fieldCache.Store(t, fs)
	return fs
}

func (fs *structFields) add(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		index := append(append([]int(nil), prefix...), i)
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && (f.Anonymous || strings.Contains(opts, "inline")):
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				fs.add(inner, index)
			}
		case name != "":
			fs.names = append(fs.names, name)
			fs.index[name], fs.types[name] = index, f.Type
		}
	}
}

// elem strips pointers from t.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}
