package conntrack

import (
	"strings"
	"testing"
	"time"
)

// handshake opens client:4000 -> backend:80, initial numbers 100 and 500.
func handshake(t testing.TB, tb *Table, now time.Duration) Conn {
	t.Helper()
	play(t, tb, now, "> S 100 0", "< SA 500 101")
	return play(t, tb, now, "> A 101 501")
}

// play passes segments given as "> FLAGS SEQ ACK [DATA]", > from the client and < from the backend, "@" before moving the
// time by as many seconds, and returns the Conn of the last.
func play(t testing.TB, tb *Table, now time.Duration, segments ...string) (c Conn) {
	t.Helper()
	for _, s := range segments {
		var ok bool
		if c, ok = pass(t, tb, now, parseSegment(t, s), rules{}); !ok {
			t.Fatalf("%q was dropped", s)
		}
	}
	return c
}

func parseSegment(t testing.TB, s string) []byte {
	t.Helper()
	f := strings.Fields(s)
	var seq, ack uint32
	for i, p := range []*uint32{&seq, &ack} {
		for _, digit := range f[2+i] {
			*p = *p*10 + uint32(digit-'0')
		}
	}
	data := ""
	if len(f) > 4 {
		data = f[4]
	}
	if f[0] == ">" {
		return tcp(client, 4000, backend, 80, f[1], seq, ack, data)
	}
	return tcp(backend, 80, client, 4000, f[1], seq, ack, data)
}

func TestTCPStates(t *testing.T) {
	const inv = "INVALID"
	for _, tt := range []struct {
		name     string
		segments string // separated by ";"
		state    string // after the last segment, or INVALID, or GONE
		expires  time.Duration
		assured  bool
	}{
		{"SYN", "> S 100 0", "SYN_SENT", 120 * sec, false},
		{"SYN-ACK", "> S 100 0; < SA 500 101", "SYN_RECV", 60 * sec, false},
		{"open", "> S 100 0; < SA 500 101; > A 101 501", "ESTABLISHED", 432000 * sec, true},
		{"data nobody acknowledged", "> S 100 0; < SA 500 101; > A 101 501 data", "ESTABLISHED", 300 * sec, true},
		{"data acknowledged", "> S 100 0; < SA 500 101; > A 101 501 data; < A 501 105", "ESTABLISHED", 432000 * sec, true},
		{"FIN", "> S 100 0; < SA 500 101; > A 101 501; > FA 101 501", "FIN_WAIT", 120 * sec, true},
		{"FIN acknowledged", "> S 100 0; < SA 500 101; > A 101 501; > FA 101 501; < A 501 102", "CLOSE_WAIT", 60 * sec, true},
		{"second FIN", "> S 100 0; < SA 500 101; > A 101 501; > FA 101 501; < FA 501 102", "LAST_ACK", 30 * sec, true},
		{"last ACK", "> S 100 0; < SA 500 101; > A 101 501; > FA 101 501; < FA 501 102; > A 102 502", "TIME_WAIT", 120 * sec, true},
		{"closed by the server", "> S 100 0; < SA 500 101; > A 101 501; < FA 501 101; > A 101 502; > FA 101 502; < A 502 102", "TIME_WAIT", 120 * sec, true},
		{"reset by the client", "> S 100 0; < SA 500 101; > A 101 501; > R 101 0", "CLOSE", 10 * sec, true},
		{"reset by the server", "> S 100 0; < SA 500 101; > A 101 501; < RA 501 101", "CLOSE", 10 * sec, true},
		{"refused", "> S 100 0; < RA 0 101", "GONE", 0, false},
		{"SYN-ACK reset by the client", "> S 100 0; < SA 500 101; > R 101 0", "CLOSE", 10 * sec, false},
		{"simultaneous open", "> S 100 0; < S 500 0", "SYN_SENT2", 120 * sec, false},
		{"simultaneous open, one SYN-ACK", "> S 100 0; < S 500 0; > SA 100 501", "SYN_RECV", 60 * sec, false},
		{"simultaneous open, both", "> S 100 0; < S 500 0; > SA 100 501; < A 501 101", "ESTABLISHED", 432000 * sec, true},
		{"from the middle", "> A 100 500", "ESTABLISHED", 300 * sec, false},
		{"from the middle, answered", "> A 100 500; < A 500 100", "ESTABLISHED", 300 * sec, false},
		{"from the middle, both ways", "> A 100 500; < A 500 100; > A 100 500", "ESTABLISHED", 432000 * sec, true},
		{"SYN-ACK from the client", "> S 100 0; > SA 100 1", inv, 0, false},
		{"ACK before the SYN-ACK", "> S 100 0; > A 101 1", inv, 0, false},
		{"FIN before the SYN-ACK", "> S 100 0; > FA 101 1", inv, 0, false},
		{"SYN from the server to an open connection", "> S 100 0; < SA 500 101; > A 101 501; < S 501 0", inv, 0, false},
		{"acknowledges what was never sent", "> S 100 0; < SA 500 101; > A 101 9999", inv, 0, false},
		{"beyond the window", "> S 100 0; < SA 500 101; > A 900000 501", inv, 0, false},
		{"RST before the acknowledged data", "> S 100 0; < SA 500 101; > A 101 501; < R 400 0", inv, 0, false},
		{"SYN to an open connection is let pass", "> S 100 0; < SA 500 101; > A 101 501; > S 7000 0", "ESTABLISHED", 432000 * sec, true},
		{"and its SYN-ACK is believed", "> S 100 0; < SA 500 101; > A 101 501; > S 7000 0; < SA 90 7001", "SYN_RECV", 60 * sec, true},
		{"challenge ACK in LAST_ACK", "> S 100 0; < SA 500 101; > A 101 501; > FA 101 501; < FA 501 102; > S 7000 0; < A 502 102", "LAST_ACK", 30 * sec, true},
		{"RST that is not exact", "> S 100 0; < SA 500 101; > A 101 501; < R 600 0", "ESTABLISHED", 10 * sec, true},
		{"SYN-ACK again", "> S 100 0; < SA 500 101; < SA 500 101", "SYN_RECV", 60 * sec, false},
		{"old data again", "> S 100 0; < SA 500 101; > A 101 501; > A 95 501", "ESTABLISHED", 432000 * sec, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(Config{})
			segments := strings.Split(tt.segments, "; ")
			c := play(t, tb, 0, segments...)
			if tt.state == inv {
				if c.State != StateInvalid {
					t.Errorf("%s: got %v, want INVALID", tt.segments, c.State)
				}
				return
			}
			if c.State == StateInvalid {
				t.Fatalf("%s: got INVALID, want %s", tt.segments, tt.state)
			}
			if tt.state == "GONE" {
				if tb.Len() != 0 || c.Entry.Status()&Dying == 0 {
					t.Errorf("%s: got %d entries, want the entry deleted", tt.segments, tb.Len())
				}
				return
			}
			if got := c.Entry.ProtoState(); got != tt.state {
				t.Errorf("%s: got state %s, want %s", tt.segments, got, tt.state)
			}
			if got := c.Entry.Deadline(); got != tt.expires {
				t.Errorf("%s: expires after %v, want %v", tt.segments, got, tt.expires)
			}
			if got := c.Entry.Status()&Assured != 0; got != tt.assured {
				t.Errorf("%s: assured is %v, want %v", tt.segments, got, tt.assured)
			}
		})
	}
}

