package netfilter

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// runs gives packets to a rule and says for each whether it matched.
func runs(t *testing.T, table Table, hook Hook, rule string, env Env, packets ...*Packet) (got []bool) {
	t.Helper()
	r := mustRestore(t, fmt.Sprintf("*%s\n-A %s %s\nCOMMIT\n", table, hook, rule))
	before := uint64(0)
	for _, p := range packets {
		r.Run(table, hook, p, env)
		rules, _ := r.Rules(table, hook.String())
		got = append(got, rules[0].Packets > before)
		before = rules[0].Packets
	}
	return got
}

func TestMatchConnection(t *testing.T) {
	conn := &fakeConn{seen: true, confirmed: true, left: 90*time.Second + time.Millisecond}
	tests := []struct {
		rule string
		want bool
	}{
		{"--ctorigsrc 10.244.0.0/16", true},
		{"! --ctorigsrc 10.244.0.0/16", false},
		{"--ctorigdst 10.96.0.10", true},
		{"--ctreplsrc 10.244.2.2 --ctrepldst 10.244.1.2", true},
		{"--ctreplsrc 10.96.0.10", false},
		{"--ctproto tcp --ctorigdstport 80", true},
		{"--ctproto udp --ctorigdstport 80", false},
		{"! --ctproto udp", true},
		{"--ctorigdstport 81:90", false},
		{"--ctreplsrcport 8000:9000", true},
		{"! --ctrepldstport 40000", false},
		{"--ctorigsrcport 40000", true},
		{"--ctstatus ASSURED", false},
		{"--ctstatus ASSURED,SEEN_REPLY", true},
		{"! --ctstatus ASSURED", true},
		{"--ctstatus CONFIRMED", true},
		{"--ctstatus EXPECTED", false},
		{"--ctexpire 90", true},
		{"--ctexpire 91:100", false},
		{"--ctdir ORIGINAL", true},
		{"--ctdir REPLY", false},
		{"--ctstate NEW --ctorigdstport 80", true},
		{"--ctstate ESTABLISHED --ctorigdstport 80", false},
	}
	for _, tt := range tests {
		p := with(tcp("10.244.1.2:40000", "10.244.2.2:8080"), func(p *Packet) { p.Conn = conn })
		if got := runs(t, Filter, Forward, "-m conntrack "+tt.rule, newEnv(), p); got[0] != tt.want {
			t.Errorf("%s: matched %v, want %v", tt.rule, got[0], tt.want)
		}
	}
	reply := with(tcp("10.244.2.2:8080", "10.244.1.2:40000"), func(p *Packet) { p.Conn = &fakeConn{reply: true} })
	bare := with(tcp("10.244.2.2:8080", "10.244.1.2:40000"), func(p *Packet) { p.State = StateInvalid })
	if got := runs(t, Filter, Forward, "-m conntrack --ctdir REPLY", newEnv(), reply, bare); !got[0] || got[1] {
		t.Errorf("--ctdir REPLY of a reply and of no connection: matched %v, want true, false", got)
	}
	// as in the kernel: without a connection only the state is asked
	if got := runs(t, Filter, Forward, "-m conntrack --ctstate INVALID --ctorigdstport 80", newEnv(), bare); !got[0] {
		t.Error("INVALID without a connection: not matched, want matched")
	}
}

func TestMatchHeader(t *testing.T) {
	tos := func(v uint8) *Packet { return with(tcp("10.0.0.1:1", "10.0.0.2:80"), func(p *Packet) { p.TOS = v }) }
	syn := func(mss ...byte) *Packet {
		return with(tcp("10.0.0.1:1", "10.0.0.2:80"), func(p *Packet) {
			ip := append([]byte{0x46, 0}, make([]byte, 22)...) // one word of options
			seg := append(make([]byte, 20), mss...)
			seg[12] = byte(20+len(mss)) << 2
			p.Bytes = append(ip, seg...)
		})
	}
	vxlan := with(tcp("10.0.0.1:1", "10.0.0.2:4789"), func(p *Packet) {
		p.Proto = protoUDP
		p.Bytes = append(append([]byte{0x45}, make([]byte, 27)...), 8, 0, 0, 0, 0, 0x10, 1, 0)
	})
	tests := []struct {
		rule string
		p    *Packet
		want bool
	}{
		{"-m dscp --dscp 46", tos(0xb9), true},
		{"-m dscp --dscp-class EF", tos(0xb8), true},
		{"-m dscp ! --dscp-class EF", tos(0), true},
		{"-m tos --tos 0x10", tos(0x10), true},
		{"-m tos --tos 0x10", tos(0x11), false},
		{"-m tos --tos 0x10/0xfc", tos(0x11), true},
		{"-m tos ! --tos Minimize-Delay", tos(0x50), false},
		{"-p tcp -m tcpmss --mss 1400:1460", syn(2, 4, 5, 0xb4), true},
		{"-p tcp -m tcpmss --mss 1400:1460", syn(1, 1, 2, 4, 5, 0xb4, 0, 0), true},
		{"-p tcp -m tcpmss --mss 1400:1460", syn(2, 4, 2, 0x18), false},
		{"-p tcp -m tcpmss ! --mss 1400:1460", syn(2, 4, 2, 0x18), true},
		{"-p tcp -m tcpmss --mss 1:65535", syn(), false},
		{"-p tcp -m tcpmss --mss 1:65535", syn(8, 200, 2, 4), false}, // broken options
		{`-p udp -m u32 --u32 "0>>22&0x3C@12&0xFFFFFF00=0x100100"`, vxlan, true},
		{`-p udp -m u32 --u32 "0>>22&0x3C@12&0xFFFFFF00=0x100000,0x100200:0x100300"`, vxlan, false},
		{`-p udp -m u32 --u32 "0>>28=4&&0>>24&0xf=5"`, vxlan, true},
		{`-p udp -m u32 ! --u32 "0>>28=6"`, vxlan, true},
		{`-p udp -m u32 --u32 "100=0"`, vxlan, false}, // behind the end
	}
	for _, tt := range tests {
		if got := runs(t, Filter, Forward, tt.rule, newEnv(), tt.p); got[0] != tt.want {
			t.Errorf("%s on TOS %#x, % x: matched %v, want %v", tt.rule, tt.p.TOS, tt.p.Bytes, got[0], tt.want)
		}
	}
}

