package stack

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// traceLine prints what came of a traceroute in short: "1 r 2ms 2ms; 2 b ...".
func traceLines(hops []TraceHop) string {
	var lines []string
	for _, hop := range hops {
		line := fmt.Sprint(hop.TTL)
		for _, p := range hop.Probes {
			if !p.From.IsValid() {
				line += " *"
				continue
			}
			line += strings.TrimRight(fmt.Sprintf(" %v=%v %s", p.From, p.RTT, p.Mark()), " ")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestTraceroute(t *testing.T) {
	ms := link.WireConfig{Latency: time.Millisecond}
	for _, tt := range []struct {
		name string
		cfg  TraceConfig
		to   string
		want string
	}{
		{"UDP", TraceConfig{Queries: 2}, "10.0.2.2", "1 10.0.1.1=2ms 10.0.1.1=2ms; 2 10.0.2.2=4ms 10.0.2.2=4ms"},
		{"ICMP", TraceConfig{Method: TraceICMP, Queries: 1}, "10.0.2.2", "1 10.0.1.1=2ms; 2 10.0.2.2=4ms"},
		{"TCP, refused", TraceConfig{Method: TraceTCP, Queries: 1}, "10.0.2.2", "1 10.0.1.1=2ms; 2 10.0.2.2=4ms"},
		{"TCP, answered", TraceConfig{Method: TraceTCP, Queries: 1, Port: 8080}, "10.0.2.2", "1 10.0.1.1=2ms; 2 10.0.2.2=4ms"},
		{"from the second hop on", TraceConfig{FirstHop: 2, Queries: 1}, "10.0.2.2", "2 10.0.2.2=4ms"},
		{"one at a time", TraceConfig{Parallel: 1, Queries: 1}, "10.0.2.2", "1 10.0.1.1=2ms; 2 10.0.2.2=4ms"},
		{"administratively prohibited", TraceConfig{Queries: 1}, "10.9.0.1", "1 10.0.1.1=2ms !X"},
		{"no route", TraceConfig{Queries: 1}, "10.8.0.1", "1 10.0.1.1=2ms !N"},
		{"a black hole", TraceConfig{Queries: 1, MaxHops: 3}, "10.7.0.1", "1 *; 2 *; 3 *"},
		{"too big, DF", TraceConfig{Queries: 1, DF: true, Size: 1300}, "10.6.0.1", "1 10.0.1.1=2ms; 2 10.0.1.1=2ms !F-1200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a, r, b := n.routed(ms, ms)
				c := n.host(Config{Name: "c"})
				n.join(r, "eth2", "10.0.3.1/24", c, "eth0", "10.0.3.2/24", link.WireConfig{MTU: 1200})
				n.do(func() {
					n.try(r.AddRoute(Route{Dst: prefix("10.9.0.0/16"), Type: Prohibit}))
					n.try(r.AddRoute(Route{Dst: prefix("10.7.0.0/16"), Type: Blackhole}))
					n.try(r.AddRoute(Route{Dst: prefix("10.6.0.0/16"), Via: addr("10.0.3.2"), Dev: r.Device("eth2")}))
				})
				ln, err := b.Listen("tcp", ":8080")
				n.try(err)
				defer ln.Close()
				var seen []TraceHop
				tt.cfg.OnHop = func(h TraceHop) { seen = append(seen, h) }
				for range 2 { // the second finds MAC addresses in the ARP tables
					seen = nil
					hops, err := a.Traceroute(addr(tt.to), tt.cfg)
					n.try(err)
					if len(hops) != len(seen) {
						t.Errorf("OnHop was told of %d hops, want %d", len(seen), len(hops))
					}
					n.wait(10 * time.Second) // rate limits recover
				}
				equal(t, "hops", traceLines(seen), tt.want)
				n.do(func() { equal(t, "probes left behind", len(a.probes), 0) })
			})
		})
	}
}

// A probe that is lost is given up when others of its hop have long answered.
func TestTracerouteWaitsAsLongAsOthersTook(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{Latency: time.Millisecond}, link.WireConfig{Latency: time.Millisecond})
		n.rules(r, "*filter\n-A OUTPUT -p icmp --icmp-type time-exceeded -j DROP\nCOMMIT\n")
		start := n.now()
		hops, err := a.Traceroute(addr("10.0.2.2"), TraceConfig{Queries: 1, MaxHops: 2})
		n.try(err)
		if hops[0].Probes[0].From.IsValid() || !hops[1].Probes[0].From.IsValid() {
			t.Fatalf("hops %s, want the first silent and the second not", traceLines(hops))
		}
		rtt := hops[1].Probes[0].RTT
		equal(t, "time in all: ten times the later hop's", n.now()-start, 10*(rtt+time.Millisecond))
	})
}

