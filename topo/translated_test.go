package topo

import (
	"strings"
	"testing"
)

// natWorld is a Service in front of a pod on the other node.
const natWorld = "cluster: {nodes: 2, dns: true}\nhosts: [{name: laptop, ports: [80, 53/udp]}]\n" +
	"pods: [{name: web, node: node2, labels: {app: web}, ports: [8080]}, {name: client, node: node1}]\nsteps:\n"

const natService = "---\napiVersion: v1\nkind: Service\nmetadata: {name: svc}\nspec: {type: NodePort, clusterIP: 10.96.0.80, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}]}\n"

func TestTranslated(t *testing.T) {
	want(t, runText(t, natWorld+`
- http: {from: client, url: "http://svc/"}
  expect: {translated: "DNAT 10.96.0.80:80 -> 10.244.2.2:8080"}
- tcp: {from: laptop, to: "node1:30080"}
  expect: {translated: ["node1: DNAT node1:30080 -> web:8080", "node1: SNAT laptop -> node1"]}
- udp: {from: client, to: "laptop:53", send: hello, expect: hello}
  expect: {translated: "node1: SNAT client -> node1"}
- tcp: {from: client, to: "web:8080"}
  expect: {translated: none}
- tcp: {from: client, to: "web:8080"}
  expect: {translated: []}
`+natService))
}

// A translation that is another than the expected one, or one too many or too few,
// fails the step.
func TestTranslatedFails(t *testing.T) {
	v := runText(t, natWorld+`
- tcp: {from: client, to: "svc:80"}
  expect: {translated: none}
- tcp: {from: client, to: "svc:80"}
  expect: {translated: "DNAT svc:80 -> client"}
- tcp: {from: client, to: "svc:80"}
  expect: {translated: "SNAT svc:80 -> web"}
- tcp: {from: client, to: "svc:80"}
  expect: {translated: "node2: DNAT svc:80 -> web"}
- tcp: {from: client, to: "svc:80"}
  expect: {translated: ["DNAT svc:80 -> web", "SNAT client -> node1"]}
- tcp: {from: client, to: "web:8080"}
  expect: {translated: "DNAT svc:80 -> web"}
`+natService)
	for _, s := range v.Steps {
		if len(s.Checks) != 1 || s.Checks[0].What != "translated" || s.Passed {
			t.Errorf("step %d: checks %+v, want translated to fail", s.Number, s.Checks)
		}
	}
	if got, want := v.Steps[0].Checks[0].Got, "node1: DNAT 10.96.0.80:80 -> 10.244.2.2:8080"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLookup(t *testing.T) {
	want(t, runText(t, natWorld+`
- lookup: {from: client, name: svc}
- lookup: {from: client, name: svc, expect: svc}
- lookup: {from: client, name: svc, type: A, expect: [10.96.0.80]}
  expect: {within: 5ms}
- lookup: {from: client, name: svc, type: AAAA, expect: NODATA}
- lookup: {from: client, name: nosuch, type: A, expect: NXDOMAIN}
- lookup: {from: client, name: nosuch, expect: NXDOMAIN}
- lookup: {from: client, name: nosuch}
  expect: {error: unknown-name}
- lookup: {from: client, name: nosuch, type: SRV}
  expect: {error: unknown-name}
- lookup: {from: client, name: _http._tcp.svc, type: SRV, expect: 0 100 80 svc.default.svc.cluster.local}
- lookup: {from: client, name: 10.96.0.80, type: PTR, expect: svc.default.svc.cluster.local.}
- lookup: {from: client, name: 10-1-2-3.default.pod.cluster.local., type: A, expect: 10.1.2.3}
- lookup: {from: node1, name: svc.default.svc.cluster.local., type: A, server: 10.96.0.10, expect: 10.96.0.80}
- lookup: {from: client, name: svc, type: A, server: 10.244.9.9}
  expect: {error: timeout, exactly: 10s}
`+natService))
}

func TestLookupFails(t *testing.T) {
	v := runText(t, natWorld+`
- lookup: {from: client, name: svc, type: A, expect: 10.96.0.81}
- lookup: {from: client, name: svc, expect: NXDOMAIN}
- lookup: {from: client, name: nosuch, type: A, expect: 10.96.0.80}
- lookup: {from: client, name: svc, type: A}
  expect: {error: unknown-name}
`+natService)
	for _, s := range v.Steps {
		if s.Passed {
			t.Errorf("step %d, %s: passed: %s", s.Number, s.Name, s.Outcome)
		}
	}
}

func TestWrongLookupsAndTranslations(t *testing.T) {
	for in, want := range map[string]string{
		`lookup: {from: client, name: "a b"}`:                                                      `found "a b", want a name such as web or web.prod`,
		`lookup: {from: client, name: svc, type: SVR}`:                                             `did you mean "SRV"?`,
		`lookup: {from: client}`:                                                                   `no name, want one`,
		`lookup: {from: client, name: svc, expect: {a: b}}`:                                        `steps[0].lookup.expect: found a mapping, want a record, a list of records, NXDOMAIN or NODATA`,
		"lookup: {from: client, name: svc}\n  expect: {status: 200}":                               `a lookup step has no status to check`,
		"http: {from: client, url: 'http://svc'}\n  expect: {translated: DNAT svc}":                `found "DNAT svc", want a translation such as`,
		"http: {from: client, url: 'http://svc'}\n  expect: {translated: 'NAT svc -> web'}":        `want a translation such as`,
		"http: {from: client, url: 'http://svc'}\n  expect: {translated: ['DNAT svc:0 -> web']}":   `a port is a number from 1 to 65535`,
		"http: {from: client, url: 'http://svc'}\n  expect: {translated: ['DNAT svc -> svc']}":     `both ends are the same`,
		"http: {from: client, url: 'http://svc'}\n  expect: {translated: ['DNAT svcc:80 -> web']}": `steps[0].expect.translated[0]: unknown name "svcc"`,
		"ping: {from: client, to: web}\n  expect: {translated: none}":                              `a ping step has no translated to check`,
	} {
		_, diags := Parse("f.yaml", []byte(natWorld+"- "+in+"\n"+natService))
		if len(diags) == 0 || !strings.Contains(diags[0].String(), want) {
			t.Errorf("%s: got %v, want %q", in, diags, want)
		}
	}
	_, diags := Parse("f.yaml", []byte(strings.Replace(natWorld, ", dns: true", "", 1)+"- lookup: {from: client, name: svc, type: A}\n"+natService))
	if len(diags) != 1 || diags[0].Rule != "no-dns" {
		t.Errorf("without DNS: got %v, want no-dns", diags)
	}
}
