package coredns

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/miekg/dns"

	"github.com/podwire/podwire/kube"
)

// Config says what differs from kubeadm's CoreDNS. The zero value is that.
type Config struct {
	// Zone is the cluster's domain. If empty, "cluster.local.".
	Zone string
	// TTL of every record in seconds. If zero, 30.
	TTL uint32
	// Address of the Service kube-dns, which ns.dns.cluster.local stands for. If
	// empty, that name has none.
	Address string
	// Rand shuffles addresses, as the plugin loadbalance does. If nil, they stay in
	// order.
	Rand *rand.Rand
	// Serial is the serial number of the SOA record. CoreDNS takes the Unix time of
	// the last change it has heard of.
	Serial func() uint32
}

// Server answers from one cluster. Use New.
type Server struct {
	cluster *kube.Cluster
	cfg     Config
}

// New returns a server that answers from c.
func New(c *kube.Cluster, cfg Config) *Server {
	cfg.Zone = dns.CanonicalName(cmp.Or(cfg.Zone, "cluster.local"))
	cfg.TTL = cmp.Or(cfg.TTL, 30)
	return &Server{cluster: c, cfg: cfg}
}

// Transport is how a query came.
type Transport bool

// UDP limits a reply to what the client takes, 512 bytes if it does not say.
const (
	UDP Transport = false
	TCP Transport = true
)

// Answer is what is to be done about a query.
type Answer struct {
	// Reply goes back to the client. Nil means that the question is not about this
	// cluster and the query is to be forwarded.
	Reply *dns.Msg
	// Chase, if its Name is not empty, is asked elsewhere first: the target of
	// an ExternalName. What comes back goes to Finish.
	Chase dns.Question
}

// Answer answers a query. What is no query, has not one question, or one of
// another class than IN is refused. (A message that is a response itself should
// be ignored; that is the caller's to see.)
func (s *Server) Answer(q *dns.Msg, over Transport) Answer {
	if q.Opcode != dns.OpcodeQuery {
		return Answer{Reply: s.refuse(q, dns.RcodeNotImplemented)}
	}
	if len(q.Question) != 1 {
		return Answer{Reply: s.refuse(q, dns.RcodeFormatError)}
	}
	question := q.Question[0]
	if question.Qclass != dns.ClassINET {
		return Answer{Reply: s.refuse(q, dns.RcodeRefused)}
	}
	l := lookup{s: s, q: question}
	if !dns.IsSubDomain(s.cfg.Zone, question.Name) {
		if !l.reverse() {
			return Answer{}
		}
	} else {
		l.run()
	}
	if l.chase.Name != "" {
		return Answer{Chase: l.chase, Reply: s.reply(q, &l)}
	}
	return Answer{Reply: s.fit(q, s.reply(q, &l), over)}
}

// Finish adds what another server said about Answer.Chase to the reply. Nil
// means that it said nothing: then the client is told that there is no data.
func (s *Server) Finish(q *dns.Msg, a Answer, found *dns.Msg, over Transport) *dns.Msg {
	if found == nil {
		return s.fit(q, s.reply(q, &lookup{s: s, q: q.Question[0]}), over)
	}
	a.Reply.Answer = append(a.Reply.Answer, found.Answer...)
	a.Reply.Truncated = a.Reply.Truncated || found.Truncated
	return s.fit(q, a.Reply, over)
}

// Fail is the reply to a query that could not be forwarded.
func (s *Server) Fail(q *dns.Msg, over Transport) *dns.Msg {
	return s.fit(q, s.refuse(q, dns.RcodeServerFailure), over)
}

func (s *Server) refuse(q *dns.Msg, rcode int) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(q, rcode)
	return m
}

// reply makes a message of what was found: an authoritative one, in which nothing
// found is said with the zone's SOA.
func (s *Server) reply(q *dns.Msg, l *lookup) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	m.Answer, m.Extra = l.answer, l.extra
	switch {
	case l.missing:
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{s.soa()}
	case len(m.Answer) == 0:
		m.Ns = []dns.RR{s.soa()}
	}
	return m
}

// soa is the start of authority, RFC 1035 §3.3.13 and RFC 2308.
func (s *Server) soa() *dns.SOA {
	soa := &dns.SOA{
		Hdr: s.header(s.cfg.Zone, dns.TypeSOA), Ns: "ns.dns." + s.cfg.Zone, Mbox: "hostmaster." + s.cfg.Zone,
		Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: s.cfg.TTL,
	}
	soa.Hdr.Ttl = min(s.cfg.TTL, 300)
	if s.cfg.Serial != nil {
		soa.Serial = s.cfg.Serial()
	}
	return soa
}

func (s *Server) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: s.cfg.TTL}
}

// fit shuffles addresses, returns the client's OPT record with its size as
// RFC 6891 §6.1.1 wants an answer to have one, and cuts what is too long.
func (s *Server) fit(q, m *dns.Msg, over Transport) *dns.Msg {
	s.shuffle(m.Answer)
	s.shuffle(m.Extra)
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		own := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		own.SetUDPSize(opt.UDPSize())
		if opt.Do() {
			own.SetDo()
		}
		own.Option = slices.DeleteFunc(slices.Clone(opt.Option), func(o dns.EDNS0) bool { return !slices.Contains(echoed, o.Option()) })
		m.Extra = append(slices.DeleteFunc(m.Extra, isOPT), own)
	}
	if over == TCP {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
	return m
}

// echoed are the EDNS options that CoreDNS sends back as they came (plugin/pkg/edns).
var echoed = []uint16{dns.EDNS0NSID, dns.EDNS0EXPIRE, dns.EDNS0COOKIE, dns.EDNS0TCPKEEPALIVE, dns.EDNS0PADDING}

func isOPT(r dns.RR) bool { return r.Header().Rrtype == dns.TypeOPT }

// shuffle mixes the addresses of a section; what is no address comes first.
func (s *Server) shuffle(section []dns.RR) {
	isAddress := func(r dns.RR) bool { t := r.Header().Rrtype; return t == dns.TypeA || t == dns.TypeAAAA }
	slices.SortStableFunc(section, func(a, b dns.RR) int {
		return cmp.Compare(btoi(isAddress(a)), btoi(isAddress(b)))
	})
	first := slices.IndexFunc(section, isAddress)
	if first < 0 || s.cfg.Rand == nil {
		return
	}
	addresses := section[first:]
	s.cfg.Rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
