package topo

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// names finds what a word in a step stands for.
type names struct {
	pods     map[string]*Pod // by namespace/name
	owners   map[string]*Pod // first pod of a workload, by kind/namespace/name: "deployment/default/web"
	nodes    map[string]bool
	hosts    map[string]bool
	taps     map[string]bool // hosts that are real
	services map[string]bool // by namespace/name
	ingress  map[string]bool // host names of Ingress rules
	spaces   map[string][]string
	all      []string // every plain name, for hints
}

func newNames(sc *Scenario) *names {
	n := &names{
		pods: map[string]*Pod{}, owners: map[string]*Pod{}, nodes: map[string]bool{}, hosts: map[string]bool{}, taps: map[string]bool{},
		services: map[string]bool{}, ingress: map[string]bool{}, spaces: map[string][]string{},
	}
	for _, p := range sc.Pods {
		n.pods[p.Key()] = p
		n.know(p.Name.Value, p.Namespace)
		if kind, name, ok := strings.Cut(p.Owner, "/"); ok {
			key := strings.ToLower(kind) + "/" + p.Namespace + "/" + name
			if n.owners[key] == nil {
				n.owners[key] = p
			}
		}
	}
	for _, o := range sc.Objects {
		switch obj := o.Object.(type) {
		case *corev1.Service:
			n.services[o.Namespace+"/"+o.Name.Value] = true
			n.know(o.Name.Value, o.Namespace)
		case *networkingv1.Ingress:
			for _, r := range obj.Spec.Rules {
				n.ingress[r.Host] = true
			}
		}
	}
	if sc.Cluster.DNS.Value {
		for name, namespace := range map[string]string{"kubernetes": metav1.NamespaceDefault, "kube-dns": metav1.NamespaceSystem} {
			n.services[namespace+"/"+name] = true
			n.know(name, namespace)
		}
	}
	for _, node := range sc.Cluster.Nodes {
		n.nodes[node.Name.Value] = true
		n.know(node.Name.Value, "")
	}
	for _, h := range sc.Hosts {
		if h.TAP.IsSet() {
			n.taps[h.Name.Value] = true
		} else {
			n.hosts[h.Name.Value] = true
		}
		n.know(h.Name.Value, "")
	}
	for _, r := range sc.Underlay.Routers {
		n.hosts[r.Name.Value] = true
		n.know(r.Name.Value, "")
	}
	return n
}

func (n *names) know(name, namespace string) {
	n.all = append(n.all, name)
	if namespace != "" && !slices.Contains(n.spaces[name], namespace) {
		n.spaces[name] = append(n.spaces[name], namespace)
	}
}

// refKinds are the words that may stand before a slash to say what a name is.
var refKinds = map[string]RefKind{
	"pod": RefPod, "node": RefNode, "host": RefHost, "service": RefService, "svc": RefService, "deployment": RefPod, "deploy": RefPod,
	"statefulset": RefPod, "sts": RefPod, "daemonset": RefPod, "ds": RefPod, "replicaset": RefPod, "rs": RefPod,
}

// workloadKinds are those of them that stand for the first pod of a workload.
var workloadKinds = map[string]string{
	"deployment": "deployment", "deploy": "deployment", "statefulset": "statefulset", "sts": "statefulset",
	"daemonset": "daemonset", "ds": "daemonset", "replicaset": "replicaset", "rs": "replicaset",
}

var refKindNames = map[RefKind]string{RefPod: "pod", RefNode: "node", RefHost: "host", RefTAP: "real host", RefService: "service", RefIP: "IP address", RefIngress: "ingress host"}

// everyName are the kinds of things that have a name.
var everyName = []RefKind{RefPod, RefNode, RefHost, RefTAP, RefService, RefIngress}

// clusterDomain ends the names under which DNS knows Services.
const clusterDomain = ".cluster.local"

