package coredns

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/kube"
)

// A record is one address or name that stands behind a question, before it is
// known which type of record is wanted.
type record struct {
	owner string // the name it belongs to, for SRV targets
	addr  netip.Addr
	port  int32 // 0 for a Service without ports
	cname string
}

// maxAliases bounds how many ExternalNames lead to one another.
const maxAliases = 8

// lookup answers one question.
type lookup struct {
	s       *Server
	q       dns.Question
	answer  []dns.RR
	extra   []dns.RR
	missing bool         // the name does not exist
	chase   dns.Question // an external name to look up
}

// run answers a question about a name in the cluster's zone.
func (l *lookup) run() {
	zone := dns.CanonicalName(l.q.Name) == l.s.cfg.Zone
	switch {
	case l.q.Qtype == dns.TypeSOA && zone:
		l.answer = []dns.RR{l.s.soa()}
	case l.q.Qtype == dns.TypeNS && zone:
		l.nameserver()
	case l.q.Qtype == dns.TypeTXT && dns.CanonicalName(l.q.Name) == "dns-version."+l.s.cfg.Zone:
		txt := &dns.TXT{Hdr: l.s.header(l.q.Name, dns.TypeTXT), Txt: []string{"1.1.0"}}
		txt.Hdr.Ttl = 28800
		l.answer = []dns.RR{txt}
	default:
		records, ok := l.s.find(l.q.Name)
		l.missing = !ok
		l.write(records)
	}
}

// write makes resource records of the type asked for.
func (l *lookup) write(records []record) {
	switch l.q.Qtype {
	case dns.TypeA, dns.TypeAAAA:
		l.addresses(l.q.Name, records, nil)
	case dns.TypeCNAME:
		for _, r := range records {
			if r.cname != "" {
				l.answer = append(l.answer, l.cname(l.q.Name, r.cname))
			}
		}
	case dns.TypeSRV:
		l.services(records)
	}
}

// addresses answers A and AAAA, through aliases if there are any.
func (l *lookup) addresses(name string, records []record, aliases []dns.RR) {
	seen := make(map[netip.Addr]bool)
	for _, r := range records {
		switch {
		case r.cname != "":
			l.alias(name, r.cname, aliases)
		case r.addr.Is4() == (l.q.Qtype == dns.TypeA) && !seen[r.addr]:
			seen[r.addr] = true
			if len(aliases) > 0 {
				l.answer, aliases = append(l.answer, aliases...), nil
			}
			l.answer = append(l.answer, l.s.address(name, r.addr))
		}
	}
}

// alias follows an ExternalName, which may be a name of this cluster.
func (l *lookup) alias(name, target string, before []dns.RR) {
	target = dns.CanonicalName(target)
	if dns.CanonicalName(name) == target || len(before) >= maxAliases {
		return
	}
	for _, b := range before {
		if dns.CanonicalName(b.Header().Name) == target {
			return // a circle
		}
	}
	before = append(before, l.cname(name, target))
	if !dns.IsSubDomain(l.s.cfg.Zone, target) {
		l.answer = append(l.answer, before...)
		l.chase = dns.Question{Name: target, Qtype: l.q.Qtype, Qclass: dns.ClassINET}
		return
	}
	records, _ := l.s.find(target)
	l.addresses(target, records, before)
}

func (l *lookup) cname(name, target string) dns.RR {
	return &dns.CNAME{Hdr: l.s.header(name, dns.TypeCNAME), Target: dns.Fqdn(target)}
}

// services answers SRV (RFC 2782): all of one priority, their weights a share of
// 100, the addresses of the targets in the additional section.
func (l *lookup) services(records []record) {
	weight := uint16(1)
	if n := len(records); n > 0 {
		weight = max(1, uint16(100/n))
	}
	type target struct {
		name string
		port int32
	}
	targets, addrs := make(map[target]bool), make(map[record]bool)
	for _, r := range records {
		if r.cname != "" || r.port <= 0 {
			continue
		}
		if t := (target{r.owner, r.port}); !targets[t] {
			targets[t] = true
			l.answer = append(l.answer, &dns.SRV{Hdr: l.s.header(l.q.Name, dns.TypeSRV), Weight: weight, Port: uint16(r.port), Target: r.owner})
		}
		if a := (record{owner: r.owner, addr: r.addr}); !addrs[a] {
			addrs[a] = true
			l.extra = append(l.extra, l.s.address(r.owner, r.addr))
		}
	}
}

