package ipvs

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	vip = netip.MustParseAddrPort("10.96.0.10:80")
	web = Key{protoTCP, vip}
	dns = Key{protoUDP, netip.MustParseAddrPort("10.96.0.10:53")}
)

// packetOf is a TCP segment, or a UDP datagram if flags are negative.
func packetOf(src, dst netip.AddrPort, flags int) []byte {
	b := make([]byte, 40)
	b[0], b[8], b[9] = 0x45, 64, protoTCP
	binary.BigEndian.PutUint16(b[2:], 40)
	s, d := src.Addr().As4(), dst.Addr().As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	b[32], b[33] = 0x50, byte(max(flags, 0))
	if flags < 0 {
		b[9] = protoUDP
	}
	return b
}

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(n >> 16), byte(1 + n%200)}), uint16(1024+n))
}

// balancer is a table with servers 10.0.0.1, 10.0.0.2 ... of some weights behind a service.
func balancer(t *testing.T, cfg ServiceConfig, weights ...int) *Table {
	t.Helper()
	tab := New(Config{ExpireNodestConn: true, ExpireQuiescentTemplate: true})
	if err := tab.AddService(cfg); err != nil {
		t.Fatal(err)
	}
	for i := len(weights) - 1; i >= 0; i-- { // the latest is the first
		if err := tab.AddServer(Key{cfg.Proto, cfg.Addr}, ServerConfig{Addr: server(i + 1), Weight: weights[i]}); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

func server(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 8080)
}

// picks are the servers of n new connections, by the last byte of their addresses; each is established.
func picks(tab *Table, first, n int) string {
	var b strings.Builder
	for i := first; i < first+n; i++ {
		c, _ := tab.In(0, packetOf(client(i), vip, flagSYN))
		if c == nil {
			b.WriteByte('-')
			continue
		}
		tab.Out(0, packetOf(c.Server, c.Client, flagSYN|flagACK))
		tab.In(0, packetOf(client(i), vip, flagACK))
		b.WriteByte('0' + c.Server.Addr().As4()[3])
	}
	return b.String()
}

// The orders are those that the loops of ip_vs_*.c give.
func TestSchedulers(t *testing.T) {
	tests := []struct {
		scheduler string
		weights   []int
		want      string
	}{
		{"", []int{1, 1, 1}, "123123123"},
		{"rr", []int{1, 0, 5}, "131313131"},
		{"rr", []int{0, 0}, "---------"},
		{"wrr", []int{4, 3, 2}, "112123123"},
		{"wrr", []int{0, 1}, "222222222"},
		{"lc", []int{1, 1, 1}, "123123123"},
		{"wlc", []int{1, 2}, "122122122"},
		{"sed", []int{1, 2}, "212212212"},
		{"nq", []int{1, 3}, "122222122"},
	}
	for _, tt := range tests {
		tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP, Scheduler: tt.scheduler}, tt.weights...)
		if got := picks(tab, 0, 9); got != tt.want {
			t.Errorf("%s with weights %v: %s, want %s", tt.scheduler, tt.weights, got, tt.want)
		}
	}
}

// sh and dh find the server by an address alone, and stay with it.
func TestHashSchedulers(t *testing.T) {
	for _, name := range []string{"sh", "dh"} {
		tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP, Scheduler: name}, 1, 1, 1)
		used := map[netip.AddrPort]bool{}
		for i := range 200 {
			a, _ := tab.In(0, packetOf(client(i), vip, flagSYN))
			b, _ := tab.In(0, packetOf(netip.AddrPortFrom(client(i).Addr(), 9), vip, flagSYN))
			if a.Server != b.Server {
				t.Fatalf("%s: %v has servers %v and %v", name, client(i).Addr(), a.Server, b.Server)
			}
			used[a.Server] = true
		}
		if want := map[string]int{"sh": 3, "dh": 1}[name]; len(used) != want {
			t.Errorf("%s: 200 clients use %d of 3 servers, want %d", name, len(used), want)
		}
	}
}

// TestRotationOverChanges: a server that goes does not make another come twice.
func TestRotationOverChanges(t *testing.T) {
	tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP}, 1, 1, 1, 1)
	got := picks(tab, 0, 2)
	tab.DeleteServer(web, server(2))
	got += picks(tab, 2, 3)
	if want := "12" + "341"; got != want {
		t.Errorf("picked %s, want %s", got, want)
	}
}