// lookup finds what r.Text stands for, trying kinds in order. It returns every
// match, so that the caller can say when there were several.
func (n *names) lookup(r Ref, kinds []RefKind) (found []Ref) {
	if a, err := netip.ParseAddr(r.Text); err == nil {
		if slices.Contains(kinds, RefIP) {
			r.Kind, r.Addr, r.Name = RefIP, a, r.Text
			found = append(found, r)
		}
		return found
	}
	name := r.Text
	name, r.Container, _ = strings.Cut(name, ":")
	namespace := "default"
	qualifier, rest, qualified := strings.Cut(name, "/")
	workload := ""
	if qualified {
		name = rest
		if k, ok := refKinds[qualifier]; ok {
			workload = workloadKinds[qualifier]
			if !slices.Contains(kinds, k) {
				return nil
			}
			kinds = []RefKind{k}
			if ns, bare, ok := strings.Cut(name, "/"); ok {
				namespace, name = ns, bare
			}
		} else {
			namespace = qualifier
			kinds = slices.DeleteFunc(slices.Clone(kinds), func(k RefKind) bool { return k != RefPod && k != RefService })
		}
	}
	for _, k := range kinds {
		if got, ok := n.find(k, namespace, name, workload); ok {
			got.Pos, got.Text, got.Port, got.Container = r.Pos, r.Text, r.Port, r.Container
			found = append(found, got)
		}
	}
	return found
}

// workload returns the kind of a workload of that name in the default namespace.
func (n *names) workload(name string) string {
	for _, kind := range []string{"deployment", "statefulset", "daemonset", "replicaset"} {
		if n.owners[kind+"/default/"+name] != nil {
			return kind
		}
	}
	return ""
}

// find looks for one kind of thing.
func (n *names) find(k RefKind, namespace, name, workload string) (Ref, bool) {
	switch k {
	case RefPod:
		p := n.pods[namespace+"/"+name]
		if workload != "" {
			p = n.owners[workload+"/"+namespace+"/"+name]
		}
		if p == nil {
			return Ref{}, false
		}
		return Ref{Kind: k, Namespace: namespace, Name: p.Name.Value}, true
	case RefNode:
		return Ref{Kind: k, Name: name}, n.nodes[name]
	case RefHost:
		return Ref{Kind: k, Name: name}, n.hosts[name]
	case RefTAP:
		return Ref{Kind: k, Name: name}, n.taps[name]
	case RefIngress:
		return Ref{Kind: k, Name: name}, n.ingress[name]
	case RefService:
		if n.services[namespace+"/"+name] {
			return Ref{Kind: k, Namespace: namespace, Name: name}, true
		}
		svc, ns := dnsService(name)
		if n.services[ns+"/"+svc] {
			return Ref{Kind: k, Namespace: ns, Name: svc}, true
		}
		host, rest, _ := strings.Cut(name, ".") // of an endpoint: db-0.db, db-0.db.prod
		svc, ns = dnsService(rest)
		ns = cmp.Or(ns, namespace)
		return Ref{Kind: k, Namespace: ns, Name: host + "." + svc}, n.services[ns+"/"+svc]
	}
	return Ref{}, false
}

// dnsService splits the DNS names of a Service: web.default, web.default.svc and
// web.default.svc.cluster.local.
func dnsService(name string) (service, namespace string) {
	name = strings.TrimSuffix(name, ".")
	name = strings.TrimSuffix(strings.TrimSuffix(name, clusterDomain), ".svc")
	service, namespace, _ = strings.Cut(name, ".")
	return service, namespace
}

// resolve settles one reference in place.
func (l *load) resolve(r *Ref, role string, kinds ...RefKind) {
	if !r.IsSet() {
		return
	}
	found := l.names.lookup(*r, kinds)
	if len(found) == 0 {
		l.unknownRef(*r, role, kinds)
		return
	}
	if *r = found[0]; r.Kind == RefTAP {
		l.real = *r
	}
	if len(found) > 1 {
		l.addAt(r.Pos, Diagnostic{
			Severity: Warning, Rule: "ambiguous-name",
			Message: fmt.Sprintf("%s: %s is a %s and a %s; the %s is meant", role, quoted(r.Text), refKindNames[found[0].Kind], refKindNames[found[1].Kind], refKindNames[found[0].Kind]),
			Hint:    fmt.Sprintf("write %s/%s or %s/%s", refKindNames[found[0].Kind], r.Text, refKindNames[found[1].Kind], r.Text),
		})
	}
	l.checkContainer(*r, role)
}

