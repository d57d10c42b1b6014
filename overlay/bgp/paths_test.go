package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// A route reflector passes on what clients tell, to clients and to others, with
// the originator and its cluster id; without one, what came from one internal
// peer is not told to another (RFC 4456).
func TestRouteReflection(t *testing.T) {
	inBubble(t, func(l *lab) {
		rr := l.start(1, Config{ClusterID: netip.MustParseAddr("244.0.0.1")})
		a, b, c, plain := l.start(2, Config{}), l.start(3, Config{}), l.start(4, Config{}), l.start(5, Config{})
		for _, client := range []*Speaker{a, b} {
			l.join(rr, client, PeerConfig{Client: true}, PeerConfig{Passive: true})
		}
		l.peer(rr, c)
		l.peer(b, plain)
		l.wait(5 * time.Second)
		l.lines = nil
		l.announce(a, "10.244.2.0/26")
		l.wait(6 * time.Second)
		l.wantLines("a client's path",
			"5s 2>1 UPDATE +10.244.2.0/26 Origin: i AsPath:  Nexthop: 10.0.0.2 LocalPref: 100",
			"5.001s 1>3 UPDATE +10.244.2.0/26 Origin: i AsPath:  Nexthop: 10.0.0.2 LocalPref: 100 Originator: 10.0.0.2 ClusterList: [244.0.0.1]",
			"5.001s 1>4 UPDATE +10.244.2.0/26 Origin: i AsPath:  Nexthop: 10.0.0.2 LocalPref: 100 Originator: 10.0.0.2 ClusterList: [244.0.0.1]")
		l.announce(c, "10.244.4.0/26")
		l.wait(7 * time.Second)
		l.wantLines("the path of one that is no client",
			"6s 4>1 UPDATE +10.244.4.0/26 Origin: i AsPath:  Nexthop: 10.0.0.4 LocalPref: 100",
			"6.001s 1>2 UPDATE +10.244.4.0/26 Origin: i AsPath:  Nexthop: 10.0.0.4 LocalPref: 100 Originator: 10.0.0.4 ClusterList: [244.0.0.1]",
			"6.001s 1>3 UPDATE +10.244.4.0/26 Origin: i AsPath:  Nexthop: 10.0.0.4 LocalPref: 100 Originator: 10.0.0.4 ClusterList: [244.0.0.1]")
		l.withdraw(a, "10.244.2.0/26")
		l.wait(8 * time.Second)
		l.wantLines("a withdrawal", "7s 2>1 UPDATE -10.244.2.0/26", "7.001s 1>3 UPDATE -10.244.2.0/26", "7.001s 1>4 UPDATE -10.244.2.0/26")
	})
}

// With two reflectors a client has each path twice; when one is gone nothing
// changes for it but that.
func TestTwoReflectors(t *testing.T) {
	inBubble(t, func(l *lab) {
		cluster := Config{ClusterID: netip.MustParseAddr("244.0.0.1")}
		r1, r2, a, b := l.start(1, cluster), l.start(2, cluster), l.start(3, Config{}), l.start(4, Config{})
		l.peer(r1, r2)
		for _, r := range []*Speaker{r1, r2} {
			for _, client := range []*Speaker{a, b} {
				l.join(r, client, PeerConfig{Client: true}, PeerConfig{Passive: true})
			}
		}
		l.announce(a, "10.244.3.0/26")
		l.wait(5 * time.Second)
		paths := func(s *Speaker) (n int) {
			l.do(func() { n = len(s.Lookup(netip.MustParsePrefix("10.244.3.0/26"))) })
			return n
		}
		if got := []int{paths(r1), paths(r2), paths(a), paths(b)}; !slices.Equal(got, []int{2, 2, 1, 2}) {
			t.Errorf("paths at both reflectors and both clients: %v, want 2 2 1 2", got)
		}
		want := []string{"1 10.244.3.0/26 by 10.0.0.3", "2 10.244.3.0/26 by 10.0.0.3", "3 10.244.3.0/26 by invalid IP", "4 10.244.3.0/26 by 10.0.0.3"}
		l.wantBest("with both", want...)
		l.do(r1.Shutdown)
		l.wait(6 * time.Second)
		l.wantBest("with one", want...)
		if paths(b) != 1 {
			t.Errorf("%d paths at the client, want 1", paths(b))
		}
	})
}

// Between AS numbers the path grows, the next hop is the sender, LOCAL_PREF and
// what belongs to reflection stay inside; a path with our own number is a loop.
func TestExternalPeers(t *testing.T) {
	inBubble(t, func(l *lab) {
		tor, node, other := l.start(1, Config{AS: 65001}), l.start(2, Config{}), l.start(3, Config{AS: 4200000000})
		l.peer(node, tor)
		l.peer(tor, other)
		l.wait(5 * time.Second)
		l.lines = nil
		l.announce(node, "10.244.2.0/26")
		l.wait(6 * time.Second)
		l.wantLines("a path on its way",
			"5s 2>1 UPDATE +10.244.2.0/26 Origin: i AsPath: 64512 Nexthop: 10.0.0.2",
			"5.001s 1>3 UPDATE +10.244.2.0/26 Origin: i AsPath: 65001 64512 Nexthop: 10.0.0.1")
		loop := l.start(4, Config{})
		l.peer(tor, loop)
		l.wait(10 * time.Second)
		l.wantBest("nodes of the same AS do not take each other's", "1 10.244.2.0/26 by 10.0.0.2", "2 10.244.2.0/26 by invalid IP", "3 10.244.2.0/26 by 10.0.0.1")
		if want := "8.005s 4 p1 AS path 65001 64512: loop"; len(l.logs) == 0 || l.logs[len(l.logs)-1] != want {
			t.Errorf("logged %q, want %q last", l.logs, want)
		}
	})
}