func TestTracerouteRefusesNonsense(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		for want, cfg := range map[string]TraceConfig{
			"stack: traceroute: 300 hops, want 1 to 255":            {MaxHops: 300},
			"stack: traceroute: -1 probes per hop, want 1 to 10":    {Queries: -1},
			"stack: traceroute: first hop 9, want at most the last": {FirstHop: 9, MaxHops: 4},
		} {
			if _, err := a.Traceroute(addr("10.0.0.2"), cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%+v: %v, want %s", cfg, err, want)
			}
		}
		_, err := a.Traceroute(addr("10.200.0.1"), TraceConfig{})
		isAll(t, "no route", err, syscall.ENETUNREACH)
	})
}

func TestPingReceivesEveryAnswer(t *testing.T) {
	inBubble(t, func(n *network) {
		sw := n.drv.NewBridge("switch")
		var hosts []*Host
		for i := range 3 {
			h := n.host(Config{Name: fmt.Sprint("h", i), EchoBroadcasts: i > 0})
			n.do(func() {
				w := n.drv.NewWire(h.Name(), link.WireConfig{Latency: time.Duration(i) * time.Millisecond})
				sw.AddPort(h.Name(), w.B)
				d, err := h.AddEthernet("eth0", n.mac(), 1500, w.A)
				n.try(err)
				n.try(d.AddAddr(prefix(fmt.Sprintf("10.0.0.%d/24", i+1))))
			})
			hosts = append(hosts, h)
		}
		c, err := hosts[0].OpenPing(PingConfig{})
		n.try(err)
		defer c.Close()
		n.try(c.Send(addr("10.0.0.255"), 1))
		var got []string
		for {
			r, err := c.Receive(time.Second)
			if err == os.ErrDeadlineExceeded {
				break
			}
			n.try(err)
			got = append(got, fmt.Sprintf("%v duplicate=%v", r.From, r.Duplicate))
		}
		if want := []string{"10.0.0.2 duplicate=false", "10.0.0.3 duplicate=true"}; !slices.Equal(got, want) {
			t.Errorf("answers %v, want %v", got, want)
		}
	})
}

func TestSockets(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond})
		ln, err := b.Listen("tcp", ":80")
		n.try(err)
		defer ln.Close()
		pc, err := b.ListenPacket("udp", "10.0.0.2:53")
		n.try(err)
		defer pc.Close()
		c, err := a.Dial("tcp", "10.0.0.2:80")
		n.try(err)
		_, err = io.WriteString(c, "hello")
		n.try(err)
		n.wait(time.Second)
		list := func(h *Host) string {
			var lines []string
			n.do(func() {
				for _, s := range h.Sockets() {
					remote := "*"
					if s.Remote.IsValid() {
						remote = s.Remote.String()
					}
					lines = append(lines, fmt.Sprintf("%s %s %d %d %v %s", s.Network, s.State, s.RecvQ, s.SendQ, s.Local, remote))
				}
			})
			return strings.Join(lines, "\n")
		}
		port := c.LocalAddr().String()
		equal(t, "sockets of the server", list(b), "tcp LISTEN 0 4096 0.0.0.0:80 *\ntcp ESTAB 5 0 10.0.0.2:80 "+port+"\nudp UNCONN 0 0 10.0.0.2:53 *")
		equal(t, "sockets of the client", list(a), "tcp ESTAB 0 0 "+port+" 10.0.0.2:80")
		n.do(func() {
			info := a.Sockets()[0].TCP
			if info == nil || info.RTT <= 2*time.Millisecond || info.Cwnd != 11 || info.Ssthresh != 0 || info.SegsOut == 0 || info.Retransmits != 0 {
				t.Errorf("the client's connection: %+v", info)
			}
		})
		s, err := ln.Accept()
		n.try(err)
		n.try(c.Close())
		n.wait(time.Second)
		equal(t, "the client after its FIN", list(a), "tcp FIN-WAIT-2 0 0 "+port+" 10.0.0.2:80")
		n.try(s.Close())
		n.wait(time.Second)
		if got := list(b); strings.Contains(got, "ESTAB") {
			t.Errorf("the server after both ends have closed:\n%s", got)
		}
	})
}

