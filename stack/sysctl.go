package stack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podwire/podwire/internal/typo"
	"github.com/podwire/podwire/stack/conntrack"
)

// A sysctl is one kernel parameter: how it is read from a configuration and
// written to it.
type sysctl struct {
	name string

	// inherited says that a new network namespace starts with the node's value.
	inherited bool

	get func(*Config) string
	set func(*Config, string) error
}

// sysctls are the kernel parameters that a host knows, by name.
var sysctls = []sysctl{
	flag("net.bridge.bridge-nf-call-iptables", func(c *Config) *bool { return &c.BridgeNetfilter }),
	flag("net.ipv4.conf.all.route_localnet", func(c *Config) *bool { return &c.RouteLocalnet }),
	flag("net.ipv4.ip_forward", func(c *Config) *bool { return &c.Forward }),
	{"net.ipv4.tcp_rmem", true, getReceiveBuffer, setReceiveBuffer},
	number("net.netfilter.nf_conntrack_max", conntrack.DefaultMax, func(c *Config) *int { return &c.Conntrack.Max }),
	seconds("net.netfilter.nf_conntrack_icmp_timeout", func(t *conntrack.Timeouts) *time.Duration { return &t.ICMP }),
	seconds("net.netfilter.nf_conntrack_tcp_timeout_close", func(t *conntrack.Timeouts) *time.Duration { return &t.TCPClose }),
	seconds("net.netfilter.nf_conntrack_tcp_timeout_close_wait", func(t *conntrack.Timeouts) *time.Duration { return &t.TCPCloseWait }),
	seconds("net.netfilter.nf_conntrack_tcp_timeout_established", func(t *conntrack.Timeouts) *time.Duration { return &t.TCPEstablished }),
	seconds("net.netfilter.nf_conntrack_tcp_timeout_fin_wait", func(t *conntrack.Timeouts) *time.Duration { return &t.TCPFinWait }),
	seconds("net.netfilter.nf_conntrack_tcp_timeout_syn_sent", func(t *conntrack.Timeouts) *time.Duration { return &t.TCPSynSent }),
	seconds("net.netfilter.nf_conntrack_tcp_timeout_time_wait", func(t *conntrack.Timeouts) *time.Duration { return &t.TCPTimeWait }),
	seconds("net.netfilter.nf_conntrack_udp_timeout", func(t *conntrack.Timeouts) *time.Duration { return &t.UDP }),
	seconds("net.netfilter.nf_conntrack_udp_timeout_stream", func(t *conntrack.Timeouts) *time.Duration { return &t.UDPStream }),
}

// Sysctls lists the kernel parameters that a host knows, sorted.
func Sysctls() []string {
	names := make([]string, len(sysctls))
	for i, s := range sysctls {
		names[i] = s.name
	}
	slices.Sort(names)
	return names
}

// SetSysctl sets a kernel parameter before the host is made, as
// `sysctl -w NAME=VALUE` does before anything runs.
func (c *Config) SetSysctl(name, value string) error {
	s, err := findSysctl(name)
	if err != nil {
		return err
	}
	if err := s.set(c, value); err != nil {
		return fmt.Errorf("stack: sysctl %s: %w", s.name, err)
	}
	return nil
}

// Sysctl returns the value of a kernel parameter as `sysctl -n NAME` prints it.
func (c *Config) Sysctl(name string) (string, error) {
	s, err := findSysctl(name)
	if err != nil {
		return "", err
	}
	return s.get(c), nil
}

// InheritedSysctl reports whether a new network namespace, a pod's, starts with
// the value that its node has.
func InheritedSysctl(name string) bool {
	s, err := findSysctl(name)
	return err == nil && s.inherited
}

// findSysctl finds a parameter by its name, written with dots or slashes.
func findSysctl(name string) (sysctl, error) {
	dotted := strings.ReplaceAll(name, "/", ".")
	for _, s := range sysctls {
		if s.name == dotted {
			return s, nil
		}
	}
	if near := typo.Nearest(dotted, Sysctls()); near != "" {
		return sysctl{}, fmt.Errorf("stack: sysctl %q is not known, did you mean %s?", name, near)
	}
	return sysctl{}, fmt.Errorf("stack: sysctl %q is not known, want one of %s", name, strings.Join(Sysctls(), ", "))
}

func flag(name string, field func(*Config) *bool) sysctl {
	return sysctl{name: name,
		get: func(c *Config) string {
			if *field(c) {
				return "1"
			}
			return "0"
		},
		set: func(c *Config, value string) error {
			if value != "0" && value != "1" {
				return fmt.Errorf("%q, want 0 or 1", value)
			}
			*field(c) = value == "1"
			return nil
		}}
}

func number(name string, def int, field func(*Config) *int) sysctl {
	return sysctl{name: name,
		get: func(c *Config) string {
			if *field(c) == 0 {
				return strconv.Itoa(def)
			}
			return strconv.Itoa(*field(c))
		},
		set: func(c *Config, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil || n <= 0 {
				return fmt.Errorf("%q, want a number above 0", value)
			}
			*field(c) = n
			return nil
		}}
}

func seconds(name string, field func(*conntrack.Timeouts) *time.Duration) sysctl {
	return sysctl{name: name,
		get: func(c *Config) string {
			d := *field(&c.Conntrack.Timeouts)
			if d == 0 {
				def := conntrack.DefaultTimeouts()
				d = *field(&def)
			}
			return strconv.Itoa(int(d / time.Second))
		},
		set: func(c *Config, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil || n <= 0 || n > 1<<31-1 {
				return fmt.Errorf("%q, want seconds, above 0", value)
			}
			*field(&c.Conntrack.Timeouts) = time.Duration(n) * time.Second
			return nil
		}}
}

func getReceiveBuffer(c *Config) string {
	b := c.TCPReceive.withDefaults()
	return fmt.Sprintf("%d\t%d\t%d", b.Min, b.Default, b.Max)
}

func setReceiveBuffer(c *Config, value string) error {
	var n [3]int
	words := strings.Fields(value)
	for i, w := range words {
		v, err := strconv.Atoi(w)
		if err != nil || len(words) != 3 || v < 1 || v > 1<<30 || i > 0 && v < n[i-1] {
			words = nil
			break
		}
		n[i] = v
	}
	if len(words) != 3 {
		return fmt.Errorf("%q, want three sizes in bytes that do not fall: minimum, default, maximum", value)
	}
	c.TCPReceive = Buffer{Min: n[0], Default: n[1], Max: n[2]}
	return nil
}

// Buffer is the size of a socket's buffer in bytes: what it has at least, what
// it starts with and what it may grow to.
type Buffer struct{ Min, Default, Max int }

// withDefaults returns b, or the defaults of Linux for tcp_rmem if b is zero.
func (b Buffer) withDefaults() Buffer {
	if b == (Buffer{}) {
		return Buffer{Min: 4096, Default: 131072, Max: 6291456}
	}
	return b
}
