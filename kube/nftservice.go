package kube

import (
	"strconv"
	"strings"
)

// nftService writes the rules of one port of a Service for one node.
//
// A packet to the Service takes the path
//
//	services -> @service-ips -> service-x                          cluster IP
//	services -> @service-ips, @service-nodeports -> external-x -> service-x
//
// with local-x in place of service-x where the Local policy holds, and from
// there, with session affinity, to endpoint-y. The decisions are those of
// [serviceRules].
type nftService struct {
	serviceRules
	*nftWriter
	id string // hash-namespace/name/protocol/port
}

func (w *nftWriter) servicePort(sp *servicePort) {
	s := nftService{
		serviceRules: serviceRules{servicePort: sp, usable: categorize(sp, w.cfg.NodeName, w.zone)},
		nftWriter:    w,
		id:           nftName(sp.path()),
	}
	s.frontends()
	s.firewall()
	if s.anywhere && sp.external() {
		s.external()
	}
	if s.affinitySeconds() != 0 {
		for _, ep := range s.reachable {
			s.affinitySet(ep)
			s.endpoint(ep)
		}
	}
	if len(s.cluster) > 0 {
		s.choose("service-"+s.id, s.cluster)
	}
	if len(s.local) > 0 {
		s.choose("local-"+s.id, s.local)
	}
	for _, ep := range s.reachable {
		if ep.Node == w.cfg.NodeName && ep.Node != "" {
			w.hairpinOf(ep.ip + " . " + ep.ip + " . " + sp.protocol + " . " + strconv.Itoa(int(ep.Addr.Port())))
		}
	}
}

// hairpinOf notes an endpoint that may come to reach itself, once.
func (w *nftWriter) hairpinOf(element string) {
	if !w.used[element] {
		w.used[element] = true
		w.hairpin = append(w.hairpin, element)
	}
}

// path is what names of chains are made of.
func (p *servicePort) path() string {
	return p.svc.Namespace + "/" + p.svc.Name + "/" + p.protocol + "/" + p.spec.Name
}

// frontends maps the addresses and ports to chains, or to what refuses them.
func (s *nftService) frontends() {
	dport := " . " + s.protocol + " . " + portText(s.spec.Port)
	refused := ` comment "` + s.name + `" : ` + s.nftRefusal()
	ip := s.svc.Spec.ClusterIP
	if !s.used[ip] {
		s.used[ip] = true
		s.clusterIPs = append(s.clusterIPs, ip)
	}
	if s.hasInternal() {
		to := "service-"
		if s.internalLocal() {
			to = "local-"
		}
		s.serviceIPs = append(s.serviceIPs, ip+dport+" : goto "+to+s.id)
	} else {
		s.noIPs = append(s.noIPs, ip+dport+refused)
	}
	for _, list := range [][]string{s.externalIPs, s.vips} {
		for _, ip := range list {
			if s.anywhere {
				s.serviceIPs = append(s.serviceIPs, ip+dport+" : goto external-"+s.id)
			}
			if !s.hasExternal() {
				s.noIPs = append(s.noIPs, ip+dport+refused)
			}
		}
	}
	if s.spec.NodePort == 0 {
		return
	}
	port := s.protocol + " . " + portText(s.spec.NodePort)
	if s.anywhere {
		s.serviceNodePorts = append(s.serviceNodePorts, port+" : goto external-"+s.id)
	}
	if !s.hasExternal() {
		s.noNodePorts = append(s.noNodePorts, port+refused)
	}
}

// nftRefusal is what becomes of traffic that cannot be served: reject is no
// verdict that a map could hold.
func (s *nftService) nftRefusal() string {
	if !s.anywhere {
		return "goto reject-chain"
	}
	return "drop"
}

// firewall drops traffic to a load balancer's address from elsewhere than
// loadBalancerSourceRanges, before it is translated.
func (s *nftService) firewall() {
	if len(s.vips) == 0 || len(s.sources) == 0 {
		return
	}
	var sources []string
	fromNode := false
	for _, p := range s.sources {
		sources = append(sources, p.String())
		fromNode = fromNode || p.Contains(s.nftWriter.cfg.NodeIP)
	}
	if fromNode {
		sources = append(sources, s.vips...)
	}
	for _, ip := range s.vips {
		s.firewallIPs = append(s.firewallIPs, ip+" . "+s.protocol+" . "+portText(s.spec.Port)+` comment "`+s.name+`" : goto firewall-`+s.id)
	}
	s.chain("firewall-"+s.id, "ip saddr != { "+strings.Join(sources, ", ")+" } drop")
}

// external is the way in from everything but the cluster IP.
func (s *nftService) external() {
	name, all := "external-"+s.id, "goto service-"+s.id
	if !s.externalLocal() {
		s.chain(name, nftMasquerade, all)
		return
	}
	var rules []string
	if len(s.cluster) > 0 {
		if cidr := s.nftWriter.cfg.ClusterCIDR; cidr.IsValid() {
			rules = append(rules, "ip saddr "+cidr.String()+" "+all+` comment "short-circuit pod traffic"`)
		}
		rules = append(rules, "fib saddr type local "+nftMasquerade+` comment "masquerade local traffic"`,
			"fib saddr type local "+all+` comment "short-circuit local traffic"`)
	}
	if s.hasExternal() {
		rules = append(rules, "goto local-"+s.id)
	}
	s.chain(name, rules...)
}

func (s *nftService) endpointName(ep *Endpoint) string {
	return nftName(s.path() + "__" + ep.ip + "/" + strconv.Itoa(int(ep.Addr.Port())))
}

func (s *nftService) affinitySet(ep *Endpoint) {
	s.affinity.add("\tset", "affinity-"+s.endpointName(ep), "{")
	s.affinity.add("\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\ttimeout", portText(s.affinitySeconds())+"s")
	s.affinity.add("\t}")
}

// endpoint remembers the client and translates. Without affinity the Service's
// chain translates itself.
func (s *nftService) endpoint(ep *Endpoint) {
	name := s.endpointName(ep)
	s.chain("endpoint-"+name, "update @affinity-"+name+" { ip saddr }", "meta l4proto "+s.protocol+" dnat to "+ep.text)
}

// choose writes a chain that chooses one of the endpoints: the one the client
// had last if there is affinity, else any.
func (s *nftService) choose(chain string, eps []*Endpoint) {
	var rules []string
	list := make([]string, len(eps))
	number := "numgen random mod " + strconv.Itoa(len(eps))
	if s.affinitySeconds() == 0 {
		for i, ep := range eps {
			list[i] = strconv.Itoa(i) + " : " + ep.ip + " . " + strconv.Itoa(int(ep.Addr.Port()))
		}
		s.chain(chain, "meta l4proto "+s.protocol+" dnat ip to "+number+" map { "+strings.Join(list, ", ")+" }")
		return
	}
	for i, ep := range eps {
		name := s.endpointName(ep)
		rules = append(rules, "ip saddr @affinity-"+name+" goto endpoint-"+name)
		list[i] = strconv.Itoa(i) + " : goto endpoint-" + name
	}
	s.chain(chain, append(rules, number+" vmap { "+strings.Join(list, ", ")+" }")...)
}
