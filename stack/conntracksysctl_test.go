package stack

import (
	"strings"
	"testing"
	"time"
)

// What net.netfilter.nf_conntrack_* is set to on a running host is what its
// table does from then on.
func TestConntrackSysctls(t *testing.T) {
	besiege(t, func(s *siege) {
		set := func(name, value string) {
			t.Helper()
			s.do(func() { s.try(s.node.SetSysctl("net.netfilter.nf_conntrack_"+name, value)) })
		}
		get := func(name string) (value string) {
			t.Helper()
			s.do(func() {
				var err error
				value, err = s.node.Sysctl("net.netfilter.nf_conntrack_" + name)
				s.try(err)
			})
			return value
		}
		first := func() string {
			now := s.node.now()
			for _, e := range s.node.track.Entries(now) {
				return e.Line(now)
			}
			return ""
		}
		s.do(func() {
			s.try(s.node.SetNeighbour(s.node.Device("cni0"), addr("10.0.2.9"), attackerMAC))
			s.node.track.Flush()
		})
		equal(t, "flows at first", get("count"), "0")
		s.attackIP(udpPacket("10.0.0.2:1", "10.0.2.9:9", nil))
		s.wait(0)
		equal(t, "flows after a datagram", get("count"), "1")
		equal(t, "counters without nf_conntrack_acct", strings.Contains(first(), "packets="), false)
		s.wait(time.Minute)
		equal(t, "flows a minute later", get("count"), "0")
		set("acct", "1")
		s.attackIP(udpPacket("10.0.0.2:2", "10.0.2.9:9", nil))
		s.wait(0)
		equal(t, "the flow with nf_conntrack_acct", first(), "ipv4     2 udp      17 30 src=10.0.0.2 dst=10.0.2.9 sport=2 dport=9 packets=1 bytes=28 [UNREPLIED] "+
			"src=10.0.2.9 dst=10.0.0.2 sport=9 dport=2 packets=0 bytes=0 mark=0 zone=0 use=2")
		s.do(s.node.track.Flush)
		segment := func() { s.attackIP(tcpPacket("10.0.0.2:5", "10.0.2.9:80", tcpACK, 5, 5, nil)); s.wait(0) }
		set("tcp_loose", "0")
		segment()
		equal(t, "flows picked up in the middle with nf_conntrack_tcp_loose=0", get("count"), "0")
		set("tcp_loose", "1")
		set("tcp_timeout_unacknowledged", "42")
		segment()
		equal(t, "life of a flow picked up in the middle", strings.Fields(first())[4], "42")
		set("buckets", "1000")
		equal(t, "buckets", get("buckets"), "1024")
		set("buckets", "512")
		set("acct", "0")
	})
}

func TestConntrackSysctlErrors(t *testing.T) {
	for _, s := range []struct{ name, value, want string }{
		{"count", "1", "stack: sysctl net.netfilter.nf_conntrack_count: permission denied, it can only be read"},
		{"tcp_loose", "5", `stack: sysctl net.netfilter.nf_conntrack_tcp_loose: "5", want 0 or 1`},
		{"tcp_max_retrans", "300", `stack: sysctl net.netfilter.nf_conntrack_tcp_max_retrans: "300", want a number from 1 to 255`},
		{"buckets", "0", `stack: sysctl net.netfilter.nf_conntrack_buckets: "0", want a number above 0`},
		{"tcp_timeout_last_ack", "soon", `stack: sysctl net.netfilter.nf_conntrack_tcp_timeout_last_ack: "soon", want seconds, above 0`},
	} {
		var c Config
		if err := c.SetSysctl("net.netfilter.nf_conntrack_"+s.name, s.value); err == nil || err.Error() != s.want {
			t.Errorf("%s = %s: got error %v, want %s", s.name, s.value, err, s.want)
		}
	}
}
