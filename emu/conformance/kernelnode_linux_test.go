package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
)

// A kernelNode is a node of the cluster that the real kernel plays, in a network
// namespace of its own with a pod in a second one. A TAP joins it to the underlay.
type kernelNode struct {
	*netns
	name    string
	addr    netip.Addr
	podCIDR netip.Prefix
	pod     *netns
	podAddr netip.Addr
}

func newKernelNode(t *testing.T, lab *emu.Lab, podCIDR string, podMTU int) *kernelNode {
	t.Helper()
	n := &kernelNode{
		netns: newNetns(t), name: "pw0", addr: netip.MustParseAddr("192.168.56.20"), podCIDR: netip.MustParsePrefix(podCIDR),
	}
	n.pod, n.podAddr = n.netns.pod(n.podCIDR, podMTU)
	var err error
	n.do(func() { _, err = lab.AddTAP(emu.TAPConfig{Name: n.name, Addr: n.addr}) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// talk has pods of the kernel and of the lab ping each other and exchange bytes
// over TCP. A packet loses one hop at each of the two nodes.
func (n *kernelNode) talk(t *testing.T, pod *emu.Pod) {
	t.Helper()
	if ttl, err := n.pod.ping(pod.Addr()); err != nil || ttl != 62 {
		t.Errorf("the kernel's pod pings %s: TTL %d, %v, want 62", pod.Name(), ttl, err)
	}
	if r, err := pod.Ping(n.podAddr.String(), patience); err != nil || r.Err() != nil || r.TTL != 62 {
		t.Errorf("%s pings the kernel's pod: %+v, %v, want TTL 62", pod.Name(), r, err)
	}
	l, port := n.pod.listen()
	c, err := pod.Dial("tcp", fmt.Sprintf("%v:%d", n.podAddr, port))
	if err == nil {
		err = exchangeBulk(c, serveEcho(l))
	}
	if err != nil {
		t.Errorf("TCP from %s to the kernel's pod: %v", pod.Name(), err)
	}
	if l, err = pod.Listen("tcp", ":7"); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err = n.pod.dial(fmt.Sprintf("%v:7", pod.Addr())); err == nil {
		err = exchangeBulk(c, serveEcho(l))
	}
	if err != nil {
		t.Errorf("TCP from the kernel's pod to %s: %v", pod.Name(), err)
	}
}

// The kernel's own VXLAN device is a working VTEP of a flannel-vxlan cluster: it
// is told of the emulated nodes as flanneld would, they have a lease of its.
func TestKernelVTEP(t *testing.T) {
	mac, err := link.ParseMAC("02:00:00:00:09:01")
	if err != nil {
		t.Fatal(err)
	}
	list := realTime(t, emu.Config{Nodes: 2}, func(lab *emu.Lab) {
		k := newKernelNode(t, lab, "10.244.9.0/24", 1450)
		k.run("ip link add flannel.1 address %v mtu 1450 type vxlan id 1 local %v dev %s dstport 8472 nolearning", mac, k.addr, k.name)
		k.run("ip addr add %v/32 dev flannel.1 && ip link set flannel.1 up", k.podCIDR.Addr())
		for _, n := range lab.Nodes() {
			var vtep link.MAC
			lab.Driver().Do(func() { vtep = n.Stack().Device("flannel.1").MAC })
			subnet := n.PodCIDR()
			k.run("ip neigh replace %v lladdr %v dev flannel.1 nud permanent", subnet.Addr(), vtep)
			k.run("bridge fdb append %v dev flannel.1 dst %v self permanent", vtep, n.Addr())
			k.run("ip route replace %v via %v dev flannel.1 onlink", subnet, subnet.Addr())
		}
		if err := lab.AddForeignNode(emu.ForeignNode{Name: "kernel", Addr: k.addr, PodCIDR: k.podCIDR, VTEPMAC: mac}); err != nil {
			t.Fatal(err)
		}
		for _, n := range lab.Nodes() {
			k.talk(t, addPod(t, lab, n))
		}
	})
	for _, node := range []string{"node1", "node2"} {
		outside := list.on(node + "/eth0").having("vxlan.vni")
		for who, frames := range map[string]frames{"the kernel": outside.in(), "we": outside.out()} {
			if len(frames) < 2*len(bulk)/1450 {
				t.Errorf("%s: %s sent %d VXLAN frames, want what carries %d bytes and more", node, who, len(frames), 2*len(bulk))
			}
			for _, f := range frames {
				wantVXLANOfFlannel(t, f)
			}
		}
	}
}

// wantVXLANOfFlannel checks what the outer headers of every implementation have in
// common.
func wantVXLANOfFlannel(t *testing.T, f *frame) {
	t.Helper()
	for _, want := range [][2]string{
		{"ip.ttl", "64"}, {"ip.flags.df", "0"}, {"ip.dsfield", "0x00"}, {"udp.dstport", "8472"}, {"udp.checksum.status", "1"},
		{"vxlan.flags", "0x0800"}, {"vxlan.vni", "1"},
	} {
		if got := f.outer(want[0]); got != want[1] {
			t.Errorf("%v: outer %s = %q, want %q", f, want[0], got, want[1])
		}
	}
	f.want(t, "ip.ttl", "63")
}

// The kernel is a node of a flannel-host-gw cluster: plain routes on both sides.
func TestKernelHostGW(t *testing.T) {
	list := realTime(t, emu.Config{Nodes: 1, Design: "flannel-host-gw"}, func(lab *emu.Lab) {
		k := newKernelNode(t, lab, "10.244.9.0/24", 1500)
		node := lab.Nodes()[0]
		k.run("ip route replace %v via %v dev %s", node.PodCIDR(), node.Addr(), k.name)
		if err := lab.AddForeignNode(emu.ForeignNode{Name: "kernel", Addr: k.addr, PodCIDR: k.podCIDR}); err != nil {
			t.Fatal(err)
		}
		k.talk(t, addPod(t, lab, node))
	})
	for _, f := range list.on("node1/eth0").where("ip.src", "10.244.9.2").some(t, "from the kernel's pod") {
		f.want(t, "ip.ttl", "63", "ip.dst", "10.244.1.2")
	}
}

func addPod(t *testing.T, lab *emu.Lab, n *emu.Node) *emu.Pod {
	t.Helper()
	p, err := lab.AddPod(emu.PodConfig{Name: "on-" + n.Name(), Node: n.Name()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
