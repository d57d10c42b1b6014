package netfilter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeEnv is a host with a clock that tests move and a list of its own addresses.
type fakeEnv struct {
	now   time.Duration
	rng   *rand.Rand
	draws []uint32 // used up before rng
	local map[netip.Addr]string
	dead  map[any]bool // connections by handle
}

// fakeConn is a connection from 10.244.1.2:40000 to 10.96.0.10:80 that became 10.244.2.2:8080.
type fakeConn struct {
	reply, seen, assured, confirmed bool
	left                            time.Duration
	handle                          any
}

func (c *fakeConn) Tuples() (original, reply Tuple) {
	a := netip.MustParseAddr
	return Tuple{a("10.244.1.2"), a("10.96.0.10"), 40000, 80, protoTCP}, Tuple{a("10.244.2.2"), a("10.244.1.2"), 8080, 40000, protoTCP}
}
func (c *fakeConn) Reply() bool         { return c.reply }
func (c *fakeConn) Seen() bool          { return c.seen }
func (c *fakeConn) Assured() bool       { return c.assured }
func (c *fakeConn) Confirmed() bool     { return c.confirmed }
func (c *fakeConn) Left() time.Duration { return c.left }
func (c *fakeConn) Handle() any         { return c.handle }

func (e *fakeEnv) AddrType(a netip.Addr, dev string) AddrType {
	on, ok := e.local[a]
	switch {
	case ok && (dev == "" || dev == on), a.IsLoopback():
		return TypeLocal
	case a.IsMulticast():
		return TypeMulticast
	}
	return TypeUnicast
}

func (e *fakeEnv) ReversePath(p *Packet, loose, acceptLocal bool) bool {
	if _, local := e.local[p.Src]; local {
		return acceptLocal
	}
	return loose || p.In == "eth0"
}

func (e *fakeEnv) SourceMAC(p *Packet) ([6]byte, bool) {
	return [6]byte{2, 0x42, 0xac, 0x11, 0, 2}, p.In != ""
}

func (e *fakeEnv) Alive(handle any) bool { return !e.dead[handle] }

func (e *fakeEnv) Now() time.Duration { return e.now }

func (e *fakeEnv) Uint32() uint32 {
	if len(e.draws) > 0 {
		v := e.draws[0]
		e.draws = e.draws[1:]
		return v
	}
	return e.rng.Uint32()
}

func newEnv() *fakeEnv {
	return &fakeEnv{rng: rand.New(rand.NewPCG(1, 2)), local: map[netip.Addr]string{
		netip.MustParseAddr("192.168.56.11"): "eth0", netip.MustParseAddr("10.244.1.1"): "cni0",
	}}
}

// tcp makes the first packet of a TCP connection.
func tcp(src, dst string) *Packet {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return &Packet{Src: s.Addr(), Dst: d.Addr(), SrcPort: s.Port(), DstPort: d.Port(), Proto: protoTCP, TCPFlags: 0x02,
		Length: 60, TTL: 64, State: StateNew}
}

// with changes a packet; it keeps table rows short.
func with(p *Packet, f func(*Packet)) *Packet {
	f(p)
	return p
}