// TestConnectionLife follows a connection through states, counters and its end.
func TestConnectionLife(t *testing.T) {
	tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP}, 1)
	var ended []string
	tab.OnExpire = func(c *Conn) { ended = append(ended, c.String()) }
	d := tab.Service(web).Servers()[0]
	at := time.Second
	step := func(fromServer bool, flags int, state string, timeout time.Duration, active, inactive int) {
		t.Helper()
		var c *Conn
		if fromServer {
			c = tab.Out(at, packetOf(server(1), client(1), flags))
		} else {
			c, _ = tab.In(at, packetOf(client(1), vip, flags))
		}
		if c == nil || c.State() != state || c.Deadline()-at != timeout || d.Active != active || d.Inactive != inactive {
			t.Errorf("flags %#x: %v, ends in %v, %d active and %d inactive; want %s, %v, %d and %d", flags, c, c.Deadline()-at, d.Active, d.Inactive, state, timeout, active, inactive)
		}
		at += time.Second
	}
	step(false, flagSYN, "SYN_RECV", time.Minute, 0, 1)
	step(true, flagSYN|flagACK, "SYN_RECV", time.Minute, 0, 1)
	step(false, flagACK, "ESTABLISHED", 15*time.Minute, 1, 0)
	step(true, flagACK, "ESTABLISHED", 15*time.Minute, 1, 0)
	step(false, flagFIN|flagACK, "CLOSE_WAIT", time.Minute, 0, 1)
	step(true, flagFIN|flagACK, "TIME_WAIT", 2*time.Minute, 0, 1)
	step(false, flagACK, "TIME_WAIT", 2*time.Minute, 0, 1)
	if s := tab.Service(web).Stats; s != (Stats{Conns: 1, InPackets: 4, OutPackets: 3, InBytes: 160, OutBytes: 120}) {
		t.Errorf("counted %+v", s)
	}
	last := at - time.Second + 2*time.Minute
	if n := len(tab.Conns(last - 1)); n != 1 {
		t.Errorf("%d connections just before the timeout, want 1", n)
	}
	if n := len(tab.Conns(last)); n != 0 || d.Inactive != 0 {
		t.Errorf("%d connections after the timeout, %d inactive, want none", n, d.Inactive)
	}
	if want := []string{"TCP TIME_WAIT 10.244.0.2:1025 10.96.0.10:80 10.0.0.1:8080"}; !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
	if c, v := tab.In(last, packetOf(client(1), vip, flagACK)); c != nil || v != Pass {
		t.Errorf("a segment of a connection that is forgotten: %v, %v, want it to pass to the host", c, v)
	}
}

// TestReuse: a SYN on a connection in TIME_WAIT begins a new one (conn_reuse_mode=1).
func TestReuse(t *testing.T) {
	for _, no := range []bool{false, true} {
		tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP}, 1, 1)
		tab.Configure(Config{NoConnReuse: no})
		a, _ := tab.In(0, packetOf(client(1), vip, flagSYN))
		tab.In(0, packetOf(client(1), vip, flagFIN|flagACK))
		first := a.Server
		b, _ := tab.In(0, packetOf(client(1), vip, flagSYN))
		if same := b.Server == first; same != no {
			t.Errorf("conn_reuse_mode=0 %v: servers %v and %v", no, first, b.Server)
		}
	}
}

// TestNoServer: what nobody can take is refused, for UDP as for TCP.
func TestNoServer(t *testing.T) {
	tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP})
	tab.AddService(ServiceConfig{Addr: dns.Addr, Proto: protoUDP})
	for want, pkt := range map[Verdict][]byte{
		Refuse: packetOf(client(1), vip, flagSYN),
		Pass:   packetOf(client(1), vip, flagACK),
	} {
		if c, v := tab.In(0, pkt); c != nil || v != want {
			t.Errorf("%v, %v, want %v", c, v, want)
		}
	}
	if c, v := tab.In(0, packetOf(client(1), dns.Addr, -1)); c != nil || v != Refuse {
		t.Errorf("UDP: %v, %v, want it refused", c, v)
	}
	if c, v := tab.In(0, packetOf(client(1), netip.MustParseAddrPort("10.96.0.10:81"), flagSYN)); c != nil || v != Pass {
		t.Errorf("a port without a service: %v, %v, want it to pass", c, v)
	}
}

// TestPersistence: a client keeps its server for the time after its last connection, and as long as connections are left.
func TestPersistence(t *testing.T) {
	tab := balancer(t, ServiceConfig{Addr: dns.Addr, Proto: protoUDP, Persistent: 10 * time.Minute}, 1, 1, 1)
	from := func(port int) netip.AddrPort { return netip.AddrPortFrom(client(1).Addr(), uint16(port)) }
	ask := func(at time.Duration, port int) netip.AddrPort {
		t.Helper()
		c, v := tab.In(at, packetOf(from(port), dns.Addr, -1))
		if v != Forward {
			t.Fatalf("at %v: %v", at, v)
		}
		return c.Server
	}
	home := ask(0, 1)
	for i := range 20 {
		if got := ask(time.Duration(i)*time.Minute, 2+i); got != home {
			t.Errorf("connection %d went to %v, want %v", i, got, home)
		}
	}
	last := 19 * time.Minute // its flow ends after five minutes, the template after ten
	if got := ask(last+10*time.Minute-1, 100); got != home {
		t.Errorf("just before the end it went to %v, want %v", got, home)
	}
	if got := ask(last+20*time.Minute-1, 101); got == home {
		t.Errorf("after the end it went to %v again, want the next", got)
	}
	var states []string
	for _, c := range tab.Conns(last + 20*time.Minute - 1) {
		states = append(states, c.String())
	}
	want := []string{"UDP ASSURED 10.244.0.2:0 10.96.0.10:53 10.0.0.2:8080", "UDP UDP 10.244.0.2:101 10.96.0.10:53 10.0.0.2:8080"}
	if !slices.Equal(states, want) {
		t.Errorf("connections %q, want %q", states, want)
	}
}

