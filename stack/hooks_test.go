package stack

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
)

// everyChain has a rule in every built-in chain that accepts what it sees.
func everyChain() string {
	var b strings.Builder
	for table, chains := range map[string]string{
		"raw":    "PREROUTING OUTPUT",
		"mangle": "PREROUTING INPUT FORWARD OUTPUT POSTROUTING",
		"nat":    "PREROUTING INPUT OUTPUT POSTROUTING",
		"filter": "INPUT FORWARD OUTPUT",
	} {
		fmt.Fprintf(&b, "*%s\n", table)
		for _, c := range strings.Fields(chains) {
			fmt.Fprintf(&b, "-A %s -p udp -m comment --comment %s/%s -j ACCEPT\n", c, table, c)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// traced collects the comments of the rules that match on h.
func traced(n *network, h *Host) func() []string {
	var got []string
	n.do(func() {
		h.Netfilter().Trace = func(r *netfilter.Rule) {
			_, rest, _ := strings.Cut(r.String(), "--comment ")
			name, _, _ := strings.Cut(rest, " ")
			got = append(got, strings.Trim(name, `"`))
		}
	})
	return func() []string {
		n.wait(0)
		out := got
		got = nil
		return out
	}
}

// TestHookOrder is the order of Linux: raw, (conntrack), mangle, nat, filter,
// and source NAT last. The nat table sees the first packet of a flow only.
func TestHookOrder(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, _ := router(n, 1500)
		n.rules(r, everyChain())
		trace := traced(n, r)
		through := []string{"raw/PREROUTING", "mangle/PREROUTING", "nat/PREROUTING", "mangle/FORWARD", "filter/FORWARD",
			"mangle/POSTROUTING", "nat/POSTROUTING"}
		pkt := udpPacket("10.0.1.2:1000", "10.0.2.2:2000", nil)
		left.sendIP(r.Device("eth0"), pkt)
		n.want("forwarded", trace(), through...)
		left.sendIP(r.Device("eth0"), pkt)
		n.want("the same flow again", trace(), without(through, "nat/")...)
		s, err := r.ListenPacket("udp", ":53")
		n.try(err)
		left.sendIP(r.Device("eth0"), udpPacket("10.0.1.2:1000", "10.0.1.1:53", nil))
		n.want("received", trace(), "raw/PREROUTING", "mangle/PREROUTING", "nat/PREROUTING", "mangle/INPUT", "filter/INPUT", "nat/INPUT")
		s.WriteTo(nil, netAddr("udp", mustAddrPort("10.0.2.2:9")))
		n.want("sent", trace(), "raw/OUTPUT", "mangle/OUTPUT", "nat/OUTPUT", "filter/OUTPUT", "mangle/POSTROUTING", "nat/POSTROUTING")
		s.WriteTo(nil, netAddr("udp", mustAddrPort("127.0.0.1:53")))
		n.want("sent and received over lo", trace(), "raw/OUTPUT", "mangle/OUTPUT", "nat/OUTPUT", "filter/OUTPUT",
			"mangle/POSTROUTING", "nat/POSTROUTING",
			"raw/PREROUTING", "mangle/PREROUTING", "mangle/INPUT", "filter/INPUT")
	})
}

func without(list []string, prefix string) []string {
	var out []string
	for _, s := range list {
		if !strings.HasPrefix(s, prefix) {
			out = append(out, s)
		}
	}
	return out
}

// TestReject: an error made in FORWARD quotes the TTL that was spent already,
// one made in INPUT the TTL that came.
func TestReject(t *testing.T) {
	tests := []struct {
		name, rule, dst string
		proto           string
		want            string // the answer
		ttl             byte   // in the quote
	}{
		{"FORWARD", "-A FORWARD -j REJECT", "10.0.2.2", "udp", "10.0.1.1 > 10.0.1.2 icmp 3/3", 63},
		{"INPUT", "-A INPUT -j REJECT", "10.0.1.1", "udp", "10.0.1.1 > 10.0.1.2 icmp 3/3", 64},
		{"host prohibited", "-A FORWARD -j REJECT --reject-with icmp-host-prohibited", "10.0.2.2", "udp", "10.0.1.1 > 10.0.1.2 icmp 3/10", 63},
		{"reset in FORWARD", "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset", "10.0.2.2", "tcp", "10.0.2.2 > 10.0.1.2 tcp RA", 0},
		{"reset in INPUT", "-A INPUT -p tcp -j REJECT --reject-with tcp-reset", "10.0.1.1", "tcp", "10.0.1.1 > 10.0.1.2 tcp RA", 0},
		{"DROP", "-A FORWARD -j DROP", "10.0.2.2", "udp", "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				r, left, right := router(n, 1500)
				n.rules(r, "*filter\n"+tt.rule+"\nCOMMIT\n")
				pkt := udpPacket("10.0.1.2:1000", tt.dst+":2000", []byte("x"))
				if tt.proto == "tcp" {
					pkt = tcpPacket("10.0.1.2:1000", tt.dst+":2000", tcpSYN, 5, 0, nil)
				}
				left.sendIP(r.Device("eth0"), pkt)
				equal(t, "let through", len(right.take()), 0)
				got := left.take()
				if tt.want == "" {
					equal(t, "answers", len(got), 0)
					equal(t, "counted", r.Device("eth0").Point().Drops(DropNetfilter), 1)
					return
				}
				if len(got) != 1 {
					n.Fatalf("answers: got %v, want one", got)
				}
				equal(t, "answer", describeIP(got[0].ip()), tt.want)
				if tt.ttl != 0 {
					_, _, _, quoted := quoteOf(t, got[0].ip())
					equal(t, "TTL in the quote", quoted.ttl(), tt.ttl)
				} else {
					wantTCPSum(t, got[0].ip())
				}
			})
		})
	}
}

