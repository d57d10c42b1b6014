package topo

import (
	"fmt"

	yaml "go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
)

// The range from which nodePorts come, and which a reader takes for forbidden
// elsewhere (kube-apiserver --service-node-port-range).
const firstNodePort, lastNodePort = 30000, 32767

// checkService explains what is legal in a Service and looks wrong.
func (l *load) checkService(obj *Object) {
	svc, ok := obj.Object.(*corev1.Service)
	if !ok {
		return
	}
	for i, p := range svc.Spec.Ports {
		if p.Port < firstNodePort || p.Port > lastNodePort {
			continue
		}
		n, exact := nodeAt(obj.node, fmt.Sprintf("spec.ports[%d].port", i))
		if !exact {
			continue
		}
		diag := Diagnostic{
			Severity: Note, Rule: "port-in-nodeport-range",
			Message: fmt.Sprintf("port %d lies in the nodePort range %d-%d, which is legal: the range binds nodePort only", p.Port, firstNodePort, lastNodePort),
			Effect:  fmt.Sprintf("clients inside the cluster use clusterIP:%d", p.Port),
		}
		if p.NodePort != 0 && p.NodePort != p.Port {
			diag.Effect += fmt.Sprintf("; clients outside use any node's address and port %d", p.NodePort)
		}
		l.reportAt(obj.doc, n, diag)
	}
}

// noteShallow points at a mapping of words indented by a single blank: legal, and
// one blank away from standing beside its key instead of below it.
func (dc *strictDecoder) noteShallow(n *yaml.Node, at place) {
	key, exact := nodeAt(dc.obj.node, at.path)
	if !exact || len(n.Content) == 0 || n.Style&yaml.FlowStyle != 0 {
		return
	}
	first := n.Content[0]
	if first.Line > key.Line && first.Column == key.Column+1 {
		dc.l.reportAt(dc.d, first, Diagnostic{
			Severity: Note, Rule: "shallow-indentation",
			Message: fmt.Sprintf("%s is indented by one blank below its key, which is valid: any deeper column will do", at.path),
			Effect:  fmt.Sprintf("read as %s; with one blank less, %s would stand beside %s and leave it empty", at.path+"["+first.Value+"]", first.Value, key.Value),
			Hint:    "indent by two",
		})
	}
}
