package kube

import (
	"net/netip"
	"slices"
	"strconv"
)

const (
	// masqueradeMark is bit 14, kube-proxy's --iptables-masquerade-bit.
	masqueradeMark = "0x00004000"
	// largeCluster is the number of endpoints above which endpoint rules carry
	// no comments.
	largeCluster = 1000

	// How long the text of a chain, of an endpoint's rules and of a port's is, to
	// begin with: what is too little is grown.
	chainBytes, endpointBytes, serviceBytes = 34, 300, 512
)

// filterTop and natTop are the chains that exist whatever the Services. The
// canaries hold no rule: kubelet and kube-proxy look whether they are still
// there to notice that somebody flushed the tables.
var (
	filterTop = []string{"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"}
	natTop    = []string{"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"}
)

// render is a full sync: kube-proxy's syncProxyRules without the system calls.
func (p *Proxy) render(c *Cluster) *ruleText {
	entries := slices.DeleteFunc(slices.Clone(c.entries()), func(e *serviceEntry) bool { return !proxied(e.obj) })
	total, ports := 0, 0
	for _, e := range entries {
		for _, sp := range c.servicePorts(e) {
			total += len(sp.endpoints)
			ports++
		}
	}
	r := renderer{Proxy: p, zone: c.zone(p.cfg.NodeName), large: total > largeCluster, t: &ruleText{services: make(map[string]struct{}, total+2*ports)}}
	r.t.natChains = make(lines, 0, max(p.natChainsSize, (total+ports)*chainBytes))
	r.t.natRules = make(lines, 0, max(p.natRulesSize, total*endpointBytes+ports*serviceBytes))
	for _, chain := range filterTop {
		r.t.filterChains.chain(chain)
	}
	for _, chain := range natTop {
		r.t.natChains.chain(chain)
	}
	r.fixedRules()
	for _, e := range entries {
		ports := c.servicePorts(e)
		for i := range ports {
			r.servicePort(&ports[i])
		}
	}
	r.nodePortTail()
	r.forwardRules()
	p.natChainsSize, p.natRulesSize = len(r.t.natChains), len(r.t.natRules)
	return r.t
}

// renderer writes the rules of one node.
type renderer struct {
	*Proxy
	t     *ruleText
	zone  string
	large bool // leave out comments on endpoints
}

// martianRule drops what a neighbour sends to the loopback address.
const martianRule = `-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`

// fixedRules writes the two masquerading chains and the martian filter.
func (r *renderer) fixedRules() {
	nat, filter := &r.t.natRules, &r.t.filterRules
	nat.add("-A KUBE-POSTROUTING -m mark ! --mark", masqueradeMark+"/"+masqueradeMark, "-j RETURN")
	// Take the mark off: the packet may pass through here again, encapsulated.
	nat.add("-A KUBE-POSTROUTING -j MARK --xor-mark", masqueradeMark)
	nat.add(`-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`)
	nat.add("-A KUBE-MARK-MASQ -j MARK --or-mark", masqueradeMark)
	// With route_localnet=1 a neighbour could reach the node's loopback
	// services. kubelet writes this rule even where kube-proxy does not.
	filter.add(martianRule)
}

// forwardRules lets Service traffic through a FORWARD chain whose policy is DROP.
func (r *renderer) forwardRules() {
	filter := &r.t.filterRules
	if !r.cfg.TCPBeLiberal {
		// An INVALID packet escapes NAT: the client would see an endpoint's
		// address and reset the connection.
		filter.add("-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP")
	}
	filter.add(`-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark`, masqueradeMark+"/"+masqueradeMark, "-j ACCEPT")
	filter.add(`-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`)
}

// nodePortTail sends what is for the node itself to the node ports.
func (r *renderer) nodePortTail() {
	const rule = `-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"`
	if r.allNodePortAddresses() {
		except := ""
		if !r.localhost {
			except = "! -d 127.0.0.0/8"
		}
		r.t.natRules.add(rule, "-m addrtype --dst-type LOCAL", except, "-j KUBE-NODEPORTS")
		return
	}
	for _, ip := range r.nodePortIPs() {
		r.t.natRules.add(rule, "-d", ip.String(), "-j KUBE-NODEPORTS")
	}
}

func (p *Proxy) allNodePortAddresses() bool {
	all := func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() }
	return len(p.cfg.NodePortAddresses) == 0 || slices.ContainsFunc(p.cfg.NodePortAddresses, all)
}

// nodePortIPs returns the node's IPv4 addresses node ports are limited to.
func (p *Proxy) nodePortIPs() []netip.Addr {
	var ips []netip.Addr
	for _, ip := range p.cfg.NodeAddresses {
		within := func(p netip.Prefix) bool { return p.Contains(ip) }
		if ip.Is4() && slices.ContainsFunc(p.cfg.NodePortAddresses, within) && (p.localhost || !ip.IsLoopback()) {
			ips = append(ips, ip)
		}
	}
	return ips
}

// servicePort writes everything about one port of a Service.
func (r *renderer) servicePort(sp *servicePort) {
	s := serviceRules{renderer: r, servicePort: sp, usable: categorize(sp, r.cfg.NodeName, r.zone)}
	s.proto = "-m " + sp.protocol + " -p " + sp.protocol
	s.dport = "--dport " + portText(sp.spec.Port)
	s.clusterIPRules()
	s.externalIPRules()
	s.loadBalancerRules()
	s.nodePortRules()
	s.healthCheckRule()
	if s.hasInternal() {
		s.masqueradeInternal()
	}
	if s.anywhere && sp.external() {
		s.externalChainRules()
	}
	if s.firewalled() {
		s.firewallRules()
	}
	if len(s.cluster) > 0 {
		s.balance(sp.clusterChain, s.cluster)
	}
	if len(s.local) > 0 {
		s.balance(sp.localChain, s.local)
	}
	for _, ep := range s.reachable {
		s.endpointChain(ep)
	}
}

// probability is 1/n as kube-proxy writes it.
func (p *Proxy) probability(n int) string {
	for i := len(p.odds); i <= n; i++ {
		p.odds = append(p.odds, strconv.FormatFloat(1/float64(max(i, 1)), 'f', 10, 64))
	}
	return p.odds[n]
}
