package topo

import (
	"fmt"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

const (
	oldAnnotation = "ingress.kubernetes.io/"
	newAnnotation = "nginx.ingress.kubernetes.io/"
	// rest matches what follows a path, for a rewrite to keep.
	restPattern = "(/|$)(.*)"
)

// explainOldIngress says, for an Ingress of v1beta1, what each part is in
// networking.k8s.io/v1 and prints the whole in that version.
func (l *load) explainOldIngress(obj *Object) {
	if obj.Kind != "Ingress" {
		return
	}
	l.printModern(obj)
	l.explainAnnotations(obj)
	spec := mapValue(obj.node, "spec")
	l.explainClass(obj, spec)
	for i, rule := range items(spec, "rules") {
		for j, p := range items(mapValue(rule, "http"), "paths") {
			l.explainPath(obj, p, fmt.Sprintf("spec.rules[%d].http.paths[%d]", i, j))
		}
	}
}

// printModern attaches the corrected manifest to the finding about apiVersion,
// unless the whole was printed already because it was flattened.
func (l *load) printModern(obj *Object) {
	printed := false
	for i := range l.diags {
		d := &l.diags[i]
		printed = printed || d.Rule == "flattened-manifest" && d.File == obj.Pos.File && d.Line == obj.Pos.Line
		if d.Rule == "removed-apiversion" && d.Pos == obj.doc.pos(mapValue(obj.node, "apiVersion")) && !printed {
			d.Fix = render(modernise(obj.node))
		}
	}
}

// explainClass says why the corrected manifest names a class.
func (l *load) explainClass(obj *Object, spec *yaml.Node) {
	annotations := mapValue(mapValue(obj.node, "metadata"), "annotations")
	if spec == nil || text(spec, "ingressClassName") != "" || text(annotations, "kubernetes.io/ingress.class") != "" {
		return
	}
	l.reportAt(obj.doc, keyNode(obj.node, "spec"), Diagnostic{
		Severity: Note, Rule: "no-ingress-class",
		Message: "no ingressClassName: in the days of " + obj.APIVersion + " any controller took such an Ingress",
		Effect:  "today it is served only if an IngressClass is marked as the default",
		Hint:    "write ingressClassName: nginx under spec",
	})
}

func items(n *yaml.Node, key string) []*yaml.Node {
	if list := mapValue(n, key); list != nil && list.Kind == yaml.SequenceNode {
		return list.Content
	}
	return nil
}

// rewriteTarget returns the value of the rewrite annotation under either prefix.
func rewriteTarget(root *yaml.Node) string {
	annotations := mapValue(mapValue(root, "metadata"), "annotations")
	if t := text(annotations, oldAnnotation+"rewrite-target"); t != "" {
		return t
	}
	return text(annotations, newAnnotation+"rewrite-target")
}

func (l *load) explainAnnotations(obj *Object) {
	annotations := mapValue(mapValue(obj.node, "metadata"), "annotations")
	if annotations == nil {
		return
	}
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		k, v := annotations.Content[i], annotations.Content[i+1]
		name, old := strings.CutPrefix(k.Value, oldAnnotation)
		if !old {
			continue
		}
		l.reportAt(obj.doc, k, Diagnostic{
			Severity: Warning, Rule: "ignored-annotation",
			Message: fmt.Sprintf("annotation %s has the prefix of ingress-nginx before 0.9", quoted(k.Value)),
			Effect:  "current controllers ignore it: no path is rewritten",
			Hint:    "write " + newAnnotation + name,
		})
		if name == "rewrite-target" {
			l.explainRewrite(obj, v)
		}
	}
}

func (l *load) explainRewrite(obj *Object, v *yaml.Node) {
	target := strings.TrimSuffix(v.Value, "/")
	l.reportAt(obj.doc, v, Diagnostic{
		Severity: Note, Rule: "rewrite-semantics",
		Message: fmt.Sprintf("rewrite-target: %s changed its meaning in ingress-nginx 0.22", v.Value),
		Effect: fmt.Sprintf("before 0.22 the path was cut off and the rest kept (/test/a became %s/a); since then every request is sent as exactly %s",
			target, v.Value),
		Hint: fmt.Sprintf("to keep the rest write path: /test%s and rewrite-target: %s/$2", restPattern, target),
	})
}

