package stack

import (
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func (n *network) sysctl(h *Host, name, value string) {
	n.Helper()
	n.do(func() { n.try(h.SetSysctl(name, value)) })
}

func TestDeviceSysctls(t *testing.T) {
	inBubble(t, func(n *network) {
		var cfg Config
		for _, s := range [][2]string{
			{"net.ipv4.conf.default.rp_filter", "2"},
			{"net.ipv4.conf.eth0.proxy_arp", "1"}, // of a device to come
			{"net/ipv4/conf/flannel.1/rp_filter", "0"},
			{"net.ipv4.neigh.default.base_reachable_time_ms", "10000"},
		} {
			n.try(cfg.SetSysctl(s[0], s[1]))
		}
		cfg.Name = "a"
		a := n.host(cfg)
		n.station(a, "eth0", "10.0.0.1/24")
		n.do(func() {
			_, err := a.AddDevice(DeviceConfig{Name: "flannel.1", MTU: 1450})
			n.try(err)
		})
		want := func(name, value string) {
			t.Helper()
			if got, err := a.Sysctl(name); err != nil || got != value {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, value)
			}
		}
		want("net.ipv4.conf.eth0.proxy_arp", "1")
		want("net.ipv4.conf.eth0.rp_filter", "2")
		want("net.ipv4.conf.flannel/1.rp_filter", "0")
		want("net.ipv4.conf.all.rp_filter", "0")
		want("net.ipv4.neigh.eth0.base_reachable_time_ms", "10000")
		want("net.ipv4.neigh.eth0.locktime", "100")

		n.sysctl(a, "net.ipv4.conf.all.rp_filter", "1")
		want("net.ipv4.conf.flannel.1.rp_filter", "0")
		equal(t, "what counts on flannel.1", a.Device("flannel.1").conf[confRPFilter], 1)
		equal(t, "what counts on eth0", a.Device("eth0").conf[confRPFilter], 2)

		equal(t, "a host accepts redirects", a.Device("eth0").conf[confAcceptRedirects], 1)
		n.sysctl(a, "net.ipv4.ip_forward", "1")
		want("net.ipv4.conf.eth0.forwarding", "1")
		want("net.ipv4.conf.default.forwarding", "1")
		want("net.ipv4.conf.all.forwarding", "1")
		want("net.ipv4.conf.all.accept_redirects", "0")
		equal(t, "a router does not", a.Device("eth0").conf[confAcceptRedirects], 0)
		n.sysctl(a, "net.ipv4.conf.eth0.forwarding", "0")
		equal(t, "nor forwards what comes in by eth0", a.Device("eth0").conf[confForwarding], 0)
	})
}

func TestDeviceSysctlErrors(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		for _, s := range []struct{ name, value, want string }{
			{"net.ipv4.conf.eth9.rp_filter", "1", `stack: a: there is no device "eth9"`},
			{"net.ipv4.conf.lo.rp_filter", "3", `stack: sysctl net.ipv4.conf.lo.rp_filter: "3", want a number from 0 to 2`},
			{"net.ipv4.conf.lo.proxy_arp", "yes", `stack: sysctl net.ipv4.conf.lo.proxy_arp: "yes", want 0 or 1`},
			{"net.ipv4.conf.all.proxy_apr", "1", `stack: sysctl "net.ipv4.conf.all.proxy_apr" is not known, did you mean net.ipv4.conf.all.proxy_arp?`},
			{"net.ipv4.neigh.default.retrans_time_ms", "1", `stack: sysctl net.ipv4.neigh.default.retrans_time_ms: "1", want a number from 10 to 100000000`},
		} {
			n.do(func() {
				if err := a.SetSysctl(s.name, s.value); err == nil || err.Error() != s.want {
					t.Errorf("%s = %s: got error %v, want %s", s.name, s.value, err, s.want)
				}
			})
		}
	})
}

