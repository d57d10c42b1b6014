package topo

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const svcHead = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n"

// One mistake, or a few, per case; the exact one-line form of every finding.
var mistakes = []struct {
	name, in string
	want     string // findings, one to a line
}{
	{"unknown key with a near word", "name: a\ncluster:\n  desing: flannel-vxlan\n",
		`f.yaml:3:3: error: unknown key "desing" in cluster; hint: did you mean "design"?`},
	{"unknown key without", "name: a\nunderlay: {zzz: 1}\n",
		`f.yaml:2:12: error: unknown key "zzz" in underlay; hint: known keys: latency, jitter, reorder, rate, burst, mtu, queue, loss, duplicate, corrupt, preset, out, in, subnet, segments, routers`},
	{"sysctls", "cluster:\n  sysctls:\n    net.ipv4.ip_froward: 1\n    net.bridge.bridge-nf-call-iptables: yes\n    net.ipv4.ip_forward: 1\n", `
f.yaml:3:5: error: unknown sysctl "net.ipv4.ip_froward"; hint: did you mean "net.ipv4.ip_forward"?
f.yaml:4:41: error: stack: sysctl net.bridge.bridge-nf-call-iptables: "yes", want 0 or 1`},
	{"sysctls of a pod", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  securityContext:\n    sysctls:\n    - {name: net.ipv4.tcp_rmem, value: 1 2}\n  containers: [{name: c, image: x}]\n",
		`f.yaml:7:40: error: stack: sysctl net.ipv4.tcp_rmem: "1 2", want three sizes in bytes that do not fall: minimum, default, maximum`},
	{"several mistakes", "nmae: a\nseed: x\nhosts: 3\ncapture: ['[']\n", `
f.yaml:1:1: error: unknown key "nmae" in the scenario; hint: did you mean "name"?
f.yaml:2:7: error: seed: found "x", want a whole number, not negative
f.yaml:3:8: error: hosts: found a single value, want a list of {name, address}
f.yaml:4:11: error: capture[0]: found "[", want a glob such as node1/*`},
	{"wrong types", "cluster:\n  nodes: {a: 1}\nname: [x]\n", `
f.yaml:2:10: error: cluster.nodes: found a mapping, want a number or a list of {name, address, podCIDR, link}
f.yaml:3:7: error: name: found a list, want text`},
	{"not a scenario", "- a\n- b\n",
		`f.yaml:1:1: error: the scenario: found a list, want a mapping (name, seed, cluster, underlay, hosts, manifests, pods, steps, faults, capture)`},
	{"bad addresses", "cluster:\n  podCIDR: 10.244.0.0\n  serviceCIDR: 10.96.0.1/12\n  nodes:\n  - {name: a, address: 192.168.56.300}\n", `
f.yaml:2:12: error: cluster.podCIDR: found "10.244.0.0", want a range such as 10.244.0.0/16
f.yaml:3:16: error: cluster.serviceCIDR: found "10.96.0.1/12", want a range such as 10.244.0.0/16; hint: bits are set behind the /12; the range is 10.96.0.0/12
f.yaml:5:24: error: cluster.nodes[0].address: found "192.168.56.300", want an IP address such as 192.168.56.11`},
	{"bad units", "underlay: {latency: 200, rate: 10, mtu: 10, loss: 1, queue: -1}\n", `
f.yaml:1:21: error: underlay.latency: found "200", want a duration such as 200us, 5ms or 1s; hint: a duration needs a unit: 200ms or 200s?
f.yaml:1:32: error: underlay.rate: found "10", want a rate such as 100Mbit or 10Gbit, or unlimited; hint: a rate needs a unit: 10Mbit?
f.yaml:1:41: error: underlay.mtu: found "10", want a whole number from 68 to 65535
f.yaml:1:51: error: underlay.loss: found "1", want a share such as 1% or 0.5%; hint: a share needs a percent sign: 1%?
f.yaml:1:61: error: underlay.queue: found "-1", want a number of frames, a size such as 64KiB, one of drop-tail, red, codel, fq_codel, or {discipline, frames, size, ecn, ...}`},
	{"cables", "underlay: {jitter: {spread: 1ms, shape: paretto}, burst: x, queue: 0, loss: {enter: 1%}, preset: lt, out: {latency: 1, preset: lte}}\n", `
f.yaml:1:11: error: underlay: loss burst is entered and never left, want a leave above 0
f.yaml:1:41: error: underlay.jitter.shape: found "paretto", want one of uniform, normal, pareto; hint: did you mean "pareto"?
f.yaml:1:58: error: underlay.burst: found "x", want a size in bytes such as 1500 or 64KiB
f.yaml:1:68: error: underlay.queue: found "0", want a number of frames, a size such as 64KiB, one of drop-tail, red, codel, fq_codel, or {discipline, frames, size, ecn, ...}
f.yaml:1:98: error: underlay.preset: found "lt", want one of datacenter, wan, lte, satellite; hint: did you mean "lte"?
f.yaml:1:117: error: underlay.out.latency: found "1", want a duration such as 200us, 5ms or 1s; hint: a duration needs a unit: 1ms or 1s?
f.yaml:1:120: error: unknown key "preset" in underlay.out; hint: known keys: latency, jitter, reorder, rate, burst, mtu, queue, loss, duplicate, corrupt`},
	{"traces", "underlay: {loss: {trace: nowhere.txt}}\n",
		`f.yaml:1:26: error: underlay.loss.trace: found "nowhere.txt", want a file; hint: cannot read the file: no such file or directory; paths are relative to the scenario file`},
	{"segments", "cluster: {nodes: [{name: a}, {name: b, address: 10.0.9.1}]}\nunderlay:\n  subnet: 10.9.0.0/24\n  segments:\n  - {name: r1, subnet: 10.0.1.0/24, machines: [a, c]}\n  - {name: r2, subnet: 10.0.1.128/25, machines: [a, b]}\n  - {name: r2}\n  routers:\n  - {name: gw, ports: [r1, r3], routes: [{to: x}]}\n  - {name: a}\n", `
f.yaml:1:49: error: node "b": address 10.0.9.1 lies outside segment r2 subnet 10.0.1.128/25
f.yaml:3:11: error: underlay: has subnet and segments, want the subnet in a segment
f.yaml:5:51: error: segment r1: unknown machine "c"; hint: did you mean "a"?
f.yaml:6:24: error: segment r2 subnet 10.0.1.128/25 overlaps segment r1 subnet 10.0.1.0/24
f.yaml:6:50: error: segment r2: a is in segment r1 already
f.yaml:7:5: error: underlay.segments[2]: no subnet, want one
f.yaml:7:12: error: segment "r2": the name is taken, first at line 6
f.yaml:9:28: error: router gw: unknown segment "r3"; hint: did you mean "r1"?
f.yaml:9:42: error: underlay.routers[0].routes[0]: no via, want one
f.yaml:9:47: error: underlay.routers[0].routes[0].to: found "x", want a range such as 10.1.0.0/16, or default
f.yaml:10:5: error: underlay.routers[1]: no ports, want the segments that it joins
f.yaml:10:12: error: router "a": the name is taken, first at line 1`},
	{"set", "pods: [{name: p}]\nsteps:\n- set: {link: node3, loss: 5}\n- set: {link: node1}\n- set: {loss: 5%}\n- set: {segment: rack, latency: 1s}\n- set: {link: p, loss: 5%}\n", `
f.yaml:3:15: error: steps[0].set.link: unknown name "node3", want a node, host, real host; hint: did you mean "node1"?
f.yaml:3:28: error: steps[0].set.loss: found "5", want a share such as 1% or 0.5%; hint: a share needs a percent sign: 5%?
f.yaml:4:8: error: steps[1].set: nothing to change, want one or more of latency, jitter, reorder, rate, burst, mtu, queue, loss, duplicate, corrupt, preset, out, in
f.yaml:5:8: error: steps[2].set: want either link or segment
f.yaml:6:18: error: unknown segment "rack"; hint: segments: underlay
f.yaml:7:15: error: steps[4].set.link: unknown name "p", want a node, host, real host; hint: p is a pod`},
	{"faults", "pods: [{name: p}]\nsteps: [{name: s, sleep: 1s}]\nfaults:\n- {down: {link: node1}}\n- {at: 1s, after: s, down: {link: node1}}\n- {at: 1s}\n- {after: t + 1s, kill: {pod: q}}\n- {with: s + 1, crash: {node: p}}\n- {at: 1s, until: 3s, move: {pod: p}}\n- {at: 0s, every: 1s, for: 1s, partition: [[node1, node2]]}\n- {at: 1s, partition: [[node1], [node1]]}\n- {at: 1s, ping: {from: p, to: p}}\n", `
f.yaml:4:3: error: faults[0]: want one of at, after and with
f.yaml:5:3: error: faults[1]: want one of at, after and with
f.yaml:6:3: error: faults[2]: no verb, want one of down, up, set, partition, kill, restart, move, crash, conflict, mtu, slow, exec
f.yaml:7:11: error: 0 steps have the name "t", want one; hint: did you mean "s"?
f.yaml:7:31: error: faults[3].kill.pod: unknown name "q", want a pod; hint: did you mean "p"?
f.yaml:8:10: error: faults[4].with: found "s + 1", want a step's name, or "NAME + 2s"; hint: a duration needs a unit: 1ms or 1s?
f.yaml:8:31: error: faults[4].crash.node: unknown name "p", want a node; hint: p is a pod
f.yaml:9:3: error: faults[5]: until without every
f.yaml:9:23: error: faults[5].move: no to, want one
f.yaml:10:3: error: faults[6]: happens again every 1s, before it is undone after 1s
f.yaml:10:43: error: faults[6].partition: one group, want two or more, or [] to heal
f.yaml:11:34: error: faults[7].partition: node1 is in two groups
f.yaml:12:3: error: faults[8]: no verb, want one of down, up, set, partition, kill, restart, move, crash, conflict, mtu, slow, exec
f.yaml:12:12: error: unknown key "ping" in faults[8]; hint: known keys: at, after, with, every, until, for, down, up, set, partition, kill, restart, move, crash, conflict, mtu, slow, exec, random`},
	{"duplicate names", "cluster:\n  nodes: [{name: a}, {name: a}]\nhosts: [{name: a}]\npods: [{name: p}, {name: p}]\n", `
f.yaml:2:29: error: node "a": the name is taken, first at line 2
f.yaml:3:16: error: host "a": the name is taken, first at line 2
f.yaml:4:26: error: pod "default/p" is declared twice, first at f.yaml:4:15`},
	{"bad and missing names", "pods: [{name: Web}, {node: node1}, {name: a, node: nod1}]\n", `
f.yaml:1:15: error: pods[0].name: found "Web", want lower case letters, digits and '-', at most 63 in a label
f.yaml:1:21: error: pods[1]: no name, want one
f.yaml:1:52: error: pod a: unknown node "nod1"; hint: did you mean "node1"?`},
	{"podCIDRs", "cluster:\n  nodes:\n  - {name: a, podCIDR: 10.244.1.0/24}\n  - {name: b, podCIDR: 10.244.1.128/25}\n  - {name: c, podCIDR: 10.245.0.0/24}\n", `
f.yaml:4:24: error: node "b": podCIDR 10.244.1.128/25 overlaps 10.244.1.0/24 on line 3
f.yaml:5:24: error: node "c": podCIDR 10.245.0.0/24 lies outside cluster.podCIDR 10.244.0.0/16`},
	{"node addresses", "cluster:\n  nodes:\n  - {name: a, address: 10.0.0.1}\n  - {name: b, address: 192.168.56.255}\n  - {name: c, address: 192.168.56.9}\nhosts: [{name: h, address: 192.168.56.9}]\n", `
f.yaml:3:24: error: node "a": address 10.0.0.1 lies outside underlay.subnet 192.168.56.0/24
f.yaml:4:24: error: node "b": address 192.168.56.255 is the broadcast address of 192.168.56.0/24
f.yaml:6:28: error: host "h": address 192.168.56.9 belongs to "c" already`},
	{"ranges overlap", "cluster: {serviceCIDR: 10.244.128.0/17}\n",
		`f.yaml:1:24: error: cluster.serviceCIDR 10.244.128.0/17 overlaps cluster.podCIDR 10.244.0.0/16`},
	{"too many nodes", "cluster:\n  nodes: 300\n", `
f.yaml:2:10: error: underlay.subnet 192.168.56.0/24 has no address left for 56 of the nodes and hosts; hint: give it a shorter prefix, such as /16
f.yaml:2:10: error: cluster.podCIDR 10.244.0.0/16 has no /24 left for node "node257" and those after it; hint: give cluster.podCIDR a shorter prefix, such as /8`},
	{"far too many nodes", "cluster: {nodes: 1000000000}\n",
		`f.yaml:1:18: error: cluster.nodes: found "1000000000", want a whole number from 1 to 5000`},
	{"settings of IPVS elsewhere", "cluster: {proxy: nftables, ipvsScheduler: rr}\n", `
f.yaml:1:43: error: cluster.ipvsScheduler: only proxy: ipvs has this setting; hint: set proxy: ipvs, or leave it out`},
	{"unknown scheduler", "cluster: {proxy: ipvs, ipvsScheduler: rrr}\n", `
f.yaml:1:39: error: cluster.ipvsScheduler: found "rrr", want one of rr, wrr, lc, wlc, sh, dh, sed, nq; hint: did you mean "rr"?`},
	{"unknown design and proxy", "cluster: {design: flanel-vxlan, proxy: nftable}\n", `
f.yaml:1:19: error: cluster.design: found "flanel-vxlan", want one of calico-ipip, flannel-vxlan; hint: did you mean "flannel-vxlan"?
f.yaml:1:40: error: cluster.proxy: found "nftable", want one of iptables, ipvs, nftables, socket; hint: did you mean "nftables"?`},
	{"unknown names in steps", "pods: [{name: web}, {name: x, namespace: team}]\nsteps:\n- ping: {from: wbe, to: x}\n- ping: {from: 10.0.0.1, to: 10.0.0.1}\n- tcp: {from: 'web:side', to: 'nosvc:80'}\n- http: {from: web, url: 'http://webb/'}\n", `
f.yaml:3:16: error: steps[0].ping.from: unknown name "wbe", want a pod, node, host; hint: did you mean "web"?
f.yaml:3:25: error: steps[0].ping.to: unknown name "x", want a pod, service, node, host, real host, IP address; hint: did you mean "team/x"?
f.yaml:4:16: error: steps[1].ping.from: unknown name "10.0.0.1", want a pod, node, host; hint: known names: web, x, node1, node2
f.yaml:5:15: error: steps[2].tcp.from: pod web has no container "side"; hint: containers: web
f.yaml:5:31: error: steps[2].tcp.to: unknown name "nosvc", want a pod, service, node, host, real host, IP address; hint: known names: web, x, node1, node2
f.yaml:6:26: error: steps[3].http.url: unknown name "webb", want a service, ingress host, pod, node, host, real host, IP address; hint: did you mean "web"?`},
	{"verbs", "pods: [{name: a}]\nsteps:\n- ping: {from: a, to: a}\n  http: {from: a, url: 'http://a/'}\n- name: nothing\n- pnig: {from: a, to: a}\n- ping: {from: a}\n- down: {}\n", `
f.yaml:4:3: error: steps[0] has two verbs, ping and http, want one; hint: begin another step with "- "
f.yaml:5:3: error: steps[1] has no verb, want one of VERBS
f.yaml:6:3: error: unknown key "pnig" in steps[2]; hint: did you mean "ping"?
f.yaml:6:3: error: steps[2] has no verb, want one of VERBS
f.yaml:7:3: error: steps[3].ping: no to, want one
f.yaml:8:9: error: steps[4].down: want one of link, node, lease, bgp, endpoint, ready, segment`},
	{"expect", "pods: [{name: a}]\nsteps:\n- ping: {from: a, to: a}\n  expect: {status: 200, error: timout}\n- http: {from: a, url: 'http://a/'}\n  expect: {status: 42, within: 5}\n- sleep: 1s\n  expect: {ttl: 3}\n- http: {from: a, url: 'http://a/'}\n  expect: {error: timeout, status: 200}\n", `
f.yaml:4:12: error: steps[0].expect: a ping step has no status to check, want one of error, within, exactly, ttl, loss, sourceIP
f.yaml:4:32: error: steps[0].expect.error: found "timout", want one of timeout, refused, reset, unreachable, prohibited, too-big, ttl-exceeded, unknown-name; hint: did you mean "timeout"?
f.yaml:6:20: error: steps[1].expect.status: found "42", want a whole number from 100 to 599
f.yaml:6:32: error: steps[1].expect.within: found "5", want a duration such as 200us, 5ms or 1s; hint: a duration needs a unit: 5ms or 5s?
f.yaml:8:12: error: steps[2].expect: a sleep step has no ttl to check, want no expect at all
f.yaml:10:19: error: steps[3].expect: a step that ends in an error has no answer to check, want error or status, body, contains`},
	{"time runs backwards", "steps:\n- at: 3s\n  sleep: 1s\n- at: 1s\n  down: {link: node1}\n",
		`f.yaml:4:7: error: at: 1s is earlier than the 3s of the step on line 2; steps run in the order they are written`},
	{"URLs and targets", "pods: [{name: a}]\nsteps:\n- http: {from: a, url: a/b}\n- http: {from: a, url: 'https://a/'}\n- http: {from: a, url: 'http://a:99999/'}\n- tcp: {from: a, to: a}\n- udp: {from: a, to: 'a:0'}\n", `
f.yaml:3:24: error: steps[0].http.url: found "a/b", want a URL such as "http://web:80/"; hint: did you mean "http://a/b"?
f.yaml:4:24: error: steps[1].http.url: found "https://a/", want a URL such as "http://web:80/"; hint: only http is spoken
f.yaml:5:24: error: steps[2].http.url: found "http://a:99999/", want a URL such as "http://web:80/"; hint: a port is a number from 1 to 65535
f.yaml:6:22: error: steps[3].tcp.to: found "a", want host:port such as web:80
f.yaml:7:22: error: steps[4].udp.to: found "a:0", want host:port such as web:80; hint: a port is a number from 1 to 65535`},
	{"ambiguous name", "pods: [{name: web, labels: {a: b}, ports: [80]}]\nsteps:\n- ping: {from: web, to: web}\n---\n" + svcHead + "  selector: {a: b}\n  ports: [{port: 80}]\n",
		`f.yaml:3:25: warning: steps[0].ping.to: "web" is a pod and a service; the pod is meant; hint: write pod/web or service/web`},
	{"containers", "pods:\n- name: a\n  ports: [80]\n  containers: [{name: x, ports: [80]}, {name: x, ports: [80]}, {name: y, ports: [http, 53/icmp]}]\n", `
f.yaml:3:10: error: pods[0]: has ports and containers, want the ports under a container
f.yaml:4:47: error: container "x" is declared twice, first on line 4
f.yaml:4:58: warning: containers x and x of pod a both declare port 80/TCP
f.yaml:4:82: error: pods[0].containers[2].ports[0]: found "http", want a port such as 80, 53/udp or 8080:80
f.yaml:4:88: error: pods[0].containers[2].ports[1]: found "53/icmp", want a port such as 80, 53/udp or 8080:80`},
	{"missing manifest", "manifests: [nowhere.yaml, ., /dev/null]\n", `
f.yaml:1:13: error: manifest "nowhere.yaml": cannot read the file: no such file or directory; hint: paths are relative to the scenario file
f.yaml:1:27: error: manifest ".": found a directory, want a YAML file; hint: paths are relative to the scenario file
f.yaml:1:30: error: manifest "/dev/null": found a device or pipe, want a YAML file; hint: paths are relative to the scenario file`},
	{"second scenario", "name: a\n---\nname: b\n",
		`f.yaml:3:1: error: found a second scenario document, the first begins on line 1; hint: a Kubernetes manifest needs apiVersion and kind`},
	{"slash comment in a scenario", "name: a // the first\n// more\nseed: 1\n", `
f.yaml:1:9: error: // begins no comment in YAML: name is the string "a // the first"; hint: begin the comment with #; the value meant is a
f.yaml:2:1: error: // begins no comment in YAML; hint: begin the comment with #`},

	{"tab", "name: a\ncluster:\n\tdesign: b\n",
		`f.yaml:3:1: error: a tab in the indentation; YAML allows only blanks there; hint: replace the tab by two blanks`},
	{"duplicate key", "name: a\nname: b\n",
		`f.yaml:2:1: error: duplicate key "name", first written on line 1; hint: remove one of the two`},
	{"mapping in a value", "name: a: b\n",
		`f.yaml:1:8: error: not YAML: mapping values are not allowed in this context; hint: begin each key on a line of its own, or quote a value that holds a colon and a blank; check the indentation against the line above`},
	{"open bracket, second document read", "name: [a\n---\nkind: Pod\n", `
f.yaml:1:1: error: not YAML: did not find expected ',' or ']'
f.yaml:3:1: error: a manifest without apiVersion; hint: for a Pod write apiVersion: v1`},
	{"unknown anchor", "name: *a\n", `f.yaml:1:1: error: not YAML: unknown anchor 'a' referenced`},
	{"anchor within itself", "name: &a [*a]\n", `f.yaml:1:11: error: the alias *a stands for a value that contains it; hint: write the values out`},
	{"control character", "name: a\x01\n", `f.yaml:1:8: error: found the control character U+0001: this is a binary file, want YAML text`},
	{"not UTF-8", "name: a\nseed: \xff\n", `f.yaml:2:7: error: byte 0xff is not UTF-8; hint: save the file as UTF-8`},
	{"UTF-16", "\xff\xfen\x00", `f.yaml: error: the file is UTF-16, want UTF-8; hint: save it again as UTF-8`},
	{"empty", " \n\n", `f.yaml: error: the file is empty, want a scenario or Kubernetes manifests`},
	{"byte order mark and Windows line ends", "\ufeffname: a\r\nsede: 1\r\n", `f.yaml:2:1: error: unknown key "sede" in the scenario; hint: did you mean "seed"?`},

	{"kind typo", "apiVersion: v1\nkind: Servce\nmetadata: {name: a}\n",
		`f.yaml:2:7: error: unknown kind "Servce"; hint: did you mean "Service"?`},
	{"apiVersion of another kind", "apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}\n",
		`f.yaml:1:13: error: no matches for kind "Deployment" in version "v1"; hint: a Deployment is apiVersion: apps/v1`},
	{"kind podwire has no use for", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		`f.yaml:2:7: warning: podwire has no use for a ConfigMap and ignores it`},
	{"no kind, no name", "apiVersion: v1\nmetadata: {}\n---\napiVersion: v1\nkind: Service\nmetadata: {labels: {a: b}}\n", `
f.yaml:1:1: error: a manifest without kind, want one of Pod, Service, Namespace, Node, Deployment, ReplicaSet, StatefulSet, DaemonSet, EndpointSlice, Ingress, NetworkPolicy
f.yaml:6:1: error: a Service without metadata.name`},
	{"unknown fields", svcHead + "  ports:\n  - prot: 80\n    targetport: 80\n  tpye: NodePort\n  containerPort: 3\n", `
f.yaml:7:5: error: unknown field "spec.ports[0].prot"; hint: did you mean "port"?
f.yaml:8:5: error: unknown field "spec.ports[0].targetport"; hint: did you mean "targetPort"?
f.yaml:9:3: error: unknown field "spec.tpye"; hint: did you mean "type"?
f.yaml:10:3: error: unknown field "spec.containerPort"; hint: known fields: ports, selector, clusterIP, clusterIPs, type, externalIPs, sessionAffinity, loadBalancerIP, loadBalancerSourceRanges, externalName, externalTrafficPolicy, healthCheckNodePort, publishNotReadyAddresses, sessionAffinityConfig, ipFamilies, ipFamilyPolicy, allocateLoadBalancerNodePorts, loadBalancerClass, internalTrafficPolicy, trafficDistribution`},
	{"field elsewhere in the object", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containerPort: 80\n  containers: [{name: c}]\n",
		`f.yaml:5:3: error: unknown field "spec.containerPort"; hint: a Pod has it at spec.containers[].ports[].containerPort`},
	{"wrong JSON types", svcHead + "  ports:\n  - port: \"80\"\n  - port: 1.5\n  - {port: [1], name: yes}\n  - port: 99999999999\n  selector: [a]\n", `
f.yaml:7:11: error: spec.ports[0].port: found the string "80", want a number (int32)
f.yaml:8:11: error: spec.ports[1].port: found the number 1.5, want a number (int32)
f.yaml:9:12: error: spec.ports[2].port: found a list, want a number (int32)
f.yaml:9:23: error: spec.ports[2].name: found the boolean yes, want a string; hint: YAML 1.1 reads yes as a boolean; write "yes"
f.yaml:10:11: error: spec.ports[3].port: found the number 99999999999, want a number (int32)
f.yaml:11:13: error: spec.selector: found a list, want a mapping`},
	{"unsupported value", svcHead + "  type: Nodeport\n  ports: [{port: 80, protocol: tcp}]\n", `
f.yaml:6:9: error: spec.type: Unsupported value: "Nodeport": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"; hint: did you mean "NodePort"?
f.yaml:7:32: error: spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"; hint: did you mean "TCP"?`},
	{"selector matches nothing", "pods: [{name: p, labels: {app: wbe}, ports: [80]}]\n---\n" + svcHead + "  selector: {app: web}\n  ports: [{port: 80}]\n",
		`f.yaml:8:3: warning: Service web selects no declared pod: none in namespace default has the labels app=web; hint: did you mean "app=wbe"?`},
	{"selector matches in another namespace", "pods: [{name: p, namespace: n, labels: {app: web}, ports: [80]}]\n---\n" + svcHead + "  selector: {app: web}\n  ports: [{port: 80}]\n",
		`f.yaml:8:3: warning: Service web selects no declared pod: none in namespace default has the labels app=web; hint: pod n/p has the labels, but a selector looks in its own namespace only`},
	{"targetPort not declared", "pods: [{name: p, labels: {app: web}, ports: [{name: http, port: 8080}]}]\n---\n" + svcHead + "  selector: {app: web}\n  ports:\n  - {name: a, port: 80, targetPort: htp}\n  - {name: b, port: 81}\n  - {name: c, port: 82, targetPort: http}\n", `
f.yaml:10:37: warning: spec.ports[0].targetPort: no selected pod declares a TCP port named "htp"; hint: did you mean "http"?
f.yaml:11:21: warning: spec.ports[1].targetPort: no selected pod declares TCP port 81; hint: declared: 8080`},
	{"Deployment that does not select its pods", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  replicas: -1\n  selector: {matchLabels: {app: x}}\n  template:\n    metadata: {labels: {app: z}}\n    spec: {nodeSelector: {disk: ssd}, containers: [{name: c}]}\n", `
f.yaml:5:13: error: spec.replicas: found -1, want 0 to 150000 (all pods together)
f.yaml:8:16: error: spec.selector app=x does not match the labels of spec.template: app=z`},
	{"node selector", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {nodeSelector: {disk: ssd}, containers: [{name: c}]}\n",
		`f.yaml:4:8: error: no node has the labels disk=ssd`},
	{"two objects of one name", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
		`f.yaml:7:18: error: Namespace "a" is declared twice, first at f.yaml:3:18`},
	{"old Deployment", "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c}]}}\n",
		`f.yaml:1:13: error: no matches for kind "Deployment" in version "extensions/v1beta1": removed in Kubernetes 1.16; hint: a Deployment is apiVersion: apps/v1`},
}

func TestEveryMistakeGetsItsLine(t *testing.T) {
	ld := Loader{Designs: []string{"calico-ipip", "flannel-vxlan"}}
	for _, c := range mistakes {
		_, diags := ld.Parse("f.yaml", []byte(c.in))
		var lines []string
		for _, d := range diags {
			lines = append(lines, d.String())
		}
		got, want := strings.Join(lines, "\n"), strings.TrimPrefix(c.want, "\n")
		want = strings.ReplaceAll(want, "VERBS", strings.Join(verbNames(), ", "))
		if got != want {
			t.Errorf("%s: input\n%s\ngot\n%s\nwant\n%s", c.name, c.in, got, want)
		}
	}
}

func TestEveryFindingHasARuleAndASource(t *testing.T) {
	for _, c := range mistakes {
		_, diags := Parse("f.yaml", []byte(c.in))
		for _, d := range diags {
			if d.Rule == "" {
				t.Errorf("%s: %s: no rule", c.name, d)
			}
			if d.IsValid() && d.Source == "" && d.Rule != "encoding" && d.Rule != "binary-file" {
				t.Errorf("%s: %s: no source line", c.name, d)
			}
		}
	}
}

func TestUnreadableInputIsOneFinding(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 100<<20); err != nil { // sparse: costs no disk
		t.Fatal(err)
	}
	cases := []struct{ path, want string }{
		{dir, dir + ": error: found a directory, want a YAML file"},
		{filepath.Join(dir, "no.yaml"), filepath.Join(dir, "no.yaml") + ": error: cannot read the file: no such file or directory"},
		{big, big + ": error: the file is larger than 16777216 bytes (16 MiB), the most that is read; hint: split it: a scenario names other files under manifests"},
	}
	for _, c := range cases {
		sc, diags := Load(c.path)
		if len(diags) != 1 || diags[0].String() != c.want {
			t.Errorf("Load(%s): got %v, want %s", c.path, diags, c.want)
		}
		if sc == nil {
			t.Errorf("Load(%s): got no Scenario", c.path)
		}
	}
}

func TestBombsAreDefused(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		p := "*" + string(c-1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat(p+",", 9), ",") + "]\n"
	}
	cases := []struct{ name, in, rule string }{
		{"nine levels of nine aliases", bomb, "yaml-alias"},
		{"a million commas", "a: [" + strings.Repeat(",", MaxValues+1) + "]", "file-size"},
		{"deep nesting", strings.Repeat("[", 20000), "yaml-syntax"},
		{"a line end after a tab, many times", strings.Repeat("\ta: b\n", 200_000), "too-many"},
		{"thousands of unknown keys", strings.Repeat("x: 1\n", 5000), "too-many"},
	}
	for _, c := range cases {
		_, diags := Parse("f.yaml", []byte(c.in))
		if len(diags) == 0 || diags[len(diags)-1].Rule != c.rule {
			t.Errorf("%s: got %d findings, last %+v, want rule %s", c.name, len(diags), diags[max(0, len(diags)-1):], c.rule)
		}
	}
}

func TestDiagnosticJSONRoundTrips(t *testing.T) {
	_, diags := Parse("f.yaml", []byte("nmae: a\n"))
	got, err := json.Marshal(diags)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"f.yaml","line":1,"column":1,"severity":"error","rule":"unknown-key","message":"unknown key \"nmae\" in the scenario","hint":"did you mean \"name\"?","source":"nmae: a"}]`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var back Diagnostics
	if err := json.Unmarshal(got, &back); err != nil || len(back) != 1 || back[0] != diags[0] {
		t.Errorf("read back: got %+v, %v, want %+v", back, err, diags[0])
	}
	if empty, err := json.Marshal(Diagnostics(nil)); err != nil || string(empty) != "[]" {
		t.Errorf("nil: got %s, %v, want []", empty, err)
	}
}

func TestCaretStandsUnderWideCharacters(t *testing.T) {
	d := Diagnostic{Pos: Pos{"f", 1, 6}, Rule: "r", Message: "m", Source: "a: 配置x"}
	want := "f:1:6: error: m [r]\n    1 | a: 配置x\n      |        ^\n"
	if got := d.Detail(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
