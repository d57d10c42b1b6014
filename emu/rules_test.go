package emu_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// The rules of a real node take the place of the emulated kube-proxy's; what is
// printed is what was loaded, and the rules act.
func TestRulesOfARealNode(t *testing.T) {
	dump, err := os.ReadFile("../stack/netfilter/testdata/dumps/kubeadm-flannel.rules")
	if err != nil {
		t.Fatal(err)
	}
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		node := lab.Node("node1")
		if err := node.LoadRules(string(dump)); err != nil {
			t.Fatal(err)
		}
		lab.Pod("web", "node2", 8443)        // 10.244.2.2, the dashboard of the dump
		lab.Service("other", 8000, 8443, 0)  // which the real kube-proxy knows nothing of
		client := lab.Pod("client", "node1") // asks node1's rules
		if got := client.Get("http://10.103.22.4:443/hostname"); got != "web" {
			t.Errorf("GET of the cluster IP in the dump: got %q, want web", got)
		}
		saved := node.SaveRules(false)
		if strings.Contains(saved, "default/other") || !strings.Contains(saved, "kubernetes-dashboard -> 10.244.2.2:8443") {
			t.Errorf("rules are not those that were loaded:\n%s", saved)
		}
		again := lab.Host("elsewhere")
		if err := again.LoadRules(saved); err != nil {
			t.Fatal(err)
		}
		if got := again.SaveRules(false); got != saved {
			t.Errorf("loaded and saved again:\n%s\nwant\n%s", got, saved)
		}
		if !strings.Contains(node.SaveRules(true), "[1:60] -A KUBE-SEP-N4G2XR5TDX7PQE7P -p tcp") {
			t.Errorf("the connection was not counted:\n%s", node.SaveRules(true))
		}
	})
}

func TestBadRulesChangeNothing(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 1}, func(t *testing.T, lab *emutest.Lab) {
		node := lab.Node("node1")
		before := node.SaveRules(false)
		err := node.LoadRules("*filter\n-A FORWARD -m set --match-set friends src -j DROP\nCOMMIT\n")
		var bad *emu.RuleError
		if !errors.As(err, &bad) || bad.Line != 2 {
			t.Errorf("rules with an unknown set: got error %v, want a RuleError on line 2", err)
		}
		if got := node.SaveRules(false); got != before {
			t.Errorf("rules have changed:\n%s", got)
		}
		if err := node.LoadSets("create friends hash:ip\nadd friends 10.0.0.1\n"); err != nil {
			t.Fatal(err)
		}
		if err := node.LoadRules("*filter\n-A FORWARD -m set --match-set friends src -j DROP\nCOMMIT\n"); err != nil {
			t.Error(err)
		}
		if got, want := node.SaveSets(), "create friends hash:ip family inet\nadd friends 10.0.0.1\n"; got != want {
			t.Errorf("sets: got %q, want %q", got, want)
		}
	})
}
