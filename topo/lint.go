package topo

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// declared is a Service together with everything in the files that it depends on.
type declared struct {
	*Object
	spec   *corev1.ServiceSpec
	labels map[string]string
	status *corev1.ServiceStatus
	pods   []*Pod    // that its selector selects
	slices []*Object // EndpointSlices written by hand for it
}

// linter looks at objects together: what the API server would accept one by one
// and what nevertheless does not work, or not as it looks.
type linter struct {
	*load
	services []*declared
}

// mostLinted is how many Services are looked at one by one; with more of them a
// lab is generated, not written.
const mostLinted = 500

// lint looks at each Service together with its pods and slices, and at all
// objects together. A file of manifests without any pod is taken for a part of
// something larger.
func (l *load) lint() {
	t := &linter{load: l}
	t.collect()
	t.clashes()
	t.slices()
	if l.scenario == nil && len(l.sc.Pods) == 0 || len(t.services) > mostLinted {
		return
	}
	for _, s := range t.services {
		t.endpoints(s)
		t.policies(s)
		t.useless(s)
	}
	t.governing()
	t.namespaces()
}

// collect pairs Services with their slices and pods.
func (t *linter) collect() {
	byKey := map[string]*declared{}
	for _, o := range t.sc.Objects {
		if svc, ok := o.Object.(*corev1.Service); ok {
			s := &declared{Object: o, spec: &svc.Spec, labels: svc.Labels, status: &svc.Status}
			t.services = append(t.services, s)
			byKey[o.Namespace+"/"+o.Name.Value] = s
		}
	}
	for _, o := range t.sc.Objects {
		if slice, ok := o.Object.(*discoveryv1.EndpointSlice); ok {
			if s := byKey[o.Namespace+"/"+slice.Labels[discoveryv1.LabelServiceName]]; s != nil {
				s.slices = append(s.slices, o)
			}
		}
	}
	if len(t.services) > mostLinted {
		return
	}
	for _, s := range t.services {
		if sel := labels.SelectorFromSet(s.spec.Selector); len(s.spec.Selector) > 0 {
			for _, p := range t.sc.Pods {
				if p.Namespace == s.Namespace && sel.Matches(labels.Set(p.Labels)) {
					s.pods = append(s.pods, p)
				}
			}
		}
	}
}

// headless reports whether the Service has no address of its own.
func (s *declared) headless() bool { return s.spec.ClusterIP == corev1.ClusterIPNone }

// external reports whether the Service is another name for something.
func (s *declared) external() bool { return s.spec.Type == corev1.ServiceTypeExternalName }

// onNodes reports whether every node answers on a port for the Service.
func (s *declared) onNodes() bool {
	return s.spec.Type == corev1.ServiceTypeNodePort || s.spec.Type == corev1.ServiceTypeLoadBalancer
}

// endpoints says why a Service has no endpoint, or less than one might think.
func (t *linter) endpoints(s *declared) {
	switch {
	case s.external():
	case len(s.spec.Selector) == 0:
		t.withoutSelector(s)
	case len(s.pods) == 0:
		t.selectsNothing(s)
	default:
		t.selectsUnready(s)
		for i, p := range s.spec.Ports {
			t.checkTargetPort(s, i, p)
		}
		t.selectsSeveral(s)
	}
}

const refusedEffect = "the Service has no endpoints; kube-proxy rejects connections to it (ICMP port unreachable, seen as connection refused)"

// withoutSelector looks for the endpoints of a Service that selects no pods.
func (t *linter) withoutSelector(s *declared) {
	if len(s.slices) > 0 || t.sc.Cluster.DNS.Value && isAPIServer(s.Namespace, s.Name.Value) {
		return
	}
	var labelled []string
	for _, p := range t.sc.Pods {
		if w := labels.Set(p.Labels).String(); p.Namespace == s.Namespace && w != "" && !slices.Contains(labelled, w) {
			labelled = append(labelled, w)
		}
	}
	hint := "give it a spec.selector, or an EndpointSlice labelled " + discoveryv1.LabelServiceName + ": " + s.Name.Value
	if len(labelled) > 0 && len(labelled) < 12 {
		hint += "; labels of pods: " + strings.Join(labelled, ", ")
	}
	t.warn(s.Object, "metadata.name", "no-endpoints", fmt.Sprintf("Service %s has no selector, and no EndpointSlice is written for it", s.Name.Value), refusedEffect, hint)
}

// selectsUnready finds Services all of whose pods are not ready, or are going.
func (t *linter) selectsUnready(s *declared) {
	ready := func(p *Pod) bool { return !p.NotReady && !p.Terminating }
	draining := func(p *Pod) bool { return p.Terminating && !p.NotReady }
	if s.spec.PublishNotReadyAddresses || slices.ContainsFunc(s.pods, ready) {
		return
	}
	what := fmt.Sprintf("Service %s selects %s, none of which is ready", s.Name.Value, plural(len(s.pods), "pod"))
	if len(s.pods) == 1 {
		what = fmt.Sprintf("Service %s selects pod %s alone, which is not ready", s.Name.Value, s.pods[0].Name.Value)
	}
	if slices.ContainsFunc(s.pods, draining) {
		t.note(s.Object, "spec.selector", "no-ready-endpoints", what, "kube-proxy sends to those that are terminating and still serve, as long as they do", "")
		return
	}
	t.warn(s.Object, "spec.selector", "no-ready-endpoints", what, refusedEffect, "publishNotReadyAddresses: true takes them all the same")
}

// selectsSeveral notes a Service in front of pods of several workloads: a canary,
// or labels that are too general.
func (t *linter) selectsSeveral(s *declared) {
	var owners []string
	for _, p := range s.pods {
		owner := p.Owner
		if owner == "" {
			continue
		}
		if owner = strings.Replace(owner, "/", " ", 1); !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
	}
	if len(owners) > 1 {
		t.note(s.Object, "spec.selector", "several-workloads", fmt.Sprintf("Service %s selects pods of %s", s.Name.Value, enumerate(owners)),
			"connections are spread over all of them", "if that is not meant, add a label to the selector that tells them apart")
	}
}

// enumerate is "a, b and c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func (t *linter) warn(o *Object, path, rule, message, effect, hint string) {
	t.find(Warning, o, path, rule, message, effect, hint)
}

func (t *linter) note(o *Object, path, rule, message, effect, hint string) {
	t.find(Note, o, path, rule, message, effect, hint)
}

// find makes a finding about a field of an object, or the nearest part of it that
// was written.
func (t *linter) find(sev Severity, o *Object, path, rule, message, effect, hint string) {
	pos, _ := o.Position(path)
	t.addAt(pos, Diagnostic{Severity: sev, Rule: rule, Message: message, Effect: effect, Hint: hint})
}
