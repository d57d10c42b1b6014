package conformance

import (
	"bytes"
	"io"
	"net"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

const us = time.Microsecond

// kernelScenes are all captures of flannel and of Services in iptables mode.
var kernelScenes = []kernelScene{
	{name: "ping", play: func(l *kernelLab) { l.ping(&l.p1a.Machine, "10.244.2.2", stack.PingConfig{Size: 8}, true) },
		points: [][2]string{
			{"flannel-vxlan-icmp-p1a-eth0", "default/p1a/eth0"}, {"icmp-n1-cni0", "node1/cni0"}, {"icmp-n1-flannel.1", "node1/flannel.1"},
			{"icmp-n1-eth0", "node1/eth0"}, {"icmp-n2-eth0", "node2/eth0"},
		}},
	{name: "across nodes", play: (*kernelLab).allKinds, points: [][2]string{{"flannel-vxlan-tcp-udp-tos-n1-eth0", "node1/eth0"}}},
	{name: "same node", before: (*kernelLab).confirmed, play: func(l *kernelLab) {
		l.exchange(exchange{&l.p1b.Machine, &l.p1a.Machine, "10.96.0.101:80", l.answers("svc-same-p1a-eth0", "from vm")[0], 111 * us, 105 * us})
	}, points: [][2]string{
		{"svc-same-p1a-eth0", "default/p1a/eth0"}, {"svc-same-n1-veth1a", "node1/veth(p1a)"}, {"svc-same-n1-cni0", "node1/cni0"},
		{"svc-same-n1-veth1b", "node1/veth(p1b)"}, {"svc-same-p1b-eth0", "default/p1b/eth0"},
	}},
	{name: "conversation", sysctls: map[string]string{"net.ipv4.tcp_rmem": "4096 131072 6291456"}, play: (*kernelLab).conversation,
		points: [][2]string{{"tcp-conversation-p1b-eth0", "default/p1b/eth0"}}},
	{name: "acknowledgements", before: (*kernelLab).greeted, play: (*kernelLab).acknowledgements, points: [][2]string{{"tcp-acks-p1b-eth0", "default/p1b/eth0"}}},
	{name: "other node", play: func(l *kernelLab) {
		l.exchange(exchange{&l.p1b.Machine, &l.p2a.Machine, "10.96.0.102:80", l.answers("svc-cross-p2a-eth0", "from vm")[0], 70 * us, 140 * us})
	}, points: [][2]string{
		{"svc-cross-p1b-eth0", "default/p1b/eth0"}, {"svc-cross-n1-cni0", "node1/cni0"}, {"svc-cross-n1-flannel.1", "node1/flannel.1"},
		{"svc-cross-n1-eth0", "node1/eth0"}, {"svc-cross-n2-cni0", "node2/cni0"}, {"svc-cross-p2a-eth0", "default/p2a/eth0"},
	}},
	{name: "hairpin", play: func(l *kernelLab) {
		l.exchange(exchange{&l.p1a.Machine, &l.p1a.Machine, "10.96.0.101:80", l.answers("svc-hair-p1a-eth0", "from vm")[0], 89 * us, 76 * us})
	}, points: [][2]string{
		{"svc-hair-p1a-eth0", "default/p1a/eth0"}, {"svc-hair-n1-veth1a", "node1/veth(p1a)"}, {"svc-hair-n1-cni0", "node1/cni0"},
	}},
	{name: "node port", play: func(l *kernelLab) {
		l.exchange(exchange{&l.ext.Machine, &l.p2a.Machine, "192.168.56.11:30002", l.answers("svc-nport-p2a-eth0", "from vm")[0], 1749 * us, 30 * us})
	}, points: [][2]string{
		{"svc-nport-ext-eth0", "ext/eth0"}, {"svc-nport-n1-eth0", "node1/eth0"}, {"svc-nport-n1-flannel.1", "node1/flannel.1"},
		{"svc-nport-p2a-eth0", "default/p2a/eth0"},
	}},
	{name: "cluster IP from the node", play: func(l *kernelLab) {
		l.exchange(exchange{l.node1(), &l.p2a.Machine, "10.96.0.102:80", l.answers("svc-nodeclip-p2a-eth0", "from vm")[0], 88 * us, 68 * us})
	}, points: [][2]string{
		{"svc-nodeclip-n1-eth0", "node1/eth0"}, {"svc-nodeclip-n1-flannel.1", "node1/flannel.1"}, {"svc-nodeclip-p2a-eth0", "default/p2a/eth0"},
	}},
	{name: "node port from a pod", play: func(l *kernelLab) {
		l.exchange(exchange{&l.p1b.Machine, &l.p2a.Machine, "192.168.56.12:30002", l.answers("svc-p2np-p2a-eth0", "from vm")[0], 4292 * us, 32 * us})
	}, points: [][2]string{
		{"svc-p2np-p1b-eth0", "default/p1b/eth0"}, {"svc-p2np-n1-eth0", "node1/eth0"}, {"svc-p2np-p2a-eth0", "default/p2a/eth0"},
	}},
	{name: "no endpoints", play: func(l *kernelLab) {
		l.refused(&l.p1b.Machine, "10.96.0.200:80")
		l.Sleep(100 * time.Millisecond)
		l.datagram(&l.p1b.Machine, "10.96.0.200:53")
	}, points: [][2]string{{"svc-rej-p1b-eth0", "default/p1b/eth0"}, {"svc-rej-n1-cni0", "node1/cni0"}}},
	{name: "node ports that lead nowhere", play: func(l *kernelLab) {
		l.refused(&l.ext.Machine, "192.168.56.11:30009")
		l.Sleep(110 * time.Millisecond)
		l.ignored(&l.ext.Machine, "192.168.56.11:30010")
		l.Sleep(158 * time.Millisecond)
		l.refused(&l.ext.Machine, "192.168.56.11:30011")
	}, points: [][2]string{{"svc-rejnp-ext-eth0", "ext/eth0"}}},
	{name: "ping of a cluster IP", play: func(l *kernelLab) {
		l.ping2(&l.p1b.Machine, "10.96.0.100")
		l.ping(l.node1(), "10.96.0.100", stack.PingConfig{}, false)
	}, points: [][2]string{
		{"svc-ping-p1b-eth0", "default/p1b/eth0"}, {"svc-ping-n1-eth0", "node1/eth0"}, {"svc-ping-sw-br0", "gateway/eth0"},
	}},
	{name: "same node without br_netfilter", sysctls: noBridgeNetfilter, play: func(l *kernelLab) {
		ln, err := l.p1a.Listen("tcp", ":8080")
		if err != nil {
			l.t.Fatal(err)
		}
		defer ln.Close()
		l.ignored(&l.p1b.Machine, "10.96.0.101:80")
	}, points: [][2]string{
		{"svc-nobr-p1b-eth0", "default/p1b/eth0"}, {"svc-nobr-n1-cni0", "node1/cni0"}, {"svc-nobr-p1a-eth0", "default/p1a/eth0"},
	}},
	{name: "hairpin without br_netfilter", sysctls: noBridgeNetfilter, play: func(l *kernelLab) {
		l.exchange(exchange{&l.p1a.Machine, &l.p1a.Machine, "10.96.0.101:80", l.answers("svc-nobrhair-p1a-eth0", "from vm")[0], 56 * us, 76 * us})
	}, points: [][2]string{{"svc-nobrhair-p1a-eth0", "default/p1a/eth0"}, {"svc-nobrhair-n1-cni0", "node1/cni0"}}},
	{name: "closed ports behind a service", play: func(l *kernelLab) {
		l.datagram(&l.p1b.Machine, "10.96.0.11:54")
		l.Sleep(95 * time.Millisecond)
		l.refused(&l.p1b.Machine, "10.96.0.11:54")
	}, points: [][2]string{{"svc-icmpnat-p1b-eth0", "default/p1b/eth0"}, {"svc-icmpnat-n1-flannel.1", "node1/flannel.1"}}},
	{name: "fragments", play: func(l *kernelLab) {
		l.ping(&l.p1a.Machine, "10.244.2.2", stack.PingConfig{Size: 4000, MayFragment: true}, true)
	}, points: [][2]string{
		{"svc-frag-p1a-eth0", "default/p1a/eth0"}, {"svc-frag-n1-cni0", "node1/cni0"}, {"svc-frag-n1-flannel.1", "node1/flannel.1"},
		{"svc-frag-p2a-eth0", "default/p2a/eth0"},
	}},
	{name: "pod MTU 1500", before: (*kernelLab).withoutRules, play: (*kernelLab).wrongMTU, points: [][2]string{
		{"svc-mtu-p1a", "default/p1a/eth0"}, {"svc-mtu-n1-fl", "node1/flannel.1"}, {"svc-mtu-n1", "node1/eth0"},
	}},
	{name: "underlay MTU 1400", play: (*kernelLab).smallUnderlay, points: [][2]string{
		{"svc-und-p1a-eth0", "default/p1a/eth0"}, {"svc-und-n1-eth0", "node1/eth0"}, {"svc-und-n2-eth0", "node2/eth0"},
	}},
	{name: "no such pod", play: func(l *kernelLab) {
		l.ping2(&l.p1a.Machine, "10.244.2.77")
		l.Sleep(200 * time.Millisecond)
	}, points: [][2]string{
		{"svc-unreach-p1a-eth0", "default/p1a/eth0"}, {"svc-unreach-n2-cni0", "node2/cni0"},
	}},
	{name: "multicast and broadcast", before: (*kernelLab).stale, play: func(l *kernelLab) {
		l.ping(&l.p1a.Machine, "224.0.0.1", stack.PingConfig{}, false)
		l.ping(&l.p1a.Machine, "10.244.1.255", stack.PingConfig{}, false)
		l.Sleep(time.Second)
	}, points: [][2]string{
		{"svc-mcast-n1-cni0", "node1/cni0"}, {"svc-mcast-p1b-eth0", "default/p1b/eth0"}, {"svc-mcast-n1-flannel.1", "node1/flannel.1"},
		{"svc-mcast-n1-eth0", "node1/eth0"}, {"svc-mcast-p2a-eth0", "default/p2a/eth0"},
	}},
	{name: "first ping", before: func(l *kernelLab) { l.Sleep(time.Second) }, play: func(l *kernelLab) {
		l.ping(&l.p2b.Machine, "10.244.2.2", stack.PingConfig{}, true)
	}, points: [][2]string{{"svc-arp-p2b-eth0", "default/p2b/eth0"}, {"svc-arp-p2a-eth0", "default/p2a/eth0"}}},
	{name: "new pod", before: (*kernelLab).fiveMorePods, play: func(l *kernelLab) {
		l.Pod("new", "node1")
		l.Sleep(time.Second)
	}, points: [][2]string{{"garp-arp_notify", "node1/cni0"}}},
}

// noBridgeNetfilter switches br_netfilter off.
var noBridgeNetfilter = map[string]string{"net.bridge.bridge-nf-call-iptables": "0"}

// allKinds is TCP twice, UDP, and three pings with TOS and TTL across nodes.
func (l *kernelLab) allKinds() {
	const capture = "flannel-vxlan-tcp-udp-tos-n1-eth0"
	a, b := &l.p1a.Machine, &l.p2a.Machine
	texts := l.answers(capture, "from vm")
	l.exchange(exchange{a, b, "10.244.2.2:8080", texts[0], 84 * us, 79 * us})
	l.Sleep(136 * time.Millisecond)
	l.exchange(exchange{a, b, "10.244.2.2:8080", texts[1], 1900 * us, 60 * us})
	l.Sleep(142 * time.Millisecond)
	l.ask(a, b, l.answers(capture, "u ('")[0])
	l.Sleep(26 * time.Millisecond)
	for _, cfg := range []stack.PingConfig{{TOS: 0xb9}, {TOS: 0x03}, {TTL: 5}} {
		l.ping(a, "10.244.2.2", cfg, true)
		l.Sleep(5 * time.Millisecond)
	}
}

// conversation is p1b and p1a saying x in turns, each 20 ms after it has heard the
// other, so and so many times; p1b closes, and p1a 100 ms later.
func (l *kernelLab) conversation() {
	turns := []int{5, 40, 1000, 1000, 1398, 100, 200, 200}
	speak := func(c net.Conn, first int) error {
		for i, n := range turns {
			if i%2 != first {
				if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
					return err
				}
				continue
			}
			l.Sleep(20 * time.Millisecond)
			if _, err := c.Write(bytes.Repeat([]byte("x"), n)); err != nil {
				return err
			}
		}
		return nil
	}
	ln, err := l.p1a.Listen("tcp", ":8080")
	if err != nil {
		l.t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	l.Go(func() {
		c, err := ln.Accept()
		if err == nil {
			err = speak(c, 1)
			c.Read(make([]byte, 1))
			l.Sleep(110 * time.Millisecond)
			c.Close()
		}
		done <- err
	})
	c, err := l.p1b.Dial("tcp", "10.244.1.2:8080")
	if err != nil {
		l.t.Fatal(err)
	}
	l.Sleep(10 * time.Millisecond)
	if err := speak(c, 0); err != nil {
		l.t.Error(err)
	}
	l.Sleep(20 * time.Millisecond)
	c.Close()
	if err := <-done; err != nil {
		l.t.Error(err)
	}
	l.Sleep(10 * time.Millisecond)
}

// acknowledgements is five connections that differ in when what has come in is
// acknowledged. Each is what the client does and what the server does; the client
// closes 200 ms later, and the server 100 ms after that.
func (l *kernelLab) acknowledgements() {
	const ms = time.Millisecond
	say := func(c net.Conn, n int) { c.Write(bytes.Repeat([]byte("x"), n)) }
	hear := func(c net.Conn, n int) {
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			l.t.Error(err)
		}
	}
	// Talk sends and hears an answer, tell only sends; both wait afterwards.
	talk := func(c net.Conn, times int) {
		for range times {
			say(c, 100)
			hear(c, 200)
			l.Sleep(10 * ms)
		}
	}
	tell := func(c net.Conn, times, size int, pause time.Duration) {
		for range times {
			say(c, size)
			l.Sleep(pause)
		}
	}
	answer := func(c net.Conn, times int, late time.Duration) {
		for range times {
			hear(c, 100)
			l.Sleep(late)
			say(c, 200)
		}
	}
	for _, both := range []struct{ client, server func(net.Conn) }{
		{func(c net.Conn) { tell(c, 20, 100, 10*ms) }, func(s net.Conn) { hear(s, 2000) }},
		{func(c net.Conn) { talk(c, 6); l.Sleep(100 * ms) }, func(s net.Conn) { answer(s, 6, 0) }},
		{func(c net.Conn) { talk(c, 4); l.Sleep(100 * ms) }, func(s net.Conn) { answer(s, 4, 60*ms) }},
		{func(c net.Conn) { tell(c, 20, 100, 100*ms) }, func(s net.Conn) { l.Sleep(2100 * ms); hear(s, 2000) }},
		{func(c net.Conn) { talk(c, 3); tell(c, 6, 50, 10*ms); tell(c, 3, 50, 60*ms) }, func(s net.Conn) { answer(s, 3, 0); hear(s, 450) }},
	} {
		ln, err := l.p1a.Listen("tcp", ":8080")
		if err != nil {
			l.t.Fatal(err)
		}
		done := make(chan error, 1)
		l.Go(func() {
			s, err := ln.Accept()
			if err == nil {
				both.server(s)
				s.Read(make([]byte, 1))
				l.Sleep(100 * ms)
				err = s.Close()
			}
			done <- err
		})
		c, err := l.p1b.Dial("tcp", "10.244.1.2:8080")
		if err != nil {
			l.t.Fatal(err)
		}
		l.Sleep(20 * ms)
		both.client(c)
		l.Sleep(200 * ms)
		c.Close()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
		ln.Close()
		l.Sleep(200 * ms)
	}
}