// TestMatch gives one packet to one rule and asks whether the rule matched.
func TestMatch(t *testing.T) {
	syn := func() *Packet { return tcp("10.244.1.2:40000", "10.96.0.10:80") }
	icmp := func(typ, code uint8) *Packet {
		return with(syn(), func(p *Packet) { p.Proto, p.ICMPType, p.ICMPCode = protoICMP, typ, code })
	}
	frag := func() *Packet { return with(syn(), func(p *Packet) { p.Fragment, p.SrcPort, p.DstPort = true, 0, 0 }) }
	marked := func(mark, conn uint32) *Packet {
		return with(syn(), func(p *Packet) { p.Mark, p.ConnMark = mark, &conn })
	}
	state := func(s CTState, st CTStatus) *Packet {
		return with(syn(), func(p *Packet) { p.State, p.Status = s, st })
	}
	bridged := func(in, out string) *Packet { return with(syn(), func(p *Packet) { p.PhysIn, p.PhysOut = in, out }) }
	on := func(in, out string) *Packet { return with(syn(), func(p *Packet) { p.In, p.Out = in, out }) }
	tests := []struct {
		rule string
		p    *Packet
		want bool
	}{
		{"", syn(), true},
		{"-s 10.244.0.0/16", syn(), true},
		{"! -s 10.244.0.0/16", syn(), false},
		{"-s 10.245.0.0/16", syn(), false},
		{"-s 10.0.1.0/255.0.255.0", syn(), true},
		{"-s 10.0.2.0/255.0.255.0", syn(), false},
		{"-d 10.96.0.10", syn(), true},
		{"-d 10.96.0.11", syn(), false},
		{"! -d 224.0.0.0/4", syn(), true},
		{"-i eth0", on("eth0", ""), true},
		{"-i eth", on("eth0", ""), false},
		{"-i eth+", on("eth0", ""), true},
		{"! -i eth+", on("eth0", ""), false},
		{"! -i +", on("eth0", ""), false},
		{"! -o docker0", on("docker0", "eth0"), true},
		{"! -o docker0", on("eth0", "docker0"), false},
		{"-p tcp", syn(), true},
		{"-p udp", syn(), false},
		{"! -p udp", syn(), true},
		{"! -p tcp", syn(), false},
		{"-p 6", syn(), true},
		{"-f", syn(), false},
		{"-f", frag(), true},
		{"! -f", frag(), false},
		{"-p tcp --dport 80", syn(), true},
		{"-p tcp --dport 81", syn(), false},
		{"-p tcp ! --dport 81", syn(), true},
		{"-p tcp --dport 79:81", syn(), true},
		{"-p tcp ! --dport 79:81", syn(), false},
		{"-p tcp ! --dport 0:79", syn(), true},
		{"-p tcp ! --dport 0:80", syn(), false},
		{"-p tcp --sport 40000 --dport 80", syn(), true},
		{"-p tcp --sport 40001 --dport 80", syn(), false},
		{"-p tcp ! --dport 81", frag(), false}, // ports of a fragment are unknown, even inverted
		{"-p tcp -m tcp", frag(), false},
		{"-p udp --dport 80", syn(), false},
		{"-p tcp --syn", syn(), true},
		{"-p tcp --syn", with(syn(), func(p *Packet) { p.TCPFlags = 0x12 }), false},
		{"-p tcp ! --syn", with(syn(), func(p *Packet) { p.TCPFlags = 0x12 }), true},
		{"-p tcp --tcp-flags SYN,ACK SYN", with(syn(), func(p *Packet) { p.TCPFlags = 0x0a }), true},
		{"-p tcp --tcp-flags ALL SYN", with(syn(), func(p *Packet) { p.TCPFlags = 0x0a }), false},
		{"-p tcp --tcp-flags ALL NONE", with(syn(), func(p *Packet) { p.TCPFlags = 0 }), true},
		{"-p icmp --icmp-type echo-request", icmp(8, 0), true},
		{"-p icmp --icmp-type echo-request", icmp(0, 0), false},
		{"-p icmp --icmp-type 3/4", icmp(3, 4), true},
		{"-p icmp --icmp-type 3/4", icmp(3, 3), false},
		{"-p icmp --icmp-type 3", icmp(3, 3), true},
		{"-p icmp ! --icmp-type 3", icmp(8, 0), true},
		{"-p icmp --icmp-type any", icmp(13, 0), true},
		{"-p tcp -m multiport --dports 22,80", syn(), true},
		{"-p tcp -m multiport --sports 22,80", syn(), false},
		{"-p tcp -m multiport --ports 22,80", syn(), true},
		{"-p tcp -m multiport --dports 22,79:81", syn(), true},
		{"-p tcp -m multiport ! --dports 22,79:81", syn(), false},
		{"-p tcp -m multiport ! --dports 22", frag(), false},
		{"-m mark --mark 0x4000/0x4000", marked(0x4001, 0), true},
		{"-m mark --mark 0x4000", marked(0x4001, 0), false},
		{"-m mark ! --mark 0x4000/0x4000", marked(1, 0), true},
		{"-m connmark --mark 7", marked(0, 7), true},
		{"-m connmark ! --mark 7", syn(), false}, // there is no connection
		{"-m conntrack --ctstate NEW", syn(), true},
		{"-m conntrack --ctstate RELATED,ESTABLISHED", syn(), false},
		{"-m conntrack --ctstate RELATED,ESTABLISHED", state(StateRelated, 0), true},
		{"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", state(StateNew, StatusDNAT), false},
		{"-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT", state(StateNew, StatusSNAT), true},
		{"-m conntrack --ctstate SNAT", state(StateEstablished, StatusSNAT|StatusDNAT), true},
		{"-m conntrack --ctstate INVALID", state(StateInvalid, 0), true},
		{"-m conntrack --ctstate INVALID", state(StateUntracked, 0), false},
		{"-m state --state UNTRACKED", state(StateUntracked, 0), true},
		{"-m addrtype --dst-type LOCAL", syn(), false},
		{"-m addrtype --dst-type LOCAL", tcp("1.1.1.1:1", "192.168.56.11:30001"), true},
		{"-m addrtype ! --src-type LOCAL --dst-type LOCAL", tcp("1.1.1.1:1", "127.0.0.1:30001"), true},
		{"-m addrtype --src-type UNICAST,LOCAL", syn(), true},
		{"-m addrtype --dst-type LOCAL --limit-iface-in", with(tcp("1.1.1.1:1", "192.168.56.11:1"), func(p *Packet) { p.In = "eth0" }), true},
		{"-m addrtype --dst-type LOCAL --limit-iface-in", with(tcp("1.1.1.1:1", "192.168.56.11:1"), func(p *Packet) { p.In = "cni0" }), false},
		{"-m iprange --src-range 10.244.1.1-10.244.1.9", syn(), true},
		{"-m iprange --src-range 10.244.1.3-10.244.1.9", syn(), false},
		{"-m iprange ! --src-range 10.244.1.3-10.244.1.9 --dst-range 10.96.0.10", syn(), true},
		{"-m length --length 60", syn(), true},
		{"-m length ! --length 61:", syn(), true},
		{"-m pkttype --pkt-type broadcast", with(syn(), func(p *Packet) { p.LinkType = PktBroadcast }), true},
		{"-m pkttype ! --pkt-type unicast", syn(), false},
		{"-m ttl --ttl-lt 2", syn(), false},
		{"-m ttl --ttl-gt 63", syn(), true},
		{"-m ttl ! --ttl-eq 64", syn(), false},
		{"-m physdev --physdev-in veth+", bridged("veth1a", ""), true},
		{"-m physdev --physdev-in veth+", syn(), false},
		{"-m physdev ! --physdev-in veth+", syn(), true},
		{"-m physdev ! --physdev-in veth+", bridged("eth0", ""), true},
		{"-m physdev --physdev-is-in", bridged("veth1a", ""), true},
		{"-m physdev --physdev-is-bridged", bridged("veth1a", ""), false},
		{"-m physdev --physdev-is-bridged", bridged("veth1a", "veth1b"), true},
		{"-m physdev ! --physdev-is-bridged", syn(), true},
		{"-m physdev --physdev-out veth1b", bridged("veth1a", "veth1b"), true},
		{"-m physdev ! --physdev-out veth1b", bridged("veth1a", ""), false}, // the port is not known yet
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			r := mustRestore(t, "*mangle\n:M - [0:0]\n-A FORWARD -j M\n-A M "+tt.rule+" -j DROP\nCOMMIT\n")
			v := r.Run(Mangle, Forward, tt.p, newEnv())
			if got := v.Kind == Drop; got != tt.want {
				t.Errorf("%q on %+v: matched %v, want %v", tt.rule, *tt.p, got, tt.want)
			}
		})
	}
}

