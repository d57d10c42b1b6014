package conntrack

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// set writes a parameter of connection tracking in the namespace.
func (o *oracle) set(name, value string) {
	o.t.Helper()
	if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_"+name, []byte(value), 0); err != nil {
		o.t.Fatal(err)
	}
}

// TestKernelTCPHabits plays conversations with each of the parameters that change what TCP tracking accepts.
func TestKernelTCPHabits(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	rng := rand.New(rand.NewPCG(17, 18))
	const n = 12
	for i, tt := range []struct {
		name, value, standard string
		cfg                   Config
	}{
		{"tcp_loose", "0", "1", Config{Acct: true, TCPStrict: true}},
		{"tcp_be_liberal", "1", "0", Config{Acct: true, TCPLiberal: true}},
		{"tcp_ignore_invalid_rst", "1", "0", Config{Acct: true, TCPIgnoreInvalidRST: true}},
		{"tcp_max_retrans", "1", "3", Config{Acct: true, TCPMaxRetrans: 1}},
		{"tcp_timeout_unacknowledged", "77", "300", Config{Acct: true, Timeouts: Timeouts{TCPUnack: 77 * sec}}},
		{"tcp_timeout_max_retrans", "55", "300", Config{Acct: true, Timeouts: Timeouts{TCPMaxRetrans: 55 * sec}}},
	} {
		o.set(tt.name, tt.value)
		o.table.Configure(tt.cfg)
		states := o.playTCP(rng, uint16(2000+n*i), n)
		if len(states) < 3 {
			t.Errorf("%s=%s: states compared: %v, want three at least", tt.name, tt.value, states)
		}
		o.set(tt.name, tt.standard)
	}
}

// TestKernelTCPCorners plays the conversations that people ask about. A segment is the side it comes from (c or s), its
// flags, seq and ack; what follows is the state of the entry afterwards, "-" for none, with "dropped" for an Invalid one.
func TestKernelTCPCorners(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	o.set("tcp_timeout_unacknowledged", "77") // to be told from max_retrans
	o.table.Configure(Config{Acct: true, Timeouts: Timeouts{TCPUnack: 77 * sec}})
	const (
		open   = "c S 100 0:SYN_SENT, s SA 500 101:SYN_RECV, c A 101 501:ESTABLISHED, "
		closed = open + "c FA 101 501:FIN_WAIT, s A 501 102:CLOSE_WAIT, s FA 501 102:LAST_ACK, c A 102 502:TIME_WAIT, "
	)
	port := uint16(2000)
	for _, tt := range []struct{ name, segments string }{
		{"SYN-ACK without options after data the peer has no room for", "c S 100 0:SYN_SENT, s S 500 0:SYN_SENT2, c SA 101 501:SYN_RECV, c A 102 501:SYN_RECV, c SA 102 501:SYN_RECV, c A 103 501:ESTABLISHED"},
		{"simultaneous open", "c S 100 0:SYN_SENT, s S 500 0:SYN_SENT2, c SA 100 501:SYN_RECV, s SA 500 101:SYN_RECV, c A 101 501:ESTABLISHED"},
		{"simultaneous open, forgotten with a SYN that is ignored", "c S 100 0:SYN_SENT, s S 500 0:SYN_SENT2, c SA 100 501:SYN_RECV, c S 100 0:SYN_RECV, s A 501 101:SYN_RECV"},
		{"SYN in TIME_WAIT", closed + "c S 900 0:SYN_SENT, s SA 7000 901:SYN_RECV, c A 901 7001:ESTABLISHED"},
		{"SYN from the server in TIME_WAIT", closed + "s S 900 0:SYN_SENT"},
		{"RST in the window but not exact", open + "s R 600 0:ESTABLISHED, c A 101 501:ESTABLISHED"},
		{"exact RST", open + "s RA 501 101:CLOSE"},
		{"RST below the window", open + "s R 300 0:ESTABLISHED dropped"},
		{"RST beyond the window", open + "s R 9000000 0:ESTABLISHED dropped"},
		{"refused", "c S 100 0:SYN_SENT, s RA 0 101:-"},
		{"mid-stream pickup", "c A 100 500:ESTABLISHED, s PA 500 100:ESTABLISHED, s R 500 100:CLOSE"},
		{"mid-stream SYN-ACK", "c SA 100 500:- dropped"},
		{"mid-stream FIN", "c FA 100 500:- dropped"},
		{"SYN in a connection, challenged", open + "c S 9000 0:ESTABLISHED, s A 501 101:ESTABLISHED, c R 101 0:CLOSE"},
		{"half-open server", "c S 100 0:SYN_SENT, s A 800 900:SYN_SENT, c R 900 0:CLOSE"},
		{"flags that cannot be", "c SF 100 0:- dropped, c SR 100 0:- dropped, c A 100 500:ESTABLISHED"},
	} {
		port++
		o.log = []string{tt.name}
		for step := range strings.SplitSeq(tt.segments, ", ") {
			spec, want, _ := strings.Cut(step, ":")
			want, dropped := strings.CutSuffix(want, " dropped")
			var side, flags string
			var seq, ack uint32
			if _, err := fmt.Sscan(spec, &side, &flags, &seq, &ack); err != nil {
				t.Fatalf("%q: %v", spec, err)
			}
			var passed bool
			if side == "c" {
				passed = o.both("a0", tcp(kClient, port, kServer, 80, flags, seq, ack, ""))
			} else {
				passed = o.both("b0", tcp(kServer, 80, kClient, port, flags, seq, ack, ""))
			}
			o.compareEntries(fmt.Sprintf("sport=%d dport=80", port))
			got := "-"
			if e := o.flow(port); e != nil {
				got = e.ProtoState()
			}
			if got != want || passed == dropped {
				t.Errorf("%s: after %q: state %s, passed %v; want %s, %v", tt.name, spec, got, passed, want, !dropped)
			}
		}
	}
}

