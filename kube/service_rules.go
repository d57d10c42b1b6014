package kube

// serviceRules writes the rules of one port of a Service for one node.
//
// A packet to the Service takes the path
//
//	KUBE-SERVICES -> KUBE-SVC-x -> KUBE-SEP-y                       cluster IP
//	KUBE-SERVICES [-> KUBE-NODEPORTS] -> KUBE-EXT-x -> KUBE-SVC-x   other frontends
//
// with KUBE-SVL-x in place of KUBE-SVC-x where the Local policy holds. What
// cannot be served is refused in the filter table instead: rejected if no
// endpoint exists anywhere, dropped if there are only none on this node, so
// that a load balancer tries another node.
type serviceRules struct {
	*renderer
	*servicePort
	usable
	proto string // "-m tcp -p tcp"
	dport string // "--dport 80"
}

// hasInternal reports whether traffic to the cluster IP reaches an endpoint.
func (s *serviceRules) hasInternal() bool {
	return s.anywhere && (!s.internalLocal() || len(s.local) > 0)
}

// hasExternal reports whether traffic to the other frontends does.
func (s *serviceRules) hasExternal() bool {
	return s.anywhere && (!s.externalLocal() || len(s.local) > 0)
}

// firewalled reports whether load balancer addresses are open to some sources only.
func (s *serviceRules) firewalled() bool {
	return s.anywhere && len(s.vips) > 0 && len(s.sources) > 0
}

// internalChain is where the cluster IP leads.
func (s *serviceRules) internalChain() string {
	if s.internalLocal() {
		return s.localChain
	}
	return s.clusterChain
}

// refusal is the comment and the target for traffic that cannot be served.
func (s *serviceRules) refusal() (comment, target string) {
	if !s.anywhere {
		return s.comment(" has no endpoints"), "REJECT"
	}
	return s.comment(" has no local endpoints"), "DROP"
}

// comment is a comment match that begins with the name of the port.
func (s *serviceRules) comment(about string) string {
	return `-m comment --comment "` + s.name + about + `"`
}

// about is a comment match around the name.
func (s *serviceRules) about(before, after string) string {
	return `-m comment --comment "` + before + s.name + after + `"`
}

func (s *serviceRules) clusterIPRules() {
	dst := "-d " + s.svc.Spec.ClusterIP
	if s.hasInternal() {
		s.t.natRules.add("-A KUBE-SERVICES", s.comment(" cluster IP"), s.proto, dst, s.dport, "-j", s.internalChain())
		return
	}
	comment, target := s.refusal()
	s.t.filterRules.add("-A KUBE-SERVICES", comment, s.proto, dst, s.dport, "-j", target)
}

func (s *serviceRules) externalIPRules() {
	for _, ip := range s.externalIPs {
		if s.anywhere {
			s.t.natRules.add("-A KUBE-SERVICES", s.comment(" external IP"), s.proto, "-d", ip, s.dport, "-j", s.externalChain)
		}
		s.refuseExternal("-d " + ip)
	}
}

func (s *serviceRules) loadBalancerRules() {
	target := s.externalChain
	if s.firewalled() {
		target = s.firewallChain
	}
	for _, ip := range s.vips {
		if s.anywhere {
			s.t.natRules.add("-A KUBE-SERVICES", s.comment(" loadbalancer IP"), s.proto, "-d", ip, s.dport, "-j", target)
		}
		if s.firewalled() {
			s.t.filterRules.add("-A KUBE-PROXY-FIREWALL", s.comment(" traffic not accepted by "+s.firewallChain), s.proto, "-d", ip, s.dport, "-j DROP")
		}
	}
	for _, ip := range s.vips {
		s.refuseExternal("-d " + ip)
	}
}

// refuseExternal refuses traffic to a frontend that no endpoint stands behind.
// What KUBE-EXT short-circuits has left for an endpoint by then.
func (s *serviceRules) refuseExternal(dst string) {
	if s.hasExternal() {
		return
	}
	comment, target := s.refusal()
	s.t.filterRules.add("-A KUBE-EXTERNAL-SERVICES", comment, s.proto, dst, s.dport, "-j", target)
}

func (s *serviceRules) nodePortRules() {
	if s.spec.NodePort == 0 {
		return
	}
	dport := "--dport " + portText(s.spec.NodePort)
	if s.anywhere {
		s.t.natRules.add("-A KUBE-NODEPORTS -m comment --comment", s.name, s.proto, dport, "-j", s.externalChain)
	}
	if !s.hasExternal() {
		comment, target := s.refusal()
		s.t.filterRules.add("-A KUBE-EXTERNAL-SERVICES", comment, "-m addrtype --dst-type LOCAL", s.proto, dport, "-j", target)
	}
}

