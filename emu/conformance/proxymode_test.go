package conformance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// inModes plays a check in the reference cluster, once in each mode of
// kube-proxy.
func inModes(t *testing.T, check func(t *testing.T, cfg emu.Config), modes ...string) {
	t.Helper()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			cfg := twoNodes
			cfg.Proxy = mode
			check(t, cfg)
		})
	}
}

// kubeProxyModes are the modes of kube-proxy.
var kubeProxyModes = []string{emu.ProxyIPTables, emu.ProxyNFTables}

// natModes are those in which netfilter translates the destination, where it
// comes in.
var natModes = []string{emu.ProxyIPTables, emu.ProxyNFTables}

// S13: in nftables mode a cluster IP refuses what is not one of its ports, echo
// requests too: with an ICMP error of the node, made in FORWARD.
func TestS13PingClusterIPRefused(t *testing.T) {
	inModes(t, func(t *testing.T, cfg emu.Config) {
		var p1a *emutest.Pod
		var ip string
		s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			p1a = lab.Pod("p1a", "node1")
			lab.Pod("web", "node2", 8080)
			ip = lab.Service("web", 80, 8080, 0).Spec.ClusterIP
			r, err := p1a.Machine.Ping(ip, 5*time.Second)
			if err != nil || r.Err() == nil {
				t.Errorf("ping of the cluster IP = %+v, %v, want an ICMP error", r, err)
			}
			if c, err := p1a.Dial("tcp", ip+":81"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial of a port that the Service has not = %v, %v, want connection refused", c, err)
			}
		})
		told := s.on(eth0(p1a)).in().errors().some(t, "errors at the client")
		for _, f := range told {
			f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.src", "10.244.1.1", "ip.dst", "10.244.1.2", "ip.dsfield", "0xc0", "ip.ttl", "64")
			f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", ip)
		}
		if len(told) != 2 {
			t.Errorf("%d ICMP errors, want one for the ping and one for the SYN", len(told))
		}
		s.where("icmp.type", "0").none(t, "echo reply")
		s.on("node1/eth0").none(t, "packet beyond the node")
	}, emu.ProxyNFTables)
}

// An address of the service CIDR that no Service has leads nowhere in nftables
// mode; in the others it leaves by the default route.
func TestUnallocatedClusterIP(t *testing.T) {
	inModes(t, func(t *testing.T, cfg emu.Config) {
		s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			p1a := lab.Pod("p1a", "node1")
			if r, err := p1a.Machine.Ping("10.96.255.1", 5*time.Second); err == nil {
				t.Errorf("ping = %+v, want a timeout", r)
			}
		})
		s.errors().none(t, "ICMP error")
		out := s.on("node1/eth0").out().where("icmp.type", "8")
		if gone := len(out) > 0; gone != (cfg.Proxy != emu.ProxyNFTables) {
			t.Errorf("%d echo requests leave the node", len(out))
		}
	}, kubeProxyModes...)
}

// S21, the other half: elsewhere than in iptables mode nobody is at a node port
// of the loopback address.
func TestS21NodePortOnLoopbackRefused(t *testing.T) {
	inModes(t, func(t *testing.T, cfg emu.Config) {
		emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			lab.Pod("web", "node2", 8080)
			lab.Service("web", 80, 8080, 30002)
			if c, err := lab.Node("node1").Dial("tcp", "127.0.0.1:30002"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial = %v, %v, want connection refused", c, err)
			}
			if got := emutest.Get(t, &lab.Node("node1").Machine, "http://192.168.56.11:30002/hostname"); got != "web" {
				t.Errorf("GET at the node's address = %q, want web", got)
			}
		})
	}, emu.ProxyNFTables)
}

// TestNFTRoundTrip: what a node in nftables mode lists, with Services of every
// kind, the real nft takes and lists as the same text.
func TestNFTRoundTrip(t *testing.T) {
	if os.Getenv(noIPTables) == "1" {
		t.Skip(noIPTables + "=1")
	}
	cfg := twoNodes
	cfg.Proxy = emu.ProxyNFTables
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node1", 80)
		lab.AddPod(emu.PodConfig{Name: "web2", Node: "node2", Labels: map[string]string{"app": "web"}})
		for _, s := range manyServices() {
			if _, err := lab.AddService(s); err != nil {
				t.Fatal(err)
			}
		}
		for _, node := range []string{"node1", "node2"} {
			text := lab.Node(node).ListNFTables()
			cmd := exec.Command("unshare", "-n", "sh", "-c", `text=$(cat); echo "$text" | nft -c -f - && echo "$text" | nft -f - && nft list ruleset`)
			cmd.Stdin = strings.NewReader(text)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s (needs root and nftables; %s=1 goes without)\n%s", err, stderr.String(), noIPTables, text)
			}
			if string(out) != text {
				t.Errorf("%s lists\n%s\nnft lists\n%s", node, text, out)
			}
		}
	})
}

// A table of a real kube-proxy takes the place of the emulated one, and works.
func TestLoadKubeProxyTable(t *testing.T) {
	cfg := twoNodes
	cfg.Proxy = emu.ProxyNFTables
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node2", 8080)
		client := lab.Pod("client", "node1")
		ip := lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		text := lab.Node("node1").ListNFTables()
		if err := lab.Node("node1").LoadNFTables(strings.ReplaceAll(text, ip+" . tcp . 80", ip+" . tcp . 8000")); err != nil {
			t.Fatal(err)
		}
		lab.Service("other", 81, 8080, 0) // a sync that the real kube-proxy does not see
		if got := client.Get("http://" + ip + ":8000/hostname"); got != "web" {
			t.Errorf("GET = %q, want web", got)
		}
		if c, err := client.Dial("tcp", ip+":80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial of the port that the table has not = %v, %v, want connection refused", c, err)
		}
		var bad *emu.NFTablesError
		if err := lab.Node("node1").LoadNFTables("table ip x {\n\tchain c {\n\t\tjump nowhere\n\t}\n}\n"); !errors.As(err, &bad) || bad.Line != 3 {
			t.Errorf("load of a table with a mistake = %v, want an error in line 3", err)
		}
	})
}
