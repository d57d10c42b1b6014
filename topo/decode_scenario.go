package topo

import (
	"fmt"
	"path"
	"strconv"

	yaml "go.yaml.in/yaml/v3"

	"github.com/podwire/podwire/emu"
)

const scenarioName = "the scenario"

// Limits of what a scenario may ask for: the sizes up to which Kubernetes itself
// is specified (kubernetes.io, "Considerations for large clusters").
const (
	MaxNodes = 5_000
	MaxPods  = 150_000
)

var scenarioKeys = []string{"name", "seed", "cluster", "underlay", "hosts", "manifests", "pods", "steps", "faults", "capture"}

// decodeScenario fills the parts of the Scenario that need nothing but their own
// text. What refers to other things is resolved when all files are read.
func (l *load) decodeScenario(d *document) {
	m, ok := l.mapping(d, d.root, scenarioName, scenarioKeys...)
	if !ok {
		return
	}
	sc := l.sc
	sc.Name = m.str("name")
	sc.Seed = decode(m, "seed", "a whole number, not negative", func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	l.decodeCluster(m)
	l.decodeUnderlay(m)
	m.list("hosts", "a list of {name, address}", func(p string, n *yaml.Node) { l.decodeHost(d, p, n) })
	m.list("manifests", "a list of file names", func(p string, n *yaml.Node) {
		if s, ok := l.scalar(d, n, p, "a file name"); ok {
			sc.Manifests = append(sc.Manifests, Field[string]{s, d.pos(n)})
		}
	})
	m.list("pods", "a list of pods", func(p string, n *yaml.Node) { l.decodePod(d, p, n) })
	m.list("steps", "a list of steps", func(p string, n *yaml.Node) { l.decodeStep(d, p, n) })
	if l.Faults == nil {
		m.list("faults", "a list of faults", func(p string, n *yaml.Node) { l.decodeFault(d, p, n) })
	} else {
		l.otherFaults(d, m.node)
	}
	l.checkStepOrder()
	l.decodeCapture(m)
}

func (l *load) decodeCluster(top mapping) {
	n := top.get("cluster")
	if n == nil {
		return
	}
	m, ok := l.mapping(top.d, n, "cluster", "design", "nodes", "podCIDR", "serviceCIDR", "proxy", "ipvsScheduler", "strictARP", "proxySyncDelay", "dns", "loadBalancers", "conntrackRace", "cpu", "sysctls")
	if !ok {
		return
	}
	c := &l.sc.Cluster
	c.Pos = top.d.pos(n)
	c.Design = m.str("design")
	if len(l.Designs) > 0 {
		c.Design = m.word("design", l.Designs)
	}
	c.Proxy = m.word("proxy", l.Proxies)
	c.IPVSScheduler = m.word("ipvsScheduler", emu.IPVSSchedulers())
	c.StrictARP = m.boolean("strictARP")
	l.wantIPVS(c)
	c.ProxySyncDelay = m.duration("proxySyncDelay")
	c.DNS = m.boolean("dns")
	c.LoadBalancers = m.prefix("loadBalancers")
	c.ConntrackRace = m.word("conntrackRace", []string{"drop", "resolve"})
	c.PodCIDR = m.prefix("podCIDR")
	c.ServiceCIDR = m.prefix("serviceCIDR")
	c.CPU = l.decodeCPU(m)
	c.Sysctls = l.sysctls(m)
	l.decodeNodes(m)
}

// wantIPVS wants settings of IPVS in ipvs mode only.
func (l *load) wantIPVS(c *Cluster) {
	if c.Proxy.Value == emu.ProxyIPVS {
		return
	}
	for key, pos := range map[string]Pos{"ipvsScheduler": c.IPVSScheduler.Pos, "strictARP": c.StrictARP.Pos} {
		if pos.Line > 0 {
			l.addAt(pos, Diagnostic{Rule: "wrong-mode", Message: "cluster." + key + ": only proxy: ipvs has this setting", Hint: "set proxy: ipvs, or leave it out"})
		}
	}
}

func (l *load) decodeNodes(m mapping) {
	n := m.get("nodes")
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode:
		count := m.integer("nodes", 1, MaxNodes)
		for i := range count.Value {
			l.sc.Cluster.Nodes = append(l.sc.Cluster.Nodes, Node{Name: Field[string]{fmt.Sprintf("node%d", i+1), count.Pos}})
		}
	case n.Kind == yaml.SequenceNode:
		if len(n.Content) > MaxNodes {
			l.reportAt(m.d, n, Diagnostic{Rule: "too-large", Message: fmt.Sprintf("cluster.nodes: found %d nodes, want at most %d", len(n.Content), MaxNodes)})
			return
		}
		m.list("nodes", "", func(p string, n *yaml.Node) { l.decodeNode(m.d, p, n) })
	default:
		l.wrongType(m.d, n, "cluster.nodes", "a number or a list of {name, address, podCIDR, link}")
	}
}

