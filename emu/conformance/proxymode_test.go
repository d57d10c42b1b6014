package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
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
var kubeProxyModes = []string{emu.ProxyIPTables, emu.ProxyIPVS, emu.ProxyNFTables}

// natModes are those in which netfilter translates the destination, where it
// comes in.
var natModes = []string{emu.ProxyIPTables, emu.ProxyNFTables}

// S13: in nftables mode a cluster IP refuses what is not one of its ports, echo
// requests too: with an ICMP error of the node, made in FORWARD.
func TestS13PingClusterIPRefused(t *testing.T) {
	told, ip := refusedByClusterIP(t, emu.ProxyNFTables)
	for _, f := range told {
		f.want(t, "ip.src", "10.244.1.1")
		f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", ip)
	}
}

// S13 in ipvs mode: the cluster IP is the node's own, and KUBE-IPVS-FILTER
// refuses in INPUT what is not one of its ports, with an error from the cluster IP
// itself.
func TestS13PingClusterIPVS(t *testing.T) {
	told, ip := refusedByClusterIP(t, emu.ProxyIPVS)
	for _, f := range told {
		f.want(t, "ip.src", ip)
		f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", ip, "ip.ttl", "64")
	}
}

// refusedByClusterIP has a pod send a ping and a SYN to what is not a port of a
// cluster IP, and returns the two ICMP errors that it is told.
func refusedByClusterIP(t *testing.T, mode string) (told frames, ip string) {
	t.Helper()
	cfg := twoNodes
	cfg.Proxy = mode
	var p1a *emutest.Pod
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
	told = s.on(eth0(p1a)).in().errors().some(t, "errors at the client")
	for _, f := range told {
		f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.dst", "10.244.1.2", "ip.dsfield", "0xc0", "ip.ttl", "64")
	}
	if len(told) != 2 {
		t.Errorf("%d ICMP errors, want one for the ping and one for the SYN", len(told))
	}
	s.where("icmp.type", "0").none(t, "echo reply")
	s.on("node1/eth0").none(t, "packet beyond the node")
	return told, ip
}

// S10 in ipvs mode: a virtual server without servers refuses for TCP too with an
// ICMP error, made where INPUT ends: the TTL that it quotes is whole.
func TestS10NoEndpointsIPVS(t *testing.T) {
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	var p1a *emutest.Pod
	var ext *emu.Host
	var ip string
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a, ext = lab.Pod("p1a", "node1"), lab.Host("ext")
		ip = lab.Service("nobody", 80, 8080, 30002).Spec.ClusterIP
		for address, from := range map[string]*emu.Machine{ip + ":80": &p1a.Machine, "192.168.56.11:30002": &ext.Machine} {
			began := lab.Now()
			if c, err := from.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) || lab.Now() != began {
				t.Errorf("dial %s = %v, %v after %v, want connection refused at once", address, c, err, lab.Now()-began)
			}
		}
	})
	f := s.on(eth0(p1a)).in().errors().one(t, "error at the client")
	f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.src", ip, "ip.dst", "10.244.1.2", "ip.dsfield", "0xc0")
	f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", ip, "ip.ttl", "64", "tcp.dstport", "80")
	s.on(eth0(ext)).in().errors().one(t, "error at the client outside").want(t, "ip.src", "192.168.56.11", "icmp.type", "3", "icmp.code", "3")
}

// S2 in ipvs mode: a backend on the client's own bridge is reached through the
// node, one hop away; its reply is translated while it is bridged.
func TestS2RoutedByIPVS(t *testing.T) {
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	s, client, web, ip := sameNodeService(t, cfg)
	for _, f := range s.on(eth0(web)).in().having("tcp.flags").some(t, "segments at the backend") {
		f.want(t, "eth.src", macIn(s, "node1/cni0"), "eth.dst", macOf(web, "eth0"), "ip.src", "10.244.1.3", "ip.dst", "10.244.1.2", "tcp.dstport", "8080", "ip.ttl", "63")
	}
	for _, f := range s.on(eth0(client)).in().having("tcp.flags").some(t, "segments at the client") {
		f.want(t, "eth.src", macOf(web, "eth0"), "ip.src", ip, "tcp.srcport", "80", "ip.ttl", "64")
	}
}

