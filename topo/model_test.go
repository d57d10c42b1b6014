package topo

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// load parses text that must hold no mistake.
func mustParse(t *testing.T, text string) *Scenario {
	t.Helper()
	sc, diags := Parse("f.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatalf("input\n%s\ngot %v, want no error", text, err)
	}
	return sc
}

func TestQuickstartIsTheLabItDraws(t *testing.T) {
	sc, diags := Load("../examples/quickstart.yaml")
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range sc.Cluster.Nodes {
		got = append(got, fmt.Sprint(n.Name.Value, " ", n.Address.Value, " ", n.PodCIDR.Value))
	}
	for _, h := range sc.Hosts {
		got = append(got, fmt.Sprint(h.Name.Value, " ", h.Address.Value))
	}
	for _, p := range sc.Pods {
		got = append(got, fmt.Sprint(p.Name.Value, " on ", p.Node.Value, " ", len(p.Containers)))
	}
	for _, s := range sc.Steps {
		got = append(got, s.Verb())
	}
	want := []string{
		"node1 192.168.56.11 10.244.1.0/24", "node2 192.168.56.12 10.244.2.0/24", "laptop 192.168.56.13",
		"web on node2 1", "client on node1 1", "neighbour on node2 1", "pair on node2 2",
		"ping", "ping", "http", "http", "http", "http", "http",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	svc := Objects[*corev1.Service](sc)[0]
	if p := svc.Spec.Ports[0]; p.Port != 30080 || p.TargetPort.IntVal != 80 || p.NodePort != 30001 {
		t.Errorf("got ports %+v, want 30080, 80, 30001", p)
	}
	if h := sc.Steps[3].HTTP; h.Host.Kind != RefService || h.Host.Name != "nginx-service" || h.Host.Port != 30080 {
		t.Errorf("step 3: got host %+v, want Service nginx-service port 30080", h.Host)
	}
	if h := sc.Steps[4].HTTP; h.From.Kind != RefHost || h.Host.Kind != RefNode || h.Host.Port != 30001 {
		t.Errorf("step 4: got from %+v to %+v, want host to node port 30001", h.From, h.Host)
	}
	if from := sc.Steps[6].HTTP.From; from.Kind != RefPod || from.Name != "pair" || from.Container != "sidecar" {
		t.Errorf("step 6: got from %+v, want container sidecar of pod pair", from)
	}
}

func TestDefaultsAreThoseOfTheReferenceLab(t *testing.T) {
	sc := mustParse(t, "hosts: [{name: laptop}]\n")
	if got := sc.Cluster.Design.Value; got != "flannel-vxlan" {
		t.Errorf("got design %q, want flannel-vxlan", got)
	}
	for i, want := range []string{"node1 192.168.56.11 10.244.1.0/24", "node2 192.168.56.12 10.244.2.0/24"} {
		n := sc.Cluster.Nodes[i]
		if got := fmt.Sprint(n.Name.Value, " ", n.Address.Value, " ", n.PodCIDR.Value); got != want {
			t.Errorf("node %d: got %s, want %s", i, got, want)
		}
		if n.Address.IsSet() || n.PodCIDR.IsSet() {
			t.Errorf("node %d: a default claims to have been written", i)
		}
	}
	if got, want := sc.Hosts[0].Address.Value, netip.MustParseAddr("192.168.56.13"); got != want {
		t.Errorf("got laptop %v, want %v", got, want)
	}
}

func TestAddressesThatAreTakenAreSkipped(t *testing.T) {
	sc := mustParse(t, "cluster: {nodes: [{name: a}, {name: b, address: 192.168.56.11, podCIDR: 10.244.1.0/24}, {name: c}]}\n")
	for i, want := range []string{"192.168.56.12 10.244.2.0/24", "192.168.56.11 10.244.1.0/24", "192.168.56.13 10.244.3.0/24"} {
		n := sc.Cluster.Nodes[i]
		if got := fmt.Sprint(n.Address.Value, " ", n.PodCIDR.Value); got != want {
			t.Errorf("node %d: got %s, want %s", i, got, want)
		}
	}
}

func TestEveryRangeOfTheClusterIsUsedBeforeItRunsOut(t *testing.T) {
	sc := mustParse(t, "cluster: {nodes: 256}\nunderlay: {subnet: 172.16.0.0/16}\n")
	seen := map[netip.Prefix]bool{}
	for _, n := range sc.Cluster.Nodes {
		if !n.PodCIDR.Value.IsValid() || seen[n.PodCIDR.Value] {
			t.Fatalf("node %s: got podCIDR %v, want one of its own", n.Name.Value, n.PodCIDR.Value)
		}
		seen[n.PodCIDR.Value] = true
	}
	if got := sc.Cluster.Nodes[255].PodCIDR.Value.String(); got != "10.244.0.0/24" {
		t.Errorf("last node: got %s, want 10.244.0.0/24", got)
	}
}

func TestStepsKeepWhatWasWritten(t *testing.T) {
	sc := mustParse(t, `pods: [{name: a, ports: [80]}, {name: b}]
steps:
- ping: {from: a, to: 10.0.0.1, count: 3, size: 1472, interval: 10ms, df: false}
  at: 3s
  name: far
- http: {from: node/node1, url: "http://a:8080/x?y", method: POST, header: {x-a: b}, body: hi}
  expect: {status: 201, body: ok, within: 5ms, exactly: 3ms, seenSource: node1}
- tcp: {from: b, to: "a:80", send: x, expect: y}
- udp: {from: b, to: "[::1]:53", count: 2}
- sleep: 1.5s
- down: {link: node2}
- up: {node: node1}
capture: [node1/*, all]
`)
	s := sc.Steps
	if p := s[0].Ping; p.Count.Value != 3 || p.Size.Value != 1472 || p.Interval.Value != 10*time.Millisecond || p.DF.Value || !p.DF.IsSet() ||
		p.To.Addr != netip.MustParseAddr("10.0.0.1") || s[0].At.Value != 3*time.Second || s[0].Name.Value != "far" {
		t.Errorf("ping: got %+v, %+v", s[0], p)
	}
	h := s[1].HTTP
	if h.From.Kind != RefNode || h.From.Name != "node1" || h.Method.Value != "POST" || h.Header["X-A"][0] != "b" || h.Host.Port != 8080 || h.Body.Value != "hi" {
		t.Errorf("http: got %+v", h)
	}
	if e := s[1].Expect; e.Status.Value != 201 || e.Body.Value != "ok" || e.Within.Value != 5*time.Millisecond || e.Exactly.Value != 3*time.Millisecond || e.SourceIP.Kind != RefNode {
		t.Errorf("expect: got %+v", e)
	}
	if x := s[2].TCP; x.To.Kind != RefPod || x.To.Port != 80 || x.Send.Value != "x" || x.Expect.Value != "y" {
		t.Errorf("tcp: got %+v", x)
	}
	if x := s[3].UDP; x.To.Addr != netip.MustParseAddr("::1") || x.To.Port != 53 || x.Count.Value != 2 {
		t.Errorf("udp: got %+v", x)
	}
	if s[4].Sleep.Value != 1500*time.Millisecond || s[5].Action.(*Fault).Link.Kind != RefNode || s[6].Action.(*Fault).Node.Name != "node1" || s[5].Verb() != "down" || s[6].Verb() != "up" {
		t.Errorf("got sleep %v, down %+v, up %+v", s[4].Sleep, s[5].Action, s[6].Action)
	}
	if len(sc.Capture) != 2 || sc.Capture[1].Value != "all" {
		t.Errorf("capture: got %v", sc.Capture)
	}
	if got := s[1].Expect.Status.Pos; got != (Pos{"f.yaml", 7, 20}) {
		t.Errorf("got position %v, want f.yaml:7:20", got)
	}
}

func TestNamesAreFoundInEveryForm(t *testing.T) {
	const head = "pods: [{name: web, namespace: team, ports: [80], labels: {a: b}}, {name: here}]\nsteps: [{tcp: {from: here, to: '%s:80'}}]\n---\n" +
		"apiVersion: v1\nkind: Service\nmetadata: {name: svc, namespace: team}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n---\n" +
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: dep}\nspec:\n  selector: {matchLabels: {d: e}}\n  template: {metadata: {labels: {d: e}}, spec: {containers: [{name: c}]}}\n"
	cases := []struct {
		text string
		kind RefKind
		name string
	}{
		{"team/web", RefPod, "web"}, {"pod/team/web", RefPod, "web"}, {"pod/here", RefPod, "here"}, {"here:here", RefPod, "here"},
		{"team/svc", RefService, "svc"}, {"svc/team/svc", RefService, "svc"}, {"svc.team", RefService, "svc"},
		{"svc.team.svc", RefService, "svc"}, {"svc.team.svc.cluster.local", RefService, "svc"}, {"svc.team.svc.cluster.local.", RefService, "svc"},
		{"node2", RefNode, "node2"}, {"node/node2", RefNode, "node2"},
	}
	for _, c := range cases {
		sc := mustParse(t, fmt.Sprintf(head, c.text))
		if to := sc.Steps[0].TCP.To; to.Kind != c.kind || to.Name != c.name || to.Port != 80 {
			t.Errorf("%s: got %+v, want kind %d name %s", c.text, to, c.kind, c.name)
		}
	}
	sc := mustParse(t, fmt.Sprintf(head, "deployment/dep"))
	if to := sc.Steps[0].TCP.To; to.Kind != RefPod || !strings.HasPrefix(to.Name, "dep-") {
		t.Errorf("deployment/dep: got %+v, want its first pod", to)
	}
}

