package stack

import (
	"strings"
	"testing"
)

// TestConntrackDefaultsLikeKernel compares every parameter of connection
// tracking with that of a new network namespace. What the kernel has and a host
// has not is listed.
func TestConntrackDefaultsLikeKernel(t *testing.T) {
	const prefix = "net.netfilter.nf_conntrack_"
	missing := []string{
		"checksum", "events", "log_invalid", "timestamp", "helper", // always on, or nobody to tell
		"expect_max", "icmpv6_timeout", "frag6_", "dccp_", // features that do not exist here
	}
	memory := map[string]bool{"max": true, "buckets": true} // the kernel's depend on the memory of the machine
	inKernel(t, func(k *kernelRouter) {
		out, ok := k.run("iptables -A FORWARD -m conntrack --ctstate NEW && sysctl -a --pattern '^net.netfilter.nf_conntrack_' 2>/dev/null", "")
		if !ok {
			return
		}
		var c Config
		compared := 0
		for line := range strings.Lines(out) {
			name, want, _ := strings.Cut(strings.TrimSpace(line), " = ")
			short := strings.TrimPrefix(name, prefix)
			absent := false
			for _, m := range missing {
				absent = absent || strings.HasPrefix(short, m)
			}
			if absent || memory[short] {
				continue
			}
			compared++
			if got, err := c.Sysctl(name); err != nil || got != want {
				t.Errorf("%s is %q, %v, want the kernel's %q", name, got, err, want)
			}
		}
		if compared < 20 {
			t.Errorf("compared %d parameters, want 20 at least; the kernel said\n%s", compared, out)
		}
	})
}