func TestTCPReopenFromTimeWait(t *testing.T) {
	for _, tt := range []struct{ name, syn string }{
		{"by the client", "> S 9000 0"},
		{"by the server", "< S 9000 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := newTable(Config{})
			old := handshake(t, tb, 0)
			play(t, tb, sec, "> FA 101 501", "< FA 501 102", "> A 102 502")
			c := play(t, tb, 2*sec, tt.syn)
			if c.State != StateNew || c.Dir != Original || c.Entry == old.Entry || tb.Len() != 1 {
				t.Errorf("SYN in TIME_WAIT: got %v %v with %d entries, want NEW and the only entry", c.State, c.Dir, tb.Len())
			}
			if old.Entry.Status()&Dying == 0 {
				t.Error("the old entry is not dying")
			}
		})
	}
}

func TestTCPReopenAfterReset(t *testing.T) {
	tb := newTable(Config{})
	old := handshake(t, tb, 0)
	play(t, tb, sec, "> R 101 0")
	if c := play(t, tb, 2*sec, "> S 9000 0"); c.State != StateNew || c.Entry == old.Entry {
		t.Errorf("SYN after a reset by the same side: got %v, want a NEW entry", c.State)
	}
}

func TestTCPRetransmittedSYNDoesNotExtendTimeout(t *testing.T) {
	tb := newTable(Config{})
	play(t, tb, 0, "> S 100 0")
	if c := play(t, tb, 60*sec, "> S 100 0"); c.State != StateNew || c.Entry.Deadline() != 120*sec {
		t.Errorf("SYN again after 60s: got %v until %v, want NEW until 120s", c.State, c.Entry.Deadline())
	}
}

