package stack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// bridged is a node with the bridge cni0, 10.244.1.1/24, and two pods on it.
func bridged(n *network, brnf bool) (node, p1, p2 *Host) {
	n.Helper()
	node = n.host(Config{Name: "node", Forward: true, BridgeNetfilter: brnf})
	var br *Device
	n.do(func() {
		var err error
		br, err = node.AddBridge("cni0", n.mac(), 1450)
		n.try(err)
		n.try(br.AddAddr(prefix("10.244.1.1/24")))
	})
	pod := func(name, address string) *Host {
		p := n.host(Config{Name: name})
		var in, out *link.Port
		n.do(func() {
			in, out = n.drv.NewVeth(name, "veth"+name)
			_, port, err := node.AddBridgePort(br, "veth"+name, n.mac(), 1450, out)
			n.try(err)
			port.Hairpin = true
		})
		n.nic(p, "eth0", address, 1450, in)
		n.route(p, "0.0.0.0/0", "10.244.1.1", "eth0")
		return p
	}
	return node, pod("p1", "10.244.1.2/24"), pod("p2", "10.244.1.3/24")
}

func service(backend string) string {
	return `*nat
-A PREROUTING -d 10.96.0.10/32 -p tcp --dport 80 -j DNAT --to-destination ` + backend + `:8080
-A POSTROUTING -s ` + backend + `/32 -d ` + backend + `/32 -j MASQUERADE
COMMIT
`
}

// TestBridgedDNAT: with br_netfilter a packet that is translated to a pod on
// the same bridge is bridged there: source MAC and TTL stay.
func TestBridgedDNAT(t *testing.T) {
	inBubble(t, func(n *network) {
		node, p1, p2 := bridged(n, true)
		n.rules(node, service("10.244.1.3"))
		serveEcho(n, p2, ":8080")
		rec := n.record(p2.Device("eth0"))
		if got, want := fetch(n, p1, "10.96.0.10:80"), "10.244.1.3:8080 sees 10.244.1.2:"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, s := range rec.seen {
			if link.EtherType(s.b) == etherIPv4 && s.dir == link.In {
				equal(t, "source MAC of "+describe(s.b), link.SrcMAC(s.b), p1.Device("eth0").MAC)
				equal(t, "TTL of "+describe(s.b), s.ip().ttl(), 64)
			}
		}
	})
}

// TestBridgeWithoutNetfilter: the answer goes straight back and is not
// translated, so that the client resets it.
func TestBridgeWithoutNetfilter(t *testing.T) {
	inBubble(t, func(n *network) {
		node, p1, p2 := bridged(n, false)
		n.rules(node, service("10.244.1.3"))
		serveEcho(n, p2, ":8080")
		rec := n.record(p1.Device("eth0"))
		ended := make(chan string, 1)
		n.drv.Go(func() { ended <- fetch(n, p1, "10.96.0.10:80") })
		n.wait(500 * time.Millisecond)
		var got []string
		for _, l := range rec.lines() {
			if strings.Contains(l, "tcp") {
				got = append(got, l)
			}
		}
		n.want("handshake", got,
			"0s out 10.244.1.2 > 10.96.0.10 tcp S",
			"0s in 10.244.1.3 > 10.244.1.2 tcp SA",
			"0s out 10.244.1.2 > 10.244.1.3 tcp R")
		p1.Close()
		p2.Close()
		<-ended
	})
}

// TestBridgedHairpin: a pod that reaches itself gets its packets back from its
// own MAC, TTL unspent, from the bridge's address.
func TestBridgedHairpin(t *testing.T) {
	inBubble(t, func(n *network) {
		node, p1, _ := bridged(n, true)
		n.rules(node, service("10.244.1.2"))
		serveEcho(n, p1, ":8080")
		rec := n.record(p1.Device("eth0"))
		if got, want := fetch(n, p1, "10.96.0.10:80"), "10.244.1.2:8080 sees 10.244.1.1:"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		mac := p1.Device("eth0").MAC
		for _, s := range rec.seen {
			if link.EtherType(s.b) == etherIPv4 && s.dir == link.In && s.ip().dst() == addr("10.244.1.2") && s.ip().src() == addr("10.244.1.1") {
				equal(t, "source MAC of "+describe(s.b), link.SrcMAC(s.b), mac)
				equal(t, "TTL of "+describe(s.b), s.ip().ttl(), 64)
				return
			}
		}
		t.Error("no packet came back from the bridge's address")
	})
}

// TestBridgedDNATToUnconfirmedNeighbour: what sniffs on the bridge device sees
// such a packet twice, first with the device's own MAC.
func TestBridgedDNATToUnconfirmedNeighbour(t *testing.T) {
	inBubble(t, func(n *network) {
		node, p1, p2 := bridged(n, true)
		n.rules(node, service("10.244.1.3"))
		br := node.Device("cni0")
		rec := n.record(br)
		macs := map[link.MAC]string{br.MAC: "cni0", p1.Device("eth0").MAC: "p1", p2.Device("eth0").MAC: "p2"}
		dial := func() (got []string) {
			rec.seen = nil
			n.drv.Go(func() { p1.Dial("tcp", "10.96.0.10:80") })
			n.wait(time.Millisecond)
			for _, s := range rec.seen {
				if l := describe(s.b); strings.Contains(l, "10.244.1.2 > 10.244.1.3 tcp S") {
					got = append(got, fmt.Sprint(s.dir, " ", macs[link.SrcMAC(s.b)], " > ", macs[link.DstMAC(s.b)]))
				}
			}
			return got
		}
		n.want("nobody was asked yet", dial(), "out cni0 > p2", "in p1 > p2")
		n.want("confirmed", dial(), "in p1 > p2")
		n.wait(time.Minute)
		n.want("confirmed long ago", dial(), "out cni0 > p2", "in p1 > p2")
		n.wait(6 * time.Second) // asked and answered
		n.want("confirmed again", dial(), "in p1 > p2")
	})
}

// TestBridgedRejectAndFragments: rules apply to what is only bridged, and what
// they have joined fits the port again.
func TestBridgedRejectAndFragments(t *testing.T) {
	inBubble(t, func(n *network) {
		node, p1, p2 := bridged(n, true)
		n.rules(node, "*filter\n-A FORWARD -p tcp --dport 81 -j DROP\nCOMMIT\n")
		c, err := p1.OpenPing(PingConfig{Size: 4000})
		n.try(err)
		rec := n.record(p2.Device("eth0"))
		r, err := c.Ping(addr("10.244.1.3"), 1, time.Second)
		if err != nil || r.Err() != nil {
			n.Fatalf("ping: got %v, %v", r, err)
		}
		var got []string
		for _, l := range rec.lines() {
			if strings.Contains(l, "in 10.244") {
				got = append(got, l)
			}
		}
		n.want("pieces", got, "0s in 10.244.1.2 > 10.244.1.3 fragment 0+1424",
			"0s in 10.244.1.2 > 10.244.1.3 fragment 1424+1424", "0s in 10.244.1.2 > 10.244.1.3 fragment 2848+1160")
		p1.Dial("udp", "10.244.1.3:81")
		n.drv.Go(func() { p1.Dial("tcp", "10.244.1.3:81") })
		n.wait(100 * time.Millisecond)
		equal(t, "dropped on the bridge", node.Device("cni0").Point().Drops(DropNetfilter), 1)
		p1.Close()
	})
}
