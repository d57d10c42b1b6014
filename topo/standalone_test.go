package topo

import (
	"fmt"
	"strings"
	"testing"
)

// parsed reads a scenario and compares what is found wrong with it.
func parsed(t *testing.T, text, want string) *Scenario {
	t.Helper()
	sc, diags := Parse("f.yaml", []byte(text))
	var got []string
	for _, d := range diags {
		got = append(got, d.String())
	}
	if g, w := strings.Join(got, "\n"), strings.TrimSpace(want); g != w {
		t.Errorf("input\n%s\ngot\n%s\nwant\n%s", text, g, w)
	}
	return sc
}

// TestServiceWithoutKubernetes: a scenario for a cluster can be played on plain
// docker hosts; it says beforehand what is missing there.
func TestServiceWithoutKubernetes(t *testing.T) {
	parsed(t, `cluster: {design: docker-bridge, podCIDR: 10.0.0.0/8, nodes: [{name: a, podCIDR: 10.0.1.0/24}]}
pods: [{name: web, labels: {app: web}, ports: [80]}]
steps:
- http: {from: web, url: "http://svc/"}
  expect: {error: unknown-name}
---
apiVersion: v1
kind: Service
metadata: {name: svc}
spec: {selector: {app: web}, ports: [{port: 80}]}
`, `
f.yaml:1:43: warning: cluster.podCIDR is ignored: hosts of docker-bridge run no Kubernetes
f.yaml:1:82: warning: podCIDR of node a is ignored: hosts of docker-bridge run no Kubernetes
f.yaml:9:18: warning: Service "svc" is ignored: hosts of docker-bridge run no Kubernetes`)
	parsed(t, "pods: [{name: web, annotations: {podwire.io/network: back}}]\n",
		`f.yaml:1:15: warning: pod web: annotation podwire.io/network: "back" is ignored: flannel-vxlan has one pod network`)
}

// TestPodsOfOtherHosts: what cannot work is said before the run, and the run goes
// on to show why.
func TestPodsOfOtherHosts(t *testing.T) {
	parsed(t, `cluster: {design: docker-bridge}
pods: [{name: a, node: node1}, {name: b, node: node2}, {name: c, node: node1}]
steps:
- ping: {from: a, to: c}
- ping: {from: a, to: b}
- http: {from: b, url: "http://a/"}
- ping: {from: node1, to: b}
`, `
f.yaml:5:23: warning: steps[1]: pod a is on node1, pod b on node2: hosts of docker-bridge have no route to each other's pods; hint: publish a port of b (hostPort) and ask node2 for it
f.yaml:6:24: warning: steps[2]: pod b is on node2, pod a on node1: hosts of docker-bridge have no route to each other's pods; hint: publish a port of a (hostPort) and ask node1 for it`)
}

// TestPublishedPorts reads ports in docker's notation and in Kubernetes'.
func TestPublishedPorts(t *testing.T) {
	sc := parsed(t, `pods:
- name: a
  ports: [80, "8080:80", "127.0.0.1:53:5353/udp", {port: 81, hostPort: 8081, hostIP: 10.0.0.1}]
- {name: b, ports: ["8080:80"]}
- {name: c, ports: ["8080:81"]}
---
apiVersion: v1
kind: Pod
metadata: {name: d}
spec:
  containers: [{name: d, ports: [{containerPort: 80, hostPort: 90, hostIP: 10.0.0.2}]}]
`, `f.yaml:5:10: error: pod c: no node has the ports free that it publishes`)
	var got []string
	for _, p := range sc.Pods {
		for _, port := range p.Containers[0].Ports {
			got = append(got, fmt.Sprintf("%s@%s %v:%d:%d/%s", p.Name.Value, p.Node.Value, port.HostIP.Value, port.HostPort.Value, port.Number.Value, port.Protocol))
		}
	}
	want := `a@node1 invalid IP:0:80/TCP
a@node1 invalid IP:8080:80/TCP
a@node1 127.0.0.1:53:5353/UDP
a@node1 10.0.0.1:8081:81/TCP
b@node2 invalid IP:8080:80/TCP
c@node2 invalid IP:8080:81/TCP
d@node1 10.0.0.2:90:80/TCP`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s\nwant\n%s", g, want)
	}
	for _, bad := range []string{"a:80", "1:2:3:4", "0:80", "80:0", ":80", "10.0.0.1:80", "10.0.0.1:8080:80/icmp", "70000:80", "::1:80:80"} {
		parsed(t, fmt.Sprintf("pods: [{name: a, ports: [%q]}]\n", bad),
			fmt.Sprintf(`f.yaml:1:26: error: pods[0].ports[0]: found %q, want a port such as 80, 53/udp or 8080:80`, bad))
	}
	parsed(t, "pods: [{name: a, ports: [{port: 80, hostIP: 10.0.0.1}, {port: 81, hostPort: 0}]}]\n", `
f.yaml:1:45: error: pods[0].ports[0]: hostIP without hostPort, want both or none
f.yaml:1:77: error: pods[0].ports[1].hostPort: found "0", want a whole number from 1 to 65535`)
}
