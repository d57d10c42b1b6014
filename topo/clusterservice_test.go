package topo

import "testing"

// Steps may name the Services that a cluster with DNS has by itself. Nobody
// listens behind the API server's.
func TestServicesOfTheCluster(t *testing.T) {
	want(t, runText(t, `
cluster: {nodes: 2, dns: true}
pods: [{name: client, node: node2}]
steps:
- tcp: {from: client, to: "kubernetes:443"}
  expect: {error: refused}
- lookup: {from: client, name: kubernetes, type: SRV, expect: 0 100 443 kubernetes.default.svc.cluster.local.}
- lookup: {from: client, name: 1.0.96.10.in-addr.arpa, type: PTR, expect: kubernetes.default.svc.cluster.local.}
- lookup: {from: client, name: kube-dns.kube-system, type: A, expect: 10.96.0.10}
`))
	_, diags := Parse("f.yaml", []byte("pods: [{name: client}]\nsteps:\n- tcp: {from: client, to: \"kubernetes:443\"}\n"))
	if err := diags.Err(); err == nil {
		t.Error("without DNS there is no such Service: no error")
	}
}