// healthCheckRule lets the load balancer's probes in, endpoints or not.
func (s *serviceRules) healthCheckRule() {
	if p := s.healthCheckNodePort(); p != 0 {
		s.t.filterRules.add("-A KUBE-NODEPORTS", s.comment(" health check node port"), "-m tcp -p tcp --dport", portText(p), "-j ACCEPT")
	}
}

// masqueradeInternal masquerades traffic to the cluster IP that comes from
// outside the pod network: it may have been routed here to be bridged into the
// Service, and the answer has to come back this way.
func (s *serviceRules) masqueradeInternal() {
	source := ""
	switch {
	case s.cfg.MasqueradeAll:
	case s.cfg.ClusterCIDR.IsValid():
		source = "! -s " + s.cfg.ClusterCIDR.String()
	default:
		return
	}
	s.t.natRules.add("-A", s.internalChain(), s.comment(" cluster IP"), s.proto, "-d", s.svc.Spec.ClusterIP, s.dport, source, "-j KUBE-MARK-MASQ")
}

// externalChainRules fills KUBE-EXT.
func (s *serviceRules) externalChainRules() {
	nat, rule := &s.t.natRules, "-A "+s.externalChain
	const destinations = " external destinations"
	s.t.serviceChain(s.externalChain)
	if !s.externalLocal() {
		// The endpoint may be on another node, which must answer through this one.
		nat.add(rule, s.about("masquerade traffic for ", destinations), "-j KUBE-MARK-MASQ")
		nat.add(rule, "-j", s.clusterChain)
		return
	}
	if s.cfg.ClusterCIDR.IsValid() {
		// Pods are treated as if they had gone out to a load balancer and come
		// back in at whichever node has an endpoint.
		nat.add(rule, s.about("pod traffic for ", destinations), "-s", s.cfg.ClusterCIDR.String(), "-j", s.clusterChain)
	}
	// So is the node, but its source address may be that of the frontend itself.
	nat.add(rule, s.about("masquerade LOCAL traffic for ", destinations), "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ")
	nat.add(rule, s.about("route LOCAL traffic for ", destinations), "-m addrtype --src-type LOCAL -j", s.clusterChain)
	if s.hasExternal() {
		nat.add(rule, "-j", s.localChain)
	}
}

// firewallRules fills KUBE-FW: what falls off its end is not translated, and
// so still bears the address KUBE-PROXY-FIREWALL drops.
func (s *serviceRules) firewallRules() {
	nat := &s.t.natRules
	s.t.serviceChain(s.firewallChain)
	rule := "-A " + s.firewallChain + " " + s.comment(" loadbalancer IP")
	fromNode := false
	for _, source := range s.sources {
		nat.add(rule, "-s", source.String(), "-j", s.externalChain)
		fromNode = fromNode || source.Contains(s.cfg.NodeIP)
	}
	if fromNode {
		// Where the balancer's address is also a local one, the node talks to it
		// with that very address as its source.
		for _, ip := range s.vips {
			nat.add(rule, "-s", ip, "-j", s.externalChain)
		}
	}
	nat.add("-A", s.firewallChain, s.about("other traffic to ", " will be dropped by KUBE-PROXY-FIREWALL"))
}

// balance writes a chain that chooses one of the endpoints: the one the client
// had last if there is affinity, else each with the same probability.
func (s *serviceRules) balance(chain string, eps []*Endpoint) {
	nat, rule := &s.t.natRules, "-A "+chain
	s.t.serviceChain(chain)
	if seconds := s.affinitySeconds(); seconds != 0 {
		check := "--rcheck --seconds " + portText(seconds) + " --reap"
		for _, ep := range eps {
			nat.add(rule, s.endpointComment(ep), "-m recent --name", ep.chain, check, "-j", ep.chain)
		}
	}
	for i, ep := range eps {
		if left := len(eps) - i; left > 1 {
			nat.add(rule, s.endpointComment(ep), "-m statistic --mode random --probability", s.probability(left), "-j", ep.chain)
		} else {
			nat.add(rule, s.endpointComment(ep), "-j", ep.chain)
		}
	}
}

func (s *serviceRules) endpointComment(ep *Endpoint) string {
	if s.large {
		return ""
	}
	return s.comment(" -> " + ep.text)
}

// endpointChain writes the chain of one endpoint.
func (s *serviceRules) endpointChain(ep *Endpoint) {
	nat, comment := &s.t.natRules, ""
	s.t.serviceChain(ep.chain)
	if !s.large {
		comment = "-m comment --comment " + s.name
	}
	// An endpoint that reaches itself must not see its own address as the
	// source, or it would answer without passing here again.
	nat.add("-A", ep.chain, comment, "-s", ep.ip, "-j KUBE-MARK-MASQ")
	if s.affinitySeconds() != 0 {
		nat.add("-A", ep.chain, comment, "-m recent --name", ep.chain, "--set", s.proto, "-j DNAT --to-destination", ep.text)
		return
	}
	nat.add("-A", ep.chain, comment, s.proto, "-j DNAT --to-destination", ep.text)
}
