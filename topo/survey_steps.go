package topo

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/emu"
)

// maxSurvey bounds the requests of a survey.
const maxSurvey = 1000

// surveyor writes the steps of a survey, once the lab stands: only then cluster IPs
// and node ports are known that nobody has written.
type surveyor struct {
	sc    *Scenario
	lab   *emu.Lab
	steps []Step
}

// surveySteps asks for everything that the manifests declare.
func (sc *Scenario) surveySteps(lab *emu.Lab) []Step {
	s := &surveyor{sc: sc, lab: lab}
	sc.unasked = 0
	for _, p := range sc.Pods {
		if p.Namespace != surveyNamespace {
			s.pod(p)
		}
	}
	for _, o := range sc.Objects {
		if svc, ok := o.Object.(*corev1.Service); ok && !emu.Standalone(lab.Config().Design) {
			s.service(o, lab.Service(svc.Namespace, svc.Name))
		}
	}
	return s.steps
}

// asker is the pod that asks on a node.
func (s *surveyor) asker(node string) Ref {
	return Ref{Kind: RefPod, Namespace: surveyNamespace, Name: "on-" + node, Text: "a pod on " + node}
}

func (s *surveyor) outside() Ref { return Ref{Kind: RefHost, Name: surveyOutside, Text: surveyOutside} }

// askers are the nodes with a pod that asks.
func (s *surveyor) askers() []Node {
	nodes := s.sc.Cluster.Nodes
	return nodes[:min(len(nodes), surveyPods)]
}

// pod asks a pod on each of its ports, from another node, and its node on each port
// that it publishes there.
func (s *surveyor) pod(p *Pod) {
	want := Expect{Body: Field[string]{p.Name.Value, p.Name.Pos}}
	to := Ref{Kind: RefPod, Namespace: p.Namespace, Name: p.Name.Value, Text: p.Key()}
	standalone := emu.Standalone(s.lab.Config().Design)
	from := s.outside()
	for _, n := range s.askers() {
		if !standalone && (from.Kind == RefHost || n.Name.Value != p.Node.Value) {
			from = s.asker(n.Name.Value)
		}
	}
	said := map[string]bool{}
	for _, c := range p.Containers {
		for _, port := range c.Ports {
			key := fmt.Sprintf("%d/%s", port.Number.Value, port.Protocol)
			title := fmt.Sprintf("pod %s on %s, port %s", strings.TrimPrefix(p.Key(), "default/"), p.Node.Value, key)
			if to.Port = port.Number.Value; !said[key] && !standalone { // the pods of plain hosts have no way to each other
				s.ask(title, port.Number.Pos, port.Protocol, from, to, want, p.Annotations)
			}
			said[key] = true
			if port.HostPort.IsSet() {
				node := Ref{Kind: RefNode, Name: p.Node.Value, Text: p.Node.Value, Port: port.HostPort.Value}
				s.ask(fmt.Sprintf("pod %s, hostPort %d of %s", strings.TrimPrefix(p.Key(), "default/"), port.HostPort.Value, p.Node.Value),
					port.HostPort.Pos, port.Protocol, s.outside(), node, want, p.Annotations)
			}
		}
	}
}

// service asks a Service at everything that leads to it.
func (s *surveyor) service(o *Object, svc *corev1.Service) {
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		s.name(o, svc, "CNAME", []string{svc.Spec.ExternalName})
		return
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		s.headless(o, svc)
		return
	}
	for i := range svc.Spec.Ports {
		for _, n := range s.askers() {
			s.clusterIP(o, svc, i, n.Name.Value)
		}
		for _, n := range s.sc.Cluster.Nodes {
			s.external(o, svc, i, n.Name.Value)
		}
		s.hairpin(o, svc, i)
	}
	s.healthChecks(o, svc)
}

// on is what a node does with a port of a Service.
func (s *surveyor) on(node string, svc *corev1.Service, i int) emu.NodeEndpoints {
	list := s.lab.Endpoints(s.lab.Node(node), svc.Namespace, svc.Name)
	return list[min(i, len(list)-1)]
}

func (s *surveyor) portPos(o *Object, i int, field string) Pos {
	pos, _ := o.Position(fmt.Sprintf("spec.ports[%d].%s", i, field))
	return pos
}

// serviceWord is how titles call a port of a Service.
func serviceWord(svc *corev1.Service, p corev1.ServicePort) string {
	return fmt.Sprintf("Service %s:%d", strings.TrimPrefix(svc.Namespace+"/"+svc.Name, "default/"), p.Port)
}

