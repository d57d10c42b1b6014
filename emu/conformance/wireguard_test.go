package conformance

import (
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// wgPing is `ping -c 1` from p1a on node1 to p2a on node2, over WireGuard that
// has never been used, and the messages of it on node1's cable.
func wgPing(t *testing.T, then func(lab *emutest.Lab, p1a *emutest.Pod)) (s *scene, wg frames) {
	t.Helper()
	s = record(t, withDesign("flannel-wireguard"), func(t *testing.T, lab *emutest.Lab) {
		p1a := lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		if r, err := p1a.Machine.Ping("p2a", time.Second); err != nil || r.Err() != nil || r.TTL != 62 {
			t.Fatalf("ping = %+v, %v, want an answer with TTL 62", r, err)
		}
		if then != nil {
			then(lab, p1a)
		}
	})
	return s, s.on("node1/eth0").having("wg.type").some(t, "WireGuard on the cable")
}

// FW1: the first ping after idle causes a handshake, initiation and response,
// and follows it; 84 bytes are padded to 96 and get 32 bytes of WireGuard.
func TestFW1FirstPing(t *testing.T) {
	s, wg := wgPing(t, nil)
	var got []string
	for _, f := range wg {
		got = append(got, f.dir+" type "+f.first("wg.type")+" of "+f.outer("udp.length"))
	}
	wantList(t, "messages on node1's cable", got,
		"out type 1 of 156", "in type 2 of 100", "out type 4 of 136", "in type 4 of 136")
	for _, f := range wg {
		for field, want := range map[string]string{
			"udp.srcport": "51820", "udp.dstport": "51820", "ip.flags.df": "0", "ip.ttl": "64", "udp.checksum.status": "1",
		} {
			if v := f.outer(field); v != want {
				t.Errorf("%v: outer %s = %q, want %q", f, field, v, want)
			}
		}
		if f.outer("ip.id") == "0x0000" {
			t.Errorf("%v: IP ID 0", f)
		}
	}
	if wg[0].first("wg.sender") != wg[1].first("wg.receiver") || wg[1].first("wg.sender") != wg[2].first("wg.receiver") {
		t.Error("the indices of initiation, response and data do not belong together")
	}
	ask := s.on("default/p1a/eth0").out().where("icmp.type", "8").one(t, "request")
	const outer = "[node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 64, udp 51820]"
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/cni0 in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/flannel-wg out: 10.244.1.2 > 10.244.2.2, ttl 63",
		"node1/eth0 out: "+outer+" 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/eth0 in: "+outer+" 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/flannel-wg in: 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/cni0 out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"node2/veth(p2a) out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"p2a/eth0 in: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
	)
}

// FW1, read with the keys in the file: tshark decrypts the handshake and every
// data message.
func TestFW1Decrypted(t *testing.T) {
	_, wg := wgPing(t, func(lab *emutest.Lab, p1a *emutest.Pod) {
		if r, err := p1a.PingWith("p2a", stack.PingConfig{Size: 1420 - 28, DontFragment: true}, time.Second); err != nil || r.Err() != nil {
			t.Errorf("ping of 1420 bytes: %v, %v, want an answer", err, r.Err())
		}
	})
	for _, f := range wg {
		switch f.first("wg.type") {
		case "1":
			if f.first("wg.static.known_pubkey") != "1" || !f.has("wg.timestamp.value") {
				t.Errorf("%v: tshark does not see who begins the handshake, and when", f)
			}
		case "2":
			if f.first("wg.handshake_ok") != "1" {
				t.Errorf("%v: tshark does not believe the handshake", f)
			}
		case "4":
			if !f.has("icmp.type") || f.get("icmp.checksum.status") != "1" {
				t.Errorf("%v: tshark sees no ping inside", f)
			}
		}
	}
	if got := wg[len(wg)-1].outer("ip.len"); got != "1480" { // padding stops at the MTU
		t.Errorf("a full packet has %s bytes outside, want 1480", got)
	}
}

// FW2: handshakes are marked AF41, data is not.
func TestFW2DSCP(t *testing.T) {
	_, wg := wgPing(t, nil)
	for _, f := range wg {
		want := map[string]string{"1": "0x88", "2": "0x88", "4": "0x00"}[f.first("wg.type")]
		if got := f.outer("ip.dsfield"); got != want {
			t.Errorf("%v: type %s has TOS %s, want %s", f, f.first("wg.type"), got, want)
		}
	}
}

