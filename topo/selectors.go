package topo

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// selectsNothing says that a Service has a selector that no pod has the labels of,
// and which pods it may have been meant for.
func (t *linter) selectsNothing(s *declared) {
	sel := labels.SelectorFromSet(s.spec.Selector)
	hint := t.nearLabels(s, sel)
	for _, p := range t.sc.Pods {
		if p.Namespace != s.Namespace && sel.Matches(labels.Set(p.Labels)) {
			hint = fmt.Sprintf("pod %s has the labels, but a selector looks in its own namespace only", p.Key())
		}
	}
	t.warn(s.Object, "spec.selector", "selects-nothing",
		fmt.Sprintf("Service %s selects no declared pod: none in namespace %s has the labels %s", s.Name.Value, s.Namespace, sel), refusedEffect, hint)
}

// nearLabels names the labels of pods that a selector may have been meant for:
// those nearest by spelling, or those of the pod that has most of them.
func (t *linter) nearLabels(s *declared, sel labels.Selector) string {
	var have []string
	var nearest *Pod
	most := 0
	for _, p := range t.sc.Pods {
		if p.Namespace != s.Namespace {
			continue
		}
		if w := labels.Set(p.Labels).String(); w != "" && !slices.Contains(have, w) && len(have) < 24 {
			have = append(have, w)
		}
		n := 0
		for k, v := range s.spec.Selector {
			if p.Labels[k] == v {
				n++
			}
		}
		if n > most {
			nearest, most = p, n
		}
	}
	if nearest == nil {
		return didYouMean(sel.String(), "labels of pods", have)
	}
	var wrong []string
	for k, v := range s.spec.Selector {
		if got, ok := nearest.Labels[k]; !ok {
			wrong = append(wrong, "no label "+k)
		} else if got != v {
			wrong = append(wrong, fmt.Sprintf("%s=%s", k, got))
		}
	}
	slices.Sort(wrong)
	return fmt.Sprintf("pod %s comes nearest: it has %s", nearest.Name.Value, strings.Join(wrong, ", "))
}

// targetOf finds where a pod takes what a Service port sends: whether it declares
// such a port at all.
func (p *Pod) targetOf(port corev1.ServicePort) bool {
	for _, c := range p.Containers {
		for _, cp := range c.Ports {
			if cp.Protocol != protocolOf(port) {
				continue
			}
			if port.TargetPort.Type == intstr.String && cp.Name == port.TargetPort.StrVal ||
				port.TargetPort.Type == intstr.Int && cp.Number.Value == targetNumber(port) {
				return true
			}
		}
	}
	return false
}

// checkTargetPort checks that the pods selected declare what a Service sends to.
func (t *linter) checkTargetPort(s *declared, i int, p corev1.ServicePort) {
	path := fmt.Sprintf("spec.ports[%d].targetPort", i)
	at := path
	if _, exact := s.Position(path); !exact {
		at = fmt.Sprintf("spec.ports[%d].port", i)
	}
	var without []string
	for _, pod := range s.pods {
		if !pod.targetOf(p) {
			without = append(without, pod.Name.Value)
		}
	}
	proto := protocolOf(p)
	named := p.TargetPort.Type == intstr.String
	what := fmt.Sprintf("%s port %d", proto, targetNumber(p))
	if named {
		what = fmt.Sprintf("a %s port named %s", proto, quoted(p.TargetPort.StrVal))
	}
	switch {
	case len(without) == 0:
	case len(without) == len(s.pods):
		effect := "Kubernetes does not mind; podwire's pods answer on the ports they declare, so connections are refused"
		if named {
			effect = "the EndpointSlice gets no port of that name: connections to this port of the Service are refused"
		}
		t.warn(s.Object, at, "unknown-targetport", fmt.Sprintf("%s: no selected pod declares %s", path, what), effect, declaredHint(p, s.pods))
	default:
		effect := "connections that are sent to these pods are refused"
		if named {
			effect = "these pods are no endpoints of this port and get none of its traffic"
		}
		t.warn(s.Object, at, "partial-targetport", fmt.Sprintf("%s: %d of %s do not declare %s", path, len(without), plural(len(s.pods), "selected pod"), what),
			effect, "without it: "+strings.Join(without[:min(len(without), 8)], ", "))
	}
}

// declaredHint says which ports there are instead: of the protocol, or else of
// another one.
func declaredHint(p corev1.ServicePort, pods []*Pod) string {
	var same, other []string
	for _, pod := range pods {
		for _, c := range pod.Containers {
			for _, cp := range c.Ports {
				word := portWord(p, cp)
				switch {
				case word == "":
				case cp.Protocol == protocolOf(p):
					same = append(same, word)
				default:
					other = append(other, cp.Protocol+" "+word)
				}
			}
		}
	}
	word := ""
	if p.TargetPort.Type == intstr.String {
		word = p.TargetPort.StrVal
	}
	wanted := portWord(p, ContainerPort{Name: p.TargetPort.StrVal, Number: Field[int]{Value: targetNumber(p)}})
	for _, o := range other {
		if proto, w, _ := strings.Cut(o, " "); w == wanted {
			return fmt.Sprintf("the pods declare %s, which is %s: write protocol: %s", wanted, proto, proto)
		}
	}
	slices.Sort(same)
	if same = slices.Compact(same); len(same) == 0 {
		slices.Sort(other)
		same = slices.Compact(other)
	}
	return didYouMean(word, "declared", same)
}

// protocolOf is the protocol of a Service port, which defaults to TCP.
func protocolOf(p corev1.ServicePort) string {
	if p.Protocol == "" {
		return string(corev1.ProtocolTCP)
	}
	return string(p.Protocol)
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
