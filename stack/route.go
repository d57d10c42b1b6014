package stack

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// RouteType says what a route does with a packet, as in `ip route`.
type RouteType uint8

// Route types. The zero value forwards.
const (
	Unicast     RouteType = iota // hand it to the next hop
	Blackhole                    // drop it in silence
	Unreachable                  // drop it and answer host unreachable (ICMP 3/1)
	Prohibit                     // drop it and answer administratively prohibited (ICMP 3/13)
)

var routeTypeNames = [...]string{"", "blackhole", "unreachable", "prohibit"}

// A Route is one entry of a host's main routing table.
type Route struct {
	Dst    netip.Prefix
	Via    netip.Addr // next hop; the zero value means that Dst is on the link
	Dev    *Device    // needed unless Type is not Unicast
	Src    netip.Addr // preferred source address; the zero value lets the host choose
	Metric int        // lower wins among routes to the same prefix
	Type   RouteType
	Onlink bool   // Via need not be reachable by another route
	Proto  string // who made it: "kernel", "static", "bird"; for listings only
}

// String prints the route as `ip route` does.
func (r Route) String() string {
	var b strings.Builder
	add := func(format string, args ...any) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, format, args...)
	}
	if r.Type != Unicast {
		add("%s", routeTypeNames[r.Type])
	}
	switch {
	case r.Dst.Bits() == 0:
		add("default")
	case r.Dst.IsSingleIP():
		add("%s", r.Dst.Addr())
	default:
		add("%s", r.Dst)
	}
	if r.Via.IsValid() {
		add("via %s", r.Via)
	}
	if r.Dev != nil {
		add("dev %s", r.Dev.Name)
	}
	if r.Proto != "" {
		add("proto %s", r.Proto)
	}
	if !r.Via.IsValid() && r.Type == Unicast {
		add("scope link")
	}
	if r.Src.IsValid() {
		add("src %s", r.Src)
	}
	if r.Metric != 0 {
		add("metric %d", r.Metric)
	}
	if r.Onlink {
		add("onlink")
	}
	return b.String()
}

// fib is the main table: longest prefix first, then lowest metric.
type fib struct {
	trie   bart.Table[[]*Route]
	recent [4]recentRoute // the last look-ups that found something
}

// recentRoute is what the trie has for an IPv4 address.
type recentRoute struct {
	dst  uint32
	list []*Route // nil: nothing is remembered
}

// forget is called when the table changes.
func (t *fib) forget() { t.recent = [len(t.recent)]recentRoute{} }

// find returns the routes of the longest prefix that holds dst.
func (t *fib) find(dst netip.Addr) ([]*Route, bool) {
	if !dst.Is4() {
		return t.trie.Lookup(dst)
	}
	key := key4(dst)
	r := &t.recent[key*0x9E3779B1>>30]
	if r.dst == key && r.list != nil {
		return r.list, true
	}
	list, ok := t.trie.Lookup(dst)
	if ok {
		r.dst, r.list = key, list
	}
	return list, ok
}

// add inserts r. Two routes to one prefix need different metrics, as Linux
// refuses a second one with EEXIST.
func (t *fib) add(r Route) error {
	r.Dst = r.Dst.Masked()
	list, _ := t.trie.Get(r.Dst)
	for _, o := range list {
		if o.Metric == r.Metric {
			return fmt.Errorf("stack: route %v: there is already %v with this metric", r, o)
		}
	}
	list = append(slices.Clone(list), &r)
	slices.SortStableFunc(list, func(a, b *Route) int { return cmp.Compare(a.Metric, b.Metric) })
	t.trie.Insert(r.Dst, list)
	t.forget()
	return nil
}

// remove deletes the routes to dst for which match says yes and returns how many.
func (t *fib) remove(dst netip.Prefix, match func(*Route) bool) int {
	dst = dst.Masked()
	list, ok := t.trie.Get(dst)
	if !ok {
		return 0
	}
	kept := slices.DeleteFunc(slices.Clone(list), match)
	if len(kept) == 0 {
		t.trie.Delete(dst)
	} else {
		t.trie.Insert(dst, kept)
	}
	t.forget()
	return len(list) - len(kept)
}

// lookup returns the best route whose device is up, or nil.
func (t *fib) lookup(dst netip.Addr) *Route {
	list, ok := t.find(dst)
	if !ok {
		return nil
	}
	if r := usable(list); r != nil {
		return r
	}
	return t.lookupShorter(dst)
}

func usable(list []*Route) *Route {
	for _, r := range list {
		if r.Dev == nil || r.Dev.up {
			return r
		}
	}
	return nil
}

// lookupShorter is the rare case that the longest match cannot be used. It
// looks at the prefixes that hold dst, longest first, and at no others.
func (t *fib) lookupShorter(dst netip.Addr) *Route {
	for _, list := range t.trie.Supernets(netip.PrefixFrom(dst, dst.BitLen())) {
		if r := usable(list); r != nil {
			return r
		}
	}
	return nil
}

// all returns the table as `ip route` orders it: by prefix, then metric.
func (t *fib) all() []Route {
	var out []Route
	for _, list := range t.trie.AllSorted() {
		for _, r := range list {
			out = append(out, *r)
		}
	}
	return out
}
