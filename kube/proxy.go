package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ProxyConfig is what kube-proxy is told about the node it runs on.
type ProxyConfig struct {
	// NodeName is compared with spec.nodeName of pods to find local endpoints.
	NodeName string
	// NodeIP is the node's primary address. It matters for
	// loadBalancerSourceRanges only; if zero, the node is in none of them.
	NodeIP netip.Addr
	// ClusterCIDR tells pod traffic from other traffic (--cluster-cidr). If
	// zero, kube-proxy cannot tell: traffic from outside to a cluster IP is not
	// masqueraded, and with externalTrafficPolicy Local pods are treated as
	// outsiders.
	ClusterCIDR netip.Prefix
	// MasqueradeAll masquerades all traffic to cluster IPs (--masquerade-all).
	MasqueradeAll bool
	// NoLocalhostNodePorts keeps node ports off 127.0.0.0/8
	// (--iptables-localhost-nodeports=false). If false they answer there, which
	// needs the sysctl net.ipv4.conf.all.route_localnet=1.
	NoLocalhostNodePorts bool
	// NodePortAddresses limits node ports to the node's addresses within these
	// prefixes (--nodeport-addresses). If empty, or if one has length 0, all.
	NodePortAddresses []netip.Prefix
	// NodeAddresses are all addresses of the node, 127.0.0.1 among them if it is
	// to count. Only read when NodePortAddresses limits them, and in ipvs mode.
	NodeAddresses []netip.Addr
	// TCPBeLiberal says that net.netfilter.nf_conntrack_tcp_be_liberal is set,
	// which spares packets in state INVALID from being dropped.
	TCPBeLiberal bool
}

// Proxy is kube-proxy of one node, in iptables mode, for IPv4. Use NewProxy. It
// remembers which chains it wrote last, to delete those no longer needed.
type Proxy struct {
	cfg       ProxyConfig
	localhost bool                // node ports answer on 127.0.0.0/8
	odds      []string            // 1/n as text, by n
	active    map[string]struct{} // per-Service chains of the last text

	natChainsSize, natRulesSize int // of the last text: the next is about as long
}

// NewProxy returns the proxy of a node.
func NewProxy(cfg ProxyConfig) (*Proxy, error) {
	if p := cfg.ClusterCIDR; p.IsValid() && !p.Addr().Is4() {
		return nil, fmt.Errorf("kube: proxy: cluster CIDR %s, want an IPv4 prefix", p)
	}
	cfg.ClusterCIDR = cfg.ClusterCIDR.Masked()
	p := &Proxy{cfg: cfg, localhost: !cfg.NoLocalhostNodePorts}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	contains := func(p netip.Prefix) bool { return p.Contains(loopback) || p.Addr().IsLoopback() }
	if !p.allNodePortAddresses() && !slices.ContainsFunc(cfg.NodePortAddresses, contains) {
		p.localhost = false
	}
	return p, nil
}

// SetNodeAddresses tells the proxy what addresses its node has now.
func (p *Proxy) SetNodeAddresses(list []netip.Addr) { p.cfg.NodeAddresses = list }

// IPTables returns the rules of a node as one text for iptables-restore, which
// replaces everything in the tables filter and nat: chains, the jumps from the
// built-in chains, and a rule set for every Service port.
func (p *Proxy) IPTables(c *Cluster) string {
	t := p.render(c)
	p.active = t.services
	return t.text(jumpRules("-A", "filter"), jumpRules("-A", "nat"), builtIn)
}

// Sync returns the rules for iptables-restore --noflush: it replaces kube-proxy's
// own chains, deletes those of Services and endpoints that are gone since the
// last text this Proxy returned, and leaves the built-in chains and the rules of
// others alone. A node that was not loaded with IPTables needs Jumps once.
func (p *Proxy) Sync(c *Cluster) string {
	t := p.render(c)
	gone := make([]string, 0)
	for chain := range p.active {
		if _, ok := t.services[chain]; !ok {
			gone = append(gone, chain)
		}
	}
	slices.Sort(gone)
	for _, chain := range gone {
		// A chain must be empty to be deleted; declaring it empties it.
		t.natChains.chain(chain)
		t.natRules.add("-X", chain)
	}
	p.active = t.services
	return t.text("", "", nil)
}

// Jumps returns the rules that lead from the built-in chains to kube-proxy's,
// as a text for iptables-restore --noflush to load once, after a first Sync.
// Like kube-proxy's they are inserted at the top, so a rule that a network
// plugin appends to POSTROUTING stays behind KUBE-POSTROUTING.
func Jumps() string {
	return "*filter\n" + jumpRules("-I", "filter") + "COMMIT\n*nat\n" + jumpRules("-I", "nat") + "COMMIT\n"
}

