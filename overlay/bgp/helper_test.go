package bgp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/podwire/podwire/link"
)

// lab is speakers on a switchboard, 1 ms apart. The speaker named n is 10.0.0.n.
type lab struct {
	*testing.T
	drv   *link.Driver
	board *Switchboard
	lines []string // what was sent
	logs  []string
	best  map[string]string // by speaker and prefix, the next hop that is used
}

func inBubble(t *testing.T, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		drv := link.NewDriver(link.DriverConfig{Settle: synctest.Wait, Seed: 1})
		defer drv.Close()
		l := &lab{T: t, drv: drv, best: make(map[string]string)}
		l.board = &Switchboard{Driver: drv, Latency: time.Millisecond, Watch: l.watch}
		f(l)
	})
}

func host(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// watch notes a message: time, sender, receiver, content.
func (l *lab) watch(from, to netip.Addr, b []byte) {
	last := func(a netip.Addr) byte { return a.As4()[3] }
	l.lines = append(l.lines, fmt.Sprintf("%v %d>%d %s", l.drv.Now(), last(from), last(to), describe(b)))
}

// describe prints a message of a session with additional paths.
func describe(b []byte) string {
	o := &bgp.MarshallingOption{AddPath: map[bgp.Family]bgp.BGPAddPathMode{bgp.RF_IPv4_UC: bgp.BGP_ADD_PATH_BOTH}}
	m, err := bgp.ParseBGPMessage(b, o)
	if err != nil {
		return err.Error()
	}
	switch x := m.Body.(type) {
	case *bgp.BGPOpen:
		return "OPEN"
	case *bgp.BGPKeepAlive:
		return "KEEPALIVE"
	case *bgp.BGPNotification:
		return fmt.Sprintf("NOTIFICATION %d/%d % x", x.ErrorCode, x.ErrorSubcode, x.Data)
	case *bgp.BGPRouteRefresh:
		return fmt.Sprintf("ROUTE-REFRESH %d", x.Demarcation)
	case *bgp.BGPUpdate:
		if end, _ := x.IsEndOfRib(); end {
			return "End-of-RIB"
		}
		var words []string
		for _, w := range x.WithdrawnRoutes {
			words = append(words, "-"+w.NLRI.String())
		}
		for _, n := range x.NLRI {
			words = append(words, "+"+n.NLRI.String())
		}
		for _, a := range x.PathAttributes {
			words = append(words, strings.Trim(a.String(), "{}"))
		}
		return "UPDATE " + strings.Join(words, " ")
	}
	return "?"
}

// start makes speaker n.
func (l *lab) start(n int, cfg Config) (s *Speaker) {
	l.Helper()
	cfg.RouterID = host(n)
	if cfg.AS == 0 {
		cfg.AS = 64512
	}
	cfg.Rand = rand.New(rand.NewPCG(1, uint64(n)))
	cfg.Log = func(p *Peer, line string) {
		name := "-"
		if p != nil {
			name = p.Name()
		}
		l.logs = append(l.logs, fmt.Sprintf("%v %d %s %s", l.drv.Now(), n, name, line))
	}
	cfg.Best = func(dst netip.Prefix, p *Path) {
		k := fmt.Sprintf("%d %v", n, dst)
		if p == nil {
			delete(l.best, k)
		} else {
			l.best[k] = p.Attrs.NextHop.String()
		}
	}
	var err error
	l.do(func() { s, err = l.board.Start(cfg) })
	l.try(err)
	return s
}

func (l *lab) do(f func()) { l.drv.Do(f) }

func (l *lab) try(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// peer has two speakers peer with each other; the second one waits for the first.
func (l *lab) peer(a, b *Speaker) {
	l.Helper()
	l.join(a, b, PeerConfig{}, PeerConfig{Passive: true})
}

func (l *lab) join(a, b *Speaker, x, y PeerConfig) {
	l.Helper()
	l.add(a, b, x)
	l.add(b, a, y)
}

func (l *lab) add(a, b *Speaker, cfg PeerConfig) (p *Peer) {
	l.Helper()
	cfg.Name, cfg.Addr, cfg.AS = fmt.Sprint("p", b.cfg.RouterID.As4()[3]), b.cfg.RouterID, b.cfg.AS
	var err error
	l.do(func() { p, err = a.AddPeer(cfg) })
	l.try(err)
	return p
}

func (l *lab) announce(s *Speaker, prefix string) {
	l.do(func() { s.Announce(netip.MustParsePrefix(prefix)) })
}
func (l *lab) withdraw(s *Speaker, prefix string) {
	l.do(func() { s.Withdraw(netip.MustParsePrefix(prefix)) })
}

// wait lets time pass until t on the clock.
func (l *lab) wait(until time.Duration) { l.drv.Sleep(until - l.now()) }

func (l *lab) now() (at time.Duration) {
	l.do(func() { at = l.drv.Now() })
	return at
}

// wantLines compares what was sent since the last time, and forgets it.
func (l *lab) wantLines(sentence string, want ...string) {
	l.Helper()
	got := l.lines
	l.lines = nil
	if !slices.Equal(got, want) {
		l.Errorf("%s: sent\n\t%s\nwant\n\t%s", sentence, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantBest compares the next hops that are used.
func (l *lab) wantBest(sentence string, want ...string) {
	l.Helper()
	var got []string
	l.do(func() {
		for k, v := range l.best {
			got = append(got, k+" by "+v)
		}
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		l.Errorf("%s: routes %q, want %q", sentence, got, want)
	}
}

// wantState compares the state of a session, with what went wrong last.
func (l *lab) wantState(sentence string, s *Speaker, peer int, want string) {
	l.Helper()
	var st PeerState
	l.do(func() { st = s.Peer(fmt.Sprint("p", peer)).State() })
	if got := strings.TrimSpace(st.State + " " + st.Message); got != want {
		l.Errorf("%s: %s, want %s", sentence, got, want)
	}
}
