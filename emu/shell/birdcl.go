package shell

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/podwire/podwire/overlay/bgp"
	"github.com/podwire/podwire/stack"
)

var birdclCommand = Command{
	Name:    "birdcl",
	Usage:   "show {status|protocols|route} [all] [NAME|PREFIX|for ADDR|protocol NAME]",
	Summary: "BGP sessions and paths, as the client of BIRD 1.6, which Calico runs",
	run:     (*call).birdcl,
}

// birdVersion is what Calico's BIRD calls itself.
const birdVersion = "v0.3.3+birdv1.6.8"

// birdcl answers as the daemon does.
func (c *call) birdcl() error {
	args := c.args
	if len(args) > 0 && (args[0] == "-r" || args[0] == "-v") {
		args = args[1:]
	}
	var s *bgp.Speaker
	c.do(func() { s = c.m.Speaker() })
	if s == nil {
		fmt.Fprintln(c.Err, "Unable to connect to server control socket (/var/run/bird.ctl): No such file or directory")
		return &ExitError{1}
	}
	if len(args) < 2 || !abbreviates(args[0], "show") {
		return c.misused("found %q, want show and one of status, protocols and route", strings.Join(args, " "))
	}
	b := &birdShow{call: c, s: s, words: args[2:]}
	if len(b.words) > 0 && b.words[0] == "all" {
		b.all, b.words = true, b.words[1:]
	}
	var err error
	var out string
	c.do(func() {
		switch what := args[1]; {
		case abbreviates(what, "status"):
			b.status()
		case abbreviates(what, "protocols"):
			err = b.protocols()
		case abbreviates(what, "route"):
			err = b.route()
		default:
			err = fmt.Errorf("found show %q, want one of status, protocols and route", what)
		}
		out = b.out.String()
	})
	if err != nil {
		return c.misused("%v", err)
	}
	c.printf("BIRD %s ready.\n%s", birdVersion, out)
	return nil
}

// birdShow is one show command. Its methods want the driver's lock.
type birdShow struct {
	*call
	s     *bgp.Speaker
	words []string
	all   bool
	out   strings.Builder
}

func (b *birdShow) printf(format string, args ...any) { fmt.Fprintf(&b.out, format, args...) }

// clock is a time of the lab's clock as BIRD prints those of today.
func (b *birdShow) clock(at time.Duration) string {
	return b.lab.Driver().Epoch().Add(at).UTC().Format("15:04:05")
}

func (b *birdShow) status() {
	now := b.lab.Driver().Now()
	b.printf("BIRD %s\nRouter ID is %v\nCurrent server time is %s\nDaemon is up and running\n", birdVersion, b.s.RouterID(), b.lab.Driver().Epoch().Add(now).UTC().Format("2006-01-02 15:04:05"))
}

// protocols lists what paths come from and go to.
func (b *birdShow) protocols() error {
	if !b.all || len(b.words) == 0 {
		b.printf("name     proto    table    state  since       info\n")
	}
	found := false
	line := func(name, proto, state string, since time.Duration, info string) bool {
		if len(b.words) > 0 && b.words[0] != name {
			return false
		}
		found = true
		b.printf("%s\n", strings.TrimRight(fmt.Sprintf("%-8s %-8s %-8s %-6s %-11s %s", name, proto, "master", state, b.clock(since), info), " "))
		return true
	}
	for _, p := range []struct{ name, proto string }{{"static1", "Static"}, {"kernel1", "Kernel"}, {"device1", "Device"}, {"direct1", "Direct"}} {
		line(p.name, p.proto, "up", 0, "")
	}
	for _, p := range b.s.Peers() {
		st := p.State()
		state := "start"
		if st.State == "Established" {
			state = "up"
		}
		if line(p.Name(), "BGP", state, st.Since, strings.TrimSpace(fmt.Sprintf("%-14s%s", st.State, st.Message))) && b.all {
			b.session(st)
		}
	}
	if !found {
		return fmt.Errorf("protocol %q is not known", b.words[0])
	}
	return nil
}