// jump is a rule in a built-in chain.
type jump struct{ table, from, to, match, comment string }

const stateNew = "-m conntrack --ctstate NEW"

// jumps are in the order kube-proxy creates them, each above the one before.
// The last two are kubelet's, which kube-proxy creates too so as not to depend
// on who starts first.
var jumps = []jump{
	{"filter", "INPUT", "KUBE-EXTERNAL-SERVICES", stateNew, "kubernetes externally-visible service portals"},
	{"filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", stateNew, "kubernetes externally-visible service portals"},
	{"filter", "INPUT", "KUBE-NODEPORTS", "", "kubernetes health check service ports"},
	{"filter", "FORWARD", "KUBE-SERVICES", stateNew, "kubernetes service portals"},
	{"filter", "OUTPUT", "KUBE-SERVICES", stateNew, "kubernetes service portals"},
	{"filter", "FORWARD", "KUBE-FORWARD", "", "kubernetes forwarding rules"},
	{"filter", "INPUT", "KUBE-PROXY-FIREWALL", stateNew, "kubernetes load balancer firewall"},
	{"filter", "OUTPUT", "KUBE-PROXY-FIREWALL", stateNew, "kubernetes load balancer firewall"},
	{"filter", "FORWARD", "KUBE-PROXY-FIREWALL", stateNew, "kubernetes load balancer firewall"},
	{"nat", "OUTPUT", "KUBE-SERVICES", "", "kubernetes service portals"},
	{"nat", "PREROUTING", "KUBE-SERVICES", "", "kubernetes service portals"},
	{"nat", "POSTROUTING", "KUBE-POSTROUTING", "", "kubernetes postrouting rules"},
	{"filter", "INPUT", "KUBE-FIREWALL", "", ""},
	{"filter", "OUTPUT", "KUBE-FIREWALL", "", ""},
}

// jumpRules writes the jumps of a table: to be inserted (-I) in the order of
// creation, or appended (-A) in the order of evaluation, which is the reverse.
func jumpRules(op, table string) string { return jumpText(op, table, jumps) }

func jumpText(op, table string, jumps []jump) string {
	var rules lines
	list := slices.Clone(jumps)
	if op == "-A" {
		slices.Reverse(list)
	}
	for _, j := range list {
		if j.table != table {
			continue
		}
		comment := ""
		if j.comment != "" {
			comment = "-m comment --comment " + quote(j.comment)
		}
		rules.add(op, j.from, j.match, comment, "-j", j.to)
	}
	return string(rules)
}

// builtIn are the built-in chains of the tables kube-proxy writes.
var builtIn = map[string][]string{
	"filter": {"INPUT", "FORWARD", "OUTPUT"},
	"nat":    {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
}

// ruleText is a rule set being written, table by table, chains before rules.
type ruleText struct {
	filterChains, filterRules lines
	natChains, natRules       lines
	services                  map[string]struct{} // chains of Services and endpoints
}

// serviceChain declares a nat chain that lives only as long as its Service.
func (t *ruleText) serviceChain(name string) {
	t.natChains.chain(name)
	t.services[name] = struct{}{}
}

// text joins the tables, with what is to stand before kube-proxy's own rules.
func (t *ruleText) text(filterJumps, natJumps string, builtIn map[string][]string) string {
	var b strings.Builder
	b.Grow(len(t.filterChains) + len(t.filterRules) + len(t.natChains) + len(t.natRules) + 4096)
	for _, table := range []struct {
		name, jumps   string
		chains, rules lines
	}{
		{"filter", filterJumps, t.filterChains, t.filterRules},
		{"nat", natJumps, t.natChains, t.natRules},
	} {
		b.WriteString("*" + table.name + "\n")
		for _, chain := range builtIn[table.name] {
			b.WriteString(":" + chain + " ACCEPT [0:0]\n")
		}
		b.Write(table.chains)
		b.WriteString(table.jumps)
		b.Write(table.rules)
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// lines is iptables-restore text under construction.
type lines []byte

// add writes a line of words, or groups of words; empty ones are left out.
func (l *lines) add(words ...string) {
	sep := false
	for _, w := range words {
		if w == "" {
			continue
		}
		if sep {
			*l = append(*l, ' ')
		}
		*l = append(*l, w...)
		sep = true
	}
	*l = append(*l, '\n')
}

// chain declares a chain, which creates it or empties it.
func (l *lines) chain(name string) {
	*l = append(*l, ':')
	*l = append(*l, name...)
	*l = append(*l, " - [0:0]\n"...)
}

// quote makes one word of a comment. What goes in is composed of validated
// names and addresses, so there is nothing to escape.
func quote(s string) string { return `"` + s + `"` }
