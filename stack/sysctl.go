package stack

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// A sysctl is one kernel parameter: how it is read from a configuration and
// written to it.
type sysctl struct {
	name string

	// inherited says that a new network namespace starts with the node's value.
	inherited bool

	get func(*Config) string
	set func(*Config, string) error

	// now reads the value of a running host; nil means that get does.
	now func(*Host) (string, error)

	// apply brings a change of the configuration into force on a running host;
	// nil means that the configuration is read whenever the value is needed.
	apply func(*Host) error
}

// with returns s with what a change does to a running host.
func (s sysctl) with(apply func(*Host) error) sysctl {
	s.apply = apply
	return s
}

// sysctls are the kernel parameters that a host knows, by name.
var sysctls []sysctl

// forwardSysctl is the place of net.ipv4.ip_forward among them.
const forwardSysctl = 0

func init() {
	sysctls = []sysctl{
		forwardSysctl: flag("net.ipv4.ip_forward", func(c *Config) *bool { return &c.Forward }).inherit().with((*Host).applyForward),
		flag("net.bridge.bridge-nf-call-iptables", func(c *Config) *bool { return &c.BridgeNetfilter }).with((*Host).applyBridgeNetfilter),
		sysctl{
			name: "net.ipv4.icmp_echo_ignore_broadcasts",
			get:  func(c *Config) string { return not(c.EchoBroadcasts) },
			set:  func(c *Config, value string) (err error) { c.EchoBroadcasts, err = notFlag(value); return err },
		},
		sysctl{name: "net.ipv4.tcp_rmem", get: getReceiveBuffer, set: setReceiveBuffer}.inherit().with((*Host).applyTCP),
		sysctl{name: "net.ipv4.tcp_congestion_control", get: getCongestion, set: setCongestion}.inherit().with((*Host).applyTCP),
		number("net.core.somaxconn", listenBacklog, func(c *Config) *int { return &c.Backlog }),
		number("net.ipv4.neigh.default.gc_thresh1", 128, func(c *Config) *int { return &c.Neighbours.Thresh1 }),
		number("net.ipv4.neigh.default.gc_thresh2", 512, func(c *Config) *int { return &c.Neighbours.Thresh2 }),
		number("net.ipv4.neigh.default.gc_thresh3", 1024, func(c *Config) *int { return &c.Neighbours.Thresh3 }),
	}
	sysctls = append(sysctls, conntrackSysctls()...)
	sysctls = append(sysctls, ipSysctls()...)
	for _, device := range []string{"all", "default"} {
		for p := range numConf {
			if s := newConfSysctl(device, p); device == "default" || p.group() == "conf" && p != confForwarding {
				sysctls = append(sysctls, s)
			}
		}
	}
}

// inherit returns s as one that new namespaces start with.
func (s sysctl) inherit() sysctl {
	s.inherited = true
	return s
}

// Sysctls lists the kernel parameters that a host knows, sorted. Those named
// net.ipv4.conf.default.* and net.ipv4.neigh.default.* are there for every device
// too, with its name in the place of "default".
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

// SetSysctl is `sysctl -w NAME=VALUE` on a running host. Per device there are
// the names net.ipv4.conf.DEVICE.* and net.ipv4.neigh.DEVICE.*, for which the
// device must exist.
func (h *Host) SetSysctl(name, value string) error {
	s, err := findSysctl(name)
	if err != nil {
		return err
	}
	cfg := h.cfg
	if err := s.set(&cfg, value); err != nil {
		return fmt.Errorf("stack: sysctl %s: %w", s.name, err)
	}
	old := h.cfg
	h.cfg = cfg
	if s.apply == nil {
		return nil
	}
	if err := s.apply(h); err != nil {
		h.cfg = old
		return err
	}
	return nil
}

// Sysctl is `sysctl -n NAME` on a running host.
func (h *Host) Sysctl(name string) (string, error) {
	s, err := findSysctl(name)
	switch {
	case err != nil:
		return "", err
	case s.now != nil:
		return s.now(h)
	}
	return s.get(&h.cfg), nil
}

// NamespaceConfig returns the configuration that a new network namespace on
// this machine starts with: what the kernel copies from the first one, in
// particular net.ipv4.conf.all and .default (devconf_inherit_init_net=0).
func (h *Host) NamespaceConfig() Config {
	var c Config
	for _, s := range sysctls {
		if !s.inherited {
			continue
		}
		v, err := h.Sysctl(s.name)
		if err == nil {
			err = s.set(&c, v)
		}
		if err != nil {
			panic(err) // a value that was read can be written
		}
	}
	return c
}

func (h *Host) applyForward() error {
	if h.conf.all.on(confForwarding) != h.cfg.Forward {
		h.setForward(h.cfg.Forward)
	}
	return nil
}

func (h *Host) applyBridgeNetfilter() error {
	for _, d := range h.devices {
		d.filterBridge()
	}
	return nil
}

func (h *Host) applyTCP() error {
	if h.sockets.s == nil {
		return nil
	}
	return setTCPOptions(h.sockets.s, &h.cfg)
}

// findSysctl finds a parameter by its name, written with dots or slashes.
func findSysctl(name string) (sysctl, error) {
	dotted := strings.ReplaceAll(name, "/", ".")
	if s, ok := confSysctl(dotted); ok {
		return s, nil
	}
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

// not and notFlag are for parameters that switch off what a field switches on.
func not(on bool) string {
	if on {
		return "0"
	}
	return "1"
}

func notFlag(value string) (on bool, err error) {
	if value != "0" && value != "1" {
		return false, fmt.Errorf("%q, want 0 or 1", value)
	}
	return value == "0", nil
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
