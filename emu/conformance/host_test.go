package conformance

import (
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/stack"
)

// Flags of TCP segments as tshark prints them.
const (
	syn    = "0x0002"
	synAck = "0x0012"
	rst    = "0x0004"
	rstAck = "0x0014"
)

// crossNodeGet is two GETs from p1a on node1 to p2a on node2, over one
// connection.
func crossNodeGet(t *testing.T) (s *scene, p1a, p2a *emutest.Pod) {
	t.Helper()
	s = record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p2a = lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2", 8080)
		p1a.Get("http://10.244.2.2:8080/")
		p1a.Get("http://10.244.2.2:8080/")
	})
	return s, p1a, p2a
}

// H1: a SYN has Linux' options in Linux' order, an MSS that fits the tunnel, a
// window of whole segments, DF, and a number.
func TestH1SYN(t *testing.T) {
	s, p1a, _ := crossNodeGet(t)
	f := s.on(eth0(p1a)).out().where("tcp.flags", syn).one(t, "SYN of the client")
	f.want(t, "tcp.window_size_value", "64860", "ip.flags.df", "1", "ip.ttl", "64", "ip.dsfield", "0x00")
	if f.get("ip.id") == "0x0000" {
		t.Error("SYN has IP ID 0, want another")
	}
	// MSS 1410, SACK permitted, timestamps with an echo of 0, NOP, window scale.
	opt := f.get("tcp.options")
	if len(opt) != 40 || !strings.HasPrefix(opt, "020405820402080a") || opt[24:38] != "00000000010303" {
		t.Errorf("SYN options %s, want 0204 0582 0402 080a TTTTTTTT 00000000 01 0303 SS", opt)
	}
}

// H2: a SYN-ACK has IP ID 0 with DF; what the server sends next is numbered
// one by one from somewhere else.
func TestH2SYNACK(t *testing.T) {
	s, _, p2a := crossNodeGet(t)
	sent := s.on(eth0(p2a)).out().having("tcp.flags")
	f := sent.where("tcp.flags", synAck).one(t, "SYN-ACK of the server")
	f.want(t, "ip.id", "0x0000", "ip.flags.df", "1", "tcp.window_size_value", "64308", "ip.ttl", "64")
	if opt := f.get("tcp.options"); !strings.HasPrefix(opt, "020405820402080a") {
		t.Errorf("SYN-ACK options %s, want 0204 0582 0402 080a ...", opt)
	}
	after := sent.filter(func(f *frame) bool { return f.get("tcp.flags") != synAck })
	if len(after) < 3 {
		t.Fatalf("the server sent %d segments after its SYN-ACK, want at least 3", len(after))
	}
	for i, f := range after {
		f.want(t, "ip.flags.df", "1")
		id := f.number(t, "ip.id")
		if id == 0 {
			t.Errorf("%v: IP ID 0, want another", f)
		}
		if i > 0 && uint16(id) != uint16(after[i-1].number(t, "ip.id"))+1 {
			t.Errorf("%v: IP ID %#04x, want one more than %s", f, id, after[i-1].get("ip.id"))
		}
	}
}

// H3: a datagram of a socket has DF and a number; the kernel's echo reply has
// no DF and copies the TOS of the request.
func TestH3UDPAndEchoReply(t *testing.T) {
	var p1a, p2a *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p2a = lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2")
		sendUDP(t, &p1a.Machine, "10.244.2.2:9", "hello")
		if _, err := p1a.PingWith("p2a", stack.PingConfig{TOS: 0xb9}, time.Second); err != nil {
			t.Fatal(err)
		}
	})
	f := s.on(eth0(p1a)).out().having("udp.dstport").one(t, "datagram")
	f.want(t, "ip.flags.df", "1", "ip.ttl", "64", "udp.checksum.status", "1")
	if f.get("ip.id") == "0x0000" {
		t.Error("datagram has IP ID 0, want another")
	}
	s.on(eth0(p1a)).out().where("icmp.type", "8").one(t, "echo request").want(t, "ip.flags.df", "1", "ip.dsfield", "0xb9")
	s.on(eth0(p2a)).out().where("icmp.type", "0").one(t, "echo reply").want(t, "ip.flags.df", "0", "ip.dsfield", "0xb9", "ip.ttl", "64")
}