// TestFlow is about where the walk goes: jumps, goto, RETURN, policies.
func TestFlow(t *testing.T) {
	tests := []struct {
		name  string
		rules string
		want  string // the verdict
		trace string // the rules that matched, as chain and target
	}{
		{"policy", ":FORWARD DROP [0:0]", "filter FORWARD: policy DROP", ""},
		{"first match decides", "-A FORWARD -j ACCEPT\n-A FORWARD -j DROP", "filter FORWARD: ACCEPT", "FORWARD>ACCEPT"},
		{"no target goes on", "-A FORWARD\n-A FORWARD -j DROP", "filter FORWARD: DROP", "FORWARD> FORWARD>DROP"},
		{"jump comes back", ":A -\n-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -j MARK --set-mark 1",
			"filter FORWARD: DROP", "FORWARD>A A>MARK FORWARD>DROP"},
		{"RETURN comes back", ":A -\n-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -j RETURN\n-A A -j ACCEPT",
			"filter FORWARD: DROP", "FORWARD>A A>RETURN FORWARD>DROP"},
		{"RETURN in a built-in chain is the policy", ":FORWARD DROP [0:0]\n-A FORWARD -j RETURN\n-A FORWARD -j ACCEPT",
			"filter FORWARD: policy DROP", "FORWARD>RETURN"},
		{"goto does not come back", ":FORWARD DROP [0:0]\n:A -\n-A FORWARD -g A\n-A FORWARD -j ACCEPT\n-A A -j RETURN",
			"filter FORWARD: policy DROP", "FORWARD>A A>RETURN"},
		{"goto returns to the caller's caller", ":A -\n:B -\n-A FORWARD -j A\n-A FORWARD -j DROP\n-A A -g B\n-A A -j ACCEPT\n-A B -j MARK --set-mark 1",
			"filter FORWARD: DROP", "FORWARD>A A>B B>MARK FORWARD>DROP"},
		{"nested", ":A -\n:B -\n-A FORWARD -j A\n-A A -j B\n-A A -j DROP\n-A B -s 9.9.9.9 -j ACCEPT",
			"filter A: DROP", "FORWARD>A A>B A>DROP"},
		{"marks are seen by later rules", "-A FORWARD -j MARK --set-mark 5\n-A FORWARD -m mark --mark 5 -j REJECT",
			"filter FORWARD: REJECT with icmp-port-unreachable", "FORWARD>MARK FORWARD>REJECT"},
		{"LOG counts and goes on", "-A FORWARD -j LOG --log-prefix x\n-A FORWARD -j DROP",
			"filter FORWARD: DROP", "FORWARD>LOG FORWARD>DROP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustRestore(t, "*filter\n"+tt.rules+"\nCOMMIT\n")
			var trace []string
			r.Trace = func(rule *Rule) { trace = append(trace, rule.Chain()+">"+rule.Target()) }
			v := r.Run(Filter, Forward, tcp("10.0.0.1:1", "10.0.0.2:80"), newEnv())
			if got := v.String(); got != tt.want {
				t.Errorf("verdict %q, want %q", got, tt.want)
			}
			if got := strings.Join(trace, " "); got != tt.trace {
				t.Errorf("matched %q, want %q", got, tt.trace)
			}
		})
	}
}

