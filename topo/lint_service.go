package topo

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// policies says what a traffic policy leaves without an answer.
func (t *linter) policies(s *declared) {
	if len(s.pods) == 0 {
		return
	}
	with := map[string]bool{}
	for _, p := range s.pods {
		with[p.Node.Value] = true
	}
	var without []string
	for _, n := range t.sc.Cluster.Nodes {
		if !with[n.Name.Value] {
			without = append(without, n.Name.Value)
		}
	}
	if len(without) == 0 {
		return
	}
	nodes := enumerate(without[:min(len(without), 5)])
	if more := len(without) - 5; more > 0 {
		nodes += fmt.Sprintf(" (and %d more)", more)
	}
	has := "has"
	if len(without) > 1 {
		has = "have"
	}
	if s.onNodes() && s.spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		sev, hint := Warning, "ask nodes that have one, run a pod on every node (DaemonSet), or use Cluster"
		if s.spec.Type == corev1.ServiceTypeLoadBalancer {
			sev, hint = Note, "a load balancer asks healthCheckNodePort and leaves such nodes out"
		}
		t.find(sev, s.Object, "spec.externalTrafficPolicy", "no-local-endpoint",
			fmt.Sprintf("externalTrafficPolicy Local: %s %s no pod of Service %s", nodes, has, s.Name.Value), "what comes to the nodePort there is dropped: clients time out", hint)
	}
	if p := s.spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal && !s.headless() {
		t.find(t.clientsOn(without, s), s.Object, "spec.internalTrafficPolicy", "no-local-endpoint",
			fmt.Sprintf("internalTrafficPolicy Local: %s %s no pod of Service %s", nodes, has, s.Name.Value),
			"what pods there send to the cluster IP is dropped: they time out", "run a pod on every node (DaemonSet), or use Cluster")
	}
}

// clientsOn says how bad it is that nodes cannot reach a Service: it is a warning
// if other pods are there.
func (t *linter) clientsOn(nodes []string, s *declared) Severity {
	for _, p := range t.sc.Pods {
		if slices.Contains(nodes, p.Node.Value) && !slices.Contains(s.pods, p) {
			return Warning
		}
	}
	return Note
}

// useless finds fields that have no effect on a Service of that type, and values
// that work otherwise than they look.
func (t *linter) useless(s *declared) {
	switch {
	case s.external():
		t.uselessExternalName(s)
		return
	case s.headless():
		t.uselessHeadless(s)
	}
	if s.spec.Type == corev1.ServiceTypeLoadBalancer {
		t.pending(s)
	}
	for i, p := range s.spec.Ports {
		if protocolOf(p) == string(corev1.ProtocolSCTP) {
			at := fmt.Sprintf("spec.ports[%d].protocol", i)
			t.find(Error, s.Object, at, "not-emulated", at+": SCTP is not emulated, want TCP or UDP", "Kubernetes takes it, if the nodes' kernel has SCTP", "")
		}
	}
}

func (t *linter) uselessExternalName(s *declared) {
	if len(s.spec.Selector) > 0 {
		t.warn(s.Object, "spec.selector", "no-effect", "spec.selector has no effect on a Service of type ExternalName: DNS answers with the name alone", "no pod gets any of its traffic", "")
	}
	if len(s.spec.Ports) > 0 {
		t.note(s.Object, "spec.ports", "no-effect", "spec.ports has no effect on a Service of type ExternalName: DNS answers with a CNAME", "clients connect to the port that they name, at the target", "")
	}
	name := s.spec.ExternalName
	if _, err := netip.ParseAddr(name); err == nil {
		t.warn(s.Object, "spec.externalName", "address-as-name", fmt.Sprintf("spec.externalName: %s is an address, and is taken for a name", quoted(name)),
			"CoreDNS answers NXDOMAIN", "for an address write a Service without selector and an EndpointSlice")
	}
	t.externalTarget(s, name)
}

// externalTarget looks for the Service that an ExternalName leads to, if it is one
// of the cluster.
func (t *linter) externalTarget(s *declared, name string) {
	inside, ok := strings.CutSuffix(strings.TrimSuffix(name, "."), ".svc"+clusterDomain)
	if !ok {
		return
	}
	var known []string
	for _, o := range t.services {
		known = append(known, o.Name.Value+"."+o.Namespace)
	}
	labels := strings.Split(inside, ".")
	if n := len(labels); n < 2 || !slices.Contains(known, strings.Join(labels[n-2:], ".")) {
		t.warn(s.Object, "spec.externalName", "unknown-name", fmt.Sprintf("spec.externalName: no Service of the cluster is called %s", inside),
			"DNS follows the name and finds nothing: NXDOMAIN", didYouMean(inside, "known", known))
	}
}