func TestMatchHost(t *testing.T) {
	from := func(in, src string) *Packet {
		return with(tcp(src+":1", "10.0.0.2:80"), func(p *Packet) { p.In = in })
	}
	socket := func(on bool) *Packet { return with(from("", "10.0.0.1"), func(p *Packet) { p.Socket = on }) }
	tests := []struct {
		table Table
		hook  Hook
		rule  string
		p     *Packet
		want  bool
	}{
		{Raw, Prerouting, "-m rpfilter", from("eth0", "10.9.9.9"), true},
		{Raw, Prerouting, "-m rpfilter", from("eth1", "10.9.9.9"), false},
		{Raw, Prerouting, "-m rpfilter --loose", from("eth1", "10.9.9.9"), true},
		{Raw, Prerouting, "-m rpfilter --validmark --invert", from("eth1", "10.9.9.9"), true},
		{Raw, Prerouting, "-m rpfilter --loose", from("eth0", "192.168.56.11"), false},
		{Raw, Prerouting, "-m rpfilter --accept-local", from("eth0", "192.168.56.11"), true},
		{Filter, Forward, "-m mac --mac-source 02:42:ac:11:00:02", from("eth0", "10.9.9.9"), true},
		{Filter, Forward, "-m mac ! --mac-source 02:42:ac:11:00:02", from("eth0", "10.9.9.9"), false},
		{Filter, Forward, "-m mac ! --mac-source 02:42:ac:11:00:02", from("", "10.9.9.9"), false},
		{Filter, Output, "-m owner --uid-owner 0", socket(true), true},
		{Filter, Output, "-m owner --uid-owner 1000-2000", socket(true), false},
		{Filter, Output, "-m owner ! --gid-owner 5", socket(true), true},
		{Filter, Output, "-m owner --uid-owner 0", socket(false), false},
		{Filter, Output, "-m owner ! --uid-owner 0", socket(false), true},
		{Filter, Output, "-m owner --socket-exists", socket(true), true},
		{Filter, Output, "-m owner ! --socket-exists", socket(true), false},
		{Filter, Output, "-m owner ! --socket-exists", socket(false), true},
		{Filter, Forward, "-m policy --dir in --pol ipsec", socket(false), false},
		{Filter, Forward, "-m policy --dir in --pol none", socket(false), true},
		{Filter, Forward, "-m ipvs --ipvs", with(socket(false), func(p *Packet) { p.IPVS = true }), true},
		{Filter, Forward, "-m ipvs ! --ipvs", with(socket(false), func(p *Packet) { p.IPVS = true }), false},
	}
	for _, tt := range tests {
		if got := runs(t, tt.table, tt.hook, tt.rule, newEnv(), tt.p); got[0] != tt.want {
			t.Errorf("%s on %+v: matched %v, want %v", tt.rule, *tt.p, got[0], tt.want)
		}
	}
}

