package topo

import (
	"slices"
	"strings"
	"testing"
)

// A pod that is no endpoint gets no new connections, and goes on answering who
// knows its address; its readiness is another way to the same end.
func TestEndpointGoesAndPodStays(t *testing.T) {
	for _, what := range []string{"endpoint", "ready"} {
		v := runText(t, world+`
- name: gone
  sleep: 1s
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {error: refused}
- http: {from: client, url: "http://web/hostname"}
  expect: {status: 200, body: web}
- at: 3s
  http: {from: client, url: "http://web-svc:8080/hostname"}
  expect: {status: 200, body: web}
- down: {`+what+`: web}
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {error: refused}
- up: {`+what+`: web}
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200}
faults:
- {at: 500ms, down: {`+what+`: web}, for: 2s}
`+services)
		want(t, v)
	}
}

// Two machines with one address: pings are answered by the one that was heard
// last, and connections to the other are reset.
func TestAddressConflict(t *testing.T) {
	const mac = `
- exec: {on: laptop, run: "ip neigh show 192.168.56.11"}
  expect: {contains: `
	want(t, runText(t, strings.Replace(world, "[{name: laptop}]", "[{name: laptop}, {name: intruder}]", 1)+`
- ping: {from: laptop, to: node1}`+mac+`"5e:fc:98:32:18:c9"}
- conflict: {on: intruder, address: node1}
- sleep: 3ms`+mac+`"5a:47:3b:37:83:ed"}
- ping: {from: laptop, to: node1}
- name: node1 asks, and its own MAC is believed again
  exec: {on: node1, run: "ip neigh replace 192.168.56.13 lladdr 02:00:00:00:00:01 dev eth0 nud permanent"}
- exec: {on: node1, run: "ip neigh del 192.168.56.13 dev eth0"}
- ping: {from: node1, to: laptop}`+mac+`"5e:fc:98:32:18:c9"}
- at: 40s
  ping: {from: laptop, to: node1, count: 10, interval: 100ms}
  expect: {loss: 0%}
- name: a silent one is not noticed by who knows the address
  conflict: {on: laptop, address: node2, announce: false}
- name: it is the laptop's own now
  ping: {from: laptop, to: node2}
  expect: {exactly: 0s}
`))
}

// An address that conflicts for a while is given back, and leaves a wrong entry
// behind.
func TestAddressConflictEnds(t *testing.T) {
	v := runText(t, world+`
- ping: {from: node2, to: node1}
- at: 2s
  ping: {from: node2, to: node1}
- name: the wrong entry is used until node1 asks for node2, at 5 s
  at: 4s
  ping: {from: node2, to: node1, count: 10}
  expect: {loss: 10%}
faults:
- {at: 1s, conflict: {on: laptop, address: node1}, for: 2s}
`)
	want(t, v)
	if got := happened(v); len(got) != 2 {
		t.Errorf("got %q, want the conflict and its end", got)
	}
}

// A pod can keep its address where the design allows it, with another MAC unless
// it keeps that too.
func TestPodKeepsItsAddress(t *testing.T) {
	const play = `
- http: {from: client, url: "http://ADDR/hostname"}
  expect: {status: 200, body: web}
- restart: {pod: web, keep: address}
- http: {from: client, url: "http://ADDR/hostname"}
  expect: {status: 200, body: web}
- restart: {pod: web, keep: [address, mac]}
- http: {from: client, url: "http://ADDR/hostname"}
  expect: {status: 200, body: web}
`
	want(t, runText(t, world+strings.ReplaceAll(play, "ADDR", "10.244.2.2")))
	calico := strings.Replace(world, "nodes: 2", "nodes: 3, design: calico-vxlan", 1)
	want(t, runText(t, calico+strings.ReplaceAll(play, "ADDR", "10.244.2.1")+`
- move: {pod: web, to: node3, keep: address}
- http: {from: client, url: "http://10.244.2.1/hostname"}
  expect: {status: 200, body: web, exactly: 12ms}
- exec: {on: node1, run: "ip route get 10.244.2.1"}
  expect: {contains: "10.244.3.0"}
- move: {pod: web, to: node2, keep: address}
- http: {from: client, url: "http://10.244.2.1/hostname"}
  expect: {status: 200, body: web}
- exec: {on: node1, run: "ip route"}
  expect: {matches: "^10.244.2.0/26 via 10.244.2.0 "}
`))
}

