package topo

import (
	"strings"
	"testing"
)

// svc is a Service manifest with this spec.
func svc(name, spec string) string {
	return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

// slice is an EndpointSlice of a Service.
func slice(of, rest string) string {
	return "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " + of + "-1, labels: {kubernetes.io/service-name: " + of + "}}\naddressType: IPv4\n" + rest
}

// webPod is a scenario with a pod on node2.
const webPod = "pods: [{name: web-0, node: node2, labels: {app: web, tier: front}, ports: [{name: http, port: 8080}]}]\n"

// lints are files of which every part is legal by itself; the exact one-line form
// of every finding.
var lints = []struct{ name, in, want string }{
	{"nothing to say", webPod + svc("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]"), ""},
	{"a Service without selector", webPod + svc("web", "ports: [{port: 80}]"),
		`f.yaml:5:18: warning: Service web has no selector, and no EndpointSlice is written for it; hint: give it a spec.selector, or an EndpointSlice labelled kubernetes.io/service-name: web; labels of pods: app=web,tier=front`},
	{"a selector with one label wrong", webPod + svc("web", "selector: {app: web, tier: back}, ports: [{port: 80}]"),
		`f.yaml:6:8: warning: Service web selects no declared pod: none in namespace default has the labels app=web,tier=back; hint: pod web-0 comes nearest: it has tier=front`},
	{"a pod that is not ready", strings.Replace(webPod, "ports", `annotations: {podwire/ready: "false"}, ports`, 1) + svc("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]"),
		`f.yaml:6:8: warning: Service web selects pod web-0 alone, which is not ready; hint: publishNotReadyAddresses: true takes them all the same`},
	{"not ready, published", strings.Replace(webPod, "ports", `annotations: {podwire/ready: "false"}, ports`, 1) + svc("web", "publishNotReadyAddresses: true, selector: {app: web}, ports: [{port: 80, targetPort: http}]"), ""},
	{"readiness misspelt", strings.Replace(webPod, "ports", `annotations: {podwire/ready: "no"}, ports`, 1),
		`f.yaml:1:15: error: annotation podwire/ready: found "no", want "true" or "false"`},
	{"the right port of the wrong protocol", webPod + svc("web", "selector: {app: web}, ports: [{port: 80, protocol: UDP, targetPort: http}]"),
		`f.yaml:6:76: warning: spec.ports[0].targetPort: no selected pod declares a UDP port named "http"; hint: the pods declare http, which is TCP: write protocol: TCP`},
	{"a port that one of two pods has", "pods: [{name: a, node: node1, labels: {app: web}, ports: [{name: http, port: 80}]}, {name: b, node: node2, labels: {app: web}, ports: [{name: web, port: 80}]}]\n" +
		svc("web", "selector: {app: web}, ports: [{port: 80, targetPort: http}]"),
		`f.yaml:6:61: warning: spec.ports[0].targetPort: 1 of 2 selected pods do not declare a TCP port named "http"; hint: without it: b`},

	{"a cluster IP twice", svc("a", "clusterIP: 10.96.0.20, ports: [{port: 80}]") + svc("b", "clusterIP: 10.96.0.20, ports: [{port: 81}]"),
		`f.yaml:10:19: error: clusterIP 10.96.0.20 belongs to Service a (f.yaml:5:19) already; hint: leave clusterIP out, and one is chosen`},
	{"the cluster IP of the API server", webPod + svc("a", "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 8080}]"),
		`f.yaml:6:19: error: clusterIP 10.96.0.1 belongs to default/kubernetes, the API server's Service already; hint: leave clusterIP out, and one is chosen`},
	{"the API server's Service by hand", webPod + svc("kubernetes", "clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 8080}]"), ``},
	{"the API server's Service and a slice of it", "cluster: {dns: true}\n" + webPod + svc("web", "selector: {app: web}, ports: [{port: 8080}]") + slice("kubernetes", "ports: [{name: https, port: 6443}]\nendpoints: [{addresses: [192.168.56.1]}]\n"), ``},
	{"the cluster IP of DNS", "cluster: {dns: true}\n" + webPod + svc("a", "clusterIP: 10.96.0.10, selector: {app: web}, ports: [{port: 8080}]"),
		`f.yaml:7:19: error: clusterIP 10.96.0.10 belongs to kube-dns of this cluster (dns: true) already; hint: leave clusterIP out, and one is chosen`},
	{"a cluster IP of a pod", svc("a", "clusterIP: 10.244.1.7, ports: [{port: 80}]"),
		`f.yaml:5:19: error: clusterIP 10.244.1.7 lies within the pod CIDR 10.244.0.0/16; hint: cluster IPs are those of 10.96.0.0/12`},
	{"a node port twice", svc("a", "type: NodePort, ports: [{port: 80, nodePort: 30080}]") + svc("b", "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 30080, ports: [{port: 81}]"),
		`f.yaml:10:79: error: spec.healthCheckNodePort: nodePort 30080 belongs to Service a (f.yaml:5:53) already; hint: a node port is one for the whole cluster; leave it out, and one is chosen`},
	{"one node port for two protocols", svc("a", "type: NodePort, ports: [{name: u, port: 53, protocol: UDP, nodePort: 30053}, {name: t, port: 53, nodePort: 30053}]"), ""},
	{"a hostPort that is a nodePort", "pods: [{name: a, node: node1, labels: {app: web}, ports: ['30080:80']}]\n" + svc("web", "type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]"),
		`f.yaml:1:59: warning: hostPort 30080 of pod a is the nodePort of Service web (f.yaml:6:75) too`},
	{"an external IP and port twice", svc("a", "externalIPs: [192.168.56.50], ports: [{port: 80}]") + svc("b", "externalIPs: [192.168.56.50], ports: [{port: 81, name: a}, {port: 80, name: b}]"),
		`f.yaml:10:22: warning: spec.externalIPs[0]: 192.168.56.50 port 80/TCP belongs to Service a (f.yaml:5:22) already`},
	{"an external IP of a pod, of a Service, of a host", "hosts: [{name: laptop, address: 192.168.56.40}]\n" + svc("a", "externalIPs: [10.244.1.1, 10.96.0.1, 192.168.56.40], ports: [{port: 80}]") + slice("a", "ports: [{port: 1, name: ''}]\nendpoints: [{addresses: [192.168.56.40]}]\n"), `
f.yaml:6:22: warning: spec.externalIPs[0]: 10.244.1.1 lies within the pod CIDR 10.244.0.0/16
f.yaml:6:34: warning: spec.externalIPs[1]: 10.96.0.1 lies within the service CIDR 10.96.0.0/12
f.yaml:6:45: warning: spec.externalIPs[2]: 192.168.56.40 is the address of laptop, outside the cluster`},
	{"a load balancer's address twice", "cluster: {loadBalancers: 192.168.56.240/28}\n" + webPod + svc("a", "type: LoadBalancer, loadBalancerIP: 192.168.56.241, selector: {app: web}, ports: [{port: 8080}]") +
		svc("b", "type: LoadBalancer, loadBalancerIP: 192.168.56.241, selector: {app: web}, ports: [{port: 8080}]"),
		`f.yaml:12:44: warning: spec.loadBalancerIP: 192.168.56.241 port 8080/TCP belongs to Service a (f.yaml:7:44) already`},

	{"Local, and a node without a pod", webPod + svc("web", "type: NodePort, externalTrafficPolicy: Local, internalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, targetPort: http}]"), `
f.yaml:6:47: warning: externalTrafficPolicy Local: node1 has no pod of Service web; hint: ask nodes that have one, run a pod on every node (DaemonSet), or use Cluster
f.yaml:6:77: note: internalTrafficPolicy Local: node1 has no pod of Service web; hint: run a pod on every node (DaemonSet), or use Cluster`},
	{"load balancers that nobody serves", webPod + svc("a", "type: LoadBalancer, selector: {app: web}, ports: [{port: 8080}]") + svc("b", "type: LoadBalancer, loadBalancerClass: example.com/lb, selector: {app: web}, ports: [{port: 8080}]"), `
f.yaml:6:14: warning: nothing gives Service a an address: the cluster has no load balancer; hint: cluster: {loadBalancers: 192.168.56.240/28}
f.yaml:11:47: warning: no controller of class "example.com/lb" gives out addresses here`},
	{"a headless Service with what only others have", webPod + svc("web", "clusterIP: None, sessionAffinity: ClientIP, internalTrafficPolicy: Local, trafficDistribution: PreferClose, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]"), `
f.yaml:6:42: warning: spec.sessionAffinity has no effect on a headless Service; hint: DNS shuffles the addresses; the client decides
f.yaml:6:75: warning: spec.internalTrafficPolicy has no effect on a headless Service
f.yaml:6:103: warning: spec.trafficDistribution has no effect on a headless Service
f.yaml:6:153: warning: port 80 of a headless Service is not translated to targetPort 8080; hint: write port: 8080`},
	{"ExternalName", webPod + svc("a", "type: ExternalName, externalName: 192.168.56.1, selector: {app: web}, ports: [{port: 80}]") + svc("b", "type: ExternalName, externalName: c.default.svc.cluster.local"), `
f.yaml:6:42: warning: spec.externalName: "192.168.56.1" is an address, and is taken for a name; hint: for an address write a Service without selector and an EndpointSlice
f.yaml:6:56: warning: spec.selector has no effect on a Service of type ExternalName: DNS answers with the name alone
f.yaml:6:78: note: spec.ports has no effect on a Service of type ExternalName: DNS answers with a CNAME
f.yaml:11:42: warning: spec.externalName: no Service of the cluster is called c.default; hint: did you mean "a.default"?`},
	{"SCTP", webPod + svc("a", "selector: {app: web}, ports: [{name: t, port: 8080}, {name: s, port: 8080, protocol: SCTP}]"), `
f.yaml:6:77: warning: spec.ports[1].targetPort: no selected pod declares SCTP port 8080; hint: the pods declare 8080, which is TCP: write protocol: TCP
f.yaml:6:93: error: spec.ports[1].protocol: SCTP is not emulated, want TCP or UDP`},

	{"a slice of nobody", webPod + svc("db", "ports: [{port: 5432}]") + slice("dbb", "ports: [{port: 5432}]\nendpoints: [{addresses: [192.168.56.1]}]\n"), `
f.yaml:5:18: warning: Service db has no selector, and no EndpointSlice is written for it; hint: give it a spec.selector, or an EndpointSlice labelled kubernetes.io/service-name: db; labels of pods: app=web,tier=front
f.yaml:10:62: warning: EndpointSlice dbb-1 is of Service "dbb", which is not declared in namespace default; hint: did you mean "db"?`},
	{"a slice whose ports are named otherwise", webPod + svc("db", "ports: [{name: pg, port: 5432}]") + slice("db", "ports: [{name: psql, port: 5432}]\nendpoints: [{addresses: [192.168.56.1, 192.168.56.2], nodeName: node3}, {addresses: [10.96.0.1]}]\n"), `
f.yaml:6:16: warning: spec.ports[0]: EndpointSlice db-1 has no port pg/TCP; hint: ports of the slice: psql/TCP
f.yaml:12:9: warning: ports[0]: Service db has no port psql/TCP; hint: ports of the Service: pg/TCP
f.yaml:13:40: note: endpoints[0].addresses[1]: only the first address of an endpoint is used; hint: write an endpoint for each
f.yaml:13:65: warning: endpoints[0].nodeName: no node is called "node3"; hint: did you mean "node1"?
f.yaml:13:86: warning: endpoints[1].addresses[0]: 10.96.0.1 lies within the service CIDR 10.96.0.0/12; hint: name the pods, or use type ExternalName`},
	{"a slice without a ready endpoint, and no ports", webPod + svc("db", "ports: [{port: 5432}]") + slice("db", "endpoints: [{addresses: [192.168.56.1], conditions: {ready: false}}]\n"), `
f.yaml:10:18: warning: EndpointSlice db-1 has no ports
f.yaml:12:1: warning: EndpointSlice db-1 has no endpoint that is ready`},
	{"a StatefulSet whose Service has a cluster IP", svc("db", "selector: {app: db}, ports: [{port: 80}]") + "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  selector: {matchLabels: {app: db}}\n  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}\n",
		`f.yaml:11:16: warning: spec.serviceName: Service db has a cluster IP; only a headless Service gives its pods names of their own; hint: write clusterIP: None in Service db`},
	{"a subdomain without a Service", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostname: a, subdomain: peers, containers: [{name: c}]}\n" + svc("peer", "clusterIP: None, ports: [{port: 1}]"), `
f.yaml:4:32: warning: spec.subdomain: no Service is called "peers"; hint: did you mean "peer"?
f.yaml:8:18: warning: Service peer has no selector, and no EndpointSlice is written for it; hint: give it a spec.selector, or an EndpointSlice labelled kubernetes.io/service-name: peer`},
	{"a namespace misspelt", webPod + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: prd}\nspec: {containers: [{name: c}]}\n",
		`f.yaml:9:32: warning: no manifest makes the namespace prd; hint: did you mean "prod"?`},
}

func TestLint(t *testing.T) {
	for _, c := range lints {
		_, diags := Parse("f.yaml", []byte(c.in))
		var lines []string
		for _, d := range diags {
			if lines = append(lines, d.String()); d.Rule == "" || d.Source == "" {
				t.Errorf("%s: %+v: no rule or no source", c.name, d)
			}
		}
		if got, want := strings.Join(lines, "\n"), strings.TrimPrefix(c.want, "\n"); got != want {
			t.Errorf("%s: input\n%s\ngot\n%s\nwant\n%s", c.name, c.in, got, want)
		}
	}
}

// A canary: two Deployments behind one Service.
func TestLintNotesSeveralWorkloads(t *testing.T) {
	deployment := "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME}\nspec:" + podTemplate
	_, diags := Parse("f.yaml", []byte(strings.ReplaceAll(deployment, "NAME", "stable")+strings.ReplaceAll(deployment, "NAME", "canary")+svc("web", "selector: {app: web}, ports: [{port: 80}]")))
	want := "Service web selects pods of Deployment stable and Deployment canary"
	if len(diags) != 1 || diags[0].Severity != Note || diags[0].Message != want {
		t.Errorf("got %v, want one note: %s", diags, want)
	}
}