func TestDeepestNestingRuns(t *testing.T) {
	var b strings.Builder
	b.WriteString("*filter\n")
	name := func(i int) string { return "C" + string(rune('a'+i)) }
	for i := range maxDepth {
		b.WriteString(":" + name(i) + " -\n")
	}
	b.WriteString("-A INPUT -j " + name(0) + "\n")
	for i := range maxDepth - 1 {
		b.WriteString("-A " + name(i) + " -j " + name(i+1) + "\n")
	}
	b.WriteString("-A " + name(maxDepth-1) + " -s 9.9.9.9 -j DROP\nCOMMIT\n")
	r := mustRestore(t, b.String())
	if v := r.Run(Filter, Input, tcp("10.0.0.1:1", "10.0.0.2:80"), newEnv()); v.Kind != Accept {
		t.Errorf("verdict %v, want ACCEPT", v)
	}
	if v := r.Run(Filter, Input, tcp("9.9.9.9:1", "10.0.0.2:80"), newEnv()); v.Kind != Drop {
		t.Errorf("verdict %v, want DROP", v)
	}
	deeper := ":Z -\n-A " + name(maxDepth-1) + " -j Z\n"
	if err := r.Restore("*filter\n"+deeper+"COMMIT\n", RestoreOptions{NoFlush: true}); err == nil {
		t.Errorf("%d nested chains were taken, want an error", maxDepth+1)
	}
}

