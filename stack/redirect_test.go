package stack

import (
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// threeOnALink is a host with a router that is not the best for 10.9.0.0/16: the
// other one is.
//
//	a 10.0.0.2 ── r 10.0.0.1, other 10.0.0.3 (the station, also 10.9.0.0/16)
func threeOnALink(n *network) (r *Host, s *station, d *Device) {
	r = n.host(Config{Name: "r", Forward: true})
	s, d = n.station(r, "eth0", "10.0.0.1/24")
	n.route(r, "10.9.0.0/16", "10.0.0.3", "eth0")
	n.do(func() {
		n.try(r.SetNeighbour(d, addr("10.0.0.2"), s.mac))
		n.try(r.SetNeighbour(d, addr("10.0.0.3"), s.mac))
	})
	return r, s, d
}

// redirectsIn counts the redirects among frames.
func redirectsIn(list []seen) (count int, last ipv4) {
	for _, f := range list {
		if ip := f.ip(); ip.proto() == protoICMP && ip.payload()[0] == icmpRedirect {
			count, last = count+1, ip
		}
	}
	return count, last
}

func TestRouterSendsRedirects(t *testing.T) {
	inBubble(t, func(n *network) {
		r, s, d := threeOnALink(n)
		s.sendIP(d, echoPacket(between("10.0.0.2", "10.9.0.1", 0), 1, 8))
		got := s.take()
		equal(t, "frames: the packet goes on", len(got), 2)
		count, ip := redirectsIn(got)
		equal(t, "redirects", count, 1)
		equal(t, "redirect", describeIP(ip), "10.0.0.1 > 10.0.0.2 icmp 5/1")
		equal(t, "TOS", ip.tos(), byte(0xc0))
		typ, code, info, quoted := quoteOf(t, ip)
		equal(t, "type and code", [2]byte{typ, code}, [2]byte{5, 1})
		equal(t, "next hop", info, uint32(0x0a000003))
		equal(t, "TTL of the quoted packet", quoted.ttl(), byte(63))

		for name, packet := range map[string][]byte{
			"the sender is not on the link": echoPacket(between("10.8.0.2", "10.9.0.1", 0), 1, 8),
			"the same sender at once again": echoPacket(between("10.0.0.2", "10.9.0.1", 0), 2, 8),
		} {
			s.sendIP(d, packet)
			count, _ := redirectsIn(s.take())
			equal(t, name, count, 0)
		}
		n.wait(time.Minute)
		n.sysctl(r, "net.ipv4.conf.eth0.send_redirects", "0")
		s.sendIP(d, echoPacket(between("10.0.0.2", "10.9.0.1", 0), 2, 8))
		count, _ = redirectsIn(s.take())
		equal(t, "with send_redirects of the device off, that of all on", count, 1)
		n.wait(time.Minute)
		n.sysctl(r, "net.ipv4.conf.all.send_redirects", "0")
		s.sendIP(d, echoPacket(between("10.0.0.2", "10.9.0.1", 0), 2, 8))
		count, _ = redirectsIn(s.take())
		equal(t, "with both off", count, 0)
	})
}

// The pause doubles with every redirect, after nine there are no more until the
// sender has been quiet for 20.48 s.
func TestRedirectsGetRarer(t *testing.T) {
	inBubble(t, func(n *network) {
		_, s, d := threeOnALink(n)
		var at []time.Duration
		start := n.now()
		for range 2000 { // every 10 ms for 20 s
			s.sendIP(d, echoPacket(between("10.0.0.2", "10.9.0.1", 0), 1, 8))
			if count, _ := redirectsIn(s.take()); count > 0 {
				at = append(at, n.now()-start)
			}
			n.wait(10 * time.Millisecond)
		}
		want := []time.Duration{0, 50, 140, 310, 640, 1290, 2580, 5150, 10280}
		equal(t, "redirects", len(at), len(want))
		for i := range min(len(at), len(want)) {
			equal(t, "time of a redirect", at[i], want[i]*time.Millisecond)
		}
		n.wait(redirectSilence)
		s.sendIP(d, echoPacket(between("10.0.0.2", "10.9.0.1", 0), 1, 8))
		count, _ := redirectsIn(s.take())
		equal(t, "after the silence", count, 1)
	})
}

// A host follows a redirect of the router it uses, for five minutes; a router
// does not.
func TestHostFollowsRedirects(t *testing.T) {
	for _, tt := range []struct {
		name, from, via string
		sysctl          [2]string
		want            string
	}{
		{"of its router", "10.0.0.1", "10.0.0.3", [2]string{}, "10.0.0.3"},
		{"of another", "10.0.0.9", "10.0.0.3", [2]string{}, "10.0.0.1"},
		{"to itself", "10.0.0.1", "10.0.0.2", [2]string{}, "10.0.0.1"},
		{"to a group", "10.0.0.1", "224.0.0.5", [2]string{}, "10.0.0.1"},
		{"switched off", "10.0.0.1", "10.0.0.3", [2]string{"net.ipv4.conf.eth0.accept_redirects", "0"}, "10.0.0.3"}, // all counts for a host
		{"a router", "10.0.0.1", "10.0.0.3", [2]string{"net.ipv4.ip_forward", "1"}, "10.0.0.1"},
		{"secure, not a default router", "10.0.0.1", "10.0.0.3", [2]string{"net.ipv4.conf.all.shared_media", "0"}, "10.0.0.3"}, // the device's is on
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(n *network) {
				a := n.host(Config{Name: "a"})
				s, d := n.station(a, "eth0", "10.0.0.2/24")
				n.route(a, "0.0.0.0/0", "10.0.0.1", "eth0")
				macs := map[link.MAC]string{}
				n.do(func() {
					for i, ip := range []string{"10.0.0.1", "10.0.0.3", "10.0.0.9"} {
						mac := link.MAC{2, 0, 0, 9, 9, byte(i)}
						macs[mac] = ip
						n.try(a.SetNeighbour(d, addr(ip), mac))
					}
				})
				if tt.sysctl[0] != "" {
					n.sysctl(a, tt.sysctl[0], tt.sysctl[1])
				}
				c, err := a.Dial("udp", "8.8.8.8:53")
				n.try(err)
				send := func() (ipv4, string) {
					c.Write([]byte("x"))
					got := s.take()
					if len(got) != 1 {
						t.Fatalf("frames: got %d, want 1", len(got))
					}
					return got[0].ip(), macs[link.DstMAC(got[0].b)]
				}
				sent, _ := send()
				b := make([]byte, icmpHeader+28)
				putICMP(b, icmpRedirect, codeHost, key4(addr(tt.via)), sent[:28])
				s.sendIP(d, ipPacket(ipHeader{src: addr(tt.from), dst: addr("10.0.0.2"), proto: protoICMP}, b))
				_, next := send()
				equal(t, "next hop", next, tt.want)
				n.wait(redirectExpires)
				_, next = send()
				equal(t, "next hop five minutes later", next, "10.0.0.1")
			})
		})
	}
}
