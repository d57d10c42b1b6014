package conformance

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack/netfilter"
)

// withDNS is the reference cluster with coredns-1 10.244.1.2 and coredns-2
// 10.244.2.2.
var withDNS = emu.Config{Nodes: 2, Seed: 1, DNS: true}

// dig asks the cluster's DNS one question from a pod, by UDP.
func dig(t *testing.T, lab *emutest.Lab, from *emutest.Pod, name string, qtype uint16) *dns.Msg {
	t.Helper()
	c, err := from.Dial("udp", lab.DNS().String()+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(wire); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(lab.Deadline(10 * time.Second))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	return m
}

// headless is a Service without a cluster IP in front of the pods of an app.
func headless(t *testing.T, lab *emutest.Lab, app string, ports ...corev1.ServicePort) {
	t.Helper()
	_, err := lab.AddService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app, Namespace: metav1.NamespaceDefault},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": app}, Ports: ports},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// flags of DNS messages as tshark prints them: query with RD; answers with QR,
// AA and RD and without RA, rcode 0 and 3.
const (
	dnsAsk      = "0x0100"
	dnsFound    = "0x8500"
	dnsNotThere = "0x8503"
)

// E2: a headless Service has one A record for each ready pod, TTL 30, from an
// authority that offers no recursion.
func TestE2Headless(t *testing.T) {
	var client *emutest.Pod
	want := []string{}
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		for i := range 3 {
			p := lab.AddPod(emu.PodConfig{Name: fmt.Sprintf("web-%d", i), Node: "node2", Labels: map[string]string{"app": "web"}})
			want = append(want, p.Addr().String())
		}
		headless(t, lab, "web")
		dig(t, lab, client, "web.default.svc.cluster.local.", dns.TypeA)
	})
	s.on(eth0(client)).out().having("dns.id").one(t, "question").
		want(t, "ip.dst", "10.96.0.10", "udp.dstport", "53", "dns.flags", dnsAsk, "dns.qry.name", "web.default.svc.cluster.local", "dns.qry.type", "1")
	f := s.on(eth0(client)).in().having("dns.id").one(t, "answer")
	f.want(t, "ip.src", "10.96.0.10", "udp.srcport", "53", "dns.flags", dnsFound, "dns.count.answers", "3")
	got := slices.Sorted(slices.Values(f.fields["dns.a"]))
	if !slices.Equal(got, want) || !slices.Equal(f.fields["dns.resp.ttl"], []string{"30", "30", "30"}) {
		t.Errorf("addresses %v with TTLs %v, want %v with 30", got, f.fields["dns.resp.ttl"], want)
	}
}

// E3: the name of a pod is its address with dashes, whether there is such a pod
// or not.
func TestE3PodName(t *testing.T) {
	var client *emutest.Pod
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		dig(t, lab, client, "1-2-3-4.default.pod.cluster.local.", dns.TypeA)
	})
	f := s.on(eth0(client)).in().having("dns.id").one(t, "answer")
	f.want(t, "dns.flags", dnsFound, "dns.a", "1.2.3.4", "dns.resp.ttl", "30")
}

// questions lists what a pod has asked on the wire, as "port type name", ports
// and ids replaced by letters in the order in which they appear.
func questions(s *scene, p *emutest.Pod) []string {
	letters := map[string]string{}
	letter := func(s string) string {
		if letters[s] == "" {
			letters[s] = string(rune('a' + len(letters)))
		}
		return letters[s]
	}
	var out []string
	for _, f := range s.on(eth0(p)).out().having("dns.id") {
		port := f.get("udp.srcport") + f.get("tcp.srcport")
		out = append(out, fmt.Sprintf("%s %s %s", letter(port), map[string]string{"1": "A", "28": "AAAA"}[f.get("dns.qry.type")], f.get("dns.qry.name")))
	}
	return out
}