// TestNestingAcrossLayers reaches a deep tree of shared chains by one more jump than is allowed.
func TestNestingAcrossLayers(t *testing.T) {
	var b strings.Builder
	b.WriteString("*filter\n")
	for i := range maxDepth {
		fmt.Fprintf(&b, ":C%d -\n-A C%d -j C%d\n", i, i, i+1)
	}
	fmt.Fprintf(&b, ":C%d -\nCOMMIT\n", maxDepth)
	r := mustRestore(t, b.String())
	if err := r.Exec("-A INPUT -j C1"); err != nil {
		t.Errorf("%d chains: %v", maxDepth, err)
	}
	before := r.Save()
	if err := r.Exec("-A OUTPUT -j C0"); !errors.Is(err, ErrLoop) {
		t.Errorf("%d chains: %v, want ErrLoop", maxDepth+1, err)
	}
	if got := r.Save(); got != before {
		t.Errorf("the refused rule is there:\n%s", got)
	}
}

func TestCounters(t *testing.T) {
	r := mustRestore(t, "*filter\n:FORWARD DROP [0:0]\n:A -\n-A FORWARD -p tcp -j A\n-A A -p tcp --dport 80 -j ACCEPT\nCOMMIT\n")
	env := newEnv()
	for _, dst := range []string{"1.1.1.1:80", "1.1.1.1:81", "1.1.1.1:80"} {
		r.Run(Filter, Forward, tcp("10.0.0.1:1", dst), env)
	}
	want := `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [1:60]
:OUTPUT ACCEPT [0:0]
:A - [0:0]
[3:180] -A FORWARD -p tcp -j A
[2:120] -A A -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
`
	if got := r.SaveCounters(); got != want {
		t.Errorf("SaveCounters:\n%s\nwant\n%s", got, want)
	}
	if err := r.Exec("-I A -s 9.9.9.9 -j DROP"); err != nil {
		t.Fatal(err)
	}
	want = strings.Replace(want, "[2:120]", "[0:0] -A A -s 9.9.9.9/32 -j DROP\n[2:120]", 1)
	if got := r.SaveCounters(); got != want {
		t.Errorf("after an insertion:\n%s\nwant\n%s", got, want)
	}
	again := New()
	if err := again.Restore(want, RestoreOptions{Counters: true}); err != nil {
		t.Fatal(err)
	}
	if got := again.SaveCounters(); got != want {
		t.Errorf("restored with counters:\n%s\nwant\n%s", got, want)
	}
	if err := r.Exec("-Z"); err != nil {
		t.Fatal(err)
	}
	if got := r.SaveCounters(); strings.Contains(got, "60]") || strings.Contains(got, "180]") || strings.Contains(got, "120]") {
		t.Errorf("after -Z:\n%s", got)
	}
}

