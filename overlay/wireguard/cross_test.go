package wireguard

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Two ends that begin while the other's initiation is on its way undo each
// other's handshake, as in the kernel: a peer has one handshake, the initiation
// that comes in replaces the one that went out, and the response to that finds
// nobody. Five seconds later and a little, chance decides who tries again first;
// the other then answers and does not try.
func TestHandshakesCross(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.a.away, p.b.away = time.Millisecond, time.Millisecond
		p.sendBoth()
		p.wait(time.Second)
		p.wantLog("a", p.a, "0s initiation", "1ms response")
		p.wantLog("b", p.b, "0s initiation", "1ms response")
		if p.a.drops[DropHandshake] != 1 || p.b.drops[DropHandshake] != 1 {
			t.Errorf("drops %v and %v, want a response each", p.a.drops, p.b.drops)
		}
		p.wantGot("a", p.a)
		p.wantGot("b", p.b)
		p.wait(5 * time.Second)
		p.wantLog("b, whose timer has less jitter", p.b, "5.133s initiation", "5.135s data")
		p.wantLog("a", p.a, "5.134s response", "5.136s data")
		p.wantGot("b", p.b, "from a")
		p.wantGot("a", p.a, "from b")
	})
}

// Whatever the seed, the timers' jitter parts the two sooner or later: both
// packets arrive, and over many seeds either end is the one that was first, and
// they seldom cross twice.
func TestCrossedHandshakesRecover(t *testing.T) {
	first, again := make(map[string]int), 0
	for seed := range uint64(100) {
		inSeededBubble(t, seed, nil, func(p *pair) {
			p.a.away, p.b.away = time.Millisecond, time.Millisecond
			p.sendBoth()
			p.wait(30 * time.Second)
			p.wantGot("b", p.b, "from a")
			p.wantGot("a", p.a, "from b")
			a, b := initiations(p.a), initiations(p.b)
			switch {
			case len(a) > 1 && len(b) > 1:
				again++
			case len(a) > 1:
				first["a"]++
			case len(b) > 1:
				first["b"]++
			}
		})
	}
	if first["a"] < 30 || first["b"] < 30 || again > 5 {
		t.Errorf("a was first in %d runs, b in %d, and %d crossed again; want about half each, and hardly any", first["a"], first["b"], again)
	}
}

func initiations(e *end) []string {
	return slices.DeleteFunc(slices.Clone(e.log), func(s string) bool { return !strings.HasSuffix(s, "initiation") })
}

// On a path that is longer than the jitter both retries come within five seconds
// of the response that the same end has sent, and neither is allowed. As in the
// kernel nobody tries again until there is something to send.
func TestHandshakesCrossOnALongPath(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.a.away, p.b.away = 600*time.Millisecond, 600*time.Millisecond
		p.sendBoth()
		p.wait(20 * time.Second)
		p.wantLog("a", p.a, "0s initiation", "600ms response")
		p.wantLog("b", p.b, "0s initiation", "600ms response")
		p.send(p.a, "and more")
		p.wait(5 * time.Second)
		p.wantGot("b", p.b, "from a", "and more")
		p.wantGot("a", p.a, "from b")
	})
}
