package coredns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podwire/podwire/kube"
)

func service(ns, name, ip string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}}
	s.Spec.ClusterIP, s.Spec.Selector = ip, map[string]string{"app": name}
	s.Spec.Ports = []corev1.ServicePort{
		{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)},
		{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func pod(app, name, ip string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": app}}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	p.Status.PodIP = ip
	for _, f := range change {
		f(p)
	}
	return p
}

func external(name string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: name}
	}
}

// testServer knows web 10.96.0.20, empty 10.96.0.21, the headless db with three
// pods of which one is not ready, and a few aliases.
func testServer(t testing.TB) *Server {
	t.Helper()
	c, err := kube.NewCluster(kube.Config{})
	if err != nil {
		t.Fatal(err)
	}
	unready := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	}
	named := func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "db-0", "db" }
	for _, p := range []*corev1.Pod{
		pod("web", "web", "10.244.1.2"), pod("db", "db-0", "10.244.1.3", named), pod("db", "db-1", "10.244.2.3"), pod("db", "db-2", "10.244.2.4", unready),
	} {
		if err := c.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*corev1.Service{
		service("default", "web", "10.96.0.20"), service("default", "empty", "10.96.0.21"), service("prod", "web", "10.96.0.22"),
		service("default", "db", "None"), service("default", "nobody", "None"),
		service("default", "all", "None", func(s *corev1.Service) {
			s.Spec.Selector, s.Spec.PublishNotReadyAddresses, s.Spec.Ports = map[string]string{"app": "db"}, true, nil
		}),
		service("default", "alias", "", external("web.default.svc.cluster.local")),
		service("default", "outside", "", external("www.example.com")),
		service("default", "number", "", external("192.0.2.7")),
		service("default", "a", "", external("b.default.svc.cluster.local")),
		service("default", "b", "", external("a.default.svc.cluster.local")),
	} {
		if err := c.AddService(s); err != nil {
			t.Fatal(err)
		}
	}
	return New(c, Config{Address: "10.96.0.10", Serial: func() uint32 { return 1499347823 }})
}

const soaText = "SOA cluster.local. 30 ns.dns.cluster.local. hostmaster.cluster.local. 1499347823 7200 1800 86400 30"

// brief is a record without what is the same in all: "A name 30 1.2.3.4".
func brief(r dns.RR) string {
	h := r.Header()
	return strings.TrimSpace(fmt.Sprintf("%s %s %d %s", dns.TypeToString[h.Rrtype], h.Name, h.Ttl, strings.TrimPrefix(r.String(), h.String())))
}

func briefs(list []dns.RR) []string {
	out := []string{}
	for _, r := range list {
		out = append(out, brief(r))
	}
	return out
}