// clusterIP asks for a Service by its name, from a pod.
func (s *surveyor) clusterIP(o *Object, svc *corev1.Service, i int, node string) {
	p, on := svc.Spec.Ports[i], s.on(node, svc, i)
	to := Ref{Kind: RefService, Namespace: svc.Namespace, Name: svc.Name, Text: svc.Name + "." + svc.Namespace, Port: int(p.Port)}
	title := fmt.Sprintf("%s, from a pod on %s", serviceWord(svc, p), node)
	var want Expect
	if len(on.Internal) == 0 && on.DropsInternal {
		title += ", which has no endpoint of its own: internalTrafficPolicy Local drops"
		want.Error = Field[string]{"timeout", s.portPos(o, i, "port")}
	}
	s.ask(title, s.portPos(o, i, "port"), string(p.Protocol), s.asker(node), to, want, svc.Annotations)
}

// external asks a node for a Service from outside, at its node port; and, by way of
// the first node alone, at the addresses that lead to the cluster.
func (s *surveyor) external(o *Object, svc *corev1.Service, i int, node string) {
	p, on := svc.Spec.Ports[i], s.on(node, svc, i)
	var want Expect
	why := ""
	if len(on.External) == 0 && on.DropsExternal {
		why = ", which has no endpoint of its own: externalTrafficPolicy Local drops"
		want.Error = Field[string]{"timeout", s.portPos(o, i, "nodePort")}
	}
	if p.NodePort != 0 {
		to := Ref{Kind: RefNode, Name: node, Text: node, Port: int(p.NodePort)}
		s.ask(fmt.Sprintf("%s, nodePort %d of %s, from outside%s", serviceWord(svc, p), p.NodePort, node, why), s.portPos(o, i, "nodePort"), string(p.Protocol), s.outside(), to, want, svc.Annotations)
	}
	if node != s.sc.Cluster.Nodes[0].Name.Value {
		return
	}
	for _, text := range svc.Spec.ExternalIPs {
		s.address(o, svc, i, "external IP "+text+" by way of "+node+why, text, want)
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		s.address(o, svc, i, "load balancer "+in.IP, in.IP, Expect{}) // announced by a node that has an endpoint
	}
}

// address asks for a Service at an address from outside.
func (s *surveyor) address(o *Object, svc *corev1.Service, i int, what, text string, want Expect) {
	p := svc.Spec.Ports[i]
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		to := Ref{Kind: RefIP, Addr: a, Text: text, Name: text, Port: int(p.Port)}
		s.ask(fmt.Sprintf("%s, %s, from outside", serviceWord(svc, p), what), s.portPos(o, i, "port"), string(p.Protocol), s.outside(), to, want, svc.Annotations)
	}
}

// hairpin has the only endpoint of a Service ask for itself.
func (s *surveyor) hairpin(o *Object, svc *corev1.Service, i int) {
	p := svc.Spec.Ports[i]
	ready := slices.DeleteFunc(s.on(s.sc.Cluster.Nodes[0].Name.Value, svc, i).Endpoints, func(e emu.Endpoint) bool { return !e.Ready })
	if len(ready) != 1 || ready[0].Pod.Name == "" {
		return
	}
	pod := ready[0].Pod
	from := Ref{Kind: RefPod, Namespace: pod.Namespace, Name: pod.Name, Text: pod.Name}
	to := Ref{Kind: RefService, Namespace: svc.Namespace, Name: svc.Name, Text: svc.Name + "." + svc.Namespace, Port: int(p.Port)}
	s.ask(fmt.Sprintf("%s, from its own endpoint %s (hairpin)", serviceWord(svc, p), pod.Name), s.portPos(o, i, "port"), string(p.Protocol), from, to, Expect{}, svc.Annotations)
}

// headless looks a headless Service up: its name is the addresses of its ready
// endpoints. The endpoints have been asked, as pods.
func (s *surveyor) headless(o *Object, svc *corev1.Service) {
	var want []string
	for _, port := range s.lab.Endpoints(s.lab.Nodes()[0], svc.Namespace, svc.Name) {
		for _, e := range port.Endpoints {
			if a := e.Addr.Addr().String(); e.Ready && !slices.Contains(want, a) {
				want = append(want, a)
			}
		}
	}
	if len(want) == 0 && expectedError(svc.Annotations) != "" {
		want = []string{"NXDOMAIN"}
	}
	s.name(o, svc, "A", want)
	for i := range svc.Spec.Ports {
		s.endpointNames(o, svc, i)
	}
}