func TestRejectInOutputRefusesDial(t *testing.T) {
	inBubble(t, func(n *network) {
		a, _ := n.pair(link.WireConfig{})
		n.rules(a, "*filter\n-A OUTPUT -d 10.0.0.2 -j REJECT\nCOMMIT\n")
		took(n, "at once", 0, func() {
			_, err := a.Dial("tcp", "10.0.0.2:80")
			isAll(t, "error", err, syscall.ECONNREFUSED)
		})
		n.rules(a, "*filter\n-A OUTPUT -d 10.0.0.2 -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n")
		took(n, "at once", 0, func() {
			_, err := a.Dial("tcp", "10.0.0.2:80")
			isAll(t, "error", err, syscall.ECONNREFUSED)
		})
	})
}

// TestMarkTravels from PREROUTING to POSTROUTING, as kube-proxy needs it.
func TestMarkTravels(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, right := router(n, 1500)
		n.rules(r, `*mangle
-A PREROUTING -p udp --dport 2000 -j MARK --set-xmark 0x4000/0x4000
COMMIT
*nat
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
COMMIT
`)
		left.sendIP(r.Device("eth0"), udpPacket("10.0.1.2:1000", "10.0.2.2:2000", nil))
		left.sendIP(r.Device("eth0"), udpPacket("10.0.1.2:1000", "10.0.2.2:2001", nil))
		got := right.take()
		equal(t, "packets", len(got), 2)
		equal(t, "marked", describeIP(got[0].ip()), "10.0.2.1 > 10.0.2.2 udp 1000>2000 len 0")
		equal(t, "not marked", describeIP(got[1].ip()), "10.0.1.2 > 10.0.2.2 udp 1000>2001 len 0")
	})
}

// TestFragmentsMeetConntrack: where connections are tracked a router joins what
// it then cuts again, also for packets that raw exempts; elsewhere every piece
// goes on its own.
func TestFragmentsMeetConntrack(t *testing.T) {
	for rules, want := range map[string]string{
		"": "1444 76 1444 76 1068 ",
		"*filter\n-A FORWARD -j ACCEPT\nCOMMIT\n":                      "1444 76 1444 76 1068 ",
		"*filter\n-A FORWARD -m state --state NEW -j ACCEPT\nCOMMIT\n": "1444 1444 1180 ",
		"*raw\n-A PREROUTING -j NOTRACK\nCOMMIT\n":                     "1444 1444 1180 ",
		"*nat\nCOMMIT\n": "1444 1444 1180 ",
	} {
		t.Run(rules, func(t *testing.T) {
			inBubble(t, func(n *network) {
				r, left, right := router(n, 1450)
				n.rules(r, rules)
				for _, p := range pieces(echoPacket(between("10.0.1.2", "10.0.2.2", 0), 1, 4000), 1500) {
					left.sendIP(r.Device("eth0"), p)
				}
				var got string
				for _, s := range right.take() {
					got += fmt.Sprint(len(s.ip()), " ")
				}
				equal(t, "total lengths", got, want)
			})
		})
	}
}

// serveEcho answers one connection with what the server sees of it.
func serveEcho(n *network, h *Host, address string) {
	n.Helper()
	ln, err := h.Listen("tcp", address)
	n.try(err)
	n.drv.Go(func() {
		defer ln.Close()
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "%v sees %v", c.LocalAddr(), c.RemoteAddr())
	})
}

// fetch connects and returns what the server says.
func fetch(n *network, h *Host, address string) string {
	n.Helper()
	c, err := h.Dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	c.SetDeadline(n.drv.Epoch().Add(n.now() + 10*time.Second))
	got, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(got)
}
