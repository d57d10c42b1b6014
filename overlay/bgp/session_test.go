package bgp

import (
	"testing"
	"time"
)

// A session from its beginning: the connect delay, both OPENs, KEEPALIVEs, then
// all paths and the end of them; what changes later is told as it does.
func TestSession(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.announce(a, "10.244.1.0/26")
		l.announce(b, "10.244.2.0/26")
		l.peer(b, a)
		l.wait(time.Second)
		l.wantState("before the connect delay is over", b, 1, "Active")
		l.wantState("who waits", a, 2, "Passive")
		l.wait(3 * time.Second)
		l.wantLines("a new session",
			"2.002s 1>2 OPEN", "2.002s 2>1 OPEN", "2.003s 2>1 KEEPALIVE", "2.003s 1>2 KEEPALIVE",
			"2.004s 1>2 UPDATE +10.244.1.0/26 Origin: i AsPath:  Nexthop: 10.0.0.1 LocalPref: 100", "2.004s 1>2 End-of-RIB",
			"2.004s 2>1 UPDATE +10.244.2.0/26 Origin: i AsPath:  Nexthop: 10.0.0.2 LocalPref: 100", "2.004s 2>1 End-of-RIB")
		l.wantBest("both know both", "1 10.244.1.0/26 by invalid IP", "1 10.244.2.0/26 by 10.0.0.2", "2 10.244.1.0/26 by 10.0.0.1", "2 10.244.2.0/26 by invalid IP")
		l.announce(a, "10.244.1.64/26")
		l.announce(a, "10.244.1.128/26")
		l.withdraw(a, "10.244.1.0/26")
		l.wait(4 * time.Second)
		l.wantLines("changes of one instant",
			"3s 1>2 UPDATE -10.244.1.0/26",
			"3s 1>2 UPDATE +10.244.1.64/26 +10.244.1.128/26 Origin: i AsPath:  Nexthop: 10.0.0.1 LocalPref: 100")
		l.wantState("now", a, 2, "Established")
	})
}

// Two speakers that connect to each other at once make two connections, of which
// the one stays that the higher identifier has made (RFC 4271 §6.8).
func TestCollision(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.join(a, b, PeerConfig{}, PeerConfig{})
		l.wait(3 * time.Second)
		l.wantLines("a collision",
			"2.002s 2>1 OPEN", "2.002s 1>2 OPEN", "2.002s 1>2 OPEN", "2.002s 2>1 OPEN",
			"2.003s 1>2 KEEPALIVE", "2.003s 2>1 KEEPALIVE", "2.003s 2>1 NOTIFICATION 6/7 ", "2.003s 2>1 KEEPALIVE",
			"2.003s 1>2 NOTIFICATION 6/7 ", "2.003s 1>2 KEEPALIVE", "2.004s 1>2 End-of-RIB", "2.004s 2>1 End-of-RIB")
		var mine, theirs bool
		l.do(func() { mine, theirs = a.Peer("p2").State().Incoming, b.Peer("p1").State().Incoming })
		if !mine || theirs {
			t.Errorf("the session came in at 1: %v, at 2: %v, want that 2 has made it", mine, theirs)
		}
		l.wait(20 * time.Minute)
		l.wantState("after a while", a, 2, "Established")
	})
}

// KEEPALIVEs are a third of the hold time apart at most; a peer that is silent for
// the hold time is given up, and what it had told is forgotten.
func TestHoldTimer(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{HoldTime: 30 * time.Second}), l.start(2, Config{})
		l.announce(a, "10.244.1.0/26")
		l.peer(b, a)
		l.wait(40 * time.Second)
		l.lines = nil
		l.do(func() { l.board.Cut(host(1), true) })
		l.wait(80 * time.Second)
		l.wantLines("both ends, the lower of their hold times",
			"46.003s 2>1 KEEPALIVE", "48.003s 1>2 KEEPALIVE", "54.003s 2>1 KEEPALIVE", "57.003s 1>2 KEEPALIVE", "1m3.003s 2>1 KEEPALIVE",
			"1m5.004s 1>2 NOTIFICATION 4/0 ", "1m6.004s 2>1 NOTIFICATION 4/0 ")
		l.wantBest("at the end of the hold time", "1 10.244.1.0/26 by invalid IP")
		l.wantState("who waits", a, 2, "Passive BGP Error: Hold timer expired")
		l.wantState("who connects", b, 1, "Connect BGP Error: Hold timer expired")
		l.do(func() { l.board.Cut(host(1), false) })
		l.wait(100 * time.Second)
		l.wantState("when the peer is back", b, 1, "Established")
	})
}

// Errors delay the next attempt: 5 s, 10 s, 20 s, 30 s, 30 s, each shortened by up
// to a quarter in whole seconds; after five minutes without one it begins anew.
func TestErrorWait(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{AS: 65000})
		l.add(b, a, PeerConfig{Passive: true})
		p := l.add(a, b, PeerConfig{})
		l.do(func() { p.cfg.AS = 65001 }) // which is not what the other says
		var waits []string
		last := ""
		for range 200 {
			l.wait(l.now() + time.Second)
			l.do(func() {
				if d := p.delay.String(); d != last {
					waits, last = append(waits, d), d
				}
			})
		}
		if got, want := waits, []string{"0s", "5s", "10s", "20s", "30s"}; len(got) != len(want) || got[1] != want[1] || got[4] != want[4] {
			t.Errorf("waits %v, want %v", got, want)
		}
		l.wantState("who is refused", b, 1, "Idle Received: Bad peer AS")
		l.do(func() { p.cfg.AS = 65000 })
		l.wait(l.now() + 2*time.Minute)
		l.wantState("now", a, 2, "Established")
		l.do(func() {
			p.lastError -= 300 * time.Second
			p.punish()
		})
		if p.delay != 5*time.Second {
			t.Errorf("the wait after a long time is %v, want 5s", p.delay)
		}
	})
}

