package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/overlay"
	"github.com/podwire/podwire/stack"
)

// A design's row in the comparison matrix (A14) and in the table of overheads
// (0.4): what the way from a pod on node1 to one on node2 looks like.
type row struct {
	design   string
	mtu      int // of the pod
	overhead int // IP bytes on the cable beyond those of a small packet
	ttl      int // that the other pod sees
	hops     []string
	proto    string // of the outermost packet on the cable: "1" is the ping itself
	port     string // outer UDP destination port
	df       string // outer DF; the ping's own is 1
	sum      bool   // a UDP checksum is there and right
	mac      bool   // an inner Ethernet header is on the cable
}

var matrix = []row{
	{design: "flannel-host-gw", mtu: 1500, ttl: 62, hops: []string{"10.244.1.1", "192.168.56.12", "10.244.2.2"}, proto: "1", df: "1"},
	{design: "flannel-vxlan", mtu: 1450, overhead: 50, ttl: 62, hops: []string{"10.244.1.1", "10.244.2.0", "10.244.2.2"}, proto: "17", port: "8472", df: "0", sum: true, mac: true},
	{design: "flannel-vxlan-directrouting", mtu: 1450, ttl: 62, hops: []string{"10.244.1.1", "192.168.56.12", "10.244.2.2"}, proto: "1", df: "1"},
	{design: "flannel-udp", mtu: 1472, overhead: 28, ttl: 60, hops: []string{"10.244.1.1", "*", "*", "10.244.2.0", "10.244.2.2"}, proto: "17", port: "8285", df: "1", sum: true},
	{design: "flannel-ipip", mtu: 1480, overhead: 20, ttl: 62, hops: []string{"10.244.1.1", "10.244.2.0", "10.244.2.2"}, proto: "4", df: "1"},
	{design: "flannel-wireguard", mtu: 1420, overhead: 60, ttl: 62, hops: []string{"10.244.1.1", "10.244.2.0", "10.244.2.2"}, proto: "17", port: "51820", df: "0", sum: true},
	{design: "flannel-ipip-directrouting", mtu: 1480, ttl: 62, hops: []string{"10.244.1.1", "192.168.56.12", "10.244.2.2"}, proto: "1", df: "1"},
	{design: "calico-bgp", mtu: 1500, ttl: 62, hops: []string{"192.168.56.11", "192.168.56.12", "10.244.2.0"}, proto: "1", df: "1"},
	{design: "calico-bgp-rr", mtu: 1500, ttl: 62, hops: []string{"192.168.56.11", "192.168.56.12", "10.244.2.0"}, proto: "1", df: "1"},
	{design: "calico-vxlan", mtu: 1450, overhead: 50, ttl: 62, hops: []string{"192.168.56.11", "10.244.2.0", "10.244.2.1"}, proto: "17", port: "4789", df: "0", sum: true, mac: true},
	{design: "calico-vxlan-crosssubnet", mtu: 1450, ttl: 62, hops: []string{"192.168.56.11", "192.168.56.12", "10.244.2.1"}, proto: "1", df: "1"},
	{design: "calico-ipip", mtu: 1480, overhead: 20, ttl: 62, hops: []string{"192.168.56.11", "10.244.2.0", "10.244.2.1"}, proto: "4", df: "1"},
	{design: "calico-ipip-crosssubnet", mtu: 1480, ttl: 62, hops: []string{"192.168.56.11", "192.168.56.12", "10.244.2.1"}, proto: "1", df: "1"},
}

// A14 and 0.4: every design, measured.
func TestA14Matrix(t *testing.T) {
	for _, r := range matrix {
		t.Run(r.design, func(t *testing.T) { r.check(t) })
	}
}