// sendUDP sends one datagram from a socket of its own.
func sendUDP(t *testing.T, m *emu.Machine, to, text string) {
	t.Helper()
	c, err := m.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	writeTo(t, c, to, text)
}

func writeTo(t *testing.T, c net.PacketConn, to, text string) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", to) // an IP address: nothing is looked up
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteTo([]byte(text), addr); err != nil {
		t.Fatal(err)
	}
}

// H5: of 16 datagrams to a closed port, sent within 100 ms, six are answered;
// from then on one a second.
func TestH5ErrorsAreRateLimited(t *testing.T) {
	var p1a, p2a *emutest.Pod
	var burst time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p2a = lab.Pod("p1a", "node1"), lab.Pod("p2a", "node2")
		p1a.Ping("p2a")
		c, err := p1a.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 16 {
			writeTo(t, c, "10.244.2.2:9999", "probe")
			lab.Sleep(6 * time.Millisecond)
		}
		burst = lab.Now()
		for range 55 { // ten a second for five seconds and a half
			writeTo(t, c, "10.244.2.2:9999", "probe")
			lab.Sleep(100 * time.Millisecond)
		}
	})
	if n := len(s.on(eth0(p2a)).in().where("udp.dstport", "9999")); n != 16+55 {
		t.Fatalf("p2a received %d datagrams, want 71", n)
	}
	errs := s.on(eth0(p1a)).in().errors()
	for _, f := range errs {
		f.want(t, "icmp.type", "3", "icmp.code", "3", "ip.src", "10.244.2.2", "ip.dsfield", "0xc0", "ip.flags.df", "0")
	}
	early := errs.filter(func(f *frame) bool { return f.at < burst })
	if len(early) != 6 {
		t.Errorf("%d of 16 quick datagrams were answered, want 6", len(early))
	}
	late := errs.since(burst)
	if len(late) != 5 {
		t.Errorf("%d datagrams of the next 5.5s were answered, want 5", len(late))
	}
	for i := 1; i < len(late); i++ {
		if gap := late[i].at - late[i-1].at; gap != time.Second {
			t.Errorf("errors %d and %d of the later ones are %v apart, want 1s", i, i+1, gap)
		}
	}
}

// H7: a SYN to a closed port is answered with RST+ACK, in the kernel's form.
func TestH7ClosedPort(t *testing.T) {
	var p1a, p1b *emutest.Pod
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p1b = lab.Pod("p1a", "node1"), lab.Pod("p1b", "node1")
		start := lab.Now()
		if c, err := p1a.Dial("tcp", "10.244.1.3:81"); err == nil {
			c.Close()
			t.Error("dial of a closed port succeeded, want connection refused")
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("dial of a closed port: %v, want connection refused", err)
		}
		if took := lab.Now() - start; took != 0 {
			t.Errorf("refusal took %v over ideal cables, want 0", took)
		}
	})
	ask := s.on(eth0(p1a)).out().where("tcp.flags", syn).one(t, "SYN")
	f := s.on(eth0(p1b)).out().having("tcp.flags").one(t, "answer of the closed port")
	f.want(t, "tcp.flags", rstAck, "tcp.seq_raw", "0", "tcp.window_size_value", "0", "ip.id", "0x0000",
		"ip.flags.df", "1", "frame.len", "54", "ip.ttl", "64", "tcp.checksum.status", "1")
	if got, want := f.number(t, "tcp.ack_raw"), ask.number(t, "tcp.seq_raw")+1; got != want {
		t.Errorf("RST acknowledges %d, want %d", got, want)
	}
}

