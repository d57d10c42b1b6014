package topo

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// checkSelectors looks at each Service together with the pods it selects. A file
// of manifests without any pod is taken for a part of something larger.
func (l *load) checkSelectors() {
	if l.scenario == nil && len(l.sc.Pods) == 0 {
		return
	}
	const mostReported = 50 // services; beyond it a lab is generated, not written
	for i, o := range l.sc.Objects {
		if svc, ok := o.Object.(*corev1.Service); ok && (i < mostReported || len(l.sc.Pods) < 1000) {
			l.checkSelector(o, svc)
		}
	}
}

func (l *load) checkSelector(o *Object, svc *corev1.Service) {
	if len(svc.Spec.Selector) == 0 || svc.Spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	sel := labels.SelectorFromSet(svc.Spec.Selector)
	var selected []*Pod
	elsewhere := ""
	for _, p := range l.sc.Pods {
		switch {
		case !sel.Matches(labels.Set(p.Labels)):
		case p.Namespace == o.Namespace:
			selected = append(selected, p)
		default:
			elsewhere = p.Key()
		}
	}
	if len(selected) == 0 {
		l.selectsNothing(o, sel, elsewhere)
		return
	}
	for i, p := range svc.Spec.Ports {
		l.checkTargetPort(o, i, p, selected)
	}
}

func (l *load) selectsNothing(o *Object, sel labels.Selector, elsewhere string) {
	pos, _ := o.Position("spec.selector")
	diag := Diagnostic{
		Severity: Warning, Rule: "selects-nothing",
		Message: fmt.Sprintf("Service %s selects no declared pod: none in namespace %s has the labels %s", o.Name.Value, o.Namespace, sel),
		Effect:  "the Service has no endpoints; kube-proxy rejects connections to it (ICMP port unreachable, seen as connection refused)",
	}
	if elsewhere != "" {
		diag.Hint = fmt.Sprintf("pod %s has the labels, but a selector looks in its own namespace only", elsewhere)
	} else {
		diag.Hint = l.nearLabels(o, sel)
	}
	l.addAt(pos, diag)
}

// nearLabels names the labels of pods that a selector may have been meant for.
func (l *load) nearLabels(o *Object, sel labels.Selector) string {
	var have []string
	for _, p := range l.sc.Pods {
		if s := labels.Set(p.Labels).String(); s != "" && p.Namespace == o.Namespace && !slices.Contains(have, s) {
			have = append(have, s)
		}
		if len(have) == 24 {
			break
		}
	}
	return didYouMean(sel.String(), "labels of pods", have)
}

// checkTargetPort checks that the pods selected declare what a Service sends to.
func (l *load) checkTargetPort(o *Object, i int, p corev1.ServicePort, pods []*Pod) {
	path := fmt.Sprintf("spec.ports[%d].targetPort", i)
	pos, exact := o.Position(path)
	if !exact {
		pos, _ = o.Position(fmt.Sprintf("spec.ports[%d].port", i))
	}
	proto := string(p.Protocol)
	if proto == "" {
		proto = "TCP"
	}
	var declared []string
	for _, pod := range pods {
		for _, c := range pod.Containers {
			for _, cp := range c.Ports {
				if cp.Protocol != proto {
					continue
				}
				if p.TargetPort.Type == intstr.String && cp.Name == p.TargetPort.StrVal ||
					p.TargetPort.Type == intstr.Int && cp.Number.Value == targetNumber(p) {
					return
				}
				if name := portWord(p, cp); name != "" && !slices.Contains(declared, name) {
					declared = append(declared, name)
				}
			}
		}
	}
	if p.TargetPort.Type == intstr.String {
		l.addAt(pos, Diagnostic{Severity: Warning, Rule: "unknown-targetport",
			Message: fmt.Sprintf("%s: no selected pod declares a %s port named %s", path, proto, quoted(p.TargetPort.StrVal)),
			Effect:  "the EndpointSlice gets no port of that name: connections to this port of the Service are refused",
			Hint:    didYouMean(p.TargetPort.StrVal, "declared", declared)})
		return
	}
	l.addAt(pos, Diagnostic{Severity: Warning, Rule: "unknown-targetport",
		Message: fmt.Sprintf("%s: no selected pod declares %s port %d", path, proto, targetNumber(p)),
		Effect:  "Kubernetes does not mind; podwire's pods answer on the ports they declare, so connections are refused",
		Hint:    didYouMean("", "declared", declared)})
}

// targetNumber is the port a Service sends to; targetPort defaults to port.
func targetNumber(p corev1.ServicePort) int {
	if p.TargetPort.IntVal == 0 {
		return int(p.Port)
	}
	return int(p.TargetPort.IntVal)
}

// portWord is how a Service would have to write cp: by name or by number.
func portWord(p corev1.ServicePort, cp ContainerPort) string {
	if p.TargetPort.Type == intstr.String {
		return cp.Name
	}
	return fmt.Sprint(cp.Number.Value)
}
