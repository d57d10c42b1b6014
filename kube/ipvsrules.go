package kube

// ipvsJumps are kube-proxy's in ipvs mode, and kubelet's, in the order of
// creation, each above the one before.
var ipvsJumps = []jump{
	{"filter", "INPUT", "KUBE-FIREWALL", "", ""},
	{"filter", "OUTPUT", "KUBE-FIREWALL", "", ""},
	{"nat", "OUTPUT", "KUBE-SERVICES", "", "kubernetes service portals"},
	{"nat", "PREROUTING", "KUBE-SERVICES", "", "kubernetes service portals"},
	{"nat", "POSTROUTING", "KUBE-POSTROUTING", "", "kubernetes postrouting rules"},
	{"filter", "FORWARD", "KUBE-FORWARD", "", "kubernetes forwarding rules"},
	{"filter", "INPUT", "KUBE-NODE-PORT", "", "kubernetes health check rules"},
	{"filter", "INPUT", "KUBE-PROXY-FIREWALL", "", "kube-proxy firewall rules"},
	{"filter", "FORWARD", "KUBE-PROXY-FIREWALL", "", "kube-proxy firewall rules"},
	{"filter", "INPUT", "KUBE-IPVS-FILTER", "", "kubernetes ipvs access filter"},
	{"filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER", "", "kubernetes ipvs access filter"},
}

// IPVSJumps is [Jumps] for ipvs mode.
func IPVSJumps() string {
	return "*filter\n" + jumpText("-I", "filter", ipvsJumps) + "COMMIT\n*nat\n" + jumpText("-I", "nat", ipvsJumps) + "COMMIT\n"
}

// ipvsSetRules are the rules that only a set which is not empty has, in the
// order of kube-proxy's list.
var ipvsSetRules = []struct{ set, table, from, match, comment, dims, to string }{
	{setLoopBack, "nat", "KUBE-POSTROUTING", "", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose", "dst,dst,src", "MASQUERADE"},
	{setBalancer, "nat", "KUBE-SERVICES", "", "Kubernetes service lb portal", "dst,dst", "KUBE-LOAD-BALANCER"},
	{setBalancerLoc, "nat", "KUBE-LOAD-BALANCER", "", "Kubernetes service load balancer ip + port with externalTrafficPolicy=local", "dst,dst", "RETURN"},
	{"KUBE-NODE-PORT-LOCAL-TCP", "nat", "KUBE-NODE-PORT", "-p tcp", "Kubernetes nodeport TCP port with externalTrafficPolicy=local", "dst", "RETURN"},
	{"KUBE-NODE-PORT-TCP", "nat", "KUBE-NODE-PORT", "-p tcp", "Kubernetes nodeport TCP port for masquerade purpose", "dst", "KUBE-MARK-MASQ"},
	{"KUBE-NODE-PORT-LOCAL-UDP", "nat", "KUBE-NODE-PORT", "-p udp", "Kubernetes nodeport UDP port with externalTrafficPolicy=local", "dst", "RETURN"},
	{"KUBE-NODE-PORT-UDP", "nat", "KUBE-NODE-PORT", "-p udp", "Kubernetes nodeport UDP port for masquerade purpose", "dst", "KUBE-MARK-MASQ"},
	{setBalancerFW, "filter", "KUBE-PROXY-FIREWALL", "", "Kubernetes service load balancer ip + port for load balancer with sourceRange", "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL"},
	{setSourceCIDR, "filter", "KUBE-SOURCE-RANGES-FIREWALL", "", "Kubernetes service load balancer ip + port + source cidr for packet filter", "dst,dst,src", "RETURN"},
	{setSourceIP, "filter", "KUBE-SOURCE-RANGES-FIREWALL", "", "Kubernetes service load balancer ip + port + source IP for packet filter", "dst,dst,src", "RETURN"},
}

// rules are the few that there are, however many Services.
func (w *ipvsWriter) rules() string {
	t := &ruleText{services: map[string]struct{}{}}
	for _, name := range []string{"KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"} {
		t.filterChains.chain(name)
	}
	for _, name := range []string{"KUBE-KUBELET-CANARY", "KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"} {
		t.natChains.chain(name)
	}
	nat, filter := &t.natRules, &t.filterRules
	filter.add(martianRule)
	nat.add("-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN")
	for _, r := range ipvsSetRules {
		if len(w.sets[r.set]) == 0 {
			continue
		}
		rules := nat
		if r.table == "filter" {
			rules = filter
		}
		rules.add("-A", r.from, r.match, setComment(r.comment), "-m set --match-set", r.set, r.dims, "-j", r.to)
	}
	w.serviceRules(nat)
	filter.add("-A KUBE-SOURCE-RANGES-FIREWALL -j DROP")
	for _, set := range []string{setClusterIP, setBalancer} {
		if len(w.sets[set]) > 0 {
			nat.add("-A KUBE-SERVICES -m set --match-set", set, "dst,dst -j ACCEPT")
		}
	}
	const mark = masqueradeMark + "/" + masqueradeMark
	filter.add(`-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark`, mark, "-j ACCEPT")
	filter.add(`-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`)
	filter.add("-A KUBE-NODE-PORT", setComment("Kubernetes health check node port"), "-m set --match-set", setHealth, "dst -j ACCEPT")
	// Ports of the host that are not the Service's must not be reached through its
	// address (kubernetes#72236).
	for _, set := range []string{setBalancer, setClusterIP, setExternal, setExternalLoc} {
		filter.add("-A KUBE-IPVS-FILTER -m set --match-set", set, "dst,dst -j RETURN")
	}
	filter.add("-A KUBE-IPVS-FILTER -m set --match-set", setHealth, "dst -j RETURN")
	filter.add("-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set", setIPVSIPs, "dst -j REJECT")
	nat.add("-A KUBE-POSTROUTING -m mark ! --mark", mark, "-j RETURN")
	nat.add("-A KUBE-POSTROUTING -j MARK --xor-mark", masqueradeMark)
	nat.add(`-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully`)
	nat.add("-A KUBE-MARK-MASQ -j MARK --or-mark", masqueradeMark)
	return t.text("", "", nil)
}

// serviceRules masquerade what comes from outside the pod network, or to a node
// port or an external address.
func (w *ipvsWriter) serviceRules(nat *lines) {
	if len(w.sets[setClusterIP]) > 0 {
		source, dims := "", "dst,dst"
		switch {
		case w.cfg.MasqueradeAll:
		case w.cfg.ClusterCIDR.IsValid():
			source = "! -s " + w.cfg.ClusterCIDR.String()
		default:
			dims = "src,dst" // the node itself: its source is the cluster IP
		}
		nat.add("-A KUBE-SERVICES", source, setComment("Kubernetes service cluster ip + port for masquerade purpose"), "-m set --match-set", setClusterIP, dims, "-j KUBE-MARK-MASQ")
	}
	for _, set := range []string{setExternal, setExternalLoc} {
		if len(w.sets[set]) == 0 {
			continue
		}
		comment := setComment("Kubernetes service external ip + port for masquerade and filter purpose")
		if set == setExternalLoc {
			comment = setComment("Kubernetes service external ip + port with externalTrafficPolicy=local")
		}
		rule := "-A KUBE-SERVICES " + comment + " -m set --match-set " + set + " dst,dst"
		if set == setExternal {
			nat.add(rule, "-j KUBE-MARK-MASQ")
		}
		nat.add(rule, "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT")
		nat.add(rule, "-m addrtype --dst-type LOCAL -j ACCEPT")
	}
	nat.add("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT")
	nat.add("-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ")
}

func setComment(text string) string { return "-m comment --comment " + quote(text) }
