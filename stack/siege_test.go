package stack

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack/conntrack"
)

// siege is a node that is attacked, and two honest hosts that go on using it.
// Everything that meets hostile bytes on a real node is there: netfilter with
// NAT, br_netfilter, forwarding to a smaller MTU, a tunnel, listeners,
// connections, a ping that nobody answers.
//
//	attacker ── eth0 10.0.0.1/24 ┐      ┌ eth1 10.0.1.1/24, MTU 600 ── friend 10.0.1.2
//	                             ├ node ┤
//	attacker ── veth0 ┐          │      └ tun0, what comes to UDP port 8472
//	pod ─────── veth1 ┴ cni0 10.0.2.1/24, MTU 1450
type siege struct {
	*network
	node, friend, pod *Host
	doors             []*door
	bridged           bool // the attack came by the bridge, where it may take the pod's place
}

// door is where the attacker's frames come in.
type door struct {
	dev  *Device // whose MAC the frames want
	port *link.Port
	sent func(ipv4) // told of the IP packets that the node sends this way
}

// attacker is a host of eth0's link that the node knows.
const attacker = "10.0.0.2"

var attackerMAC = link.LocalMAC(9)

// besiege makes a siege and calls f in virtual time. It fails if the run does not
// end, if afterwards the node does not serve the honest, or if a frame is kept.
func besiege(t *testing.T, f func(s *siege)) {
	t.Helper()
	stuck := time.AfterFunc(30*time.Second, func() { panic("the node is in a loop: the run has not ended after 30 s") })
	defer stuck.Stop()
	inBubble(t, func(n *network) {
		s := newSiege(n)
		f(s)
		s.mustHold()
	})
}

func newSiege(n *network) *siege {
	s := &siege{network: n}
	s.node = n.host(Config{Name: "node", Forward: true, BridgeNetfilter: true, Conntrack: conntrack.Config{Max: 256, Buckets: 512}, Backlog: 64})
	s.friend = n.host(Config{Name: "friend"})
	s.pod = n.host(Config{Name: "pod"})
	n.join(s.node, "eth1", "10.0.1.1/24", s.friend, "eth0", "10.0.1.2/24", link.WireConfig{MTU: 600})
	n.route(s.friend, "0.0.0.0/0", "10.0.1.1", "eth0")
	n.do(func() { s.addDoors() })
	n.nic(s.pod, "eth0", "10.0.2.2/24", 1450, s.veth("veth1"))
	n.route(s.pod, "0.0.0.0/0", "10.0.2.1", "eth0")
	n.rules(s.node, siegeRules)
	s.serve(s.node, ":80")
	s.serve(s.pod, ":8080")
	_, err := s.node.ListenPacket("udp", ":53")
	n.try(err)
	s.addTraffic()
	return s
}

const siegeRules = `*raw
-A PREROUTING -p udp --dport 4 -j NOTRACK
COMMIT
*nat
-A PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.2.2:8080
-A PREROUTING -d 10.96.0.10/32 -p udp -j DNAT --to-destination 10.0.1.2:53
-A PREROUTING -p tcp --dport 81 -j REDIRECT --to-ports 80
-A POSTROUTING -o eth1 -s 10.0.0.0/24 -j MASQUERADE
COMMIT
*filter
-A INPUT -p tcp --dport 82 -j REJECT --reject-with tcp-reset
-A FORWARD -p tcp --dport 83 -j REJECT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`

// addDoors adds the attacker's links and the tunnel. The caller holds the lock.
func (s *siege) addDoors() {
	h := s.node
	eth0 := &door{}
	eth0.port = s.drv.NewPort("eth0", eth0.take)
	var err error
	eth0.dev, err = h.AddEthernet("eth0", link.LocalMAC(1), 1500, eth0.port)
	s.try(err)
	s.try(eth0.dev.AddAddr(prefix("10.0.0.1/24")))
	s.try(h.SetNeighbour(eth0.dev, addr(attacker), attackerMAC))
	s.try(h.AddRoute(Route{Dst: prefix("0.0.0.0/0"), Via: addr(attacker), Dev: eth0.dev}))

	br, err := h.AddBridge("cni0", link.LocalMAC(3), 1450)
	s.try(err)
	s.try(br.AddAddr(prefix("10.0.2.1/24")))
	veth0 := &door{dev: br}
	veth0.port = s.drv.NewPort("veth0", veth0.take)
	_, p, err := h.AddBridgePort(br, "veth0", link.LocalMAC(10), 1450, veth0.port)
	s.try(err)
	p.Hairpin = true
	s.doors = []*door{eth0, veth0}

	tun, err := h.AddDevice(DeviceConfig{Name: "tun0", MAC: link.LocalMAC(4), MTU: 1450, Transmit: (*link.Frame).Release})
	s.try(err)
	s.try(tun.AddAddr(prefix("10.0.3.1/24")))
	s.try(h.BindTunnel(8472, func(_ Outer, f *link.Frame) { tun.Receive(f) }))
}

