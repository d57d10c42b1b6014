package stack

import (
	"strings"
	"testing"
	"time"
)

func TestSysctl(t *testing.T) {
	var c Config
	for _, s := range []struct{ name, value, want string }{
		{"net.ipv4.ip_forward", "1", "1"},
		{"net/bridge/bridge-nf-call-iptables", "0", "0"},
		{"net.ipv4.conf.all.route_localnet", "1", "1"},
		{"net.ipv4.tcp_rmem", "4096 131072 33554432", "4096\t131072\t33554432"},
		{"net.ipv4.tcp_congestion_control", "reno", "reno"},
		{"net.netfilter.nf_conntrack_max", "100", "100"},
		{"net.ipv4.ip_local_port_range", "1024 2000", "1024\t2000"},
		{"net.ipv4.ip_default_ttl", "255", "255"},
		{"net.ipv4.icmp_msgs_burst", "0", "0"},
		{"net.netfilter.nf_conntrack_udp_timeout", "7", "7"},
	} {
		if err := c.SetSysctl(s.name, s.value); err != nil {
			t.Errorf("%s = %s: %v", s.name, s.value, err)
		}
		if got, err := c.Sysctl(s.name); err != nil || got != s.want {
			t.Errorf("%s is %q, %v, want %q", s.name, got, err, s.want)
		}
	}
	if !c.Forward || c.BridgeNetfilter || !c.RouteLocalnet || c.TCPReceive.Max != 33554432 || c.Conntrack.Max != 100 || c.Conntrack.Timeouts.UDP != 7*time.Second {
		t.Errorf("configuration is %+v", c)
	}
}

// What nobody has set is Linux' default.
func TestSysctlDefaults(t *testing.T) {
	var c Config
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":                                "0",
		"net.ipv4.tcp_congestion_control":                    "cubic",
		"net.ipv4.ip_default_ttl":                            "64",
		"net.ipv4.ip_forward_use_pmtu":                       "0",
		"net.ipv4.ip_local_port_range":                       "32768\t60999",
		"net.ipv4.route.min_pmtu":                            "552",
		"net.ipv4.route.mtu_expires":                         "600",
		"net.ipv4.icmp_ratelimit":                            "1000",
		"net.ipv4.icmp_ratemask":                             "6168",
		"net.ipv4.icmp_msgs_per_sec":                         "1000",
		"net.ipv4.icmp_msgs_burst":                           "50",
		"net.ipv4.tcp_rmem":                                  "4096\t131072\t6291456",
		"net.netfilter.nf_conntrack_tcp_timeout_established": "432000",
		"net.netfilter.nf_conntrack_udp_timeout_stream":      "120",
	} {
		if got, err := c.Sysctl(name); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestSysctlErrors(t *testing.T) {
	for _, s := range []struct{ name, value, want string }{
		{"net.ipv4.ip_froward", "1", `stack: sysctl "net.ipv4.ip_froward" is not known, did you mean net.ipv4.ip_forward?`},
		{"kernel.panic", "1", `stack: sysctl "kernel.panic" is not known, want one of net.bridge.bridge-nf-call-iptables, `},
		{"net.ipv4.ip_forward", "yes", `stack: sysctl net.ipv4.ip_forward: "yes", want 0 or 1`},
		{"net.ipv4.tcp_rmem", "1 2", `stack: sysctl net.ipv4.tcp_rmem: "1 2", want three sizes in bytes that do not fall: minimum, default, maximum`},
		{"net.ipv4.tcp_congestion_control", "bbr", `stack: sysctl net.ipv4.tcp_congestion_control: "bbr", want one of cubic, reno`},
		{"net.ipv4.tcp_rmem", "3 2 1", `stack: sysctl net.ipv4.tcp_rmem: "3 2 1", want three`},
		{"net.ipv4.ip_default_ttl", "0", `stack: sysctl net.ipv4.ip_default_ttl: "0", want a number from 1 to 255`},
		{"net.ipv4.route.min_pmtu", "67", `stack: sysctl net.ipv4.route.min_pmtu: "67", want a number from 68 to `},
		{"net.ipv4.route.mtu_expire", "1", `stack: sysctl "net.ipv4.route.mtu_expire" is not known, did you mean net.ipv4.route.mtu_expires?`},
		{"net.ipv4.ip_local_port_range", "2000 1999", `stack: sysctl net.ipv4.ip_local_port_range: "2000 1999", want the first and the last port, from 1024 to 65535`},
		{"net.ipv4.ip_local_port_range", "1023 2000", `stack: sysctl net.ipv4.ip_local_port_range: "1023 2000", want the first`},
		{"net.ipv4.ip_local_port_range", "1024 2000 3000", `stack: sysctl net.ipv4.ip_local_port_range: "1024 2000 3000", want the first`},
		{"net.netfilter.nf_conntrack_max", "0", `stack: sysctl net.netfilter.nf_conntrack_max: "0", want a number above 0`},
		{"net.netfilter.nf_conntrack_udp_timeout", "1h", `stack: sysctl net.netfilter.nf_conntrack_udp_timeout: "1h", want seconds, above 0`},
	} {
		var c Config
		if err := c.SetSysctl(s.name, s.value); err == nil || !strings.HasPrefix(err.Error(), s.want) {
			t.Errorf("%s = %s: got error %v, want %s", s.name, s.value, err, s.want)
		}
	}
}
