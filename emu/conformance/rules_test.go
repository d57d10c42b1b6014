package conformance

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack/netfilter"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// noIPTables is set to 1 where there is no root or no iptables.
const noIPTables = "PODWIRE_NO_IPTABLES"

// TestRulesRoundTrip: the rules of every design, with Services of every kind,
// are taken by the real iptables-restore, which prints the same again, and by
// our own reader.
func TestRulesRoundTrip(t *testing.T) {
	if os.Getenv(noIPTables) == "1" {
		t.Skip(noIPTables + "=1")
	}
	for _, d := range overlay.Designs() {
		t.Run(d.Name, func(t *testing.T) {
			var rules, sets string
			emutest.Run(t, emu.Config{Nodes: 2, Design: d.Name}, func(t *testing.T, lab *emutest.Lab) {
				lab.Pod("web", "node1", 80)
				lab.Pod("api", "node2", 80)
				if !emu.Standalone(d.Name) {
					for _, s := range manyServices() {
						if _, err := lab.AddService(s); err != nil {
							t.Fatal(err)
						}
					}
				}
				rules, sets = lab.Node("node1").SaveRules(false), lab.Node("node1").SaveSets()
			})
			wantReadBack(t, sets, rules)
			wantRealTool(t, rules)
		})
	}
}

// wantReadBack wants that our reader takes the text and prints it again, with
// what policies have counted: Calico's nodes have talked BGP by then.
func wantReadBack(t *testing.T, sets, rules string) {
	t.Helper()
	r := netfilter.New()
	if err := r.RestoreSets(sets); err != nil {
		t.Fatalf("sets: %v\n%s", err, sets)
	}
	if err := r.Restore(rules, netfilter.RestoreOptions{Counters: true}); err != nil {
		t.Fatalf("%v\n%s", err, rules)
	}
	if got := r.Save(); got != rules {
		t.Errorf("read and printed again:\n%s\nwant\n%s", got, rules)
	}
	if got := r.SaveSets(); got != sets {
		t.Errorf("sets read and printed again:\n%s\nwant\n%s", got, sets)
	}
}

// wantRealTool wants that iptables-restore takes the rules and iptables-save
// prints them again. Rules that name sets are left out, which the kernel would
// have to have.
func wantRealTool(t *testing.T, rules string) {
	t.Helper()
	var plain strings.Builder
	for line := range strings.Lines(rules) {
		if !strings.Contains(line, "--match-set") && !strings.Contains(line, "-m ipvs") {
			plain.WriteString(line)
		}
	}
	cmd := exec.Command("unshare", "-n", "sh", "-c",
		`rules=$(cat); echo "$rules" | iptables-nft-restore -c --test && echo "$rules" | iptables-nft-restore -c && iptables-nft-save`)
	cmd.Stdin = strings.NewReader(plain.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s (needs root and iptables; %s=1 goes without)\n%s", err, stderr.String(), noIPTables, plain.String())
	}
	if got, want := savedTables(string(out)), savedTables(plain.String()); len(got) != len(want) {
		t.Errorf("tables: got %d, want %d", len(got), len(want))
	} else {
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s: iptables-save prints\n%s\nwant\n%s", name, got[name], text)
			}
		}
	}
}

// savedTables cuts what iptables-save prints into tables, without comments.
func savedTables(text string) map[string]string {
	out := make(map[string]string)
	var name string
	for line := range strings.Lines(text) {
		switch {
		case line == "\n" || line[0] == '#':
			continue
		case line[0] == '*':
			name = strings.TrimSpace(line)
		}
		out[name] += line
	}
	return out
}

// manyServices are Services of every kind that shapes kube-proxy's rules.
func manyServices() []*corev1.Service {
	service := func(name string, change func(*corev1.ServiceSpec)) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(80)}},
		}}
		change(&s.Spec)
		return s
	}
	local := corev1.ServiceInternalTrafficPolicyLocal
	return []*corev1.Service{
		service("plain", func(s *corev1.ServiceSpec) {}),
		service("udp", func(s *corev1.ServiceSpec) { s.Ports[0].Protocol = corev1.ProtocolUDP }),
		service("empty", func(s *corev1.ServiceSpec) { s.Selector = map[string]string{"app": "none"} }),
		service("node", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort }),
		service("node-local", func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyLocal
		}),
		service("node-empty", func(s *corev1.ServiceSpec) {
			s.Type, s.Selector = corev1.ServiceTypeNodePort, map[string]string{"app": "none"}
		}),
		service("internal", func(s *corev1.ServiceSpec) { s.InternalTrafficPolicy = &local }),
		service("sticky", func(s *corev1.ServiceSpec) { s.SessionAffinity = corev1.ServiceAffinityClientIP }),
		service("external", func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"192.168.56.200"} }),
		service("balancer", func(s *corev1.ServiceSpec) {
			s.Type, s.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"192.168.56.0/28"}
		}),
		service("headless", func(s *corev1.ServiceSpec) { s.ClusterIP = corev1.ClusterIPNone }),
		service("two-ports", func(s *corev1.ServiceSpec) {
			s.Ports = append(s.Ports, corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP})
		}),
	}
}
