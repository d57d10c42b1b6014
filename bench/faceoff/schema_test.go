package faceoff

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validate holds a result against the schema.
func validate(t *testing.T, r *Result) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("compare.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("compare.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(value); err != nil {
		t.Errorf("the result is not what the schema says: %v", err)
	}
}

// definition is what the test reads of a type in the schema.
type definition struct {
	Required   []string
	Properties map[string]struct{ Description string }
}

// Every field is in the schema with a description, none is missing in Go, and
// those that can be left out are the optional ones.
func TestSchemaListsEveryField(t *testing.T) {
	var root struct {
		definition
		Defs map[string]definition `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		def, ok := root.Defs[typ.Name()]
		if typ == reflect.TypeFor[Result]() {
			def, ok = root.definition, true
		}
		if !ok {
			t.Errorf("%v is not in the schema", typ)
			return
		}
		left := len(def.Properties)
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			p, ok := def.Properties[name]
			if !ok || len(p.Description) < 8 {
				t.Errorf("%v.%s: the schema has no description of %q", typ, f.Name, name)
			}
			if got, want := slices.Contains(def.Required, name), options != "omitempty"; got != want {
				t.Errorf("%v.%s: required in the schema is %v, want %v", typ, f.Name, got, want)
			}
			left--
			walk(f.Type)
		}
		if left != 0 {
			t.Errorf("the schema has %d properties of %v that are not in Go", left, typ)
		}
	}
	walk(reflect.TypeFor[Result]())
	if len(seen) != len(root.Defs)+1 {
		t.Errorf("the schema defines %d types, want %d", len(root.Defs), len(seen)-1)
	}
}
