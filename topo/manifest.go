package topo

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime"
)

// Object is one decoded Kubernetes object.
type Object struct {
	Pos        Pos
	APIVersion string
	Kind       string
	Namespace  string // "default" if a namespaced object names none
	Name       Field[string]
	Object     runtime.Object // of the k8s.io/api type of its kind

	doc  *document
	node *yaml.Node
}

// Objects returns the objects of sc that are of type T, e.g. *corev1.Service, in
// the order of the files.
func Objects[T runtime.Object](sc *Scenario) []T {
	var out []T
	for _, o := range sc.Objects {
		if t, ok := o.Object.(T); ok {
			out = append(out, t)
		}
	}
	return out
}

// isManifest tells a Kubernetes manifest from a scenario.
func isManifest(n *yaml.Node) bool {
	for _, key := range []string{"apiVersion", "kind", "metadata", "spec"} {
		if mapValue(n, key) != nil {
			return true
		}
	}
	return false
}

// manifest decodes one Kubernetes object.
func (l *load) manifest(d *document, n *yaml.Node) {
	obj := &Object{Pos: d.pos(n), doc: d, node: n}
	obj.Kind, obj.APIVersion = text(n, "kind"), text(n, "apiVersion")
	if !l.hasTypeMeta(obj) {
		return
	}
	if obj.Kind == "List" && obj.APIVersion == "v1" {
		if items := mapValue(n, "items"); items != nil {
			for _, item := range items.Content {
				l.manifest(d, item)
			}
		}
		return
	}
	typ, old := l.typeOf(obj)
	if typ == nil {
		return
	}
	l.metadata(obj)
	l.decodeObject(obj, typ)
	if old != nil && old.typ != nil {
		l.explainOldIngress(obj)
	}
}

// text returns the scalar under key, or "".
func text(n *yaml.Node, key string) string {
	if v := mapValue(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// rawKind is the text under key with any // comment behind it.
func (o *Object) rawKind(d *document, key string) string {
	if v := mapValue(o.node, key); v != nil && d.slashAt(v) != nil {
		return d.rawScalar(v)
	}
	return text(o.node, key)
}

func (l *load) hasTypeMeta(obj *Object) bool {
	ok := true
	if obj.Kind == "" {
		ok = false
		l.reportAt(obj.doc, obj.node, Diagnostic{Rule: "missing-kind", Message: "a manifest without kind, want one of " + strings.Join(kindNames(), ", "),
			Effect: "kubectl: Object 'Kind' is missing"})
	}
	if obj.APIVersion == "" {
		diag := Diagnostic{Rule: "missing-apiversion", Message: "a manifest without apiVersion", Effect: "kubectl: Object 'apiVersion' is missing"}
		if k := kindByName(obj.Kind); k != nil {
			diag.Hint, diag.Fix = "for "+withArticle(k.name)+" write apiVersion: "+k.apiVersion, "apiVersion: "+k.apiVersion
		}
		l.reportAt(obj.doc, obj.node, diag)
		ok = false
	}
	return ok
}

// typeOf returns the Go type of an object, or nil if it cannot be decoded. old
// is set if the object is written in a version that is gone.
func (l *load) typeOf(obj *Object) (typ reflect.Type, old *removedKind) {
	d := obj.doc
	noMatch := fmt.Sprintf("no matches for kind %q in version %q", obj.Kind, obj.APIVersion)
	k := kindByName(obj.Kind)
	if k == nil && slices.Contains(otherKinds, obj.Kind) {
		l.reportAt(d, mapValue(obj.node, "kind"), Diagnostic{Severity: Warning, Rule: "ignored-kind",
			Message: fmt.Sprintf("podwire has no use for %s and ignores it", withArticle(obj.Kind))})
		return nil, nil
	}
	if k == nil {
		l.reportAt(d, mapValue(obj.node, "kind"), Diagnostic{Rule: "unknown-kind", Message: "unknown kind " + quoted(obj.Kind),
			Effect: "kubectl: " + noMatch, Hint: didYouMean(obj.Kind, "known kinds", slices.Concat(kindNames(), otherKinds))})
		return nil, nil
	}
	if obj.APIVersion == k.apiVersion {
		if effect := notEmulated[k.name]; effect != "" {
			l.reportAt(d, mapValue(obj.node, "kind"), Diagnostic{Severity: Warning, Rule: "not-emulated",
				Message: fmt.Sprintf("%s is read but not emulated", withArticle(k.name)), Effect: effect})
		}
		return k.typ, nil
	}
	at := mapValue(obj.node, "apiVersion")
	diag := Diagnostic{Rule: "wrong-apiversion", Message: noMatch, Effect: "kubectl: " + noMatch, Hint: fmt.Sprintf("%s is apiVersion: %s", withArticle(k.name), k.apiVersion)}
	old = removedByName(obj.APIVersion, obj.Kind)
	if old != nil {
		diag.Rule = "removed-apiversion"
		diag.Message += fmt.Sprintf(": removed in Kubernetes %s", old.removedIn)
	}
	diag.Fix = "apiVersion: " + k.apiVersion
	l.reportAt(d, at, diag)
	if old != nil && old.typ != nil {
		return old.typ, old
	}
	return k.typ, old
}

// withArticle puts "a" or "an" before the name of a kind.
func withArticle(kind string) string {
	if strings.ContainsRune("AEIO", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// clusterScoped lists the kinds without a namespace.
var clusterScoped = []string{"Namespace", "Node"}

// metadata takes name and namespace ahead of the decoder, whose findings quote
// them.
func (l *load) metadata(obj *Object) {
	meta := mapValue(obj.node, "metadata")
	if !slices.Contains(clusterScoped, obj.Kind) {
		if obj.Namespace = text(meta, "namespace"); obj.Namespace == "" {
			obj.Namespace = "default"
		}
	}
	if n := mapValue(meta, "name"); n != nil && n.Kind == yaml.ScalarNode && n.Value != "" {
		obj.Name = Field[string]{n.Value, obj.doc.pos(n)}
		return
	}
	at := obj.node
	if meta != nil && meta.Kind == yaml.MappingNode {
		at = keyNode(obj.node, "metadata")
	}
	l.reportAt(obj.doc, at, Diagnostic{Rule: "missing-name", Message: withArticle(obj.Kind) + " without metadata.name",
		Effect: fmt.Sprintf("API server: %s \"\" is invalid: metadata.name: Required value: name or generateName is required", obj.Kind)})
}

// decodeObject decodes obj strictly into a new value of typ.
func (l *load) decodeObject(obj *Object, typ reflect.Type) {
	v := reflect.New(typ)
	dc := &strictDecoder{l: l, d: obj.doc, obj: obj}
	dc.structure(obj.node, v.Elem(), place{})
	dc.reportUnknown()
	o, ok := v.Interface().(runtime.Object)
	if !ok {
		return
	}
	obj.Object = o
	l.checkDuplicate(obj)
	l.sc.Objects = append(l.sc.Objects, obj)
	l.checkService(obj)
	l.validate(obj)
}

func (l *load) checkDuplicate(obj *Object) {
	if !obj.Name.IsSet() {
		return
	}
	key := obj.Kind + " " + obj.Namespace + "/" + obj.Name.Value
	first, dup := l.declared[key]
	if !dup {
		l.declared[key] = obj.Name.Pos
		return
	}
	l.addAt(obj.Name.Pos, Diagnostic{
		Rule:    "duplicate-name",
		Message: fmt.Sprintf("%s %s is declared twice, first at %s", obj.Kind, quoted(obj.Name.Value), first),
		Effect:  "kubectl apply: the second replaces the first",
	})
}
