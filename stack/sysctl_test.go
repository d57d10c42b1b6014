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
		{"net.netfilter.nf_conntrack_max", "0", `stack: sysctl net.netfilter.nf_conntrack_max: "0", want a number above 0`},
		{"net.netfilter.nf_conntrack_udp_timeout", "1h", `stack: sysctl net.netfilter.nf_conntrack_udp_timeout: "1h", want seconds, above 0`},
	} {
		var c Config
		if err := c.SetSysctl(s.name, s.value); err == nil || !strings.HasPrefix(err.Error(), s.want) {
			t.Errorf("%s = %s: got error %v, want %s", s.name, s.value, err, s.want)
		}
	}
}
