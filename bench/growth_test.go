package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/kube"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
	"github.com/podwire/podwire/stack/ipvs"
	"github.com/podwire/podwire/stack/netfilter"
	"github.com/podwire/podwire/stack/nftables"
)

// BenchmarkGrowth is one UDP datagram of 1,400 bytes where there are n of
// something. Ratios near 1 say that the cost does not grow. What is left is
// memory: tables that do not fit the processor's caches.
func BenchmarkGrowth(b *testing.B) {
	for _, g := range []struct {
		of    string
		sizes []int
		run   func(b *testing.B, n int)
	}{
		{"routes", upTo100000, growRoutes},
		{"connections", upTo100000, growConnections},
		{"neighbours", upTo100000, growNeighbours},
		{"fdb", []int{10, 1000, 60000}, growFDB}, // a bridge learns 65,536 addresses
		{"pods", []int{10, 1000, 10000}, growPods},
	} {
		for _, n := range g.sizes {
			b.Run(fmt.Sprintf("of=%s/n=%d", g.of, n), func(b *testing.B) { g.run(b, n) })
		}
	}
	for _, n := range upTo100000 {
		b.Run(fmt.Sprintf("of=services/flow=old/n=%d", n), func(b *testing.B) { growServices(b, n) })
		b.Run(fmt.Sprintf("of=services/flow=new/n=%d", n), func(b *testing.B) { growServicesNew(b, n) })
	}
	servicesNode.node, servicesNode.services = nil, 0
	for _, mode := range []string{emu.ProxyIPVS, emu.ProxyNFTables} {
		for _, n := range []int{10, 1000, 10000} {
			node := newBenchNode(b)
			node.loadMode(mode, n)
			b.Run(fmt.Sprintf("of=services/proxy=%s/flow=old/n=%d", mode, n), func(b *testing.B) { node.again(b).forward(b, datagram(podAddr, serviceAddr), false) })
			b.Run(fmt.Sprintf("of=services/proxy=%s/flow=new/n=%d", mode, n), func(b *testing.B) { node.again(b).forward(b, datagram(podAddr, serviceAddr), true) })
		}
	}
}

// again is a node that has been measured before.
func (n *benchNode) again(b *testing.B) *benchNode {
	n.tb = b
	if ct := n.host.Conntrack(); ct != nil {
		ct.Flush()
	}
	return n
}

// loadMode is loadServices for another mode of kube-proxy.
func (n *benchNode) loadMode(mode string, services int) {
	proxy, c := n.newProxy(services)
	n.drv.Do(func() {
		if mode == emu.ProxyNFTables {
			table, own := proxy.NFTables(c)
			for _, text := range []string{table, own} {
				script, err := nftables.Parse(text)
				n.must(err)
				n.must(n.host.NFTables().Apply(script, 0))
			}
		} else {
			want := proxy.IPVS(c)
			n.must(n.host.Netfilter().RestoreSets(want.Sets))
			n.must(n.host.Netfilter().Restore(want.Rules, netfilter.RestoreOptions{NoFlush: true}))
			n.must(n.host.Netfilter().Restore(kube.IPVSJumps(), netfilter.RestoreOptions{NoFlush: true}))
			dev, err := n.host.AddDevice(stack.DeviceConfig{Name: "kube-ipvs0", MTU: 1500, NoARP: true, Kind: "dummy", Transmit: (*link.Frame).Release})
			n.must(err)
			dev.SetUp(false)
			for _, a := range want.Bind {
				n.must(dev.AddAddr(netip.PrefixFrom(a, 32)))
			}
			for _, s := range want.Servers {
				k := ipvs.Key{Proto: 17, Addr: s.Addr}
				n.must(n.host.IPVS().AddService(ipvs.ServiceConfig{Addr: s.Addr, Proto: 17}))
				for _, e := range s.Endpoints {
					n.must(n.host.IPVS().AddServer(k, ipvs.ServerConfig{Addr: e, Weight: 1}))
				}
			}
		}
		n.host.RulesChanged()
		n.must(n.host.AddRoute(stack.Route{Dst: clusterNet, Via: outsider, Dev: n.out}))
		n.must(n.host.AddRoute(stack.Route{Dst: serviceNet, Via: outsider, Dev: n.out}))
	})
}

var upTo100000 = []int{10, 1000, 100000}

// numbered is the nth address of a range.
func numbered(base string, n int) netip.Addr {
	a := netip.MustParseAddr(base).As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(n))
	return netip.AddrFrom4(a)
}

func growRoutes(b *testing.B, n int) {
	node := newBenchNode(b)
	node.drv.Do(func() {
		for i := range n {
			node.must(node.host.AddRoute(stack.Route{Dst: netip.PrefixFrom(numbered("172.16.0.0", i), 32), Via: outsider, Dev: node.out}))
		}
	})
	node.forward(b, datagram(podAddr, numbered("172.16.0.0", n/2)), false)
}

func growServices(b *testing.B, n int) {
	nodeWithServices(b, n).forward(b, datagram(podAddr, serviceAddr), false)
}

