package topo

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// survey plays manifests that nobody has written steps for.
func survey(t *testing.T, sc *Scenario, diags Diagnostics) *Verdict {
	t.Helper()
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if !sc.Plain() {
		t.Fatal("not taken for manifests alone")
	}
	sc.Survey()
	return runScenario(t, sc)
}

// Every manifest among the examples loads, and every port that it declares answers,
// or fails as it says itself.
func TestExampleManifests(t *testing.T) {
	files, err := filepath.Glob("../examples/manifests/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d manifests, %v, want 25 or more", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			sc, diags := Load(f)
			v := survey(t, sc, diags)
			if want(t, v); len(v.Steps) == 0 {
				t.Error("nothing was asked")
			}
		})
	}
}

// names are the steps of a verdict with what became of each.
func stepNames(v *Verdict) string {
	var b strings.Builder
	for _, s := range v.Steps {
		b.WriteString(mark(s.Passed) + " " + s.Name + "\n")
	}
	return b.String()
}

// What a survey asks: everything, from where it is asked in life.
func TestSurveyAsksForEverything(t *testing.T) {
	sc, diags := Parse("web.yaml", []byte(`
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: node2
  containers: [{name: c, ports: [{containerPort: 8080, hostPort: 8888}, {name: dns, containerPort: 53, protocol: UDP}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 30001
  externalIPs: [192.168.56.77]
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: dns, port: 53, protocol: UDP}]}
`))
	v := survey(t, sc, diags)
	want := `ok pod web on node2, port 8080/TCP
ok pod web, hostPort 8888 of node2
ok pod web on node2, port 53/UDP
ok Service web:80, from a pod on node1
ok Service web:80, from a pod on node2
ok Service web:80, nodePort 30080 of node1, from outside, which has no endpoint of its own: externalTrafficPolicy Local drops
ok Service web:80, external IP 192.168.56.77 by way of node1, which has no endpoint of its own: externalTrafficPolicy Local drops, from outside
ok Service web:80, load balancer 192.168.56.240, from outside
ok Service web:80, nodePort 30080 of node2, from outside
ok Service web:80, from its own endpoint web (hairpin)
ok Service web, healthCheckNodePort 30001 of node1
ok Service web, healthCheckNodePort 30001 of node2
ok Service peers, its name in DNS
`
	if got := stepNames(v); got != want {
		var b bytes.Buffer
		v.WriteText(&b)
		t.Errorf("steps are\n%swant\n%s%s", got, want, b.String())
	}
}

// A mistake fails, where the manifest stands.
func TestSurveyFindsWhatDoesNotWork(t *testing.T) {
	sc, diags := Parse("web.yaml", []byte(`
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {clusterIP: None, selector: {app: wbe}}
---
apiVersion: v1
kind: Service
metadata: {name: meant, annotations: {podwire/expect: refused}}
spec: {clusterIP: None, selector: {app: wbe}}
`))
	v := survey(t, sc, diags)
	want := `ok pod web on node1, port 8080/TCP
FAIL Service web:80, from a pod on node1
FAIL Service web:80, from a pod on node2
FAIL Service web:80, from its own endpoint web (hairpin)
FAIL Service empty, its name in DNS
ok Service meant, its name in DNS
`
	if got := stepNames(v); got != want || v.Passed {
		t.Errorf("steps are\n%swant\n%s", got, want)
	}
	if s := v.Steps[1]; s.Error != "refused" || s.Pos.Line != 12 {
		t.Errorf("the Service ends in %q at %v, want refused at line 12", s.Error, s.Pos)
	}
}

// Plain docker has no Services; what its containers publish is asked.
func TestSurveyOfPlainHosts(t *testing.T) {
	sc, diags := Loader{Design: "docker-bridge"}.Parse("web.yaml", []byte(`
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, ports: [{containerPort: 8080, hostPort: 80}]}]}
`))
	v := survey(t, sc, diags)
	if got, want := stepNames(v), "ok pod web, hostPort 80 of node1\n"; got != want {
		t.Errorf("steps are\n%swant\n%s", got, want)
	}
}

// A scenario is played as it is written.
func TestScenarioIsNotPlain(t *testing.T) {
	if sc, _ := Parse("f.yaml", []byte("name: a\n"+svc("web", "ports: [{port: 80}]"))); sc.Plain() {
		t.Error("a scenario with a Service is taken for manifests alone")
	}
}
