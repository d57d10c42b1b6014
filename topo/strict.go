package topo

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// strictDecoder fills a Kubernetes API struct from a YAML tree by the rules of
// the API server's strict JSON decoder: names are case-sensitive, an unknown
// name is an error, and a value must be of the field's JSON type. Unlike the
// server it goes on after a mistake.
type strictDecoder struct {
	l       *load
	d       *document
	obj     *Object
	unknown []unknownField
}

// unknownField is a key that the struct around it does not have.
type unknownField struct {
	key, value *yaml.Node
	path       string
	in         reflect.Type // the struct
	around     *yaml.Node   // its mapping
}

// place is where a value stands, as Go's JSON decoder names it in errors.
type place struct {
	path   string // spec.ports[0].port
	goPath string // spec.ports.port
	owner  string // ServicePort, the struct that has the field
}

func (p place) field(owner, name string) place {
	return place{join(p.path, name), join(p.goPath, name), owner}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var (
	unmarshaler   = reflect.TypeFor[json.Unmarshaler]()
	intOrString   = reflect.TypeFor[intstr.IntOrString]()
	stringsToWord = reflect.TypeFor[map[string]string]()
)

// value decodes n into v, which is addressable.
func (dc *strictDecoder) value(n *yaml.Node, v reflect.Value, at place) {
	if isJSONNull(n) {
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		dc.value(n, p.Elem(), at)
		v.Set(p)
	case v.Type() == intOrString, reflect.PointerTo(v.Type()).Implements(unmarshaler):
		dc.special(n, v, at)
	case v.Kind() == reflect.Struct:
		dc.structure(n, v, at)
	case v.Kind() == reflect.Map:
		dc.mapOf(n, v, at)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		dc.list(n, v, at)
	default:
		dc.scalar(n, v, at)
	}
}

func (dc *strictDecoder) structure(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.MappingNode {
		dc.mismatch(n, v.Type(), at)
		return
	}
	fields := jsonFields(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		at := at.field(v.Type().Name(), k.Value)
		index, ok := fields.index[k.Value]
		if !ok {
			dc.unknown = append(dc.unknown, unknownField{k, val, at.path, v.Type(), n})
			continue
		}
		dc.value(val, fieldByIndex(v, index), at)
	}
}

// fieldByIndex is reflect.Value.FieldByIndex, making embedded pointers on the way.
func fieldByIndex(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func (dc *strictDecoder) mapOf(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.MappingNode || v.Type().Key().Kind() != reflect.String {
		dc.mismatch(n, v.Type(), at)
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := reflect.New(v.Type().Elem()).Elem()
		inner := at
		inner.path += "[" + n.Content[i].Value + "]"
		dc.value(n.Content[i+1], e, inner)
		m.SetMapIndex(reflect.ValueOf(n.Content[i].Value).Convert(v.Type().Key()), e)
	}
	v.Set(m)
	if v.Type() == stringsToWord {
		dc.noteShallow(n, at)
	}
}

func (dc *strictDecoder) list(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.SequenceNode {
		dc.mismatch(n, v.Type(), at)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, e := range n.Content {
		inner := at
		inner.path += fmt.Sprintf("[%d]", i)
		dc.value(e, out.Index(i), inner)
	}
	v.Set(out)
}

// special decodes a type with a JSON form of its own.
func (dc *strictDecoder) special(n *yaml.Node, v reflect.Value, at place) {
	if v.Type() == intOrString && dc.slashed(n, v.Type(), at) {
		n = plain(n)
	}
	data, err := json.Marshal(jsonValue(n))
	if err == nil {
		err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(data)
	}
	if err != nil {
		dc.report(n, "wrong-type", fmt.Sprintf("%s: found %s, want %s", at.path, describe(n), wantOf(v.Type())), dc.badRequest(err.Error()))
	}
}

// plain is a copy of n that no // comment follows any more.
func plain(n *yaml.Node) *yaml.Node {
	c := *n
	return &c
}

func (dc *strictDecoder) scalar(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.ScalarNode {
		dc.mismatch(n, v.Type(), at)
		return
	}
	dc.slashed(n, v.Type(), at)
	ok := false
	switch x := jsonScalar(n).(type) {
	case string:
		if ok = v.Kind() == reflect.String; ok {
			v.SetString(x)
			dc.checkWord(n, v.Type(), x, at)
		}
	case bool:
		if ok = v.Kind() == reflect.Bool; ok {
			v.SetBool(x)
		}
	case json.Number:
		ok = setNumber(v, string(x))
	}
	if !ok {
		dc.mismatch(n, v.Type(), at)
	}
}

func setNumber(v reflect.Value, s string) bool {
	switch {
	case v.CanInt():
		i, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err == nil {
			v.SetInt(i)
		}
		return err == nil
	case v.CanUint():
		i, err := strconv.ParseUint(s, 10, v.Type().Bits())
		if err == nil {
			v.SetUint(i)
		}
		return err == nil
	case v.CanFloat():
		f, err := strconv.ParseFloat(s, v.Type().Bits())
		if err == nil {
			v.SetFloat(f)
		}
		return err == nil
	}
	return false
}

// slashed makes the finding for a // comment behind n, saying what the API
// server does with the string that the value is. It reports whether there was
// one.
func (dc *strictDecoder) slashed(n *yaml.Node, t reflect.Type, at place) bool {
	c := dc.d.slashAt(n)
	if c == nil || c.used {
		return false
	}
	raw := dc.d.rawScalar(n)
	sev, effect := Error, ""
	switch {
	case at.path == "kind" || at.path == "apiVersion":
		effect = fmt.Sprintf("kubectl: no matches for kind %q in version %q", dc.obj.rawKind(dc.d, "kind"), dc.obj.rawKind(dc.d, "apiVersion"))
	case enums[t] != nil:
		effect = dc.invalid(unsupported(at.path, raw, enums[t]))
	case t == intOrString:
		effect = "taken as the name of a port: " + dc.invalid(invalidValue(at.path, raw, validation.IsValidPortName(raw))...)
	case t.Kind() != reflect.String:
		effect = dc.badRequest(unmarshalError("string", t, at))
	case strings.HasSuffix(at.goPath, "abels") || strings.HasSuffix(at.goPath, "elector"):
		effect = dc.invalid(invalidValue(at.goPath, raw, validation.IsValidLabelValue(raw))...)
	default:
		sev, effect = Warning, "accepted, with the comment as part of the value"
	}
	dc.l.reportSlash(dc.d, c, n, at.path, sev, effect)
	return true
}

// checkWord checks a string whose type has a closed set of values.
func (dc *strictDecoder) checkWord(n *yaml.Node, t reflect.Type, s string, at place) {
	known := enums[t]
	if known == nil || slices.Contains(known, s) {
		return
	}
	text := unsupported(at.path, s, known)
	dc.l.reportAt(dc.d, n, Diagnostic{Rule: "unsupported-value", Message: text, Effect: dc.invalid(text), Hint: didYouMean(s, "supported", known)})
}

// mismatch reports a value of the wrong JSON type.
func (dc *strictDecoder) mismatch(n *yaml.Node, t reflect.Type, at place) {
	diag := Diagnostic{
		Rule:    "wrong-type",
		Message: fmt.Sprintf("%s: found %s, want %s", at.path, describe(n), wantOf(t)),
		Effect:  dc.badRequest(unmarshalError(jsonKind(n), t, at)),
	}
	if _, isBool := jsonScalar(n).(bool); n.Kind == yaml.ScalarNode && t.Kind() == reflect.String && isBool {
		diag.Hint = fmt.Sprintf("YAML 1.1 reads %s as a boolean; write %q", n.Value, n.Value)
	} else if t.Kind() == reflect.String && n.Kind == yaml.ScalarNode {
		diag.Hint = fmt.Sprintf("write %q", n.Value)
	}
	dc.l.reportAt(dc.d, n, diag)
}

func (dc *strictDecoder) report(n *yaml.Node, rule, message, effect string) {
	dc.l.reportAt(dc.d, n, Diagnostic{Rule: rule, Message: message, Effect: effect})
}

// unmarshalError is the text of encoding/json's UnmarshalTypeError.
func unmarshalError(kind string, t reflect.Type, at place) string {
	return fmt.Sprintf("json: cannot unmarshal %s into Go struct field %s.%s of type %s", kind, at.owner, at.goPath, t)
}
