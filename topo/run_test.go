package topo

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// runText plays a scenario in virtual time.
func runText(t *testing.T, text string) *Verdict {
	t.Helper()
	sc, diags := Parse("test.yaml", []byte(text))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	return runScenario(t, sc)
}

// runScenario plays a scenario in virtual time.
func runScenario(t *testing.T, sc *Scenario) *Verdict {
	t.Helper()
	var v *Verdict
	synctest.Test(t, func(t *testing.T) {
		var err error
		if v, err = sc.Run(RunConfig{Settle: synctest.Wait}); err != nil {
			t.Fatal(err)
		}
	})
	return v
}

// want fails the test unless every step passed.
func want(t *testing.T, v *Verdict) {
	t.Helper()
	var b bytes.Buffer
	if err := v.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if !v.Passed {
		t.Errorf("a step failed:\n%s", b.String())
	}
}

const world = `
name: world
cluster: {nodes: 2}
underlay: {latency: 1ms}
hosts: [{name: laptop}]
pods:
- {name: web, node: node2, labels: {app: web}, ports: [80]}
- {name: client, node: node1}
- name: dns
  node: node2
  labels: {app: dns}
  containers: [{name: main, ports: [{port: 53, protocol: UDP}]}]
steps:
`

const services = `
---
apiVersion: v1
kind: Service
metadata: {name: web-svc}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 8080, targetPort: 80, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns-svc}
spec: {selector: {app: dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
`

func TestEveryVerb(t *testing.T) {
	want(t, runText(t, world+`
- ping: {from: client, to: web}
  expect: {ttl: 62, sourceIP: client}
- ping: {from: client, to: web, count: 3, size: 1000, interval: 10ms}
  expect: {loss: 0%}
- http: {from: client, url: "http://web/hostname"}
  expect: {status: 200, body: web, sourceIP: client, exactly: 8ms}
- http: {from: client, url: "http://web-svc:8080/echo?msg=hello"}
  expect: {contains: hell}
- http: {from: client, url: "http://web/echo", method: POST, body: "a body"}
  expect: {body: a body}
- http: {from: laptop, url: "http://node1:30080/"}
  expect: {status: 200, sourceIP: 10.244.1.0}
- tcp: {from: client, to: "web:80"}
- tcp: {from: client, to: "web:80", send: "GET / HTTP/1.0\r\n\r\n", expect: "200 OK"}
- udp: {from: client, to: "dns-svc:53", send: "what", expect: "what", count: 2}
  expect: {sourceIP: client}
- at: 1s
  sleep: 1s
`+services))
}

func TestEveryError(t *testing.T) {
	want(t, runText(t, world+`
- tcp: {from: client, to: "web:81"}
  expect: {error: refused, within: 10ms}
- http: {from: client, url: "http://nobody/"}
  expect: {error: refused}
- udp: {from: client, to: "dns:54", send: x}
  expect: {error: refused}
- ping: {from: client, to: 10.244.2.99}
  expect: {error: unreachable}
- ping: {from: client, to: 10.244.1.99}
  expect: {error: unreachable, exactly: 3s}
- ping: {from: client, to: web, size: 2000, df: true}
  expect: {error: too-big}
- ping: {from: client, to: 10.96.200.200}
  expect: {error: timeout}
- ping: {from: client, to: 10.244.2.99, count: 2}
  expect: {loss: 100%}
`+services))
}

func TestFaults(t *testing.T) {
	want(t, runText(t, world+`
- ping: {from: client, to: web}
- down: {link: node2}
- ping: {from: client, to: web, count: 2}
  expect: {loss: 100%}
- up: {link: node2}
- ping: {from: client, to: web}
- down: {link: web}
# node2 asks for the pod's MAC in vain, gives up after 3 s, and says so.
- http: {from: client, url: "http://web/"}
  expect: {error: unreachable}
- up: {link: web}
- http: {from: client, url: "http://web/"}
  expect: {status: 200}
- down: {node: node2}
- ping: {from: client, to: node2, count: 2}
  expect: {loss: 100%}
- up: {node: node2}
- ping: {from: client, to: node2}
- down: {lease: node2}
- http: {from: client, url: "http://web/"}
  expect: {error: timeout}
- up: {lease: node2}
- http: {from: client, url: "http://web/"}
  expect: {status: 200}
`))
}

// A verdict says what was found, what was wanted and where it was asked for.
func TestVerdictTellsWhatFailed(t *testing.T) {
	v := runText(t, world+`
- name: the wrong port
  http: {from: client, url: "http://web:81/"}
  expect: {status: 200}
- ping: {from: client, to: web}
  expect: {ttl: 61, within: 1us}
`)
	if v.Passed {
		t.Error("the verdict passed, want a failure")
	}
	var b bytes.Buffer
	if err := v.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"FAIL  1  the wrong port", "error: got refused, want none (test.yaml:", "ttl: got 62, want 61", "within: got ", "FAIL: 2 of 2 steps"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("verdict lacks %q:\n%s", text, b.String())
		}
	}
}

// The same file in real time has the same verdict.
func TestRealTime(t *testing.T) {
	sc, diags := Parse("test.yaml", []byte(world+`
- http: {from: client, url: "http://web/hostname"}
  expect: {status: 200, body: web}
`))
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	v, err := sc.Run(RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, v)
	if v.Virtual || v.Steps[0].Took < 8*time.Millisecond {
		t.Errorf("virtual %v, took %v; want real time and at least the 8ms that the cables take", v.Virtual, v.Steps[0].Took)
	}
}
