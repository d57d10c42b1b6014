package kube

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var update = flag.Bool("update", false, "rewrite the golden rules in testdata")

// threePods are two pods on node1 and one on node2.
func threePods(t testing.TB, c *Cluster) {
	t.Helper()
	addPods(t, c, webPod("a", "10.244.1.2", "node1"), webPod("b", "10.244.1.3", "node1"), webPod("c", "10.244.2.2", "node2"))
}

// goldens are the rule sets kept in testdata, each for node1 (or cfg).
var goldens = []struct {
	name  string
	build func(t testing.TB, c *Cluster)
	cfg   func(*ProxyConfig)
}{
	{name: "empty"},
	{name: "clusterip", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101")))
	}},
	{name: "nodeport-cluster", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002)))
	}},
	{name: "nodeport-local", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002), externalLocal))
	}},
	{name: "nodeport-local-elsewhere", build: func(t testing.TB, c *Cluster) {
		addPods(t, c, webPod("c", "10.244.2.2", "node2"))
		addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002), externalLocal))
	}},
	{name: "internal-local-elsewhere", build: func(t testing.TB, c *Cluster) {
		addPods(t, c, webPod("c", "10.244.2.2", "node2"))
		addService(t, c, service("web", clusterIP("10.96.0.101"), internalLocal))
	}},
	{name: "no-endpoints", build: func(t testing.TB, c *Cluster) {
		addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002), func(s *corev1.Service) {
			s.Spec.ExternalIPs = []string{"203.0.113.7"}
		}))
	}},
	{name: "affinity", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101"), func(s *corev1.Service) {
			s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		}))
	}},
	{name: "named-ports", build: func(t testing.TB, c *Cluster) {
		odd := webPod("odd", "10.244.2.9", "node2") // calls another number http, and has no dns
		odd.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 9090}}
		threePods(t, c)
		addPods(t, c, odd)
		addService(t, c, service("web", clusterIP("10.96.0.101"), func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromString("dns")})
		}))
	}},
	{name: "headless", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("None")))
	}},
	{name: "loadbalancer", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101"), loadBalancer("203.0.113.9"), externalLocal, func(s *corev1.Service) {
			s.Spec.Ports[0].NodePort = 30002
			s.Spec.HealthCheckNodePort = 30003
			s.Spec.LoadBalancerSourceRanges = []string{"198.51.100.0/24", "192.168.56.0/24"}
		}))
	}},
	{name: "options", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002)))
	}, cfg: func(cfg *ProxyConfig) {
		cfg.MasqueradeAll, cfg.TCPBeLiberal, cfg.NoLocalhostNodePorts = true, true, true
	}},
	{name: "nodeport-addresses", build: func(t testing.TB, c *Cluster) {
		threePods(t, c)
		addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002)))
	}, cfg: func(cfg *ProxyConfig) {
		cfg.NodePortAddresses = prefixes("192.168.56.0/24")
		cfg.NodeAddresses = addrs("127.0.0.1", "192.168.56.11", "10.244.1.1")
	}},
}

func TestRulesOfANodeAreThoseOfKubeProxy(t *testing.T) {
	for _, tt := range goldens {
		t.Run(tt.name, func(t *testing.T) {
			got := goldenText(t, tt.build, tt.cfg)
			file := filepath.Join("testdata", tt.name+".rules")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("rules differ from %s (go test -update rewrites it):\n%s", file, lineDiff(got, string(want)))
			}
			restore(t, got, "--test")
		})
	}
}

func goldenText(t testing.TB, build func(testing.TB, *Cluster), change func(*ProxyConfig)) string {
	t.Helper()
	c := newCluster(t)
	if build != nil {
		build(t, c)
	}
	cfg := ProxyConfig{NodeName: "node1", NodeIP: addrs("192.168.56.11")[0], ClusterCIDR: c.Config().PodCIDR}
	if change != nil {
		change(&cfg)
	}
	return newProxy(t, cfg).IPTables(c)
}

// lineDiff lists the lines only one of two texts has.
func lineDiff(got, want string) string {
	var b strings.Builder
	list := func(sign, a, other string) {
		have := make(map[string]bool)
		for l := range strings.Lines(other) {
			have[l] = true
		}
		for l := range strings.Lines(a) {
			if !have[l] {
				b.WriteString(sign + l)
			}
		}
	}
	list("got  ", got, want)
	list("want ", want, got)
	if b.Len() == 0 {
		return "the same lines in another order"
	}
	return b.String()
}

// needIPTables skips without the tools only if that was asked for: a test that
// silently does not run proves nothing.
func needIPTables(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		_, err := exec.LookPath(tool)
		if err == nil && os.Geteuid() == 0 {
			continue
		}
		if os.Getenv("PODWIRE_NO_IPTABLES") == "1" {
			t.Skipf("PODWIRE_NO_IPTABLES=1: %s not used", tool)
		}
		t.Fatalf("%s and root are needed to check the rules (found: %v, uid %d); set PODWIRE_NO_IPTABLES=1 to go without", tool, err, os.Geteuid())
	}
}

