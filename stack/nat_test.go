package stack

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

func TestNAT(t *testing.T) {
	const svc = "*nat\n-A PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.2.2:8080\n"
	tests := []struct {
		name, rules string
		dial        string
		want        string // what the server says; "*" at the end is any port
	}{
		{"DNAT", svc + "COMMIT\n", "10.96.0.10:80", "10.0.2.2:8080 sees 10.0.1.2:*"},
		{"DNAT and MASQUERADE", svc + "-A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n", "10.96.0.10:80", "10.0.2.2:8080 sees 10.0.2.1:*"},
		{"SNAT to another address", svc + "-A POSTROUTING -o eth1 -j SNAT --to-source 10.0.2.77\nCOMMIT\n", "10.96.0.10:80", "10.0.2.2:8080 sees 10.0.2.77:*"},
		{"random port", "*nat\n-A POSTROUTING -o eth1 -j MASQUERADE --random-fully\nCOMMIT\n", "10.0.2.2:8080", "10.0.2.2:8080 sees 10.0.2.1:*"},
		{"no rule applies", "*nat\n-A POSTROUTING -o eth9 -j MASQUERADE\nCOMMIT\n", "10.0.2.2:8080", "10.0.2.2:8080 sees 10.0.1.2:*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a, r, b := n.routed(link.WireConfig{Latency: time.Millisecond}, link.WireConfig{Latency: time.Millisecond})
				n.rules(r, tt.rules)
				n.do(func() { // 10.0.2.77 is reached through the router
					n.try(b.AddRoute(Route{Dst: prefix("10.0.2.77/32"), Via: addr("10.0.2.1"), Dev: b.Device("eth0")}))
				})
				serveEcho(n, b, "10.0.2.2:8080")
				rec := n.record(a.Device("eth0"))
				got := fetch(n, a, tt.dial)
				if !strings.HasPrefix(got, strings.TrimSuffix(tt.want, "*")) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				for _, s := range rec.seen { // the client only ever sees the address that it dialled
					if link.EtherType(s.b) == etherIPv4 && s.dir == link.In {
						equal(t, "source of "+describe(s.b), s.ip().src().String(), strings.Split(tt.dial, ":")[0])
						wantTCPSum(t, s.ip())
					}
				}
			})
		})
	}
}

// TestOutputDNAT: a host's own connections are translated too, and take the
// route to where they really go.
func TestOutputDNAT(t *testing.T) {
	inBubble(t, func(n *network) {
		_, r, b := n.routed(link.WireConfig{}, link.WireConfig{})
		n.rules(r, "*nat\n-A OUTPUT -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.2.2:8080\nCOMMIT\n")
		n.route(r, "10.96.0.0/12", "10.0.1.2", "eth0")
		serveEcho(n, b, "10.0.2.2:8080")
		if got, want := fetch(n, r, "10.96.0.10:80"), "10.0.2.2:8080 sees 10.0.1.1:"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestHairpin: a host reaches itself through a translated address if the
// router masquerades.
func TestHairpin(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{}, link.WireConfig{})
		n.rules(r, `*nat
-A PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.1.2:8080
-A POSTROUTING -s 10.0.1.2/32 -d 10.0.1.2/32 -j MASQUERADE
COMMIT
`)
		serveEcho(n, a, ":8080")
		if got, want := fetch(n, a, "10.96.0.10:80"), "10.0.1.2:8080 sees 10.0.1.1:"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestErrorIsTranslated: the client hears of the closed port from the address
// that it has sent to, about the packet that it has sent.
func TestErrorIsTranslated(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{}, link.WireConfig{})
		n.rules(r, `*nat
-A PREROUTING -d 10.96.0.10/32 -p udp --dport 53 -j DNAT --to-destination 10.0.2.2:5353
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
`)
		rec := n.record(a.Device("eth0"))
		c, err := a.Dial("udp", "10.96.0.10:53")
		n.try(err)
		c.Write([]byte("query"))
		c.SetReadDeadline(n.drv.Epoch().Add(n.now() + time.Second))
		_, err = c.Read(make([]byte, 1))
		isAll(t, "read", err, syscall.ECONNREFUSED)
		last := rec.seen[len(rec.seen)-1].ip()
		equal(t, "error", describeIP(last), "10.96.0.10 > 10.0.1.2 icmp 3/3")
		_, _, _, quoted := quoteOf(t, last)
		if want := describeIP(udpPacket(c.LocalAddr().String(), "10.96.0.10:53", []byte("query"))); describeIP(quoted) != want {
			t.Errorf("quoted %s, want %s", describeIP(quoted), want)
		}
	})
}

func TestRedirect(t *testing.T) {
	inBubble(t, func(n *network) {
		a, r, _ := n.routed(link.WireConfig{}, link.WireConfig{})
		n.rules(r, "*nat\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 15001\nCOMMIT\n")
		serveEcho(n, r, ":15001")
		if got, want := fetch(n, a, "10.0.2.2:80"), "10.0.1.1:15001 sees 10.0.1.2:"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestNotesSayWhatNATDid: a capture can tell the story of a packet.
func TestNotesSayWhatNATDid(t *testing.T) {
	inBubble(t, func(n *network) {
		r, left, right := router(n, 1500)
		n.rules(r, `*nat
-A PREROUTING -d 10.96.0.10/32 -p udp --dport 53 -j DNAT --to-destination 10.0.2.2:5353
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
`)
		rec := n.record(r.Device("eth0"), r.Device("eth1"))
		left.sendIP(r.Device("eth0"), udpPacket("10.0.1.2:1000", "10.96.0.10:53", nil))
		right.sendIP(r.Device("eth1"), udpPacket("10.0.2.2:5353", "10.0.2.1:1000", nil))
		var got []string
		for _, s := range rec.seen {
			got = append(got, s.point+" "+s.dir.String()+" "+s.note)
		}
		n.want("notes", got,
			"r/eth0 in ",
			"r/eth1 out DNAT 10.96.0.10:53 -> 10.0.2.2:5353; SNAT 10.0.1.2:1000 -> 10.0.2.1:1000",
			"r/eth1 in ",
			"r/eth0 out un-SNAT 10.0.2.1:1000 -> 10.0.1.2:1000; un-DNAT 10.0.2.2:5353 -> 10.96.0.10:53")
	})
}
