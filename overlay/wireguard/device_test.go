package wireguard

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// The first packet waits for the handshake and is sent with the session; no
// keepalive is needed to confirm it.
func TestHandshakeThenData(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "hello")
		p.wantLog("initiator", p.a, "0s initiation", "0s data")
		p.wantLog("responder", p.b, "0s response")
		p.wantGot("responder", p.b, "hello")
		p.send(p.b, "and back")
		p.wantLog("responder", p.b, "0s data")
		p.wantGot("initiator", p.a, "and back")
	})
}

// Data without an answer is answered with a keepalive after ten seconds; the
// end that hears nothing for fifteen begins a new handshake.
func TestKeepaliveAndDeadPeer(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "one")
		p.a.log, p.b.log = nil, nil
		p.wait(30 * time.Second)
		p.wantLog("responder", p.b, "10s data")
		p.wantLog("initiator", p.a)
		p.b.deaf = true
		p.send(p.a, "two")
		p.wait(20 * time.Second)
		want := []string{"30s data", "45.083s initiation"}
		if len(p.a.log) != 2 || p.a.log[0] != want[0] || !strings.HasPrefix(p.a.log[1], "45.") || !strings.HasSuffix(p.a.log[1], " initiation") {
			t.Errorf("got %q, want something like %q: 15 s and up to a third", p.a.log, want)
		}
	})
}

// Without a response the initiation is repeated every five seconds and a bit, 20
// times, and then what waited is given up.
func TestRetransmitAndGiveUp(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.b.deaf = true
		p.send(p.a, "lost")
		p.wait(5*time.Minute - time.Second)
		if n := len(p.a.log); n != maxAttempts+2 {
			t.Errorf("%d initiations, want %d: %q", n, maxAttempts+2, p.a.log)
		}
		if p.a.drops[DropGivenUp] != 1 {
			t.Errorf("drops %v, want the packet that waited given up", p.a.drops)
		}
		p.b.deaf = false
		p.wait(10 * time.Second)
		p.send(p.a, "again")
		p.wantGot("after a new start", p.b, "again")
	})
}

// At most 128 packets wait; the oldest goes first.
func TestStagedPackets(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.b.deaf = true
		for range maxStaged + 3 {
			p.send(p.a, "x")
		}
		if p.a.drops[DropStaged] != 3 {
			t.Errorf("drops %v, want 3 too many", p.a.drops)
		}
		p.b.deaf = false
		p.wait(6 * time.Second)
		if len(p.b.got) != maxStaged {
			t.Errorf("%d packets delivered after the retry, want %d", len(p.b.got), maxStaged)
		}
	})
}

// The initiator renews the session after 120 seconds when it sends, and shortly
// before the end when it only receives; the responder never does.
func TestRekey(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "one")
		p.wait(119 * time.Second)
		p.a.log, p.b.log = nil, nil
		p.send(p.a, "two")
		p.wantLog("before two minutes", p.a, "1m59s data")
		p.wait(time.Second)
		p.send(p.b, "no")
		p.wantLog("the responder does not", p.b, "2m0s data")
		p.send(p.a, "three")
		p.wantLog("after two minutes", p.a, "2m0s data", "2m0s initiation", "2m0s data")
		p.wantGot("all", p.b, "one", "two", "three")
	})
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "one")
		p.wait(164 * time.Second)
		p.a.log = nil
		p.send(p.b, "early")
		p.wantLog("15 s before the end it is too early", p.a)
		p.wait(time.Second)
		p.send(p.b, "late")
		p.wantLog("it begins a handshake because of what it received", p.a, "2m45s initiation", "2m45s data")
	})
}

// After 180 seconds a session encrypts nothing more, and is refused too.
func TestRejectAfterTime(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "one")
		p.wait(180 * time.Second)
		p.a.log, p.b.log, p.b.got = nil, nil, nil
		p.send(p.b, "from the responder")
		p.wantLog("the old responder is an initiator now", p.b, "3m0s initiation", "3m0s data")
		p.wantGot("initiator of before", p.a, "from the responder")
		p.wait(10 * time.Minute) // keys are forgotten
		if n := len(p.a.indices) + len(p.b.indices); n != 0 {
			t.Errorf("%d sessions after ten minutes of silence", n)
		}
	})
}