// flow returns the entry of the conversation at port, in either direction, or nil.
func (o *oracle) flow(port uint16) *Entry {
	e, _ := o.table.Lookup(time.Since(o.start), Tuple{kClient, kServer, port, 80, protoTCP})
	return e
}

// sourcePorts sends a packet through table and kernel and returns the source ports it has afterwards, 0 if it was dropped.
func (o *oracle) sourcePorts(pkt []byte, r Range) (ours, theirs uint16) {
	o.t.Helper()
	mine := append([]byte(nil), pkt...)
	_, ok := pass(o.t, o.table, time.Since(o.start), mine, rules{src: r})
	if ok {
		ours = binary.BigEndian.Uint16(mine[20:])
	}
	if out := o.send("a0", pkt, ok); out != nil {
		theirs = binary.BigEndian.Uint16(out[20:])
	}
	return ours, theirs
}

// TestKernelSourcePorts compares where source ports come from: which are kept, the class of those that are not, and that
// one flow too many for a range is dropped. Which of the ports of a class is chance.
func TestKernelSourcePorts(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	gw := kGateway.String()
	for _, rule := range []string{
		"-p udp --dport 7001 -j SNAT --random --to-source " + gw,
		"-p udp --dport 7002 -j SNAT --random-fully --to-source " + gw,
		"-p udp --dport 7003 -j MASQUERADE --random-fully",
		"-p udp --dport 7004 -j SNAT --to-source " + gw,
		"-p udp --dport 7005 -j SNAT --to-source " + gw + ":5000-5003",
		"-p tcp --dport 7005 -j SNAT --to-source " + gw + ":5000-5003",
		"-p udp --dport 7006 -j SNAT --random-fully --to-source " + gw + ":5000-5003",
	} {
		o.iptables("-t nat -I POSTROUTING " + rule)
	}
	within := func(what string, ours, theirs, low, high uint16) {
		t.Helper()
		if ours < low || ours > high || theirs < low || theirs > high {
			t.Errorf("%s: table %d, kernel %d, want %d to %d", what, ours, theirs, low, high)
		}
	}
	classes := []struct{ port, low, high uint16 }{{1, 1, 511}, {511, 1, 511}, {512, 600, 1023}, {1023, 600, 1023}, {1024, 1024, 65535}, {65535, 1024, 65535}}
	plain := Range{MinAddr: kGateway}
	for _, c := range classes {
		ours, theirs := o.sourcePorts(udp(kClient, c.port, kServer, 7004, ""), plain)
		within("the first to use a port", ours, theirs, c.port, c.port)
		ours, theirs = o.sourcePorts(udp(kHidden, c.port, kServer, 7004, ""), plain)
		within("the second to use a port", ours, theirs, c.low, c.high)
		if ours == c.port || theirs == c.port {
			t.Errorf("port %d: table %d, kernel %d, want another one", c.port, ours, theirs)
		}
	}
	for dport, r := range map[uint16]Range{
		7001: {MinAddr: kGateway, Random: true},
		7002: {MinAddr: kGateway, RandomFully: true},
		7003: {MinAddr: kGateway, RandomFully: true},
	} {
		kept := [2]int{}
		for _, c := range classes {
			ours, theirs := o.sourcePorts(udp(kClient, c.port, kServer, dport, ""), r)
			within(fmt.Sprintf("port %d to %d", c.port, dport), ours, theirs, c.low, c.high)
			for i, p := range []uint16{ours, theirs} {
				if p == c.port {
					kept[i]++
				}
			}
		}
		if kept[0] > 1 || kept[1] > 1 {
			t.Errorf("to %d: table kept %d, kernel %d of %d ports, want random ones", dport, kept[0], kept[1], len(classes))
		}
	}
	four := Range{MinAddr: kGateway, MinPort: 5000, MaxPort: 5003}
	random := four
	random.RandomFully = true
	before := o.table.Stats().NATExhausted
	o.exhaust("UDP", four, func(sport uint16) []byte { return udp(kClient, sport, kServer, 7005, "") })
	o.exhaust("TCP", four, func(sport uint16) []byte { return tcp(kClient, sport, kServer, 7005, "S", 1, 0, "") })
	o.exhaust("random", random, func(sport uint16) []byte { return udp(kClient, sport, kServer, 7006, "") })
	if got := o.table.Stats().NATExhausted - before; got != 6 {
		t.Errorf("flows without a port: counted %d, want 6", got)
	}
}