// A new namespace starts with what the machine has for all and new devices.
func TestNamespaceInherits(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a", Forward: true, RouteLocalnet: true, BridgeNetfilter: true})
		n.sysctl(a, "net.ipv4.conf.default.rp_filter", "1")
		var cfg Config
		n.do(func() { cfg = a.NamespaceConfig() })
		equal(t, "bridge-nf-call-iptables is per namespace", cfg.BridgeNetfilter, false)
		b := n.host(cfg)
		for name, want := range map[string]string{
			"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.route_localnet": "1", "net.ipv4.conf.lo.rp_filter": "1",
			"net.ipv4.conf.all.accept_redirects": "0", "net.ipv4.conf.all.forwarding": "1",
		} {
			if got, err := b.Sysctl(name); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
	})
}

// calico is a node as Calico has it: a device without addresses per pod,
// everything else behind eth0.
func calico(n *network) (node *Host, pod, uplink *station, cali *Device) {
	node = n.host(Config{Name: "node", Forward: true})
	pod, cali = n.station(node, "cali0", "")
	uplink, _ = n.station(node, "eth0", "192.168.56.11/24")
	n.route(node, "10.244.1.5/32", "", "cali0")
	n.route(node, "0.0.0.0/0", "192.168.56.1", "eth0")
	n.sysctl(node, "net.ipv4.conf.cali0.proxy_arp", "1")
	n.sysctl(node, "net.ipv4.neigh.cali0.proxy_delay", "0")
	return node, pod, uplink, cali
}

func TestProxyARP(t *testing.T) {
	tests := []struct {
		name     string
		spa, tpa string
		sysctl   [2]string
		want     bool
	}{
		{"an address routed out of another device", "10.244.1.5", "169.254.1.1", [2]string{}, true},
		{"the node's own address", "10.244.1.5", "192.168.56.11", [2]string{}, true},
		{"an address behind the same device", "10.244.1.5", "10.244.1.5", [2]string{}, false},
		{"the same with proxy_arp_pvlan, but asked by itself", "10.244.1.5", "10.244.1.5", [2]string{"net.ipv4.conf.cali0.proxy_arp_pvlan", "1"}, false},
		{"the same with proxy_arp_pvlan", "10.244.1.6", "10.244.1.5", [2]string{"net.ipv4.conf.cali0.proxy_arp_pvlan", "1"}, true},
		{"off", "10.244.1.5", "169.254.1.1", [2]string{"net.ipv4.conf.cali0.proxy_arp", "0"}, false},
		{"on for all devices", "10.244.1.5", "169.254.1.1", [2]string{"net.ipv4.conf.all.proxy_arp", "1"}, true},
		{"not forwarding", "10.244.1.5", "169.254.1.1", [2]string{"net.ipv4.conf.cali0.forwarding", "0"}, false},
		{"a spoofed sender", "192.168.56.13", "169.254.1.1", [2]string{"net.ipv4.conf.cali0.rp_filter", "1"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				node, pod, _, cali := calico(n)
				if tt.sysctl[0] != "" {
					n.sysctl(node, tt.sysctl[0], tt.sysctl[1])
				}
				pod.send(frame(link.Broadcast, pod.mac, etherARP, arpPacket(arpRequest, pod.mac, tt.spa, link.MAC{}, tt.tpa)))
				var want []string
				if tt.want {
					want = []string{"0s " + tt.tpa + " is-at " + cali.MAC.String() + " to " + pod.mac.String()}
				}
				var got []string
				for _, f := range pod.take() {
					got = append(got, f.String())
				}
				n.want("the answer", got, want...)
				if tt.want {
					equal(t, "the sender is known", neighState(node, tt.spa), NeighStale)
				}
			})
		})
	}
}