func TestRemoveAddr(t *testing.T) {
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		d := a.Device("eth0")
		_, err := a.Listen("tcp", ":1") // gVisor runs
		n.try(err)
		n.do(func() {
			n.try(d.AddAddr(prefix("10.0.0.9/24")))
			equal(t, "an address it does not have", d.RemoveAddr(prefix("10.0.0.8/24")), false)
			equal(t, "the first address", d.RemoveAddr(prefix("10.0.0.1/24")), true)
			equal(t, "routes", fmt.Sprint(a.Routes()), "[10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.9]")
		})
		reply, err := pingOnce(a, "10.0.0.2")
		n.try(err)
		equal(t, "answered by", reply.From, addr("10.0.0.2"))
		if _, err := pingOnce(b, "10.0.0.1"); err == nil {
			t.Error("the address that is gone still answers")
		}
		n.do(func() {
			d.RemoveAddr(prefix("10.0.0.9/24"))
			equal(t, "routes", len(a.Routes()), 0)
			n.try(d.AddAddr(prefix("10.0.0.1/24")))
		})
		_, err = pingOnce(b, "10.0.0.1")
		n.try(err)
	})
}

func pingOnce(h *Host, to string) (PingReply, error) {
	c, err := h.OpenPing(PingConfig{})
	if err != nil {
		return PingReply{}, err
	}
	defer c.Close()
	r, err := c.Ping(addr(to), 1, 5*time.Second)
	if err == nil {
		err = r.Err()
	}
	return r, err
}

func TestRoutesAreReplaced(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		n.do(func() {
			d := a.Device("eth0")
			n.try(a.ReplaceRoute(Route{Dst: prefix("10.9.0.0/16"), Via: addr("10.0.0.2"), Dev: d}))
			n.try(a.ReplaceRoute(Route{Dst: prefix("10.9.0.0/16"), Via: addr("10.0.0.3"), Dev: d}))
			if err := a.ReplaceRoute(Route{Dst: prefix("10.9.0.0/16"), Via: addr("172.16.0.1"), Dev: d}); err == nil {
				t.Error("a next hop that is not on the link was taken")
			}
			r, ok := a.LookupRoute(addr("10.9.1.1"))
			equal(t, "found", ok, true)
			equal(t, "route", r.String(), "10.9.0.0/16 via 10.0.0.3 dev eth0")
			equal(t, "other device", a.RemoveRoute(r.Dst, func(r Route) bool { return r.Dev == a.lo }), false)
			equal(t, "removed", a.RemoveRoute(r.Dst, nil), true)
			equal(t, "removed twice", a.RemoveRoute(r.Dst, nil), false)
		})
	})
}

func TestSysctlOfARunningHost(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{}, link.WireConfig{})
		set := func(name, value string) { n.do(func() { n.try(r.SetSysctl(name, value)) }) }
		set("net.ipv4.ip_forward", "0")
		if _, err := pingOnce(a, "10.0.2.2"); err == nil {
			t.Error("a router that does not forward has forwarded")
		}
		set("net.ipv4.ip_forward", "1")
		_, err := pingOnce(a, "10.0.2.2")
		n.try(err)
		n.rules(r, "*filter\n-A FORWARD -p icmp -m state --state NEW -j ACCEPT\nCOMMIT\n")
		set("net.netfilter.nf_conntrack_icmp_timeout", "7")
		_, err = pingOnce(a, "10.0.2.2")
		n.try(err)
		n.do(func() {
			e := r.Conntrack().Entries(n.drv.Now())
			equal(t, "flows", len(e), 1)
			equal(t, "timeout of a new flow", e[0].Deadline()-n.drv.Now(), 7*time.Second)
			br, err := r.AddBridge("br0", n.mac(), 1500)
			n.try(err)
			for value, want := range map[string]bool{"1": true, "0": false} {
				n.try(r.SetSysctl("net.bridge.bridge-nf-call-iptables", value))
				equal(t, "br_netfilter after "+value, br.Bridge().Filter != nil, want)
			}
			got, err := r.Sysctl("net.ipv4.ip_forward")
			equal(t, "value", got, "1")
			n.try(err)
		})
	})
}
