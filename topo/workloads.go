package topo

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// buildPods turns Pods and the objects that make pods into pods beside those of
// the shorthand, and places every pod on a node.
func (l *load) buildPods() {
	for _, o := range l.sc.Objects {
		switch obj := o.Object.(type) {
		case *corev1.Pod:
			p := l.podFrom(o, obj.ObjectMeta, obj.Spec, "spec")
			p.Terminating = obj.DeletionTimestamp != nil
			p.NotReady = slices.ContainsFunc(obj.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse
			})
			l.sc.Pods = append(l.sc.Pods, p)
		case *appsv1.Deployment:
			l.replicaPods(workload{o, obj.Spec.Replicas, obj.Spec.Selector, obj.Spec.Template}, templateHash(obj.Spec.Template)+"-")
		case *appsv1.ReplicaSet:
			l.replicaPods(workload{o, obj.Spec.Replicas, obj.Spec.Selector, obj.Spec.Template}, "")
		case *appsv1.StatefulSet:
			l.statefulPods(workload{o, obj.Spec.Replicas, obj.Spec.Selector, obj.Spec.Template}, obj.Spec.ServiceName)
		case *appsv1.DaemonSet:
			l.daemonPods(workload{o, nil, obj.Spec.Selector, obj.Spec.Template})
		}
	}
	if len(l.sc.Pods) > MaxPods {
		l.addAt(l.sc.Pods[MaxPods].Name.Pos, Diagnostic{Rule: "too-large", Message: fmt.Sprintf("more than %d pods are declared", MaxPods)})
		l.sc.Pods = l.sc.Pods[:MaxPods]
	}
	l.readReadiness()
	l.checkPodNames()
	l.warnNetworks()
	l.place()
}

// AnnotationReady is an annotation of a pod, or of a workload's template, that says
// how its readiness probe would end: "false", or "true", which is the default.
const AnnotationReady = "podwire/ready"

// readReadiness reads the annotation of all pods.
func (l *load) readReadiness() {
	said := map[Pos]bool{} // replicas share a place
	for _, p := range l.sc.Pods {
		switch v, ok := p.Annotations[AnnotationReady]; {
		case v == "false":
			p.NotReady = true
		case ok && v != "true" && !said[p.Name.Pos]:
			said[p.Name.Pos] = true
			l.addAt(p.Name.Pos, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("annotation %s: found %s, want \"true\" or \"false\"", AnnotationReady, quoted(v))})
		}
	}
}

// warnUnsupported says what of a pod has no effect here, so that nobody takes
// silence for consent.
func (l *load) warnUnsupported(o *Object, spec corev1.PodSpec, path string) {
	warn := func(field, effect string) {
		pos, _ := o.Position(path + field)
		l.addAt(pos, Diagnostic{Severity: Warning, Rule: "not-emulated", Message: fmt.Sprintf("%s%s is not emulated", path, field), Effect: effect})
	}
	if spec.HostNetwork {
		warn(".hostNetwork", "the pod gets an address of its own like any other")
	}
}

// podFrom makes a pod of a manifest; path is where its spec stands in o.
func (l *load) podFrom(o *Object, meta metav1.ObjectMeta, spec corev1.PodSpec, path string) *Pod {
	p := &Pod{
		Namespace: o.Namespace, Name: o.Name, Labels: meta.Labels, Annotations: meta.Annotations, HostNetwork: spec.HostNetwork,
		Hostname: spec.Hostname, Subdomain: spec.Subdomain, DNSPolicy: spec.DNSPolicy, DNSConfig: spec.DNSConfig,
	}
	l.warnUnsupported(o, spec, path)
	if spec.NodeName != "" {
		pos, _ := o.Position(path + ".nodeName")
		p.Node = Field[string]{spec.NodeName, pos}
	} else if len(spec.NodeSelector) > 0 {
		l.selectNode(o, p, spec.NodeSelector, path)
	}
	p.Sysctls = l.podSysctls(o, spec.SecurityContext, path)
	for i, c := range spec.Containers {
		at := fmt.Sprintf("%s.containers[%d]", path, i)
		pos, _ := o.Position(at + ".name")
		pc := Container{Name: Field[string]{c.Name, pos}}
		for j, port := range c.Ports {
			pc.Ports = append(pc.Ports, l.portFrom(o, port, fmt.Sprintf("%s.ports[%d]", at, j)))
		}
		p.Containers = append(p.Containers, pc)
	}
	if len(spec.Containers) == 0 {
		pos, _ := o.Position(path + ".containers")
		l.addOnce(pos, Diagnostic{Rule: "missing-value", Message: fmt.Sprintf("%s.containers: no container, want one", path),
			Effect: fmt.Sprintf("API server: %s %q is invalid: %s.containers: Required value", o.Kind, o.Name.Value, path)})
	}
	l.checkContainers(p)
	return p
}