// Without proxy_delay=0 a broadcast request waits, a unicast one does not.
func TestProxyDelay(t *testing.T) {
	inBubble(t, func(n *network) {
		node, pod, _, cali := calico(n)
		n.sysctl(node, "net.ipv4.neigh.cali0.proxy_delay", "80")
		request := arpPacket(arpRequest, pod.mac, "10.244.1.5", link.MAC{}, "169.254.1.1")
		pod.send(frame(cali.MAC, pod.mac, etherARP, request))
		equal(t, "answers to a unicast request", len(pod.take()), 1)
		for range 70 {
			pod.send(frame(link.Broadcast, pod.mac, etherARP, request))
		}
		equal(t, "answers at once", len(pod.take()), 0)
		equal(t, "beyond proxy_qlen", cali.Point().Drops(DropNeighQueue), 6)
		n.wait(800 * time.Millisecond)
		got := pod.take()
		equal(t, "answers within 0.8 s", len(got), 64)
		times := make(map[time.Duration]bool)
		for _, f := range got {
			times[f.at] = true
		}
		if len(times) < 60 {
			t.Errorf("%d different times of 64, want random ones", len(times))
		}
	})
}

func TestARPIgnoreAndFilter(t *testing.T) {
	tests := []struct {
		name, spa, tpa string
		sysctl         [2]string
		want           bool
	}{
		{"any address of the host", "10.0.0.2", "10.1.0.1", [2]string{}, true},
		{"arp_ignore 1: of another device", "10.0.0.2", "10.1.0.1", [2]string{"net.ipv4.conf.all.arp_ignore", "1"}, false},
		{"arp_ignore 1: of this device", "10.9.0.2", "10.0.0.1", [2]string{"net.ipv4.conf.eth0.arp_ignore", "1"}, true},
		{"arp_ignore 2: sender outside the subnet", "10.9.0.2", "10.0.0.1", [2]string{"net.ipv4.conf.eth0.arp_ignore", "2"}, false},
		{"arp_ignore 2: sender in the subnet", "10.0.0.2", "10.0.0.1", [2]string{"net.ipv4.conf.eth0.arp_ignore", "2"}, true},
		{"arp_ignore 8", "10.0.0.2", "10.0.0.1", [2]string{"net.ipv4.conf.eth0.arp_ignore", "8"}, false},
		{"arp_filter: answered by the right device", "10.0.0.2", "10.1.0.1", [2]string{"net.ipv4.conf.eth0.arp_filter", "1"}, true},
		{"arp_filter: sender is behind the other device", "10.1.0.2", "10.0.0.1", [2]string{"net.ipv4.conf.eth0.arp_filter", "1"}, false},
		{"loopback", "10.0.0.2", "127.0.0.1", [2]string{}, false},
		{"loopback with route_localnet", "10.0.0.2", "127.0.0.1", [2]string{"net.ipv4.conf.all.route_localnet", "1"}, true},
		{"loopback with route_localnet and arp_ignore 3", "10.0.0.2", "127.0.0.1", [2]string{"net.ipv4.conf.eth0.arp_ignore", "3"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a := n.host(Config{Name: "a"})
				s, d := n.station(a, "eth0", "10.0.0.1/24")
				n.station(a, "eth1", "10.1.0.1/24")
				if tt.sysctl[0] != "" {
					n.sysctl(a, tt.sysctl[0], tt.sysctl[1])
				}
				s.send(frame(d.MAC, s.mac, etherARP, arpPacket(arpRequest, s.mac, tt.spa, link.MAC{}, tt.tpa)))
				equal(t, "answered", len(s.take()) == 1, tt.want)
			})
		})
	}
}

func TestARPAnnounce(t *testing.T) {
	for mode, want := range map[string]string{"0": "10.1.0.1", "1": "10.0.0.1", "2": "10.0.0.1"} {
		t.Run(mode, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a := n.host(Config{Name: "a"})
				s, _ := n.station(a, "eth0", "10.0.0.1/24")
				n.station(a, "eth1", "10.1.0.1/24")
				n.sysctl(a, "net.ipv4.conf.all.arp_announce", mode)
				c, err := a.ListenPacket("udp", "10.1.0.1:53")
				n.try(err)
				_, err = c.WriteTo([]byte("x"), netAddr("udp", addrPort(fullAddr(0, addr("10.0.0.2"), 9))))
				n.try(err)
				n.want("the request's sender", []string{s.take()[0].String()}, "0s who-has 10.0.0.2 tell "+want+" broadcast")
			})
		})
	}
}