// veth adds a port to the bridge and returns the other end.
func (s *siege) veth(name string) (end *link.Port) {
	s.do(func() {
		var port *link.Port
		port, end = s.drv.NewVeth("node/"+name, name)
		_, p, err := s.node.AddBridgePort(s.node.Device("cni0"), name, s.mac(), 1450, port)
		s.try(err)
		p.Hairpin = true
	})
	return end
}

// take is the attacker's end of a link.
func (d *door) take(f *link.Frame) {
	if b := f.Bytes(); d.sent != nil && link.EtherType(b) == etherIPv4 {
		d.sent(b[link.EthernetHeader:])
	}
	f.Release()
}

// serve listens and echoes.
func (s *siege) serve(h *Host, address string) {
	ln, err := h.Listen("tcp", address)
	s.try(err)
	s.drv.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.drv.Go(func() { io.Copy(c, c) })
		}
	})
}

// addTraffic makes what forged errors and segments can be about: a connection
// through the node with NAT, one that ends at the node, and a ping of the node
// that is never answered.
func (s *siege) addTraffic() {
	for _, to := range []string{"10.96.0.10:80", "10.0.1.1:80"} {
		_, err := s.friend.Dial("tcp", to)
		s.try(err)
	}
	c, err := s.node.OpenPing(PingConfig{})
	s.try(err)
	s.do(func() { s.try(c.send(addr(attacker), 1)) })
	s.wait(0)
}

// attack sends one frame in by a door.
func (s *siege) attack(d *door, b []byte) {
	s.bridged = s.bridged || d.dev.bridge != nil
	s.do(func() {
		f := s.drv.NewFrame(min(len(b), 1<<16))
		copy(f.Bytes(), b)
		d.port.Deliver(f)
	})
}

// mustHold checks that the node is bounded, that it gets over what it was sent
// and that the honest are served.
func (s *siege) mustHold() {
	s.Helper()
	s.wait(0)
	s.mustBeBounded()
	s.wait(2 * time.Minute) // whatever waits for an answer has given up
	s.mustBeBounded()
	equal(s, "bytes of fragments that wait", s.node.frags.bytes, 0)
	ping(s.network, s.friend, "10.0.1.1", 0)
	s.mustEcho(s.friend, "10.0.1.1:80")
	if !s.bridged {
		s.mustEcho(s.friend, "10.96.0.10:80")
	}
}

// mustBeBounded compares all that a stranger can make a host remember with its
// bound.
func (s *siege) mustBeBounded() {
	s.Helper()
	s.do(func() {
		h := s.node
		for _, x := range []struct {
			what      string
			got, most int
		}{
			{"bytes of fragments", h.frags.bytes, maxFragBytes + 1<<16 + fragCost},
			{"neighbours", h.neigh.listed.n, 1024},
			{"connections", h.track.Len(), h.track.Max()},
			{"peers of the ICMP limit", len(h.icmp.peers), maxPeers},
			{"flows of sockets", len(h.sockets.flows), maxFlows},
			{"addresses of the bridge", len(h.Device("cni0").bridge.FDB()), 1 << 16},
			{"answers to a ping", pingAnswers(h), 1},
		} {
			if x.got > x.most {
				s.Errorf("%s: %d, want at most %d", x.what, x.got, x.most)
			}
		}
	})
}

func pingAnswers(h *Host) (most int) {
	for _, c := range h.pings {
		most = max(most, len(c.got))
	}
	return most
}

// mustEcho opens a connection and wants back what it sends.
func (s *siege) mustEcho(from *Host, to string) {
	s.Helper()
	c, err := from.Dial("tcp", to)
	if err != nil {
		s.Errorf("an honest connection to %s: %v", to, err)
		return
	}
	defer c.Close()
	c.SetDeadline(s.drv.Epoch().Add(s.now() + time.Minute))
	got := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		s.Errorf("an honest write to %s: %v", to, err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		s.Errorf("echo of %s: %q, %v, want hello", to, got, err)
	}
}