const deployment = `cluster: {nodes: 3}
seed: %d
pods: [{name: a, node: node1}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 5
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, ports: [{containerPort: 80, name: http}]}]}
`

func podNames(sc *Scenario) (names, nodes []string) {
	for _, p := range sc.Pods {
		names, nodes = append(names, p.Name.Value), append(nodes, p.Node.Value)
	}
	return names, nodes
}

func TestDeploymentPodsAreNamedAndSpreadTheSameEveryTime(t *testing.T) {
	text := fmt.Sprintf(deployment, 7)
	names, nodes := podNames(mustParse(t, text))
	again, _ := podNames(mustParse(t, text))
	if !reflect.DeepEqual(names, again) {
		t.Errorf("same seed: got %q then %q", names, again)
	}
	other, _ := podNames(mustParse(t, fmt.Sprintf(deployment, 8)))
	if reflect.DeepEqual(names, other) {
		t.Errorf("other seed: got %q both times", names)
	}
	if want := []string{"node1", "node2", "node3", "node1", "node2", "node3"}; !reflect.DeepEqual(nodes, want) {
		t.Errorf("got nodes %q, want %q: fewest pods first", nodes, want)
	}
	seen := map[string]bool{}
	for _, n := range names[1:] {
		parts := strings.Split(n, "-")
		if len(parts) != 3 || parts[0] != "web" || len(parts[1]) != 10 || len(parts[2]) != 5 || seen[n] {
			t.Errorf("got pod name %q, want web-<10>-<5>, once", n)
		}
		seen[n] = true
	}
	p := mustParse(t, text).Pods[1]
	if p.Owner != "Deployment/web" || p.Labels["app"] != "web" || p.Labels["pod-template-hash"] == "" ||
		p.Containers[0].Ports[0].Number != (Field[int]{80, Pos{"f.yaml", 13, 59}}) {
		t.Errorf("got pod %+v", p)
	}
}