// wrongMTU is p1a with an MTU of 1500 on a node with 1450.
func (l *kernelLab) wrongMTU() {
	l.setMTU(&l.p1a.Machine, "eth0", 1500)
	l.setMTU(l.node1(), l.p1a.Peer(), 1500)
	a := &l.p1a.Machine
	l.ping(a, "10.244.2.2", stack.PingConfig{Size: 1472, DontFragment: true}, false)
	l.Driver().Do(a.Stack().FlushPathMTUs)
	l.ping(a, "10.244.2.2", stack.PingConfig{Size: 1472, MayFragment: true}, true)
	l.ping(a, "10.244.2.2", stack.PingConfig{Size: 4000, MayFragment: true}, true)
	l.Sleep(4 * time.Second)
}

// withoutRules is a cluster without any iptables rules, thus without connection
// tracking. Who asks whom after three seconds says what came before: long ago p1a
// and node1 have talked, 1.8 s ago p2a asked for p1a, and p1a for p1b.
func (l *kernelLab) withoutRules() {
	l.Sleep(0) // kube-proxy has seen the Services
	for _, n := range l.Nodes() {
		l.Driver().Do(func() {
			n.Stack().Netfilter().Reset()
			n.Stack().RulesChanged()
		})
	}
	l.p1a.Ping("10.244.1.1")
	l.Sleep(90 * time.Second)
	l.p2a.Ping("10.244.1.2")
	l.p1a.Ping("10.244.1.3")
	l.Sleep(1815 * time.Millisecond)
}

