package bgp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podwire/podwire/link"
)

// unhex reads bytes as they are written in a dump; ff*16 is the marker.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.ReplaceAll(s, "M", strings.Repeat("ff", 16)), " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// tap is the connection of a speaker with a test.
type tap struct {
	sent   []string
	closed bool
}

func (c *tap) Send(b []byte) {
	if got := describe(b); got != "KEEPALIVE" && got != "OPEN" && got != "End-of-RIB" {
		c.sent = append(c.sent, got)
	}
}
func (c *tap) Close()                { c.closed = true }
func (c *tap) Abort()                { c.closed = true }
func (c *tap) LocalAddr() netip.Addr { return host(1) }

const (
	goodOpen  = "M 003f 01 04 fc00 00f0 0a000002 22 02 20 01 04 00010001 02 00 40 06 0078 0001 0100 41 04 0000fc00 45 04 00010103 46 00 47 00"
	keepalive = "M 0013 04"
	goodPath  = "M 0035 02 0000 0015 400101 00 400200 400304 0a000002 400504 00000064 00000003 1a 0af60100"
)

// hostile gives a speaker a connection and the bytes of a peer, and returns what
// it has said beside the usual.
func hostile(input []byte) (c *tap, s *Speaker) {
	drv := link.NewDriver(link.DriverConfig{Settle: synctest.Wait, Seed: 1})
	defer drv.Close()
	drv.Do(func() {
		var err error
		s, err = New(Config{
			Driver: drv, Rand: rand.New(rand.NewPCG(1, 1)), AS: 64512, RouterID: host(1),
			Dial: func(netip.Addr, netip.AddrPort, func(Conn, error) *Session) func() { return func() {} },
		})
		if err == nil {
			_, err = s.AddPeer(PeerConfig{Name: "p2", Addr: host(2), AS: 64512, Passive: true})
		}
		if err != nil {
			panic(err)
		}
		c = &tap{}
		session := s.Accept(c, host(2))
		for len(input) > 0 { // in pieces
			n := min(len(input), 17)
			session.Receive(input[:n])
			input = input[n:]
		}
	})
	drv.Sleep(0)
	return c, s
}

// Whatever is wrong, the peer is told what (RFC 4271 §6).
func TestNotifications(t *testing.T) {
	open := func(from, to string) string {
		if !strings.Contains(goodOpen, from) {
			panic(from)
		}
		return strings.Replace(goodOpen, from, to, 1)
	}
	established := goodOpen + keepalive
	for name, tt := range map[string]struct{ in, want string }{
		"nothing wrong":                {established + goodPath, ""},
		"marker":                       {"00" + strings.Repeat("ff", 15) + "0013 04", "1/1 "},
		"too short":                    {"M 0012 04", "1/2 00 12"},
		"too long":                     {"M 1001 02", "1/2 10 01"},
		"short OPEN":                   {"M 0013 01", "1/2 00 13"},
		"long KEEPALIVE":               {"M 0014 04 00", "1/2 00 14"},
		"type":                         {"M 0013 09", "1/3 09"},
		"version":                      {open("04 fc00", "03 fc00"), "2/1 00 04"},
		"AS":                           {open("41 04 0000fc00", "41 04 0000fc01"), "2/2 fc 00"},
		"no identifier":                {open("0a000002", "00000000"), "2/3 00 00 00 00"},
		"our identifier":               {open("0a000002", "0a000001"), "2/3 0a 00 00 01"},
		"hold time":                    {open("00f0", "0002"), "2/6 00 02"},
		"parameter":                    {open("02 20 01", "09 20 01"), "2/4 "},
		"two OPENs":                    {goodOpen + goodOpen, "5/2 "},
		"UPDATE before OPEN":           {goodPath, "5/1 "},
		"KEEPALIVE before OPEN":        {keepalive, "5/1 "},
		"OPEN when established":        {established + goodOpen, "5/3 "},
		"withdrawn beyond the end":     {established + "M 0017 02 0009 0000", "3/1 "},
		"attributes beyond the end":    {established + "M 0017 02 0000 0009", "3/1 "},
		"unknown well-known attribute": {established + "M 003a 02 0000 001a 400101 00 400200 400304 0a000002 400504 00000064 406302 0000 00000003 1a 0af60100", "3/2 40 63 02 00 00"},
		"prefix length":                {established + "M 0035 02 0000 0015 400101 00 400200 400304 0a000002 400504 00000064 00000003 21 0af60100", "3/10 "},
		"ROUTE-REFRESH":                {established + "M 0016 05 000100", "7/1 "},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := hostile(unhex(tt.in))
			want := ""
			if tt.want != "" {
				want = "NOTIFICATION " + tt.want
			}
			if got := strings.Join(c.sent, ", "); got != want || c.closed != (want != "") {
				t.Errorf("%s: answered %q, closed %v, want %q", name, got, c.closed, want)
			}
		})
	}
}