func (t *linter) uselessHeadless(s *declared) {
	const direct = "clients connect to the pods themselves: there is no address that kube-proxy could act on"
	if s.spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		t.warn(s.Object, "spec.sessionAffinity", "no-effect", "spec.sessionAffinity has no effect on a headless Service", direct, "DNS shuffles the addresses; the client decides")
	}
	if p := s.spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal {
		t.warn(s.Object, "spec.internalTrafficPolicy", "no-effect", "spec.internalTrafficPolicy has no effect on a headless Service", direct, "")
	}
	if s.spec.TrafficDistribution != nil {
		t.warn(s.Object, "spec.trafficDistribution", "no-effect", "spec.trafficDistribution has no effect on a headless Service", direct, "")
	}
	for i, p := range s.spec.Ports {
		if p.TargetPort.Type == intstr.String || targetNumber(p) == int(p.Port) {
			continue
		}
		t.warn(s.Object, fmt.Sprintf("spec.ports[%d].port", i), "headless-port",
			fmt.Sprintf("port %d of a headless Service is not translated to targetPort %d", p.Port, targetNumber(p)),
			fmt.Sprintf("%s; port %d of a pod answers only if the pod listens there", direct, p.Port), fmt.Sprintf("write port: %d", targetNumber(p)))
	}
}

// pending says why a load balancer will not give a Service an address.
func (t *linter) pending(s *declared) {
	const effect = "the Service waits, EXTERNAL-IP <pending>; its nodePort works"
	pool := t.sc.Cluster.LoadBalancers.Value
	want, err := netip.ParseAddr(s.spec.LoadBalancerIP)
	switch {
	case len(s.status.LoadBalancer.Ingress) > 0:
	case s.spec.LoadBalancerClass != nil:
		t.warn(s.Object, "spec.loadBalancerClass", "pending", fmt.Sprintf("no controller of class %s gives out addresses here", quoted(*s.spec.LoadBalancerClass)), effect, "")
	case t.scenario == nil: // podwire run makes a pool
	case !pool.IsValid():
		t.warn(s.Object, "spec.type", "pending", fmt.Sprintf("nothing gives Service %s an address: the cluster has no load balancer", s.Name.Value), effect,
			"cluster: {loadBalancers: 192.168.56.240/28}")
	case err == nil && !pool.Contains(want):
		t.warn(s.Object, "spec.loadBalancerIP", "pending", fmt.Sprintf("spec.loadBalancerIP: %v lies outside cluster.loadBalancers %v", want, pool), effect, "")
	}
}

// governing looks for the headless Service that gives pods of a StatefulSet, or
// with a subdomain, their names.
func (t *linter) governing() {
	for _, o := range t.sc.Objects {
		switch obj := o.Object.(type) {
		case *appsv1.StatefulSet:
			t.governed(o, "spec.serviceName", obj.Spec.ServiceName, obj.Spec.Template.Labels)
		case *corev1.Pod:
			t.governed(o, "spec.subdomain", obj.Spec.Subdomain, obj.Labels)
		}
	}
}

func (t *linter) governed(o *Object, path, name string, labels map[string]string) {
	if name == "" {
		return
	}
	const effect = "DNS knows no names for its pods"
	i := slices.IndexFunc(t.services, func(s *declared) bool { return s.Namespace == o.Namespace && s.Name.Value == name })
	if i < 0 {
		var known []string
		for _, s := range t.services {
			if s.Namespace == o.Namespace && s.headless() {
				known = append(known, s.Name.Value)
			}
		}
		t.warn(o, path, "unknown-name", fmt.Sprintf("%s: no Service is called %s", path, quoted(name)), effect, didYouMean(name, "headless Services", known))
		return
	}
	s := t.services[i]
	missing := ""
	for k, v := range s.spec.Selector {
		if labels[k] != v {
			missing = k + "=" + v
		}
	}
	switch {
	case !s.headless():
		t.warn(o, path, "not-headless", fmt.Sprintf("%s: Service %s has a cluster IP; only a headless Service gives its pods names of their own", path, name), effect+" but those of the Service", "write clusterIP: None in Service "+name)
	case missing != "":
		t.warn(o, path, "not-selected", fmt.Sprintf("%s: Service %s selects %s, which the pods do not have", path, name, missing), effect, "")
	}
}

// namespaces notes namespaces that nothing makes, if there are manifests that make
// others: kubectl apply would fail.
func (t *linter) namespaces() {
	made := []string{corev1.NamespaceDefault, "kube-system", "kube-public", "kube-node-lease"}
	any := false
	for _, o := range t.sc.Objects {
		if o.Kind == "Namespace" {
			made, any = append(made, o.Name.Value), true
		}
	}
	for _, o := range t.sc.Objects {
		if o.Namespace == "" || slices.Contains(made, o.Namespace) {
			continue
		}
		sev := Note
		if any {
			sev = Warning // others are made: this one was forgotten, or misspelt
		}
		t.find(sev, o, "metadata.namespace", "undeclared-namespace", fmt.Sprintf("no manifest makes the namespace %s", o.Namespace),
			fmt.Sprintf("kubectl: Error from server (NotFound): error when creating %q: namespaces %q not found, unless it exists already", o.Pos.File, o.Namespace),
			didYouMean(o.Namespace, "made here", made[4:]))
		made = append(made, o.Namespace)
	}
}