func TestTargetsThatChangeThePacket(t *testing.T) {
	conn := uint32(0xf0)
	tests := []struct {
		target string
		check  func(*Packet) bool
	}{
		{"MARK --set-mark 0x10", func(p *Packet) bool { return p.Mark == 0x10 }},
		{"MARK --set-mark 0x10/0xff00", func(p *Packet) bool { return p.Mark == 0x1f&^0x10|0x10 }},
		{"MARK --set-xmark 0x1/0xf", func(p *Packet) bool { return p.Mark == 0x11 }},
		{"MARK --or-mark 0x4000", func(p *Packet) bool { return p.Mark == 0x401f }},
		{"MARK --and-mark 0x3", func(p *Packet) bool { return p.Mark == 0x3 }},
		{"MARK --xor-mark 0x11", func(p *Packet) bool { return p.Mark == 0x0e }},
		{"CONNMARK --save-mark", func(p *Packet) bool { return *p.ConnMark == 0x1f }},
		{"CONNMARK --save-mark --mask 0xf", func(p *Packet) bool { return *p.ConnMark == 0xff }},
		{"CONNMARK --restore-mark", func(p *Packet) bool { return p.Mark == 0xf0 }},
		{"CONNMARK --restore-mark --nfmask 0xf --ctmask 0x30", func(p *Packet) bool { return p.Mark == 0x10^0x30 }},
		{"CONNMARK --set-mark 3", func(p *Packet) bool { return *p.ConnMark == 3 }},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			r := mustRestore(t, "*mangle\n-A FORWARD -j "+tt.target+"\nCOMMIT\n")
			p := tcp("10.0.0.1:1", "10.0.0.2:2")
			c := conn
			p.Mark, p.ConnMark = 0x1f, &c
			if v := r.Run(Mangle, Forward, p, newEnv()); v.Kind != Accept || !tt.check(p) {
				t.Errorf("verdict %v, mark %#x, connection mark %#x", v, p.Mark, c)
			}
		})
	}
	r := mustRestore(t, "*raw\n-A PREROUTING -p udp -j CT --notrack\n-A PREROUTING -p tcp -j NOTRACK\nCOMMIT\n*mangle\n"+
		"-A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu\n-A OUTPUT -p tcp --syn -j TCPMSS --set-mss 1300\nCOMMIT\n")
	p := tcp("10.0.0.1:1", "10.0.0.2:2")
	if r.Run(Raw, Prerouting, p, newEnv()); p.State != StateUntracked {
		t.Errorf("NOTRACK left the state %v", p.State)
	}
	if r.Run(Mangle, Forward, p, newEnv()); p.MSS != (MSSAction{Clamp: true}) {
		t.Errorf("TCPMSS asks for %+v", p.MSS)
	}
	if r.Run(Mangle, Output, p, newEnv()); p.MSS != (MSSAction{Set: 1300}) {
		t.Errorf("TCPMSS asks for %+v", p.MSS)
	}
}

func TestNATVerdicts(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
	tests := []struct {
		rule string
		h    Hook
		kind Kind
		want Range
		text string
	}{
		{"-j DNAT --to-destination 10.0.0.1:8080", Prerouting, DNAT, Range{MinAddr: a, MaxAddr: a, MinPort: 8080, MaxPort: 8080, Ports: true}, "DNAT to 10.0.0.1:8080"},
		{"-j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90/5000 --random --persistent", Output, DNAT,
			Range{MinAddr: a, MaxAddr: b, MinPort: 80, MaxPort: 90, Ports: true, Base: 5000, HasBase: true, Random: true, Persistent: true}, "DNAT to 10.0.0.1-10.0.0.9:80-90/5000"},
		{"-j DNAT --to-destination :80", Prerouting, DNAT, Range{MinPort: 80, MaxPort: 80, Ports: true}, "DNAT to :80"},
		{"-j SNAT --to-source 10.0.0.1 --random-fully", Postrouting, SNAT, Range{MinAddr: a, MaxAddr: a, RandomFully: true}, "SNAT to 10.0.0.1"},
		{"-j MASQUERADE --random-fully", Postrouting, Masquerade, Range{RandomFully: true}, "MASQUERADE"},
		{"-j MASQUERADE --to-ports 1000-2000", Postrouting, Masquerade, Range{MinPort: 1000, MaxPort: 2000, Ports: true}, "MASQUERADE to ports 1000-2000"},
		{"-j REDIRECT --to-ports 15001", Output, Redirect, Range{MinPort: 15001, MaxPort: 15001, Ports: true}, "REDIRECT to ports 15001"},
	}
	for _, tt := range tests {
		r := mustRestore(t, "*nat\n-A "+tt.h.String()+" -p tcp "+tt.rule+"\nCOMMIT\n")
		v := r.Run(NAT, tt.h, tcp("1.1.1.1:1", "2.2.2.2:2"), newEnv())
		if v.Kind != tt.kind || v.Range != tt.want || v.Rule == nil || v.Chain != tt.h.String() {
			t.Errorf("%s: got %+v, want %v %+v", tt.rule, v, tt.kind, tt.want)
		}
		if got, want := v.String(), "nat "+tt.h.String()+": "+tt.text; got != want {
			t.Errorf("explained as %q, want %q", got, want)
		}
	}
	r := mustRestore(t, "*filter\n-A INPUT -j REJECT\n-A OUTPUT -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n")
	v := r.Run(Filter, Input, tcp("1.1.1.1:1", "2.2.2.2:2"), newEnv())
	if code, ok := v.Reject.ICMPCode(); v.Kind != Reject || code != 3 || !ok {
		t.Errorf("REJECT gives %+v, want ICMP code 3", v)
	}
	if v = r.Run(Filter, Output, tcp("1.1.1.1:1", "2.2.2.2:2"), newEnv()); v.Reject != RejectTCPReset {
		t.Errorf("REJECT gives %+v, want a reset", v)
	}
}