func (r row) check(t *testing.T) {
	cfg := twoNodes
	cfg.Design = r.design
	d, _ := overlay.Find(r.design)
	var p1a *emutest.Pod
	const size = 100
	s := record(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		p2a := lab.Pod("p2a", "node2")
		reply, err := p1a.PingWith("p2a", stack.PingConfig{Size: size}, time.Second)
		if err != nil || reply.Err() != nil {
			t.Fatalf("ping = %+v, %v, want an answer", reply, err)
		}
		if int(reply.TTL) != r.ttl {
			t.Errorf("the answer has TTL %d, want %d", reply.TTL, r.ttl)
		}
		full := stack.PingConfig{Size: r.mtu - 28, DontFragment: true}
		if reply, err := p1a.PingWith("p2a", full, time.Second); err != nil || reply.Err() != nil {
			t.Errorf("ping of %d bytes with DF: %+v, %v, want an answer", r.mtu, reply, err)
		}
		for _, p := range []*emutest.Pod{p1a, p2a} {
			if got := p.Stack().Device("eth0").MTU; got != r.mtu || got != 1500-d.Overhead {
				t.Errorf("%s has MTU %d, the design's overhead is %d, want %d", p.Name(), got, d.Overhead, r.mtu)
			}
		}
		wantList(t, "traceroute", hops(t, p1a, "p2a"), r.hops...)
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8")[0]
	seen := s.id(ask.id).on("default/p2a/eth0").one(t, "request at the other pod")
	seen.want(t, "ip.ttl", strconv.Itoa(r.ttl))
	cable := s.id(ask.id).on("node1/eth0").one(t, "request on the cable")
	r.checkOuter(t, cable, 20+8+size)
	if len(s.errors().filter(func(f *frame) bool { return f.first("icmp.type") == "3" })) > 0 {
		t.Error("somebody was unreachable")
	}
}

// checkOuter compares the outermost header of a packet whose inner one has so
// many bytes.
func (r row) checkOuter(t *testing.T, f *frame, inner int) {
	t.Helper()
	for field, want := range map[string]string{
		"ip.proto": r.proto, "ip.flags.df": r.df, "ip.len": strconv.Itoa(inner + r.overhead), "udp.dstport": r.port, "ip.checksum.status": "1",
	} {
		if got := f.outer(field); got != want {
			t.Errorf("%v: outer %s = %q, want %q", f, field, got, want)
		}
	}
	if r.sum && (f.outer("udp.checksum.status") != "1" || f.outer("udp.checksum") == "0x0000") {
		t.Errorf("%v: outer UDP checksum %s, status %s, want one that is right", f, f.outer("udp.checksum"), f.outer("udp.checksum.status"))
	}
	if got := len(f.fields["eth.src"]) > 1; got != r.mac {
		t.Errorf("%v: an inner Ethernet header is %v, want %v", f, got, r.mac)
	}
	if f.outer("ip.id") == "0x0000" {
		t.Errorf("%v: outer IP ID 0", f)
	}
}

// Every design of a cluster is in the matrix.
func TestA14MatrixIsComplete(t *testing.T) {
	for _, d := range overlay.Designs() {
		if !d.Standalone && !slices.ContainsFunc(matrix, func(r row) bool { return r.design == d.Name }) {
			t.Errorf("design %s is not compared", d.Name)
		}
	}
}

// withDesign is the reference cluster with a design.
func withDesign(name string) emu.Config {
	cfg := twoNodes
	cfg.Design = name
	return cfg
}

// FH1: host-gw encapsulates nothing; the pod sees TTL 62.
func TestFH1HostGW(t *testing.T) {
	var p1a *emutest.Pod
	s := record(t, withDesign("flannel-host-gw"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		p1a.Ping("p2a")
		wantList(t, "node1's tables", tables(lab, "node1", "route 10.244."),
			"route 10.244.1.0/24 dev cni0 proto kernel scope link src 10.244.1.1", "route 10.244.2.0/24 via 192.168.56.12 dev eth0")
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8").one(t, "request")
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/cni0 in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/eth0 out: node1/eth0 > node2/eth0, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/eth0 in: node1/eth0 > node2/eth0, 10.244.1.2 > 10.244.2.2, ttl 63",
		"node2/cni0 out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"node2/veth(p2a) out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
		"p2a/eth0 in: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 62",
	)
	for _, f := range s.frames {
		if f.tunnelled() {
			t.Errorf("%v: encapsulated", f)
		}
	}
}

// FU1: flannel's udp backend puts packets into UDP 8285 bare, and takes two
// from the TTL beside the two that the kernels take.
func TestFU1UDP(t *testing.T) {
	var p1a *emutest.Pod
	s := record(t, withDesign("flannel-udp"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		lab.Pod("p2a", "node2")
		p1a.Ping("p2a")
	})
	ask := s.on(eth0(p1a)).out().where("icmp.type", "8").one(t, "request")
	const outer = "[node1/eth0 > node2/eth0, 192.168.56.11 > 192.168.56.12, ttl 64, udp 8285]"
	s.wantPath(t, ask.id, "",
		"p1a/eth0 out: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/veth(p1a) in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/cni0 in: p1a/eth0 > node1/cni0, 10.244.1.2 > 10.244.2.2, ttl 64",
		"node1/flannel0 out: 10.244.1.2 > 10.244.2.2, ttl 63",
		"node1/eth0 out: "+outer+" 10.244.1.2 > 10.244.2.2, ttl 62",
		"node2/eth0 in: "+outer+" 10.244.1.2 > 10.244.2.2, ttl 62",
		"node2/flannel0 in: 10.244.1.2 > 10.244.2.2, ttl 61",
		"node2/cni0 out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 60",
		"node2/veth(p2a) out: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 60",
		"p2a/eth0 in: node2/cni0 > p2a/eth0, 10.244.1.2 > 10.244.2.2, ttl 60",
	)
	f := s.id(ask.id).on("node1/eth0").one(t, "request on the cable")
	if f.outer("udp.srcport") != "8285" || f.outer("ip.dsfield") != "0x00" {
		t.Errorf("%v: source port %s, TOS %s, want 8285 and 0", f, f.outer("udp.srcport"), f.outer("ip.dsfield"))
	}
	tun := s.id(ask.id).on("node1/flannel0").one(t, "request on flannel0")
	if got := tun.first("frame.protocols"); got != "raw:ip:icmp:data" || tun.first("frame.len") != "84" {
		t.Errorf("flannel0 shows %s with %s bytes, want a bare IP packet of 84", got, tun.first("frame.len"))
	}
}

// FU3: for a destination without a lease flanneld writes "net unreachable" into
// flannel0, with a TTL of 8. The kernel takes it for a martian: the pod never
// hears of it.
func TestFU3NoLease(t *testing.T) {
	var p1a *emutest.Pod
	s := record(t, withDesign("flannel-udp"), func(t *testing.T, lab *emutest.Lab) {
		p1a = lab.Pod("p1a", "node1")
		c, err := p1a.Dial("udp", "10.244.9.9:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "a question")
		c.SetReadDeadline(lab.Deadline(5 * time.Second))
		if n, err := c.Read(make([]byte, 10)); err == nil || !isTimeout(err) {
			t.Errorf("read %d bytes, %v, want a timeout", n, err)
		}
		if r, err := p1a.Machine.Ping("10.244.9.9", time.Second); err == nil {
			t.Errorf("ping = %+v, want no answer", r)
		}
		n := lab.Node("node1").Stack().Device("flannel0").Point()
		lab.Driver().Do(func() {
			if n.Drops(stack.DropMartianSrc) != 1 || n.Drops(overlay.DropProxyRoute) != 2 {
				t.Errorf("%d martians, %d without a lease, want 1 and 2: there is no error about ICMP",
					n.Drops(stack.DropMartianSrc), n.Drops(overlay.DropProxyRoute))
			}
		})
	})
	f := s.errors().one(t, "ICMP error, anywhere")
	if f.iface != "node1/flannel0" || f.dir != "in" {
		t.Errorf("%v: want it on flannel0", f)
	}
	f.want(t, "icmp.type", "3", "icmp.code", "0", "ip.src", "10.244.1.0", "ip.dst", "10.244.1.2", "ip.ttl", "8", "ip.id", "0x0000",
		"ip.dsfield", "0x00", "ip.flags.df", "0", "ip.len", "56", "ip.checksum.status", "1", "icmp.checksum.status", "1")
	f.wantQuoted(t, "ip.src", "10.244.1.2", "ip.dst", "10.244.9.9", "ip.ttl", "63", "udp.dstport", "9")
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}