// Where it does not, the error says why, and the pod runs with another.
func TestPodCannotKeepItsAddress(t *testing.T) {
	v := runText(t, world+`
- move: {pod: web, to: node1, keep: address}
- http: {from: client, url: "http://web/hostname"}
  expect: {status: 200, body: web}
`)
	if s := v.Steps[0]; s.Passed || !strings.Contains(s.Outcome, "requested IP address 10.244.2.2 is not in range set: 10.244.1.0/24") {
		t.Errorf("outcome %q, want what range the address is not in", s.Outcome)
	}
	if !v.Steps[1].Passed {
		t.Errorf("the pod does not run: %+v", v.Steps[1])
	}
}

// The MTU of a router's device shrinks under traffic: segments that are too large
// are lost until the router has said so.
func TestMTUShrinksUnderTraffic(t *testing.T) {
	v := runText(t, `
cluster: {nodes: 2}
underlay:
  latency: 1ms
  rate: 20Mbit
  segments:
  - {name: rack1, subnet: 10.0.1.0/24, machines: [node1]}
  - {name: rack2, subnet: 10.0.2.0/24, machines: [node2]}
  routers: [{name: tor, ports: [rack1, rack2]}]
steps:
- name: flow
  flow: {kind: bulk, from: node1, to: node2, for: 1s, expect: {goodput: ">8Mbit", recovers: "<300ms", retransmits: ">0"}}
- name: the router has told the sender
  exec: {on: node1, run: "ip route get 10.0.2.11"}
  expect: {contains: mtu 1300}
faults:
- {with: flow + 500ms, mtu: {on: tor, dev: eth1, size: 1300}, for: 100ms}
`)
	want(t, v)
	if got := happened(v); len(got) != 2 || !strings.Contains(got[0], "mtu 1300 on tor/eth1") {
		t.Errorf("got %q, want the MTU to shrink and grow again", got)
	}
}

// Any command can be a fault.
func TestCommandAsFault(t *testing.T) {
	v := runText(t, world+`
- flow: {kind: ping, from: client, to: web, for: 500ms, every: 100ms, expect: {loss: 40%}}
- sleep: 1s
faults:
- {at: 150ms, exec: {on: node2, run: iptables -I FORWARD -p icmp -j DROP}}
- {at: 350ms, exec: {on: node2, run: iptables -D FORWARD 1}}
- {at: 400ms, exec: {on: node2, run: ip link set nosuch up}}
`)
	got := happened(v)
	if v.Passed || len(got) != 3 || !strings.Contains(got[2], "exit code 1: Cannot find device") {
		t.Errorf("got %q, want the third to fail with what ip says", got)
	}
	for i, s := range v.Steps {
		if !s.Passed {
			t.Errorf("step %d failed: %+v", i+1, s)
		}
	}
}

// A restarted pod of the cluster's DNS is one of CoreDNS.
func TestRestartedCoreDNSAnswers(t *testing.T) {
	want(t, runText(t, strings.Replace(world, "nodes: 2", "nodes: 2, dns: true", 1)+`
- crash: {node: node1}
- crash: {node: node2}
- sleep: 2s
- http: {from: client, url: "http://web-svc:8080/"}
  expect: {status: 200}
faults:
- {at: 0s, crash: {node: node1}, for: 1s}
- {at: 0s, crash: {node: node2}, for: 1s}
`+services))
}

func TestUndoneAndNotUndone(t *testing.T) {
	_, diags := Parse("f.yaml", []byte("pods: [{name: p, ports: [80]}]\nsteps: [{sleep: 1s}]\nfaults:\n- {at: 0s, restart: {pod: p}, for: 1s}\n- {at: 0s, exec: {on: p, run: ip addr}, for: 1s}\n- {at: 0s, kill: {pod: p, keep: mac}}\n- {at: 0s, restart: {pod: p, keep: [adress]}}\n- {at: 0s, conflict: {on: p, address: p}}\n"))
	var got []string
	for _, d := range diags {
		got = append(got, d.String())
	}
	want := []string{
		"f.yaml:4:3: error: faults[0]: restart is not undone, want no for",
		"f.yaml:5:3: error: faults[1]: exec is not undone, want no for",
		`f.yaml:6:27: error: unknown key "keep" in faults[2].kill; hint: known keys: pod`,
		`f.yaml:7:37: error: faults[3].restart.keep[0]: found "adress", want one of address, mac; hint: did you mean "address"?`,
		"f.yaml:8:27: error: faults[4].conflict: p has its own address, want another machine",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