// Attributes that are wrong take paths back, and the session goes on (RFC 7606).
func TestMalformedAttributesWithdraw(t *testing.T) {
	for name, attrs := range map[string]string{
		"no ORIGIN":          "400200 400304 0a000002 400504 00000064",
		"bad ORIGIN":         "400101 07 400200 400304 0a000002 400504 00000064",
		"bad flags":          "000101 00 400200 400304 0a000002 400504 00000064",
		"NEXT_HOP too long":  "400101 00 400200 400305 0a00000200 400504 00000064",
		"NEXT_HOP of all":    "400101 00 400200 400304 e0000001 400504 00000064",
		"our own NEXT_HOP":   "400101 00 400200 400304 0a000001 400504 00000064",
		"our own identifier": "400101 00 400200 400304 0a000002 400504 00000064 800904 0a000001",
	} {
		synctest.Test(t, func(t *testing.T) {
			a := unhex(attrs)
			b := append(unhex("M 0000 02 0000 0000"), a...)
			binary.BigEndian.PutUint16(b[21:], uint16(len(a)))
			b = append(b, unhex("00000003 1a 0af60100")...)
			binary.BigEndian.PutUint16(b[16:], uint16(len(b)))
			c, s := hostile(append(unhex(goodOpen+keepalive+goodPath), b...))
			if len(c.sent) > 0 || !s.Ready() || len(s.Table()) != 0 {
				t.Errorf("%s: answered %q, established %v, %d paths, want no answer and no path", name, c.sent, s.Ready(), len(s.Table()))
			}
		})
	}
}

// Messages of a speaker without graceful restart and additional paths.
const (
	plainOpen  = "M 002d 01 04 fc00 00f0 0a000002 10 02 0e 01 04 00010001 02 00 41 04 0000fc00"
	plainPath  = "M 0031 02 0000 0015 400101 00 400200 400304 0a000002 400504 00000064 1a 0af60100"
	otherAttrs = "M 0055 02 0000 0039 400101 00 400200 400304 0a000002 800404 0000000a 400504 00000064 c06301 aa 806201 bb 400600 c00708 0000fde8 0a000009 c00804 ffffff01 1a 0af60100"
)

// FuzzReceive gives a speaker anything on port 179: it never panics, and it ends
// every connection that it does not understand.
func FuzzReceive(f *testing.F) {
	for _, seed := range []string{
		goodOpen, goodOpen + keepalive + goodPath, goodOpen + keepalive + "M 0017 02 0000 0000" + "M 0015 03 0602",
		goodOpen + keepalive + "M 0017 05 000101 01" + goodPath + "M 0017 05 000102 01",
		"M 0013 04", "M 1000 02", "M 001d 01 04 fc00 00f0 0a000002 00",
		goodOpen + keepalive + "M 0033 02 0000 0014 800e11 0002 01 10 20010db8000000000000000000000001 00 00000001 1a 0a0000",
		plainOpen + keepalive + plainPath + otherAttrs, plainOpen + plainPath, // an UPDATE in place of the KEEPALIVE
		plainOpen + keepalive + "M 0017 05 0002 00 01", "M 0017 05 0001 00 01", // ROUTE-REFRESH of another family, and too early
		"M 0015 03 0163", "M 0015 03 6301", "M 0020 01 30303030303030303030303030", // errors that nobody knows, an OPEN of nothing
	} {
		f.Add(unhex(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) { checkHostile(t, input) })
	})
}

// checkHostile gives a speaker anything, and finds what it must not say or keep.
func checkHostile(t *testing.T, input []byte) {
	c, s := hostile(input)
	for _, line := range c.sent {
		if !strings.HasPrefix(line, "NOTIFICATION ") && !strings.HasPrefix(line, "ROUTE-REFRESH") && !strings.HasPrefix(line, "UPDATE") {
			t.Errorf("sent %q", line)
		}
	}
	for _, p := range s.Table() {
		if !p.Attrs.NextHop.Is4() || !p.Prefix.IsValid() {
			t.Errorf("path to %v by %v", p.Prefix, p.Attrs.NextHop)
		}
	}
	_ = fmt.Sprint(s.Peers()[0].State())
}