func growServicesNew(b *testing.B, n int) {
	nodeWithServices(b, n).forward(b, datagram(podAddr, serviceAddr), true)
}

// nodeWithServices returns a node with kube-proxy's rules, the same one each
// time: 100,000 Services take a while to load.
func nodeWithServices(b *testing.B, n int) *benchNode {
	if servicesNode.services != n {
		servicesNode.node, servicesNode.services = newBenchNode(b), n
		servicesNode.node.loadServices(n)
	}
	node := servicesNode.node
	node.tb = b
	if ct := node.host.Conntrack(); ct != nil {
		ct.Flush()
	}
	return node
}

var servicesNode struct {
	node     *benchNode
	services int
}

func growConnections(b *testing.B, n int) {
	node := newBenchNode(b)
	node.loadServices(10)
	pkt := datagram(podAddr, outsider)
	node.drv.Do(func() {
		for i := range n {
			binary.BigEndian.PutUint16(pkt[20:], uint16(1024+i%50000))
			binary.BigEndian.PutUint16(pkt[22:], uint16(100+i/50000))
			node.in.Receive(node.frame(pkt, node.in))
		}
		if got := node.host.Conntrack().Len(); got != n {
			b.Fatalf("%d connections, want %d", got, n)
		}
	})
	node.forward(b, datagram(podAddr, outsider), false)
}

func growNeighbours(b *testing.B, n int) {
	node := newBenchNode(b)
	node.drv.Do(func() {
		for i := range n {
			node.neighbour(node.out, numbered("172.16.0.1", i))
		}
		node.must(node.out.AddAddr(netip.MustParsePrefix("172.31.255.254/12")))
	})
	// Two neighbours in turn: a device remembers the one that it has used last.
	node.forwardEach(b, datagram(podAddr, numbered("172.16.0.1", n/2)), datagram(podAddr, numbered("172.16.0.1", n/3)))
}

// forwardEach is forward for several flows in turn.
func (n *benchNode) forwardEach(b *testing.B, pkts ...[]byte) {
	n.drv.Do(func() {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			n.in.Receive(n.frame(pkts[i%len(pkts)], n.in))
		}
	})
	if n.left != b.N {
		b.Fatalf("%d of %d datagrams came out of the node", n.left, b.N)
	}
}

func growFDB(b *testing.B, n int) {
	drv := link.NewDriver(link.DriverConfig{})
	b.Cleanup(drv.Close)
	drv.Do(func() {
		br, left := drv.NewBridge("br0"), 0
		in := br.AddPort("in", drv.NewPort("in", (*link.Frame).Release))
		out := br.AddPort("out", drv.NewPort("out", func(f *link.Frame) { left++; f.Release() }))
		for i := range n {
			br.AddStatic(link.LocalMAC(uint64(i)), out)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			f := drv.NewFrame(link.EthernetHeader + 1400)
			link.PutEthernet(f.Bytes(), link.LocalMAC(uint64(i%8*n/8)), link.LocalMAC(1<<40), 0x0800)
			br.Decide(f, in)
		}
		if left != b.N {
			b.Fatalf("%d of %d frames came out of the bridge", left, b.N)
		}
	})
}

// growPods is a datagram from pod to pod over VXLAN in a lab with that many
// others, a hundred to a node.
func growPods(b *testing.B, n int) {
	nodes := max(2, n/100)
	lab := newFlightLab(b, nodes, 10)
	for i := range n {
		_, err := lab.AddPod(emu.PodConfig{Name: fmt.Sprintf("idle-%d", i), Node: fmt.Sprintf("node%d", 1+i%nodes)})
		fatal(b, err)
	}
	x := newFlight(b, lab, "node2", true)
	b.ReportAllocs()
	sent := 0
	for b.Loop() {
		if sent%flightBatch == 0 {
			x.batch()
		}
		sent++
	}
}

// TestFirstPacketCostsTheSame: what a new flow to a Service is held against does
// not depend on how many Services there are, and that of a known flow neither.
func TestFirstPacketCostsTheSame(t *testing.T) {
	looked := func(services int) (first, later uint64) {
		n := newBenchNode(t)
		n.loadServices(services)
		pkt := datagram(podAddr, serviceAddr)
		pass := func() (rules uint64) {
			n.drv.Do(func() {
				before := n.host.Netfilter().Evaluated
				n.in.Receive(n.frame(pkt, n.in))
				rules = n.host.Netfilter().Evaluated - before
			})
			return rules
		}
		first, later = pass(), pass()
		if n.left != 2 {
			t.Fatalf("%d of 2 datagrams came out of the node", n.left)
		}
		return first, later
	}
	first, later := looked(10)
	t.Logf("rules that a datagram is held against: the first of a flow %d, later ones %d", first, later)
	for _, services := range []int{1000} {
		if f, l := looked(services); f != first || l != later {
			t.Errorf("%d Services: %d and %d rules, want %d and %d as with 10", services, f, l, first, later)
		}
	}
	if later >= first {
		t.Errorf("a known flow is held against %d rules, want less than the %d of a new one", later, first)
	}
}