// glibc asks for A and AAAA from one socket, back to back and with different
// ids, before it connects; a short name is a hit at the first try.
func TestDNSGlibcShortName(t *testing.T) {
	var client *emutest.Pod
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		lab.Pod("web", "node2", 8080)
		lab.Service("web", 80, 8080, 0)
		if got := client.Get("http://web/hostname"); got != "web" {
			t.Errorf("GET = %q, want web", got)
		}
	})
	asked := s.on(eth0(client)).out().having("dns.id")
	if got, want := questions(s, client), []string{"a A web.default.svc.cluster.local", "a AAAA web.default.svc.cluster.local"}; !slices.Equal(got, want) {
		t.Fatalf("asked %q, want %q", got, want)
	}
	if asked[0].at != asked[1].at || asked[0].get("dns.id") == asked[1].get("dns.id") {
		t.Errorf("the questions leave at %v and %v with ids %s and %s, want one time and two ids", asked[0].at, asked[1].at, asked[0].get("dns.id"), asked[1].get("dns.id"))
	}
	answers := s.on(eth0(client)).in().having("dns.id").some(t, "answers")
	for _, f := range answers {
		f.want(t, "dns.flags", dnsFound, "ip.src", "10.96.0.10")
		if f.get("dns.qry.type") == "28" {
			f.want(t, "dns.count.answers", "0", "dns.resp.ttl", "30") // the SOA's
		}
	}
	if first := s.on(eth0(client)).out().where("tcp.flags", syn).one(t, "SYN"); first.at < answers[len(answers)-1].at {
		t.Errorf("connects at %v, before the last answer at %v", first.at, answers[len(answers)-1].at)
	}
}

// ndots:5 makes four questions of a name with two dots, eight with AAAA, and only
// the last is forwarded.
func TestDNSSearchPath(t *testing.T) {
	var client *emutest.Pod
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		addr := netip.MustParseAddr("192.168.56.40")
		if _, err := lab.AddHost(emu.HostConfig{Name: "www.example.com", Addr: addr}); err != nil {
			t.Fatal(err)
		}
		if a, err := client.Lookup("www.example.com"); err != nil || a != addr {
			t.Errorf("lookup = %v, %v, want %v", a, err, addr)
		}
		if a, err := client.Lookup("www.example.com."); err != nil || a != addr { // a dot at the end stops the search
			t.Errorf("lookup = %v, %v, want %v", a, err, addr)
		}
	})
	want := []string{}
	for i, suffix := range []string{".default.svc.cluster.local", ".svc.cluster.local", ".cluster.local", "", ""} {
		port := string(rune('a' + i))
		want = append(want, port+" A www.example.com"+suffix, port+" AAAA www.example.com"+suffix)
	}
	if got := questions(s, client); !slices.Equal(got, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	answers := s.on(eth0(client)).in().having("dns.id")
	for _, f := range answers[:6] {
		f.want(t, "dns.flags", dnsNotThere)
	}
	up := s.on("gateway/eth0").in().having("dns.id")
	for _, f := range up.some(t, "questions at the gateway") {
		f.want(t, "dns.qry.name", "www.example.com", "udp.dstport", "53")
		if src := f.get("ip.src"); src != "192.168.56.11" && src != "192.168.56.12" {
			t.Errorf("%v: asked by %s, want a node, for the pod is masqueraded", f, src)
		}
	}
	if len(up) > 4 {
		t.Errorf("%d questions at the gateway, want at most two per pod of CoreDNS: answers are kept", len(up))
	}
}

// musl asks from a socket that is not connected, does not search for a name with
// enough dots, and does not go on searching when a name exists without addresses.
func TestDNSMusl(t *testing.T) {
	var client *emutest.Pod
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		p, err := lab.AddPodObject(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "client", Annotations: map[string]string{emu.AnnotationLibc: "musl"}},
			Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		client = &emutest.Pod{Pod: p}
		lab.Pod("web", "node2", 8080)
		ip := lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		if a, err := client.Lookup("web"); err != nil || a.String() != ip {
			t.Errorf("lookup = %v, %v, want %s", a, err, ip)
		}
		// six labels: as it is, and never with the search list
		var e *net.DNSError
		if _, err := client.Lookup("a.b.c.d.e.web"); !errors.As(err, &e) || !e.IsNotFound {
			t.Errorf("lookup = %v, want not found", err)
		}
	})
	want := []string{"a A web.default.svc.cluster.local", "a AAAA web.default.svc.cluster.local", "b A a.b.c.d.e.web", "b AAAA a.b.c.d.e.web"}
	if got := questions(s, client); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// An answer that does not fit into 512 bytes is fetched by TCP, both questions
