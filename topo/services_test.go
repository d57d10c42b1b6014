package topo

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every example plays.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found examples %v, %v", files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			sc, diags := Load(f)
			if err := diags.Err(); err != nil {
				t.Fatal(err)
			}
			want(t, runScenario(t, sc))
		})
	}
}

// madePods are the names, nodes and owners of a scenario's pods.
func madePods(sc *Scenario) []string {
	var list []string
	for _, p := range sc.Pods {
		list = append(list, p.Name.Value+" on "+p.Node.Value+" of "+p.Owner)
	}
	return list
}

const podTemplate = `
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
`

func TestWorkloadsMakePods(t *testing.T) {
	sc, diags := Parse("f.yaml", []byte(`
cluster: {nodes: [{name: a}, {name: b, labels: {disk: ssd}}, {name: c}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db-svc
  replicas: 2`+podTemplate+`
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:`+podTemplate+`
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: disk}
spec:`+strings.ReplaceAll(podTemplate, "spec: {containers", "spec: {nodeSelector: {disk: ssd}, containers")+`
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: rs}
spec:`+podTemplate))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	got := madePods(sc)
	wantNames := []string{"db-0 on a of StatefulSet/db", "db-1 on c of StatefulSet/db", "agent- on a", "agent- on b", "agent- on c", "disk- on b", "rs-"}
	ok := len(got) == len(wantNames)
	for i := range got {
		name, node, _ := strings.Cut(got[i], " on ")
		want, wantNode, _ := strings.Cut(wantNames[min(i, len(wantNames)-1)], " on ")
		ok = ok && strings.HasPrefix(name, want) && (wantNode == "" || strings.HasPrefix(node, wantNode))
	}
	if !ok {
		t.Errorf("pods %q, want %q", got, wantNames)
	}
	if p := sc.Pods[1]; p.Hostname != "db-1" || p.Subdomain != "db-svc" || p.Labels["statefulset.kubernetes.io/pod-name"] != "db-1" {
		t.Errorf("pod of a StatefulSet: hostname %q, subdomain %q, labels %v", p.Hostname, p.Subdomain, p.Labels)
	}
	var spread []string
	for _, p := range sc.Pods {
		spread = append(spread, p.Node.Value)
	}
	if slices.Contains(spread, "") {
		t.Errorf("pods without a node: %q", spread)
	}
}

func TestWorkloadsAreNamedInSteps(t *testing.T) {
	sc, diags := Parse("f.yaml", []byte(`
cluster: {nodes: 2}
steps:
- ping: {from: statefulset/db, to: ds/agent}
- ping: {from: db-1, to: db}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2`+podTemplate+`
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:`+podTemplate))
	if len(diags) != 1 || !strings.Contains(diags[0].String(), `unknown name "db"`) || !strings.Contains(diags[0].String(), "write statefulset/db for its first pod") {
		t.Errorf("diagnostics %v, want one about db with a hint", diags)
	}
	if s := sc.Steps[0].Ping; s.From.Name != "db-0" || !strings.HasPrefix(s.To.Name, "agent-") {
		t.Errorf("ping %+v -> %+v, want the first pods", s.From, s.To)
	}
}

func TestServiceSettingsOfTheCluster(t *testing.T) {
	sc, diags := Parse("f.yaml", []byte("cluster: {dns: true, proxySyncDelay: 2s, loadBalancers: 192.168.56.240/28}\n"))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	c := sc.Cluster
	if !c.DNS.Value || c.ProxySyncDelay.Value.String() != "2s" || c.LoadBalancers.Value.String() != "192.168.56.240/28" {
		t.Errorf("read as dns %v, proxySyncDelay %v, loadBalancers %v", c.DNS, c.ProxySyncDelay, c.LoadBalancers)
	}
}

// With DNS names are asked for as they are written, relative to the pod's
// namespace; without, they are known.
func TestNamesWithAndWithoutDNS(t *testing.T) {
	for _, dns := range []string{"false", "true"} {
		want(t, runText(t, strings.Replace(world, "nodes: 2", "nodes: 2, dns: "+dns, 1)+`
- http: {from: client, url: "http://web-svc:8080/hostname"}
  expect: {status: 200, body: web}
- http: {from: client, url: "http://web-svc.default.svc.cluster.local:8080/hostname"}
  expect: {status: 200, body: web}
- http: {from: client, url: "http://web/hostname"}
  expect: {status: 200, body: web}
- udp: {from: client, to: "default/dns-svc:53", send: hello}
- udp: {from: laptop, to: "node1:9", send: x}
  expect: {error: refused}
`+services))
	}
}