// explainPath covers one path of a rule of v1beta1.
func (l *load) explainPath(obj *Object, p *yaml.Node, at string) {
	if mapValue(p, "pathType") == nil {
		anchor := p
		if n := mapValue(p, "path"); n != nil {
			anchor = n
		}
		l.reportAt(obj.doc, anchor, Diagnostic{
			Rule: "missing-pathtype", Message: at + " has no pathType, which networking.k8s.io/v1 requires",
			Effect: fmt.Sprintf("API server: Ingress %q is invalid: %s.pathType: Required value: pathType must be specified", obj.Name.Value, at),
			Hint:   "Prefix, Exact, or ImplementationSpecific (what v1beta1 meant when it was absent)",
		})
	}
	backend := mapValue(p, "backend")
	for _, old := range []string{"serviceName", "servicePort"} {
		if mapValue(backend, old) == nil {
			continue
		}
		l.reportAt(obj.doc, keyNode(backend, old), Diagnostic{
			Rule: "renamed-field", Message: fmt.Sprintf("%s.backend.%s does not exist in networking.k8s.io/v1", at, old),
			Effect: fmt.Sprintf("Error from server (BadRequest): error when creating %q: Ingress in version \"v1\" cannot be handled as a Ingress: strict decoding error: unknown field \"%s.backend.%s\"",
				obj.doc.src.name, at, old),
			Hint: "write backend." + renamed[old],
		})
	}
}

// modernise rewrites an object in a removed version as today's. For an Ingress
// with the old rewrite annotation it keeps what the annotation meant when the
// manifest was written.
func modernise(root *yaml.Node) *yaml.Node {
	out := copyTree(root)
	k := kindByName(text(root, "kind"))
	if k == nil {
		return out
	}
	set(out, "apiVersion", k.apiVersion)
	if k.name != "Ingress" {
		return out
	}
	target := rewriteTarget(root)
	moderniseAnnotations(mapValue(mapValue(out, "metadata"), "annotations"), target)
	spec := mapValue(out, "spec")
	if spec == nil || spec.Kind != yaml.MappingNode {
		return out
	}
	if target != "" && mapValue(spec, "ingressClassName") == nil {
		spec.Content = append([]*yaml.Node{word("ingressClassName"), word("nginx")}, spec.Content...)
	}
	if b := mapValue(spec, "backend"); b != nil {
		keyNode(spec, "backend").Value = "defaultBackend"
		moderniseBackend(b)
	}
	for _, rule := range items(spec, "rules") {
		for _, p := range items(mapValue(rule, "http"), "paths") {
			modernisePath(p, target)
		}
	}
	return out
}

func moderniseAnnotations(m *yaml.Node, target string) {
	if m == nil || m.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		name, old := strings.CutPrefix(m.Content[i].Value, oldAnnotation)
		if !old {
			continue
		}
		m.Content[i].Value = newAnnotation + name
		if name == "rewrite-target" {
			m.Content[i+1] = word(strings.TrimSuffix(target, "/") + "/$2")
		}
	}
}

func modernisePath(p *yaml.Node, target string) {
	if p.Kind != yaml.MappingNode {
		return
	}
	pathType := "Prefix"
	if n := mapValue(p, "path"); target != "" && n != nil && n.Kind == yaml.ScalarNode {
		n.Value = strings.TrimSuffix(n.Value, "/") + restPattern
		pathType = "ImplementationSpecific"
	}
	if b := mapValue(p, "backend"); b != nil {
		moderniseBackend(b)
	}
	if mapValue(p, "pathType") == nil {
		at := 0
		if mapValue(p, "path") != nil {
			at = 2
		}
		p.Content = append(p.Content[:at:at], append([]*yaml.Node{word("pathType"), word(pathType)}, p.Content[at:]...)...)
	}
}

// moderniseBackend turns serviceName and servicePort into service{name, port}.
func moderniseBackend(b *yaml.Node) {
	name, port := text(b, "serviceName"), mapValue(b, "servicePort")
	if name == "" && port == nil {
		return
	}
	service := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word("name"), word(name)}}
	if port != nil {
		by := "number"
		if jsonKind(port) == "string" {
			by = "name"
		}
		ref := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word(by), port}}
		service.Content = append(service.Content, word("port"), ref)
	}
	b.Content = []*yaml.Node{word("service"), service}
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// set replaces the scalar under key.
func set(m *yaml.Node, key, value string) {
	if n := mapValue(m, key); n != nil {
		*n = *word(value)
	}
}

// copyTree copies a tree without its comments and positions.
func copyTree(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value}
	for _, c := range n.Content {
		out.Content = append(out.Content, copyTree(c))
	}
	return out
}
