package shell_test

import (
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// withNames runs in a lab with DNS: a Service web at 10.96.0.80 with a named port, an
// alias of it, and a machine outside.
func withNames(t *testing.T, f func(h host)) {
	t.Helper()
	emutest.Run(t, emu.Config{Nodes: 2, Seed: 1, DNS: true}, func(t *testing.T, lab *emutest.Lab) {
		lab.Host("laptop")
		lab.Pod("client", "node1")
		lab.Pod("web", "node2", 8080)
		for _, s := range []*corev1.Service{
			{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.80", Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}},
			{ObjectMeta: metav1.ObjectMeta{Name: "alias"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.default.svc.cluster.local"}},
		} {
			if _, err := lab.AddService(s); err != nil {
				t.Fatal(err)
			}
		}
		f(host{t, lab})
	})
}

// random are the parts of dig's output that are.
var random = regexp.MustCompile(`(id: |COOKIE: )[0-9a-f]+`)

func TestDig(t *testing.T) {
	withNames(t, func(h host) {
		got, code := h.sh("client", "dig web.default.svc.cluster.local")
		got = random.ReplaceAllString(got, "${1}X")
		want := `
; <<>> DiG 9.18.28 <<>> web.default.svc.cluster.local
;; global options: +cmd
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: X
;; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1
;; WARNING: recursion requested but not available

;; OPT PSEUDOSECTION:
; EDNS: version: 0, flags:; udp: 1232
; COOKIE: X (echoed)
;; QUESTION SECTION:
;web.default.svc.cluster.local.	IN	A

;; ANSWER SECTION:
web.default.svc.cluster.local. 30 IN	A	10.96.0.80

;; Query time: 0 msec
;; SERVER: 10.96.0.10#53(10.96.0.10) (UDP)
;; WHEN: Sat Jan 01 00:00:00 UTC 2000
;; MSG SIZE  rcvd: 115

`
		if got != want || code != 0 {
			t.Errorf("dig: exit code %d, printed\n%s\nwant\n%s", code, got, want)
		}
		h.want("client", "dig +short web", 0, "") // no search list
		h.want("client", "dig +short +search web", 0, "10.96.0.80\n")
		h.want("client", "dig +short +tcp +noedns _http._tcp.web.default.svc.cluster.local srv", 0, "0 100 80 web.default.svc.cluster.local.\n")
		h.want("client", "dig +short alias.default.svc.cluster.local", 0, "web.default.svc.cluster.local.\n10.96.0.80\n")
		h.want("client", "dig +noall +answer -x 10.96.0.80", 0, "80.0.96.10.in-addr.arpa. 30	IN	PTR	web.default.svc.cluster.local.\n")
		h.contains("client", "dig -t AAAA web.default.svc.cluster.local", 0, "status: NOERROR", "ANSWER: 0, AUTHORITY: 1", "cluster.local.		30	IN	SOA	ns.dns.cluster.local. hostmaster.cluster.local.")
		h.contains("client", "dig nosuch.default.svc.cluster.local", 0, "status: NXDOMAIN")
		h.contains("client", "dig +norecurse laptop", 0, "flags: qr ra;", "ANSWER: 1")
		h.want("node1", "dig @10.96.0.10 +short web.default.svc.cluster.local", 0, "10.96.0.80\n")
		h.want("laptop", "dig +short node1", 0, "192.168.56.11\n")
		h.want("client", "dig @10.244.9.9 +time=1 +tries=2 x", 9, `
;; communications error to 10.244.9.9#53: timed out
;; communications error to 10.244.9.9#53: timed out

; <<>> DiG 9.18.28 <<>> @10.244.9.9 +time=1 +tries=2 x
;; global options: +cmd
;; no servers could be reached
`)
		h.contains("client", "dig @node1 +tries=1 x", 9, ";; communications error to 192.168.56.11#53: connection refused")
		for line, want := range map[string]string{
			"dig +time=x a": "+time takes 1 to 30 seconds", "dig -x web": "-x web: want an IP address", "dig -p 0 a": "-p takes a port",
			"dig +nonsense a": "unknown option +nonsense", "dig -Q": "unknown option -Q", "dig x y": "found a second name, y", "dig -t FOO a": "-t FOO: unknown type",
		} {
			h.contains("client", line, 2, want)
		}
		h.contains("client", "dig a..b", 10, "'a..b' is not a legal name")
		h.contains("client", "dig @nosuch a", 10, "couldn't get address for 'nosuch': not found")
	})
}

func TestNslookup(t *testing.T) {
	withNames(t, func(h host) {
		const server = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10#53\n\n"
		h.want("client", "nslookup web", 0, server+"Name:\tweb.default.svc.cluster.local\nAddress: 10.96.0.80\n\n")
		h.want("client", "nslookup alias", 0, server+"alias.default.svc.cluster.local\tcanonical name = web.default.svc.cluster.local.\nName:\tweb.default.svc.cluster.local\nAddress: 10.96.0.80\n\n")
		h.want("client", "nslookup nosuch", 1, server+"** server can't find nosuch: NXDOMAIN\n\n")
		h.want("client", "nslookup 10.96.0.80", 0, server+"80.0.96.10.in-addr.arpa\tname = web.default.svc.cluster.local.\n\n")
		h.want("client", "nslookup -type=srv _http._tcp.web", 0, server+"_http._tcp.web.default.svc.cluster.local\tservice = 0 100 80 web.default.svc.cluster.local.\n\n")
		h.want("client", "nslookup -q=AAAA web", 0, server+"*** Can't find web.default.svc.cluster.local: No answer\n\n")
		h.contains("client", "nslookup -type=soa cluster.local.", 0, "cluster.local\n\torigin = ns.dns.cluster.local\n\tmail addr = hostmaster.cluster.local\n")
		h.contains("client", "nslookup laptop", 0, "Name:\tlaptop\n")
		h.contains("client", "nslookup web node1", 1, ";; communications error to 192.168.56.11#53: connection refused\n", ";; no servers could be reached\n")
		h.contains("client", "nslookup", 2, "found 0 names, want one")
		h.contains("client", "nslookup -type=x web", 2, "unknown option -type=x")
	})
}

func TestGetent(t *testing.T) {
	withNames(t, func(h host) {
		h.want("client", "getent hosts web", 0, "10.96.0.80      web.default.svc.cluster.local\n")
		h.want("client", "getent hosts alias", 0, "10.96.0.80      web.default.svc.cluster.local alias.default.svc.cluster.local\n")
		h.want("client", "getent hosts 10.96.0.80", 0, "10.96.0.80      web.default.svc.cluster.local\n")
		h.want("client", "getent ahosts web", 0, "10.96.0.80      STREAM web\n10.96.0.80      DGRAM\n10.96.0.80      RAW\n")
		h.want("client", "getent hosts nosuch", 2, "")
		h.want("client", "getent passwd root", 1, "")
		h.want("node1", "getent hosts laptop", 0, h.lab.Machine("laptop").Addr().String()+"  laptop\n")
		h.contains("client", "getent hosts", 2, "found 1 arguments, want a database and a name")
		h.want("client", "cat /etc/resolv.conf", 0, "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n")
	})
}

// Without DNS there is nobody to ask; names are known all the same.
func TestToolsWithoutDNS(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("client", "node1")
		h := host{t, lab}
		h.contains("client", "dig web", 10, "no nameserver", "@10.96.0.10")
		h.contains("client", "nslookup web", 1, "no nameserver")
		h.want("client", "getent hosts client", 0, "10.244.1.2      client\n")
	})
}