// endpointNames asks each endpoint of a headless Service by its own name, as peers
// in a StatefulSet do.
func (s *surveyor) endpointNames(o *Object, svc *corev1.Service, i int) {
	p := svc.Spec.Ports[i]
	for _, e := range s.on(s.sc.Cluster.Nodes[0].Name.Value, svc, i).Endpoints {
		if !e.Ready || e.Hostname == "" {
			continue
		}
		name := e.Hostname + "." + svc.Name
		to := Ref{Kind: RefService, Namespace: svc.Namespace, Name: name, Text: name + "." + svc.Namespace, Port: int(e.Addr.Port())}
		s.ask(fmt.Sprintf("endpoint %s:%d, by its name", name, e.Addr.Port()), s.portPos(o, i, "port"), cmp.Or(string(p.Protocol), "TCP"),
			s.asker(s.askers()[0].Name.Value), to, Expect{}, svc.Annotations)
	}
}

// name looks a Service up in DNS.
func (s *surveyor) name(o *Object, svc *corev1.Service, qtype string, want []string) {
	if !s.lab.DNS().IsValid() {
		return
	}
	for i := range want {
		if _, err := netip.ParseAddr(want[i]); err != nil && want[i] != "NXDOMAIN" {
			want[i] = strings.TrimSuffix(want[i], ".") + "."
		}
	}
	if len(want) == 0 {
		want = []string{"an endpoint"} // whatever comes back is wrong: there should be one
	}
	pos, _ := o.Position("metadata.name")
	name := svc.Name + "." + svc.Namespace
	k := &Lookup{
		From: s.asker(s.askers()[0].Name.Value), Name: Field[string]{name, pos}, Type: Field[string]{qtype, pos}, Expect: Field[[]string]{want, pos}, Count: Field[int]{Value: 1},
	}
	s.add(Step{Pos: pos, Name: Field[string]{Value: fmt.Sprintf("Service %s, its name in DNS", strings.TrimPrefix(svc.Namespace+"/"+svc.Name, "default/"))}, Action: k})
}

// healthChecks asks every node whether it has an endpoint, as a load balancer does.
func (s *surveyor) healthChecks(o *Object, svc *corev1.Service) {
	port := int(svc.Spec.HealthCheckNodePort)
	if port == 0 {
		return
	}
	pos, _ := o.Position("spec.healthCheckNodePort")
	for _, n := range s.sc.Cluster.Nodes {
		want := Expect{Status: Field[int]{503, pos}}
		for i := range svc.Spec.Ports {
			on := s.on(n.Name.Value, svc, i)
			if slices.ContainsFunc(on.Endpoints, func(e emu.Endpoint) bool { return e.Ready && e.Node == n.Name.Value }) {
				want.Status.Value = 200
			}
		}
		to := Ref{Kind: RefNode, Name: n.Name.Value, Text: n.Name.Value, Port: port}
		s.ask(fmt.Sprintf("Service %s, healthCheckNodePort %d of %s", svc.Name, port, n.Name.Value), pos, "TCP", s.outside(), to, want, nil)
	}
}

// expectedError is the error that an annotation says a request ends in.
func expectedError(annotations map[string]string) string {
	if w := annotations[AnnotationExpect]; slices.Contains(StepErrors, w) {
		return w
	}
	return ""
}

// ask adds one request: HTTP over TCP, an echo over UDP.
func (s *surveyor) ask(title string, pos Pos, proto string, from, to Ref, want Expect, annotations map[string]string) {
	if w := expectedError(annotations); w != "" && !want.Error.IsSet() {
		want = Expect{Error: Field[string]{w, pos}}
	}
	step := Step{Pos: pos, Name: Field[string]{Value: title}, Expect: want}
	if proto == "UDP" {
		step.Expect.Body, step.Expect.Status = Field[string]{}, Field[int]{}
		step.UDP = &Exchange{From: from, To: to, Send: Field[string]{"hello", pos}, Count: Field[int]{Value: 1}}
		if !want.Error.IsSet() {
			step.UDP.Expect = Field[string]{"hello", pos}
		}
		s.add(step)
		return
	}
	path := "/hostname"
	if want.Status.IsSet() {
		path = "/"
	}
	if !want.Error.IsSet() && !want.Status.IsSet() {
		step.Expect.Status = Field[int]{200, pos}
	}
	host := net.JoinHostPort(to.Text, strconv.Itoa(to.Port))
	if strings.Contains(to.Text, "/") {
		host = net.JoinHostPort(to.Name, strconv.Itoa(to.Port))
	}
	step.HTTP = &HTTP{From: from, URL: Field[string]{"http://" + host + path, pos}, Host: to, Method: Field[string]{Value: "GET"}}
	s.add(step)
}

func (s *surveyor) add(step Step) {
	if len(s.steps) >= maxSurvey {
		s.sc.unasked++
		return
	}
	s.steps = append(s.steps, step)
}