// H8: for an address that nobody has, three broadcast ARP requests leave a
// second apart; then the sender is told, by itself and not over any wire.
func TestH8NobodyHasTheAddress(t *testing.T) {
	var p1a *emutest.Pod
	var began, took time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p1b", "node1")
		lab.Sleep(time.Second)
		began = lab.Now()
		r, err := p1a.Machine.Ping("10.244.1.77", 10*time.Second)
		took = lab.Now() - began
		if err != nil || r.Type != 3 || r.Code != 1 || r.From != p1a.Addr() {
			t.Errorf("ping = %+v, %v, want host unreachable from the pod itself", r, err)
		}
	})
	if took != 3*time.Second {
		t.Errorf("the sender knew after %v, want 3s", took)
	}
	asked := s.on(eth0(p1a)).out().since(began).having("arp.opcode")
	if len(asked) != 3 {
		t.Fatalf("%d ARP requests, want 3: %v", len(asked), asked)
	}
	for i, f := range asked {
		f.want(t, "arp.opcode", "1", "eth.dst", "ff:ff:ff:ff:ff:ff", "frame.len", "42",
			"arp.src.proto_ipv4", "10.244.1.2", "arp.src.hw_mac", macOf(p1a, "eth0"),
			"arp.dst.proto_ipv4", "10.244.1.77", "arp.dst.hw_mac", "00:00:00:00:00:00")
		if want := began + time.Duration(i)*time.Second; f.at != want {
			t.Errorf("ARP request %d at %v, want %v", i+1, f.at, want)
		}
	}
	s.having("icmp.type").filter(func(f *frame) bool { return f.iface != p1a.Name()+"/lo" }).none(t, "ICMP outside the pod")
}

// H10: a pod that starts announces itself: one gratuitous ARP request on its
// veth, which the bridge floods to every port. The ports are in hairpin mode,
// as flannel's bridge plugin makes them, and Linux floods a hairpin port with
// what came in by it too.
func TestH10PodAnnouncesItself(t *testing.T) {
	var p1a, p1b, late *emutest.Pod
	var began time.Duration
	s := record(t, twoNodes, func(t *testing.T, lab *emutest.Lab) {
		p1a, p1b = lab.Pod("p1a", "node1"), lab.Pod("p1b", "node1")
		lab.Sleep(time.Second)
		began = lab.Now()
		late = lab.Pod("late", "node1")
		lab.Sleep(5 * time.Second)
	})
	arp := s.since(began).having("arp.opcode")
	for _, f := range arp {
		f.want(t, "arp.opcode", "1", "eth.src", macOf(late, "eth0"), "eth.dst", "ff:ff:ff:ff:ff:ff", "frame.len", "42",
			"arp.src.hw_mac", macOf(late, "eth0"), "arp.src.proto_ipv4", "10.244.1.4",
			"arp.dst.hw_mac", "00:00:00:00:00:00", "arp.dst.proto_ipv4", "10.244.1.4")
	}
	for _, p := range []struct {
		iface, dir string
	}{
		{eth0(late), "out"}, {veth(late), "in"}, {"node1/cni0", "in"},
		{veth(p1a), "out"}, {eth0(p1a), "in"}, {veth(p1b), "out"}, {eth0(p1b), "in"},
		{veth(late), "out"}, {eth0(late), "in"}, // hairpin
	} {
		f := arp.on(p.iface).filter(func(f *frame) bool { return f.dir == p.dir }).one(t, "announcement on "+p.iface+" "+p.dir)
		if f.at != began {
			t.Errorf("announcement on %s at %v, want %v", p.iface, f.at, began)
		}
	}
	if len(arp) != 9 {
		t.Errorf("%d ARP frames in all, want 9: %v", len(arp), arp)
	}
	s.since(began).on("node1/flannel.1", "node1/eth0", "node2/eth0").none(t, "announcement beyond the bridge")
}

// udpPod adds a pod whose UDP port is answered by an echo.
func udpPod(lab *emutest.Lab, name, node string, port int32) *emutest.Pod {
	return lab.AddPod(emu.PodConfig{Name: name, Node: node, Labels: map[string]string{"app": name},
		Ports: []corev1.ContainerPort{{ContainerPort: port, Protocol: corev1.ProtocolUDP}}})
}

// ports is one TCP port of a container.
func ports(n int32) []corev1.ContainerPort { return []corev1.ContainerPort{{ContainerPort: n}} }