// A ROUTE-REFRESH has all sent again, between marks of where that begins and ends.
func TestRouteRefresh(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.announce(a, "10.244.1.0/26")
		l.peer(a, b)
		l.wait(5 * time.Second)
		l.lines = nil
		l.do(func() {
			if !b.Peer("p1").Refresh() {
				t.Error("the peer cannot send its paths again")
			}
		})
		l.wait(6 * time.Second)
		l.wantLines("a refresh", "5s 2>1 ROUTE-REFRESH 0", "5.001s 1>2 ROUTE-REFRESH 1",
			"5.001s 1>2 UPDATE +10.244.1.0/26 Origin: i AsPath:  Nexthop: 10.0.0.1 LocalPref: 100", "5.001s 1>2 ROUTE-REFRESH 2")
		l.wantBest("afterwards", "1 10.244.1.0/26 by invalid IP", "2 10.244.1.0/26 by 10.0.0.1")
	})
}

// What is better, in the order in which it is asked (RFC 4271 §9.1.2).
func TestDecision(t *testing.T) {
	s := &Speaker{cfg: Config{AS: 64512, RouterID: host(9)}}
	internal := &Peer{speaker: s, cfg: PeerConfig{AS: 64512, Addr: host(1)}, remoteID: host(1)}
	external := &Peer{speaker: s, cfg: PeerConfig{AS: 65001, Addr: host(2)}, remoteID: host(2)}
	path := func(p *Peer, a Attrs) *Path {
		if a.LocalPref == 0 {
			a.LocalPref = 100
		}
		return &Path{Peer: p, Attrs: &a, ID: 7}
	}
	seq := func(as ...uint32) []Segment { return []Segment{{AS: as}} }
	for _, tt := range []struct {
		why         string
		first, then *Path
	}{
		{"our own", &Path{Protocol: Static, Attrs: &Attrs{}}, path(external, Attrs{LocalPref: 900})},
		{"BGP before what the kernel has", path(internal, Attrs{}), &Path{Protocol: Kernel, Attrs: &Attrs{}}},
		{"local preference", path(internal, Attrs{LocalPref: 200, ASPath: seq(1, 2, 3)}), path(external, Attrs{})},
		{"length of the AS path", path(internal, Attrs{ASPath: seq(1, 2)}), path(external, Attrs{ASPath: seq(1, 2, 3)})},
		{"a set counts as one", path(internal, Attrs{ASPath: []Segment{{AS: []uint32{1}}, {Set: true, AS: []uint32{2, 3, 4}}}}), path(external, Attrs{ASPath: seq(1, 2, 3)})},
		{"origin", path(internal, Attrs{Origin: 1}), path(external, Attrs{Origin: 2})},
		{"MED of one neighbour", path(internal, Attrs{ASPath: seq(5), MED: 1}), path(external, Attrs{ASPath: seq(5), MED: 2})},
		{"external", path(external, Attrs{ASPath: seq(5), MED: 9}), path(internal, Attrs{ASPath: seq(6), MED: 1})},
		{"originator", path(internal, Attrs{Originator: host(3)}), path(internal, Attrs{Originator: host(4)})},
		{"length of the cluster list", path(internal, Attrs{Originator: host(3), ClusterList: []netip.Addr{host(1)}}), path(internal, Attrs{Originator: host(3), ClusterList: []netip.Addr{host(1), host(2)}})},
	} {
		if better(tt.first, tt.then) >= 0 || better(tt.then, tt.first) <= 0 {
			t.Errorf("%s does not decide", tt.why)
		}
	}
}

// Attributes that nobody here knows are passed on if they are transitive, marked
// as partial; with two-octet AS numbers the real ones come beside (RFC 6793).
func TestAttributesOnTheirWay(t *testing.T) {
	in := []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(2),
		bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAsPathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint16{65001, asTrans, 65002})}),
		bgp.NewPathAttributeAs4Path([]*bgp.As4PathParam{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{4200000000, 65002})}),
		bgp.NewPathAttributeUnknown(bgp.BGP_ATTR_FLAG_OPTIONAL|bgp.BGP_ATTR_FLAG_TRANSITIVE, 99, []byte{1}),
		bgp.NewPathAttributeUnknown(bgp.BGP_ATTR_FLAG_OPTIONAL, 98, []byte{1}),
	}
	a := decodeAttrs(in)
	if a.PathString() != "65001 4200000000 65002" || a.OriginString() != "Incomplete" {
		t.Errorf("path %s, origin %s", a.PathString(), a.OriginString())
	}
	a.NextHop, a.ASPath = host(1), a.prepended(4200000001)
	var types []int
	for _, x := range a.encode(false, false) {
		types = append(types, int(x.GetType()))
		if x.GetType() == 99 && x.GetFlags()&bgp.BGP_ATTR_FLAG_PARTIAL == 0 {
			t.Error("an unknown attribute is not marked")
		}
	}
	if !slices.Equal(types, []int{1, 2, 3, 17, 99}) {
		t.Errorf("attributes %v, want ORIGIN, AS_PATH, NEXT_HOP, AS4_PATH and the unknown one", types)
	}
	if got := decodeAttrs(a.encode(false, false)).PathString(); got != "4200000001 65001 4200000000 65002" {
		t.Errorf("AS path after a two-octet session: %s", got)
	}
}