func TestTCPRetransmissionsShortenTimeout(t *testing.T) {
	tb := newTable(Config{})
	handshake(t, tb, 0)
	var c Conn
	for range 4 {
		c = play(t, tb, sec, "> PA 101 501 data")
	}
	if got := c.Entry.Deadline(); got != 301*sec {
		t.Errorf("deadline after three retransmissions: got %v, want 301s", got)
	}
}

func TestTCPStrictRefusesMidStream(t *testing.T) {
	tb := newTable(Config{TCPStrict: true})
	if c := tb.Track(0, parseSegment(t, "> A 100 500")); c.State != StateInvalid {
		t.Errorf("ACK out of nowhere with tcp_loose=0: got %v, want INVALID", c.State)
	}
	handshake(t, tb, 0)
}

func TestTCPLiberalAcceptsOutOfWindow(t *testing.T) {
	tb := newTable(Config{TCPLiberal: true})
	handshake(t, tb, 0)
	if c := play(t, tb, 0, "> A 900000 501"); c.State != StateEstablished {
		t.Errorf("beyond the window, tcp_be_liberal=1: got %v, want ESTABLISHED", c.State)
	}
}

func TestTCPRefusedConnectionStillTranslates(t *testing.T) {
	tb := newTable(Config{})
	wantPass(t, tb, 0, tcp(client, 4000, service, 80, "S", 100, 0, ""), rules{dst: to(backend, 8080)})
	rst := tcp(backend, 8080, client, 4000, "RA", 0, 101, "")
	wantPass(t, tb, 0, rst, rules{})
	if got, want := decode(rst), "src=10.96.0.10 dst=10.244.1.3 sport=80 dport=4000"; got != want {
		t.Errorf("reset: got %s, want %s", got, want)
	}
	if tb.Len() != 0 {
		t.Errorf("entries after the reset: got %d, want 0", tb.Len())
	}
}

func TestSCTPStates(t *testing.T) {
	const init, initAck, echo, cookieAck = "\x01\x00\x00\x00\x00\x07init", "\x02\x00\x00\x00\x00\x07ack!", "\x0a\x00cook", "\x0b\x00"
	const shutdown, shutdownAck, complete, abort = "\x07\x00tsn.", "\x08\x00", "\x0e\x00", "\x06\x00"
	const heartbeat, heartbeatAck, data = "\x04\x00hb", "\x05\x00hb", "\x00\x03data"
	open := []sctpStep{
		{Original, init, "CLOSED"}, {Reply, initAck, "COOKIE_WAIT"},
		{Original, echo, "COOKIE_ECHOED"}, {Reply, cookieAck, "ESTABLISHED"},
	}
	for name, steps := range map[string][]sctpStep{
		"graceful": {
			{Original, data, "ESTABLISHED"}, {Original, shutdown, "SHUTDOWN_SENT"},
			{Reply, shutdownAck, "SHUTDOWN_ACK_SENT"}, {Original, complete, "CLOSED"},
		},
		"by the server": {
			{Reply, shutdown, "SHUTDOWN_RECD"}, {Original, shutdownAck, "SHUTDOWN_ACK_SENT"}, {Reply, complete, "CLOSED"},
		},
		"abort": {{Reply, abort, "CLOSED"}},
	} {
		t.Run(name, func(t *testing.T) { playSCTP(t, append(open[:4:4], steps...)) })
	}
	t.Run("second path", func(t *testing.T) {
		playSCTP(t, []sctpStep{{Original, heartbeat, "HEARTBEAT_SENT"}, {Reply, heartbeatAck, "ESTABLISHED"}, {Original, data, "ESTABLISHED"}})
	})
}

// sctpStep is a packet with one chunk, and the state it leads to.
type sctpStep struct {
	d     Dir
	chunk string
	state string
}

func playSCTP(t *testing.T, steps []sctpStep) {
	t.Helper()
	tb := newTable(Config{})
	var c Conn
	for i, s := range steps {
		pkt := sctp(client, 4000, backend, 80, s.chunk)
		if s.d == Reply {
			pkt = sctp(backend, 80, client, 4000, s.chunk)
		}
		c = wantPass(t, tb, 0, pkt, rules{})
		if c.Entry == nil || c.Entry.ProtoState() != s.state {
			t.Fatalf("step %d, chunk %x: got %v %v, want %s", i, s.chunk[0], c.State, c.Entry, s.state)
		}
	}
	if c.Entry.Status()&Assured == 0 {
		t.Error("association that was open is not assured")
	}
}