// TestServerGoes: a client does not stick to a server of weight zero; connections to one that is gone end with their next
// packet; one that comes back has its connections again.
func TestServerGoes(t *testing.T) {
	tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP, Persistent: time.Hour}, 1, 1)
	c, _ := tab.In(0, packetOf(client(1), vip, flagSYN))
	home := c.Server
	tab.SetWeight(web, home, 0)
	if c, v := tab.In(0, packetOf(client(1), vip, flagACK)); v != Forward || c.Server != home {
		t.Errorf("an old connection, weight 0: %v, %v, want %v", c, v, home)
	}
	other := netip.AddrPortFrom(client(1).Addr(), 7)
	if c, _ := tab.In(0, packetOf(other, vip, flagSYN)); c.Server == home {
		t.Errorf("a new connection, weight 0, went to %v", c.Server)
	}
	tab.DeleteServer(web, home)
	if err := tab.AddServer(web, ServerConfig{Addr: home, Weight: 1}); err != nil {
		t.Fatal(err)
	}
	if c, v := tab.In(0, packetOf(client(1), vip, flagACK)); v != Forward || c.Server != home {
		t.Errorf("an old connection whose server came back: %v, %v, want %v", c, v, home)
	}
	tab.DeleteServer(web, home)
	if _, v := tab.In(0, packetOf(client(1), vip, flagACK)); v != Drop {
		t.Errorf("an old connection whose server is gone: %v, want %v", v, Drop)
	}
	if c, v := tab.In(0, packetOf(client(1), vip, flagSYN)); v != Forward || c.Server == home {
		t.Errorf("its next SYN: %v, %v, want the other server", c, v)
	}
}

func TestRefusals(t *testing.T) {
	tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP}, 1)
	for want, err := range map[string]error{
		"ipvs: service TCP 10.96.0.10:80 exists already":                                                 tab.AddService(ServiceConfig{Addr: vip, Proto: protoTCP}),
		`ipvs: scheduler "mh" is not known, want one of rr, wrr, lc, wlc, sh, dh, sed, nq`:               tab.AddService(ServiceConfig{Addr: vip, Proto: protoUDP, Scheduler: "mh"}),
		"ipvs: protocol 132, want TCP or UDP":                                                            tab.AddService(ServiceConfig{Addr: vip, Proto: 132}),
		"ipvs: there is no service UDP 10.96.0.10:53":                                                    tab.AddServer(dns, ServerConfig{Addr: server(1)}),
		"ipvs: service TCP 10.96.0.10:80 has server 10.0.0.1:8080 already":                               tab.AddServer(web, ServerConfig{Addr: server(1)}),
		"ipvs: server 10.0.0.9:8080 with weight -1, want an IPv4 address, a port and no negative weight": tab.AddServer(web, ServerConfig{Addr: server(9), Weight: -1}),
		"ipvs: service at [::1]:80, want an IPv4 address and a port":                                     tab.AddService(ServiceConfig{Addr: netip.MustParseAddrPort("[::1]:80"), Proto: protoTCP}),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// FuzzIn: no packet makes the table panic, and its counters stay those of its connections.
func FuzzIn(f *testing.F) {
	f.Add(packetOf(client(1), vip, flagSYN), byte(0))
	f.Add(packetOf(server(1), client(1), flagSYN|flagACK), byte(1))
	f.Add(append([]byte{0x45, 0, 0, 68, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 96, 0, 10, 3, 3, 0, 0, 0, 0, 0, 0}, packetOf(vip, client(1), flagACK)...), byte(2)) // an ICMP error
	f.Fuzz(func(t *testing.T, pkt []byte, seconds byte) {
		tab := balancer(t, ServiceConfig{Addr: vip, Proto: protoTCP, Persistent: time.Minute}, 1, 1)
		tab.In(0, packetOf(client(1), vip, flagSYN))
		now := time.Duration(seconds) * time.Second
		tab.In(now, pkt)
		tab.Out(now, pkt)
		tab.InError(now, pkt)
		tab.OutError(now, pkt)
		tab.Advance(now + time.Hour)
		for _, d := range tab.Service(web).Servers() {
			if n := fmt.Sprint(d.Active, d.Inactive, d.Persistent); n != "0 0 0" {
				t.Errorf("%s connections left after an hour", n)
			}
		}
	})
}