// A plot is a sequence of hostile frames, written as bytes that a fuzzer can
// change. Each frame begins with a control byte and the number of bytes that
// follow; what those are depends on the target.
//
//	bit 0    the door: eth0, or the bridge's port veth0
//	bits 1-2 where to and from, see plotAddrs
//	bit 3    leave lengths and checksums as they are
//	bit 4    to everybody: the frame's destination is the broadcast address
//	bit 5    the last byte is repeated until the packet has 1,300 bytes
//	bits 6-7 wait afterwards: not, 1 s, 31 s, 10 min
type plot []byte

// maxPlot bounds how many frames of a plot are played.
const maxPlot = 40

// plotAddrs are the ends of a packet, by bits 1 and 2 of the control byte.
var plotAddrs = [4]struct{ src, dst string }{
	{attacker, "10.0.0.1"},   // the node itself
	{attacker, "10.0.1.2"},   // through the node, masqueraded
	{"10.0.2.9", "10.0.2.2"}, // within the bridge
	{attacker, "10.96.0.10"}, // through DNAT
}

func (p plot) frame(control byte, b []byte) plot {
	return append(append(p, control, byte(len(b))), b...)
}

// each calls f for every frame, with the bytes as they are to be sent.
func (p plot) each(s *siege, f func(d *door, control byte, b []byte) []byte) {
	for n := 0; len(p) >= 2 && n < maxPlot; n++ {
		control, size := p[0], min(int(p[1]), len(p)-2)
		b := append([]byte(nil), p[2:2+size]...)
		p = p[2+size:]
		for control&0x20 != 0 && len(b) > 0 && len(b) < 1300 {
			b = append(b, b[len(b)-1])
		}
		d := s.doors[control&1]
		s.attack(d, f(d, control, b))
		s.wait([4]time.Duration{0, time.Second, 31 * time.Second, 10 * time.Minute}[control>>6])
	}
}

// wrap puts an Ethernet header in front of a packet.
func (d *door) wrap(control byte, typ uint16, pkt []byte) []byte {
	to := d.dev.MAC
	if control&0x10 != 0 {
		to = link.Broadcast
	}
	return frame(to, attackerMAC, typ, pkt)
}

// ipAround puts an IP header in front of a transport message.
func ipAround(control, proto byte, l4 []byte) ipv4 {
	ends := plotAddrs[control>>1&3]
	return ipPacket(between(ends.src, ends.dst, proto), l4)
}

// repair gives ip the right version, lengths and checksums, so that the bytes
// behind them are looked at.
func repair(ip ipv4) {
	if len(ip) < ipv4MinHeader {
		return
	}
	ip[0] = 0x40 | max(5, min(ip[0]&15, byte(len(ip)/4)))
	if total := ip.totalLen(); total > len(ip) || total < ip.headerLen() {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	}
	ip.fixChecksum()
	ip = ip[:ip.totalLen()]
	if l4 := ip.payload(); ip.proto() == protoICMP && !ip.fragment() && len(l4) >= icmpHeader {
		putICMP(l4, l4[0], l4[1], binary.BigEndian.Uint32(l4[4:]), l4[icmpHeader:])
		return
	}
	sumTransport(ip)
}

func TestSiegeHoldsWhenNobodyAttacks(t *testing.T) {
	besiege(t, func(*siege) {})
}

// The checks of a siege are no good if they cannot fail.
func TestSiegeNoticesWhatIsBroken(t *testing.T) {
	besiege(t, func(s *siege) {
		broken := &siege{network: &network{TB: &quietTB{TB: s.TB}, drv: s.drv}, node: s.node, friend: s.friend}
		s.do(func() { s.node.Device("eth1").SetUp(false) })
		broken.mustEcho(s.friend, "10.0.1.1:80")
		s.do(func() { s.node.Device("eth1").SetUp(true) })
		equal(t, "complaints about a node that is cut off", broken.TB.(*quietTB).errors, 1)
	})
}

// quietTB counts errors instead of reporting them.
type quietTB struct {
	testing.TB
	errors int
}

func (q *quietTB) Helper()               {}
func (q *quietTB) Errorf(string, ...any) { q.errors++ }
