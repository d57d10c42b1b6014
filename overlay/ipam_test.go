package overlay

import (
	"net/netip"
	"strings"
	"testing"
)

func TestHostLocalIsRoundRobin(t *testing.T) {
	p := newHostLocal(netip.MustParsePrefix("10.244.1.0/24"))
	next := func() string {
		a, err := p.next()
		if err != nil {
			return err.Error()
		}
		return a.String()
	}
	equal(t, "gateway", p.gateway.String(), "10.244.1.1")
	equal(t, "first", next(), "10.244.1.2")
	equal(t, "second", next(), "10.244.1.3")
	p.free(netip.MustParseAddr("10.244.1.2"))
	equal(t, "a freed address comes back late", next(), "10.244.1.4")
	for range 250 {
		next()
	}
	equal(t, "after 10.244.1.254", next(), "10.244.1.2")
	if got := next(); !strings.Contains(got, "no IP addresses available") {
		t.Errorf("254th address: got %s", got)
	}
	p.free(netip.MustParseAddr("10.244.1.77"))
	equal(t, "the only one that is free", next(), "10.244.1.77")
	if got := next(); !strings.Contains(got, "10.244.1.0/24") {
		t.Errorf("none is free: got %s", got)
	}
}

func TestHostLocalOfSmallRanges(t *testing.T) {
	for subnet, want := range map[string]int{"10.0.0.0/29": 5, "10.0.0.0/30": 1, "10.0.0.0/31": 0, "10.0.0.0/32": 0, "10.0.0.5/29": 5} {
		p := newHostLocal(netip.MustParsePrefix(subnet))
		seen := make(map[netip.Addr]bool)
		for {
			a, err := p.next()
			if err != nil {
				break
			}
			if seen[a] || a == p.gateway || !p.subnet.Contains(a) {
				t.Fatalf("%s: gave %v after %v", subnet, a, seen)
			}
			seen[a] = true
		}
		equal(t, "addresses of "+subnet, len(seen), want)
	}
}

// An address that is asked for is given if it is one, free and in the range.
func TestHostLocalTakesWhatIsAskedFor(t *testing.T) {
	p := newHostLocal(netip.MustParsePrefix("10.244.1.0/24"))
	for _, c := range []struct{ addr, want string }{
		{"10.244.1.7", ""},
		{"10.244.1.7", "overlay: host-local: requested IP address 10.244.1.7 is not available"},
		{"10.244.1.1", "overlay: host-local: requested IP address 10.244.1.1 is the gateway's"},
		{"10.244.1.0", "overlay: host-local: requested IP address 10.244.1.0 is not in range set: 10.244.1.0/24"},
		{"10.244.1.255", "overlay: host-local: requested IP address 10.244.1.255 is not in range set: 10.244.1.0/24"},
		{"10.244.2.7", "overlay: host-local: requested IP address 10.244.2.7 is not in range set: 10.244.1.0/24"},
	} {
		got := ""
		if err := p.take(netip.MustParseAddr(c.addr)); err != nil {
			got = err.Error()
		}
		equal(t, c.addr, got, c.want)
	}
	for range 5 {
		if a, err := p.next(); err != nil || a.String() == "10.244.1.7" {
			t.Errorf("next gave %v, %v, want one that is free", a, err)
		}
	}
}