// A node's own request to a cluster IP begins with the cluster IP as its source,
// which is local, and is masqueraded.
func TestNodeToClusterIPVS(t *testing.T) {
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	var web *emutest.Pod
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		web = lab.Pod("web", "node2", 8080)
		ip := lab.Service("web", 80, 8080, 0).Spec.ClusterIP
		if got := emutest.Get(t, &lab.Node("node1").Machine, "http://"+ip+"/clientip"); !strings.HasPrefix(got, "10.244.1.0:") {
			t.Errorf("the backend sees %s, want 10.244.1.0", got)
		}
	})
	for _, f := range s.on(eth0(web)).in().having("tcp.flags").some(t, "segments at the backend") {
		f.want(t, "ip.src", "10.244.1.0", "ip.dst", "10.244.2.2", "tcp.dstport", "8080", "ip.ttl", "62")
	}
}

// A pod behind a Service that reaches itself is masqueraded in every mode
// (flow 3).
func TestHairpinEveryMode(t *testing.T) {
	inModes(t, func(t *testing.T, cfg emu.Config) {
		emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			web := lab.Pod("web", "node1", 8080)
			lab.Service("web", 80, 8080, 0)
			if got := web.Get("http://web/clientip"); !strings.HasPrefix(got, "10.244.1.1:") {
				t.Errorf("the backend sees %s, want cni0's address", got)
			}
		})
	}, kubeProxyModes...)
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
	}, emu.ProxyNFTables, emu.ProxyIPVS)
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

// TestIPVSGracefulTermination: an endpoint that goes gets no new connections; it
// stays with weight 0 until its last connection has ended, and up to a minute
// longer, when kube-proxy looks again.
func TestIPVSGracefulTermination(t *testing.T) {
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		pods := greeters(t, lab, 0, "a", "b")
		client := lab.Pod("client", "node1")
		c, home := greeting(t, client)
		servers := func() (list []string) {
			h := lab.Node("node1").Stack()
			lab.Driver().Do(func() {
				t := h.IPVS()
				t.Advance(lab.Driver().Now())
				for _, s := range t.Services() {
					for _, d := range s.Servers() {
						list = append(list, fmt.Sprintf("%v weight %d, %d+%d", d.Addr, d.Weight, d.Active, d.Inactive))
					}
				}
			})
			slices.Sort(list)
			return list
		}
		gone := pods[home]
		if err := lab.SetReady(gone.Pod, false); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if name := greeted(t, client); name == home {
				t.Errorf("a new connection went to %s, which is not ready", name)
			}
		}
		var going []string
		for _, s := range servers() {
			if strings.HasPrefix(s, gone.Addr().String()+":") {
				going = append(going, s)
			}
		}
		if want := []string{gone.Addr().String() + ":8080 weight 0, 1+0"}; !slices.Equal(going, want) {
			t.Errorf("the server that goes is %q, want %q", going, want)
		}
		if _, err := c.Write([]byte("still there")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		lab.Sleep(2*time.Minute - time.Nanosecond) // TIME_WAIT
		if n := len(servers()); n != 2 {
			t.Errorf("%d servers before the connection is forgotten, want 2", n)
		}
		lab.Sleep(time.Minute + time.Nanosecond)
		if list := servers(); len(list) != 1 || strings.HasPrefix(list[0], gone.Addr().String()) {
			t.Errorf("servers %q a minute after, want the other one", list)
		}
	})
}

// TestIPVSSetsRoundTrip: the real ipset takes the sets of a node, with Services of
// every kind, and saves the same entries.
func TestIPVSSetsRoundTrip(t *testing.T) {
	if os.Getenv(noIPTables) == "1" {
		t.Skip(noIPTables + "=1")
	}
	cfg := twoNodes
	cfg.Proxy = emu.ProxyIPVS
	var sets, rules string
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node1", 80)
		for _, s := range manyServices() {
			if _, err := lab.AddService(s); err != nil {
				t.Fatal(err)
			}
		}
		sets, rules = lab.Node("node1").SaveSets(), lab.Node("node1").SaveRules(false)
	})
	wantReadBack(t, sets, rules)
	wantRealTool(t, rules)
	cmd := exec.Command("unshare", "-n", "sh", "-c", "ipset restore && ipset save -sorted")
	cmd.Stdin = strings.NewReader(sets)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ipset: %v: %s (needs root and ipset; %s=1 goes without)\n%s", err, stderr.String(), noIPTables, sets)
	}
	if got, want := entriesOf(string(out)), entriesOf(sets); !slices.Equal(got, want) {
		t.Errorf("ipset saves %q, want %q", got, want)
	}
}

// entriesOf are the entries of all sets.
func entriesOf(saved string) (list []string) {
	for line := range strings.Lines(saved) {
		if strings.HasPrefix(line, "add ") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	slices.Sort(list)
	return list
}
