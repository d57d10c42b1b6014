package overlay

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/netfilter"
)

// TestRulesOfEveryDesign: the rules and sets that a design puts on a node are
// what the real iptables-restore and ipset take, and what podwire's own reader
// makes the same rules of.
func TestRulesOfEveryDesign(t *testing.T) {
	for _, d := range Designs() {
		t.Run(d.Name, func(t *testing.T) {
			var sets, text string
			inBubble(t, func(t *testing.T, drv *link.Driver) {
				c := newCluster(t, drv, d.Name, 2)
				c.publish("web", 0, HostPort{Proto: "tcp", HostPort: 8080, PodPort: 80}, HostPort{Proto: "udp", HostPort: 53, PodPort: 53})
				c.pod("client", 1)
				drv.Do(func() {
					nf := c.nodes[0].Host.Netfilter()
					sets, text = nf.SaveSets(), nf.Save()
				})
			})
			again := netfilter.New()
			must(t, again.RestoreSets(sets))
			must(t, again.Restore(text, netfilter.RestoreOptions{}))
			equal(t, "rules read back", again.Save(), text)
			if os.Getenv("PODWIRE_NO_IPTABLES") == "1" {
				t.Skip("PODWIRE_NO_IPTABLES=1")
			}
			for _, tool := range []string{"iptables-nft-restore", "iptables-legacy-restore"} {
				cmd := exec.Command("unshare", "-n", "sh", "-ec", `if [ -n "$SETS" ]; then echo "$SETS" | ipset restore; fi; `+tool+" --test")
				cmd.Env = append(os.Environ(), "SETS="+sets)
				cmd.Stdin = strings.NewReader(text)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s --test: %v: %s\n%s\n(needs root, iptables, ipset and unshare; PODWIRE_NO_IPTABLES=1 skips it)", tool, err, out, text)
				}
			}
		})
	}
}

// publish adds a pod with ports of its node.
func (c *cluster) publish(name string, node int, ports ...HostPort) *Pod {
	c.t.Helper()
	p := &Pod{Name: name, HostPorts: ports}
	c.drv.Do(func() {
		p.Host = stack.NewHost(c.drv, stack.Config{Name: name})
		_, err := c.cni.AddPod(c.nodes[node], p)
		must(c.t, err)
	})
	return p
}

// TestDockerRules compares a host's rules with those that dockerd prints for a
// container on a user network with a port that is published on 127.0.0.1.
func TestDockerRules(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		c := newCluster(t, drv, "docker-bridge", 1)
		h := c.nodes[0].Host
		save := func() (text string) {
			drv.Do(func() { text = h.Netfilter().Save() })
			return text
		}
		before := save()
		p := &Pod{Name: "c1", Annotations: map[string]string{NetworkAnnotation: "bridge1"}, HostPorts: []HostPort{
			{Proto: "tcp", HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 8080, PodPort: 80},
			{Proto: "tcp", HostPort: 8081, PodPort: 80},
		}}
		var bridge string
		drv.Do(func() {
			p.Host = stack.NewHost(drv, stack.Config{Name: "c1"})
			_, err := c.cni.AddPod(c.nodes[0], p)
			must(t, err)
			bridge = c.cni.(*docker).hosts[c.nodes[0]].networks[1].br.Name
		})
		with := strings.NewReplacer("bridge1", bridge)
		wantRules(t, "with a container", save(), with.Replace(dockerWant))
		drv.Do(func() { must(t, c.cni.RemovePod(c.nodes[0], p)) })
		after := save()
		for _, rule := range []string{"172.18.0.2", "8080"} {
			if strings.Contains(after, rule) {
				t.Errorf("rules after the container is gone still have %s:\n%s", rule, after)
			}
		}
		if before == after {
			t.Error("the network went with its container, want it to stay")
		}
	})
}

// wantRules compares the chains and rules of a text with those that are wanted,
// without counters.
func wantRules(t *testing.T, sentence, got, want string) {
	t.Helper()
	strip := func(text string) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, ":") {
				line, _, _ = strings.Cut(line, " [")
				line += "\n"
			}
			b.WriteString(line)
		}
		return b.String()
	}
	if got, want = strip(got), strip(want); got != want {
		t.Errorf("rules %s:\n%s\nwant:\n%s", sentence, got, want)
	}
}

const dockerWant = `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d 172.18.0.2/32 ! -i bridge1 -j DROP
-A PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp -m tcp --dport 8080 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.18.0.0/16 ! -o bridge1 -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -d 127.0.0.1/32 ! -i bridge1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:80
-A DOCKER ! -i bridge1 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.18.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.18.0.2/32 ! -i bridge1 -o bridge1 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER ! -i bridge1 -o bridge1 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-BRIDGE -o bridge1 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-CT -o bridge1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-FORWARD -i bridge1 -j ACCEPT
COMMIT
`

// TestDockerAddresses: the lowest free address is given, and subnets that the
// host has a route to are left out.
func TestDockerAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T, drv *link.Driver) {
		c := newCluster(t, drv, "docker-bridge", 1)
		p1 := c.publish("c1", 0)
		_, n2 := c.pod("c2", 0)
		equal(t, "second container", n2.Addr.String(), "172.17.0.3")
		var seen []string
		drv.Do(func() {
			must(t, c.cni.RemovePod(c.nodes[0], p1))
			h := c.cni.(*docker).hosts[c.nodes[0]]
			for {
				if _, err := h.createNetwork("n", "br-"+string(rune('a'+len(seen)))); err != nil {
					if !strings.Contains(err.Error(), "all predefined address pools have been fully subnetted") {
						t.Error(err)
					}
					return
				}
				seen = append(seen, h.networks[len(h.networks)-1].subnet.String())
			}
		})
		_, n3 := c.pod("c3", 0)
		equal(t, "an address that was freed", n3.Addr.String(), "172.17.0.2")
		// 172.18 to 172.31, then 192.168 in sixteen parts without the underlay's.
		equal(t, "networks", len(seen), 14+15)
		equal(t, "first", seen[0], "172.18.0.0/16")
		equal(t, "last of the first pools", seen[13], "172.31.0.0/16")
		equal(t, "around the underlay", seen[16]+" "+seen[17], "192.168.32.0/20 192.168.64.0/20")
	})
}