// FuzzMessages gives a speaker messages in a session that is up: each is a type, a
// length and a body, and gets the header that belongs to it.
func FuzzMessages(f *testing.F) {
	message := func(kind byte, body string) []byte {
		b := unhex(body)
		return append([]byte{kind, byte(len(b))}, b...)
	}
	const update, withdraw = "0000 0015 400101 00 400200 400304 0a000002 400504 00000064 00000003 1a 0af60100", "0008 00000003 1a 0af60100 0000"
	for _, seed := range [][]byte{
		message(2, update), append(message(2, update), message(2, withdraw)...), message(2, "0000 0000"),
		message(2, "0000 002a 400101 00 400206 0201 0000fde8 400304 0a000002 400504 00000064 800904 0a000001 800a04 0a000009 c00804 ffff0001 00000003 1a 0af60100"),
		message(2, "0000 0014 800e11 0002 01 10 20010db8000000000000000000000001 00 00000001 1a 0a0000"),
		message(5, "0001 01 01"), message(5, "0001 00 01"), append(message(5, "0001 01 01"), append(message(2, update), message(5, "0001 02 01")...)...),
		message(2, "0000 0039 400101 00 400200 400304 0a000002 800404 0000000a 400504 00000064 c06301 aa 806201 bb 400600 c00708 0000fde8 0a000009 c00804 ffffff01 00000001 1a 0af60100"),
		message(5, "0002 00 01"), message(3, "01 63"), message(3, "63 01"),
		message(3, "06 02"), message(3, ""), message(4, ""), message(1, "04 fc00 00f0 0a000002 00"), append(message(9, "00"), message(2, update)...), // what comes after an error is not read
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		stream := unhex(goodOpen + keepalive)
		for len(input) > 1 {
			kind, body := input[0], input[2:2+min(int(input[1]), len(input)-2)]
			stream = append(stream, unhex("M")...)
			stream = binary.BigEndian.AppendUint16(stream, uint16(19+len(body)))
			stream = append(append(stream, kind), body...)
			input = input[2+len(body):]
		}
		synctest.Test(t, func(t *testing.T) { checkHostile(t, stream) })
	})
}

// A configuration that cannot work is refused with a reason.
func TestConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drv := link.NewDriver(link.DriverConfig{Settle: synctest.Wait})
		defer drv.Close()
		good := Config{
			Driver: drv, Rand: rand.New(rand.NewPCG(1, 1)), AS: 64512, RouterID: host(1),
			Dial: func(netip.Addr, netip.AddrPort, func(Conn, error) *Session) func() { return func() {} },
		}
		for want, change := range map[string]func(*Config){
			"bgp: configuration without a driver, a random source or Dial": func(c *Config) { c.Dial = nil },
			"bgp: AS 0, want 1 to 4294967295":                              func(c *Config) { c.AS = 0 },
			"bgp: router id invalid IP, want an IPv4 address":              func(c *Config) { c.RouterID = netip.Addr{} },
			"bgp: hold time 1s, want 3s to 65535s":                         func(c *Config) { c.HoldTime = time.Second },
		} {
			cfg := good
			change(&cfg)
			if _, err := New(cfg); err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		}
		drv.Do(func() {
			s, err := New(good)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.AddPeer(PeerConfig{Name: "a", Addr: host(2), AS: 1}); err != nil {
				t.Error(err)
			}
			for want, cfg := range map[string]PeerConfig{
				`bgp: peer 10.0.0.3: name "a", want one that no other has`:                                     {Name: "a", Addr: host(3), AS: 1},
				"bgp: peer b: address invalid IP, want an IPv4 address":                                        {Name: "b", AS: 1},
				"bgp: peer b: AS 0, want 1 to 4294967295":                                                      {Name: "b", Addr: host(3)},
				"bgp: peer b: a client of a route reflector has its AS, 64512, and the reflector a cluster id": {Name: "b", Addr: host(3), AS: 64512, Client: true},
			} {
				if _, err := s.AddPeer(cfg); err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
			}
		})
	})
}