// portFrom makes a port of a manifest; path is where it stands in o.
func (l *load) portFrom(o *Object, port corev1.ContainerPort, path string) ContainerPort {
	pos, _ := o.Position(path + ".containerPort")
	p := ContainerPort{Name: port.Name, Number: Field[int]{int(port.ContainerPort), pos}, Protocol: "TCP"}
	if port.Protocol != "" {
		p.Protocol = string(port.Protocol)
	}
	if port.HostPort != 0 {
		pos, _ := o.Position(path + ".hostPort")
		p.HostPort = Field[int]{int(port.HostPort), pos}
	}
	if port.HostIP != "" {
		pos, _ := o.Position(path + ".hostIP")
		addr, err := netip.ParseAddr(port.HostIP)
		if err != nil {
			l.addAt(pos, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("%s.hostIP: found %s, want an IP address", path, quoted(port.HostIP))})
			return p
		}
		p.HostIP = Field[netip.Addr]{addr, pos}
	}
	return p
}

// selectNode settles a nodeSelector: the first node that has all its labels.
func (l *load) selectNode(o *Object, p *Pod, want map[string]string, path string) {
	pos, _ := o.Position(path + ".nodeSelector")
	sel := labels.SelectorFromSet(want)
	for _, n := range l.sc.Cluster.Nodes {
		if sel.Matches(labels.Set(n.Labels)) {
			p.Node = Field[string]{n.Name.Value, pos}
			return
		}
	}
	l.addAt(pos, Diagnostic{Rule: "unschedulable", Message: fmt.Sprintf("no node has the labels %s", sel),
		Effect: "the pod stays Pending: 0 nodes match its node selector"})
}

// safeAlphabet is that of Kubernetes' generated names: no vowels, hence no words,
// and nothing easily misread.
const safeAlphabet = "bcdfghjklmnpqrstvwxz2456789"

func safeString(next func() uint64, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(safeAlphabet[next()%uint64(len(safeAlphabet))])
	}
	return b.String()
}

// templateHash is a stand-in for the pod-template-hash: of the same shape, and
// different for different templates, but not the number Kubernetes computes.
func templateHash(t corev1.PodTemplateSpec) string {
	data, err := json.Marshal(t)
	if err != nil {
		data = []byte(err.Error())
	}
	h := fnv64(data)
	return safeString(func() uint64 { h = h*6364136223846793005 + 1442695040888963407; return h >> 33 }, 10)
}

func fnv64(data []byte) uint64 {
	h := fnv.New64a()
	h.Write(data)
	return h.Sum64()
}

// checkPodNames finds pods of one namespace that share a name.
func (l *load) checkPodNames() {
	first := map[string]Pos{}
	for _, p := range l.sc.Pods {
		if !p.Name.IsSet() {
			continue
		}
		at, dup := first[p.Key()]
		if dup && l.hasErrorAt(p.Name.Pos) {
			continue // two Pod manifests of one name: said already
		}
		if dup {
			l.addAt(p.Name.Pos, Diagnostic{Rule: "duplicate-name", Message: fmt.Sprintf("pod %s is declared twice, first at %s", quoted(p.Key()), at)})
			continue
		}
		first[p.Key()] = p.Name.Pos
	}
}

// place puts each pod that names no node on the node with the fewest pods, the
// first of equals, and checks the nodes that were named.
func (l *load) place() {
	nodes := l.sc.Cluster.Nodes
	load := make([]int, len(nodes))
	index := map[string]int{}
	var names []string
	for i, n := range nodes {
		index[n.Name.Value] = i
		names = append(names, n.Name.Value)
	}
	bad := map[Pos]bool{} // the pods of a Deployment share one position
	for _, p := range l.sc.Pods {
		if !p.Node.IsSet() {
			continue
		}
		i, ok := index[p.Node.Value]
		if ok {
			load[i]++
		} else if !bad[p.Node.Pos] {
			bad[p.Node.Pos] = true
			l.addAt(p.Node.Pos, Diagnostic{Rule: "unknown-node", Message: fmt.Sprintf("pod %s: unknown node %s", p.Name.Value, quoted(p.Node.Value)),
				Effect: "the pod stays Pending for ever", Hint: didYouMean(p.Node.Value, "nodes", names)})
		}
	}
	l.placeHostPorts(index, load)
	least := newHeap(load)
	for _, p := range l.sc.Pods {
		if p.Node.Value == "" {
			p.Node.Value = names[least.take()]
		}
	}
}

// newHeap orders nodes by (pods, index).
func newHeap(load []int) *nodeHeap {
	h := &nodeHeap{load: load, order: make([]int, len(load))}
	for i := range h.order {
		h.order[i] = i
	}
	slices.SortStableFunc(h.order, func(a, b int) int { return load[a] - load[b] })
	return h
}

// nodeHeap is a binary heap of node indexes; a sorted slice is one already.
type nodeHeap struct {
	load  []int
	order []int
}

func (h *nodeHeap) less(a, b int) bool {
	a, b = h.order[a], h.order[b]
	return h.load[a] < h.load[b] || h.load[a] == h.load[b] && a < b
}

// take returns the least loaded node and counts one more pod on it.
func (h *nodeHeap) take() int {
	top := h.order[0]
	h.load[top]++
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(h.order) {
			return top
		}
		if c+1 < len(h.order) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			return top
		}
		h.order[i], h.order[c] = h.order[c], h.order[i]
		i = c
	}
}