// exhaust starts six flows that have four ports.
func (o *oracle) exhaust(what string, r Range, pkt func(sport uint16) []byte) {
	o.t.Helper()
	var used [2]map[uint16]bool
	used[0], used[1] = map[uint16]bool{}, map[uint16]bool{}
	for i := range uint16(6) {
		ours, theirs := o.sourcePorts(pkt(9000+i), r)
		for side, p := range []uint16{ours, theirs} {
			if i < 4 {
				used[side][p] = p >= r.MinPort && p <= r.MaxPort
			} else if p != 0 {
				o.t.Errorf("%s: flow %d got port %d (table %d, kernel %d), want it dropped", what, i, p, ours, theirs)
			}
		}
	}
	for side, name := range []string{"table", "kernel"} {
		if len(used[side]) != 4 || used[side][0] {
			o.t.Errorf("%s: the %s used ports %v, want each of four", what, name, used[side])
		}
	}
}

// TestKernelHairpin: a client speaks to a service and is its endpoint: the packet comes back to where it came from, with
// the router's address as source, and so do the answer and an error about it.
func TestKernelHairpin(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	o := newOracle(t)
	service, local := netip.MustParseAddr("10.96.0.77"), netip.MustParseAddr("10.1.255.254")
	o.iptables("-t nat -I PREROUTING -d 10.96.0.77 -p udp --dport 53 -j DNAT --to-destination 10.1.0.3:5353")
	o.iptables("-t nat -I POSTROUTING -s 10.1.0.3 -d 10.1.0.3 -j MASQUERADE")
	hairpin := func(pkt []byte) rules { return rules{dst: to(kClient, 5353), src: to(local, 0)} }
	request := udp(kClient, 4000, service, 53, "question")
	if !o.bothBetween("a0", "a0", request, hairpin) {
		t.Error("the request was dropped")
	}
	seen := udp(local, 4000, kClient, 5353, "question")
	for _, pkt := range [][]byte{
		udp(kClient, 5353, local, 4000, "answer"),
		icmpError(kClient, local, 3, 3, seen, len(seen)),
		icmpError(kClient, service, 3, 3, udp(service, 53, kClient, 4000, "answer"), 34),
		request,
	} {
		if !o.bothBetween("a0", "a0", pkt, hairpin) {
			t.Errorf("%s was dropped", decode(pkt))
		}
	}
	o.compareEntries("dst=10.96.0.77")
}