// restore feeds a text to the real iptables-restore, in a network namespace of
// its own so that no rule of the host is touched.
func restore(t *testing.T, text string, args ...string) {
	t.Helper()
	needIPTables(t, "unshare", "iptables-restore")
	cmd := exec.Command("unshare", append([]string{"-n", "iptables-restore"}, args...)...)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("iptables-restore %s: %v\n%s\n%s", strings.Join(args, " "), err, out, numbered(text))
	}
}

func numbered(text string) string {
	var b bytes.Buffer
	n := 0
	for l := range strings.Lines(text) {
		n++
		b.WriteString(portText(int32(n)) + " " + l)
	}
	return b.String()
}

// saved runs a shell script in a fresh network namespace, with the texts as
// files $1, $2 and so on, and returns what iptables-save prints then, without
// its comment lines.
func saved(t *testing.T, script string, texts ...string) string {
	t.Helper()
	needIPTables(t, "unshare", "iptables-restore", "iptables-save")
	args := []string{"-n", "sh", "-ec", script + "\niptables-save -t filter; iptables-save -t nat", "sh"}
	for i, text := range texts {
		file := filepath.Join(t.TempDir(), portText(int32(i)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	cmd := exec.Command("unshare", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, stderr.Bytes())
	}
	var b strings.Builder
	for l := range strings.Lines(string(out)) {
		if !strings.HasPrefix(l, "#") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// A re-sync must end in the kernel state a fresh load gives, must not lose what
// a network plugin appended, and must delete the chains of what is gone.
func TestResyncKeepsForeignRulesAndDropsOldChains(t *testing.T) {
	c := newCluster(t)
	threePods(t, c)
	addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002)))
	addService(t, c, service("old", clusterIP("10.96.0.102")))
	p := onNode1(t)
	first := p.IPTables(c)

	if err := c.RemoveService("default", "old"); err != nil {
		t.Fatal(err)
	}
	if err := c.RemovePod("default", "b"); err != nil {
		t.Fatal(err)
	}
	addService(t, c, service("new", clusterIP("10.96.0.103")))
	resync := p.Sync(c)
	fresh := onNode1(t).IPTables(c)

	const plugin = "iptables -t nat -A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully\n"
	got := saved(t, `iptables-restore <"$1"; `+plugin+`iptables-restore --noflush <"$2"`, first, resync)
	want := saved(t, `iptables-restore <"$1"; `+plugin, fresh)
	if sortedLines(got) != sortedLines(want) { // the kernel lists chains in order of creation
		t.Errorf("after the re-sync the kernel holds:\n%s", lineDiff(got, want))
	}
	kube, flannel := strings.Index(got, "-j KUBE-POSTROUTING"), strings.Index(got, "-A POSTROUTING -s 10.244.0.0/16")
	if kube < 0 || flannel < kube {
		t.Errorf("POSTROUTING: KUBE-POSTROUTING at %d, plugin's rule at %d, want both and in this order:\n%s", kube, flannel, got)
	}
}

// Sync and Jumps on a bare node are another way to the same rules as IPTables.
func TestSyncAndJumpsEqualOneFullText(t *testing.T) {
	c := newCluster(t)
	threePods(t, c)
	addService(t, c, service("web", clusterIP("10.96.0.101"), nodePort(30002)))
	got := saved(t, `iptables-restore --noflush <"$1"; iptables-restore --noflush <"$2"`, onNode1(t).Sync(c), Jumps())
	want := saved(t, `iptables-restore <"$1"`, onNode1(t).IPTables(c))
	if rulesOnly(got) != rulesOnly(want) {
		t.Errorf("Sync and Jumps:\n%s", lineDiff(got, want))
	}
}

// The order of jumps decides what a packet meets first; this is the table of
// the reference, spelt out.
func TestJumpsStandInKubeProxysOrder(t *testing.T) {
	got := saved(t, `iptables-restore <"$1"`, onNode1(t).IPTables(newCluster(t)))
	want := map[string]string{
		"INPUT":       "KUBE-FIREWALL KUBE-PROXY-FIREWALL* KUBE-NODEPORTS KUBE-EXTERNAL-SERVICES*",
		"FORWARD":     "KUBE-PROXY-FIREWALL* KUBE-FORWARD KUBE-SERVICES* KUBE-EXTERNAL-SERVICES*",
		"OUTPUT":      "KUBE-FIREWALL KUBE-PROXY-FIREWALL* KUBE-SERVICES* KUBE-SERVICES", // filter, then nat
		"PREROUTING":  "KUBE-SERVICES",
		"POSTROUTING": "KUBE-POSTROUTING",
	}
	for chain, targets := range want {
		var have []string
		for l := range strings.Lines(got) {
			if rule, ok := strings.CutPrefix(strings.TrimSpace(l), "-A "+chain+" "); ok {
				_, target, _ := strings.Cut(rule, "-j ")
				if strings.Contains(rule, "--ctstate NEW") {
					target += "*"
				}
				have = append(have, target)
			}
		}
		if g := strings.Join(have, " "); g != targets {
			t.Errorf("%s jumps to %s, want %s (* = only NEW)", chain, g, targets)
		}
	}
}