// confirmed is everybody knowing everybody, and node1 having asked for its pods
// itself.
func (l *kernelLab) confirmed() {
	for _, p := range []*emutest.Pod{l.p1a, l.p1b} {
		l.ping(l.node1(), p.Addr().String(), stack.PingConfig{}, true)
	}
	l.meet()
}

// greeted is p1b having pinged p1a, 1.6 s ago.
func (l *kernelLab) greeted() {
	l.p1b.Ping("10.244.1.2")
	l.Sleep(1600 * time.Millisecond)
}

// stale is p1a and node1 having used, 2.4 s ago, what they had known of each
// other for long.
func (l *kernelLab) stale() {
	l.p1a.Ping("10.244.1.1")
	l.Sleep(90 * time.Second)
	l.p1a.Ping("10.244.1.1")
	l.Sleep(2406 * time.Millisecond)
}

// smallUnderlay is a node whose cable takes 1400 bytes, and does not know it in
// time: flannel.1 has 1450.
func (l *kernelLab) smallUnderlay() {
	l.setMTU(l.node1(), "eth0", 1400)
	for _, cfg := range []stack.PingConfig{{Size: 1422, DontFragment: true}, {Size: 1422, DontFragment: true}, {Size: 1422, MayFragment: true}} {
		l.ping(&l.p1a.Machine, "10.244.2.2", cfg, false)
	}
}

func (l *kernelLab) setMTU(m *emu.Machine, device string, mtu int) {
	l.t.Helper()
	l.Driver().Do(func() {
		if err := m.Stack().Device(device).SetMTU(mtu); err != nil {
			l.t.Error(err)
		}
	})
}

// fiveMorePods makes 10.244.1.9 the next address on node1.
func (l *kernelLab) fiveMorePods() {
	for _, name := range []string{"c", "d", "e", "f", "g"} {
		l.Pod(name, "node1")
	}
	l.Sleep(time.Second)
}