func TestPositionFindsEveryPath(t *testing.T) {
	sc := mustParse(t, `apiVersion: v1
kind: Service
metadata:
  name: web
  annotations:
    example.com/a.b: x
spec:
  selector: {app: web}
  ports:
  - port: 80
    name: a
  - {port: 81, name: b}
  externalName:
`)
	cases := []struct {
		path      string
		line, col int
		exact     bool
	}{
		{"spec.ports[0].port", 10, 11, true},
		{"spec.ports[1].name", 12, 22, true},
		{"spec.ports[1]", 12, 5, true},
		{"spec.ports", 9, 3, true},
		{"spec", 7, 1, true},
		{"", 1, 1, true},
		{"metadata.annotations[example.com/a.b]", 6, 22, true},
		{"spec.selector[app]", 8, 19, true},
		{"spec.externalName", 13, 3, true},
		{"spec.ports[0].nodePort", 10, 5, false}, // its item
		{"spec.ports[7].port", 9, 3, false},
		{"spec.type", 7, 1, false},
		{"spec.ports[0", 10, 5, true}, // a path cut short must not panic
		{"...", 1, 1, false},
		{"[", 1, 1, false},
	}
	for _, c := range cases {
		pos, exact := sc.Objects[0].Position(c.path)
		if pos != (Pos{"f.yaml", c.line, c.col}) || exact != c.exact {
			t.Errorf("Position(%q): got %v %t, want %d:%d %t", c.path, pos, exact, c.line, c.col, c.exact)
		}
	}
}