var answers = []struct {
	name  string
	qtype uint16
	rcode int
	want  []string // the answer section, and after "+" the additional one
}{
	{"web.default.svc.cluster.local.", dns.TypeA, 0, []string{"A web.default.svc.cluster.local. 30 10.96.0.20"}},
	{"WEB.default.SVC.cluster.local.", dns.TypeA, 0, []string{"A WEB.default.SVC.cluster.local. 30 10.96.0.20"}},
	{"web.prod.svc.cluster.local.", dns.TypeA, 0, []string{"A web.prod.svc.cluster.local. 30 10.96.0.22"}},
	{"empty.default.svc.cluster.local.", dns.TypeA, 0, []string{"A empty.default.svc.cluster.local. 30 10.96.0.21"}},
	{"web.default.svc.cluster.local.", dns.TypeAAAA, 0, nil},
	{"web.default.svc.cluster.local.", dns.TypeMX, 0, nil},
	{"none.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"none.default.svc.cluster.local.", dns.TypeAAAA, dns.RcodeNameError, nil},
	{"web.nowhere.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"web.default.foo.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"a.b.c.web.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"web.default.svc.cluster.local.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"cluster.local.", dns.TypeA, 0, nil},
	{"svc.cluster.local.", dns.TypeA, 0, nil},
	{"default.svc.cluster.local.", dns.TypeA, 0, nil},
	{"nowhere.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"ns.dns.cluster.local.", dns.TypeA, 0, []string{"A ns.dns.cluster.local. 30 10.96.0.10"}},
	// headless
	{"db.default.svc.cluster.local.", dns.TypeA, 0, []string{"A db.default.svc.cluster.local. 30 10.244.1.3", "A db.default.svc.cluster.local. 30 10.244.2.3"}},
	{"all.default.svc.cluster.local.", dns.TypeA, 0, []string{"A all.default.svc.cluster.local. 30 10.244.1.3", "A all.default.svc.cluster.local. 30 10.244.2.3", "A all.default.svc.cluster.local. 30 10.244.2.4"}},
	{"nobody.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"db-0.db.default.svc.cluster.local.", dns.TypeA, 0, []string{"A db-0.db.default.svc.cluster.local. 30 10.244.1.3"}},
	{"10-244-1-3.db.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil}, // it has a name
	{"10-244-2-3.db.default.svc.cluster.local.", dns.TypeA, 0, []string{"A 10-244-2-3.db.default.svc.cluster.local. 30 10.244.2.3"}},
	{"10-244-1-2.web.default.svc.cluster.local.", dns.TypeA, 0, []string{"A 10-244-1-2.web.default.svc.cluster.local. 30 10.244.1.2"}},
	// SRV
	{"_http._tcp.web.default.svc.cluster.local.", dns.TypeSRV, 0, []string{
		"SRV _http._tcp.web.default.svc.cluster.local. 30 0 100 80 web.default.svc.cluster.local.", "+", "A web.default.svc.cluster.local. 30 10.96.0.20"}},
	{"_http._udp.web.default.svc.cluster.local.", dns.TypeSRV, dns.RcodeNameError, nil},
	{"_http._tcp.web.default.svc.cluster.local.", dns.TypeA, 0, []string{"A _http._tcp.web.default.svc.cluster.local. 30 10.96.0.20"}},
	{"web.default.svc.cluster.local.", dns.TypeSRV, 0, []string{
		"SRV web.default.svc.cluster.local. 30 0 50 80 web.default.svc.cluster.local.", "SRV web.default.svc.cluster.local. 30 0 50 53 web.default.svc.cluster.local.",
		"+", "A web.default.svc.cluster.local. 30 10.96.0.20"}},
	{"_http._tcp.db.default.svc.cluster.local.", dns.TypeSRV, 0, []string{
		"SRV _http._tcp.db.default.svc.cluster.local. 30 0 50 8080 db-0.db.default.svc.cluster.local.",
		"SRV _http._tcp.db.default.svc.cluster.local. 30 0 50 8080 10-244-2-3.db.default.svc.cluster.local.",
		"+", "A db-0.db.default.svc.cluster.local. 30 10.244.1.3", "A 10-244-2-3.db.default.svc.cluster.local. 30 10.244.2.3"}},
	{"all.default.svc.cluster.local.", dns.TypeSRV, 0, nil}, // it has no ports
	// pods
	{"1-2-3-4.default.pod.cluster.local.", dns.TypeA, 0, []string{"A 1-2-3-4.default.pod.cluster.local. 30 1.2.3.4"}},
	{"1-2-3-4.nowhere.pod.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"1-2-3.default.pod.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"fd00--1.default.pod.cluster.local.", dns.TypeAAAA, 0, []string{"AAAA fd00--1.default.pod.cluster.local. 30 fd00::1"}},
	{"default.pod.cluster.local.", dns.TypeA, 0, nil},
	// ExternalName
	{"alias.default.svc.cluster.local.", dns.TypeA, 0, []string{
		"CNAME alias.default.svc.cluster.local. 30 web.default.svc.cluster.local.", "A web.default.svc.cluster.local. 30 10.96.0.20"}},
	{"alias.default.svc.cluster.local.", dns.TypeAAAA, 0, nil},
	{"alias.default.svc.cluster.local.", dns.TypeCNAME, 0, []string{"CNAME alias.default.svc.cluster.local. 30 web.default.svc.cluster.local."}},
	{"outside.default.svc.cluster.local.", dns.TypeCNAME, 0, []string{"CNAME outside.default.svc.cluster.local. 30 www.example.com."}},
	{"x.outside.default.svc.cluster.local.", dns.TypeCNAME, dns.RcodeNameError, nil},
	{"number.default.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
	{"a.default.svc.cluster.local.", dns.TypeA, 0, nil}, // they go round in a circle
	// reverse
	{"20.0.96.10.in-addr.arpa.", dns.TypePTR, 0, []string{"PTR 20.0.96.10.in-addr.arpa. 30 web.default.svc.cluster.local."}},
	{"3.1.244.10.in-addr.arpa.", dns.TypePTR, 0, []string{
		"PTR 3.1.244.10.in-addr.arpa. 30 10-244-1-3.all.default.svc.cluster.local.", "PTR 3.1.244.10.in-addr.arpa. 30 db-0.db.default.svc.cluster.local."}},
	{"2.1.244.10.in-addr.arpa.", dns.TypePTR, 0, []string{
		"PTR 2.1.244.10.in-addr.arpa. 30 10-244-1-2.web.default.svc.cluster.local."}},
	// the zone
	{"cluster.local.", dns.TypeSOA, 0, []string{soaText}},
	{"cluster.local.", dns.TypeNS, 0, []string{"NS cluster.local. 30 ns.dns.cluster.local.", "+", "A ns.dns.cluster.local. 30 10.96.0.10"}},
	{"dns-version.cluster.local.", dns.TypeTXT, 0, []string{`TXT dns-version.cluster.local. 28800 "1.1.0"`}},
}

func TestAnswersAreThoseOfCoreDNS(t *testing.T) {
	s := testServer(t)
	for _, x := range answers {
		t.Run(dns.TypeToString[x.qtype]+" "+x.name, func(t *testing.T) {
			q := new(dns.Msg)
			q.SetQuestion(x.name, x.qtype)
			a := s.Answer(q, UDP)
			if a.Reply == nil || a.Chase.Name != "" {
				t.Fatalf("answer = %+v, want one from the cluster", a)
			}
			m := a.Reply
			if !m.Response || !m.Authoritative || m.RecursionAvailable || !m.RecursionDesired || m.Id != q.Id || m.Rcode != x.rcode {
				t.Errorf("header %+v, want QR AA RD without RA, rcode %s", m.MsgHdr, dns.RcodeToString[x.rcode])
			}
			got := briefs(m.Answer)
			if len(m.Extra) > 0 {
				got = append(append(got, "+"), briefs(m.Extra)...)
			}
			if !slices.Equal(got, append([]string{}, x.want...)) {
				t.Errorf("got  %q\nwant %q", got, x.want)
			}
			if negative := len(m.Answer) == 0; negative != (len(m.Ns) == 1) || negative && brief(m.Ns[0]) != soaText {
				t.Errorf("authority %q, want the SOA in a negative answer only", briefs(m.Ns))
			}
		})
	}
}

func TestWhatOthersKnowIsForwarded(t *testing.T) {
	s := testServer(t)
	for _, x := range []struct {
		name  string
		qtype uint16
	}{{"www.example.com.", dns.TypeA}, {"local.", dns.TypeA}, {"9.9.9.9.in-addr.arpa.", dns.TypePTR}, {"in-addr.arpa.", dns.TypePTR}, {".", dns.TypeNS}} {
		q := new(dns.Msg)
		q.SetQuestion(x.name, x.qtype)
		if a := s.Answer(q, UDP); a.Reply != nil {
			t.Errorf("%s is answered: %v", x.name, a.Reply)
		}
		if m := s.Fail(q, UDP); m.Rcode != dns.RcodeServerFailure || m.Id != q.Id {
			t.Errorf("%s: failure is %v", x.name, m)
		}
	}
}

func TestExternalNameIsLookedUpElsewhere(t *testing.T) {
	s := testServer(t)
	q := new(dns.Msg)
	q.SetQuestion("outside.default.svc.cluster.local.", dns.TypeA)
	a := s.Answer(q, UDP)
	if a.Chase != (dns.Question{Name: "www.example.com.", Qtype: dns.TypeA, Qclass: dns.ClassINET}) {
		t.Fatalf("chase %+v, want A www.example.com.", a.Chase)
	}
	found := new(dns.Msg)
	found.Answer = []dns.RR{s.address("www.example.com.", netip.MustParseAddr("192.0.2.7"))}
	want := []string{"CNAME outside.default.svc.cluster.local. 30 www.example.com.", "A www.example.com. 30 192.0.2.7"}
	if got := briefs(s.Finish(q, a, found, UDP).Answer); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if m := s.Finish(q, a, nil, UDP); len(m.Answer) != 0 || m.Rcode != 0 || len(m.Ns) != 1 {
		t.Errorf("without an answer from elsewhere: %v, want no data", m)
	}
}

func TestWrongQueriesAreRefused(t *testing.T) {
	s := testServer(t)
	chaos, update, two := new(dns.Msg), new(dns.Msg), new(dns.Msg)
	chaos.SetQuestion("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	update.SetUpdate("cluster.local.")
	two.Question = make([]dns.Question, 2)
	for _, x := range []struct {
		q    *dns.Msg
		want int
	}{{chaos, dns.RcodeRefused}, {update, dns.RcodeNotImplemented}, {two, dns.RcodeFormatError}, {new(dns.Msg), dns.RcodeFormatError}} {
		if m := s.Answer(x.q, UDP).Reply; m == nil || m.Rcode != x.want {
			t.Errorf("%v:\n%v\nwant %s", x.q, m, dns.RcodeToString[x.want])
		}
	}
}

// manyEndpoints is a server with a headless Service of 60 endpoints, whose
// answer takes more than 512 bytes and less than 4096.
func manyEndpoints(t testing.TB, cfg Config) *Server {
	t.Helper()
	s := testServer(t)
	for i := range 60 {
		if err := s.cluster.AddPod(pod("many", fmt.Sprintf("many-%d", i), fmt.Sprintf("10.244.3.%d", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cluster.AddService(service("default", "many", "None")); err != nil {
		t.Fatal(err)
	}
	return New(s.cluster, cfg)
}

func TestRepliesFitTheClient(t *testing.T) {
	s := manyEndpoints(t, Config{})
	ask := func(size uint16, over Transport) *dns.Msg {
		q := new(dns.Msg)
		q.SetQuestion("many.default.svc.cluster.local.", dns.TypeA)
		if size > 0 {
			q.SetEdns0(size, false)
		}
		return s.Answer(q, over).Reply
	}
	for _, x := range []struct {
		size  uint16
		over  Transport
		limit int
		cut   bool
	}{{0, UDP, 512, true}, {100, UDP, 512, true}, {4096, UDP, 4096, false}, {0, TCP, 65535, false}, {600, UDP, 600, true}} {
		m := ask(x.size, x.over)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if len(wire) > x.limit || m.Truncated != x.cut || !x.cut && len(m.Answer) != 60 {
			t.Errorf("client with %d bytes, TCP %v: %d bytes, TC %v, %d records; want at most %d bytes, TC %v", x.size, x.over, len(wire), m.Truncated, len(m.Answer), x.limit, x.cut)
		}
		if opt := m.IsEdns0(); (opt != nil) != (x.size > 0) || opt != nil && opt.UDPSize() != x.size {
			t.Errorf("OPT %v, want the client's size %d back", opt, x.size)
		}
	}
}

func TestAddressesAreShuffled(t *testing.T) {
	s := manyEndpoints(t, Config{Rand: rand.New(rand.NewPCG(1, 1))})
	first := map[string]bool{}
	for range 50 {
		q := new(dns.Msg)
		q.SetQuestion("db.default.svc.cluster.local.", dns.TypeA)
		first[brief(s.Answer(q, UDP).Reply.Answer[0])] = true
	}
	if len(first) != 2 {
		t.Errorf("first of two addresses in 50 answers: %v, want each of them", first)
	}
}

func FuzzAnswer(f *testing.F) {
	s := testServer(f)
	for _, x := range answers {
		q := new(dns.Msg)
		q.SetQuestion(x.name, x.qtype).SetEdns0(1232, true)
		wire, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		q := new(dns.Msg)
		if q.Unpack(wire) != nil {
			return
		}
		for _, over := range []Transport{UDP, TCP} {
			a := s.Answer(q, over)
			if a.Reply == nil {
				a.Reply = s.Fail(q, over)
			} else if a.Chase.Name != "" {
				a.Reply = s.Finish(q, a, nil, over)
			}
			out, err := a.Reply.Pack()
			if err != nil {
				t.Fatalf("reply to %v does not pack: %v", q, err)
			}
			if limit := 65535; over == UDP && len(out) > max(512, int(sizeOf(q))) || len(out) > limit {
				t.Fatalf("reply to %v has %d bytes", q, len(out))
			}
			if back := new(dns.Msg); back.Unpack(out) != nil || back.Id != q.Id || !back.Response {
				t.Fatalf("reply to %v is %v", q, back)
			}
		}
	})
}

func sizeOf(q *dns.Msg) uint16 {
	if opt := q.IsEdns0(); opt != nil {
		return opt.UDPSize()
	}
	return 512
}