func (l *load) checkContainer(r Ref, role string) {
	if r.Container == "" {
		return
	}
	if r.Kind != RefPod {
		l.addAt(r.Pos, Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("%s: %s has no containers, only a pod has", role, refKindNames[r.Kind])})
		return
	}
	var known []string
	for _, c := range l.names.pods[r.Namespace+"/"+r.Name].Containers {
		known = append(known, c.Name.Value)
	}
	if !slices.Contains(known, r.Container) {
		l.addAt(r.Pos, Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("%s: pod %s has no container %s", role, r.Name, quoted(r.Container)),
			Hint: didYouMean(r.Container, "containers", known)})
	}
}

func (l *load) unknownRef(r Ref, role string, kinds []RefKind) {
	var words []string
	for _, k := range kinds {
		words = append(words, refKindNames[k])
	}
	diag := Diagnostic{Rule: "unknown-name", Message: fmt.Sprintf("%s: unknown name %s, want a %s", role, quoted(r.Text), strings.Join(words, ", "))}
	plain := r.Text[strings.LastIndexByte(r.Text, '/')+1:]
	plain, _, _ = strings.Cut(plain, ":")
	spaces := l.names.spaces[plain]
	switch {
	case len(spaces) > 0 && !slices.Contains(spaces, "default"):
		diag.Hint = fmt.Sprintf("did you mean %q?", cmp.Or(spaces[0], "default")+"/"+plain)
	case len(l.names.lookup(r, everyName)) > 0:
		diag.Hint = fmt.Sprintf("%s is a %s", plain, refKindNames[l.names.lookup(r, everyName)[0].Kind])
	case l.names.workload(plain) != "":
		diag.Hint = fmt.Sprintf("write %s/%s for its first pod", l.names.workload(plain), plain)
	default:
		diag.Hint = didYouMean(plain, "known names", l.names.all)
	}
	l.addAt(r.Pos, diag)
}

// resolveSteps settles every name in the steps.
func (l *load) resolveSteps() {
	for i := range l.sc.Steps {
		s := &l.sc.Steps[i]
		at := fmt.Sprintf("steps[%d].%s", i, s.Verb())
		l.real = Ref{}
		from := func(r *Ref) { l.resolve(r, at+".from", RefPod, RefNode, RefHost) }
		to := func(r *Ref) { l.resolve(r, at+".to", RefPod, RefService, RefNode, RefHost, RefTAP, RefIP) }
		switch {
		case s.Action != nil:
			s.Action.resolve(l, at)
		case s.Ping != nil:
			from(&s.Ping.From)
			to(&s.Ping.To)
		case s.HTTP != nil:
			from(&s.HTTP.From)
			// as DNS in a pod would: Services before what only podwire can name
			l.resolve(&s.HTTP.Host, at+".url", RefService, RefIngress, RefPod, RefNode, RefHost, RefTAP, RefIP)
		case s.TCP != nil:
			from(&s.TCP.From)
			to(&s.TCP.To)
		case s.UDP != nil:
			from(&s.UDP.From)
			to(&s.UDP.To)
		case s.Exec != nil:
			l.resolve(&s.Exec.On, at+".on", RefPod, RefNode, RefHost)
		}
		l.resolveTranslated(&s.Expect, fmt.Sprintf("steps[%d]", i))
		l.resolve(&s.Expect.SourceIP, fmt.Sprintf("steps[%d].expect.sourceIP", i), RefIP, RefPod, RefNode, RefHost, RefTAP, RefService)
		s.real = l.real
	}
}