// address is an A or AAAA record.
func (s *Server) address(name string, a netip.Addr) dns.RR {
	if a.Is4() {
		return &dns.A{Hdr: s.header(name, dns.TypeA), A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: s.header(name, dns.TypeAAAA), AAAA: a.AsSlice()}
}

// nameserver answers for the zone's NS: the server itself.
func (l *lookup) nameserver() {
	name := "ns.dns." + l.s.cfg.Zone
	l.answer = []dns.RR{&dns.NS{Hdr: l.s.header(l.q.Name, dns.TypeNS), Ns: name}}
	if a, err := netip.ParseAddr(l.s.cfg.Address); err == nil {
		l.extra = []dns.RR{l.s.address(name, a)}
	}
}

// reverse answers PTR for addresses of Services and endpoints. It reports false
// for what is not about them: other servers know.
func (l *lookup) reverse() bool {
	a, ok := reversed(l.q.Name)
	if !ok || l.q.Qtype != dns.TypePTR {
		return false
	}
	for _, name := range l.s.namesOf(a) {
		l.answer = append(l.answer, &dns.PTR{Hdr: l.s.header(l.q.Name, dns.TypePTR), Ptr: name})
	}
	return len(l.answer) > 0
}

// find returns what is behind a name of the zone, and whether the name exists at
// all: a namespace does, a Service without an address in its family too, but not
// a headless Service without ready endpoints.
func (s *Server) find(name string) (records []record, exists bool) {
	if dns.CanonicalName(name) == "ns.dns."+s.cfg.Zone {
		a, err := netip.ParseAddr(s.cfg.Address)
		return []record{{owner: name, addr: a}}, err == nil
	}
	r, ok := s.parse(name)
	switch {
	case !ok:
		return nil, false
	case r.namespace == "":
		return nil, true
	case !s.cluster.HasNamespace(r.namespace):
		return nil, false
	case r.service == "":
		return nil, true
	case r.kind == "pod":
		a, ok := dashed(r.service)
		return []record{{owner: name, addr: a}}, ok
	}
	return s.findService(r)
}

// findService returns what is behind the name of a Service, of one of its ports
// or of an endpoint.
func (s *Server) findService(r request) (records []record, exists bool) {
	svc := s.cluster.Service(r.namespace, r.service)
	if svc == nil {
		return nil, false
	}
	name := s.serviceName(svc)
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		if _, err := netip.ParseAddr(svc.Spec.ExternalName); err == nil || r.endpoint != "" {
			return nil, false // an address is no name to point to
		}
		return []record{{owner: name, cname: svc.Spec.ExternalName}}, true
	case svc.Spec.ClusterIP == corev1.ClusterIPNone || r.endpoint != "":
		records = s.endpoints(svc, r)
		return records, len(records) > 0
	}
	for _, p := range svc.Spec.Ports {
		if !r.isPort(p.Name, string(p.Protocol)) {
			continue
		}
		exists = true
		for _, ip := range svc.Spec.ClusterIPs {
			if a, err := netip.ParseAddr(ip); err == nil {
				records = append(records, record{owner: name, addr: a, port: p.Port})
			}
		}
	}
	return records, exists
}

// endpoints returns the ready endpoints of a Service that a request is about.
func (s *Server) endpoints(svc *corev1.Service, r request) []record {
	var list []record
	for _, port := range s.cluster.Endpoints(svc.Namespace, svc.Name) {
		if !r.isPort(port.Port.Name, string(port.Port.Protocol)) {
			continue
		}
		for i := range port.Endpoints {
			ep := &port.Endpoints[i]
			host := hostname(ep)
			if !ep.Ready || r.endpoint != "" && r.endpoint != host {
				continue
			}
			list = append(list, record{owner: host + "." + s.serviceName(svc), addr: ep.Addr.Addr(), port: int32(ep.Addr.Port())})
		}
	}
	return list
}

// hostname is the label of an endpoint below its Service.
func hostname(ep *kube.Endpoint) string {
	return cmp.Or(strings.ToLower(ep.Hostname), withDashes(ep.Addr.Addr()))
}

func (s *Server) serviceName(svc *corev1.Service) string {
	return svc.Name + "." + svc.Namespace + ".svc." + s.cfg.Zone
}

// isPort reports whether a request is about a port of that name and protocol,
// or about all ports.
func (r request) isPort(name, protocol string) bool {
	return (r.port == "" || r.port == strings.ToLower(name)) && (r.protocol == "" || r.protocol == strings.ToLower(protocol))
}

// namesOf returns the names that an address has: of the Service whose cluster IP
// it is, or else of the endpoint that it is in each Service it backs.
func (s *Server) namesOf(a netip.Addr) []string {
	text := a.String()
	for _, svc := range s.cluster.Services() {
		for _, ip := range svc.Spec.ClusterIPs {
			if ip == text {
				return []string{s.serviceName(svc)}
			}
		}
	}
	var names []string
	for _, svc := range s.cluster.Services() {
		if name := s.endpointName(svc, a); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// endpointName returns the name of a ready endpoint of a Service, "" if the
// address is not one.
func (s *Server) endpointName(svc *corev1.Service, a netip.Addr) string {
	for _, port := range s.cluster.Endpoints(svc.Namespace, svc.Name) {
		for i := range port.Endpoints {
			if ep := &port.Endpoints[i]; ep.Ready && ep.Addr.Addr() == a {
				return hostname(ep) + "." + s.serviceName(svc)
			}
		}
	}
	return ""
}