// The inner ECN bits show outside, and a lease that is gone takes the peer with
// it: the pod hears host unreachable, nothing leaves.
func TestFW2ECNAndLease(t *testing.T) {
	var gone time.Duration
	s, wg := wgPing(t, func(lab *emutest.Lab, p1a *emutest.Pod) {
		if _, err := p1a.PingWith("p2a", stack.PingConfig{TOS: 0xb9}, time.Second); err != nil {
			t.Error(err)
		}
		if err := lab.Node("node2").SetLease(false); err != nil {
			t.Error(err)
		}
		gone = lab.Now()
		r, err := p1a.Machine.Ping("p2a", time.Second)
		if err != nil || r.Type != 3 || r.Code != 1 || r.From.String() != "10.244.1.1" {
			t.Errorf("ping without a lease = %+v, %v, want host unreachable from 10.244.1.1", r, err)
		}
	})
	var tos []string
	for _, f := range wg.out() {
		tos = append(tos, f.outer("ip.dsfield"))
	}
	if want := []string{"0x88", "0x00", "0x01"}; !slices.Equal(tos, want) {
		t.Errorf("TOS outside %v, want %v", tos, want)
	}
	s.on("node1/eth0").out().since(gone+time.Nanosecond).none(t, "on the cable without a lease")
}

// A session is renewed after two minutes by the end that began it, keepalives
// answer data that has no answer, and all of it can still be decrypted.
func TestFW1Rekey(t *testing.T) {
	var start time.Duration
	_, wg := wgPing(t, func(lab *emutest.Lab, p1a *emutest.Pod) {
		start = lab.Now()
		c, err := p1a.Dial("udp", "10.244.2.2:9") // nobody listens: errors come back, but only six at once
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for range 13 {
			lab.Sleep(10 * time.Second)
			c.Write([]byte("x"))
		}
		lab.Sleep(20 * time.Second)
	})
	var began []time.Duration
	for _, f := range wg {
		if f.first("wg.type") == "1" {
			began = append(began, f.at)
		}
		if f.first("wg.type") == "4" && f.outer("udp.length") != "40" && !f.has("ip.proto") {
			t.Errorf("%v: not decrypted", f)
		}
	}
	if len(began) != 2 || began[1] != start+120*time.Second {
		t.Errorf("handshakes at %v, want the second at %v", began, start+120*time.Second)
	}
	if len(wg.filter(func(f *frame) bool { return f.outer("udp.length") == "40" })) == 0 {
		t.Error("no keepalive")
	}
}

// Pods of both nodes that send in the same instant cause two handshakes, which
// undo each other: the pings wait for the retry of one of the nodes, 5 s and up
// to a third later.
func TestFW1HandshakesCross(t *testing.T) {
	cfg := withDesign("flannel-wireguard")
	cfg.Underlay.Cable.Latency = 100 * time.Microsecond
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a, p2a := lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2")
		lab.Go(func() {
			if r, err := p2a.Machine.Ping("p1a", 10*time.Second); err != nil || r.Err() != nil || r.RTT < 5*time.Second {
				t.Errorf("ping from node2 = %+v, %v, want an answer after the retry", r, err)
			}
		})
		if r, err := p1a.Machine.Ping("p2a", 10*time.Second); err != nil || r.Err() != nil || r.RTT < 5*time.Second {
			t.Errorf("ping from node1 = %+v, %v, want an answer after the retry", r, err)
		}
	})
	wg := s.on("node1/eth0").having("wg.type").some(t, "WireGuard on the cable")
	var got []string
	for _, f := range wg {
		got = append(got, f.dir+" type "+f.first("wg.type"))
	}
	if len(got) < 6 {
		t.Fatalf("messages %q, want two handshakes and a third", got)
	}
	wantList(t, "at first", got[:4], "out type 1", "in type 1", "out type 2", "in type 2")
	if got[4][len(got[4])-1] != '1' || got[5][len(got[5])-1] != '2' {
		t.Errorf("then %q, want one handshake, which is answered", got[4:])
	}
	if again := wg[4].at - wg[0].at; again < 5*time.Second || again > 5*time.Second+340*time.Millisecond {
		t.Errorf("again after %v, want 5 s and up to a third", again)
	}
}
