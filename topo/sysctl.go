package topo

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/stack"
	yaml "go.yaml.in/yaml/v3"
)

// sysctls decodes a mapping of kernel parameters to values.
func (l *load) sysctls(m mapping) map[string]string {
	out := l.labels(m, "sysctls")
	n := m.get("sysctls")
	if n == nil || n.Kind != yaml.MappingNode {
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if value, ok := out[k.Value]; ok {
			l.checkSysctl(m.d.pos(k), m.d.pos(v), k.Value, value)
		}
	}
	return out
}

// podSysctls reads those of a manifest's securityContext.
func (l *load) podSysctls(o *Object, sc *corev1.PodSecurityContext, path string) map[string]string {
	if sc == nil || len(sc.Sysctls) == 0 {
		return nil
	}
	out := make(map[string]string)
	for i, s := range sc.Sysctls {
		at := fmt.Sprintf("%s.securityContext.sysctls[%d]", path, i)
		name, _ := o.Position(at + ".name")
		value, _ := o.Position(at + ".value")
		l.checkSysctl(name, value, s.Name, s.Value)
		out[s.Name] = s.Value
	}
	return out
}

// checkSysctl reports a parameter that no host has, or a value that it cannot
// take.
func (l *load) checkSysctl(nameAt, valueAt Pos, name, value string) {
	var c stack.Config
	if _, err := c.Sysctl(name); err != nil {
		l.addAt(nameAt, Diagnostic{Rule: "unknown-sysctl", Message: fmt.Sprintf("unknown sysctl %s", quoted(name)),
			Hint: didYouMean(name, "known sysctls", stack.Sysctls())})
		return
	}
	if err := c.SetSysctl(name, value); err != nil {
		l.addAt(valueAt, Diagnostic{Rule: "bad-value", Message: err.Error()})
	}
}