func TestValidatorsSpeakAtTheRightPlace(t *testing.T) {
	ld := Loader{Validators: map[string]Validator{"Service": func(obj runtime.Object) field.ErrorList {
		spec := field.NewPath("spec")
		svc := obj.(*corev1.Service)
		return field.ErrorList{
			field.Invalid(spec.Child("ports").Index(0).Child("nodePort"), svc.Spec.Ports[0].NodePort, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
			field.Required(spec.Child("ports").Index(1).Child("name"), ""),
			field.Invalid(spec.Child("type"), "x", "said by the decoder already"),
		}
	}}}
	_, diags := ld.Parse("f.yaml", []byte(svcHead+"  type: x\n  ports:\n  - {port: 80, nodePort: 80}\n  - port: 81\n"))
	var got []string
	for _, d := range diags {
		got = append(got, d.String())
	}
	want := []string{
		`f.yaml:6:9: error: spec.type: Unsupported value: "x": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"; hint: supported: ClusterIP, ExternalName, LoadBalancer, NodePort`,
		`f.yaml:8:26: error: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`,
		`f.yaml:9:5: error: spec.ports[1].name: Required value`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if want := `API server: Service "web" is invalid: spec.ports[1].name: Required value`; diags[2].Effect != want {
		t.Errorf("got effect %q, want %q", diags[2].Effect, want)
	}
}

func TestAliasesAndMergeKeysMeanWhatTheyStandFor(t *testing.T) {
	sc := mustParse(t, "pods:\n- &p {name: a, labels: &l {app: x}, ports: [80]}\n- {<<: *p, name: b}\n- {name: c, labels: *l}\n")
	if len(sc.Pods) != 3 || sc.Pods[1].Name.Value != "b" || sc.Pods[1].Labels["app"] != "x" || len(sc.Pods[1].Containers[0].Ports) != 1 || sc.Pods[2].Labels["app"] != "x" {
		t.Errorf("got %+v %+v %+v", *sc.Pods[0], *sc.Pods[1], *sc.Pods[2])
	}
}

func TestNodeObjectsMakeTheCluster(t *testing.T) {
	sc := mustParse(t, "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {disk: ssd}}\nspec: {podCIDR: 10.244.9.0/24}\nstatus: {addresses: [{type: InternalIP, address: 192.168.56.77}]}\n---\n"+
		"apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeSelector: {kubernetes.io/hostname: n2}, containers: [{name: c}]}\n---\n"+
		"apiVersion: v1\nkind: Pod\nmetadata: {name: q}\nspec: {nodeSelector: {disk: ssd}, containers: [{name: c}]}\n")
	n := sc.Cluster.Nodes
	if len(n) != 2 || n[0].Address.Value.String() != "192.168.56.77" || n[0].PodCIDR.Value.String() != "10.244.9.0/24" || n[1].Address.Value.String() != "192.168.56.11" {
		t.Errorf("got %+v", n)
	}
	if sc.Pods[0].Node.Value != "n2" || sc.Pods[1].Node.Value != "n1" {
		t.Errorf("got pods on %s and %s, want n2 and n1", sc.Pods[0].Node.Value, sc.Pods[1].Node.Value)
	}
}
