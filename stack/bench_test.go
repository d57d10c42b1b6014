package stack

import (
	"encoding/binary"
	"testing"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/netfilter"
)

// path is a router between two ports that the benchmark holds itself, with
// whatever rules; pass sends one UDP packet through and everything that it
// causes, in the caller's goroutine.
type path struct {
	drv       *link.Driver
	host      *Host
	in        *Device
	pkt       []byte
	delivered int
}

func newPath(t testing.TB, rules string) *path {
	p := &path{drv: link.NewDriver(link.DriverConfig{})}
	p.drv.Do(func() {
		h := NewHost(p.drv, Config{Name: "r", Forward: true})
		out := p.drv.NewPort("eth1", func(f *link.Frame) { p.delivered++; f.Release() })
		var err error
		must := func() {
			if err != nil {
				t.Fatal(err)
			}
		}
		p.in, err = h.AddEthernet("eth0", link.LocalMAC(1), 1500, p.drv.NewPort("eth0", (*link.Frame).Release))
		must()
		err = p.in.AddAddr(prefix("10.0.1.1/24"))
		must()
		eth1, err := h.AddEthernet("eth1", link.LocalMAC(2), 1500, out)
		if err == nil {
			err = eth1.AddAddr(prefix("10.0.2.1/24"))
		}
		if err == nil {
			err = h.SetNeighbour(eth1, addr("10.0.2.2"), link.LocalMAC(3))
		}
		if err == nil && rules != "" {
			err = h.Netfilter().Restore(rules, netfilter.RestoreOptions{})
			h.RulesChanged()
		}
		if err != nil {
			t.Fatal(err)
		}
		p.host = h
	})
	p.pkt = frame(p.in.MAC, link.LocalMAC(9), etherIPv4, udpPacket("10.0.1.2:1000", "10.0.2.2:2000", make([]byte, 1400)))
	t.Cleanup(func() { p.host.Close(); p.drv.Close() })
	return p
}

// pass wants the driver's lock.
func (p *path) pass() {
	f := p.drv.NewFrame(len(p.pkt))
	copy(f.Bytes(), p.pkt)
	f.Intact = true // as what hosts of the lab have sent
	p.in.Receive(f)
}

const establishedRules = `*nat
-A PREROUTING -d 10.96.0.10/32 -p udp -j DNAT --to-destination 10.0.2.2:2000
-A POSTROUTING -o eth1 -j MASQUERADE
COMMIT
*filter
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`

// TestForwardingAllocates nothing, without rules and for a flow that
// connection tracking knows and translates.
func TestForwardingAllocatesNothing(t *testing.T) {
	for name, rules := range map[string]string{"plain": "", "established, NAT": establishedRules} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t, rules)
			p.drv.Do(func() {
				p.pass() // the first packet of the flow
				before := p.delivered
				if n := testing.AllocsPerRun(100, p.pass); n != 0 {
					t.Errorf("%v allocations per packet, want 0", n)
				}
				equal(t, "packets delivered", p.delivered-before, 101)
				equal(t, "frames left", p.drv.LiveFrames(), 0)
			})
		})
	}
}

func BenchmarkForward(b *testing.B) {
	for _, bb := range []struct{ name, rules string }{
		{"plain", ""}, {"conntrack", "*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"}, {"nat", establishedRules},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := newPath(b, bb.rules)
			b.ReportAllocs()
			p.drv.Do(func() {
				for b.Loop() {
					p.pass()
				}
			})
		})
	}
}

// BenchmarkNewFlows is forwarding when each packet begins a flow.
func BenchmarkNewFlows(b *testing.B) {
	p := newPath(b, establishedRules)
	b.ReportAllocs()
	p.drv.Do(func() {
		ip := ipv4(p.pkt[link.EthernetHeader:])
		for i := uint32(0); b.Loop(); i++ {
			binary.BigEndian.PutUint32(ip[12:], 0x0a000000|i&0xffffff)
			ip[12] = 11
			ip.fixChecksum()
			p.pass()
		}
	})
}

// BenchmarkHostToHost is a datagram through two hosts and a router between
// them, from the socket's packet to the other host's door.
func BenchmarkHostToHost(b *testing.B) {
	drv := link.NewDriver(link.DriverConfig{})
	n := &network{TB: b, drv: drv}
	a, r, c := n.routed(link.WireConfig{}, link.WireConfig{})
	defer n.close()
	arrived := 0
	n.do(func() {
		n.try(a.SetNeighbour(a.Device("eth0"), addr("10.0.1.1"), r.Device("eth0").MAC))
		n.try(r.SetNeighbour(r.Device("eth1"), addr("10.0.2.2"), c.Device("eth0").MAC))
		n.try(c.BindTunnel(9, func(_ Outer, f *link.Frame) { arrived++; f.Release() }))
	})
	b.ReportAllocs()
	const batch = 64
	sent := 0
	for b.Loop() {
		done := make(chan struct{})
		n.do(func() {
			for range batch {
				a.SendTunnel(Outer{Dst: addr("10.0.2.2"), SrcPort: 1, DstPort: 9}, drv.NewFrame(1400))
			}
			sent += batch
			drv.WhenIdle(func() { close(done) })
		})
		<-done
	}
	equal(b, "datagrams that arrived", arrived, sent)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/packet")
}
