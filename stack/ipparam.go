package stack

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// An ipParam is a whole number under net.ipv4 that holds for a whole host. Config
// has its difference from the default, so that its zero value is the kernel's.
type ipParam int

const (
	ipDefaultTTL ipParam = iota
	ipForwardPMTU
	ipMinPathMTU
	ipPathMTUExpires // seconds
	icmpRateLimit    // milliseconds between messages to one peer
	icmpRateMask     // bit per ICMP type
	icmpPerSecond
	icmpBurst
	ipFirstPort
	ipLastPort
	numIPParams
)

// ipParams are their names, defaults and bounds (net/ipv4/sysctl_net_ipv4.c,
// net/ipv4/route.c). The two without a name are one parameter,
// ip_local_port_range.
var ipParams = [numIPParams]struct {
	name          string
	def, min, max int
}{
	ipDefaultTTL:     {"net.ipv4.ip_default_ttl", defaultTTL, 1, 255},
	ipForwardPMTU:    {"net.ipv4.ip_forward_use_pmtu", 0, 0, 255},
	ipMinPathMTU:     {"net.ipv4.route.min_pmtu", minPathMTU, 68, math.MaxInt32},
	ipPathMTUExpires: {"net.ipv4.route.mtu_expires", 600, 0, math.MaxInt32},
	icmpRateLimit:    {"net.ipv4.icmp_ratelimit", 1000, 0, math.MaxInt32},
	icmpRateMask:     {"net.ipv4.icmp_ratemask", 6168, 0, math.MaxInt32},
	icmpPerSecond:    {"net.ipv4.icmp_msgs_per_sec", 1000, 0, math.MaxInt32},
	icmpBurst:        {"net.ipv4.icmp_msgs_burst", 50, 0, math.MaxInt32},
	ipFirstPort:      {"", 32768, 1024, 65535},
	ipLastPort:       {"", 60999, 1024, 65535},
}

// param returns the value of a parameter.
func (c *Config) param(p ipParam) int { return ipParams[p].def + c.ip[p] }

func (c *Config) setParam(p ipParam, n int) { c.ip[p] = n - ipParams[p].def }

// ttl is what packets of the host start with if nobody says otherwise.
func (h *Host) ttl() byte { return byte(h.cfg.param(ipDefaultTTL)) }

// ipSysctls makes sysctls of the parameters.
func ipSysctls() []sysctl {
	list := []sysctl{{name: "net.ipv4.ip_local_port_range", get: getPorts, set: setPorts, apply: (*Host).applyTCP}}
	for p := range numIPParams {
		def := ipParams[p]
		if def.name == "" {
			continue
		}
		list = append(list, sysctl{name: def.name,
			get: func(c *Config) string { return strconv.Itoa(c.param(p)) },
			set: func(c *Config, value string) error {
				n, err := strconv.Atoi(value)
				if err != nil || n < def.min || n > def.max {
					return fmt.Errorf("%q, want a number from %d to %d", value, def.min, def.max)
				}
				c.setParam(p, n)
				return nil
			}})
		if p == ipDefaultTTL {
			list[len(list)-1].apply = (*Host).applyTCP
		}
	}
	return list
}

// LocalPorts returns net.ipv4.ip_local_port_range: the first and the last port
// that sockets get that ask for none.
func (h *Host) LocalPorts() (first, last uint16) {
	return uint16(h.cfg.param(ipFirstPort)), uint16(h.cfg.param(ipLastPort))
}

func getPorts(c *Config) string {
	return fmt.Sprintf("%d\t%d", c.param(ipFirstPort), c.param(ipLastPort))
}

// setPorts reads the range of ports that sockets without one of their own get.
// The ports below 1024 are not for them (ip_unprivileged_port_start).
func setPorts(c *Config, value string) error {
	var first, last int
	words := strings.Fields(value)
	ok := len(words) == 2
	if ok {
		var err, err2 error
		first, err = strconv.Atoi(words[0])
		last, err2 = strconv.Atoi(words[1])
		ok = err == nil && err2 == nil && first >= ipParams[ipFirstPort].min && first <= last && last <= ipParams[ipLastPort].max
	}
	if !ok {
		return fmt.Errorf("%q, want the first and the last port, from 1024 to 65535", value)
	}
	c.setParam(ipFirstPort, first)
	c.setParam(ipLastPort, last)
	return nil
}