// over one connection.
func TestDNSTruncatedGoesToTCP(t *testing.T) {
	var client *emutest.Pod
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		for i := range 30 {
			lab.AddPod(emu.PodConfig{Name: fmt.Sprintf("web-%d", i), Node: "node2", Labels: map[string]string{"app": "web"}})
		}
		headless(t, lab, "web")
		addrs, err := client.LookupContext(t.Context(), "web")
		if err != nil || len(addrs) != 30 {
			t.Errorf("lookup = %d addresses, %v, want 30", len(addrs), err)
		}
	})
	s.on(eth0(client)).in().where("dns.flags", "0x8700").some(t, "truncated answer") // with TC
	if n := len(s.on(eth0(client)).out().where("tcp.dstport", "53", "tcp.flags", syn)); n != 1 {
		t.Errorf("%d connections to port 53, want 1", n)
	}
}

// The five seconds' delay: when one of the two questions is lost, glibc waits
// for the whole timeout and asks again, one question after the other. (On a
// kernel the loss is a race of conntrack between the two; here a rule drops the
// second datagram.)
func TestDNSFiveSecondsDelay(t *testing.T) {
	var client *emutest.Pod
	s := record(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
		client = lab.Pod("client", "node1")
		lab.Service("web", 80, 8080, 0)
		rules := mustParse(t, "*raw\n-A PREROUTING -p udp -m udp --dport 53 -m statistic --mode nth --every 1000 --packet 1 -j DROP\nCOMMIT\n")
		var err error
		h := lab.Node("node1").Stack()
		lab.Driver().Do(func() {
			err = h.Netfilter().Apply(rules, netfilter.RestoreOptions{NoFlush: true})
			h.RulesChanged()
		})
		if err != nil {
			t.Fatal(err)
		}
		began := lab.Now()
		if _, err := client.Lookup("web"); err != nil {
			t.Fatal(err)
		}
		if took := lab.Now() - began; took != 5*time.Second {
			t.Errorf("the lookup took %v, want 5s", took)
		}
	})
	want := []string{
		"a A web.default.svc.cluster.local", "a AAAA web.default.svc.cluster.local", // the second is lost
		"a A web.default.svc.cluster.local", "a AAAA web.default.svc.cluster.local",
	}
	if got := questions(s, client); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// A pod without a nameserver that answers is told so in time: glibc at once, as
// its socket hears of the error, musl only when time is up.
func TestDNSNobodyAnswers(t *testing.T) {
	for libc, want := range map[string]time.Duration{"glibc": 0, "musl": 5 * time.Second} {
		emutest.Run(t, withDNS, func(t *testing.T, lab *emutest.Lab) {
			p, err := lab.AddPodObject(&corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "client", Annotations: map[string]string{emu.AnnotationLibc: libc}},
				Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"kube-system/coredns-1", "kube-system/coredns-2"} {
				if err := lab.RemovePod(lab.Lab.Pod(name)); err != nil {
					t.Fatal(err)
				}
			}
			began := lab.Now()
			var e *net.DNSError
			if _, err := p.Lookup("web"); !errors.As(err, &e) || !e.IsTemporary || e.IsNotFound {
				t.Errorf("%s: lookup = %v, want a temporary error", libc, err)
			}
			if took := lab.Now() - began; took != want {
				t.Errorf("%s: the lookup took %v, want %v", libc, took, want)
			}
		})
	}
}

func mustParse(t *testing.T, rules string) *netfilter.Script {
	t.Helper()
	s, err := netfilter.Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