// Buckets are kept per key; a table that is named by two rules is one.
func TestHashlimit(t *testing.T) {
	env := newEnv()
	r := mustRestore(t, "*filter\n-A FORWARD -m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-srcmask 24 --hashlimit-name x -j ACCEPT\n-A FORWARD -j DROP\nCOMMIT\n")
	step := func(at time.Duration, src string, want Kind) {
		t.Helper()
		env.now = at
		if v := r.Run(Filter, Forward, tcp(src+":1", "10.9.0.1:80"), env); v.Kind != want {
			t.Errorf("%v from %s: %v, want %v", at, src, v.Kind, want)
		}
	}
	step(0, "10.0.0.1", Accept)
	step(0, "10.0.0.2", Accept) // the same /24
	step(0, "10.0.0.3", Drop)
	step(0, "10.0.1.1", Accept)
	step(999*time.Millisecond, "10.0.0.1", Drop)
	step(time.Second, "10.0.0.1", Accept)
	step(12*time.Second, "10.0.0.1", Accept)
	step(12*time.Second, "10.0.0.1", Accept)
	step(12*time.Second, "10.0.0.1", Drop)
	above := runs(t, Filter, Forward, "-m hashlimit --hashlimit-above 1/sec --hashlimit-burst 1 --hashlimit-name y", env,
		tcp("10.0.0.1:1", "10.9.0.1:80"), tcp("10.0.0.2:1", "10.9.0.1:80"))
	if above[0] || !above[1] {
		t.Errorf("above: matched %v, want false, true", above)
	}
}

func TestConnlimit(t *testing.T) {
	env := newEnv()
	env.dead = map[any]bool{}
	r := mustRestore(t, "*filter\n-A FORWARD -m connlimit --connlimit-above 2 --connlimit-mask 24 -j DROP\nCOMMIT\n")
	step := func(src, handle string, want Kind) {
		t.Helper()
		p := with(tcp(src+":1", "10.9.0.1:80"), func(p *Packet) { p.Conn = &fakeConn{handle: handle} })
		if v := r.Run(Filter, Forward, p, env); v.Kind != want {
			t.Errorf("%s of %s: %v, want %v", handle, src, v.Kind, want)
		}
	}
	step("10.0.0.1", "a", Accept)
	step("10.0.0.2", "b", Accept)
	step("10.0.0.1", "a", Accept) // known
	step("10.0.0.3", "c", Drop)
	step("10.0.1.1", "d", Accept)
	env.dead["a"], env.dead["c"] = true, true
	step("10.0.0.3", "e", Accept)
	step("10.0.0.3", "f", Drop)
}

// What targets leave in the packet for the caller to write.
func TestHeaderTargets(t *testing.T) {
	tests := []struct {
		rule     string
		tos, ttl uint8
	}{
		{"-j TTL --ttl-set 1", 0xb9, 1}, {"-j TTL --ttl-dec 4", 0xb9, 60}, {"-j TTL --ttl-dec 100", 0xb9, 0},
		{"-j TTL --ttl-inc 1", 0xb9, 65}, {"-j TTL --ttl-inc 255", 0xb9, 255},
		{"-j DSCP --set-dscp 10", 0x29, 64}, {"-j DSCP --set-dscp-class CS1", 0x21, 64},
		{"-j TOS --set-tos 0x10", 0x10, 64}, {"-j TOS --set-tos 0x10/0xf0", 0x19, 64},
		{"-j TOS --and-tos 0xf0", 0xb0, 64}, {"-j TOS --or-tos 6", 0xbf, 64}, {"-j TOS --xor-tos 0xff", 0x46, 64},
		{"-j CHECKSUM --checksum-fill", 0xb9, 64},
	}
	for _, tt := range tests {
		p := with(tcp("10.0.0.1:1", "10.0.0.2:80"), func(p *Packet) { p.TOS = 0xb9 })
		runs(t, Mangle, Forward, tt.rule, newEnv(), p)
		if p.TOS != tt.tos || p.TTL != tt.ttl {
			t.Errorf("%s: TOS %#x, TTL %d, want %#x, %d", tt.rule, p.TOS, p.TTL, tt.tos, tt.ttl)
		}
	}
}

func TestNetmapVerdict(t *testing.T) {
	r := mustRestore(t, "*nat\n-A PREROUTING -d 10.1.0.0/16 -j NETMAP --to 10.2.0.0/16\nCOMMIT\n")
	v := r.Run(NAT, Prerouting, tcp("10.9.0.1:1", "10.1.3.4:80"), newEnv())
	if v.Kind != Netmap || v.Range.Map(netip.MustParseAddr("10.1.3.4")) != netip.MustParseAddr("10.2.3.4") {
		t.Errorf("verdict %+v maps 10.1.3.4 to %v, want 10.2.3.4", v, v.Range.Map(netip.MustParseAddr("10.1.3.4")))
	}
	if got := v.String(); got != "nat PREROUTING: NETMAP to 10.2.0.0/16" {
		t.Errorf("explained as %q", got)
	}
}

func TestLogIsTold(t *testing.T) {
	r := mustRestore(t, "*filter\n-A FORWARD -j LOG --log-prefix \"no way: \"\n-A FORWARD -j NFLOG --nflog-group 2\nCOMMIT\n")
	var got []string
	r.Log = func(rule *Rule, p *Packet) { got = append(got, fmt.Sprintf("%s %v", rule.Explain(), p.Dst)) }
	r.Run(Filter, Forward, tcp("10.0.0.1:1", "10.0.0.2:80"), newEnv())
	want := []string{"filter FORWARD: LOG no way:  10.0.0.2", "filter FORWARD: NFLOG 10.0.0.2"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}
