package resolv

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseAndPrint(t *testing.T) {
	c := Config{
		Nameservers: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
		Search:      []string{"default.svc.cluster.local", "svc.cluster.local", "cluster.local"},
		Options:     []Option{{"ndots", "5"}, {"single-request", ""}},
	}
	want := "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5 single-request\n"
	if got := c.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := Parse("# a comment\n; another\nnonsense\n" + want); !reflect.DeepEqual(got, c) {
		t.Errorf("read back: %+v, want %+v", got, c)
	}
}

func TestOptionsHaveBounds(t *testing.T) {
	for _, x := range []struct {
		options  string
		ndots    int
		timeout  time.Duration
		attempts int
	}{
		{"", 1, 5 * time.Second, 2},
		{"ndots:99 timeout:99 attempts:99", 15, 30 * time.Second, 5},
		{"ndots:0 timeout:0 attempts:0", 0, time.Second, 1},
		{"ndots:x timeout:-1 attempts", 1, 5 * time.Second, 2},
		{"ndots:5 ndots:2", 2, 5 * time.Second, 2},
	} {
		c := Parse("options " + x.options)
		if c.ndots() != x.ndots || c.timeout() != x.timeout || c.attempts() != x.attempts {
			t.Errorf("options %s: ndots %d timeout %v attempts %d, want %d %v %d", x.options, c.ndots(), c.timeout(), c.attempts(), x.ndots, x.timeout, x.attempts)
		}
	}
	if c := Parse(strings.Repeat("nameserver 10.0.0.1\n", 5)); len(c.Nameservers) != MaxNameservers {
		t.Errorf("%d nameservers, want %d", len(c.Nameservers), MaxNameservers)
	}
}

func TestCandidates(t *testing.T) {
	kube := Parse("search default.svc.cluster.local svc.cluster.local\noptions ndots:5")
	for _, x := range []struct {
		library Library
		name    string
		want    string
	}{
		{Glibc, "web", "web.default.svc.cluster.local. web.svc.cluster.local. web."},
		{Glibc, "web.", "web."},
		{Glibc, "a.b.c.d.e.f", "a.b.c.d.e.f. a.b.c.d.e.f.default.svc.cluster.local. a.b.c.d.e.f.svc.cluster.local."},
		{Musl, "web", "web.default.svc.cluster.local. web.svc.cluster.local. web."},
		{Musl, "a.b.c.d.e.f", "a.b.c.d.e.f."},
	} {
		r := Resolver{Config: kube, Library: x.library}
		if got := strings.Join(r.Candidates(x.name), " "); got != x.want {
			t.Errorf("%v, %s: %s, want %s", x.library, x.name, got, x.want)
		}
	}
}

func TestLibraryNames(t *testing.T) {
	for _, l := range []Library{Glibc, Musl} {
		if got, err := ParseLibrary(l.String()); err != nil || got != l {
			t.Errorf("%v read back: %v, %v", l, got, err)
		}
	}
	if _, err := ParseLibrary("uclibc"); err == nil || err.Error() != `resolv: library "uclibc", want glibc or musl` {
		t.Errorf("unknown library: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("search a b\nnameserver 10.96.0.10\noptions ndots:5\n")
	f.Add("domain x\nnameserver fe80::1%eth0\noptions :\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c := Parse(text)
		if again := Parse(c.String()); !reflect.DeepEqual(again.Nameservers, c.Nameservers) || !reflect.DeepEqual(again.Search, c.Search) {
			t.Fatalf("%q\nread as   %+v\nread back %+v", text, c, again)
		}
		if c.attempts() < 1 || c.timeout() < time.Second || c.ndots() > 15 {
			t.Fatalf("%q: out of bounds", text)
		}
	})
}