// A speaker that ends in order, or goes out of the configuration, takes its paths
// with it; one that is killed leaves them for its restart time.
func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		name, line, state string
		end               func(s *Speaker)
		kept              bool
	}{
		{"shutdown", "NOTIFICATION 6/2 ", "Received: Administrative shutdown", (*Speaker).Shutdown, false},
		{"de-configured", "NOTIFICATION 6/3 ", "Received: Peer de-configured", func(s *Speaker) { s.RemovePeer("p2") }, false},
		{"killed", "", "Socket: Connection closed", (*Speaker).Kill, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(l *lab) {
				a, b := l.start(1, Config{}), l.start(2, Config{})
				l.announce(a, "10.244.1.0/26")
				l.peer(a, b)
				l.wait(10 * time.Second)
				l.lines = nil
				l.do(func() { tt.end(a) })
				l.wait(11 * time.Second)
				if tt.line != "" {
					l.wantLines("the end", "10s 1>2 "+tt.line)
				} else {
					l.wantLines("the end")
				}
				l.wantState("the other", b, 1, "Passive "+tt.state)
				if tt.kept {
					l.wantBest("in the restart time", "1 10.244.1.0/26 by invalid IP", "2 10.244.1.0/26 by 10.0.0.1")
					l.wait(131 * time.Second)
				}
				l.wantBest("afterwards", "1 10.244.1.0/26 by invalid IP")
			})
		})
	}
}

// A speaker that was killed comes back: its peers use what they have until it has
// sent all again, then drop what it has not repeated; so does it with theirs.
func TestGracefulRestart(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.announce(a, "10.244.1.0/26")
		l.announce(a, "10.244.1.64/26")
		l.announce(b, "10.244.2.0/26")
		l.peer(a, b)
		l.wait(10 * time.Second)
		l.do(a.Kill)
		l.wait(20 * time.Second)
		recovered := time.Duration(0)
		a = l.start(1, Config{Restarting: true, Recovered: func() { recovered = l.drv.Now() }})
		l.announce(a, "10.244.1.0/26")
		l.add(a, b, PeerConfig{})
		delete(l.best, "1 10.244.2.0/26")
		l.wait(22003 * time.Millisecond)
		l.wantBest("before the paths are there again", "1 10.244.1.0/26 by invalid IP", "1 10.244.1.64/26 by invalid IP", "2 10.244.1.0/26 by 10.0.0.1", "2 10.244.1.64/26 by 10.0.0.1", "2 10.244.2.0/26 by invalid IP")
		delete(l.best, "1 10.244.1.64/26")
		l.wait(23 * time.Second)
		l.wantBest("afterwards", "1 10.244.1.0/26 by invalid IP", "1 10.244.2.0/26 by 10.0.0.2", "2 10.244.1.0/26 by 10.0.0.1", "2 10.244.2.0/26 by invalid IP")
		if recovered != 22005*time.Millisecond {
			t.Errorf("recovered at %v, want at the peer's End-of-RIB, 22.005s", recovered)
		}
		l.do(func() {
			if a.recovering() {
				t.Error("the speaker says that it restarts still")
			}
		})
	})
}

// A peer that connects anew while its session is established has lost it: its
// paths stay until it has sent others (RFC 4724 §4.2).
func TestConnectionThatReplacesAnother(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.announce(a, "10.244.1.0/26")
		l.peer(a, b)
		l.wait(10 * time.Second)
		l.do(a.Abort)
		l.wait(20 * time.Second)
		l.wantBest("b does not know", "1 10.244.1.0/26 by invalid IP", "2 10.244.1.0/26 by 10.0.0.1")
		a = l.start(1, Config{})
		l.add(a, b, PeerConfig{})
		l.announce(a, "10.244.1.64/26")
		l.wait(23 * time.Second)
		l.wantBest("the new one's", "1 10.244.1.0/26 by invalid IP", "1 10.244.1.64/26 by invalid IP", "2 10.244.1.64/26 by 10.0.0.1")
	})
}

// A peer that does not answer is tried again every five seconds, less up to one.
func TestConnectRetry(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.do(func() { l.board.Cut(host(2), true) })
		p := l.add(a, b, PeerConfig{})
		l.wait(30 * time.Second)
		l.do(func() {
			if p.out.state != Connect || p.out.dials < 6 || p.out.dials > 7 {
				t.Errorf("%v, %d attempts in 28 s, want Connect and 6 or 7", p.out.state, p.out.dials)
			}
			l.board.Cut(host(2), false)
		})
		l.add(b, a, PeerConfig{Passive: true})
		l.wait(40 * time.Second)
		l.wantState("at last", a, 2, "Established")
	})
}

// A connection of somebody who is no peer, or not yet, is not taken.
func TestUnexpectedConnections(t *testing.T) {
	inBubble(t, func(l *lab) {
		a, b := l.start(1, Config{}), l.start(2, Config{})
		l.add(a, b, PeerConfig{})
		l.wait(3 * time.Second)
		l.wantState("refused", a, 2, "Active Socket: connection refused")
		if len(l.logs) != 2 || l.logs[0] != "2.002s 2 - Unexpected connect from unknown address 10.0.0.1" {
			t.Errorf("logged %q", l.logs)
		}
		l.add(b, a, PeerConfig{Passive: true})
		l.wait(5 * time.Second)
		l.wantState("two seconds later", a, 2, "Established")
	})
}
