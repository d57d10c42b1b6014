package topo

import (
	"fmt"
	"maps"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// workload is what the objects that make pods have in common.
type workload struct {
	o        *Object
	replicas *int32
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
}

// podTemplate checks a workload and returns the pod that it makes, and how many of
// them; nil if there are none.
func (l *load) podTemplate(w workload) (template *Pod, replicas int) {
	l.checkTemplate(w)
	replicas = 1
	if w.replicas != nil {
		replicas = int(*w.replicas)
	}
	if room := MaxPods - len(l.sc.Pods); replicas < 0 || replicas > room {
		pos, _ := w.o.Position("spec.replicas")
		l.addOnce(pos, Diagnostic{Rule: "too-large", Message: fmt.Sprintf("spec.replicas: found %d, want 0 to %d (all pods together)", replicas, room)})
		return nil, 0
	}
	if replicas == 0 {
		return nil, 0
	}
	return l.podFrom(w.o, w.template.ObjectMeta, w.template.Spec, "spec.template.spec"), replicas
}

// replica adds one pod of a workload, with a label more unless it is empty.
func (l *load) replica(w workload, template *Pod, name, label, value string) *Pod {
	pod := *template
	pod.Name = Field[string]{name, w.o.Name.Pos}
	pod.Owner = w.o.Kind + "/" + w.o.Name.Value
	pod.Labels = maps.Clone(template.Labels)
	if label != "" {
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		pod.Labels[label] = value
	}
	l.sc.Pods = append(l.sc.Pods, &pod)
	return &pod
}

// replicaPods makes the pods of a ReplicaSet, named NAME-<5 random characters>, or
// those of a Deployment, whose ReplicaSet is named NAME-<hash of the template>. The
// characters follow from the scenario's seed.
func (l *load) replicaPods(w workload, hash string) {
	template, replicas := l.podTemplate(w)
	label := ""
	if hash != "" {
		label = "pod-template-hash"
	}
	for _, suffix := range l.suffixes(w, replicas) {
		l.replica(w, template, w.o.Name.Value+"-"+hash+suffix, label, hash[:max(len(hash)-1, 0)])
	}
}

// suffixes are n different endings of names.
func (l *load) suffixes(w workload, n int) []string {
	rng := rand.New(rand.NewPCG(l.sc.Seed.Value, fnv64([]byte(w.o.Namespace+"/"+w.o.Name.Value))))
	used := map[string]bool{}
	var list []string
	for len(list) < n {
		if s := safeString(rng.Uint64, 5); !used[s] {
			used[s] = true
			list = append(list, s)
		}
	}
	return list
}

// statefulPods makes the pods of a StatefulSet: NAME-0, NAME-1 and so on, whose
// DNS names are below the Service that the set names.
func (l *load) statefulPods(w workload, service string) {
	template, replicas := l.podTemplate(w)
	for i := range replicas {
		name := fmt.Sprintf("%s-%d", w.o.Name.Value, i)
		pod := l.replica(w, template, name, "statefulset.kubernetes.io/pod-name", name)
		pod.Hostname, pod.Subdomain = name, service
	}
}

// daemonPods makes the pods of a DaemonSet: one on each node, or on those that its
// nodeSelector selects.
func (l *load) daemonPods(w workload) {
	want := labels.SelectorFromSet(w.template.Spec.NodeSelector)
	w.template.Spec.NodeSelector = nil
	template, _ := l.podTemplate(w)
	if template == nil {
		return
	}
	var nodes []Node
	for _, n := range l.sc.Cluster.Nodes {
		if want.Matches(labels.Set(n.Labels)) && (!template.Node.IsSet() || template.Node.Value == n.Name.Value) {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) > MaxPods-len(l.sc.Pods) {
		l.addAt(w.o.Name.Pos, Diagnostic{Rule: "too-large", Message: fmt.Sprintf("more than %d pods are declared", MaxPods)})
		return
	}
	for i, suffix := range l.suffixes(w, len(nodes)) {
		pod := l.replica(w, template, w.o.Name.Value+"-"+suffix, "", "")
		pod.Node = Field[string]{nodes[i].Name.Value, w.o.Name.Pos}
	}
}

// checkTemplate checks that a workload selects its own pods.
func (l *load) checkTemplate(w workload) {
	pos, _ := w.o.Position("spec.selector")
	if w.selector == nil {
		l.addOnce(pos, Diagnostic{Rule: "missing-value", Message: "spec.selector: no selector, want one that matches spec.template.metadata.labels",
			Effect: fmt.Sprintf("API server: %s %q is invalid: spec.selector: Required value", w.o.Kind, w.o.Name.Value)})
		return
	}
	sel, err := metav1.LabelSelectorAsSelector(w.selector)
	if err != nil {
		l.addOnce(pos, Diagnostic{Rule: "bad-value", Message: "spec.selector: " + err.Error()})
		return
	}
	if !sel.Matches(labels.Set(w.template.Labels)) {
		pos, _ := w.o.Position("spec.template.metadata.labels")
		l.addOnce(pos, Diagnostic{Rule: "selector-mismatch",
			Message: fmt.Sprintf("spec.selector %s does not match the labels of spec.template: %s", sel, labels.Set(w.template.Labels)),
			Effect:  fmt.Sprintf("API server: %s %q is invalid: spec.template.metadata.labels: `selector` does not match template `labels`", w.o.Kind, w.o.Name.Value)})
	}
}