// Of several answers the first counts (locktime), an announcement always does.
func TestARPLocktime(t *testing.T) {
	inBubble(t, func(n *network) {
		a := n.host(Config{Name: "a"})
		s, d := n.station(a, "eth0", "10.0.0.1/24")
		other, third := link.MAC{2, 9, 9, 9, 9, 9}, link.MAC{2, 8, 8, 8, 8, 8}
		answer := func(m link.MAC) {
			s.send(frame(d.MAC, m, etherARP, arpPacket(arpReply, m, "10.0.0.2", d.MAC, "10.0.0.1")))
		}
		known := func(sentence string, want link.MAC) {
			t.Helper()
			n.do(func() { equal(t, sentence, a.Neighbours()[0].MAC, want) })
		}
		s.send(frame(d.MAC, s.mac, etherARP, arpPacket(arpRequest, s.mac, "10.0.0.2", link.MAC{}, "10.0.0.1")))
		answer(other)
		known("a second address at once", s.mac)
		n.wait(time.Second)
		answer(other)
		known("after a second, still", s.mac)
		n.wait(time.Nanosecond)
		answer(other)
		known("after more than a second", other)
		s.send(frame(link.Broadcast, third, etherARP, arpPacket(arpRequest, third, "10.0.0.2", link.MAC{}, "10.0.0.2")))
		known("an announcement", third)
		s.send(frame(d.MAC, s.mac, etherARP, arpPacket(arpRequest, s.mac, "10.0.0.2", link.MAC{}, "10.0.0.1")))
		known("a request for us", s.mac)
		equal(t, "state", neighState(a, "10.0.0.2"), NeighStale)
	})
}

func TestARPAccept(t *testing.T) {
	for mode, want := range map[string]NeighState{"0": "", "1": NeighStale, "2": NeighStale} {
		inBubble(t, func(n *network) {
			a := n.host(Config{Name: "a"})
			s, _ := n.station(a, "eth0", "10.0.0.1/24")
			n.sysctl(a, "net.ipv4.conf.eth0.arp_accept", mode)
			s.send(frame(link.Broadcast, s.mac, etherARP, arpPacket(arpRequest, s.mac, "10.0.0.2", link.MAC{}, "10.0.0.2")))
			equal(t, "arp_accept="+mode, neighState(a, "10.0.0.2"), want)
		})
	}
}

func TestReversePathFilter(t *testing.T) {
	tests := []struct {
		mode, src string
		want      bool
	}{
		{"0", "10.1.0.9", true}, {"0", "8.8.8.8", true},
		{"1", "10.0.0.2", true}, {"1", "10.1.0.9", false}, {"1", "8.8.8.8", false},
		{"2", "10.0.0.2", true}, {"2", "10.1.0.9", true}, {"2", "8.8.8.8", false},
	}
	for _, tt := range tests {
		inBubble(t, func(n *network) {
			a := n.host(Config{Name: "a"})
			s, d := n.station(a, "eth0", "10.0.0.1/24")
			n.station(a, "eth1", "10.1.0.1/24")
			n.sysctl(a, "net.ipv4.conf.eth0.rp_filter", tt.mode)
			n.route(a, "9.0.0.0/8", "10.0.0.2", "eth0")
			s.sendIP(d, udpPacket(tt.src+":9", "10.0.0.1:9", nil))
			dropped := d.Point().Drops(DropReversePath) == 1
			equal(t, "rp_filter="+tt.mode+": "+tt.src+" is let in", !dropped, tt.want)
		})
	}
}