// TestServiceThroughTheChains follows a new connection to a service through the rules of a real node.
func TestServiceThroughTheChains(t *testing.T) {
	tests := []struct {
		name string
		p    *Packet
		draw []uint32 // what the load balancer draws
		want string
		mark uint32
	}{
		{"first endpoint", tcp("10.244.1.9:4000", "10.96.0.101:80"), []uint32{0}, "nat KUBE-SEP-IT2ZTR26TO4XFPTO: DNAT to 10.244.1.3:8080", 0},
		{"second endpoint", tcp("10.244.1.9:4000", "10.96.0.101:80"), []uint32{0x7fffffff, 0}, "nat KUBE-SEP-2GDW6U3FRF7HVZQA: DNAT to 10.244.2.2:8080", 0},
		{"last endpoint", tcp("10.244.1.9:4000", "10.96.0.101:80"), []uint32{0x7fffffff, 0x7fffffff}, "nat KUBE-SEP-ZP3FB6NMPNCO4VBJ: DNAT to 10.244.2.3:8080", 0},
		{"hairpin is masqueraded", tcp("10.244.1.3:4000", "10.96.0.101:80"), []uint32{0}, "nat KUBE-SEP-IT2ZTR26TO4XFPTO: DNAT to 10.244.1.3:8080", 0x4000},
		{"from outside is masqueraded", tcp("192.168.56.13:4000", "10.96.0.101:80"), []uint32{0}, "nat KUBE-SEP-IT2ZTR26TO4XFPTO: DNAT to 10.244.1.3:8080", 0x4000},
		{"node port", tcp("192.168.56.13:4000", "192.168.56.11:30001"), []uint32{0}, "nat KUBE-SEP-IT2ZTR26TO4XFPTO: DNAT to 10.244.1.3:8080", 0x4000},
		{"node port of a Local service keeps the client", tcp("192.168.56.13:4000", "192.168.56.11:30002"), nil, "nat KUBE-SEP-N4G2XR5TDX7PQE7P: DNAT to 10.244.1.4:9000", 0},
		{"container port", tcp("192.168.56.13:4000", "192.168.56.11:5000"), nil, "nat DOCKER: DNAT to 172.17.0.2:5000", 0},
		{"not a service", tcp("10.244.1.9:4000", "10.96.0.101:81"), nil, "nat PREROUTING: policy ACCEPT", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustRestore(t, readFixture(t, "node.rules"))
			env := newEnv()
			env.draws = slices.Clone(tt.draw)
			v := r.Run(NAT, Prerouting, tt.p, env)
			if v.String() != tt.want || tt.p.Mark != tt.mark {
				t.Errorf("got %q with mark %#x, want %q with %#x", v, tt.p.Mark, tt.want, tt.mark)
			}
			if len(env.draws) != 0 {
				t.Errorf("%d random numbers were not drawn", len(env.draws))
			}
		})
	}
}

func TestEmptyAndTables(t *testing.T) {
	r := New()
	for h := range numHooks {
		for _, tab := range Tables(h) {
			if !r.Empty(tab, h) {
				t.Errorf("a new ruleset is not empty at %v %v", tab, h)
			}
			if v := r.Run(tab, h, tcp("1.1.1.1:1", "2.2.2.2:2"), nil); v.Kind != Accept {
				t.Errorf("a new ruleset says %v", v)
			}
		}
	}
	if err := r.Exec("-P FORWARD DROP"); err != nil {
		t.Fatal(err)
	}
	if r.Empty(Filter, Forward) || !r.Empty(Filter, Input) || !r.Empty(Raw, Forward) {
		t.Error("after -P FORWARD DROP only filter FORWARD should not be empty")
	}
	want := []Table{Raw, Mangle, NAT, Filter}
	if got := Tables(Output); !slices.Equal(got, want) {
		t.Errorf("tables at OUTPUT: %v, want %v", got, want)
	}
}