func (l *load) decodeNode(d *document, p string, n *yaml.Node) {
	m, ok := l.mapping(d, n, p, "name", "address", "podCIDR", "link", "routes", "labels", "iptables", "ipset", "nftables")
	if !ok {
		return
	}
	node := Node{Name: l.name(m), Address: m.addr("address"), PodCIDR: m.prefix("podCIDR"), Labels: l.labels(m, "labels")}
	node.Link, node.Routes = m.link("link"), l.routes(m)
	node.Rules = l.rules(m)
	l.sc.Cluster.Nodes = append(l.sc.Cluster.Nodes, node)
}

func (l *load) decodeHost(d *document, p string, n *yaml.Node) {
	m, ok := l.mapping(d, n, p, "name", "address", "link", "routes", "ports", "sysctls", "iptables", "ipset", "nftables", "tap", "netns")
	if !ok {
		return
	}
	h := Host{
		Name: l.name(m), Address: m.addr("address"), Link: m.link("link"), Routes: l.routes(m), Ports: l.ports(m), Sysctls: l.sysctls(m), Rules: l.rules(m),
		TAP: m.str("tap"), Netns: m.str("netns"), routesSet: m.get("routes") != nil,
	}
	l.sc.Hosts = append(l.sc.Hosts, h)
	l.checkTAP(m, h)
}

// name decodes the name of a node, host, pod or container, which must be present
// and a DNS label, as Kubernetes wants it.
func (l *load) name(m mapping) Field[string] {
	if m.get("name") == nil {
		l.reportAt(m.d, m.node, Diagnostic{Rule: "missing-name", Message: m.what + ": no name, want one"})
		return Field[string]{}
	}
	return decode(m, "name", "lower case letters, digits and '-', at most 63 in a label", parseName)
}

func parseName(s string) (string, error) {
	const maxName = 253
	label := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		edge := i == 0 || i == len(s)-1 || s[i-1] == '.' || s[i+1] == '.'
		switch {
		case c == '.' && label > 0:
			label = -1
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-' && !edge:
		default:
			return "", strconv.ErrSyntax
		}
		if label++; label > 63 {
			return "", strconv.ErrRange
		}
	}
	if s == "" || len(s) > maxName || label == 0 {
		return "", strconv.ErrSyntax
	}
	return s, nil
}

// labels decodes a mapping of words to words.
func (l *load) labels(m mapping, key string) map[string]string {
	n := m.get(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		l.wrongType(m.d, n, m.path(key), "a mapping of words to words")
		return nil
	}
	out := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i].Value
		if v, ok := l.scalar(m.d, n.Content[i+1], m.path(key)+"["+k+"]", "a word"); ok {
			out[k] = v
		}
	}
	return out
}

// decodeCapture reads "all", one glob, or a list of globs.
func (l *load) decodeCapture(m mapping) {
	one := func(p string, n *yaml.Node) {
		s, ok := l.scalar(m.d, n, p, "a glob over capture points")
		if !ok {
			return
		}
		if _, err := path.Match(s, ""); err != nil || s == "" {
			l.reportAt(m.d, n, Diagnostic{Rule: "bad-value", Message: fmt.Sprintf("%s: found %s, want a glob such as node1/*", p, quoted(s))})
			return
		}
		l.sc.Capture = append(l.sc.Capture, Field[string]{s, m.d.pos(n)})
	}
	if n := m.get("capture"); n != nil && n.Kind == yaml.ScalarNode {
		one("capture", n)
		return
	}
	m.list("capture", "all or a list of globs", one)
}