// session is show protocols all of a BGP session.
func (b *birdShow) session(st bgp.PeerState) {
	b.printf("  Description:    Connection to BGP peer\n  Preference:     100\n  Routes:         %d imported, %d exported, %d preferred\n  BGP state:          %s\n    Neighbor address: %v\n    Neighbor AS:      %d\n",
		st.Imported, st.Exported, st.Preferred, st.State, st.Config.Addr, st.Config.AS)
	seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
	if st.Restarting {
		b.printf("    Neighbor graceful restart active\n    Restart timer:    %d/-\n", seconds(st.RestartsFor))
	}
	if st.Waiting {
		b.printf("    Error wait:       %d/-\n", seconds(st.WaitLeft))
	}
	if st.ConnectDelayLeft > 0 {
		b.printf("    Start delay:      %d/-\n", seconds(st.ConnectDelayLeft))
	}
	if st.State == "Established" {
		b.printf("    Neighbor ID:      %v\n    Neighbor caps:    %s\n    Session:          %s\n    Source address:   %v\n    Hold timer:       %d/%d\n    Keepalive timer:  %d/%d\n",
			st.RouterID, words(st.Refresh, "refresh", st.EnhancedRefresh, "enhanced-refresh", st.GracefulRestart, "restart-able", st.LongLived, "llgr-aware", st.AS4, "AS4", st.AddPathRx, "add-path-rx", st.AddPathTx, "add-path-tx"),
			words(st.Internal, "internal", !st.Internal, "external", true, "multihop", st.Config.Client, "route-reflector", st.AS4, "AS4", st.AddPathRx, "add-path-rx", st.AddPathTx, "add-path-tx"),
			st.LocalAddr, seconds(st.HoldLeft), seconds(st.HoldTime), seconds(st.KeepaliveLeft), seconds(st.KeepaliveTime))
	}
	if st.Message != "" {
		b.printf("    Last error:       %s\n", st.Message)
	}
}

// words joins those words whose condition holds.
func words(pairs ...any) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i].(bool) {
			list = append(list, pairs[i+1].(string))
		}
	}
	return strings.Join(list, " ")
}

// route lists the table: paths from BGP and the daemon's own, and what it has
// learned from the kernel.
func (b *birdShow) route() error {
	match := func(netip.Prefix) bool { return true }
	from := ""
	switch {
	case len(b.words) == 0:
	case len(b.words) == 2 && b.words[0] == "protocol":
		from = b.words[1]
	case len(b.words) == 2 && b.words[0] == "for":
		a, err := netip.ParseAddr(b.words[1])
		if err != nil {
			return fmt.Errorf("found %q, want an address", b.words[1])
		}
		best := b.longest(a)
		match = func(p netip.Prefix) bool { return p == best }
	case len(b.words) == 1:
		want, err := netip.ParsePrefix(b.words[0])
		if err != nil {
			return fmt.Errorf("found %q, want a prefix such as 10.244.2.0/26", b.words[0])
		}
		match = func(p netip.Prefix) bool { return p == want.Masked() }
	default:
		return fmt.Errorf("found %q, want a prefix, for ADDR or protocol NAME", strings.Join(b.words, " "))
	}
	last := netip.Prefix{}
	for _, e := range b.entries() {
		if !match(e.dst) || from != "" && e.protocol != from {
			continue
		}
		name := ""
		if e.dst != last {
			name = e.dst.String()
		}
		last = e.dst
		b.printf("%s\n", strings.TrimRight(fmt.Sprintf("%-18s %s [%s %s%s]%s %s", name, e.way, e.protocol, b.clock(e.since), e.from, e.mark, e.info), " "))
		if b.all {
			b.printf("%s", e.more)
		}
	}
	return nil
}

// longest is the prefix that a packet to an address is routed by.
func (b *birdShow) longest(a netip.Addr) (best netip.Prefix) {
	for _, e := range b.entries() {
		if e.dst.Contains(a) && (!best.IsValid() || e.dst.Bits() > best.Bits()) {
			best = e.dst
		}
	}
	return best
}

// ribEntry is one line of show route.
type ribEntry struct {
	dst                                   netip.Prefix
	way, protocol, from, mark, info, more string
	since                                 time.Duration
}