// A message that comes twice is delivered once; one that was changed is not.
func TestReplayAndForgery(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "one")
		var copies [][]byte
		send := p.a.cfg.Send
		p.a.cfg.Send = func(to netip.AddrPort, tos byte, f *link.Frame) {
			copies = append(copies, append([]byte(nil), f.Bytes()...))
			send(to, tos, f)
		}
		p.send(p.a, "two")
		receive := func(b []byte) {
			p.drv.Do(func() {
				f := p.drv.NewFrame(len(b))
				copy(f.Bytes(), b)
				p.b.Receive(p.a.addr, 0, f)
			})
		}
		receive(copies[0])
		for i := range copies[0] {
			forged := append([]byte(nil), copies[0]...)
			forged[i] ^= 1
			receive(forged)
		}
		p.wantGot("each once", p.b, "one", "two")
		want := map[link.Reason]int{DropDecrypt: 1 + len(copies[0]) - 8, DropMessage: 4, DropSession: 4}
		for why, n := range want {
			if p.b.drops[why] != n {
				t.Errorf("%s: %d, want %d", why, p.b.drops[why], n)
			}
		}
	})
}

// A packet whose source is not the peer's is dropped; one to nobody is the
// caller's.
func TestAllowedIPs(t *testing.T) {
	inBubble(t, nil, func(p *pair) {
		p.send(p.a, "one")
		p.drv.Do(func() {
			spoofed := packet(podOf(p.b), podOf(p.b), "spoofed")
			f := p.drv.NewFrame(len(spoofed))
			copy(f.Bytes(), spoofed)
			if !p.a.Transmit(f) {
				t.Error("no peer")
			}
			stray := packet(podOf(p.a), podOf(p.a), "stray")
			f = p.drv.NewFrame(len(stray))
			copy(f.Bytes(), stray)
			if p.a.Transmit(f) {
				t.Error("there is a peer for our own addresses")
			}
			f.Release()
		})
		p.wait(0)
		p.wantGot("only the first", p.b, "one")
		if p.b.drops[DropSource] != 1 {
			t.Errorf("drops %v, want one for its source", p.b.drops)
		}
	})
}

// An end under load answers a handshake with a cookie; the next initiation has
// it, and gets through.
func TestCookieUnderLoad(t *testing.T) {
	inBubble(t, func(c *Config) { c.HandshakeTime = time.Millisecond }, func(p *pair) {
		p.b.busyUntil = loadQueued * time.Millisecond
		p.send(p.a, "one")
		p.wantLog("under load", p.b, "0s cookie")
		p.wantGot("nothing yet", p.b)
		p.drv.Do(func() { p.b.busyUntil = p.drv.Now() + 8*time.Second }) // still
		p.wait(6 * time.Second)
		if len(p.b.log) != 1 || !strings.HasSuffix(p.b.log[0], " response") {
			t.Errorf("got %q, want a response to the initiation with the cookie", p.b.log)
		}
		p.wantGot("with the cookie", p.b, "one")
		p.drv.Do(func() {
			p.b.busyUntil = p.drv.Now() + maxQueued*time.Millisecond
			f := p.drv.NewFrame(InitiationSize)
			put(f.Bytes(), typeInitiation)
			p.b.Receive(p.a.addr, 0, f)
			if p.b.drops[DropBusy] != 2 {
				t.Errorf("drops %v, want a full queue", p.b.drops)
			}
		})
	})
}

// Mistakes in a configuration are errors.
func TestConfigErrors(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("empty configuration: no error")
	}
	inBubble(t, nil, func(p *pair) {
		p.drv.Do(func() {
			for what, key := range map[string]Key{"own key": p.a.PublicKey(), "twice": p.b.PublicKey(), "zero": {}, "low order": {1}} {
				if p.a.AddPeer(PeerConfig{PublicKey: key}) == nil {
					t.Errorf("%s: no error", what)
				}
			}
			if p.a.RemovePeer(Key{9}) {
				t.Error("removed a peer that is not there")
			}
		})
	})
	for _, s := range []string{"", "x", "AAAA", strings.Repeat("A", 44)} {
		if _, err := ParseKey(s); err == nil {
			t.Errorf("key %q: no error", s)
		}
	}
	k := Key{1, 2, 3}
	if got, err := ParseKey(k.String()); err != nil || got != k {
		t.Errorf("key %v becomes %v, %v", k, got, err)
	}
}