// entries are the lines of show route, by prefix, the best first.
func (b *birdShow) entries() (list []ribEntry) {
	paths := b.s.Table()
	add := func(upTo netip.Prefix) {
		for len(paths) > 0 && (!upTo.IsValid() || !before(upTo, paths[0].Prefix)) {
			list = append(list, b.path(paths[0], len(list) == 0 || list[len(list)-1].dst != paths[0].Prefix))
			paths = paths[1:]
		}
	}
	for _, r := range b.host.Routes() {
		if r.Proto == "bird" {
			continue
		}
		add(r.Dst)
		e := ribEntry{dst: r.Dst, way: b.way(r), protocol: "kernel1", info: "(10)"}
		if r.Proto == "kernel" {
			e.protocol, e.info = "direct1", "(240)"
		}
		if len(list) == 0 || list[len(list)-1].dst != r.Dst {
			e.mark = " *"
		}
		list = append(list, e)
	}
	add(netip.Prefix{})
	return list
}

func before(a, b netip.Prefix) bool {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c < 0
	}
	return a.Bits() < b.Bits()
}

// way prints where a kernel's route leads.
func (b *birdShow) way(r stack.Route) string {
	switch {
	case r.Type == stack.Blackhole:
		return "blackhole"
	case r.Type != stack.Unicast:
		return "unreachable"
	case r.Via.IsValid():
		return fmt.Sprintf("via %v on %s", r.Via, r.Dev.Name)
	}
	return "dev " + r.Dev.Name
}

// path is the line of a path.
func (b *birdShow) path(p *bgp.Path, best bool) ribEntry {
	e := ribEntry{dst: p.Prefix, since: p.Since}
	if best {
		e.mark = " *"
	}
	switch p.Protocol {
	case bgp.Static:
		e.way, e.protocol, e.info, e.more = "blackhole", "static1", "(200)", "\tType: static unicast univ\n"
		return e
	case bgp.Kernel:
		e.way, e.protocol, e.info, e.more = "dev lo", "kernel1", "(10)", "\tType: inherit unicast univ\n"
		if r, ok := b.host.LookupRoute(p.Prefix.Addr()); ok {
			e.way = b.way(r)
		}
		return e
	}
	a := p.Attrs
	e.protocol, e.way = p.Peer.Name(), "unreachable"
	metric := "?"
	if r, ok := b.host.LookupRoute(a.NextHop); ok && r.Type == stack.Unicast {
		gateway := a.NextHop
		if r.Via.IsValid() {
			gateway = r.Via
		}
		e.way, metric = fmt.Sprintf("via %v on %s", gateway, r.Dev.Name), "0"
	}
	if peer := p.Peer.Config().Addr; peer != a.NextHop {
		e.from = fmt.Sprintf(" from %v", peer)
	}
	origin := [...]string{"i", "e", "?"}[min(a.Origin, 2)]
	if path := strings.Fields(a.PathString()); len(path) > 0 {
		origin = "AS" + strings.Trim(path[len(path)-1], "{}") + origin
	}
	e.info = fmt.Sprintf("(100/%s) [%s]", metric, origin)
	e.more = attributes(p)
	return e
}

// attributes are those that show route all adds.
func attributes(p *bgp.Path) string {
	var s strings.Builder
	a := p.Attrs
	fmt.Fprintf(&s, "\tType: BGP unicast univ\n\tBGP.origin: %s\n\tBGP.as_path: %s\n\tBGP.next_hop: %v\n", a.OriginString(), a.PathString(), a.NextHop)
	if a.HasMED {
		fmt.Fprintf(&s, "\tBGP.med: %d\n", a.MED)
	}
	fmt.Fprintf(&s, "\tBGP.local_pref: %d\n", a.LocalPref)
	if a.Originator.IsValid() {
		fmt.Fprintf(&s, "\tBGP.originator_id: %v\n", a.Originator)
	}
	if len(a.ClusterList) > 0 {
		fmt.Fprintf(&s, "\tBGP.cluster_list: %s\n", strings.Trim(fmt.Sprint(a.ClusterList), "[]"))
	}
	return s.String()
}
